#include "pipeline/metadata.h"
#include "pipeline/relay.h"
#include "pipeline/reply.h"
#include "pipeline/rest.h"
#include "proto/wire.h"

/* JSON may be so many times as long as the message. Names of enum values and defaults make hundreds
 * of times possible. */
#define JSON_EXPANSION 16

/* ---- the form of the answer ------------------------------------------------------------------ */

static bool is_stream(const struct tr_exchange *x)
{
    return x->streaming_out;
}

enum tr_err tr_rest_choose_format(struct tr_exchange *x)
{
    struct tr_rest *r = x->rest;
    const struct tr_policy *p = x->policy;
    const struct tr_sysparams *sys = &r->query.sys;
    r->popts = (struct tr_pb2json_opts){
        .pool = x->snap->pool,
        .emit_defaults = p->emit_defaults,
        .proto_names = p->proto_names,
        .enums_as_numbers = p->enums_as_numbers || sys->alt == TR_ALT_JSON_INT_ENUMS,
        .pretty = sys->pretty < 0 ? p->pretty : sys->pretty,
        .bad_utf8 = &x->w->bad_utf8,
        .max_bytes = p->max_response_bytes < SIZE_MAX / JSON_EXPANSION
                         ? (size_t)p->max_response_bytes * JSON_EXPANSION
                         : 0,
    };
    r->resp_http_body = r->plan->resp_is_http_body;
    tr_unframer_init(&r->unframer, &r->gather, (size_t)p->max_response_bytes,
                     TR_ERR_UPSTREAM_OVERSIZED);
    r->unframer.pool = x->w->h->bufs;
    unsigned offered = 1u << TR_FORMAT_JSON;
    const struct tr_field *f = r->plan->resp_field;
    bool message = !f || (!(f->flags & TR_FF_REPEATED) && f->type == TR_FT_MESSAGE);
    r->offers_proto = message;
    if (message)
        offered |= 1u << TR_FORMAT_PROTO;
    if (is_stream(x))
        offered |= 1u << TR_FORMAT_NDJSON | 1u << TR_FORMAT_SSE | 1u << TR_FORMAT_JSON_SEQ;
    r->choice = !r->resp_http_body && (offered & (offered - 1)) != 0;
    if (sys->alt == TR_ALT_PROTO && message)
        r->format = TR_FORMAT_PROTO;
    else if (sys->alt == TR_ALT_JSON || sys->alt == TR_ALT_JSON_INT_ENUMS)
        r->format = tr_accept_choose(&x->hs->head.headers, offered & ~(1u << TR_FORMAT_PROTO));
    else
        r->format = tr_accept_choose(&x->hs->head.headers, offered);
    r->format_chosen = true;
    if (is_stream(x) && r->format != TR_FORMAT_JSON)
        r->popts.pretty = false; /* one message a line */
    if (sys->fields.ptr && sys->fields.len && !r->resp_http_body && r->format != TR_FORMAT_PROTO)
        return tr_field_tree_compile(&x->hs->arena, r->plan->rpc->output, f, sys->fields,
                                     &r->popts.fields, tr_exchange_status(x));
    return TR_OK;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* The bytes of the last occurrence of a length-delimited field; an absent one is empty. */
static enum tr_err find_record(struct tr_span message, uint32_t number, struct tr_span *ret)
{
    const char *p = message.ptr, *end = message.ptr + message.len;
    *ret = tr_span("", 0);
    while (p < end) {
        uint32_t n, type;
        if (!tr_wire_tag(&p, end, &n, &type))
            return TR_ERR_UPSTREAM_MALFORMED;
        if (n == number && type == TR_WIRE_LEN) {
            if (!tr_wire_len(&p, end, ret))
                return TR_ERR_UPSTREAM_MALFORMED;
        } else if (!tr_wire_skip(&p, end, n, type)) {
            return TR_ERR_UPSTREAM_MALFORMED;
        }
    }
    return TR_OK;
}

enum tr_err tr_rest_http_body(const struct tr_plan *plan, struct tr_span message,
                              struct tr_span *ret_type, struct tr_span *ret_data)
{
    enum tr_err err = TR_OK;
    if (plan->resp_field)
        err = find_record(message, plan->resp_field->number, &message);
    if (!err)
        err = find_record(message, 1, ret_type);
    return err ? err : find_record(message, 2, ret_data);
}

static enum tr_err map_transcode_error(struct tr_exchange *x, enum tr_err err)
{
    switch ((int)err) {
    case TR_ERR_PROTO_MALFORMED:
    case TR_ERR_PROTO_DEPTH:
    case TR_ERR_PROTO_UTF8:
        if (x->st)
            x->st->err = TR_ERR_UPSTREAM_MALFORMED;
        return TR_ERR_UPSTREAM_MALFORMED;
    default:
        return err;
    }
}

enum tr_err tr_rest_reserve(struct tr_exchange *x, size_t bytes)
{
    return tr_bufpool_reserve(x->w->h->bufs, &x->hs->out, bytes);
}

enum tr_err tr_rest_put_message(struct tr_exchange *x, struct tr_span message, struct tr_buf *out)
{
    struct tr_rest *r = x->rest;
    const struct tr_plan *plan = r->plan;
    enum tr_err err;
    if (r->format == TR_FORMAT_PROTO) {
        if (plan->resp_field)
            err = find_record(message, plan->resp_field->number, &message);
        else
            err = TR_OK;
        return err ? err : tr_buf_append(out, message);
    }
    struct tr_status *st = tr_exchange_status(x);
    if (plan->resp_field)
        err = tr_pb2json_field(plan->rpc->output, plan->resp_field, message, &r->popts, out,
                               &x->w->scratch, st);
    else
        err = tr_pb2json(plan->rpc->output, message, &r->popts, out, &x->w->scratch, st);
    tr_arena_reset(&x->w->scratch);
    return err ? map_transcode_error(x, err) : TR_OK;
}

/* The HTTP type that an HttpBody names: a media type, or octet-stream when the backend's is not
 * usable as a header. */
static struct tr_span body_type(struct tr_exchange *x, struct tr_span type)
{
    if (type.len == 0 || !tr_http_is_field_value(type) || tr_span_find(type, '/') == type.len)
        return TR_SPAN("application/octet-stream");
    return tr_arena_copy(&x->hs->arena, type);
}

static enum tr_err unary_message(struct tr_exchange *x, struct tr_span message)
{
    struct tr_rest *r = x->rest;
    if (r->messages++ > 0)
        return TR_ERR_UPSTREAM_MESSAGES;
    enum tr_err err;
    if (!r->resp_http_body) {
        err = tr_rest_reserve(x, 2 * message.len); /* JSON is about twice as long */
        return err ? err : tr_rest_put_message(x, message, &x->hs->out);
    }
    struct tr_span type, data;
    err = tr_rest_http_body(r->plan, message, &type, &data);
    if (!err && x->policy->success_status != 204)
        err = tr_exchange_header(x, TR_SPAN("content-type"), body_type(x, type),
                                 TR_TOKEN_CONTENT_TYPE);
    if (!err)
        err = tr_rest_reserve(x, data.len);
    return err ? err : tr_buf_append(&x->hs->out, data);
}

enum tr_err tr_rest_on_data(struct tr_exchange *x, struct tr_span data)
{
    struct tr_rest *r = x->rest;
    struct tr_frame frame;
    while (!x->ended) {
        enum tr_err err = tr_unframer_next(&r->unframer, &data, &frame, tr_exchange_status(x));
        if (err == TR_ERR_AGAIN)
            break;
        if (err == TR_ERR_BAD_GRPC_FRAME)
            return TR_ERR_UPSTREAM_MALFORMED;
        if (!err && frame.compressed)
            err = tr_rest_inflate(x, r, &frame.message);
        if (!err)
            err = is_stream(x) ? tr_rest_stream_message(x, frame.message)
                               : unary_message(x, frame.message);
        if (err)
            return err;
    }
    return TR_OK;
}

/* ---- head and end ---------------------------------------------------------------------------- */

void tr_rest_on_head(struct tr_exchange *x, unsigned http_status, const struct tr_headers *headers,
                     bool end)
{
    struct tr_rest *r = x->rest;
    const struct tr_header *type = tr_headers_find(headers, TR_TOKEN_CONTENT_TYPE, NULL);
    const struct tr_header *encoding = tr_headers_find(headers, TR_TOKEN_GRPC_ENCODING, NULL);
    bool grpc = type ? tr_is_grpc_type(type->value)
                     : tr_headers_find(headers, TR_TOKEN_GRPC_STATUS, NULL) != NULL;
    enum tr_err err = TR_OK;
    r->up_head_seen = true;
    if (http_status != 200) {
        err = tr_reply_take_trailers(x, http_status, headers);
        if (!err) {
            tr_exchange_fail_rpc(x);
            return;
        }
    } else if (!grpc) {
        err = TR_ERR_UPSTREAM_CONTENT_TYPE;
    } else if (!end) { /* of a trailers-only answer the same headers come again as trailers */
        err = tr_metadata_response(x, headers, &x->resp_headers);
        if (!err && encoding)
            err = tr_rest_up_decoder(x, r, encoding->value);
    }
    if (err)
        tr_exchange_fail(x, err);
}

void tr_rest_again(struct tr_exchange *x)
{
    x->rest->up_head_seen = false;
    x->rest->up_coding = 0;
}

static enum tr_err answer_headers(struct tr_exchange *x, struct tr_rest *r)
{
    enum tr_err err = TR_OK;
    if (!r->resp_http_body)
        err = tr_exchange_header(x, TR_SPAN("content-type"), tr_format_type(r->format),
                                 TR_TOKEN_CONTENT_TYPE);
    if (!err && r->choice)
        err = tr_exchange_header(x, TR_SPAN("vary"), TR_SPAN("Accept"), TR_TOKEN_NONE);
    return err;
}

static enum tr_err answer_unary(struct tr_exchange *x, struct tr_rest *r,
                                const struct tr_headers *trailers)
{
    struct tr_hstream *hs = x->hs;
    unsigned status = x->policy->success_status;
    enum tr_err err = tr_metadata_response(x, trailers, &x->resp_headers);
    if (!err && status != 204)
        err = answer_headers(x, r);
    if (err)
        return err;
    size_t len = hs->out.len - hs->out_pos;
    bool bare = x->head_only || status == 204;
    if (bare)
        hs->out.len = hs->out_pos;
    err = tr_exchange_send_head(x, status, status == 204 ? -2 : (int64_t)len, bare);
    if (!err && !bare) {
        x->bytes_out += len;
        hs->ops->commit(hs, true);
    }
    if (!err)
        tr_exchange_done(x);
    return err;
}

void tr_rest_on_end(struct tr_exchange *x, const struct tr_headers *trailers)
{
    struct tr_rest *r = x->rest;
    enum tr_err err = tr_reply_take_trailers(x, 200, trailers);
    if (!err && x->end.code != 0) {
        if (!x->head_sent)
            err = tr_metadata_response(x, trailers, &x->resp_headers);
        if (!err) {
            r->up_trailers = trailers;
            tr_exchange_fail_rpc(x);
            r->up_trailers = NULL;
            return;
        }
    }
    if (!err && !tr_unframer_at_boundary(&r->unframer))
        err = TR_ERR_UPSTREAM_MALFORMED;
    if (!err && is_stream(x)) {
        tr_rest_stream_end(x, trailers);
        return;
    }
    if (!err && r->messages != 1)
        err = TR_ERR_UPSTREAM_MESSAGES;
    if (!err)
        err = answer_unary(x, r, trailers);
    if (err)
        tr_exchange_fail(x, err);
}

/* The form of an error. Before that of the answer is chosen, $alt (if it was read) or Accept says
 * whether protobuf wins. */
static bool error_as_proto(const struct tr_exchange *x)
{
    const struct tr_rest *r = x->rest;
    if (r && r->format_chosen)
        return r->format == TR_FORMAT_PROTO;
    if (r && r->query.sys.alt != TR_ALT_UNSET)
        return r->query.sys.alt == TR_ALT_PROTO;
    return tr_accept_choose(&x->hs->head.headers, 1u << TR_FORMAT_JSON | 1u << TR_FORMAT_PROTO) ==
           TR_FORMAT_PROTO;
}

void tr_rest_refuse(struct tr_exchange *x)
{
    const struct tr_rest *r = x->rest;
    struct tr_headers kept = {0};
    bool as_proto = error_as_proto(x),
         pretty = r && r->format_chosen ? r->popts.pretty : x->policy->pretty;
    /* Of what a filter or the backend put there before, what describes an error stays; a body's
     * type does not. */
    for (uint32_t i = 0; i < x->resp_headers.count; i++) {
        const struct tr_header *h = &x->resp_headers.items[i];
        if (h->token != TR_TOKEN_CONTENT_TYPE &&
            tr_headers_add(&kept, &x->hs->arena, h->name, h->value, (enum tr_token)h->token))
            break;
    }
    x->resp_headers = kept;
    enum tr_err err = TR_OK;
    if (!r || !r->format_chosen || r->offers_proto)
        err = tr_exchange_header(x, TR_SPAN("vary"), TR_SPAN("Accept"), TR_TOKEN_NONE);
    if (err || tr_reply_rest(x, as_proto, pretty))
        x->hs->ops->reset(x->hs, TR_HRESET_INTERNAL);
}

void tr_rest_free(struct tr_exchange *x)
{
    struct tr_rest *r = x->rest;
    struct tr_bufpool *pool = x->w->h->bufs;
    if (!r)
        return;
    tr_bufpool_put(pool, &r->binds);
    tr_bufpool_put(pool, &r->spill);
    tr_bufpool_put(pool, &r->hold);
    tr_bufpool_put(pool, &r->gather);
    tr_bufpool_put(pool, &r->inflated);
    tr_rest_coding_free(x, r);
    tr_arena_fini(&r->msg);
}
