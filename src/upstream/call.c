/* Calls: from the caller to a stream of a connection, and back. */
#include "base/assert.h"
#include "upstream/upstream_int.h"

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
    leave(call);
    call->events->on_end(call->ctx, err, h2_code, trailers ? trailers : &none);
}

/* ---- the request's events
 * ----------------------------------------------------------------------------- */

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
    call->progress = TR_PROGRESS_ANSWERED;
    call->events->on_head(call->ctx, status, headers, end);
}

static void on_data(void *ctx, struct tr_span data)
{
    struct tr_ucall *call = ctx;
    call->unconsumed += (uint32_t)data.len;
    call->events->on_data(call->ctx, data);
}

static void on_end(void *ctx, enum tr_err err, uint32_t h2_code, const struct tr_headers *trailers)
{
    struct tr_ucall *call = ctx;
    struct tr_cluster *c = call->cluster;
    if (h2_code != ~0u)
        TR_STAT_ADD(c->stats.resets_received, 1);
    /* The connection was lost before a byte of the request was written: another one takes it. */
    if ((err == TR_ERR_UPSTREAM_CLOSED || err == TR_ERR_UPSTREAM_GOAWAY) &&
        call->progress == TR_PROGRESS_NOT_SENT && call->req_pos == 0 &&
        call->moves < TR_CALL_MOVES && !c->freeing) {
        call->moves++;
        tr_list_remove(&call->node);
        leave_endpoint(call);
        call->endpoint = NULL;
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

/* ---- the way to a stream
 * ----------------------------------------------------------------------------------- */

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

enum tr_err tr_ucall_start(struct tr_ucall *call, struct tr_cluster *cluster)
{
    const struct tr_upstream *u = cluster->upstream;
    call->cluster = cluster;
    call->stream = NULL;
    call->conn = NULL;
    call->req_ready = call->req->len - call->req_hold;
    tr_list_init(&call->node);
    if (!take_slot(&u->shared->active, u->conf->max_requests)) {
        TR_STAT_ADD(cluster->stats.active_overflow, 1);
        return TR_ERR_UPSTREAM_ACTIVE;
    }
    /* those who wait come first */
    struct tr_uconn *conn = tr_list_empty(&cluster->pending) ? tr_cluster_conn(cluster) : NULL;
    enum tr_err err = TR_OK;
    if (conn) {
        err = open_stream(call, conn);
    } else if (take_slot(&u->shared->pending, u->conf->max_pending)) {
        call->pending_since_ns = tr_cluster_now(cluster);
        tr_list_push_back(&cluster->pending, &call->node);
        TR_STAT_SET(cluster->stats.pending_requests, cluster->stats.pending_requests + 1);
        tr_cluster_kick(cluster);
    } else {
        TR_STAT_ADD(cluster->stats.pending_overflow, 1);
        err = TR_ERR_UPSTREAM_PENDING;
    }
    if (err)
        (void)atomic_fetch_sub_explicit(&u->shared->active, 1, memory_order_relaxed);
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
    if (call->stream)
        tr_h2_req_cancel(call->stream);
    leave(call);
}
