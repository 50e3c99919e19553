#include "pipeline/reply.h"

#include "base/base64.h"
#include "base/num.h"
#include "http/h1_emit.h"
#include "pipeline/chain.h"
#include "pipeline/metadata.h"
#include "transcode/rpcstatus.h"

enum tr_err tr_exchange_header(struct tr_exchange *x, struct tr_span name, struct tr_span value,
                               enum tr_token token)
{
    return tr_headers_add(&x->resp_headers, &x->hs->arena, name, value, token);
}

enum tr_err tr_exchange_send_head(struct tr_exchange *x, unsigned status, int64_t content_length,
                                  bool end)
{
    struct tr_resp_head head;
    tr_chain_response(x);
    x->head_sent = true;
    x->http_status = (uint16_t)status;
    head = (struct tr_resp_head){
        .status = (uint16_t)status, .headers = x->resp_headers, .content_length = content_length};
    return x->hs->ops->send_head(x->hs, &head, end);
}

unsigned tr_reply_http_status(const struct tr_exchange *x)
{
    return x->end.http_status ? x->end.http_status : tr_http_from_grpc(x->end.code);
}

/* ---- the backend's status -------------------------------------------------------------------- */

enum tr_err tr_reply_take_trailers(struct tr_exchange *x, unsigned http_status,
                                   const struct tr_headers *trailers)
{
    const struct tr_header *status = tr_headers_find(trailers, TR_TOKEN_GRPC_STATUS, NULL);
    const struct tr_header *message = tr_headers_find(trailers, TR_TOKEN_GRPC_MESSAGE, NULL);
    const struct tr_header *details = tr_headers_find(trailers, TR_TOKEN_GRPC_STATUS_DETAILS, NULL);
    uint64_t code = 2;
    x->end = (struct tr_rpc_end){.from_backend = true};
    if (status && http_status != 200 && tr_span_eq(status->value, TR_SPAN("0")))
        status = NULL; /* HTTP says that it failed */
    if (!status) {
        code = http_status == 200 ? 2 : tr_grpc_from_http(http_status);
        x->end.code = (uint8_t)code;
        if (http_status == 200) {
            x->end.message = TR_SPAN("the upstream ended the call without a grpc-status");
            return TR_OK;
        }
        char *p = tr_arena_alloc(&x->hs->arena, 64);
        if (!p)
            return TR_ERR_NOMEM;
        memcpy(p, "the upstream answered HTTP ", 27);
        x->end.message = tr_span(p, 27 + tr_num_u64(p + 27, http_status));
        return TR_OK;
    }
    if (!tr_span_u64(status->value, &code) || code > UINT8_MAX)
        code = 2;
    x->end.code = (uint8_t)code;
    if (code == 0)
        return TR_OK;
    /* the binary status lives as long as the exchange */
    struct tr_buf buf = tr_bufpool_get(x->w->h->bufs);
    enum tr_err err = tr_rpcstatus_from_trailers(
        &buf, (unsigned)code, message ? message->value : tr_span(NULL, 0),
        details ? details->value : tr_span(NULL, 0), &x->w->scratch);
    if (!err) {
        x->end.details = tr_arena_copy(&x->hs->arena, tr_buf_span(&buf));
        x->end.message = tr_rpcstatus_view(x->end.details).message;
        err = x->end.details.ptr ? TR_OK : TR_ERR_NOMEM;
    }
    tr_bufpool_put(x->w->h->bufs, &buf);
    tr_arena_reset(&x->w->scratch);
    return err;
}

/* Who has used too much is told when to come again also in the status: what Retry-After says, for
 * clients that do not see headers. -1: nothing. */
static int64_t retry_delay_ms(const struct tr_exchange *x)
{
    uint64_t seconds;
    const struct tr_header *h =
        x->end.code == 8 ? tr_headers_find_name(&x->resp_headers, TR_SPAN("retry-after")) : NULL;
    if (!h || !tr_span_u64(h->value, &seconds) || seconds > INT64_MAX / 1000)
        return -1;
    return (int64_t)seconds * 1000;
}

enum tr_err tr_reply_status(struct tr_exchange *x, struct tr_span *ret_status)
{
    struct tr_buf buf;
    enum tr_err err;
    if (x->end.details.len && (x->policy->debug_info || !x->end.from_backend)) {
        *ret_status = x->end.details;
        return TR_OK;
    }
    buf = tr_bufpool_get(x->w->h->bufs);
    if (x->end.details.len) {
        err = tr_rpcstatus_filter(&buf, x->end.details, false);
    } else {
        struct tr_status st;
        if (x->st && x->st->err == x->end.err && x->end.err != TR_OK) {
            st = *x->st;
        } else {
            tr_status_clear(&st);
            st.err = x->end.err ? x->end.err : TR_ERR_INTERNAL;
            (void)tr_fail(&st, st.err, "%.*s",
                          (int)(x->end.message.len < 250 ? x->end.message.len : 250),
                          x->end.message.ptr);
        }
        if (x->end.from_backend)
            err = tr_rpcstatus_from_trailers(&buf, x->end.code, x->end.message, tr_span(NULL, 0),
                                             &x->w->scratch);
        else
            err = tr_rpcstatus_build(&buf, &st, x->end.code, retry_delay_ms(x));
    }
    if (!err) {
        *ret_status = tr_arena_copy(&x->hs->arena, tr_buf_span(&buf));
        err = ret_status->ptr ? TR_OK : TR_ERR_NOMEM;
    }
    tr_bufpool_put(x->w->h->bufs, &buf);
    return err;
}

static enum tr_err status_json(struct tr_exchange *x, struct tr_span status,
                               enum tr_error_format format, bool pretty, struct tr_buf *out)
{
    unsigned http = tr_reply_http_status(x);
    struct tr_rpcstatus_json_opts opts = {
        .pool = x->snap->pool,
        .format = format,
        .http_status = http,
        .http_title = tr_h1_reason(http),
        .allow_debug_info = x->policy->debug_info,
        .pretty = pretty,
        .proto_names = x->policy->proto_names,
        .enums_as_numbers = x->policy->enums_as_numbers,
        .emit_defaults = x->policy->emit_defaults,
    };
    enum tr_err err = tr_rpcstatus_json(out, status, &opts, &x->w->scratch);
    tr_arena_reset(&x->w->scratch);
    return err;
}

enum tr_err tr_reply_status_json(struct tr_exchange *x, struct tr_buf *out)
{
    struct tr_span status;
    enum tr_err err = tr_reply_status(x, &status);
    return err ? err : status_json(x, status, TR_ERROR_FORMAT_STATUS, false, out);
}

/* ---- answers --------------------------------------------------------------------------------- */

static enum tr_err number_header(struct tr_exchange *x, struct tr_span name, uint64_t v)
{
    char *p = tr_arena_alloc(&x->hs->arena, TR_NUM_MAX);
    if (!p)
        return TR_ERR_NOMEM;
    return tr_exchange_header(x, name, tr_span(p, tr_num_u64(p, v)), TR_TOKEN_NONE);
}

void tr_exchange_retry_after(struct tr_exchange *x, uint64_t wait_ns)
{
    uint64_t seconds = wait_ns / 1000000000 + (wait_ns % 1000000000 != 0);
    if (wait_ns != UINT64_MAX)
        (void)!number_header(x, TR_SPAN("retry-after"), seconds);
}

static enum tr_err error_headers(struct tr_exchange *x, struct tr_span status, bool as_proto)
{
    unsigned http = tr_reply_http_status(x);
    struct tr_span type = as_proto ? TR_SPAN("application/x-protobuf")
                          : x->policy->error_format == TR_ERROR_FORMAT_PROBLEM
                              ? TR_SPAN("application/problem+json")
                              : TR_SPAN("application/json");
    enum tr_err err = tr_exchange_header(x, TR_SPAN("content-type"), type, TR_TOKEN_CONTENT_TYPE);
    int64_t after = tr_rpcstatus_retry_after(status);
    /* what the backend says of itself as metadata stands */
    if (!err && after >= 0 && !tr_headers_find_name(&x->resp_headers, TR_SPAN("retry-after")))
        err = number_header(x, TR_SPAN("retry-after"), (uint64_t)after);
    if (!err && http == 401 && !tr_headers_find_name(&x->resp_headers, TR_SPAN("www-authenticate")))
        err = tr_exchange_header(x, TR_SPAN("www-authenticate"), TR_SPAN("Bearer"), TR_TOKEN_NONE);
    return err;
}

enum tr_err tr_reply_rest(struct tr_exchange *x, bool as_proto, bool pretty)
{
    struct tr_hstream *hs = x->hs;
    struct tr_span status;
    hs->out.len = hs->out_pos; /* what a transcoder left behind */
    enum tr_err err = tr_reply_status(x, &status);
    if (!err)
        err = error_headers(x, status, as_proto);
    if (!err)
        err = as_proto ? tr_buf_append(&hs->out, status)
                       : status_json(x, status, (enum tr_error_format)x->policy->error_format,
                                     pretty, &hs->out);
    if (err)
        return err;
    size_t len = hs->out.len - hs->out_pos;
    if (x->head_only)
        hs->out.len = hs->out_pos;
    err = tr_exchange_send_head(x, tr_reply_http_status(x), (int64_t)len, x->head_only);
    if (!err && !x->head_only) {
        x->bytes_out += len;
        hs->ops->commit(hs, true);
    }
    return err;
}

enum tr_err tr_reply_trailers(struct tr_exchange *x, struct tr_headers *out)
{
    struct tr_arena *arena = &x->hs->arena;
    char *p = tr_arena_alloc(arena, TR_NUM_MAX);
    if (!p)
        return TR_ERR_NOMEM;
    enum tr_err err = tr_headers_add(out, arena, TR_SPAN("grpc-status"),
                                     tr_span(p, tr_num_u64(p, x->end.code)), TR_TOKEN_GRPC_STATUS);
    if (err || x->end.code == 0)
        return err;
    struct tr_buf buf = tr_bufpool_get(x->w->h->bufs);
    struct tr_span status = {NULL, 0};
    err = tr_rpcstatus_encode_message(&buf, x->end.message);
    if (!err && buf.len)
        err = tr_headers_add(out, arena, TR_SPAN("grpc-message"),
                             tr_arena_copy(arena, tr_buf_span(&buf)), TR_TOKEN_GRPC_MESSAGE);
    tr_bufpool_put(x->w->h->bufs, &buf);
    if (!err)
        err = tr_reply_status(x, &status);
    if (!err && status.len) {
        char *b64 = tr_arena_alloc(arena, tr_base64_encoded_len(status.len) + 1);
        if (!b64)
            return TR_ERR_NOMEM;
        err = tr_headers_add(out, arena, TR_SPAN("grpc-status-details-bin"),
                             tr_span(b64, tr_base64_encode_unpadded(b64, status)),
                             TR_TOKEN_GRPC_STATUS_DETAILS);
    }
    return err;
}

enum tr_err tr_reply_grpc(struct tr_exchange *x)
{
    enum tr_err err = tr_exchange_header(x, TR_SPAN("content-type"), TR_SPAN("application/grpc"),
                                         TR_TOKEN_CONTENT_TYPE);
    if (!err)
        err = tr_reply_trailers(x, &x->resp_headers);
    x->hs->out.len = x->hs->out_pos;
    return err ? err : tr_exchange_send_head(x, 200, -1, true);
}

void tr_reply_text(struct tr_exchange *x, unsigned status, struct tr_span content_type,
                   struct tr_span body)
{
    struct tr_hstream *hs = x->hs;
    tr_exchange_step(x, TR_STEP_REPLY);
    if (tr_exchange_header(x, TR_SPAN("content-type"), content_type, TR_TOKEN_CONTENT_TYPE) ||
        tr_exchange_header(x, TR_SPAN("cache-control"), TR_SPAN("no-store"),
                           TR_TOKEN_CACHE_CONTROL) ||
        (!x->head_only && tr_buf_append(&hs->out, body)) ||
        tr_exchange_send_head(x, status, (int64_t)body.len, x->head_only)) {
        hs->ops->reset(hs, TR_HRESET_INTERNAL);
    } else if (!x->head_only) {
        hs->ops->commit(hs, true);
    }
    tr_exchange_done(x);
}
