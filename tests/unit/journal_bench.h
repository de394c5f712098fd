/* journal_bench.h: a journal on a faulty disk next to the model of what it must hold; for cmocka
 * tests.
 */
#ifndef DRAX_TESTS_JOURNAL_BENCH_H
#define DRAX_TESTS_JOURNAL_BENCH_H

#include "store/journal.h"
#include "tests/support/fs_faulty.h"
#include "tests/unit/journal_model.h"

#define SEGMENT 4096u
#define SALT 99u

typedef struct bench {
    fs_faulty_t *disk;
    journal_t *journal;
    model_t model;
    uint64_t random;
    char detail[512];
} bench_t;

/* An empty disk with the directory `j`; nothing open. */
void bench_begin(bench_t *self, uint64_t seed);
void bench_end(bench_t *self);
int bench_open(bench_t *self);
/* Opens and finds the state that the journal holds; it becomes the present and durable one. The
 * test fails when there is none; `fault` is for the message. */
void bench_recover(bench_t *self, uint64_t seed, uint64_t fault);
uint64_t bench_draw(bench_t *self, uint64_t below);

/* On the journal and the model; the journal's code. */
int bench_append(bench_t *self, bool hard_state, uint64_t first, uint64_t count, uint64_t term);
int bench_sync(bench_t *self);

#endif
