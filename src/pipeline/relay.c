#include "pipeline/relay.h"

#include "obs/metrics.h"
#include "pipeline/attempt.h"
#include "pipeline/reply.h"

bool tr_is_grpc_type(struct tr_span content_type)
{
    static const struct tr_span base = TR_SPAN_INIT("application/grpc");
    if (content_type.len < base.len || !tr_span_ieq(tr_span_sub(content_type, 0, base.len), base))
        return false;
    return content_type.len == base.len || content_type.ptr[base.len] == '+' ||
           content_type.ptr[base.len] == ';' || content_type.ptr[base.len] == ' ';
}

const struct tr_dialect *tr_relay_dialect(const struct tr_exchange *x)
{
    const struct tr_header *type =
        tr_headers_find(&x->hs->head.headers, TR_TOKEN_CONTENT_TYPE, NULL);
    return x->hs->head.version >= 20 && type && tr_is_grpc_type(type->value) ? &tr_dialect_grpc
                                                                             : &tr_dialect_rest;
}

/* ---- ROUTE ----------------------------------------------------------------------------------- */

static enum tr_err route_native(struct tr_exchange *x)
{
    const struct tr_req_head *head = &x->hs->head;
    if (head->version < 20)
        return TR_ERR_HTTP_VERSION;
    x->dialect = &tr_dialect_grpc;
    if (head->method != TR_METHOD_POST)
        return TR_ERR_METHOD_NOT_ALLOWED;
    x->route = tr_snapshot_native(x->snap, head->path);
    if (!x->route)
        return tr_fail(tr_exchange_status(x), TR_ERR_METHOD_UNIMPLEMENTED,
                       "%.*s is not served here",
                       (int)(head->path.len < 200 ? head->path.len : 200), head->path.ptr);
    return TR_OK;
}

static enum tr_err answer_options(struct tr_exchange *x, struct tr_span allow)
{
    if (allow.len) {
        enum tr_err err = tr_exchange_header(x, TR_SPAN("allow"), allow, TR_TOKEN_NONE);
        if (err)
            return err;
    }
    tr_exchange_step(x, TR_STEP_REPLY);
    enum tr_err err = tr_exchange_send_head(x, 204, -2, true);
    tr_exchange_done(x);
    return err;
}

/* A CORS preflight asks for another method: its route's policy answers, if it has one for CORS. */
static bool route_preflight(struct tr_exchange *x)
{
    const struct tr_req_head *head = &x->hs->head;
    const struct tr_header *asked =
        tr_headers_find_name(&head->headers, TR_SPAN("access-control-request-method"));
    if (!asked || !tr_headers_find(&head->headers, TR_TOKEN_ORIGIN, NULL))
        return false;
    enum tr_method method = tr_method_from(asked->value);
    tr_router_match(x->snap->router, method, asked->value, head->path, x->match);
    const struct tr_route *route = x->match->result == TR_MATCH_FOUND ? x->match->target
                                   : method == TR_METHOD_POST
                                       ? tr_snapshot_native(x->snap, head->path)
                                       : NULL;
    if (!route || !route->policy->slots[TR_POLICY_CORS])
        return false;
    x->route = route;
    x->preflight = true;
    return true;
}

static enum tr_err route_rest(struct tr_exchange *x)
{
    const struct tr_req_head *head = &x->hs->head;
    if (head->path.len == 1 &&
        head->path.ptr[0] == '*') /* OPTIONS *; other methods were refused by the codec */
        return answer_options(x, TR_SPAN(""));
    enum tr_err err = tr_path_check(head->path, tr_exchange_status(x));
    if (err)
        return err;
    x->match = tr_arena_alloc(&x->hs->arena, sizeof *x->match);
    if (!x->match)
        return TR_ERR_NOMEM;
    if (head->method == TR_METHOD_OPTIONS && route_preflight(x))
        return TR_OK;
    tr_router_match(x->snap->router, head->method, head->method_text, head->path, x->match);
    if (x->match->result == TR_MATCH_FOUND) {
        x->route = x->match->target;
        return TR_OK;
    }
    if (x->match->result == TR_MATCH_NOT_FOUND)
        return TR_ERR_ROUTE_NOT_FOUND;
    struct tr_span allow = tr_router_allow(x->snap->router, head->path, &x->hs->arena);
    if (head->method == TR_METHOD_OPTIONS)
        return answer_options(x, allow);
    err = tr_exchange_header(x, TR_SPAN("allow"), allow, TR_TOKEN_NONE);
    return err ? err : TR_ERR_METHOD_NOT_ALLOWED;
}

enum tr_err tr_relay_route(struct tr_exchange *x)
{
    const struct tr_header *type =
        tr_headers_find(&x->hs->head.headers, TR_TOKEN_CONTENT_TYPE, NULL);
    enum tr_err err;
    x->st = NULL;
    if (x->w->health && x->w->health(x->w, x))
        return TR_OK;
    if (type && tr_is_grpc_type(type->value))
        err = route_native(x);
    else if (type && type->value.len >= 20 &&
             tr_span_ieq(tr_span_sub(type->value, 0, 20), TR_SPAN("application/grpc-web")))
        err = tr_fail(
            tr_exchange_status(x), TR_ERR_UNSUPPORTED_MEDIA_TYPE,
            "gRPC-Web is not served; send application/grpc over HTTP/2, or application/json");
    else
        err = route_rest(x);
    if (err || x->ended)
        return err;
    x->st = NULL;
    x->policy = x->route->policy;
    x->streaming_in = x->route->rpc->client_streaming;
    x->streaming_out = x->route->rpc->server_streaming;
    return TR_OK;
}

/* ---- the call -------------------------------------------------------------------------------- */

static void on_up_head(void *ctx, unsigned http_status, const struct tr_headers *headers, bool end)
{
    struct tr_exchange *x = ctx;
    tr_exchange_enter(x);
    if (!x->ended) {
        if (x->step == TR_STEP_ACQUIRE)
            tr_exchange_step(x, TR_STEP_RELAY);
        x->last_message_ns = tr_loop_now_ns(x->w->h->loop);
        if (!tr_attempt_head(x, http_status, headers, end))
            x->dialect->on_head(x, http_status, headers, end);
    }
    tr_exchange_leave(x);
}

static void on_up_data(void *ctx, struct tr_span data)
{
    struct tr_exchange *x = ctx;
    tr_exchange_enter(x);
    if (!x->ended) {
        x->last_message_ns = tr_loop_now_ns(x->w->h->loop);
        tr_attempt_data(x);
        enum tr_err err = x->ended ? TR_OK : x->dialect->on_data(x, data);
        if (err)
            tr_exchange_fail(x, err);
    }
    if (!x->ended && x->call_open) {
        if (x->hs->ops->queued(x->hs) >= TR_OUT_HIGH_BYTES)
            x->held += data.len;
        else
            tr_ucall_consume(&x->call, data.len);
    }
    tr_exchange_leave(x);
}

void tr_relay_reset_status(uint32_t h2_code, uint8_t *ret_grpc_code, uint16_t *ret_http_status)
{
    switch (h2_code) {
    case 0x7: /* REFUSED_STREAM */
        *ret_grpc_code = 14;
        *ret_http_status = 503;
        break;
    case 0x8: /* CANCEL */
        *ret_grpc_code = 1;
        *ret_http_status = 499;
        break;
    case 0xb: /* ENHANCE_YOUR_CALM */
        *ret_grpc_code = 8;
        *ret_http_status = 429;
        break;
    case 0xc: /* INADEQUATE_SECURITY */
        *ret_grpc_code = 7;
        *ret_http_status = 403;
        break;
    default:
        *ret_grpc_code = 13;
        *ret_http_status = 502;
        break;
    }
}

static void on_up_end(void *ctx, enum tr_err err, uint32_t h2_code,
                      const struct tr_headers *trailers)
{
    struct tr_exchange *x = ctx;
    tr_exchange_enter(x);
    x->call_open = false;
    if (x->ended || tr_attempt_end(x, err, h2_code, trailers)) {
        /* the answer was complete, or failed, before; or there is another attempt */
    } else if (err == TR_ERR_UPSTREAM_RESET) {
        const struct tr_err_info *info = tr_err_info(err);
        x->end = (struct tr_rpc_end){.code = info->grpc_code,
                                     .http_status = info->http_status,
                                     .err = err,
                                     .message = info->text};
        if (h2_code != ~0u)
            tr_relay_reset_status(h2_code, &x->end.code, &x->end.http_status);
        tr_exchange_fail_rpc(x);
    } else if (err) {
        tr_exchange_fail(x, err);
    } else {
        if (x->step == TR_STEP_ACQUIRE)
            tr_exchange_step(x, TR_STEP_RELAY);
        x->dialect->on_end(x, trailers);
    }
    tr_exchange_leave(x);
}

static void on_up_writable(void *ctx)
{
    struct tr_exchange *x = ctx;
    tr_exchange_enter(x);
    if (!x->ended) {
        if (x->streaming_in)
            tr_attempt_compact(x);
        if (x->body_held) {
            size_t n = x->body_held;
            x->body_held = 0;
            x->hs->ops->consume(x->hs, n);
        }
    }
    tr_exchange_leave(x);
}

const struct tr_ucall_events tr_relay_events = {
    .on_head = on_up_head,
    .on_data = on_up_data,
    .on_end = on_up_end,
    .on_writable = on_up_writable,
};

void tr_relay_count(struct tr_exchange *x)
{
    if (!x->w->metrics)
        return;
    uint64_t now = tr_loop_now_ns(x->w->h->loop);
    struct tr_metrics_end end = {
        .route = x->metrics_row,
        .grpc_code = x->end.code,
        .version = x->hs->head.version,
        .http_status = x->http_status,
        .err = x->end.err,
        .retries = x->attempts > 1 ? x->attempts - 1u : 0,
        .duration_ns = now - x->hs->start_ns,
        .upstream_ns = x->call_start_ns ? now - x->call_start_ns : 0,
        .bytes_in = x->bytes_in,
        .bytes_out = x->bytes_out,
    };
    tr_metrics_end(x->w->metrics, &end);
}
