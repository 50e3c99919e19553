/* A server connection of ours over a stream in memory; at the other end a raw peer, or our client
 * connection. */
#ifndef TR_TESTS_H2_WORLD_H
#define TR_TESTS_H2_WORLD_H

#include "base/bufpool.h"
#include "h2_frames.h"
#include "http/codec.h"
#include "http/h2_client.h"
#include "test.h"

#include <stdio.h>
#include <time.h>

enum script {
    MANUAL,  /* the test acts */
    AT_ONCE, /* answers 200 with the path as its body within on_request */
    ABORT,   /* ends the connection within on_request */
    ECHO,    /* answers 200 with the request's body at its end, with a trailer */
};

struct world;
struct call { /* a request as its sink saw it */
    struct world *w;
    struct tr_hstream *hs;
    enum tr_err refused, gone, body_error;
    char path[64], trailers[128];
    struct tr_buf body;
    bool ended, released;
    unsigned writable_count;
};

struct world {
    struct tr_loop *loop;
    struct tr_block_cache blocks;
    struct tr_bufpool bufs;
    struct tr_hworker worker;
    struct tr_hlimits limits;
    struct tr_hservice service;
    uint64_t errors[TR_ERR__COUNT];
    struct tr_stream *peer; /* the raw end */
    struct tr_hconn *conn;  /* NULL after on_conn_closed */
    struct tr_h2_client *client;
    enum tr_err client_closed;
    struct tr_buf rx, tx;
    bool rx_end, rx_error, rx_stop, keep_credit;
    enum script script;
    struct call calls[512];
    unsigned call_count;
};

static inline void w_release(struct call *call)
{
    assert_false(call->released);
    call->released = true;
    call->hs->ops->release(call->hs);
}

static inline void w_answer(struct call *call, unsigned status, struct tr_span body, bool trailer)
{
    struct tr_resp_head head = {.status = (uint16_t)status,
                                .content_length = trailer ? -1 : (int64_t)body.len};
    struct tr_headers trailers = {NULL, 0, 0};
    struct tr_arena *arena = &call->hs->arena;
    assert_int_equal(tr_headers_add(&head.headers, arena, TR_SPAN("content-type"),
                                    TR_SPAN("text/plain"), TR_TOKEN_CONTENT_TYPE),
                     TR_OK);
    assert_int_equal(tr_buf_append(&call->hs->out, body), TR_OK);
    assert_int_equal(call->hs->ops->send_head(call->hs, &head, false), TR_OK);
    call->hs->ops->commit(call->hs, !trailer);
    if (trailer) {
        assert_int_equal(tr_headers_add(&trailers, arena, TR_SPAN("grpc-status"), TR_SPAN("0"),
                                        TR_TOKEN_GRPC_STATUS),
                         TR_OK);
        assert_int_equal(call->hs->ops->send_trailers(call->hs, &trailers), TR_OK);
    }
}

static void w_sink_data(void *sink, struct tr_span data)
{
    struct call *call = sink;
    assert_false(call->ended || call->released || call->gone);
    assert_int_equal(tr_buf_append(&call->body, data), TR_OK);
    if (!call->w->keep_credit)
        call->hs->ops->consume(call->hs, data.len);
}

static void w_sink_end(void *sink, const struct tr_headers *trailers)
{
    struct call *call = sink;
    assert_false(call->ended || call->released || call->gone);
    call->ended = true;
    size_t n = 0;
    for (uint32_t i = 0; trailers && i < trailers->count; i++)
        n += (size_t)snprintf(call->trailers + n, sizeof call->trailers - n, "%.*s=%.*s;",
                              (int)trailers->items[i].name.len, trailers->items[i].name.ptr,
                              (int)trailers->items[i].value.len, trailers->items[i].value.ptr);
    if (call->w->script == ECHO) {
        w_answer(call, 200, tr_buf_span(&call->body), true);
        w_release(call);
    }
}

static void w_sink_writable(void *sink)
{
    struct call *call = sink;
    assert_false(call->released || call->gone);
    call->writable_count++;
}

static void w_sink_gone(void *sink, enum tr_err why)
{
    struct call *call = sink;
    assert_false(call->released || call->gone);
    call->gone = why;
    w_release(call);
}

static void w_sink_body_error(void *sink, enum tr_err why)
{
    struct call *call = sink;
    assert_false(call->ended || call->released || call->gone);
    call->body_error = why;
    w_answer(call, tr_err_info(why)->http_status, TR_SPAN("late"), false);
    w_release(call);
}

static const struct tr_hsink_ops w_sink_ops = {w_sink_data, w_sink_end, w_sink_writable,
                                               w_sink_gone, w_sink_body_error};

static void w_on_request(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                         const struct tr_status *st)
{
    struct world *w = ctx;
    assert_true(w->call_count < sizeof w->calls / sizeof w->calls[0]);
    struct call *call = &w->calls[w->call_count++];
    call->w = w;
    call->hs = hs;
    call->refused = refused;
    (void)snprintf(call->path, sizeof call->path, "%.*s", (int)hs->head.path.len,
                   hs->head.path.ptr ? hs->head.path.ptr : "");
    hs->sink = call;
    hs->sink_ops = &w_sink_ops;
    assert_int_equal(refused, st->err);
    if (w->script == ABORT)
        tr_hconn_abort(hs->conn);
    if (w->script == MANUAL || w->script == ABORT)
        return;
    if (refused) {
        w_answer(call, tr_err_info(refused)->http_status, tr_span_cstr(tr_err_info(refused)->name),
                 false);
        w_release(call);
    } else if (w->script == AT_ONCE) {
        w_answer(call, 200, tr_span_cstr(call->path), false);
        w_release(call);
    } else if (hs->head.end) {
        w_answer(call, 200, tr_span("", 0), true);
        w_release(call);
    } else {
        hs->ops->send_continue(hs);
    }
}

static void w_on_conn_closed(void *ctx, struct tr_hconn *conn)
{
    struct world *w = ctx;
    assert_ptr_equal(conn, w->conn);
    w->conn = NULL;
}

static void w_peer_readable(void *ctx)
{
    struct world *w = ctx;
    char buf[4096];
    ssize_t n = tr_stream_read(w->peer, buf, sizeof buf);
    if (n > 0) {
        f_bytes(&w->rx, buf, (size_t)n);
    } else if (n != TR_STREAM_AGAIN) {
        w->rx_end = n == 0;
        w->rx_error = n != 0;
        tr_stream_want(w->peer, false, false);
    }
}

static const struct tr_stream_events w_peer_events = {.on_readable = w_peer_readable};

static inline void w_limits(struct world *w)
{
    const uint64_t s = 1000000000u;
    w->limits =
        (struct tr_hlimits){100, 65536, 8192, 100, 8u << 20, 10 * s, 30 * s, 30 * s, 75 * s, 200};
}

static inline void w_base(struct world *w, enum script script)
{
    memset(w, 0, sizeof *w);
    w->script = script;
    assert_int_equal(tr_loop_new(&w->loop), TR_OK);
    tr_block_cache_init(&w->blocks, 64);
    tr_bufpool_init(&w->bufs);
    w->worker = (struct tr_hworker){
        .loop = w->loop, .blocks = &w->blocks, .bufs = &w->bufs, .err_counts = w->errors};
    w->worker.read_buf = tr_malloc(TR_HREAD_BYTES);
    assert_non_null(w->worker.read_buf);
    w->service = (struct tr_hservice){w, w_on_request, w_on_conn_closed};
    w_limits(w);
}

static inline void w_run(struct world *w, int turns)
{
    for (int i = 0; i < turns; i++)
        tr_loop_turn(w->loop, false);
}

/* The server side over a new pair; the limits are as they stand. */
static inline struct tr_stream *w_connect(struct world *w, size_t capacity, struct tr_span first)
{
    struct tr_stream *server, *other;
    assert_int_equal(tr_stream_mem_pair(w->loop, capacity, &server, &other), TR_OK);
    assert_int_equal(
        tr_h2_conn_new(&w->worker, &w->limits, &w->service, server, first, w, &w->conn), TR_OK);
    return other;
}

static inline void w_raw(struct world *w, size_t capacity)
{
    w->peer = w_connect(w, capacity, tr_span("", 0));
    tr_stream_set_events(w->peer, &w_peer_events, w);
    tr_stream_want(w->peer, true, false);
}

/* Sends what stands in tx, in pieces of at most `piece` bytes with a turn after each; 0: at once.
 */
static inline void w_send(struct world *w, size_t piece)
{
    size_t pos = 0;
    while (pos < w->tx.len && !w->rx_end && !w->rx_error) {
        size_t n = w->tx.len - pos;
        if (piece && n > piece)
            n = piece;
        ssize_t sent = tr_stream_write(w->peer, w->tx.ptr + pos, n);
        if (sent < 0)
            break;
        pos += (size_t)sent;
        w_run(w, 1);
    }
    tr_buf_clear(&w->tx);
    w_run(w, 8);
}

static inline void w_preface(struct world *w)
{
    f_bytes(&w->tx, F_PREFACE, sizeof F_PREFACE - 1);
    f_settings(&w->tx, NULL, 0);
}

/* Turns until `ms` have passed. */
static inline void w_wait(struct world *w, unsigned ms)
{
    uint64_t end = tr_loop_now_ns(w->loop) + (uint64_t)ms * 1000000u;
    while (tr_loop_now_ns(w->loop) < end) {
        struct timespec nap = {0, 1000000};
        (void)nanosleep(&nap, NULL);
        w_run(w, 2);
    }
}

static inline void w_fini(struct world *w)
{
    tr_h2_client_free(w->client);
    if (w->conn)
        tr_hconn_abort(w->conn);
    for (unsigned i = 0; i < w->call_count; i++) {
        if (!w->calls[i].released)
            w_release(&w->calls[i]);
        tr_buf_fini(&w->calls[i].body);
    }
    assert_null(w->conn);
    if (w->peer)
        tr_stream_close(w->peer, false);
    tr_loop_free(w->loop);
    assert_null(w->worker.h2_pool);
    tr_buf_fini(&w->rx);
    tr_buf_fini(&w->tx);
    tr_buf_fini(&w->worker.write_buf);
    tr_free(w->worker.read_buf);
    tr_bufpool_fini(&w->bufs);
    tr_block_cache_fini(&w->blocks);
}

#endif
