// test_header_cpp.cpp: both public headers, from C++, with what a program does first.
#include <drax_node.h>

#include <cstdio>

int main(int argc, char **argv) {
    if (argc != 2)
        return 64;
    drax_node_options_t *options = drax_node_options_new();
    drax_node_t *node = nullptr;
    drax_t *store = nullptr;
    char why[DRAX_NODE_DETAIL_BYTES];
    drax_node_options_set(options, "home", argv[1]);
    drax_node_options_unbound_set(options, true);
    int error = drax_node_start(&node, options, why, sizeof why);
    if (error == 0)
        error = drax_node_ready_wait(node, 30000);
    if (error == 0)
        error = drax_node_store(node, &store);
    if (error == 0)
        error = drax_put(store, "a", 1, "b", 1, nullptr, nullptr);
    if (error != 0)
        std::fprintf(stderr, "%s %s\n", drax_error_text(error), why);
    drax_destroy(&store);
    drax_node_stop(&node);
    drax_node_options_destroy(&options);
    return error != 0;
}
