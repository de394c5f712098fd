/* progress.c: a bar on a terminal, lines elsewhere. Nothing depends on whether standard error takes
 * them. */
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define TERMINAL_MS 100
#define LINES_MS 1000
#define BAR_CELLS 30

static uint64_t now_ms(void) {
    struct timespec now = {0, 0};
    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

void progress_begin(progress_t *self, const char *verb, uint64_t total, bool asked) {
    *self = (progress_t){.verb = verb, .total = total, .start_ms = now_ms()};
    self->shown_ms = self->start_ms;
    self->terminal = isatty(STDERR_FILENO) == 1;
    self->lines = asked && !self->terminal;
}

static void bar_draw(const progress_t *self, uint64_t done) {
    char bar[BAR_CELLS + 1];
    double share = done < self->total ? (double) done / (double) self->total : 1.0;
    int full = (int) (share * BAR_CELLS);
    for (int i = 0; i < BAR_CELLS; i++)
        bar[i] = i < full ? '#' : '.';
    bar[BAR_CELLS] = '\0';
    fprintf(stderr, "[%s] %3d%%  ", bar, (int) (share * 100));
}

void progress_show(progress_t *self, uint64_t keys, uint64_t done) {
    if (!self->terminal && !self->lines)
        return;
    uint64_t now = now_ms();
    if (now - self->shown_ms < (self->terminal ? TERMINAL_MS : LINES_MS))
        return;
    self->shown_ms = now;
    double elapsed = (double) (now - self->start_ms) / 1000;
    double rate = elapsed > 0 ? (double) keys / elapsed : 0;
    if (self->terminal) {
        fputs("\r\033[K", stderr);
        if (self->total > 0)
            bar_draw(self, done);
    }
    fprintf(stderr, "%s %" PRIu64 " keys, %.0f/s, %.1f s", self->verb, keys, rate, elapsed);
    if (!self->terminal)
        fputc('\n', stderr);
    self->drawn = self->terminal;
    fflush(stderr);
}

void progress_wipe(progress_t *self) {
    if (self->drawn)
        fputs("\r\033[K", stderr);
    self->drawn = false;
}

void progress_end(progress_t *self, uint64_t keys) {
    progress_wipe(self);
    fprintf(stderr, "%s %" PRIu64 " keys in %.1f s\n", self->verb, keys,
            (double) (now_ms() - self->start_ms) / 1000);
}
