#include "http/coding.h"
#include "pipeline/attempt.h"
#include "pipeline/rest.h"
#include "proto/wire.h"
#include "transcode/wirecheck.h"

#define JSON_DEPTH_MAX      100
#define HTTP_BODY_CHUNK_MAX ((size_t)64 * 1024)

/* ---- bindings -------------------------------------------------------------------------------- */

static enum tr_err bind_path(struct tr_exchange *x, struct tr_rest *r)
{
    const struct tr_route_match *m = x->match;
    for (uint32_t i = 0; i < m->capture_count; i++) {
        struct tr_span value;
        enum tr_err err =
            tr_capture_decode(&m->captures[i], (enum tr_path_unescape)x->policy->path_unescape,
                              &x->hs->arena, &value);
        if (err)
            return err;
        size_t var = (size_t)(m->captures[i].var - m->tmpl->vars);
        err = tr_bind_value(r->plan->path_binds[var], value, &r->binds, tr_exchange_status(x));
        if (err)
            return err;
    }
    return TR_OK;
}

static enum tr_err bind_query(struct tr_exchange *x, struct tr_rest *r)
{
    struct tr_query_opts opts = tr_route_query_opts(x->route);
    r->query.sys.pretty = -1;
    if (!x->hs->head.query.ptr || x->hs->head.query.len == 0)
        return TR_OK;
    return tr_query_bind(r->plan->rpc->input, x->hs->head.query, &opts, &x->hs->arena, &r->binds,
                         &r->query, tr_exchange_status(x));
}

/* ---- messages into x->req -------------------------------------------------------------------- */

static enum tr_err message_begin(struct tr_exchange *x, struct tr_rest *r)
{
    static const char zero[TR_FRAME_HEADER_BYTES];
    x->req_open = true;
    x->req_open_at = x->req.len;
    r->message_done = false;
    return tr_buf_append(&x->req, tr_span(zero, sizeof zero));
}

/* Bindings and mask behind the body, the frame's header before it, and off it goes. */
static enum tr_err message_end(struct tr_exchange *x, struct tr_rest *r)
{
    enum tr_err err = TR_OK;
    if (r->mask_wanted && !r->binds_used)
        err = tr_mask_put(&r->mask, r->plan->mask_field, &x->req);
    if (!err && !r->binds_used)
        err = tr_buf_append(&x->req, tr_buf_span(&r->binds));
    if (err)
        return err;
    r->binds_used = true;
    r->jopts.on_path = NULL; /* the mask is of the first message */
    size_t len = x->req.len - x->req_open_at - TR_FRAME_HEADER_BYTES;
    if (len > UINT32_MAX || (x->policy->max_request_bytes && len > x->policy->max_request_bytes))
        return TR_ERR_BODY_TOO_LARGE;
    tr_frame_put_header(x->req.ptr + x->req_open_at, false, (uint32_t)len);
    x->req_open = false;
    tr_arena_reset(&r->msg);
    r->j = NULL;
    if (x->call_open) {
        x->last_message_ns = tr_loop_now_ns(x->w->h->loop);
        tr_attempt_commit(x, false);
        if (x->streaming_in)
            tr_attempt_compact(x);
    }
    return TR_OK;
}

static enum tr_err count_bytes(struct tr_exchange *x, struct tr_rest *r, size_t n)
{
    r->body_bytes += n;
    if (!x->streaming_in)
        return x->policy->max_request_bytes && r->body_bytes > x->policy->max_request_bytes
                   ? TR_ERR_BODY_TOO_LARGE
                   : TR_OK;
    /* of a stream each message is measured when it is written */
    return x->policy->max_stream_bytes && r->body_bytes > x->policy->max_stream_bytes
               ? TR_ERR_STREAM_TOO_LARGE
               : TR_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static enum tr_err json_message_begin(struct tr_exchange *x, struct tr_rest *r)
{
    enum tr_err err = message_begin(x, r);
    if (err)
        return err;
    r->j = tr_json2pb_new(&r->msg, r->plan->rpc->input, r->plan->body_field, &r->jopts, &x->req);
    return r->j ? TR_OK : TR_ERR_NOMEM;
}

static enum tr_err scan_error(struct tr_exchange *x, const struct tr_rest *r)
{
    *tr_exchange_status(x) = r->scan.st;
    return r->scan.st.err;
}

static enum tr_err json_unary(struct tr_exchange *x, struct tr_rest *r)
{
    enum tr_err err = TR_OK;
    if (!r->message_done) {
        err = tr_json2pb_run(r->j, &r->scan, tr_exchange_status(x));
        if (err)
            return err == TR_ERR_AGAIN ? TR_OK : err;
        r->message_done = true;
    }
    enum tr_json_tok tok = tr_json_scan_next(&r->scan); /* what may follow is white space */
    return tok == TR_JSON_ERROR ? scan_error(x, r) : TR_OK;
}

/* The next element of the array, or the next value, has begun. TR_ERR_AGAIN: more input is needed;
 * TR_ERR_EOF: there is none. */
static enum tr_err json_stream_next(struct tr_exchange *x, struct tr_rest *r)
{
    for (;;) {
        enum tr_json_tok tok = tr_json_scan_next(&r->scan);
        if (tok == TR_JSON_MORE)
            return TR_ERR_AGAIN;
        if (tok == TR_JSON_ERROR)
            return scan_error(x, r);
        if (tok == TR_JSON_END)
            return TR_ERR_EOF;
        if (r->stream == TR_JSON_STREAM_CLOSED)
            return tr_fail(tr_exchange_status(x), TR_ERR_JSON_SYNTAX,
                           "more input after the end of the array");
        if (r->stream == TR_JSON_STREAM_UNKNOWN) {
            r->stream = tok == TR_JSON_ARR_BEGIN ? TR_JSON_STREAM_ARRAY : TR_JSON_STREAM_VALUES;
            if (tok == TR_JSON_ARR_BEGIN)
                continue;
        }
        if (r->stream == TR_JSON_STREAM_ARRAY && tok == TR_JSON_ARR_END && r->scan.depth == 0) {
            r->stream = TR_JSON_STREAM_CLOSED;
            continue;
        }
        tr_json_scan_unread(&r->scan);
        return TR_OK;
    }
}

static enum tr_err json_stream(struct tr_exchange *x, struct tr_rest *r)
{
    for (;;) {
        enum tr_err err = TR_OK;
        if (!r->j) {
            err = json_stream_next(x, r);
            if (err)
                return err == TR_ERR_AGAIN || err == TR_ERR_EOF ? TR_OK : err;
            err = json_message_begin(x, r);
        }
        if (!err)
            err = tr_json2pb_run(r->j, &r->scan, tr_exchange_status(x));
        if (err == TR_ERR_AGAIN)
            return TR_OK;
        if (!err)
            err = message_end(x, r);
        if (err || x->ended)
            return err;
    }
}

static enum tr_err json_feed(struct tr_exchange *x, struct tr_rest *r, struct tr_span data,
                             bool last)
{
    if (!r->scan_begun) {
        r->scan_begun = true;
        r->spill = tr_bufpool_get(x->w->h->bufs);
        size_t spill_max =
            x->policy->max_request_bytes ? (size_t)x->policy->max_request_bytes : SIZE_MAX / 8;
        tr_json_scan_init(&r->scan, x->streaming_in ? TR_JSON_MULTI : TR_JSON_SINGLE,
                          JSON_DEPTH_MAX, &r->spill, spill_max);
        if (!x->streaming_in) {
            enum tr_err err = json_message_begin(x, r);
            if (err)
                return err;
        }
    }
    tr_json_scan_feed(&r->scan, data, last);
    return x->streaming_in ? json_stream(x, r) : json_unary(x, r);
}

/* ---- binary and HttpBody --------------------------------------------------------------------- */

/* One message's bytes stand in r->hold. */
static enum tr_err proto_message(struct tr_exchange *x, struct tr_rest *r, struct tr_span bytes)
{
    enum tr_err err = message_begin(x, r);
    if (err)
        return err;
    if (r->plan->body == TR_BODY_FIELD) {
        const struct tr_field *f = r->plan->body_field;
        if (f->type != TR_FT_MESSAGE || f->flags & TR_FF_REPEATED)
            return tr_fail(tr_exchange_status(x), TR_ERR_UNSUPPORTED_MEDIA_TYPE,
                           "the body is not a message: Content-Type must be application/json");
        char len[TR_VARINT_MAX];
        err = tr_buf_append(&x->req, tr_span((const char *)f->tag, f->tag_len));
        if (!err)
            err = tr_buf_append(&x->req, tr_span(len, tr_wire_put_varint(len, bytes.len)));
    }
    if (!err) /* a message that is no message is the client's error, not the backend's */
        err = tr_wire_check(r->plan->body == TR_BODY_FIELD ? r->plan->body_field->sub.msg
                                                           : r->plan->rpc->input,
                            bytes, tr_exchange_status(x));
    if (!err)
        err = tr_buf_append(&x->req, bytes);
    return err ? err : message_end(x, r);
}

/* Varint-delimited messages of a client stream. */
static enum tr_err proto_stream(struct tr_exchange *x, struct tr_rest *r, bool last)
{
    size_t at = 0;
    while (at < r->hold.len) {
        const char *p = r->hold.ptr + at, *end = r->hold.ptr + r->hold.len;
        uint64_t len;
        if (!tr_wire_varint(&p, end, &len)) {
            if (r->hold.len - at >= TR_VARINT_MAX)
                return TR_ERR_PROTO_MALFORMED;
            break;
        }
        if (x->policy->max_request_bytes && len > x->policy->max_request_bytes)
            return TR_ERR_BODY_TOO_LARGE;
        if (len > (uint64_t)(end - p))
            break;
        enum tr_err err = proto_message(x, r, tr_span(p, (size_t)len));
        if (err)
            return err;
        at = (size_t)(p - r->hold.ptr) + (size_t)len;
    }
    tr_buf_consume(&r->hold, at);
    return last && r->hold.len ? TR_ERR_PROTO_MALFORMED : TR_OK;
}

static size_t put_record(char *out, uint32_t number, size_t len)
{
    out[0] = (char)(number << 3 | TR_WIRE_LEN);
    return 1 + tr_wire_put_varint(out + 1, len);
}

/* google.api.HttpBody {1: content_type, 2: data}, bare or as the body's field. */
static enum tr_err http_body_message(struct tr_exchange *x, struct tr_rest *r, struct tr_span data,
                                     bool with_type)
{
    char type_head[16], data_head[16], field_head[24];
    struct tr_span type = with_type ? r->content_type : tr_span("", 0);
    size_t type_n = type.len ? put_record(type_head, 1, type.len) : 0;
    size_t data_n = data.len ? put_record(data_head, 2, data.len) : 0, field_n = 0;
    size_t inner = type_n + type.len + data_n + data.len;
    if (r->plan->body == TR_BODY_FIELD) {
        const struct tr_field *f = r->plan->body_field;
        memcpy(field_head, f->tag, f->tag_len);
        field_n = f->tag_len + tr_wire_put_varint(field_head + f->tag_len, inner);
    }
    struct tr_span pieces[] = {tr_span(field_head, field_n), tr_span(type_head, type_n), type,
                               tr_span(data_head, data_n), data};
    enum tr_err err = message_begin(x, r);
    for (size_t i = 0; !err && i < sizeof pieces / sizeof pieces[0]; i++)
        err = tr_buf_append(&x->req, pieces[i]);
    return err ? err : message_end(x, r);
}

static enum tr_err http_body_stream(struct tr_exchange *x, struct tr_rest *r, struct tr_span data)
{
    enum tr_err err = TR_OK;
    size_t max = HTTP_BODY_CHUNK_MAX;
    if (x->policy->max_request_bytes &&
        x->policy->max_request_bytes <
            max * 2) /* a small bound holds for the message, not the data alone */
        max = (size_t)x->policy->max_request_bytes / 2 + 1;
    while (!err && data.len) {
        struct tr_span cut = tr_span_sub(data, 0, max);
        err = http_body_message(x, r, cut, !r->binds_used);
        data = tr_span_from(data, cut.len);
    }
    return err;
}

/* ---- body events ----------------------------------------------------------------------------- */

/* Decoded bytes of the body. */
static enum tr_err take(struct tr_exchange *x, struct tr_rest *r, struct tr_span data)
{
    enum tr_err err;
    if (data.len == 0)
        return TR_OK;
    if (r->input == TR_INPUT_NONE)
        return TR_ERR_BODY_NOT_ALLOWED;
    err = count_bytes(x, r, data.len);
    if (err)
        return err;
    if (r->input == TR_INPUT_JSON)
        return json_feed(x, r, data, false);
    if (r->input == TR_INPUT_HTTP_BODY && x->streaming_in)
        return http_body_stream(x, r, data);
    err = tr_buf_append(&r->hold, data);
    if (!err && x->streaming_in)
        err = proto_stream(x, r, false);
    return err;
}

enum tr_err tr_rest_on_body(struct tr_exchange *x, struct tr_span data)
{
    struct tr_rest *r = x->rest;
    return r->decoder ? tr_rest_decode(x, r, data, take) : take(x, r, data);
}

/* The last message, where the end of the body completes one. */
static enum tr_err finish_unary(struct tr_exchange *x, struct tr_rest *r)
{
    enum tr_err err;
    if (r->input == TR_INPUT_JSON && r->scan_begun) {
        err = json_feed(x, r, tr_span("", 0), true);
        if (err)
            return err;
        return r->message_done ? message_end(x, r) : TR_ERR_JSON_TRUNCATED;
    }
    if (r->input == TR_INPUT_PROTO && r->hold.len)
        return proto_message(x, r, tr_buf_span(&r->hold));
    if (r->input == TR_INPUT_HTTP_BODY)
        return http_body_message(x, r, tr_buf_span(&r->hold), true);
    err = message_begin(x, r); /* no body: the empty message with its bindings */
    return err ? err : message_end(x, r);
}

static enum tr_err finish_stream(struct tr_exchange *x, struct tr_rest *r)
{
    enum tr_err err = TR_OK;
    if (r->input == TR_INPUT_JSON && r->scan_begun) {
        err = json_feed(x, r, tr_span("", 0), true);
        if (!err && r->j)
            err = TR_ERR_JSON_TRUNCATED;
        if (!err && r->stream == TR_JSON_STREAM_ARRAY)
            err = TR_ERR_JSON_TRUNCATED;
    } else if (r->input == TR_INPUT_PROTO) {
        err = proto_stream(x, r, true);
    }
    /* What path and query bind must reach the backend even when no message came. */
    if (!err && !r->binds_used && r->binds.len) {
        if (r->input == TR_INPUT_HTTP_BODY)
            return http_body_message(x, r, TR_SPAN(""), true);
        err = message_begin(x, r);
        if (!err)
            err = message_end(x, r);
    }
    return err;
}

enum tr_err tr_rest_on_body_end(struct tr_exchange *x)
{
    struct tr_rest *r = x->rest;
    enum tr_err err = r->decoder && x->bytes_in ? tr_decoder_end(r->decoder) : TR_OK;
    if (!err)
        err = x->streaming_in ? finish_stream(x, r) : finish_unary(x, r);
    if (err || x->ended)
        return err;
    if (!x->call_open) {
        if (x->step != TR_STEP_RECEIVE && x->step != TR_STEP_RETRY)
            return TR_OK; /* the backend has answered and gone already */
        if (x->step == TR_STEP_RECEIVE)
            err = tr_exchange_acquire(x);
        if (err)
            return err;
    }
    tr_attempt_commit(x, true);
    return TR_OK;
}

/* ---- begin ----------------------------------------------------------------------------------- */

enum tr_err tr_rest_begin(struct tr_exchange *x)
{
    struct tr_rest *r = TR_ARENA_NEW(&x->hs->arena, struct tr_rest);
    enum tr_err err;
    if (!r)
        return TR_ERR_NOMEM;
    x->rest = r;
    r->plan = x->route->plan;
    tr_arena_init(&r->msg, x->w->h->blocks);
    x->req = tr_bufpool_get(x->w->h->bufs);
    r->binds = tr_bufpool_get(x->w->h->bufs);
    err = bind_query(x, r);
    if (!err)
        err = tr_rest_choose_format(x);
    if (!err)
        err = tr_input_choose(&x->hs->head.headers, r->plan, x->body_end, &r->input,
                              &r->content_type, tr_exchange_status(x));
    if (!err)
        err = tr_rest_decoder(x, r);
    if (!err)
        err = bind_path(x, r);
    if (!err && r->input == TR_INPUT_NONE && x->hs->head.content_length > 0)
        err = TR_ERR_BODY_NOT_ALLOWED;
    if (!err && x->hs->head.content_length > 0 && !x->streaming_in &&
        x->policy->max_request_bytes && !r->decoder &&
        (uint64_t)x->hs->head.content_length > x->policy->max_request_bytes)
        err = TR_ERR_BODY_TOO_LARGE;
    if (err)
        return err;
    r->jopts = (struct tr_json2pb_opts){
        .pool = x->snap->pool,
        .ignore_unknown = x->policy->unknown_fields == TR_UNKNOWN_IGNORE,
        .max_bytes = (size_t)x->policy->max_request_bytes,
    };
    if (r->plan->mask_field && !r->query.mask_set && r->input == TR_INPUT_JSON) {
        r->mask_wanted = true;
        tr_mask_init(&r->mask, &x->hs->arena);
        r->jopts.on_path = tr_mask_on_path;
        r->jopts.on_path_ctx = &r->mask;
    }
    if (x->streaming_in) { /* the backend may speak first, and hears each message as it comes */
        err = tr_exchange_acquire(x);
        if (err)
            return err;
    }
    if (x->hs->head.expect_continue && !x->body_end)
        x->hs->ops->send_continue(x->hs);
    return TR_OK;
}

const struct tr_dialect tr_dialect_rest = {
    .name = "rest",
    .begin = tr_rest_begin,
    .on_body = tr_rest_on_body,
    .on_body_end = tr_rest_on_body_end,
    .on_head = tr_rest_on_head,
    .again = tr_rest_again,
    .on_data = tr_rest_on_data,
    .on_end = tr_rest_on_end,
    .refuse = tr_rest_refuse,
    .abort = tr_rest_abort,
    .tick = tr_rest_tick,
    .free = tr_rest_free,
};
