/* follow.c: the client's descriptor beside the signals'. */
#include "cli/follow.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/interrupt.h"

bool follow_open(follow_t *self, cli_t *cli) {
    *self = (follow_t){.cli = cli, .interrupt_fd = interrupt_open(0), .code = EXIT_OK};
    if (self->interrupt_fd >= 0 && drax_fd(cli->drax) >= 0)
        return true;
    follow_close(self);
    follow_end(self, cli_fail(EXIT_SYSTEM, "no descriptor left"));
    return false;
}

void follow_end(follow_t *self, int code) {
    self->code = code;
    self->done = true;
}

void follow_printed(follow_t *self, bool made) {
    if (!made)
        follow_end(self, cli_fail(EXIT_SYSTEM, "out of memory"));
    else if (fflush(stdout) != 0)
        follow_end(self, EXIT_IO);
}

static void round_run(follow_t *self, uint64_t deadline_ms) {
    struct pollfd items[] = {{.fd = self->interrupt_fd, .events = POLLIN},
                             {.fd = drax_fd(self->cli->drax), .events = POLLIN}};
    uint64_t now_ms = interrupt_now_ms();
    int wait_ms = self->answered ? -1 : now_ms < deadline_ms ? (int) (deadline_ms - now_ms) : 0;
    int count = poll(items, 2, wait_ms);
    if (count < 0 && errno != EINTR)
        follow_end(self, cli_fail(EXIT_SYSTEM, "%s", strerror(errno)));
    else if (count == 0 && !self->answered)
        follow_end(self, cli_fail(EXIT_UNAVAILABLE, "UNAVAILABLE: no endpoint answers"));
    else if (items[0].revents)
        follow_end(self, self->code); /* as asked */
    else if (drax_process(self->cli->drax) < 0)
        follow_end(self, cli_fail(EXIT_SYSTEM, "the client cannot go on"));
}

void follow_run(follow_t *self) {
    uint64_t deadline_ms = interrupt_now_ms() + self->cli->timeout_ms;
    while (!self->done)
        round_run(self, deadline_ms);
}

void follow_close(follow_t *self) {
    if (self->interrupt_fd >= 0)
        (void) close(self->interrupt_fd);
    self->interrupt_fd = -1;
}
