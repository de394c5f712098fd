/* fs_faulty_node.h: files and directories of the faulty disk, without their names: what is seen and
 * what the disk has. Internal to fs_faulty.
 */
#ifndef DRAX_TESTS_FS_FAULTY_NODE_H
#define DRAX_TESTS_FS_FAULTY_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct node {
    unsigned refs; /* names in both tables, open files, pending operations */
    bool directory;
    bool mapped;          /* once; its memory is written by others */
    uint8_t *data, *disk; /* both `capacity` bytes, zeros beyond the size */
    uint64_t size, disk_size, capacity;
    bool *dirty; /* one a sector; none outside dirty_from <= sector < dirty_to */
    uint64_t dirty_from, dirty_to;
    bool size_dirty;
} node_t;

/* Out of memory ends the program. */
void *checked(void *memory);

node_t *node_new(bool directory); /* no reference yet */
node_t *node_ref(node_t *node);
void node_unref(node_t *node);
void node_write(node_t *node, const uint8_t *data, size_t size, uint64_t offset);
void node_resize(node_t *node, uint64_t size);
/* All of it reaches the disk. */
void node_settle(node_t *node);
/* Some of it does: each sector new, old or torn. */
void node_settle_some(node_t *node, uint64_t *random);
/* Some sectors do before anyone asks; they may still be overwritten, and lost then. */
void node_write_back(node_t *node, uint64_t *random);
/* All of it may differ from what the disk has. */
void node_touch(node_t *node);
/* It is forgotten that the disk has not got it yet. */
void node_forget(node_t *node);
/* What the disk has is all there is. */
void node_restart(node_t *node);

#endif
