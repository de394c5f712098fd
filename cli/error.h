/* error.h: from the protocol's error words to the client's codes. */
#ifndef DRAX_CLI_ERROR_H
#define DRAX_CLI_ERROR_H

#include <stddef.h>

#include "drax.h"

/* The code of one of the protocol's words; DRAX_ERR_PROTOCOL for any other. */
int error_from_name(const void *name, size_t size);

#endif
