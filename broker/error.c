#include "broker/error.h"

const char *error_text(int code) {
    switch (code) {
#define X(name, number, text)                                                                      \
    case DRAX_##name:                                                                              \
        return text;
        DRAX_ERRORS(X)
#undef X
    case DRAX_OK:
        return "ok";
    default:
        return "unknown error";
    }
}
