/* admission.h: which reads go to storage when, so that no connection holds up the others.
 *
 * Owns: the order of the reads that wait in the gateway. A connection has as many reads with
 * storage as its answers fit into ADMISSION_BYTES, by their average size so far; it begins with
 * ADMISSION_START and gains one with each answer. One that does not take its answers has none until
 * it does. Connections take turns.
 */
#ifndef DRAX_ACTORS_ADMISSION_H
#define DRAX_ACTORS_ADMISSION_H

#include "actors/pending.h"

#define ADMISSION_BYTES (4u << 20)
#define ADMISSION_START 64u
#define ADMISSION_LEAST 4u
#define ADMISSION_MOST 4096u

typedef struct admission {
    account_t *first, *last; /* connections with reads that wait, linked by waiting_next */
} admission_t;

/* Lets the read `token` of `pending` wait. DRAX_ENOMEM. */
int admission_add(admission_t *self, pending_t *pending, uint64_t token);

/* The next read that may go now, which then counts as gone; NULL: none. */
pending_t *admission_next(admission_t *self, pendings_t *pendings);

/* A read of `account` that had gone was answered with `size` bytes. */
void admission_answered(account_t *account, size_t size);

#endif
