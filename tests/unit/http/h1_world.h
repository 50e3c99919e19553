/* A server connection over a stream in memory, its client's end, and sinks that do as the test
 * says. */
#ifndef TR_TESTS_H1_WORLD_H
#define TR_TESTS_H1_WORLD_H

#include "base/bufpool.h"
#include "http/h1_conn.h"
#include "test.h"

#include <stdio.h>

/* What a sink does by itself. */
enum script {
    MANUAL,  /* nothing: the test acts */
    AT_ONCE, /* answers 200 with the path as its body and releases within on_request */
    AT_END,  /* the same when the request is complete, with the body appended */
};

struct call { /* one request as its sink saw it */
    struct world *w;
    struct tr_hstream *hs;
    enum tr_err refused, gone, body_error;
    enum tr_method method;
    char path[64], trailers[64];
    struct tr_buf body;
    bool ended, released;
    unsigned gone_count, writable_count, end_count;
};

struct world {
    struct tr_loop *loop;
    struct tr_block_cache blocks;
    struct tr_bufpool bufs;
    struct tr_hworker worker;
    struct tr_hlimits limits;
    struct tr_hservice service;
    uint64_t err_counts[TR_ERR__COUNT];
    struct tr_stream *client;
    struct tr_hconn *conn; /* NULL after on_conn_closed */
    struct tr_buf rx;
    bool rx_end, rx_error, keep_credit;
    unsigned rx_reads; /* reads that gave bytes */
    enum script script;
    int act_at;     /* in on_request (1), on_data (2) or on_end (3) the sink ... */
    bool act_abort; /* aborts its own connection, else releases without an answer */
    struct call calls[64];
    unsigned call_count;
};

static inline void answer(struct call *call, unsigned status, const char *text, bool known)
{
    struct tr_resp_head head = {.status = (uint16_t)status};
    struct tr_span body = tr_span_cstr(text);
    head.content_length = known ? (int64_t)body.len : -1;
    assert_int_equal(tr_buf_append(&call->hs->out, body), TR_OK);
    assert_int_equal(call->hs->ops->send_head(call->hs, &head, false), TR_OK);
    call->hs->ops->commit(call->hs, true);
}

static inline void release(struct call *call)
{
    assert_false(call->released);
    call->released = true;
    call->hs->ops->release(call->hs);
}

static void act(struct call *call, int at)
{
    if (call->w->act_at != at || call->released || call->gone)
        return;
    if (call->w->act_abort)
        tr_hconn_abort(call->w->conn);
    else
        release(call);
}

static void sink_data(void *sink, struct tr_span data)
{
    struct call *call = sink;
    assert_false(call->ended || call->released || call->gone);
    assert_true(data.len > 0);
    (void)!tr_buf_append(&call->body,
                         data); /* a test may be short of memory; contents are compared */
    if (!call->w->keep_credit)
        call->hs->ops->consume(call->hs, data.len);
    act(call, 2);
}

static void sink_end(void *sink, const struct tr_headers *trailers)
{
    struct call *call = sink;
    assert_false(call->ended || call->released || call->gone);
    call->ended = true;
    call->end_count++;
    size_t n = 0;
    for (uint32_t i = 0; trailers && i < trailers->count; i++)
        n += (size_t)snprintf(call->trailers + n, sizeof call->trailers - n, "%.*s=%.*s;",
                              (int)trailers->items[i].name.len, trailers->items[i].name.ptr,
                              (int)trailers->items[i].value.len, trailers->items[i].value.ptr);
    if (call->w->script == AT_END) {
        assert_int_equal(tr_buf_push(&call->body, '\0'), TR_OK);
        answer(call, 200, call->body.ptr, true);
        call->body.len--;
        release(call);
    }
    act(call, 3);
}

static void sink_writable(void *sink)
{
    struct call *call = sink;
    assert_false(call->released || call->gone);
    call->writable_count++;
}

static void sink_gone(void *sink, enum tr_err why)
{
    struct call *call = sink;
    assert_false(call->released || call->gone);
    call->gone = why;
    call->gone_count++;
    if (call->w->script != MANUAL)
        release(call);
}

static void sink_body_error(void *sink, enum tr_err why)
{
    struct call *call = sink;
    assert_false(call->ended || call->released || call->gone);
    call->body_error = why;
    if (call->w->script != MANUAL) {
        answer(call, tr_err_info(why)->http_status, "body", true);
        release(call);
    }
}

static const struct tr_hsink_ops sink_ops = {sink_data, sink_end, sink_writable, sink_gone,
                                             sink_body_error};

static void on_request(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                       const struct tr_status *st)
{
    struct world *w = ctx;
    assert_true(w->call_count < sizeof w->calls / sizeof w->calls[0]);
    struct call *call = &w->calls[w->call_count++];
    call->w = w;
    call->hs = hs;
    call->refused = refused;
    call->method = hs->head.method;
    (void)snprintf(call->path, sizeof call->path, "%.*s", (int)hs->head.path.len,
                   hs->head.path.ptr ? hs->head.path.ptr : "");
    hs->sink = call;
    hs->sink_ops = &sink_ops;
    assert_int_equal(refused, st->err);
    if (w->script != MANUAL && refused) {
        answer(call, tr_err_info(refused)->http_status, tr_err_info(refused)->name, true);
        release(call);
    } else if (w->script == AT_ONCE || (w->script == AT_END && hs->head.end)) {
        answer(call, 200, call->path, true);
        release(call);
    } else if (w->script == AT_END) {
        hs->ops->send_continue(hs);
    }
    act(call, 1);
}

static void on_conn_closed(void *ctx, struct tr_hconn *conn)
{
    struct world *w = ctx;
    assert_ptr_equal(conn, w->conn);
    w->conn = NULL;
}

static void client_readable(void *ctx)
{
    struct world *w = ctx;
    char buf[4096];
    ssize_t n = tr_stream_read(w->client, buf, sizeof buf);
    if (n > 0) {
        w->rx_reads++;
        (void)!tr_buf_append(&w->rx, tr_span(buf, (size_t)n));
    } else if (n != TR_STREAM_AGAIN) {
        w->rx_end = n == 0;
        w->rx_error = n != 0;
        tr_stream_want(w->client, false, false);
    }
}

static const struct tr_stream_events client_events = {.on_readable = client_readable};

static inline void world_init_first(struct world *w, enum script script, size_t capacity,
                                    struct tr_span first)
{
    memset(w, 0, sizeof *w);
    w->script = script;
    assert_int_equal(tr_loop_new(&w->loop), TR_OK);
    tr_block_cache_init(&w->blocks, 64);
    tr_bufpool_init(&w->bufs);
    w->worker = (struct tr_hworker){
        .loop = w->loop, .blocks = &w->blocks, .bufs = &w->bufs, .err_counts = w->err_counts};
    w->worker.read_buf = tr_malloc(TR_HREAD_BYTES);
    w->limits = (struct tr_hlimits){.max_headers = 100,
                                    .max_header_bytes = 65536,
                                    .max_path_bytes = 8192,
                                    .max_buffered_bytes = 8u << 20};
    w->limits.header_timeout_ns = w->limits.body_idle_timeout_ns = w->limits.write_timeout_ns =
        (uint64_t)10e9;
    w->limits.keepalive_timeout_ns = (uint64_t)75e9;
    w->service = (struct tr_hservice){w, on_request, on_conn_closed};
    struct tr_stream *server;
    assert_int_equal(tr_stream_mem_pair(w->loop, capacity, &server, &w->client), TR_OK);
    tr_stream_set_events(w->client, &client_events, w);
    tr_stream_want(w->client, true, false);
    assert_int_equal(
        tr_h1_conn_new(&w->worker, &w->limits, &w->service, server, first, w, &w->conn), TR_OK);
}

static inline void world_init(struct world *w, enum script script)
{
    world_init_first(w, script, 1 << 20, TR_SPAN(""));
}

static inline void turns(struct world *w)
{
    for (int i = 0; i < 40; i++)
        tr_loop_turn(w->loop, false);
}

/* Turns, waiting for timers, until `*flag` or a bound. */
static inline void turns_until_closed(struct world *w)
{
    for (int i = 0; i < 200 && w->conn; i++)
        tr_loop_turn(w->loop, true);
    turns(w);
}

static inline void say(struct world *w, const char *text)
{
    struct tr_span s = tr_span_cstr(text);
    assert_int_equal(tr_stream_write(w->client, s.ptr, s.len), s.len);
    turns(w);
}

/* Everything is given back, whatever state the test left it in. */
static inline void world_fini(struct world *w)
{
    if (w->conn)
        tr_hconn_abort(w->conn);
    for (unsigned i = 0; i < w->call_count; i++) {
        if (!w->calls[i].released)
            release(&w->calls[i]);
        tr_buf_fini(&w->calls[i].body);
    }
    assert_null(w->conn);
    tr_stream_close(w->client, false);
    turns(w);
    tr_buf_fini(&w->rx);
    tr_bufpool_fini(&w->bufs);
    tr_block_cache_fini(&w->blocks);
    tr_buf_fini(&w->worker.write_buf);
    tr_free(w->worker.read_buf);
    tr_loop_free(w->loop);
}

/* What came since the last call, the Date left out. */
static inline const char *heard(struct world *w)
{
    static char text[8192];
    size_t n = 0;
    struct tr_span rest = tr_buf_span(&w->rx);
    while (rest.len) {
        size_t len = tr_span_find(rest, '\n');
        len += len < rest.len;
        if (!tr_span_starts(rest, TR_SPAN("date: ")) && n + len < sizeof text) {
            memcpy(text + n, rest.ptr, len);
            n += len;
        }
        rest = tr_span_from(rest, len);
    }
    text[n] = '\0';
    tr_buf_clear(&w->rx);
    return text;
}

#endif
