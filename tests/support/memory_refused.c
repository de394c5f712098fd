/* memory_refused.c: see the header. The linker sends every allocation of the program here. */
#include "tests/support/memory_refused.h"

#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size) {
    return memory_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    return memory_refused() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size) {
    return memory_refused() ? NULL : __real_realloc(memory, size);
}

char *__wrap_strdup(const char *text) {
    return memory_refused() ? NULL : __real_strdup(text);
}
