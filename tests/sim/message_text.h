/* message_text.h: a message as a line of the trace tells it. */
#ifndef DRAX_TESTS_SIM_MESSAGE_TEXT_H
#define DRAX_TESTS_SIM_MESSAGE_TEXT_H

#include "broker/message.h"

void message_text(const message_t *message, char *out, size_t size);

#endif
