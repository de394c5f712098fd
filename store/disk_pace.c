/* disk_pace.c: see disk_pace.h.
 *
 * inotify(7) says when a file was made, written to or removed. Then the thread acts once in
 * DISK_PACE_MS until there is nothing to do. As long as a file has a name its content is LevelDB's:
 * only what has no link any more is cut off. Nobody reads such a file: LevelDB removes one when no
 * version has it, and every iterator and snapshot holds its version.
 */
#include "store/disk_pace.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/thread.h"

#define NAME_BYTES 32u /* LevelDB's are shorter */
#define EVENTS_BYTES 16384u
#define PAGE_BYTES UINT64_C(4096)

typedef struct followed {
    char name[NAME_BYTES];
    int fd;
    bool grows;     /* LevelDB has it open for writing */
    bool removed;   /* it has no name any more */
    uint64_t begun; /* so much of it was begun to be written; of a removed one, so much is left */
} followed_t;

struct disk_pace {
    int directory; /* -1: none, as the others */
    int events;
    int ending; /* an eventfd that says so */
    pthread_t thread;
    bool has_thread;
    followed_t files[DISK_PACE_FILES];
    size_t count;
    bool looks; /* files may have lost their names */
    atomic_uint_fast64_t written, removed;
};

/* ---- which files ---- */

static bool name_wanted(const char *name) {
    const char *ending = strrchr(name, '.');
    return ending && strlen(name) < NAME_BYTES &&
           (strcmp(ending, ".ldb") == 0 || strcmp(ending, ".log") == 0);
}

static followed_t *file_find(disk_pace_t *self, const char *name) {
    for (size_t i = 0; i < self->count; i++)
        if (!self->files[i].removed && strcmp(self->files[i].name, name) == 0)
            return &self->files[i];
    return NULL;
}

static void file_follow(disk_pace_t *self, const char *name, bool grows) {
    if (!name_wanted(name) || self->count == DISK_PACE_FILES || file_find(self, name))
        return;
    int fd = openat(self->directory, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return; /* it is gone already, or descriptors are */
    followed_t *file = &self->files[self->count++];
    *file = (followed_t){.fd = fd, .grows = grows};
    memcpy(file->name, name, strlen(name) + 1);
}

static void file_forget(disk_pace_t *self, size_t i) {
    (void) close(self->files[i].fd);
    self->files[i] = self->files[--self->count];
}

static void directory_follow(disk_pace_t *self) {
    int fd = openat(self->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *names = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *entry; names && (entry = readdir(names));)
        file_follow(self, entry->d_name, strstr(entry->d_name, ".log") != NULL);
    if (names)
        (void) closedir(names);
    else if (fd >= 0)
        (void) close(fd);
}

/* ---- what happens to them ---- */

static void event_take(disk_pace_t *self, const struct inotify_event *event) {
    if (event->mask & IN_Q_OVERFLOW)
        directory_follow(self);
    if (event->mask & (IN_Q_OVERFLOW | IN_DELETE))
        self->looks = true;
    if (event->len == 0)
        return;
    if (event->mask & IN_CREATE)
        file_follow(self, event->name, true);
    followed_t *file = event->mask & IN_CLOSE_WRITE ? file_find(self, event->name) : NULL;
    if (file)
        file->grows = false;
}

static void events_take(disk_pace_t *self) {
    _Alignas(struct inotify_event) char bytes[EVENTS_BYTES];
    for (ssize_t size; (size = read(self->events, bytes, sizeof bytes)) > 0;)
        for (ssize_t at = 0; at < size;) {
            const struct inotify_event *event = (const struct inotify_event *) (bytes + at);
            event_take(self, event);
            at += (ssize_t) (sizeof *event + event->len);
        }
}

/* Those whose names are gone. */
static void removed_find(disk_pace_t *self) {
    self->looks = false;
    for (size_t i = 0; i < self->count; i++) {
        followed_t *file = &self->files[i];
        struct stat found;
        if (file->removed || fstat(file->fd, &found) != 0 || found.st_nlink > 0)
            continue;
        file->removed = true;
        file->begun = (uint64_t) found.st_size;
    }
}

/* ---- pieces ---- */

/* True when something was begun. Whole pages alone: what grows on is written again else. */
static bool file_begin(disk_pace_t *self, followed_t *file) {
    struct stat found;
    if (fstat(file->fd, &found) != 0)
        return false;
    uint64_t end = (uint64_t) found.st_size / PAGE_BYTES * PAGE_BYTES;
    if (end < file->begun + DISK_PACE_BEGIN_BYTES)
        return false;
    /* Whether it fails LevelDB's own sync will tell. */
    (void) sync_file_range(file->fd, (off_t) file->begun, (off_t) (end - file->begun),
                           SYNC_FILE_RANGE_WRITE);
    atomic_fetch_add(&self->written, end - file->begun);
    file->begun = end;
    return true;
}

/* At most `room` bytes less of the removed file, the last ones with the descriptor; says how many.
 */
static uint64_t file_cut(disk_pace_t *self, size_t i, uint64_t room) {
    followed_t *file = &self->files[i];
    uint64_t piece = file->begun < room ? file->begun : room;
    if (file->begun > piece && ftruncate(file->fd, (off_t) (file->begun - piece)) != 0)
        piece = file->begun; /* as LevelDB would have it */
    file->begun -= piece;
    if (file->begun == 0)
        file_forget(self, i);
    atomic_fetch_add(&self->removed, piece);
    return piece;
}

/* One step of everything; false when there is nothing to do until the next event. */
static bool pieces_step(disk_pace_t *self) {
    uint64_t room = DISK_PACE_PIECE_BYTES;
    bool busy = false;
    if (self->looks)
        removed_find(self);
    for (size_t i = self->count; i-- > 0;) {
        followed_t *file = &self->files[i];
        if (file->removed && room)
            room -= file_cut(self, i, room);
        else if (file->removed)
            busy = true;
        else if (file->grows)
            busy |= file_begin(self, file);
    }
    return busy || room < DISK_PACE_PIECE_BYTES;
}

/* Waits for an event, or for the next step; false when it is to end. */
static bool pace_wait(const disk_pace_t *self, bool busy) {
    struct pollfd items[] = {{.fd = self->ending, .events = POLLIN},
                             {.fd = self->events, .events = POLLIN}};
    (void) poll(items, busy ? 1 : 2, busy ? DISK_PACE_MS : -1);
    return !(items[0].revents & POLLIN);
}

static void *pace_run(void *hint) {
    disk_pace_t *self = hint;
    for (bool busy = false; pace_wait(self, busy);) {
        events_take(self);
        busy = pieces_step(self);
    }
    return NULL;
}

/* ---- life ---- */

disk_pace_t *disk_pace_new(const char *directory) {
    disk_pace_t *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    self->events = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    self->ending = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->directory >= 0 && self->events >= 0 && self->ending >= 0 &&
        inotify_add_watch(self->events, directory,
                          IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_DELETE) >= 0) {
        directory_follow(self);
        self->has_thread = thread_start(&self->thread, pace_run, self);
        if (self->has_thread)
            return self;
    }
    disk_pace_destroy(&self);
    return NULL;
}

void disk_pace_destroy(disk_pace_t **self_p) {
    disk_pace_t *self = *self_p;
    if (!self)
        return;
    if (self->has_thread) {
        (void) eventfd_write(self->ending, 1); /* only a full counter refuses */
        pthread_join(self->thread, NULL);
    }
    while (self->count)
        file_forget(self, self->count - 1);
    const int fds[] = {self->directory, self->events, self->ending};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            (void) close(fds[i]);
    free(self);
    *self_p = NULL;
}

uint64_t disk_pace_written(const disk_pace_t *self) {
    return atomic_load(&self->written);
}

uint64_t disk_pace_removed(const disk_pace_t *self) {
    return atomic_load(&self->removed);
}
