#include "tests/embed/node_helper.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/fs.h"

#define PORT_LEAST 10000u
#define PORT_END 32000u

int node_folder_setup(void **state) {
    node_folder_t *self = calloc(1, sizeof *self);
    assert_non_null(self);
    strcpy(self->top, "/tmp/drax-embed-XXXXXX");
    assert_non_null(mkdtemp(self->top));
    *state = self;
    return 0;
}

int node_folder_teardown(void **state) {
    node_folder_t *self = *state;
    const fs_t *fs = fs_posix();
    int rc = fs->remove_tree(fs->self, self->top);
    free(self);
    return rc;
}

static bool port_is_free(unsigned port) {
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                        .sin_port = htons((uint16_t) port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    bool is_free = bind(fd, (const struct sockaddr *) &address, sizeof address) == 0;
    close(fd);
    return is_free;
}

unsigned port_free(void) {
    static bool given[PORT_END - PORT_LEAST]; /* who asked before may not have bound it yet */
    unsigned at;
    do {
        uint16_t number;
        assert_int_equal(getrandom(&number, sizeof number, 0), sizeof number);
        at = number % (PORT_END - PORT_LEAST);
    } while (given[at] || !port_is_free(PORT_LEAST + at));
    given[at] = true;
    return PORT_LEAST + at;
}

static void option_set(drax_node_options_t *options, const char *name, const char *value) {
    assert_int_equal(drax_node_options_set(options, name, value), 0);
}

drax_node_options_t *node_options(const node_folder_t *folder, const char *name, const char *peer,
                                  char addr[32]) {
    drax_node_options_t *options = drax_node_options_new();
    assert_non_null(options);
    char home[128], address[32];
    snprintf(home, sizeof home, "%s/%s", folder->top, name);
    option_set(options, "home", home);
    snprintf(address, sizeof address, "127.0.0.1:%u", port_free());
    option_set(options, "addr", address);
    if (addr)
        memcpy(addr, address, sizeof address);
    snprintf(address, sizeof address, "127.0.0.1:%u", port_free());
    option_set(options, "raft-addr", address);
    if (peer)
        option_set(options, "peer", peer);
    return options;
}

drax_node_t *node_up(node_folder_t *folder, const drax_node_options_t *options) {
    drax_node_t *node;
    int error = drax_node_start(&node, options, folder->detail, sizeof folder->detail);
    if (error)
        print_error("%s\n", folder->detail);
    assert_int_equal(error, 0);
    assert_string_equal(folder->detail, "");
    assert_int_equal(drax_node_ready_wait(node, NODE_WAIT_MS), 0);
    return node;
}

drax_t *node_store(drax_node_t *node) {
    drax_t *store;
    assert_int_equal(drax_node_store(node, &store), 0);
    return store;
}

/* Members with the role of a voter, as any node tells. */
static size_t voters_count(drax_t *drax) {
    drax_result_t *result;
    size_t voters = 0, size;
    if (drax_member_list(drax, NULL, &result) != 0)
        return 0;
    const drax_field_t *members = drax_field_find(drax_result_map(result), "members");
    for (size_t i = 0; i < drax_field_count(members); i++) {
        const char *role =
            drax_field_bytes(drax_field_find(drax_field_at(members, i), "role"), &size);
        voters += role && size == 5 && memcmp(role, "voter", 5) == 0;
    }
    drax_result_destroy(&result);
    return voters;
}

void voters_wait(drax_t *drax, size_t count) {
    uint64_t end_ms = clock_ms() + NODE_WAIT_MS;
    while (voters_count(drax) != count)
        assert_true(clock_ms() < end_ms);
}

void node_trio_up(node_trio_t *self, node_folder_t *folder) {
    for (size_t i = 0; i < NODE_TRIO; i++) {
        char name[2] = {(char) ('a' + i), '\0'};
        self->options[i] = node_options(folder, name, i ? self->addrs[0] : NULL, self->addrs[i]);
        self->nodes[i] = node_up(folder, self->options[i]);
    }
    snprintf(self->endpoints, sizeof self->endpoints, "%s,%s,%s", self->addrs[0], self->addrs[1],
             self->addrs[2]);
    drax_t *drax;
    assert_int_equal(drax_new(&drax, self->endpoints), 0);
    voters_wait(drax, NODE_TRIO);
    drax_destroy(&drax);
}

void node_trio_down(node_trio_t *self) {
    for (size_t i = 0; i < NODE_TRIO; i++) {
        drax_node_stop(&self->nodes[i]);
        drax_node_options_destroy(&self->options[i]);
    }
}

void value_put(drax_t *store, const char *key, const char *value) {
    assert_int_equal(drax_put(store, key, strlen(key), value, strlen(value), NULL, NULL), 0);
}

void value_expect(drax_t *store, const char *key, const char *value) {
    drax_result_t *result;
    size_t size;
    assert_int_equal(drax_get(store, key, strlen(key), NULL, &result), 0);
    const void *got = drax_result_value(result, &size);
    assert_int_equal(size, strlen(value));
    assert_memory_equal(got, value, size);
    drax_result_destroy(&result);
}

static size_t entries_count(const char *path) {
    DIR *directory = opendir(path);
    assert_non_null(directory);
    size_t count = 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

size_t descriptors_count(void) {
    return entries_count("/proc/self/fd");
}

size_t threads_count(void) {
    return entries_count("/proc/self/task");
}

void threads_expect(size_t count) {
    for (uint64_t end_ms = clock_ms() + NODE_WAIT_MS; threads_count() > count;) {
        assert_true(clock_ms() < end_ms);
        sched_yield();
    }
}

uint64_t clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000u + (uint64_t) now.tv_nsec / 1000000u;
}
