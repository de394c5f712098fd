/* check_reads.c: a read index covers all that was committed, by anybody, when the read came. */
#include "tests/sim/checks_internal.h"

void check_read_asked(checks_t *self, unsigned slot, const message_read_t *read) {
    slot_checks_t *at = &self->slots[slot];
    if (read->boot != at->asked_boot) {
        at->asked_boot = read->boot;
        at->asked_count = 0;
        at->ready_id = 0;
    }
    if (read->read_id <= at->ready_id)
        return;
    size_t newest = (at->asked_first + at->asked_count - 1) % READS_REMEMBERED;
    if (at->asked_count && at->asked[newest].read_id >= read->read_id)
        return; /* asked again: the first time counts */
    if (at->asked_count == READS_REMEMBERED) {
        at->asked_first = (at->asked_first + 1) % READS_REMEMBERED;
        at->asked_count--;
    }
    at->asked[(at->asked_first + at->asked_count++) % READS_REMEMBERED] =
        (asked_read_t){read->read_id, self->chosen.last};
}

void check_read_ready(checks_t *self, unsigned slot, const message_read_t *read) {
    slot_checks_t *at = &self->slots[slot];
    if (read->boot != at->asked_boot)
        return;
    if (read->read_id > at->ready_id)
        at->ready_id = read->read_id;
    while (at->asked_count && at->asked[at->asked_first].read_id <= read->read_id) {
        const asked_read_t *asked = &at->asked[at->asked_first];
        if (read->index < asked->chosen)
            world_fail(self->world, "read index", "slot %u: read %llu at %llu, %llu was committed",
                       slot, U(asked->read_id), U(read->index), U(asked->chosen));
        at->asked_first = (at->asked_first + 1) % READS_REMEMBERED;
        at->asked_count--;
    }
}
