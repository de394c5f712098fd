/* error.c: the client's error codes, their texts and their names in the protocol. */
#include "cli/error.h"

#include <string.h>

static const struct {
    int code;
    const char *name, *text;
} errors[] = {
    {0, "OK", "ok"},
    {DRAX_ERR_NO_MEMORY, "NO_MEMORY", "out of memory"},
    {DRAX_ERR_USAGE, "USAGE", "bad argument"},
    {DRAX_ERR_PROTOCOL, "PROTOCOL", "not an answer of this protocol"},
    {DRAX_ERR_FULL, "FULL", "too many calls in flight"},
    {DRAX_ERR_CLOSED, "CLOSED", "the client was closed"},
    {DRAX_ERR_SYSTEM, "SYSTEM", "no socket or descriptor left"},
    {DRAX_ERR_IN_USE, "IN_USE", "in use"},
    {DRAX_ERR_STORAGE, "STORAGE", "the disk failed or is damaged"},
    {DRAX_ERR_KEY_NOT_FOUND, "KEY_NOT_FOUND", "key not found"},
    {DRAX_ERR_KEY_EXISTS, "KEY_EXISTS", "the key exists"},
    {DRAX_ERR_KEY_MODIFIED, "KEY_MODIFIED", "the key was modified"},
    {DRAX_ERR_PREVIOUS_NOT_SPECIFIED, "PREVIOUS_NOT_SPECIFIED", "no previous index given"},
    {DRAX_ERR_CANNOT_LOCK, "CANNOT_LOCK", "cannot lock"},
    {DRAX_ERR_LOCK_LOST, "LOCK_LOST", "the lock was lost"},
    {DRAX_ERR_LEASE_NOT_FOUND, "LEASE_NOT_FOUND", "lease not found"},
    {DRAX_ERR_COMPACTED, "COMPACTED", "that history is no longer kept"},
    {DRAX_ERR_INVALID_ARGUMENT, "INVALID_ARGUMENT", "invalid argument"},
    {DRAX_ERR_UNKNOWN_METHOD, "UNKNOWN_METHOD", "the server does not know this method"},
    {DRAX_ERR_TOO_LARGE, "TOO_LARGE", "too large"},
    {DRAX_ERR_PERMISSION_DENIED, "PERMISSION_DENIED", "permission denied"},
    {DRAX_ERR_UNAVAILABLE, "UNAVAILABLE", "unavailable"},
    {DRAX_ERR_TIMEOUT, "TIMEOUT", "timed out, outcome unknown"},
};

#define ERROR_COUNT (sizeof errors / sizeof *errors)

const char *drax_error_text(int error) {
    for (size_t i = 0; i < ERROR_COUNT; i++)
        if (errors[i].code == error)
            return errors[i].text;
    return "unknown error";
}

const char *drax_error_name(int error) {
    for (size_t i = 0; i < ERROR_COUNT; i++)
        if (errors[i].code == error)
            return errors[i].name;
    return "UNKNOWN";
}

int error_from_name(const void *name, size_t size) {
    for (size_t i = 0; i < ERROR_COUNT; i++)
        if (errors[i].code <= DRAX_ERR_KEY_NOT_FOUND && strlen(errors[i].name) == size &&
            memcmp(errors[i].name, name, size) == 0)
            return errors[i].code;
    return DRAX_ERR_PROTOCOL;
}
