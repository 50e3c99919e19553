#include "pipeline/exchange.h"

#include "base/assert.h"
#include "base/counter.h"
#include "obs/metrics.h"
#include "pipeline/attempt.h"
#include "pipeline/chain.h"
#include "pipeline/deadline.h"
#include "pipeline/metadata.h"
#include "pipeline/relay.h"
#include "pipeline/reply.h"

const char *tr_step_name(enum tr_step step)
{
    static const char *const names[TR_STEP__COUNT] = {
#define STEP(name, text) #name,
#include "pipeline/steps.def"
#undef STEP
    };
    return (unsigned)step < TR_STEP__COUNT ? names[step] : "?";
}

/* Which step may follow which: the drawing of the pipeline, asserted at every transition. */
static const uint16_t next_steps[TR_STEP__COUNT] = {
    [TR_STEP_ROUTE] = 1u << TR_STEP_ADMIT | 1u << TR_STEP_REPLY | 1u << TR_STEP_FINISH,
    [TR_STEP_ADMIT] = 1u << TR_STEP_RECEIVE | 1u << TR_STEP_REPLY | 1u << TR_STEP_FINISH,
    [TR_STEP_RECEIVE] = 1u << TR_STEP_ACQUIRE | 1u << TR_STEP_REPLY | 1u << TR_STEP_FINISH,
    [TR_STEP_ACQUIRE] =
        1u << TR_STEP_RELAY | 1u << TR_STEP_RETRY | 1u << TR_STEP_REPLY | 1u << TR_STEP_FINISH,
    [TR_STEP_RELAY] = 1u << TR_STEP_RETRY | 1u << TR_STEP_REPLY | 1u << TR_STEP_FINISH,
    [TR_STEP_RETRY] = 1u << TR_STEP_ACQUIRE | 1u << TR_STEP_REPLY | 1u << TR_STEP_FINISH,
    [TR_STEP_REPLY] = 1u << TR_STEP_FINISH,
    [TR_STEP_FINISH] = 0,
};

/* The ledger: the step that ends has taken the time since it began. */
static void spend(struct tr_exchange *x, enum tr_step next)
{
    uint64_t now = tr_loop_now_ns(x->w->h->loop), opened = x->call.opened_ns;
    uint64_t took = now > x->step_ns ? now - x->step_ns : 0;
    x->spent_ns[x->step] += took;
    if (x->step == TR_STEP_ACQUIRE)
        x->connect_ns = opened == 0 || opened > now ? took
                        : opened > x->step_ns       ? opened - x->step_ns
                                                    : 0;
    if (next == TR_STEP_RETRY) {
        x->spent_ns[TR_STEP_RETRY] += x->spent_ns[TR_STEP_ACQUIRE] + x->spent_ns[TR_STEP_RELAY];
        x->spent_ns[TR_STEP_ACQUIRE] = x->spent_ns[TR_STEP_RELAY] = x->connect_ns = 0;
    }
    x->step_ns = now;
}

void tr_exchange_step(struct tr_exchange *x, enum tr_step step)
{
    TR_ASSERT(next_steps[x->step] & (1u << step));
    spend(x, step);
    x->step = step;
}

struct tr_status *tr_exchange_status(struct tr_exchange *x)
{
    static _Thread_local struct tr_status spare; /* detail is lost, the error is not */
    if (!x->st)
        x->st = tr_arena_alloc(&x->hs->arena, sizeof *x->st);
    struct tr_status *st = x->st ? x->st : &spare;
    tr_status_clear(st);
    return st;
}

static void stop_call(struct tr_exchange *x)
{
    if (x->call_open) {
        x->call_open = false;
        tr_ucall_cancel(&x->call);
    }
}

void tr_exchange_fail_rpc(struct tr_exchange *x)
{
    if (x->ended)
        return;
    stop_call(x);
    x->ended = true;
    if (x->gone)
        return;
    if (!x->head_sent) {
        tr_exchange_step(x, TR_STEP_REPLY);
        x->dialect->refuse(x);
    } else {
        x->dialect->abort(x);
    }
}

void tr_exchange_fail(struct tr_exchange *x, enum tr_err err)
{
    if (x->ended)
        return;
    const struct tr_err_info *info = tr_err_info(err);
    tr_ucall_report_err(&x->call, err);
    if (x->st && x->st->err != err)
        x->st = NULL; /* detail of something else */
    x->end = (struct tr_rpc_end){
        .code = info->grpc_code,
        .err = err,
        .http_status = info->http_status,
        .message = x->st ? tr_status_text(x->st) : info->text,
    };
    tr_exchange_fail_rpc(x);
}

void tr_exchange_done(struct tr_exchange *x)
{
    stop_call(x);
    x->ended = true;
}

static void finish(struct tr_exchange *x)
{
    struct tr_pworker *w = x->w;
    stop_call(x);
    if (x->step != TR_STEP_FINISH)
        tr_exchange_step(x, TR_STEP_FINISH);
    if (w->on_finish) {
        tr_exchange_unpause(x); /* its wait is over, and counts */
        w->on_finish(x);
    }
    tr_chain_done(x);
    tr_timer_stop(&x->timer);
    tr_attempt_fini(x);
    tr_relay_count(x);
    if (x->dialect->free)
        x->dialect->free(x);
    tr_bufpool_put(w->h->bufs, &x->req);
    tr_bufpool_put(w->h->bufs, &x->early);
    tr_list_remove(&x->node);
    w->exchange_count--;
    tr_snapshot_unref(x->snap);
    x->hs->ops->release(x->hs); /* the arena, and with it x, is gone */
}

void tr_exchange_leave(struct tr_exchange *x)
{
    TR_DCHECK(x->depth > 0);
    if (--x->depth == 0 && x->ended)
        finish(x);
}

uint64_t tr_exchange_left_ns(const struct tr_exchange *x)
{
    uint64_t now = tr_loop_now_ns(x->w->h->loop);
    if (x->deadline_ns == 0)
        return UINT64_MAX;
    return x->deadline_ns > now ? x->deadline_ns - now : 0;
}

/* ---- time ------------------------------------------------------------------------------------ */

/* What the backend takes and what the client takes of messages that are held is progress of a
 * stream too. */
static void note_progress(struct tr_exchange *x, uint64_t now)
{
    size_t sent = x->call_open ? x->call.req_pos : 0;
    if (x->streaming_in && sent != x->seen_sent)
        x->last_message_ns = now;
    x->seen_sent = sent;
}

static enum tr_err check_time(struct tr_exchange *x, uint64_t now)
{
    uint64_t next;
    note_progress(x, now);
    struct tr_deadline_state s = {x->deadline_ns, x->hs->start_ns, x->last_message_ns,
                                  x->streaming_in || x->streaming_out};
    enum tr_err err = tr_deadline_check(&s, x->policy, now, &next);
    if (err)
        return err;
    if (x->dialect->tick) {
        uint64_t tick = x->dialect->tick(x, now);
        if (tick && (next == 0 || tick < next))
            next = tick;
    }
    if (next)
        (void)tr_timer_start(&x->timer, next - now);
    return TR_OK;
}

static void on_timer(struct tr_timer *timer)
{
    struct tr_exchange *x = tr_container_of(timer, struct tr_exchange, timer);
    tr_exchange_enter(x);
    if (!x->ended) {
        enum tr_err err = check_time(x, tr_loop_now_ns(x->w->h->loop));
        if (err)
            tr_exchange_fail(x, err);
    }
    tr_exchange_leave(x);
}

enum tr_err tr_exchange_arm(struct tr_exchange *x)
{
    uint64_t now = tr_loop_now_ns(x->w->h->loop);
    bool unary = !x->streaming_in && !x->streaming_out;
    enum tr_err err =
        tr_deadline_of(x->policy, &x->hs->head.headers, unary, x->hs->start_ns, &x->deadline_ns);
    if (err)
        return err;
    x->last_message_ns = now;
    return check_time(x, now);
}

/* ---- the codec's side ------------------------------------------------------------------------ */

static enum tr_err body(struct tr_exchange *x, struct tr_span data)
{
    if (!x->body_begun) /* paused in ADMIT: at most one flow-control window comes */
        return tr_buf_append(&x->early, data);
    return x->dialect->on_body(x, data);
}

/* More waits for the backend than should. A message still being written does not count: it is
 * bounded by itself, and must be completed to go anywhere. */
static bool backend_is_slow(const struct tr_exchange *x)
{
    size_t ready = tr_exchange_ready(x);
    if (x->step == TR_STEP_RETRY)
        return ready > TR_OUT_HIGH_BYTES;
    if (!x->call_open || !(x->streaming_in || x->route->native))
        return false;
    return ready > x->call.req_pos && ready - x->call.req_pos > TR_OUT_HIGH_BYTES;
}

static void on_data(void *sink, struct tr_span data)
{
    struct tr_exchange *x = sink;
    tr_exchange_enter(x);
    x->bytes_in += data.len;
    if (!x->ended) {
        enum tr_err err = body(x, data);
        if (err)
            tr_exchange_fail(x, err);
    }
    if (!x->ended) {
        if (x->body_begun && !backend_is_slow(x))
            x->hs->ops->consume(x->hs, data.len);
        else
            x->body_held += data.len;
    }
    tr_exchange_leave(x);
}

static void on_body_end(void *sink, const struct tr_headers *trailers)
{
    struct tr_exchange *x = sink;
    (void)trailers; /* request trailers carry nothing in either dialect */
    tr_exchange_enter(x);
    x->body_end = true;
    if (!x->ended && x->body_begun) {
        enum tr_err err = x->dialect->on_body_end(x);
        if (err)
            tr_exchange_fail(x, err);
    }
    tr_exchange_leave(x);
}

static void on_hs_writable(void *sink)
{
    struct tr_exchange *x = sink;
    tr_exchange_enter(x);
    if (x->held && x->call_open) {
        size_t n = x->held;
        x->held = 0;
        x->last_message_ns = tr_loop_now_ns(x->w->h->loop);
        tr_ucall_consume(&x->call, n);
    }
    tr_exchange_leave(x);
}

static void on_gone(void *sink, enum tr_err why)
{
    struct tr_exchange *x = sink;
    tr_exchange_enter(x);
    x->gone = true;
    if (!x->ended) {
        x->end = (struct tr_rpc_end){.code = tr_err_info(why)->grpc_code,
                                     .err = why,
                                     .http_status = tr_err_info(why)->http_status};
        x->ended = true;
    }
    tr_exchange_leave(x);
}

static void on_body_error(void *sink, enum tr_err why)
{
    struct tr_exchange *x = sink;
    tr_exchange_enter(x);
    tr_exchange_fail(x, why);
    tr_exchange_leave(x);
}

static const struct tr_hsink_ops sink_ops = {
    .on_data = on_data,
    .on_end = on_body_end,
    .on_writable = on_hs_writable,
    .on_gone = on_gone,
    .on_body_error = on_body_error,
};

enum tr_err tr_exchange_metadata(struct tr_exchange *x)
{
    struct tr_span type = TR_SPAN("application/grpc");
    if (x->metadata_made)
        return TR_OK;
    x->metadata_made = true;
    if (x->route->native)
        type = tr_headers_find(&x->hs->head.headers, TR_TOKEN_CONTENT_TYPE, NULL)->value;
    enum tr_err err = tr_metadata_request(x, type, x->route->native);
    if (err && (!x->st || x->st->err != err))
        (void)tr_fail(tr_exchange_status(x), err, "%s", tr_err_info(err)->text.ptr);
    return err;
}

/* ---- the steps up to the body ---------------------------------------------------------------- */

static enum tr_err receive(struct tr_exchange *x)
{
    tr_exchange_step(x, TR_STEP_RECEIVE);
    enum tr_err err = tr_exchange_metadata(x);
    if (!err)
        err = x->dialect->begin(x);
    if (err || x->ended)
        return err;
    x->body_begun = true;
    if (x->early.len) {
        err = x->dialect->on_body(x, tr_buf_span(&x->early));
        tr_buf_clear(&x->early);
        if (err || x->ended)
            return err;
    }
    if (x->body_held) {
        x->hs->ops->consume(x->hs, x->body_held);
        x->body_held = 0;
    }
    return x->body_end ? x->dialect->on_body_end(x) : TR_OK;
}

static enum tr_err admit(struct tr_exchange *x)
{
    switch (tr_chain_run(x)) {
    case TR_CONTINUE:
        return receive(x);
    case TR_PAUSE:
    case TR_REPLY:
        return TR_OK;
    case TR_FAIL:
        break;
    }
    return x->st ? x->st->err : TR_ERR_INTERNAL;
}

static void begin_count(struct tr_exchange *x)
{
    x->metrics_row = x->route && !x->preflight ? x->route->index : TR_METRICS_NO_ROUTE;
    if (x->w->metrics)
        tr_metrics_begin(x->w->metrics, x->metrics_row);
}

static enum tr_err walk(struct tr_exchange *x)
{
    enum tr_err err = tr_relay_route(x);
    begin_count(x);
    if (err || x->ended)
        return err;
    err = tr_exchange_arm(x);
    if (err)
        return err;
    tr_exchange_step(x, TR_STEP_ADMIT);
    return admit(x);
}

void tr_exchange_service(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                         const struct tr_status *st)
{
    struct tr_pworker *w = ctx;
    struct tr_exchange *x = TR_ARENA_NEW(&hs->arena, struct tr_exchange);
    if (!x) { /* not even an answer can be made */
        tr_count(&w->h->err_counts[TR_ERR_NOMEM]);
        hs->ops->reset(hs, TR_HRESET_REFUSED);
        hs->ops->release(hs);
        return;
    }
    hs->sink = x;
    hs->sink_ops = &sink_ops;
    x->w = w;
    x->hs = hs;
    x->step_ns = hs->start_ns;
    x->snap = tr_snapshot_ref(w->snap);
    x->policy = w->snap->default_policy;
    x->dialect = &tr_dialect_rest;
    x->head_only = hs->head.method == TR_METHOD_HEAD;
    x->body_end = hs->head.end;
    tr_timer_init(&x->timer, w->h->loop, on_timer);
    tr_attempt_init(x);
    tr_list_push_back(&w->exchanges, &x->node);
    w->exchange_count++;
    tr_exchange_enter(x);
    enum tr_err err = refused;
    if (refused && st && st->err == refused) {
        x->st = tr_arena_alloc(&hs->arena, sizeof *x->st);
        if (x->st)
            *x->st = *st;
    }
    if (err) {
        x->dialect = tr_relay_dialect(x);
        begin_count(x);
    } else {
        err = walk(x);
    }
    if (err)
        tr_exchange_fail(x, err);
    tr_exchange_leave(x);
}

/* ---- pause and resume ------------------------------------------------------------------------ */

bool tr_exchange_pause(struct tr_exchange *x, struct tr_handle *ret_handle)
{
    struct tr_pworker *w = x->w;
    uint32_t slot;
    if (w->paused_free_count)
        slot = w->paused_free[--w->paused_free_count];
    else if (w->paused_used < TR_PAUSED_MAX)
        slot = w->paused_used++;
    else
        return false;
    w->paused[slot] = x;
    x->pause_slot = (uint16_t)(slot + 1);
    x->pause_ns = tr_loop_now_ns(w->h->loop);
    *ret_handle = (struct tr_handle){slot, ++w->paused_generation[slot]};
    return true;
}

void tr_exchange_unpause(struct tr_exchange *x)
{
    struct tr_pworker *w = x->w;
    if (!x->pause_slot)
        return;
    w->paused[x->pause_slot - 1] = NULL;
    w->paused_free[w->paused_free_count++] = (uint16_t)(x->pause_slot - 1);
    x->pause_slot = 0;
    x->waits_us[x->filter_at] += (uint32_t)((tr_loop_now_ns(w->h->loop) - x->pause_ns) / 1000u);
}

void tr_exchange_resume(struct tr_pworker *w, struct tr_handle handle)
{
    struct tr_exchange *x = handle.slot < TR_PAUSED_MAX ? w->paused[handle.slot] : NULL;
    if (!x || w->paused_generation[handle.slot] != handle.generation) {
        tr_count(&w->late_resumes);
        return;
    }
    tr_exchange_unpause(x);
    tr_exchange_enter(x);
    if (!x->ended) {
        enum tr_err err = admit(x);
        if (err)
            tr_exchange_fail(x, err);
    }
    tr_exchange_leave(x);
}

/* ---- the worker ------------------------------------------------------------------------------ */

void tr_pworker_init(struct tr_pworker *w, struct tr_hworker *h, struct tr_snapshot *snap)
{
    *w = (struct tr_pworker){.h = h, .snap = snap};
    tr_list_init(&w->exchanges);
    tr_arena_init(&w->scratch, h->blocks);
    tr_buf_init(&w->tmp);
    tr_coding_pool_init(&w->codings);
}

void tr_pworker_fini(struct tr_pworker *w)
{
    tr_arena_fini(&w->scratch);
    tr_buf_fini(&w->tmp);
    tr_coding_pool_fini(&w->codings);
}
