/* worker.c: of any number of these, one works: the elected one. When it dies another takes over.
 * cc worker.c $(pkg-config --cflags --libs drax) && ./a.out 127.0.0.1:2380 NAME */
#include <drax.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void on_lost(void *arg, drax_lock_t *office) {
    (void) office;
    *(int *) arg = 0; /* out of office: somebody else may be in it by now */
}

/* Does one piece of work; the fence keeps out a worker that has been replaced without knowing it.
 */
static int work(drax_t *drax, drax_lock_t *office, const char *name) {
    drax_options_t *options = drax_options_new();
    int error = options ? drax_options_fence_set(options, "worker", 6, drax_lock_token(office))
                        : DRAX_ERR_NO_MEMORY;
    if (error == 0)
        error = drax_put(drax, "work/last", 9, name, strlen(name), options, NULL);
    drax_options_destroy(&options);
    return error;
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 64;
    drax_t *drax;
    drax_lock_t *office = NULL;
    int error = drax_new(&drax, argv[1]);
    if (error == 0)
        error = drax_lock_new(drax, "worker", 6, 2000, argv[2], strlen(argv[2]), &office);
    while (error == 0 && (error = drax_lock_take(office, DRAX_FOREVER)) == 0) {
        int elected = 1;
        drax_lock_lost_set(office, on_lost, &elected);
        printf("elected, term %" PRIu64 "\n", drax_lock_token(office));
        fflush(stdout);
        while (elected && work(drax, office, argv[2]) == 0)
            (void) drax_poll(drax, 100); /* renews the lock, and tells when it is lost */
        (void) drax_lock_release(office);
        printf("out of office\n");
        fflush(stdout);
    }
    fprintf(stderr, "%s\n", drax_error_text(error));
    drax_lock_destroy(&office);
    drax_destroy(&drax);
    return 1;
}
