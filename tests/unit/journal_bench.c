/* journal_bench.c: see the header. */
#include "tests/unit/journal_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "broker/error.h"

int bench_open(bench_t *self) {
    const journal_options_t options = {.segment_bytes = SEGMENT, .salt = SALT};
    return journal_open(&self->journal, fs_faulty_fs(self->disk), "j", &options, self->detail,
                        sizeof self->detail);
}

void bench_begin(bench_t *self, uint64_t seed) {
    memset(self, 0, sizeof *self);
    self->random = seed;
    self->disk = fs_faulty_new(seed);
    const fs_t *fs = fs_faulty_fs(self->disk);
    assert_int_equal(fs->mkdir(fs->self, "j"), 0);
    assert_int_equal(fs->sync_dir(fs->self, ""), 0);
    model_init(&self->model);
}

void bench_end(bench_t *self) {
    journal_close(&self->journal);
    fs_faulty_destroy(&self->disk);
    model_free(&self->model);
}

uint64_t bench_draw(bench_t *self, uint64_t below) {
    return fs_faulty_random(&self->random) % below;
}

int bench_append(bench_t *self, bool hard_state, uint64_t first, uint64_t count, uint64_t term) {
    entries_t entries = {0};
    if (hard_state)
        model_hard_state(&self->model, term, bench_draw(self, 3));
    for (uint64_t index = first; index < first + count; index++) {
        entry_t entry = model_entry(index, term);
        assert_int_equal(entries_push(&entries, &entry), 0);
        entry_clear(&entry);
        model_append(&self->model, index, term);
    }
    int rc = journal_append(self->journal, hard_state, term, model_now(&self->model)->vote,
                            entries.items, entries.count);
    entries_clear(&entries);
    return rc;
}

int bench_sync(bench_t *self) {
    int rc = journal_sync(self->journal);
    if (rc == 0)
        model_sync(&self->model);
    return rc;
}

/* Opens and finds the state that the journal holds; it becomes the present and durable one. */
void bench_recover(bench_t *self, uint64_t seed, uint64_t fault) {
    int rc = bench_open(self);
    if (rc != 0)
        fail_msg("seed %llu fault %llu: %s: %s", (unsigned long long) seed,
                 (unsigned long long) fault, error_text(rc), self->detail);
    int state = model_match(&self->model, 0, self->journal);
    if (state < 0)
        fail_msg("seed %llu fault %llu: last %llu first %llu, model %llu to %llu; %s",
                 (unsigned long long) seed, (unsigned long long) fault,
                 (unsigned long long) journal_last_index(self->journal),
                 (unsigned long long) journal_first_index(self->journal),
                 (unsigned long long) self->model.states[0].last,
                 (unsigned long long) model_now(&self->model)->last, self->detail);
    model_forget(&self->model, (size_t) state + 1);
    model_sync(&self->model);
}
