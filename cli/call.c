/* call.c: requests encoded, and the rules for sending one again.
 *
 *   request = [0, msgid, method, [param..., {options}?]]
 */
#include "cli/call.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/limits.h"
#include "cli/options.h"

int call_new(call_t **out, const call_spec_t *spec, uint32_t msgid, const client_id_t *client,
             uint64_t seq) {
    *out = NULL;
    size_t size = 0;
    for (size_t i = 0; !spec->packed.data && i < spec->param_count; i++) {
        if (!spec->params[i].bytes.data && spec->params[i].bytes.size > 0)
            return DRAX_ERR_USAGE;
        /* Each alone, so that the sum cannot overflow. A server may drop the connection for more.
         */
        if (spec->params[i].bytes.size > LIMIT_REQUEST_MAX_BYTES)
            return DRAX_ERR_TOO_LARGE;
        size += spec->params[i].bytes.size;
    }
    if (size > LIMIT_REQUEST_MAX_BYTES || spec->packed.size > LIMIT_REQUEST_MAX_BYTES)
        return DRAX_ERR_TOO_LARGE;
    call_t *self = calloc(1, sizeof *self);
    if (!self)
        return DRAX_ERR_NO_MEMORY;
    self->kind = spec->kind;
    self->msgid = msgid;
    self->seq = spec->session ? 0 : seq;
    uint64_t spare_ms = UINT64_MAX / 2 - CLIENT_ATTEMPT_MS; /* so that times can be added to it */
    self->attempt_ms =
        CLIENT_ATTEMPT_MS + (spec->patience_ms < spare_ms ? spec->patience_ms : spare_ms);
    size_t options = options_count(spec->options) + (spec->kind == CALL_WRITE ? 2 : 0);
    pack_array(&self->request, 4);
    pack_uint(&self->request, 0);
    pack_uint(&self->request, msgid);
    pack_str(&self->request, spec->method);
    pack_array(&self->request, spec->param_count + (options > 0));
    if (spec->packed.data)
        buffer_append(&self->request, spec->packed.data, spec->packed.size);
    for (size_t i = 0; !spec->packed.data && i < spec->param_count; i++)
        call_param_pack(&self->request, &spec->params[i]);
    if (options > 0)
        pack_map(&self->request, options);
    options_pack(&self->request, spec->options);
    if (spec->kind == CALL_WRITE) {
        pack_str(&self->request, "client");
        pack_bin(&self->request, client->bytes, sizeof client->bytes);
        pack_str(&self->request, "seq");
        pack_uint(&self->request, seq);
    }
    int error = self->request.failed                           ? DRAX_ERR_NO_MEMORY
                : self->request.size > LIMIT_REQUEST_MAX_BYTES ? DRAX_ERR_TOO_LARGE
                                                               : 0;
    if (error != 0)
        call_destroy(&self);
    *out = self;
    return error;
}

void call_param_pack(buffer_t *out, const param_t *param) {
    switch (param->kind) {
    case PARAM_KEY:
    case PARAM_TEXT:
        pack_key(out, param->bytes.data, param->bytes.size);
        break;
    case PARAM_VALUE:
        pack_bin(out, param->bytes.data, param->bytes.size);
        break;
    case PARAM_NUMBER:
        if (param->number == 0)
            pack_nil(out);
        else
            pack_uint(out, param->number);
        break;
    }
}

void call_destroy(call_t **self) {
    call_t *call = *self;
    *self = NULL;
    if (!call)
        return;
    buffer_free(&call->request);
    drax_result_destroy(&call->result);
    free(call);
}

void call_finish(call_t *self, int error, const char *detail, drax_result_t *result) {
    assert(self->state != CALL_DONE);
    self->state = CALL_DONE;
    self->on = NULL;
    self->error = error;
    self->result = result;
    if (error == 0)
        self->detail[0] = '\0';
    else if (detail && detail[0])
        snprintf(self->detail, sizeof self->detail, "%s", detail);
    else if (!self->detail[0])
        snprintf(self->detail, sizeof self->detail, "%s", drax_error_text(error));
}

void call_lost(call_t *self, uint64_t now_ms) {
    assert(self->state == CALL_SENT);
    if (self->kind == CALL_ADMIN) {
        call_finish(self, DRAX_ERR_TIMEOUT, "the connection was lost before the answer", NULL);
        return;
    }
    self->unknown = true;
    self->refusal = 0;
    self->state = CALL_WAITING;
    self->on = NULL;
    self->due_ms = now_ms;
}

void call_refused(call_t *self, int error, const char *detail, uint64_t now_ms) {
    assert(self->state == CALL_SENT);
    uint64_t attempt_ms = now_ms - self->sent_ms;
    if (attempt_ms < CLIENT_ATTEMPT_MIN_MS)
        attempt_ms = CLIENT_ATTEMPT_MIN_MS;
    if (attempt_ms > CLIENT_ATTEMPT_MS)
        attempt_ms = CLIENT_ATTEMPT_MS; /* a lock was waited for */
    unsigned shift = self->retries < 8 ? self->retries : 8;
    uint64_t pause_ms = (uint64_t) CLIENT_RETRY_MIN_MS << shift;
    if (pause_ms > CLIENT_RETRY_MAX_MS)
        pause_ms = CLIENT_RETRY_MAX_MS;
    self->retries++;
    self->unknown = self->unknown || error == DRAX_ERR_TIMEOUT;
    self->refusal = error;
    self->state = CALL_WAITING;
    self->on = NULL;
    self->due_ms = now_ms + pause_ms;
    snprintf(self->detail, sizeof self->detail, "%s", detail);
    bool again = self->kind != CALL_ADMIN || error == DRAX_ERR_UNAVAILABLE;
    if (!again || self->due_ms + attempt_ms >= self->deadline_ms)
        call_expire(self, detail);
}

void call_expire(call_t *self, const char *detail) {
    bool effect = self->kind != CALL_READ && self->unknown;
    bool timeout = self->state == CALL_SENT || effect || self->refusal == DRAX_ERR_TIMEOUT;
    call_finish(self, timeout ? DRAX_ERR_TIMEOUT : DRAX_ERR_UNAVAILABLE, detail, NULL);
}
