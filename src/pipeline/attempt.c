#include "pipeline/attempt.h"

#include "base/num.h"
#include "http/grpc_timeout.h"
#include "pipeline/hash_key.h"
#include "pipeline/metadata.h"
#include "pipeline/relay.h"
#include "pipeline/reply.h"
#include "transcode/rpcstatus.h"

static void count(_Atomic uint64_t *counter)
{
    (void)atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* ---- the request's bytes --------------------------------------------------------------------- */

/* per_try_timeout is the time of the backend: it begins when the backend may have all of the
 * request. The answer to a client stream begins when the client likes. */
static enum tr_err time_the_try(struct tr_exchange *x)
{
    uint64_t ns = x->policy->retry.per_try_timeout;
    if (ns == 0 || x->streaming_in || !x->req_ended || x->call.progress == TR_PROGRESS_ANSWERED)
        return TR_OK;
    return tr_timer_start(&x->try_timer, ns);
}

void tr_attempt_commit(struct tr_exchange *x, bool end)
{
    bool ends = end && !x->req_ended;
    x->req_ended = x->req_ended || end;
    if (!x->call_open)
        return;
    tr_ucall_commit(&x->call, end);
    if (ends)
        (void)time_the_try(x); /* without memory for it the deadline still holds */
}

void tr_attempt_compact(struct tr_exchange *x)
{
    size_t keep = TR_OUT_LOW_BYTES;
    if (!x->head_sent && !x->req_dropped && x->policy->retry.replay_bytes > keep)
        keep = (size_t)x->policy->retry.replay_bytes;
    if (!x->call_open || x->req_open || x->call.req_pos < keep)
        return;
    x->req_dropped = true;
    tr_ucall_compact(&x->call);
}

/* ---- an attempt begins ----------------------------------------------------------------------- */

static enum tr_err put_timeout(struct tr_exchange *x)
{
    uint64_t left = tr_exchange_left_ns(x);
    if (left == 0)
        return TR_ERR_DEADLINE;
    if (left == UINT64_MAX)
        return TR_OK;
    char *p = tr_arena_alloc(&x->hs->arena, 16);
    if (!p)
        return TR_ERR_NOMEM;
    struct tr_span text = tr_grpc_timeout_print(p, left);
    if (x->timeout_at) {
        x->metadata.items[x->timeout_at - 1].value = text;
        return TR_OK;
    }
    enum tr_err err = tr_headers_add(&x->metadata, &x->hs->arena, TR_SPAN("grpc-timeout"), text,
                                     TR_TOKEN_GRPC_TIMEOUT);
    if (!err)
        x->timeout_at = x->metadata.count;
    return err;
}

/* grpc-previous-rpc-attempts (gRFC A6): what a gRPC client has made by itself counts too. */
static enum tr_err put_previous(struct tr_exchange *x)
{
    static const struct tr_span name = TR_SPAN_INIT("grpc-previous-rpc-attempts");
    if (x->attempts == 0)
        return TR_OK;
    if (!x->previous_at) {
        const struct tr_header *h = tr_headers_find_name(&x->metadata, name);
        uint64_t before;
        if (h) {
            x->previous_at = (uint32_t)(h - x->metadata.items) + 1;
            x->previous_base =
                tr_span_u64(h->value, &before) && before < 1000 ? (uint16_t)before : 0;
        } else if (tr_headers_add(&x->metadata, &x->hs->arena, name, TR_SPAN(""), TR_TOKEN_NONE)) {
            return TR_ERR_NOMEM;
        } else {
            x->previous_at = x->metadata.count;
        }
    }
    char *p = tr_arena_alloc(&x->hs->arena, TR_NUM_MAX);
    if (!p)
        return TR_ERR_NOMEM;
    x->metadata.items[x->previous_at - 1].value =
        tr_span(p, tr_num_u64(p, (uint64_t)x->previous_base + x->attempts));
    return TR_OK;
}

/* The call runs. */
static enum tr_err begun(struct tr_exchange *x, bool first)
{
    const struct tr_upstream *u = x->route->upstream;
    x->call_open = true;
    if (first)
        tr_budget_earn(&u->shared->budget, &u->conf->budget);
    if (x->req_ended)
        tr_ucall_commit(&x->call, true);
    return time_the_try(x);
}

enum tr_err tr_exchange_acquire(struct tr_exchange *x)
{
    bool first = x->attempts == 0;
    tr_exchange_step(x, TR_STEP_ACQUIRE);
    enum tr_err err = put_timeout(x);
    if (!err)
        err = put_previous(x);
    if (err)
        return err;
    x->call = (struct tr_ucall){
        .events = &tr_relay_events,
        .ctx = x,
        .path = x->route->rpc->path,
        .headers = &x->metadata,
        .req = &x->req,
        .req_hold = x->req_open ? x->req.len - x->req_open_at : 0,
        .arena = &x->hs->arena,
        .deadline_ns = x->deadline_ns,
        .unary = !x->streaming_out,
        .hasty = x->deadline_ns != x->hs->start_ns + x->policy->timeout,
        .avoid = x->avoid,
        .avoid_key = x->avoid_key,
    };
    x->call.hashed = tr_hash_key(x, &x->call.hash);
    x->attempts++;
    x->resp_mark = x->resp_headers.count;
    x->call_start_ns = tr_loop_now_ns(x->w->h->loop);
    err = tr_ucall_start(&x->call, x->w->clusters[x->route->upstream->index]);
    if (!err)
        err = begun(x, first);
    else if (err == TR_ERR_BREAKER_OPEN)
        tr_exchange_retry_after(
            x, tr_cluster_retry_after_ns(x->w->clusters[x->route->upstream->index]));
    return err;
}

/* The next attempt is due. */
static void go_again(struct tr_exchange *x)
{
    enum tr_err err = tr_exchange_acquire(x);
    if (err) {
        tr_exchange_fail(x, err);
        return;
    }
    if (x->body_held &&
        tr_exchange_ready(x) <= TR_OUT_HIGH_BYTES) { /* else on_writable will come */
        size_t n = x->body_held;
        x->body_held = 0;
        x->hs->ops->consume(x->hs, n);
    }
}

/* ---- an attempt has failed ------------------------------------------------------------------- */

struct failure {
    enum tr_err err; /* TR_OK: a status of the backend */
    uint8_t code;
    const struct tr_headers *trailers; /* NULL: none */
    bool inside; /* the cluster is in the middle of telling: the next attempt waits a turn */
};

static struct tr_retry_try describe(struct tr_exchange *x, const struct failure *f)
{
    const struct tr_policy_retry *p = &x->policy->retry;
    const struct tr_header *pushback =
        f->err == TR_OK && f->trailers
            ? tr_headers_find_name(f->trailers, TR_SPAN("grpc-retry-pushback-ms"))
            : NULL;
    struct tr_retry_try t = {
        .err = f->err,
        .code = f->code,
        .sent = x->call.progress != TR_PROGRESS_NOT_SENT,
        .begun = x->answer_begun || x->head_sent,
        .attempts = x->attempts,
        .backoffs = x->backoffs,
        .idempotent = x->route->idempotent,
        .client_streaming = x->streaming_in,
        .replayable = !x->req_dropped && (x->call.req_pos == 0 || x->req.len <= p->replay_bytes),
        .left_ns = tr_exchange_left_ns(x),
        .max_attempts = p->attempts,
        .on_codes = p->on_codes,
        .base_ns = p->backoff.base,
        .max_ns = p->backoff.max,
        .random = tr_metadata_random(x->w),
    };
    if (pushback)
        t.pushback = tr_retry_pushback(pushback->value, &t.pushback_ns);
    return t;
}

/* Nothing of the failed attempt is left in what the client will get. */
static void forget(struct tr_exchange *x)
{
    x->resp_headers.count = x->resp_mark;
    x->head_kept = false;
    x->held = 0;
    if (x->dialect->again)
        x->dialect->again(x);
}

/* false: it is not to be repeated. */
static bool again(struct tr_exchange *x, const struct failure *f)
{
    const struct tr_upstream *u = x->route->upstream;
    struct tr_retry_try t = describe(x, f);
    struct tr_retry_verdict v = tr_retry_judge(&t);
    if (v.why == TR_RETRY_AGAIN && v.charged &&
        !tr_budget_take(&u->shared->budget, &u->conf->budget, tr_loop_now_ns(x->w->h->loop)))
        v.why = TR_RETRY_BUDGET;
    if (v.why != TR_RETRY_AGAIN) {
        if (v.why > TR_RETRY_PLAIN)
            count(&u->shared->retries.refused[v.why]);
        return false;
    }
    tr_exchange_step(x, TR_STEP_RETRY);
    if (x->call.endpoint) {
        x->avoid = x->call.endpoint;
        x->avoid_key = x->call.endpoint_key;
    }
    x->backoffs = t.pushback == TR_PUSHBACK_AFTER ? 0 : (uint8_t)(x->backoffs + 1);
    forget(x);
    if (v.delay_ns == 0 && !f->inside)
        go_again(x);
    else if (tr_timer_start(&x->try_timer, v.delay_ns))
        tr_exchange_fail(x, TR_ERR_NOMEM);
    return true;
}

static void try_timed_out(struct tr_exchange *x)
{
    struct failure f = {.err = TR_ERR_UPSTREAM_TRY_TIMEOUT,
                        .code = tr_err_info(TR_ERR_UPSTREAM_TRY_TIMEOUT)->grpc_code};
    count(&x->route->upstream->shared->retries.try_timeouts);
    tr_ucall_report_err(&x->call, f.err);
    x->call_open = false;
    tr_ucall_cancel(&x->call);
    if (!again(x, &f))
        tr_exchange_fail(x, f.err);
}

static void on_try_timer(struct tr_timer *timer)
{
    struct tr_exchange *x = tr_container_of(timer, struct tr_exchange, try_timer);
    tr_exchange_enter(x);
    if (!x->ended && x->step == TR_STEP_RETRY)
        go_again(x);
    else if (!x->ended && x->call_open)
        try_timed_out(x);
    tr_exchange_leave(x);
}

void tr_attempt_init(struct tr_exchange *x)
{
    tr_timer_init(&x->try_timer, x->w->h->loop, on_try_timer);
}

void tr_attempt_fini(struct tr_exchange *x)
{
    tr_timer_stop(&x->try_timer);
}

/* ---- what the call tells --------------------------------------------------------------------- */

/* As the dialects will read it (tr_reply_take_trailers). */
static uint8_t code_of(unsigned http_status, const struct tr_headers *fields)
{
    const struct tr_header *status = tr_headers_find(fields, TR_TOKEN_GRPC_STATUS, NULL);
    uint64_t code;
    if (status && http_status != 200 && tr_span_eq(status->value, TR_SPAN("0")))
        status = NULL;
    if (!status)
        return http_status == 200 ? 2 : (uint8_t)tr_grpc_from_http(http_status);
    return tr_span_u64(status->value, &code) && code <= UINT8_MAX ? (uint8_t)code : 2;
}

bool tr_attempt_head(struct tr_exchange *x, unsigned http_status, const struct tr_headers *headers,
                     bool end)
{
    const struct tr_policy_retry *p = &x->policy->retry;
    tr_timer_stop(&x->try_timer); /* the answer has begun */
    if (http_status != 200) {
        struct failure f = {
            .code = code_of(http_status, headers), .trailers = headers, .inside = true};
        tr_ucall_report(&x->call, f.code, false);
        if (p->attempts <= 1 || !again(x, &f))
            return false;
        x->call_open = false;
        tr_ucall_cancel(&x->call);
        return true;
    }
    /* Of a unary native call the head alone tells the client nothing: it waits for what comes. */
    if (end || !x->route->native || x->streaming_in || x->streaming_out ||
        x->attempts >= p->attempts || !x->route->idempotent)
        return false;
    x->kept_head = *headers;
    x->head_kept = true;
    return true;
}

static void release_head(struct tr_exchange *x)
{
    if (!x->head_kept)
        return;
    x->head_kept = false;
    x->dialect->on_head(x, 200, &x->kept_head, false);
}

void tr_attempt_data(struct tr_exchange *x)
{
    x->answer_begun = true;
    release_head(x);
}

bool tr_attempt_end(struct tr_exchange *x, enum tr_err err, uint32_t h2_code,
                    const struct tr_headers *trailers)
{
    struct failure f = {.err = err, .trailers = trailers};
    uint16_t http;
    tr_timer_stop(&x->try_timer);
    if (err == TR_OK) {
        if (x->policy->retry.attempts > 1 && !x->head_sent) {
            f.code = code_of(200, trailers);
            if (f.code && again(x, &f))
                return true;
        }
        release_head(x);
        return x->ended;
    }
    f.code = tr_err_info(err)->grpc_code;
    f.inside = err != TR_ERR_UPSTREAM_REFUSED && err != TR_ERR_UPSTREAM_GOAWAY;
    if (err == TR_ERR_UPSTREAM_RESET && h2_code != ~0u)
        tr_relay_reset_status(h2_code, &f.code, &http);
    return again(x, &f);
}
