/* Server streams in the format that Accept asked for (SPEC §5). No message waits for a later one;
 * an error after the first byte is never mistaken for success. */
#include "pipeline/metadata.h"
#include "pipeline/reply.h"
#include "pipeline/rest.h"
#include "proto/wire.h"

static enum tr_err put(struct tr_exchange *x, struct tr_span s)
{
    return tr_buf_append(&x->hs->out, s);
}

static enum tr_err head(struct tr_exchange *x, struct tr_rest *r, struct tr_span http_body_type)
{
    struct tr_span type =
        r->resp_http_body ? http_body_type : tr_accept_type(&x->hs->head.headers, r->format);
    enum tr_err err = tr_exchange_header(x, TR_SPAN("content-type"), type, TR_TOKEN_CONTENT_TYPE);
    if (!err && r->format == TR_FORMAT_SSE && !r->resp_http_body)
        err = tr_exchange_header(x, TR_SPAN("cache-control"), TR_SPAN("no-cache"),
                                 TR_TOKEN_CACHE_CONTROL);
    if (!err && r->choice)
        err = tr_exchange_header(x, TR_SPAN("vary"), TR_SPAN("Accept"), TR_TOKEN_NONE);
    if (!err)
        err = tr_exchange_send_head(x, 200, x->head_only ? -2 : -1,
                                    x->head_only); /* HEAD: a GET would have no length either */
    if (!err && x->head_only)
        tr_exchange_done(x);
    return err;
}

/* Room for a length in front is made by writing the message first: a varint of a known length
 * cannot be reserved. */
static enum tr_err put_delimited(struct tr_exchange *x, struct tr_span message)
{
    char len[TR_VARINT_MAX];
    size_t at = x->hs->out.len;
    enum tr_err err = tr_rest_put_message(x, message, &x->hs->out);
    if (err)
        return err;
    size_t n = x->hs->out.len - at, k = tr_wire_put_varint(len, n);
    err = tr_buf_reserve(&x->hs->out, k);
    if (err)
        return err;
    memmove(x->hs->out.ptr + at + k, x->hs->out.ptr + at, n);
    memcpy(x->hs->out.ptr + at, len, k);
    x->hs->out.len += k;
    return TR_OK;
}

static enum tr_err put_framed(struct tr_exchange *x, struct tr_span message)
{
    struct tr_rest *r = x->rest;
    struct tr_span before = TR_SPAN(""), after = TR_SPAN("\n");
    switch (r->format) {
    case TR_FORMAT_JSON:
        before = r->messages == 1 ? TR_SPAN("[") : TR_SPAN(",");
        after = TR_SPAN("");
        break;
    case TR_FORMAT_NDJSON:
        break;
    case TR_FORMAT_SSE:
        before = TR_SPAN("data: ");
        after = TR_SPAN("\n\n");
        break;
    case TR_FORMAT_JSON_SEQ:
        before = TR_SPAN("\x1e");
        break;
    case TR_FORMAT_PROTO:
        return put_delimited(x, message);
    }
    enum tr_err err = put(x, before);
    if (!err)
        err = tr_rest_put_message(x, message, &x->hs->out);
    return err ? err : put(x, after);
}

enum tr_err tr_rest_stream_message(struct tr_exchange *x, struct tr_span message)
{
    struct tr_rest *r = x->rest;
    struct tr_span type = TR_SPAN("application/octet-stream"), data = message;
    size_t mark = x->hs->out.len;
    enum tr_err err = TR_OK;
    if (r->resp_http_body) {
        struct tr_span named;
        err = tr_rest_http_body(r->plan, message, &named, &data);
        /* only the first one's goes into the head: no copy is made for the others, of which there
         * may be any number */
        if (!err && !x->head_sent && named.len && tr_http_is_field_value(named) &&
            tr_span_find(named, '/') < named.len) {
            type = tr_arena_copy(&x->hs->arena, named);
            err = type.ptr ? TR_OK : TR_ERR_NOMEM;
        }
    }
    r->messages++;
    if (!err)
        err = tr_rest_reserve(x, 2 * data.len);
    if (!err)
        err = r->resp_http_body ? put(x, data) : put_framed(x, message);
    if (err) { /* nothing of a message that cannot be printed is sent */
        x->hs->out.len = mark;
        return err;
    }
    if (!x->head_sent) {
        err = head(x, r, type);
        if (err || x->ended) {
            x->hs->out.len = mark;
            return err;
        }
    }
    x->bytes_out += x->hs->out.len - mark;
    r->last_write_ns = x->last_message_ns;
    x->hs->ops->commit(x->hs, false);
    return TR_OK;
}

static void end_with_trailers(struct tr_exchange *x, const struct tr_headers *backend)
{
    struct tr_headers out = {0};
    enum tr_err err = tr_reply_trailers(x, &out);
    if (!err && backend)
        err = tr_metadata_response(x, backend, &out);
    if (!err)
        err = x->hs->ops->send_trailers(x->hs, &out);
    if (err)
        x->hs->ops->reset(x->hs, TR_HRESET_INTERNAL);
}

void tr_rest_stream_end(struct tr_exchange *x, const struct tr_headers *trailers)
{
    struct tr_rest *r = x->rest;
    enum tr_err err = TR_OK;
    if (!x->head_sent) {
        err = head(x, r, TR_SPAN("application/octet-stream"));
        if (!err && x->ended)
            return;
    }
    if (!err && !r->resp_http_body && r->format == TR_FORMAT_JSON)
        err = put(x, r->messages ? TR_SPAN("]") : TR_SPAN("[]"));
    if (!err && !r->resp_http_body && r->format == TR_FORMAT_SSE)
        err = put(x, TR_SPAN("event: end\ndata: {}\n\n"));
    if (err) {
        tr_exchange_fail(x, err);
        return;
    }
    x->hs->ops->commit(x->hs, false);
    end_with_trailers(x, trailers);
    tr_exchange_done(x);
}

/* The failure as a last line or event. */
static enum tr_err put_failure(struct tr_exchange *x)
{
    struct tr_rest *r = x->rest;
    enum tr_err err;
    bool sse = r->format == TR_FORMAT_SSE;
    err = sse ? put(x, TR_SPAN("event: status\ndata: "))
              : put(x, r->format == TR_FORMAT_JSON_SEQ ? TR_SPAN("\x1e{\"error\":")
                                                       : TR_SPAN("{\"error\":"));
    if (!err)
        err = tr_reply_status_json(x, &x->hs->out);
    return err ? err : put(x, sse ? TR_SPAN("\n\n") : TR_SPAN("}\n"));
}

void tr_rest_abort(struct tr_exchange *x)
{
    struct tr_rest *r = x->rest;
    size_t mark = x->hs->out.len;
    bool lines = r && !r->resp_http_body &&
                 (r->format == TR_FORMAT_NDJSON || r->format == TR_FORMAT_SSE ||
                  r->format == TR_FORMAT_JSON_SEQ);
    if (!lines || !x->streaming_out) {
        x->hs->ops->reset(x->hs, TR_HRESET_INTERNAL);
        return;
    }
    if (put_failure(x)) {
        x->hs->out.len = mark;
        x->hs->ops->reset(x->hs, TR_HRESET_INTERNAL);
        return;
    }
    x->bytes_out += x->hs->out.len - mark;
    x->hs->ops->commit(x->hs, false);
    end_with_trailers(x, r->up_trailers);
}

uint64_t tr_rest_tick(struct tr_exchange *x, uint64_t now_ns)
{
    struct tr_rest *r = x->rest;
    uint64_t every = x->policy->sse_keepalive;
    if (!x->streaming_out || every == 0 || (r && (r->format != TR_FORMAT_SSE || r->resp_http_body)))
        return 0;
    if (!r) /* before the format is known: only streams ask again */
        return now_ns + every;
    if (!x->head_sent)
        return now_ns + every;
    if (now_ns >= r->last_write_ns + every) {
        if (x->hs->ops->queued(x->hs) == 0 && put(x, TR_SPAN(": keep-alive\n\n")) == TR_OK)
            x->hs->ops->commit(x->hs, false);
        r->last_write_ns = now_ns;
    }
    return r->last_write_ns + every;
}
