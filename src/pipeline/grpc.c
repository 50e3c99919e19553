/* Native gRPC (SPEC §8): messages untouched, trailers kept, all four kinds. Frames are only
 * measured, for their limits. */
#include "base/base64.h"
#include "pipeline/attempt.h"
#include "pipeline/metadata.h"
#include "pipeline/relay.h"
#include "pipeline/reply.h"
#include "transcode/rpcstatus.h"

/* Follows frame headers through a stream of bytes without keeping any. */
struct meter {
    uint64_t max_bytes;
    uint64_t left; /* of the message under way */
    uint8_t header[5];
    uint8_t header_len;
    enum tr_err oversized;
};

struct grpc {
    struct meter up, down;
    bool waits; /* the call begins when the message is there */
};

static enum tr_err meter_take(struct meter *m, struct tr_span data)
{
    while (data.len) {
        if (m->left) {
            uint64_t n = m->left < data.len ? m->left : data.len;
            m->left -= n;
            data = tr_span_from(data, (size_t)n);
            continue;
        }
        m->header[m->header_len++] = (uint8_t)data.ptr[0];
        data = tr_span_from(data, 1);
        if (m->header_len < 5)
            continue;
        m->header_len = 0;
        if (m->header[0] > 1)
            return TR_ERR_BAD_GRPC_FRAME;
        m->left = (uint64_t)m->header[1] << 24 | (uint64_t)m->header[2] << 16 |
                  (uint64_t)m->header[3] << 8 | m->header[4];
        if (m->max_bytes && m->left > m->max_bytes)
            return m->oversized;
    }
    return TR_OK;
}

static enum tr_err begin(struct tr_exchange *x)
{
    struct grpc *g = TR_ARENA_NEW(&x->hs->arena, struct grpc);
    if (!g)
        return TR_ERR_NOMEM;
    g->up = (struct meter){.max_bytes = x->policy->max_request_bytes,
                           .oversized = TR_ERR_BODY_TOO_LARGE};
    g->down = (struct meter){.max_bytes = x->policy->max_response_bytes,
                             .oversized = TR_ERR_UPSTREAM_OVERSIZED};
    x->grpc = g;
    x->req = tr_bufpool_get(x->w->h->bufs);
    /* the message decides where the call goes: it is waited for */
    g->waits = x->route->upstream->conf->hash_on == TR_HASH_ON_FIELD && !x->streaming_in;
    enum tr_err err = g->waits ? TR_OK : tr_exchange_acquire(x);
    if (err)
        return err;
    if (x->hs->head.expect_continue)
        x->hs->ops->send_continue(x->hs);
    return TR_OK;
}

static enum tr_err acquire_late(struct tr_exchange *x, struct grpc *g)
{
    g->waits = false;
    return tr_exchange_acquire(x);
}

static enum tr_err on_body(struct tr_exchange *x, struct tr_span data)
{
    struct grpc *g = x->grpc;
    if (!x->call_open && !g->waits && x->step != TR_STEP_RETRY)
        return TR_OK;
    enum tr_err err = meter_take(&g->up, data);
    if (err)
        return err;
    if (x->policy->max_stream_bytes && x->bytes_in > x->policy->max_stream_bytes)
        return TR_ERR_STREAM_TOO_LARGE;
    tr_attempt_compact(x); /* native calls of every kind are streams of bytes */
    err = tr_buf_append(&x->req, data);
    if (!err && g->waits && g->up.left == 0 && g->up.header_len == 0)
        err = acquire_late(x, g);
    if (!err)
        tr_attempt_commit(x, false);
    x->last_message_ns = tr_loop_now_ns(x->w->h->loop);
    return err;
}

static enum tr_err on_body_end(struct tr_exchange *x)
{
    struct grpc *g = x->grpc;
    if (!x->call_open && !g->waits && x->step != TR_STEP_RETRY)
        return TR_OK;
    if (g->up.left || g->up.header_len) /* the client ends within a message */
        return TR_ERR_BAD_GRPC_FRAME;
    if (g->waits) {
        enum tr_err err = acquire_late(x, g);
        if (err)
            return err;
    }
    tr_attempt_commit(x, true);
    return TR_OK;
}

static bool answer_is_grpc(struct tr_exchange *x, unsigned http_status,
                           const struct tr_headers *headers)
{
    const struct tr_header *type = tr_headers_find(headers, TR_TOKEN_CONTENT_TYPE, NULL);
    bool has_status = tr_headers_find(headers, TR_TOKEN_GRPC_STATUS, NULL) != NULL;
    if (http_status == 200 && type && tr_is_grpc_type(type->value))
        return true;
    if (http_status == 200 && has_status && !type)
        return true;
    if (http_status == 200)
        tr_exchange_fail(x, TR_ERR_UPSTREAM_CONTENT_TYPE);
    else if (tr_reply_take_trailers(x, http_status, headers))
        tr_exchange_fail(x, TR_ERR_NOMEM);
    else
        tr_exchange_fail_rpc(x);
    return false;
}

/* google.rpc.DebugInfo is for the operator's eyes in every dialect (SPEC §6); else the details go
 * on as they came. */
static enum tr_err put_details(struct tr_exchange *x, const struct tr_header *h,
                               struct tr_headers *out)
{
    struct tr_arena *arena = &x->hs->arena;
    struct tr_span value = h->value;
    size_t n = 0;
    if (!x->policy->debug_info) {
        char *plain = tr_arena_alloc(arena, tr_base64_decoded_max(value.len) + 1);
        if (!plain)
            return TR_ERR_NOMEM;
        if (tr_base64_decode(plain, value, &n) != TR_OK)
            n = 0;
        if (n && memmem(plain, n, "google.rpc.DebugInfo", 20)) {
            struct tr_buf kept = tr_bufpool_get(x->w->h->bufs);
            enum tr_err err = tr_rpcstatus_filter(&kept, tr_span(plain, n), false);
            char *text = err ? NULL : tr_arena_alloc(arena, tr_base64_encoded_len(kept.len) + 1);
            if (text)
                value = tr_span(text, tr_base64_encode_unpadded(text, tr_buf_span(&kept)));
            tr_bufpool_put(x->w->h->bufs, &kept);
            if (!text)
                return TR_ERR_NOMEM;
        }
    }
    return tr_headers_add(out, arena, h->name, value, (enum tr_token)h->token);
}

/* What is gRPC's own: the end of the call in trailers, and in both what tr_metadata_response keeps
 * from other clients. */
static enum tr_err put_grpc(struct tr_exchange *x, const struct tr_headers *in, bool trailers,
                            struct tr_headers *out)
{
    enum tr_err err = TR_OK;
    for (uint32_t i = 0; i < in->count && !err; i++) {
        const struct tr_header *h = &in->items[i];
        bool end = h->token == TR_TOKEN_GRPC_STATUS || h->token == TR_TOKEN_GRPC_MESSAGE ||
                   h->token == TR_TOKEN_GRPC_STATUS_DETAILS;
        if (!tr_span_starts(h->name, TR_SPAN("grpc-")) || (end && !trailers))
            continue;
        err = h->token == TR_TOKEN_GRPC_STATUS_DETAILS
                  ? put_details(x, h, out)
                  : tr_headers_add(out, &x->hs->arena, h->name, h->value, (enum tr_token)h->token);
    }
    return err;
}

static void on_head(struct tr_exchange *x, unsigned http_status, const struct tr_headers *headers,
                    bool end)
{
    if (!answer_is_grpc(x, http_status, headers) ||
        end) /* of a trailers-only answer on_end makes everything */
        return;
    const struct tr_header *type = tr_headers_find(headers, TR_TOKEN_CONTENT_TYPE, NULL);
    enum tr_err err =
        tr_exchange_header(x, TR_SPAN("content-type"),
                           type ? type->value : TR_SPAN("application/grpc"), TR_TOKEN_CONTENT_TYPE);
    if (!err)
        err = put_grpc(x, headers, false, &x->resp_headers);
    if (!err)
        err = tr_metadata_response(x, headers, &x->resp_headers);
    if (!err)
        err = tr_exchange_send_head(x, 200, -1, false);
    if (err)
        tr_exchange_fail(x, err);
}

static enum tr_err on_data(struct tr_exchange *x, struct tr_span data)
{
    struct grpc *g = x->grpc;
    struct meter before = g->down;
    enum tr_err err = meter_take(&g->down, data);
    if (err) /* nothing of this piece goes out: the client stands where it stood */
        g->down = before;
    if (err == TR_ERR_BAD_GRPC_FRAME)
        err = TR_ERR_UPSTREAM_MALFORMED;
    if (!err)
        err = tr_buf_append(&x->hs->out, data);
    if (err)
        return err;
    x->bytes_out += data.len;
    x->hs->ops->commit(x->hs, false);
    return TR_OK;
}

static enum tr_err trailers_out(struct tr_exchange *x, const struct tr_headers *trailers,
                                struct tr_headers *out)
{
    enum tr_err err = put_grpc(x, trailers, true, out);
    return err ? err : tr_metadata_response(x, trailers, out);
}

static void on_end(struct tr_exchange *x, const struct tr_headers *trailers)
{
    struct grpc *g = x->grpc;
    const struct tr_header *status = tr_headers_find(trailers, TR_TOKEN_GRPC_STATUS, NULL);
    struct tr_headers out = {0};
    if (!status || g->down.left || g->down.header_len) {
        if (status)
            tr_exchange_fail(x, TR_ERR_UPSTREAM_MALFORMED);
        else if (tr_reply_take_trailers(x, 200, trailers))
            tr_exchange_fail(x, TR_ERR_NOMEM);
        else
            tr_exchange_fail_rpc(x);
        return;
    }
    uint64_t code;
    x->end = (struct tr_rpc_end){.from_backend = true, .code = 2};
    if (tr_span_u64(status->value, &code) && code < UINT8_MAX)
        x->end.code = (uint8_t)code;
    enum tr_err err;
    if (!x->head_sent) { /* trailers-only stays trailers-only */
        err = tr_exchange_header(x, TR_SPAN("content-type"), TR_SPAN("application/grpc"),
                                 TR_TOKEN_CONTENT_TYPE);
        if (!err)
            err = trailers_out(x, trailers, &x->resp_headers);
        if (!err)
            err = tr_exchange_send_head(x, 200, -1, true);
    } else {
        err = trailers_out(x, trailers, &out);
        if (!err)
            err = x->hs->ops->send_trailers(x->hs, &out);
    }
    if (err)
        tr_exchange_fail(x, err);
    else
        tr_exchange_done(x);
}

static void refuse(struct tr_exchange *x)
{
    if (tr_reply_grpc(x))
        x->hs->ops->reset(x->hs, TR_HRESET_INTERNAL);
}

static void end_badly(struct tr_exchange *x)
{
    struct grpc *g = x->grpc;
    struct tr_headers out = {0};
    /* A message cut in the middle cannot be followed by trailers that a client would believe. */
    if (g->down.left || g->down.header_len || tr_reply_trailers(x, &out) ||
        x->hs->ops->send_trailers(x->hs, &out))
        x->hs->ops->reset(x->hs, TR_HRESET_INTERNAL);
}

const struct tr_dialect tr_dialect_grpc = {
    .name = "grpc",
    .begin = begin,
    .on_body = on_body,
    .on_body_end = on_body_end,
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .refuse = refuse,
    .abort = end_badly,
};
