/* fs_faulty_node.c: see the header. */
#include "tests/support/fs_faulty_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/fs_faulty.h"

#define SECTOR 512u

uint64_t fs_faulty_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void *checked(void *memory) {
    if (!memory) {
        (void) fprintf(stderr, "fs_faulty: out of memory\n");
        abort();
    }
    return memory;
}

node_t *node_new(bool directory) {
    node_t *node = checked(calloc(1, sizeof *node));
    node->directory = directory;
    return node;
}

node_t *node_ref(node_t *node) {
    node->refs++;
    return node;
}

void node_unref(node_t *node) {
    if (--node->refs > 0)
        return;
    free(node->data);
    free(node->disk);
    free(node->dirty);
    free(node);
}

void node_grow(node_t *node, uint64_t size) {
    if (size <= node->capacity)
        return;
    uint64_t capacity = node->capacity * 2 > size ? node->capacity * 2 : size;
    capacity = (capacity + SECTOR - 1) / SECTOR * SECTOR;
    uint64_t more = capacity - node->capacity;
    node->data = checked(realloc(node->data, (size_t) capacity));
    node->disk = checked(realloc(node->disk, (size_t) capacity));
    node->dirty = checked(realloc(node->dirty, (size_t) (capacity / SECTOR) * sizeof(bool)));
    memset(node->data + node->capacity, 0, (size_t) more);
    memset(node->disk + node->capacity, 0, (size_t) more);
    memset(node->dirty + node->capacity / SECTOR, 0, (size_t) (more / SECTOR) * sizeof(bool));
    node->capacity = capacity;
}

static void sectors_dirty(node_t *node, uint64_t from, uint64_t to) {
    if (node->dirty_from == node->dirty_to)
        node->dirty_from = node->dirty_to = from;
    node->dirty_from = from < node->dirty_from ? from : node->dirty_from;
    node->dirty_to = to > node->dirty_to ? to : node->dirty_to;
    memset(node->dirty + from, 1, (size_t) (to - from) * sizeof(bool));
}

void node_touch(node_t *node) {
    sectors_dirty(node, 0, node->capacity / SECTOR);
}

static void sectors_clean(node_t *node) {
    memset(node->dirty + node->dirty_from, 0,
           (size_t) (node->dirty_to - node->dirty_from) * sizeof(bool));
    node->dirty_from = node->dirty_to = 0;
}

void node_write(node_t *node, const uint8_t *data, size_t size, uint64_t offset) {
    if (size == 0)
        return;
    node_grow(node, offset + size);
    memcpy(node->data + offset, data, size);
    sectors_dirty(node, offset / SECTOR, (offset + size - 1) / SECTOR + 1);
    if (offset + size > node->size) {
        node->size = offset + size;
        node->size_dirty = true;
    }
}

static void sector_settle(node_t *node, uint64_t sector, size_t from, size_t to) {
    memcpy(node->disk + sector * SECTOR + from, node->data + sector * SECTOR + from, to - from);
}

/* All of it reaches the disk. */
void node_settle(node_t *node) {
    for (uint64_t sector = node->dirty_from; sector < node->dirty_to; sector++)
        if (node->dirty[sector])
            sector_settle(node, sector, 0, SECTOR);
    if (node->capacity > 0)
        sectors_clean(node);
    node->disk_size = node->size;
    node->size_dirty = false;
}

/* Some of it does: each sector new, old or torn. */
void node_settle_some(node_t *node, uint64_t *random) {
    for (uint64_t sector = node->dirty_from; sector < node->dirty_to; sector++) {
        if (!node->dirty[sector])
            continue;
        uint64_t choice = fs_faulty_random(random);
        size_t cut = (size_t) (choice >> 8) % SECTOR;
        switch (choice % 4) {
        case 0:
            break;
        case 1:
            sector_settle(node, sector, 0, cut);
            break;
        case 2:
            sector_settle(node, sector, cut, SECTOR);
            break;
        default:
            sector_settle(node, sector, 0, SECTOR);
        }
    }
    if (node->size_dirty && (fs_faulty_random(random) & 1) != 0)
        node->disk_size = node->size;
}

/* Some sectors reach the disk before anyone asks; they may still be overwritten, and lost then. */
void node_write_back(node_t *node, uint64_t *random) {
    for (uint64_t sector = node->dirty_from; sector < node->dirty_to; sector++)
        if (node->dirty[sector] && (fs_faulty_random(random) & 1) != 0)
            sector_settle(node, sector, 0, SECTOR);
}

/* What the disk has is all there is. */
void node_restart(node_t *node) {
    node->size = node->disk_size;
    node->size_dirty = false;
    if (node->capacity == 0)
        return;
    sectors_clean(node);
    memset(node->disk + node->size, 0, (size_t) (node->capacity - node->size));
    memcpy(node->data, node->disk, (size_t) node->capacity);
}

void node_resize(node_t *node, uint64_t size) {
    node_grow(node, size);
    if (size < node->size) {
        memset(node->data + size, 0, (size_t) (node->size - size));
        sectors_dirty(node, size / SECTOR, (node->size + SECTOR - 1) / SECTOR);
    }
    node->size = size;
    node->size_dirty = true;
}

void node_forget(node_t *node) {
    if (node->capacity > 0)
        sectors_clean(node);
}
