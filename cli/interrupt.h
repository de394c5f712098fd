/* interrupt.h: SIGINT and SIGTERM as a descriptor, for commands that go on until then. */
#ifndef DRAX_CLI_INTERRUPT_H
#define DRAX_CLI_INTERRUPT_H

#include <stdint.h>

/* Blocks both and `more` (0: none), and gives a descriptor that is readable when one has come; -1
 * on failure. */
int interrupt_open(int more);

/* CLOCK_MONOTONIC in milliseconds. */
uint64_t interrupt_now_ms(void);

#endif
