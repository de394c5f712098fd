/* lock.c: adds one to a counter, one program at a time, and never after its lock was lost.
 * cc lock.c $(pkg-config --cflags --libs drax) && ./a.out 127.0.0.1:2380 */
#include <drax.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Under the lock. The fence lets the store refuse the write should the lock be lost before it. */
static int counter_add(drax_t *drax, drax_lock_t *lock) {
    char text[24] = "0";
    size_t size;
    drax_result_t *result;
    int error = drax_get(drax, "counter", 7, NULL, &result);
    if (error != 0 && error != DRAX_ERR_KEY_NOT_FOUND)
        return error;
    const void *value = drax_result_value(result, &size);
    if (value && size < sizeof text) {
        memcpy(text, value, size);
        text[size] = '\0';
    }
    drax_result_destroy(&result);
    snprintf(text, sizeof text, "%llu", strtoull(text, NULL, 10) + 1);
    drax_options_t *options = drax_options_new();
    error = options ? drax_options_fence_set(options, "counter.lock", 12, drax_lock_token(lock))
                    : DRAX_ERR_NO_MEMORY;
    if (error == 0)
        error = drax_put(drax, "counter", 7, text, strlen(text), options, NULL);
    if (error == 0)
        puts(text);
    drax_options_destroy(&options);
    return error;
}

int main(int argc, char **argv) {
    drax_t *drax;
    drax_lock_t *lock = NULL;
    int error = drax_new(&drax, argc > 1 ? argv[1] : NULL);
    if (error == 0)
        error = drax_lock_new(drax, "counter.lock", 12, 5000, NULL, 0, &lock);
    if (error == 0)
        error = drax_lock_take(lock, DRAX_FOREVER);
    if (error == 0) {
        error = counter_add(drax, lock);
        int released = drax_lock_release(lock);
        error = error != 0 ? error : released;
    }
    if (error != 0)
        fprintf(stderr, "%s\n", drax_error_text(error));
    drax_lock_destroy(&lock);
    drax_destroy(&drax);
    return error != 0;
}
