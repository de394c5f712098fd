/* worker.c: of any number of these, one works: the elected one. When it dies another takes over.
 * cc worker.c $(pkg-config --cflags --libs drax) && ./a.out 127.0.0.1:2380 NAME */
#include <drax.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Does one piece of work; the fence keeps out a worker that has been replaced without knowing it.
 */
static int work(drax_t *drax, drax_election_t *election, const char *name) {
    drax_options_t *options = drax_options_new();
    int error = options ? drax_election_fence(election, options) : DRAX_ERR_NO_MEMORY;
    if (error == 0)
        error = drax_put(drax, "work/last", 9, name, strlen(name), options, NULL);
    drax_options_destroy(&options);
    return error;
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 64;
    drax_t *drax;
    drax_election_t *election = NULL;
    const char *name = argv[2];
    int error = drax_new(&drax, argv[1]);
    if (error == 0)
        error = drax_election_new(drax, "worker", 6, &election);
    while (error == 0 && (error = drax_election_campaign(election, name, strlen(name), 2000,
                                                         DRAX_FOREVER)) == 0) {
        printf("elected, term %" PRIu64 "\n", drax_election_term(election));
        fflush(stdout);
        while (work(drax, election, name) == 0) /* until the term is over */
            (void) drax_poll(drax, 100);        /* renews it */
        (void) drax_election_resign(election);
        printf("out of office\n");
        fflush(stdout);
    }
    fprintf(stderr, "%s\n", drax_error_text(error));
    drax_election_destroy(&election);
    drax_destroy(&drax);
    return 1;
}
