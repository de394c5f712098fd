/* three_nodes.c: a cluster of three nodes in one process.
 * cc three_nodes.c $(pkg-config --cflags --libs drax_node) && ./a.out /tmp/three */
#include <drax_node.h>
#include <stdio.h>

static drax_node_t *node_start(const char *top, int number) {
    char home[4096], addr[32], why[DRAX_NODE_DETAIL_BYTES];
    drax_node_options_t *options = drax_node_options_new();
    drax_node_t *node = NULL;
    snprintf(home, sizeof home, "%s/node%d", top, number);
    snprintf(addr, sizeof addr, "127.0.0.1:%d", 24800 + 10 * number);
    if (!options || drax_node_options_set(options, "home", home) ||
        drax_node_options_set(options, "addr", addr) ||
        (number > 1 && drax_node_options_set(options, "peer", "127.0.0.1:24810")))
        fprintf(stderr, "out of memory\n");
    else if (drax_node_start(&node, options, why, sizeof why))
        fprintf(stderr, "%s\n", why);
    drax_node_options_destroy(&options);
    return node;
}

int main(int argc, char **argv) {
    drax_node_t *nodes[3] = {NULL};
    drax_t *store = NULL;
    int error = argc == 2 ? 0 : DRAX_ERR_USAGE;
    for (int i = 0; i < 3 && !error; i++)
        error = (nodes[i] = node_start(argv[1], i + 1)) ? 0 : DRAX_ERR_SYSTEM;
    for (int i = 0; i < 3 && !error; i++)
        error = drax_node_ready_wait(nodes[i], 10000);
    if (!error && !(error = drax_node_store(nodes[2], &store)))
        error = drax_put(store, "greeting", 8, "hello", 5, NULL, NULL);
    printf("%s\n", drax_error_text(error));
    drax_destroy(&store);
    for (int i = 0; i < 3; i++)
        drax_node_stop(&nodes[i]);
    return error != 0;
}
