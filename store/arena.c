/* arena.c: pieces cut from blocks, one after the other.
 *
 * Invariants
 *  1. A piece of up to ARENA_PIECE_BYTES lies in a block, in use or in `spares` under its size.
 *  2. A larger one stands alone, behind a head in the list `large`, as long as it is in use.
 */
#include "store/arena.h"

#include <stdlib.h>
#include <sys/mman.h>

struct arena_piece {
    arena_piece_t *next;
};

struct arena_block {
    _Alignas(ARENA_STEP_BYTES) arena_block_t *next;
};

struct arena_large {
    _Alignas(ARENA_STEP_BYTES) arena_large_t *next;
    arena_large_t **at; /* what points here */
};

static void *large_take(arena_t *self, size_t size) {
    arena_large_t *large = size < SIZE_MAX - sizeof *large ? malloc(sizeof *large + size) : NULL;
    if (!large)
        return NULL;
    large->next = self->large;
    large->at = &self->large;
    if (large->next)
        large->next->at = &large->next;
    self->large = large;
    return large + 1;
}

static void large_free(arena_large_t *large) {
    *large->at = large->next;
    if (large->next)
        large->next->at = large->at;
    free(large);
}

/* Blocks are the kernel's pages, not malloc's: what a flush lets go is many megabytes, which malloc
 * would keep. */
static arena_block_t *block_add(arena_t *self) {
    arena_block_t *block =
        mmap(NULL, ARENA_BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        return NULL;
    block->next = self->blocks;
    self->blocks = block;
    self->used = sizeof *block;
    return block;
}

static size_t step_of(size_t size) {
    return (size + ARENA_STEP_BYTES - 1) / ARENA_STEP_BYTES;
}

void *arena_take(arena_t *self, size_t size) {
    if (size > ARENA_PIECE_BYTES)
        return large_take(self, size);
    size_t step = step_of(size);
    arena_piece_t *spare = self->spares[step];
    if (spare) {
        self->spares[step] = spare->next;
        return spare;
    }
    size = step * ARENA_STEP_BYTES;
    if ((!self->blocks || self->used + size > ARENA_BLOCK_BYTES) && !block_add(self))
        return NULL;
    uint8_t *piece = (uint8_t *) self->blocks + self->used;
    self->used += size;
    return piece;
}

void arena_give(arena_t *self, void *piece, size_t size) {
    if (size > ARENA_PIECE_BYTES) {
        large_free((arena_large_t *) piece - 1);
        return;
    }
    arena_piece_t *spare = piece;
    spare->next = self->spares[step_of(size)];
    self->spares[step_of(size)] = spare;
}

void arena_free(arena_t *self) {
    while (self->large)
        large_free(self->large);
    while (self->blocks) {
        arena_block_t *next = self->blocks->next;
        (void) munmap(self->blocks, ARENA_BLOCK_BYTES); /* cannot fail: it is one whole mapping */
        self->blocks = next;
    }
    *self = (arena_t){.blocks = NULL};
}
