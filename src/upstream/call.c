/* Calls: from the caller to a stream of a connection, and back. */
#include "base/assert.h"
#include "base/log.h"
#include "upstream/upstream_int.h"

#define DEADLINE_SLACK_NS ((uint64_t)20 * 1000 * 1000)

/* ---- outcomes -------------------------------------------------------------------------------- */

#define H2_CANCEL 8 /* RFC 9113 §7 */

enum { OK = 0, UNKNOWN = 2, DEADLINE_EXCEEDED = 4, INTERNAL = 13, UNAVAILABLE = 14 };

static bool is_failure(int grpc_code, bool ours)
{
    return grpc_code == UNAVAILABLE || grpc_code == INTERNAL || grpc_code == UNKNOWN ||
           (grpc_code == DEADLINE_EXCEEDED && ours);
}

static void report(struct tr_ucall *call, bool failure)
{
    struct tr_cluster *c = call->cluster;
    const struct tr_upstream_conf *conf = c->upstream->conf;
    call->reported = true;
    if (call->conn) {
        struct tr_uconn *conn = call->conn;
        tr_uendpoint_outcome(conn->endpoint, failure);
    }
    if (conf->breaker &&
        tr_breaker_report(&c->upstream->shared->breaker, conf->breaker, call->ticket, failure,
                          tr_cluster_now(c), failure ? tr_cluster_random(c) : 0))
        tr_log(TR_LOG_WARN, "upstream %.*s: its circuit breaker opened", (int)conf->name.len,
               conf->name.ptr);
}

static void abandon(struct tr_ucall *call)
{
    if (!call->reported)
        tr_breaker_abandon(&call->cluster->upstream->shared->breaker, call->ticket);
    call->reported = true;
}

void tr_ucall_report(struct tr_ucall *call, int grpc_code, bool ours)
{
    if (call->started && !call->reported)
        report(call, is_failure(grpc_code, ours));
}

/* Was the deadline one that a working backend could have kept? Not when the client had not said all
 * that it had to say: calls of which nothing comes but the head would open the breaker for all
 * others. What the backend does not read is its own affair. */
static bool was_patient(const struct tr_ucall *call)
{
    if (!call->req_end && call->req_pos >= call->req_ready)
        return false;
    return !call->hasty || tr_cluster_now(call->cluster) - call->start_ns >= TR_CALL_PATIENCE_NS;
}

/* Is it something that the backend, or the way to it, has done? */
static bool is_about_backend(const struct tr_ucall *call, enum tr_err err)
{
    if (err == TR_ERR_DEADLINE) /* a stream that has begun may go on for as long as it likes */
        return !call->has_data && was_patient(call);
    return err >= TR_ERR_UPSTREAM_NO_ENDPOINT && err <= TR_ERR_UPSTREAM_HEADERS &&
           err != TR_ERR_UPSTREAM_PENDING && err != TR_ERR_UPSTREAM_ACTIVE &&
           err != TR_ERR_BREAKER_OPEN;
}

void tr_ucall_report_err(struct tr_ucall *call, enum tr_err err)
{
    if (call->started && is_about_backend(call, err))
        tr_ucall_report(call, tr_err_info(err)->grpc_code, true);
}

/* What the end of a stream says of the backend. */
static void judge_end(struct tr_ucall *call, enum tr_err err, const struct tr_headers *trailers)
{
    if (call->reported)
        return;
    if (err) {
        tr_ucall_report_err(call, err);
        abandon(call); /* if that said nothing */
        return;
    }
    const struct tr_header *h = tr_headers_find(trailers, TR_TOKEN_GRPC_STATUS, NULL);
    uint64_t code;
    if (!h || !tr_span_u64(h->value, &code) || code > 1000 ||
        (code == OK && call->http_status != 200 && call->http_status))
        code = tr_grpc_from_http(call->http_status);
    if (code == OK && call->unary && !call->has_data)
        code = INTERNAL; /* no message */
    /* a backend whose clock was faster than ours says what we would have said */
    bool late = code == DEADLINE_EXCEEDED && call->deadline_ns &&
                tr_cluster_now(call->cluster) + DEADLINE_SLACK_NS >= call->deadline_ns &&
                was_patient(call);
    tr_ucall_report(call, (int)code, late);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void leave_endpoint(struct tr_ucall *call)
{
    struct tr_uconn *conn = call->conn;
    conn->endpoint->active--;
    TR_STAT_SET(call->cluster->stats.active_requests, call->cluster->stats.active_requests - 1);
    call->stream = NULL;
    call->conn = NULL;
}

static void leave_pending(struct tr_ucall *call)
{
    struct tr_cluster *c = call->cluster;
    (void)atomic_fetch_sub_explicit(&c->upstream->shared->pending, 1, memory_order_relaxed);
    TR_STAT_SET(c->stats.pending_requests, c->stats.pending_requests - 1);
}

/* Takes it out of the cluster. */
static void leave(struct tr_ucall *call)
{
    struct tr_cluster *c = call->cluster;
    tr_list_remove(&call->node);
    if (call->stream)
        leave_endpoint(call);
    else
        leave_pending(call);
    (void)atomic_fetch_sub_explicit(&c->upstream->shared->active, 1, memory_order_relaxed);
    call->started = false;
    if (c->retired)
        tr_cluster_kick(c);
}

void tr_ucall_end(struct tr_ucall *call, enum tr_err err, uint32_t h2_code,
                  const struct tr_headers *trailers)
{
    static const struct tr_headers none = {NULL, 0, 0};
    trailers = trailers ? trailers : &none;
    judge_end(call, err, trailers);
    leave(call);
    call->events->on_end(call->ctx, err, h2_code, trailers);
}

/* ---- the request's events -------------------------------------------------------------------- */

static void on_sent(void *ctx)
{
    struct tr_ucall *call = ctx;
    call->progress = TR_PROGRESS_SENT;
}

static void on_head(void *ctx, unsigned status, const struct tr_headers *headers, bool end)
{
    struct tr_ucall *call = ctx;
    struct tr_uconn *conn = call->conn;
    conn->endpoint->backoff_ns = 0;
    call->http_status = (uint16_t)status;
    call->progress = TR_PROGRESS_ANSWERED;
    call->events->on_head(call->ctx, status, headers, end);
}

static void on_data(void *ctx, struct tr_span data)
{
    struct tr_ucall *call = ctx;
    /* a stream may last for ever: to a probe it will do that it has begun */
    if (!call->has_data && !call->unary && tr_breaker_is_probe(call->ticket))
        tr_ucall_report(call, OK, false);
    call->has_data = true;
    call->unconsumed += (uint32_t)data.len;
    call->events->on_data(call->ctx, data);
}

/* What a backend says of a call is not always what has become of it. */
static enum tr_err truth(const struct tr_ucall *call, enum tr_err err, uint32_t h2_code)
{
    if (call->progress == TR_PROGRESS_ANSWERED) { /* then it has been read */
        if (err == TR_ERR_UPSTREAM_REFUSED)
            return TR_ERR_UPSTREAM_RESET;
        if (err == TR_ERR_UPSTREAM_GOAWAY)
            return TR_ERR_UPSTREAM_CLOSED;
    }
    /* servers that enforce grpc-timeout cancel the stream, a moment before or after we do */
    if (err == TR_ERR_UPSTREAM_RESET && h2_code == H2_CANCEL && call->deadline_ns &&
        tr_cluster_now(call->cluster) + DEADLINE_SLACK_NS >= call->deadline_ns)
        return TR_ERR_DEADLINE;
    return err;
}

static void on_end(void *ctx, enum tr_err err, uint32_t h2_code, const struct tr_headers *trailers)
{
    struct tr_ucall *call = ctx;
    struct tr_cluster *c = call->cluster;
    err = truth(call, err, h2_code);
    if (h2_code != ~0u)
        TR_STAT_ADD(c->stats.resets_received, 1);
    /* The connection was lost, or is on its way out (then nghttp2 is it that refuses), before a
     * byte of the request was written: another one takes it. */
    if ((err == TR_ERR_UPSTREAM_CLOSED || err == TR_ERR_UPSTREAM_GOAWAY ||
         err == TR_ERR_UPSTREAM_REFUSED) &&
        call->progress == TR_PROGRESS_NOT_SENT && call->req_pos == 0 &&
        call->moves < TR_CALL_MOVES && !c->freeing) {
        call->moves++;
        tr_list_remove(&call->node);
        leave_endpoint(call);
        call->endpoint = NULL;
        call->endpoint_key = 0;
        call->pending_since_ns = tr_cluster_now(c);
        tr_list_push_front(&c->pending, &call->node);
        (void)atomic_fetch_add_explicit(&c->upstream->shared->pending, 1, memory_order_relaxed);
        TR_STAT_SET(c->stats.pending_requests, c->stats.pending_requests + 1);
        tr_cluster_kick(c);
        return;
    }
    tr_ucall_end(call, err, h2_code, trailers);
}

static void on_writable(void *ctx)
{
    struct tr_ucall *call = ctx;
    call->events->on_writable(call->ctx);
}

static const struct tr_h2_req_events req_events = {on_sent, on_head, on_data, on_end, on_writable};

/* ---- the way to a stream --------------------------------------------------------------------- */

static enum tr_err open_stream(struct tr_ucall *call, struct tr_uconn *conn)
{
    struct tr_cluster *c = call->cluster;
    struct tr_uendpoint *e = conn->endpoint;
    const struct tr_upstream_conf *conf = c->upstream->conf;
    struct tr_h2_req *req;
    struct tr_h2_req_params params = {
        .method = TR_SPAN("POST"),
        .scheme = conf->tls ? TR_SPAN("https") : TR_SPAN("http"),
        .authority = call->authority.len   ? call->authority
                     : conf->authority.len ? conf->authority
                                           : e->conf->authority,
        .path = call->path,
        .headers = call->headers,
        .body = call->req,
        .body_pos = &call->req_pos,
        .body_hold = call->req->len - call->req_ready,
        .end = call->req_end,
        .arena = call->arena,
        .events = &req_events,
        .ctx = call,
    };
    enum tr_err err = tr_h2_req_new(conn->client, &params, &req);
    if (err)
        return err;
    call->stream = req;
    call->conn = conn;
    call->stream_id = tr_h2_req_id(req);
    call->endpoint = e->conf;
    call->endpoint_key = e->key;
    call->opened_ns = tr_cluster_now(c);
    conn->used = true;
    e->active++;
    TR_STAT_ADD(c->stats.requests, 1);
    TR_STAT_SET(c->stats.active_requests, c->stats.active_requests + 1);
    tr_list_push_back(&c->active, &call->node);
    return TR_OK;
}

enum tr_err tr_ucall_assign(struct tr_ucall *call, struct tr_uconn *conn)
{
    tr_list_remove(&call->node);
    enum tr_err err = open_stream(call, conn);
    if (err)
        tr_list_push_front(&call->cluster->pending, &call->node);
    else
        leave_pending(call);
    return err;
}

static bool take_slot(_Atomic uint32_t *count, uint32_t max)
{
    if (atomic_fetch_add_explicit(count, 1, memory_order_relaxed) < max)
        return true;
    (void)atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
    return false;
}

/* Onto a connection, or into the queue. */
static enum tr_err place(struct tr_ucall *call)
{
    struct tr_cluster *c = call->cluster;
    const struct tr_upstream *u = c->upstream;
    /* those who wait come first; with ring_hash each waits for its own endpoint */
    struct tr_uconn *conn = tr_list_empty(&c->pending) || c->ring ? tr_cluster_conn(c, call) : NULL;
    if (conn)
        return open_stream(call, conn);
    if (!take_slot(&u->shared->pending, u->conf->max_pending)) {
        TR_STAT_ADD(c->stats.pending_overflow, 1);
        return TR_ERR_UPSTREAM_PENDING;
    }
    call->pending_since_ns = tr_cluster_now(c);
    tr_list_push_back(&c->pending, &call->node);
    TR_STAT_SET(c->stats.pending_requests, c->stats.pending_requests + 1);
    tr_cluster_kick(c);
    return TR_OK;
}

enum tr_err tr_ucall_start(struct tr_ucall *call, struct tr_cluster *cluster)
{
    const struct tr_upstream *u = cluster->upstream;
    enum tr_err err = TR_ERR_UPSTREAM_ACTIVE;
    call->cluster = cluster;
    call->stream = NULL;
    call->conn = NULL;
    call->req_ready = call->req->len - call->req_hold;
    call->reported = false;
    call->has_data = false;
    call->start_ns = tr_cluster_now(cluster);
    call->ticket = TR_BREAKER_NO_TICKET;
    tr_list_init(&call->node);
    if (u->conf->breaker && !tr_breaker_admit(&u->shared->breaker, u->conf->breaker,
                                              tr_cluster_now(cluster), &call->ticket)) {
        TR_STAT_ADD(cluster->stats.breaker_refused, 1);
        return TR_ERR_BREAKER_OPEN;
    }
    if (take_slot(&u->shared->active, u->conf->max_requests)) {
        err = place(call);
        if (err)
            (void)atomic_fetch_sub_explicit(&u->shared->active, 1, memory_order_relaxed);
    } else {
        TR_STAT_ADD(cluster->stats.active_overflow, 1);
    }
    if (err)
        abandon(call);
    call->started = !err;
    return err;
}

void tr_ucall_commit(struct tr_ucall *call, bool end)
{
    if (!call->started)
        return;
    call->req_end = call->req_end || end;
    call->req_ready = call->req->len;
    if (call->stream)
        tr_h2_req_commit(call->stream, end);
}

void tr_ucall_compact(struct tr_ucall *call)
{
    call->req_ready -= call->req_pos;
    if (call->started && call->stream) {
        tr_h2_req_compact(call->stream);
    } else if (call->req_pos) {
        tr_buf_consume(call->req, call->req_pos);
        call->req_pos = 0;
    }
}

void tr_ucall_consume(struct tr_ucall *call, size_t bytes)
{
    if (!call->started || !call->stream)
        return;
    TR_DCHECK(bytes <= call->unconsumed);
    call->unconsumed -= (uint32_t)bytes;
    tr_h2_req_consume(call->stream, bytes);
}

void tr_ucall_cancel(struct tr_ucall *call)
{
    if (!call->started)
        return;
    abandon(call);
    if (call->stream)
        tr_h2_req_cancel(call->stream);
    leave(call);
}
