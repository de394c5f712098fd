/* test_arena.c: pieces of all sizes, apart from each other, and used again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "message_random.h"
#include "store/arena.h"

#define PIECES 500u

/* In use at any time: each is filled with its number and must stay so. */
static void pieces_do_not_overlap(void **unused) {
    (void) unused;
    arena_t arena = {.blocks = NULL};
    uint8_t *pieces[PIECES] = {NULL};
    size_t sizes[PIECES];
    uint64_t seed = 5;
    for (unsigned turn = 0; turn < 20000; turn++) {
        size_t at = random_next(&seed) % PIECES;
        if (pieces[at]) {
            for (size_t i = 0; i < sizes[at]; i++)
                assert_int_equal(pieces[at][i], (uint8_t) at);
            arena_give(&arena, pieces[at], sizes[at]);
        }
        sizes[at] = 8 + random_next(&seed) % (turn % 10 ? 600 : 2 * ARENA_PIECE_BYTES);
        pieces[at] = arena_take(&arena, sizes[at]);
        assert_non_null(pieces[at]);
        assert_int_equal((uintptr_t) pieces[at] % ARENA_STEP_BYTES, 0);
        memset(pieces[at], (uint8_t) at, sizes[at]);
    }
    arena_free(&arena);
    assert_null(arena.blocks);
}

static void what_is_given_back_comes_again(void **unused) {
    (void) unused;
    arena_t arena = {.blocks = NULL};
    void *first = arena_take(&arena, 100), *second = arena_take(&arena, 100);
    assert_ptr_not_equal(first, second);
    arena_give(&arena, first, 100);
    assert_ptr_not_equal(arena_take(&arena, 200), first);
    assert_ptr_equal(arena_take(&arena, 97), first); /* of the same step */
    arena_free(&arena);
}

static void the_largest_pieces(void **unused) {
    (void) unused;
    arena_t arena = {.blocks = NULL};
    const size_t sizes[] = {ARENA_PIECE_BYTES, ARENA_PIECE_BYTES + 1, 4 * ARENA_BLOCK_BYTES};
    for (size_t i = 0; i < 3 * 100; i++) {
        uint8_t *piece = arena_take(&arena, sizes[i % 3]);
        assert_non_null(piece);
        memset(piece, 1, sizes[i % 3]);
        if (i % 2)
            arena_give(&arena, piece, sizes[i % 3]);
    }
    assert_null(arena_take(&arena, SIZE_MAX));
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_do_not_overlap),
        cmocka_unit_test(what_is_given_back_comes_again),
        cmocka_unit_test(the_largest_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
