/* test_journal_faults.c: the journal on disks that stop, fail, fill up and rot.
 *
 * A random workload runs once for every file-system call it makes, with the fault at that call.
 * Afterwards the journal must open again and hold a state that the model went through at or after
 * its last sync (journal_model.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/error.h"
#include "tests/unit/journal_bench.h"

#define STEPS 40u

/* ---- the workload ---- */

static int step_append(bench_t *self, bool truncate) {
    uint64_t last = journal_last_index(self->journal);
    uint64_t lowest = journal_first_index(self->journal);
    if (model_now(&self->model)->compacted + 1 > lowest)
        lowest = model_now(&self->model)->compacted + 1;
    uint64_t first = last + 1;
    uint64_t term = model_now(&self->model)->term + (truncate ? 1 : 0);
    if (truncate && last >= lowest)
        first = lowest + bench_draw(self, last - lowest + 1);
    uint64_t count = 1 + bench_draw(self, 6);
    return first + count < MODEL_ENTRIES ? bench_append(self, truncate, first, count, term) : 0;
}

static int step_compact(bench_t *self) {
    uint64_t first = journal_first_index(self->journal);
    uint64_t index = first - 1 + bench_draw(self, journal_last_index(self->journal) - first + 2);
    model_compact(&self->model, index);
    return journal_compact(self->journal, index);
}

static int step_reset(bench_t *self) {
    uint64_t index = journal_last_index(self->journal) + bench_draw(self, 5);
    if (index >= MODEL_ENTRIES)
        return 0;
    uint64_t term = model_now(&self->model)->term;
    model_reset(&self->model, index, term);
    int rc = journal_reset(self->journal, index, term);
    if (rc == 0)
        model_sync(&self->model);
    return rc;
}

static int step_reserve(bench_t *self) {
    journal_reserve_t *job = journal_reserve_begin(self->journal);
    if (!job)
        return 0;
    journal_reserve_run(job);
    return journal_reserve_end(self->journal, &job);
}

static int step(bench_t *self) {
    switch (bench_draw(self, 16)) {
    case 0:
    case 1:
        return step_append(self, true);
    case 2:
    case 3:
    case 4:
    case 5:
        return bench_sync(self);
    case 6:
    case 7:
        return step_compact(self);
    case 8:
        return step_reset(self);
    case 9:
        return step_reserve(self);
    default:
        return step_append(self, false);
    }
}

/* Runs until something fails or all is done; the last code. */
static int workload(bench_t *self, unsigned steps) {
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < steps; i++)
        rc = step(self);
    return rc;
}

/* ---- after a fault ---- */

/* The journal works on: some more steps, and all of it is there after a clean restart. */
static void go_on(bench_t *self, uint64_t seed, uint64_t fault) {
    if (workload(self, 8) != 0 || bench_sync(self) != 0)
        fail_msg("seed %llu fault %llu: does not go on", (unsigned long long) seed,
                 (unsigned long long) fault);
    journal_close(&self->journal);
    fs_faulty_crash(self->disk, FS_CRASH_LOSE);
    bench_recover(self, seed, fault);
    assert_string_equal(self->detail, "");
}

static fs_crash_t crash_kind(bench_t *self) {
    static const fs_crash_t kinds[] = {FS_CRASH_RANDOM, FS_CRASH_RANDOM, FS_CRASH_RANDOM,
                                       FS_CRASH_LOSE, FS_CRASH_KEEP};
    return kinds[bench_draw(self, 5)];
}

/* The machine stops in the middle of call `fault`; true when the workload got there. */
static bool crash_run(uint64_t seed, uint64_t fault) {
    bench_t self;
    bench_begin(&self, seed);
    fs_faulty_stop(self.disk, fault);
    if (bench_open(&self) == 0)
        (void) workload(&self, STEPS);
    bool reached = fs_faulty_stopped(self.disk);
    self.random += fault;
    journal_close(&self.journal);
    fs_faulty_crash(self.disk, crash_kind(&self));
    /* Every third time the machine stops again while it recovers. */
    if (fault % 3 == 0) {
        fs_faulty_stop(self.disk, 1 + bench_draw(&self, 12));
        if (bench_open(&self) == 0)
            assert_true(model_match(&self.model, 0, self.journal) >= 0 ||
                        fs_faulty_stopped(self.disk));
        journal_close(&self.journal);
        fs_faulty_crash(self.disk, crash_kind(&self));
    }
    bench_recover(&self, seed, fault);
    go_on(&self, seed, fault);
    bench_end(&self);
    return reached;
}

static void test_crash_everywhere(void **state) {
    (void) state;
    uint64_t runs = 0;
    for (uint64_t seed = 1; seed <= 12; seed++)
        for (uint64_t fault = 1; crash_run(seed, fault); fault++)
            runs++;
    print_message("%llu crashes\n", (unsigned long long) runs);
    assert_true(runs > 500);
}

/* Call `fault` gives EIO once. */
static bool error_run(uint64_t seed, uint64_t fault) {
    bench_t self;
    bench_begin(&self, seed);
    fs_faulty_fail(self.disk, fault, 1, DRAX_EIO);
    if (bench_open(&self) != 0) {
        assert_true(fs_faulty_failed(self.disk));
        assert_string_not_equal(self.detail, "");
        bench_recover(&self, seed, fault);
    }
    for (unsigned i = 0; i < STEPS; i++) {
        size_t before = self.model.count;
        int rc = step(&self);
        if (rc == 0)
            continue;
        assert_true(fs_faulty_failed(self.disk));
        if (!journal_dead(self.journal)) {
            model_forget(&self.model, before);
            assert_true(model_match(&self.model, before - 1, self.journal) >= 0);
            continue;
        }
        assert_int_equal(rc, DRAX_EIO);
        assert_int_equal(journal_sync(self.journal), DRAX_EIO);
        assert_int_equal(journal_append(self.journal, true, 1, 1, NULL, 0), DRAX_EIO);
        assert_int_equal(journal_compact(self.journal, 1), DRAX_EIO);
        assert_int_equal(journal_reset(self.journal, 1, 1), DRAX_EIO);
        assert_null(journal_reserve_begin(self.journal));
        break;
    }
    bool reached = fs_faulty_failed(self.disk);
    self.random += fault;
    journal_close(&self.journal);
    /* The process ends and comes back: what it says now must also stand a power loss. */
    fs_faulty_crash(self.disk, crash_kind(&self));
    bench_recover(&self, seed, fault);
    journal_close(&self.journal);
    fs_faulty_crash(self.disk, FS_CRASH_LOSE);
    bench_recover(&self, seed, fault);
    go_on(&self, seed, fault);
    bench_end(&self);
    return reached;
}

static void test_error_everywhere(void **state) {
    (void) state;
    uint64_t runs = 0;
    for (uint64_t seed = 101; seed <= 110; seed++)
        for (uint64_t fault = 1; error_run(seed, fault); fault++)
            runs++;
    print_message("%llu errors\n", (unsigned long long) runs);
    assert_true(runs > 500);
}

/* From call `fault` on, `times` calls find the disk full. Everything that fails has changed
 * nothing, and works once there is room. */
static bool full_run(uint64_t seed, uint64_t fault, uint64_t times) {
    bench_t self;
    bench_begin(&self, seed);
    fs_faulty_fail(self.disk, fault, times, DRAX_ENOSPC);
    if (bench_open(&self) != 0) {
        assert_string_not_equal(self.detail, "");
        bool failed = fs_faulty_failed(self.disk);
        assert_true(failed);
        fs_faulty_fail(self.disk, 1, 0, 0);
        bench_recover(&self, seed, fault);
        go_on(&self, seed, fault);
        bench_end(&self);
        return true;
    }
    bool reached = false;
    for (unsigned i = 0; i < STEPS; i++) {
        size_t before = self.model.count;
        uint64_t random = self.random;
        int rc = step(&self);
        if (rc == 0)
            continue;
        assert_int_equal(rc, DRAX_ENOSPC);
        assert_false(journal_dead(self.journal));
        assert_true(model_match(&self.model, before - 1, self.journal) == (int) before - 1);
        reached = true;
        /* One in three times the machine stops now. Where the remains of the failed write could not
         * be wiped either, they may show, as any write that was not synced. */
        bool stop = (seed + fault) % 3 == 0;
        if (!stop || times == 1)
            model_forget(&self.model, before);
        if (stop)
            break;
        assert_int_equal(journal_sync(self.journal), 0);
        model_sync(&self.model);
        fs_faulty_fail(self.disk, 1, 0, 0);
        /* Sometimes something else is written first, so that the remains would show. */
        self.random = random + (i % 2);
    }
    self.random += fault;
    journal_close(&self.journal);
    fs_faulty_crash(self.disk, crash_kind(&self));
    bench_recover(&self, seed, fault);
    go_on(&self, seed, fault);
    bench_end(&self);
    return reached;
}

static void test_full_everywhere(void **state) {
    (void) state;
    uint64_t runs = 0;
    for (uint64_t seed = 201; seed <= 206; seed++)
        for (uint64_t fault = 1; fault < 250; fault++) {
            runs += full_run(seed, fault, 1) ? 1 : 0;
            runs += full_run(seed, fault, 2 + seed % 2) ? 1 : 0;
            runs += full_run(seed, fault, UINT64_MAX) ? 1 : 0;
        }
    print_message("%llu full disks\n", (unsigned long long) runs);
    assert_true(runs > 1000);
}

/* A disk with no room but what the journal has: it goes on to the end of its space, refuses, and
 * recovers when it gives up old segments itself. */
static void test_full_disk(void **state) {
    (void) state;
    bench_t self;
    bench_begin(&self, 7);
    fs_faulty_limit(self.disk, 4 * SEGMENT + 100);
    assert_int_equal(bench_open(&self), 0);
    model_hard_state(&self.model, 1, 0); /* the term of the entries */
    assert_int_equal(journal_append(self.journal, true, 1, 0, NULL, 0), 0);
    int rc = 0;
    uint64_t next = 1;
    for (unsigned i = 0; i < 300 && rc == 0; i++) {
        size_t before = self.model.count;
        next = journal_last_index(self.journal) + 1;
        rc = bench_append(&self, false, next, 1, 1);
        if (rc != 0)
            model_forget(&self.model, before);
    }
    assert_int_equal(rc, DRAX_ENOSPC);
    for (rc = 0; rc == 0;) {
        size_t before = self.model.count;
        rc = bench_append(&self, true, next, 0, 1);
        if (rc != 0)
            model_forget(&self.model, before);
    }
    assert_int_equal(rc, DRAX_ENOSPC);
    assert_true(journal_no_space(self.journal));
    /* A batch that would need several segments leaves none behind. */
    uint64_t used = fs_faulty_used(self.disk);
    size_t states = self.model.count;
    fs_faulty_limit(self.disk, used + 2 * SEGMENT);
    assert_int_equal(bench_append(&self, false, next, 150, 1), DRAX_ENOSPC);
    model_forget(&self.model, states);
    assert_int_equal(fs_faulty_used(self.disk), used);
    fs_faulty_limit(self.disk, used + 100);
    assert_true(fs_faulty_used(self.disk) >= 3 * SEGMENT);
    assert_true(model_match(&self.model, self.model.count - 1, self.journal) >= 0);
    assert_int_equal(bench_sync(&self), 0);
    /* The mark that frees space finds its place although there is none. */
    model_compact(&self.model, next - 1);
    assert_int_equal(journal_compact(self.journal, next - 1), 0);
    assert_true(fs_faulty_used(self.disk) < 3 * SEGMENT);
    assert_int_equal(bench_append(&self, false, next, 1, 1), 0);
    assert_false(journal_no_space(self.journal));
    assert_int_equal(bench_sync(&self), 0);
    fs_faulty_limit(self.disk, 0); /* what comes now may need any number of segments */
    go_on(&self, 7, 0);
    bench_end(&self);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_everywhere),
        cmocka_unit_test(test_error_everywhere),
        cmocka_unit_test(test_full_everywhere),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
