/* test_state_heads.c: what a put looks for in the store below, and what it need not any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "broker/error.h"
#include "kv_helper.h"
#include "state_helper.h"

#define KEYS 4000
#define PLENTY 1000000000L

/* A world over LevelDB in a directory, whose looks are counted. */
typedef struct disk {
    temp_dir_t dir;
    long left;
    world_t world;
} disk_t;

static void disk_open(disk_t *self, bool create) {
    kv_t *kv;
    if (create)
        temp_dir_make(&self->dir);
    self->left = PLENTY;
    assert_int_equal(kv_leveldb_open(&kv, self->dir.path, create), 0);
    uint64_t seq = create ? 0 : self->world.seq;
    world_open(&self->world, kv_faulty_new(kv, &self->left, DRAX_EIO));
    self->world.seq = seq;
    self->world.time_ms = 1000;
    /* The first entry has a look for sessions as well. */
    world_apply(&self->world, "[0, 1, \"lease_revoke\", [1]]");
}

static void disk_restart(disk_t *self) {
    world_flush(&self->world);
    world_close(&self->world);
    disk_open(self, false);
}

static void disk_close(disk_t *self) {
    world_close(&self->world);
    temp_dir_remove(&self->dir);
}

/* How often the store below is asked in the command, whose outcome must begin with `want`. */
__attribute__((format(printf, 3, 4))) static long looks(disk_t *self, const char *want,
                                                        const char *format, ...) {
    char command[256];
    long before = self->left;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    const char *outcome = world_apply(&self->world, command);
    assert_string_equal(strncmp(outcome, want, strlen(want)) == 0 ? want : outcome, want);
    return before - self->left;
}

static long put_looks(disk_t *self, int number, const char *value) {
    return looks(self, "{index: ", "[0, 1, \"put\", [\"k%04d\", \"%s\"]]", number, value);
}

/* KEYS keys are flushed, and no head is known. */
static void disk_open_started(disk_t *self) {
    disk_open(self, true);
    for (int i = 0; i < KEYS; i++)
        put_looks(self, i, "v");
    disk_restart(self);
}

/* Puts one key after the other, from the last one down, until one needs no look: how many did. */
static int puts_until_known(disk_t *self) {
    for (int i = 0; i < KEYS; i++)
        if (put_looks(self, KEYS - 1 - i, "w") == 0)
            return i;
    return KEYS;
}

static void a_new_key_needs_no_look(void **unused) {
    (void) unused;
    disk_t disk;
    disk_open(&disk, true);
    for (int i = 0; i < 10; i++)
        assert_int_equal(put_looks(&disk, i, "v"), 0);
    world_flush(&disk.world);
    assert_int_equal(put_looks(&disk, 3, "w"), 0);
    assert_int_equal(put_looks(&disk, 10, "v"), 0);
    assert_int_equal(looks(&disk, "KEY_NOT_FOUND", "[0, 1, \"delete\", [\"none\"]]"), 0);
    assert_int_equal(looks(&disk, "{revision: ", "[0, 1, \"delete\", [\"k0003\"]]"), 0);
    world_flush(&disk.world);
    assert_int_equal(looks(&disk, "KEY_NOT_FOUND", "[0, 1, \"delete\", [\"k0003\"]]"), 0);
    disk_close(&disk);
}

/* After a start a sixty-fourth of the keys is looked for, or little more. */
static void a_start_reads_them_in(void **unused) {
    (void) unused;
    disk_t disk;
    disk_open_started(&disk);
    assert_false(state_release_due(disk.world.state));
    int looked = puts_until_known(&disk);
    assert_in_range(looked, KEYS / 64, KEYS / 64 + 8);
    assert_true(state_release_due(disk.world.state));
    assert_false(state_release_due(disk.world.state));
    assert_int_equal(put_looks(&disk, 17, "w"), 0);
    assert_int_equal(put_looks(&disk, KEYS + 1, "new"), 0);
    assert_int_equal(looks(&disk, "KEY_NOT_FOUND", "[0, 1, \"delete\", [\"none\"]]"), 0);
    assert_int_equal(looks(&disk, "KEY_EXISTS", "[0, 1, \"atomic_put\", [\"k0017\", \"x\", nil]]"),
                     0);
    assert_int_equal(state_keys(disk.world.state), KEYS + 1);
    disk_close(&disk);
}

/* What is written or deleted while heads are read, flushed or not, is what counts. */
static void changes_meanwhile_count(void **unused) {
    (void) unused;
    disk_t disk;
    disk_open_started(&disk);
    for (int i = 0; i < 30; i++) { /* half of it is read */
        int number = i % 2 ? i * 100 : KEYS - 1 - i * 100;
        looks(&disk, "{revision: ", "[0, 1, \"delete\", [\"k%04d\"]]", number);
        put_looks(&disk, KEYS + i, "new");
        if (i == 15)
            assert_int_equal(state_freeze(disk.world.state), 0);
    }
    assert_int_equal(state_flush_write(disk.world.state), 0);
    assert_int_equal(state_thaw(disk.world.state, 0), 0);
    puts_until_known(&disk);
    world_flush(&disk.world);
    for (int i = 0; i < KEYS + 40; i++) {
        char command[64];
        snprintf(command, sizeof command, "[0, 1, \"get\", [\"k%04d\"]]", i);
        bool there = strcmp(world_query(&disk.world, command), "KEY_NOT_FOUND") != 0;
        assert_int_equal(looks(&disk, there ? "KEY_EXISTS" : "{key: ",
                               "[0, 1, \"atomic_put\", [\"k%04d\", \"x\", nil]]", i),
                         0);
    }
    disk_close(&disk);
}

/* A transaction that is taken back leaves no head behind, one that is not leaves the last. */
static void transactions_keep_heads(void **unused) {
    (void) unused;
    disk_t disk;
    disk_open(&disk, true);
    for (int i = 0; i < 3; i++)
        put_looks(&disk, i, "v");
    world_flush(&disk.world);
    assert_int_equal(looks(&disk, "{succeeded: true",
                           "[0, 1, \"txn\", [[], [[\"put\", [\"k0000\", \"a\"]], [\"put\", "
                           "[\"n\", \"b\"]], [\"delete\", [\"k0001\"]]], []]]"),
                     0);
    assert_int_equal(looks(&disk, "KEY_NOT_FOUND",
                           "[0, 1, \"txn\", [[], [[\"put\", [\"taken_back\", \"a\"]], [\"delete\", "
                           "[\"k0002\"]], [\"delete\", [\"none\"]]], []]]"),
                     0);
    world_flush(&disk.world);
    assert_int_equal(looks(&disk, "{index: 5", "[0, 1, \"put\", [\"k0000\", \"c\"]]"), 0);
    assert_int_equal(looks(&disk, "KEY_EXISTS", "[0, 1, \"atomic_put\", [\"n\", \"x\", nil]]"), 0);
    assert_int_equal(looks(&disk, "KEY_NOT_FOUND", "[0, 1, \"delete\", [\"k0001\"]]"), 0);
    assert_int_equal(looks(&disk, "KEY_NOT_FOUND", "[0, 1, \"delete\", [\"taken_back\"]]"), 0);
    assert_int_equal(looks(&disk, "{revision: ", "[0, 1, \"delete\", [\"k0002\"]]"), 0);
    disk_close(&disk);
}

/* A head that cannot be read is looked for by those who need it, and all goes on. */
static void what_cannot_be_read_is_left(void **unused) {
    (void) unused;
    disk_t disk;
    disk_open_started(&disk);
    for (int i = 0; i < 3; i++)
        assert_int_equal(put_looks(&disk, i, "w"), 1);
    disk.left = 10; /* its own look, the seek, and a few heads */
    put_looks(&disk, 3, "w");
    disk.left = PLENTY;
    for (int i = 20; i < 100; i++)
        assert_int_equal(put_looks(&disk, i, "w"), 1);
    world_flush(&disk.world); /* another reading begins */
    assert_in_range(puts_until_known(&disk), KEYS / 64, KEYS / 64 + 8);
    disk_close(&disk);
}

/* The next name, after `*at`, whose head goes into the first of a new table's buckets. */
static void crowded_name(unsigned *at, char name[16]) {
    do
        snprintf(name, 16, "c%u", ++*at);
    while (XXH3_64bits(name, strlen(name)) >> (64 - 6) != 0);
}

/* An atomic_put of the key, if it does not exist. */
static long made_looks(disk_t *self, const char *want, const char *name) {
    return looks(self, want, "[0, 1, \"atomic_put\", [\"%s\", \"x\", nil]]", name);
}

/* Heads that made room for others are read when those who were looked for are many; not before what
 * was forgotten is flushed. */
static void the_forgotten_are_read_again(void **unused) {
    (void) unused;
    enum { MANY = 120 };
    char names[2 * MANY][16], absent[16];
    unsigned at = 0;
    disk_t disk;
    disk_open(&disk, true);
    for (int i = 0; i < 2 * MANY; i++)
        crowded_name(&at, names[i]);
    for (int i = 0; i < MANY; i++)
        made_looks(&disk, "{key: ", names[i]);
    world_flush(&disk.world);
    for (int i = MANY; i < 2 * MANY; i++)
        made_looks(&disk, "{key: ", names[i]);
    assert_int_equal(state_freeze(disk.world.state), 0);
    for (int i = 0; i < 8; i++) { /* enough to read all that there is */
        crowded_name(&at, absent);
        assert_int_equal(looks(&disk, "KEY_NOT_FOUND", "[0, 1, \"delete\", [\"%s\"]]", absent), 1);
    }
    assert_int_equal(state_flush_write(disk.world.state), 0);
    assert_int_equal(state_thaw(disk.world.state, 0), 0);
    for (int i = 0; i < 2 * MANY; i++)
        made_looks(&disk, "KEY_EXISTS", names[i]);
    disk_close(&disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_key_needs_no_look),
        cmocka_unit_test(a_start_reads_them_in),
        cmocka_unit_test(changes_meanwhile_count),
        cmocka_unit_test(transactions_keep_heads),
        cmocka_unit_test(what_cannot_be_read_is_left),
        cmocka_unit_test(the_forgotten_are_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
