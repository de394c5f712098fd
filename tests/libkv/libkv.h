/* libkv.h: the parts of test_libkv, and what they share. */
#ifndef DRAX_TESTS_LIBKV_H
#define DRAX_TESTS_LIBKV_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/libkv/place.h"

/* *state of each test: the place and two clients of it. */
typedef struct {
    place_t *place;
    drax_t *store, *other;
} fixture_t;

/* The key holds the value; gives its index (libkv's LastIndex). */
uint64_t pair_expect(drax_t *store, const char *key, const char *value);
void gone_expect(drax_t *store, const char *key);
void key_put(drax_t *store, const char *key, const char *value);

/* Put, Get, Delete, Exists, List, DeleteTree */
void test_missing_keys(void **state);
void test_put_get_exists_delete(void **state);
void test_keys_with_slashes_are_keys_apart(void **state);
void test_list(void **state);
void test_delete_tree(void **state);
/* AtomicPut, AtomicDelete */
void test_atomic_put(void **state);
void test_atomic_put_creates(void **state);
void test_atomic_delete(void **state);
/* Watch, WatchTree */
void test_watch(void **state);
void test_watch_of_a_missing_key(void **state);
void test_watch_tree(void **state);
/* NewLock, TTL, Close */
void test_lock_unlock_relock(void **state);
void test_lock_blocks_and_passes_on(void **state);
void test_ttl_outlives_its_client(void **state);
void test_close(void **state);
/* beyond libkv */
void test_election(void **state);
void test_election_that_ends(void **state);

#endif
