#include <stdio.h>
#include <stdlib.h>

#include "actors/home_restore.h"
#include "actors/node_internal.h"
#include "broker/error.h"

int drax_node_restore(const drax_node_options_t *options, const char *file, uint64_t skip,
                      uint64_t *revision, char *detail, size_t detail_size) {
    char scratch[DRAX_NODE_DETAIL_BYTES];
    uint64_t begins = 0;
    settings_t *settings = malloc(sizeof *settings);
    if (!settings)
        return DRAX_ERR_NO_MEMORY;
    if (detail_size == 0) {
        detail = scratch;
        detail_size = sizeof scratch;
    }
    detail[0] = '\0';
    int rc = settings_from_pairs(settings, options->pairs, options->count, detail, detail_size);
    if (rc == 0)
        rc = home_restore(settings, file, skip, &begins, detail, detail_size);
    free(settings);
    int error = node_error(rc == DRAX_EVERSION ? DRAX_ECORRUPT : rc);
    if (error && !detail[0])
        snprintf(detail, detail_size, "%s", drax_error_text(error));
    if (error == 0 && revision)
        *revision = begins;
    return error;
}
