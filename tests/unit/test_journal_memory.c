/* test_journal_memory.c: the journal without memory, and on a file system that finds itself full,
 * or without memory, in the middle of a write.
 *
 * A story is told once for every allocation the journal makes, with that one failing: the call
 * answers DRAX_ENOMEM, has changed nothing, and succeeds when it is tried again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "broker/error.h"
#include "tests/support/memory_refused.h"
#include "tests/unit/journal_bench.h"

/* ---- memory ---- */

static unsigned countdown; /* the allocation that fails; 0: none */
static bool armed;         /* the journal runs, and not the disk under it */

bool memory_refused(void) {
    return armed && countdown && --countdown == 0;
}

/* ---- the disk has memory of its own ---- */

static const fs_t *disk_fs;
static unsigned write_countdown; /* the write that fails half-way; 0: none */
static int write_code;
/* Once it has: the `repair_countdown` call of the repair from there on, write or removal, and the
 * `repair_times` - 1 after it, fail with `repair_code`. */
static unsigned repair_countdown, repair_times;
static int repair_code;
static bool short_read; /* reads give a byte less than there is */

static bool repair_fails(void) {
    if (write_countdown || repair_times == 0)
        return false;
    if (repair_countdown > 1) {
        repair_countdown--;
        return false;
    }
    repair_times--;
    return true;
}

static bool pause_begin(void) {
    bool was = armed;
    armed = false;
    return was;
}

static int paused_open(void *self, const char *path, bool create, fs_file_t **out) {
    bool was = pause_begin();
    int rc = disk_fs->open(self, path, create, out);
    armed = was;
    return rc;
}

static int paused_pwritev(fs_file_t *file, struct iovec *parts, int count, uint64_t offset) {
    bool was = pause_begin();
    int rc;
    if (write_countdown == 1) {
        write_countdown = 0;
        parts[0].iov_len /= 2;
        (void) disk_fs->pwritev(file, parts, 1, offset);
        rc = write_code;
    } else if (repair_fails()) {
        rc = repair_code;
    } else {
        write_countdown -= write_countdown > 0;
        rc = disk_fs->pwritev(file, parts, count, offset);
    }
    armed = was;
    return rc;
}

static int paused_rename(void *self, const char *from, const char *to) {
    bool was = pause_begin();
    int rc = disk_fs->rename(self, from, to);
    armed = was;
    return rc;
}

static int paused_remove(void *self, const char *path) {
    bool was = pause_begin();
    int rc = strstr(path, ".seg") && repair_fails() ? repair_code : disk_fs->remove(self, path);
    armed = was;
    return rc;
}

static int paused_sync_dir(void *self, const char *path) {
    bool was = pause_begin();
    int rc = disk_fs->sync_dir(self, path);
    armed = was;
    return rc;
}

static int short_pread(fs_file_t *file, void *data, size_t size, uint64_t offset, size_t *got) {
    int rc = disk_fs->pread(file, data, size, offset, got);
    *got -= short_read && *got > 0;
    return rc;
}

/* ---- the story ---- */

static void begin(bench_t *self, unsigned nth) {
    countdown = 0;
    write_countdown = repair_times = 0;
    bench_begin(self, 7);
    countdown = nth;
}

static int open_paused(bench_t *self) {
    const journal_options_t options = {.segment_bytes = SEGMENT, .salt = SALT};
    disk_fs = fs_faulty_fs(self->disk);
    fs_t fs = *disk_fs;
    fs.open = paused_open;
    fs.pwritev = fs.append = paused_pwritev;
    fs.rename = paused_rename;
    fs.remove = paused_remove;
    fs.sync_dir = paused_sync_dir;
    fs.pread = short_pread;
    armed = true;
    int rc = journal_open(&self->journal, &fs, "j", &options, self->detail, sizeof self->detail);
    armed = false;
    return rc;
}

static int append_paused(bench_t *self, bool hard_state, uint64_t first, uint64_t count,
                         uint64_t term) {
    entries_t entries = {0};
    for (uint64_t index = first; index < first + count; index++) {
        entry_t entry = model_entry(index, term);
        assert_int_equal(entries_push(&entries, &entry), 0);
        entry_clear(&entry);
    }
    armed = true;
    int rc = journal_append(self->journal, hard_state, term, 1, entries.items, entries.count);
    armed = false;
    entries_clear(&entries);
    if (rc != 0)
        return rc;
    if (hard_state)
        model_hard_state(&self->model, term, 1);
    for (uint64_t index = first; index < first + count; index++)
        model_append(&self->model, index, term);
    return 0;
}

static void unchanged(bench_t *self) {
    assert_false(journal_dead(self->journal));
    assert_true(model_match(&self->model, self->model.count - 1, self->journal) >= 0);
}

/* An attempt that may fail once for want of memory, changes nothing then, and works the next time.
 */
#define ATTEMPT(self, call)                                                                        \
    do {                                                                                           \
        int rc = (call);                                                                           \
        if (rc != 0) {                                                                             \
            assert_int_equal(rc, DRAX_ENOMEM);                                                     \
            unchanged(self);                                                                       \
            assert_int_equal((call), 0);                                                           \
        }                                                                                          \
    } while (0)

static int compact_paused(bench_t *self, uint64_t index) {
    armed = true;
    int rc = journal_compact(self->journal, index);
    armed = false;
    if (rc == 0)
        model_compact(&self->model, index);
    return rc;
}

static int reset_paused(bench_t *self, uint64_t index, uint64_t term) {
    armed = true;
    int rc = journal_reset(self->journal, index, term);
    armed = false;
    if (rc == 0)
        model_reset(&self->model, index, term);
    return rc;
}

static int reserve_paused(bench_t *self) {
    armed = true;
    journal_reserve_t *job = journal_reserve_begin(self->journal);
    if (job)
        journal_reserve_run(job);
    armed = false;
    return job ? journal_reserve_end(self->journal, &job) : DRAX_ENOMEM;
}

static int read_paused(bench_t *self, uint64_t from) {
    entries_t entries = {0};
    armed = true;
    int rc = journal_read(self->journal, from, 1u << 20, &entries);
    armed = false;
    for (size_t i = 0; i < entries.count; i++)
        assert_true(model_entry_right(&entries.items[i]));
    entries_clear(&entries);
    return rc;
}

static void open_again(bench_t *self) {
    journal_close(&self->journal);
    int rc = open_paused(self);
    if (rc != 0) {
        assert_int_equal(rc, DRAX_ENOMEM);
        assert_null(self->journal);
        assert_string_not_equal(self->detail, "");
        assert_int_equal(open_paused(self), 0);
    }
}

/* True while the story had as many allocations as `nth`. */
static bool story(unsigned nth) {
    bench_t self;
    begin(&self, nth);
    open_again(&self);
    ATTEMPT(&self, append_paused(&self, true, 1, 20, 1));
    ATTEMPT(&self, reserve_paused(&self));
    ATTEMPT(&self, append_paused(&self, false, 15, 30, 2));
    ATTEMPT(&self, read_paused(&self, 1));
    assert_int_equal(journal_sync(self.journal), 0);
    model_sync(&self.model);
    ATTEMPT(&self, compact_paused(&self, 20));
    open_again(&self);
    ATTEMPT(&self, read_paused(&self, 21));
    for (uint64_t term = 3; term < 25; term++)
        ATTEMPT(&self, append_paused(&self, true, 42 + term, 1, term));
    ATTEMPT(&self, append_paused(&self, false, 67, 60, 25));
    ATTEMPT(&self, reset_paused(&self, 200, 25));
    ATTEMPT(&self, append_paused(&self, false, 201, 3, 25));
    assert_int_equal(journal_sync(self.journal), 0);
    model_sync(&self.model);
    bool failed = countdown == 0;
    countdown = 0;
    journal_close(&self.journal);
    fs_faulty_crash(self.disk, FS_CRASH_LOSE);
    bench_recover(&self, 7, nth);
    bench_end(&self);
    return failed;
}

static void test_memory_everywhere(void **state) {
    (void) state;
    unsigned nth = 1;
    while (story(nth))
        nth++;
    print_message("%u allocations\n", nth - 1);
    assert_true(nth > 100);
}

/* ---- a write that fails half-way ---- */

typedef struct fault {
    unsigned nth; /* write of the batch, from 1 */
    int code;
    unsigned allocation; /* that fails in the batch or in its repair; 0: none */
    unsigned repair;     /* call of the repair that fails, with `repair_code`; 0: none */
    unsigned repair_times;
    int repair_code;
} fault_t;

/* After a batch that failed without killing the journal: it is as before, and goes on once what
 * fails has come to an end. */
static void repaired(bench_t *self, bool failed) {
    unchanged(self);
    int rc = failed ? append_paused(self, true, 11, 3, 2) : 0;
    repair_times = 0;
    if (rc != 0) {
        assert_int_equal(rc, DRAX_ENOSPC);
        unchanged(self);
        assert_int_equal(append_paused(self, true, 11, 3, 2), 0);
    }
    assert_int_equal(journal_sync(self->journal), 0);
    model_sync(&self->model);
}

/* A batch over several segments with a fault in it. True when there was such a write. */
static bool half_write(fault_t fault) {
    bench_t self;
    begin(&self, 0);
    assert_int_equal(open_paused(&self), 0);
    assert_int_equal(append_paused(&self, true, 1, 10, 1), 0);
    assert_int_equal(journal_sync(self.journal), 0);
    model_sync(&self.model);
    write_countdown = fault.nth;
    write_code = fault.code;
    repair_countdown = fault.repair;
    repair_times = fault.repair_times;
    repair_code = fault.repair_code;
    countdown = fault.allocation;
    int rc = append_paused(&self, false, 11, 60, 1);
    bool failed = write_countdown == 0;
    countdown = write_countdown = 0;
    if (rc == DRAX_EIO) {
        assert_int_equal(fault.repair_code, DRAX_EIO);
        assert_true(journal_dead(self.journal));
        for (uint64_t index = 11; index <= 70; index++) /* what was written may show */
            model_append(&self.model, index, 1);
    } else {
        assert_true(rc == 0 || rc == fault.code || rc == DRAX_ENOMEM);
        repaired(&self, rc != 0);
    }
    repair_times = 0;
    journal_close(&self.journal);
    fs_faulty_crash(self.disk, FS_CRASH_KEEP);
    bench_recover(&self, 7, fault.nth);
    bench_end(&self);
    return failed;
}

static void test_half_writes(void **state) {
    (void) state;
    const int codes[] = {DRAX_ENOSPC, DRAX_ENOMEM};
    unsigned failed = 0;
    for (size_t i = 0; i < 2; i++) {
        fault_t fault = {.nth = 1, .code = codes[i]};
        for (; half_write(fault); fault.nth++, failed++) {
            fault_t worse = fault;
            for (worse.allocation = 1; worse.allocation < 40; worse.allocation++)
                (void) half_write(worse);
            worse.allocation = 0;
            for (worse.repair = 1; worse.repair < 6; worse.repair++) {
                worse.repair_times = 1;
                worse.repair_code = DRAX_EIO;
                (void) half_write(worse);
                worse.repair_code = DRAX_ENOSPC;
                for (worse.repair_times = 1; worse.repair_times < 4; worse.repair_times++)
                    (void) half_write(worse);
            }
        }
    }
    assert_true(failed > 10);
}

/* A file that gives less than it says it has is damage, not a shorter journal. */
static void test_short_read(void **state) {
    (void) state;
    bench_t self;
    begin(&self, 0);
    assert_int_equal(open_paused(&self), 0);
    journal_close(&self.journal);
    short_read = true;
    int rc = open_paused(&self);
    short_read = false;
    assert_int_equal(rc, DRAX_ECORRUPT);
    assert_non_null(strstr(self.detail, "too short"));
    bench_end(&self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_everywhere),
        cmocka_unit_test(test_half_writes),
        cmocka_unit_test(test_short_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
