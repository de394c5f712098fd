/* json.h: the fields of results, keys and values as JSON, and back. */
#ifndef DRAX_CLI_JSON_H
#define DRAX_CLI_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "drax.h"

/* Bytes: a string when they are UTF-8, else {"base64": "…"}. NULL: out of memory. */
json_t *json_from_bytes(const void *data, size_t size);

/* Any field, with all that is in it. NULL: out of memory. */
json_t *json_from_field(const drax_field_t *field);

/* The object, without a newline; else as json_line_print. */
bool json_print(FILE *out, json_t *object);

/* One line: the object, then a newline. Takes `object` over; NULL is allowed and fails. False: out
 * of memory. Write errors stay in `out`. */
bool json_line_print(FILE *out, json_t *object);

/* A key or value as json_from_bytes writes it. False: it is something else, or no memory. The
 * caller frees `out`. */
bool json_to_bytes(const json_t *json, void **out, size_t *out_size);

/* A line of an export: {"key": …, "value": …} and nothing else. On true the caller frees both. On
 * false `why` gets a short reason. */
bool json_pair_parse(const char *line, size_t size, void **key, size_t *key_size, void **value,
                     size_t *value_size, char *why, size_t why_size);

#endif
