#include "tests/libkv/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TTL_MS 1000u
#define TTL_CLUSTER_MS 5000u
#define LEADER_CHANGE_MS 3000u

static const char *const names[] = {"embedded", "remote", "node1", "node2", "node3", NULL};

bool place_known(const char *name) {
    size_t at = 0;
    while (names[at] && strcmp(names[at], name) != 0)
        at++;
    return names[at] != NULL;
}

static void cluster_open(place_t *self, size_t count) {
    self->draxd_count = count;
    for (size_t i = 0; i < count; i++) {
        char name[2] = {(char) ('a' + i), '\0'};
        draxd_place(&self->draxds[i], self->folder, name);
        draxd_start(&self->draxds[i], i ? self->draxds[0].addr : NULL);
    }
    drax_t *drax;
    assert_int_equal(drax_new(&drax, self->draxds[0].addr), 0);
    voters_wait(drax, count);
    drax_destroy(&drax);
}

void place_open(place_t *self, const char *name) {
    *self = (place_t){.ttl_ms = TTL_MS};
    assert_int_equal(node_folder_setup((void **) &self->folder), 0);
    if (strcmp(name, "embedded") == 0) {
        self->options = node_options(self->folder, "a", NULL, NULL);
        self->node = node_up(self->folder, self->options);
    } else if (strcmp(name, "remote") == 0) {
        cluster_open(self, 1);
    } else {
        self->through = (size_t) (name[4] - '1');
        self->ttl_ms = TTL_CLUSTER_MS;
        self->late_ms = LEADER_CHANGE_MS;
        cluster_open(self, NODE_TRIO);
    }
}

void place_close(place_t *self) {
    for (size_t i = 0; i < self->draxd_count; i++)
        draxd_stop(&self->draxds[i]);
    drax_node_stop(&self->node);
    drax_node_options_destroy(&self->options);
    assert_int_equal(node_folder_teardown((void **) &self->folder), 0);
}

drax_t *place_client(place_t *self) {
    if (self->node)
        return node_store(self->node);
    drax_t *drax;
    assert_int_equal(drax_new(&drax, self->draxds[self->through].addr), 0);
    assert_int_equal(drax_timeout_set(drax, NODE_WAIT_MS), 0);
    return drax;
}

/* ---- the leader ---- */

typedef struct {
    uint64_t ids[NODE_TRIO]; /* of draxds[i] */
    size_t leader;           /* NODE_TRIO: none known */
} roles_t;

static bool field_is(const drax_field_t *field, const char *text) {
    size_t size;
    const void *bytes = drax_field_bytes(field, &size);
    return bytes && size == strlen(text) && memcmp(bytes, text, size) == 0;
}

static roles_t roles_read(const place_t *self, drax_t *drax) {
    roles_t roles = {.leader = NODE_TRIO};
    drax_result_t *result;
    assert_int_equal(drax_status(drax, NULL, &result), 0);
    const drax_field_t *map = drax_result_map(result), *members = drax_field_find(map, "members");
    uint64_t leader = drax_field_uint(drax_field_find(map, "leader"));
    for (size_t i = 0; i < drax_field_count(members); i++) {
        const drax_field_t *member = drax_field_at(members, i);
        for (size_t at = 0; at < NODE_TRIO; at++) {
            if (!field_is(drax_field_find(member, "addr"), self->draxds[at].addr))
                continue;
            roles.ids[at] = drax_field_uint(drax_field_find(member, "id"));
            if (leader != 0 && roles.ids[at] == leader)
                roles.leader = at;
        }
    }
    drax_result_destroy(&result);
    return roles;
}

/* The leader, once it is not the node that clients are connected to. */
static size_t other_leader(const place_t *self, drax_t *drax) {
    for (uint64_t end_ms = clock_ms() + NODE_WAIT_MS; clock_ms() < end_ms;) {
        roles_t roles = roles_read(self, drax);
        if (roles.leader == self->through)
            (void) drax_leader_transfer(drax, roles.ids[(self->through + 1) % NODE_TRIO], NULL,
                                        NULL);
        else if (roles.leader < NODE_TRIO)
            return roles.leader;
    }
    fail_msg("no other node leads");
    return 0;
}

void place_shake(place_t *self) {
    if (self->draxd_count < NODE_TRIO)
        return;
    place_mend(self);
    drax_t *drax = place_client(self);
    size_t leader = other_leader(self, drax);
    drax_destroy(&drax);
    draxd_kill(&self->draxds[leader]);
}

void place_mend(place_t *self) {
    for (size_t i = 0; i < self->draxd_count; i++)
        if (self->draxds[i].pid == 0)
            draxd_start(&self->draxds[i], NULL);
}
