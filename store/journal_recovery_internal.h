/* journal_recovery_internal.h: what the two files of recovery share. Not for anyone else.
 *
 *   journal_recovery.c  which files there are, and the judgement of what lies behind the end
 *   journal_walk.c      from the oldest header to the end
 */
#ifndef DRAX_STORE_JOURNAL_RECOVERY_INTERNAL_H
#define DRAX_STORE_JOURNAL_RECOVERY_INTERNAL_H

#include "store/journal_internal.h"

typedef struct recovery {
    journal_t *journal;
    char *detail;
    size_t detail_size;
    uint64_t *sequences; /* of the files, ascending */
    size_t count, capacity;
    uint8_t *data; /* the file being looked at, whole */
    uint64_t size, data_capacity;
    uint64_t vouched;   /* the greatest `durable` of what the chain holds */
    uint64_t evidence;  /* the greatest `durable` behind its end */
    const char *reason; /* why the chain ended; NULL: in zeros */
    bool sealed;        /* the last record taken is a SEAL */
    bool headless;      /* the chain ended before a SEAL whose next segment has no header */
    uint64_t seal_prev;
} recovery_t;

/* ---- journal_recovery.c ---- */

/* Opens the file of the segment and reads all of it into `data`. `*file` may be open after a
 * failure too. */
int recovery_load(recovery_t *self, uint64_t sequence, fs_file_t **file);
/* The offset after the last byte of `data` from `from` on that is not zero; `from` when all are. */
uint64_t recovery_content_end(const recovery_t *self, uint64_t from);
/* The sentence for whoever opens the journal. */
void recovery_explain(recovery_t *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Says what is damaged, and where. DRAX_ECORRUPT. */
int recovery_corrupt(recovery_t *self, uint64_t sequence, uint64_t offset, const char *reason);

/* ---- journal_walk.c ---- */

/* Takes all that the chain holds into the journal: *walked segments. DRAX_ECORRUPT, DRAX_EVERSION,
 * DRAX_ENOMEM, DRAX_EIO. */
int recovery_walk(recovery_t *self, size_t *walked);

#endif
