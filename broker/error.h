/* error.h: the internal error codes and their texts.
 *
 * Functions return 0 or one of these negative codes. What a client sees are the contract's codes
 * (rpc.h); the mapping is made where an answer is written.
 */
#ifndef DRAX_BROKER_ERROR_H
#define DRAX_BROKER_ERROR_H

#define DRAX_ERRORS(X)                                                                             \
    X(ENOMEM, -1, "out of memory")                                                                 \
    X(EINVAL, -2, "invalid argument")                                                              \
    X(EIO, -3, "input/output error")                                                               \
    X(ENOSPC, -4, "no space left")                                                                 \
    X(ECORRUPT, -5, "damaged data")                                                                \
    X(EPROTO, -6, "malformed message")                                                             \
    X(EVERSION, -7, "unsupported version")                                                         \
    X(EAGAIN, -8, "not now")                                                                       \
    X(ENOTFOUND, -9, "not found")                                                                  \
    X(EEXIST, -10, "exists already")                                                               \
    X(EINUSE, -11, "in use")                                                                       \
    X(ECOMPACTED, -12, "compacted")                                                                \
    X(ENOTLEADER, -13, "not the leader")                                                           \
    X(EPENDING, -14, "another membership change is pending")                                       \
    X(ETOOLARGE, -15, "too large")                                                                 \
    X(ETIMEDOUT, -16, "timed out")                                                                 \
    X(ECONFIG, -17, "bad configuration")                                                           \
    X(EUSAGE, -18, "bad usage")

enum {
#define X(name, code, text) DRAX_##name = (code),
    DRAX_ERRORS(X)
#undef X
        DRAX_OK = 0
};

/* The text of one of the codes above; "unknown error" for any other. Static storage. */
const char *error_text(int code);

#endif
