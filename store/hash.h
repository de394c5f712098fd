/* hash.h: XXH3, as fast as the processor can.
 *
 * libxxhash's own functions use what every processor of its kind has; where it was built with its
 * dispatcher, that one asks for more. A value of 1 MB then takes 16 us instead of 70 or more; short
 * keys take the same.
 */
#ifndef DRAX_STORE_HASH_H
#define DRAX_STORE_HASH_H

#include <xxhash.h>
#ifdef DRAX_XXH_DISPATCH
#include <xxh_x86dispatch.h> /* gives the same names to its functions */
#endif

#endif
