/* fuzz_replay.c: the corpora as plain regression tests, for builds without libFuzzer.
 *
 *   corpus_NAME DIRECTORY…     feeds every file in them to the harness it is linked with
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

static int file_feed(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        return -1;
    long size = ftell(file);
    rewind(file);
    /* Of just this size, so that the sanitizer sees the first byte read beyond it. */
    uint8_t *data = size >= 0 ? malloc((size_t) size) : NULL;
    bool whole = (data || size == 0) && fread(data, 1, (size_t) size, file) == (size_t) size;
    (void) fclose(file);
    if (whole)
        (void) LLVMFuzzerTestOneInput(data, (size_t) size);
    free(data);
    return whole ? 0 : -1;
}

/* Files fed; -1 after a failure. */
static long directory_feed(const char *directory) {
    DIR *entries = opendir(directory);
    long count = 0;
    for (struct dirent *entry; entries && count >= 0 && (entry = readdir(entries));) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        (void) snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        count = file_feed(path) == 0 ? count + 1 : -1;
        if (count < 0)
            perror(path);
    }
    if (!entries)
        perror(directory);
    return entries && closedir(entries) == 0 ? count : -1;
}

int main(int argc, char **argv) {
    long total = 0;
    for (int i = 1; i < argc; i++) {
        long count = directory_feed(argv[i]);
        if (count < 0)
            return 1;
        total += count;
    }
    printf("%ld inputs\n", total);
    return total > 0 ? 0 : 1; /* a corpus that is gone tests nothing */
}
