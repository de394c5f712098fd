#include <stdio.h>
#include <sys/eventfd.h>

#include "actors/node_internal.h"
#include "broker/error.h"

static int stop_read(void *hint, uint64_t now_ms) {
    part_t *self = hint;
    eventfd_t count;
    (void) eventfd_read(self->stop_fd, &count);
    pthread_mutex_lock(&self->node->lock);
    bool forced = self->node->forced;
    pthread_mutex_unlock(&self->node->lock);
    life_stop(self->life, now_ms);
    return forced ? LOOP_DONE : 0;
}

static void part_ready(void *hint) {
    part_t *self = hint;
    pthread_mutex_lock(&self->node->lock);
    self->ready = true;
    pthread_cond_broadcast(&self->node->changed);
    pthread_mutex_unlock(&self->node->lock);
}

static int part_make(part_t *self, char *detail, size_t detail_size) {
    const drax_node_t *node = self->node;
    life_options_t options = {.actor = self->actor,
                              .settings = &node->settings,
                              .log = &self->log,
                              .context = node->context,
                              .home = node->settings.home,
                              .inproc = NODE_INPROC,
                              .unbound = node->unbound,
                              .ready = part_ready,
                              .hint = self};
    int rc = life_new(&self->life, &options, detail, detail_size);
    return rc ? rc : loop_add(life_loop(self->life), NULL, self->stop_fd, stop_read, self);
}

static void part_fail(part_t *self, int rc, const char *what) {
    char detail[DRAX_NODE_DETAIL_BYTES];
    snprintf(detail, sizeof detail, "%s: %.4500s", actor_name(self->actor), what);
    node_fail(self->node, node_error(rc), detail);
}

/* Whether all parts could be made. */
static bool parts_made(part_t *self) {
    drax_node_t *node = self->node;
    pthread_mutex_lock(&node->lock);
    self->state = PART_MADE;
    pthread_cond_broadcast(&node->changed);
    for (size_t i = 0; i < NODE_PARTS; i++)
        while (node->parts[i].state == PART_MAKING)
            pthread_cond_wait(&node->changed, &node->lock);
    bool made = node->error == 0;
    pthread_mutex_unlock(&node->lock);
    return made;
}

/* The last thing that a part does. The last part of a node that had started tells the host. */
static void part_end(part_t *self, int rc, const char *what) {
    drax_node_t *node = self->node;
    pthread_mutex_lock(&node->lock);
    if (rc)
        part_fail(self, rc, what);
    self->state = PART_ENDED;
    bool over = node_over(node);
    if (over)
        node_close(node);
    else
        node_stop_next(node);
    bool tell = over && node->started && !node->stopping && node->ended;
    pthread_cond_broadcast(&node->changed);
    pthread_mutex_unlock(&node->lock);
    if (tell)
        node->ended(node->ended_hint, node->error, node->detail);
}

void *part_main(void *hint) {
    part_t *self = hint;
    char detail[512] = "";
    int rc = part_make(self, detail, sizeof detail);
    if (rc == 0 && parts_made(self)) {
        rc = life_run(self->life);
        if (rc)
            snprintf(detail, sizeof detail, "cannot go on: %s", error_text(rc));
    }
    life_destroy(&self->life);
    part_end(self, rc, detail[0] ? detail : error_text(rc));
    return NULL;
}
