/* memory_refused.h: for programs whose memory runs out when they say so. A program that links with
 * memory_refused has all its own allocations, not those of shared libraries, come by here.
 */
#ifndef DRAX_TESTS_SUPPORT_MEMORY_REFUSED_H
#define DRAX_TESTS_SUPPORT_MEMORY_REFUSED_H

#include <stdbool.h>

/* The program's own: is the allocation that is being asked for to fail? */
bool memory_refused(void);

#endif
