/* A cluster of ours against backends on loopback: our own HTTP/2 server connection, or a script of
 * raw bytes. */
#ifndef TR_TESTS_UPSTREAM_WORLD_H
#define TR_TESTS_UPSTREAM_WORLD_H

#include "../http/h2_frames.h"
#include "base/bufpool.h"
#include "http/codec.h"
#include "io/listener.h"
#include "io/tls_ctx.h"
#include "test.h"
#include "upstream/upstream.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define BACKENDS 6
#define CALLS    256

enum backend_kind {
    B_ECHO,    /* h2: answers at the end of the request with its body and grpc-status 0 */
    B_SERVING, /* h2: as B_ECHO, but its body is that of a server that is healthy */
    B_HOLD,    /* h2: answers when the test says */
    B_RAW,     /* accepts, sends `script` to each connection, and reads what comes into rx */
    B_SILENT,  /* accepts and says nothing */
    B_CLOSE,   /* accepts and closes */
};

struct world;
struct backend {
    struct world *w;
    enum backend_kind kind;
    struct tr_listener *listener;
    struct tr_addr addr;
    struct tr_hlimits limits;
    struct tr_list conns;      /* of tr_hconn */
    struct tr_tls_ctx *tls;    /* NULL: cleartext */
    struct tr_stream *shaking; /* the TLS connection whose hands are not shaken */
    struct tr_stream *raw;     /* the newest */
    struct tr_buf script, rx;
    unsigned accepted, requests;
    bool cut_after_script;
    struct backend_call *held[CALLS];
    unsigned held_count;
};

struct backend_call {
    struct backend *b;
    struct tr_hstream *hs;
    struct tr_buf body;
};

struct test_call {
    struct tr_ucall call;
    struct world *w;
    struct tr_arena arena;
    struct tr_headers headers;
    struct tr_buf req, data;
    unsigned status, heads, ends, writables;
    enum tr_err err;
    uint32_t h2_code;
    char grpc_status[8];
    bool keep_credit, head_end, free_on_head;
    void (*at_head)(struct test_call *tc); /* NULL */
};

struct world {
    struct tr_loop *loop;
    struct tr_block_cache blocks;
    struct tr_bufpool bufs;
    struct tr_hworker worker;
    uint64_t errors[TR_ERR__COUNT];
    struct tr_dns *dns;
    struct tr_cluster *cluster;
    struct backend backends[BACKENDS];
    unsigned backend_count;
    struct tr_endpoint_conf endpoints[BACKENDS];
    struct tr_upstream_conf conf;
    struct tr_upstream_shared shared;
    struct tr_upstream upstream;
    struct test_call calls[CALLS];
    unsigned call_count;
};

/* ---- h2 backends ----------------------------------------------------------------------------- */

static inline void backend_answer(struct backend_call *bc, bool echo)
{
    struct tr_hstream *hs = bc->hs;
    struct tr_resp_head head = {.status = 200, .content_length = -1};
    struct tr_headers trailers = {NULL, 0, 0};
    assert_int_equal(tr_headers_add(&head.headers, &hs->arena, TR_SPAN("content-type"),
                                    TR_SPAN("application/grpc"), TR_TOKEN_CONTENT_TYPE),
                     TR_OK);
    assert_int_equal(tr_headers_add(&trailers, &hs->arena, TR_SPAN("grpc-status"), TR_SPAN("0"),
                                    TR_TOKEN_GRPC_STATUS),
                     TR_OK);
    struct tr_span body =
        bc->b->kind == B_SERVING ? TR_SPAN("\0\0\0\0\2\10\1") : tr_buf_span(&bc->body);
    if (echo)
        assert_int_equal(tr_buf_append(&hs->out, body), TR_OK);
    assert_int_equal(hs->ops->send_head(hs, &head, false), TR_OK);
    hs->ops->commit(hs, false);
    assert_int_equal(hs->ops->send_trailers(hs, &trailers), TR_OK);
    tr_buf_fini(&bc->body);
    hs->ops->release(hs);
}

static void backend_data(void *sink, struct tr_span data)
{
    struct backend_call *bc = sink;
    assert_int_equal(tr_buf_append(&bc->body, data), TR_OK);
    bc->hs->ops->consume(bc->hs, data.len);
}

static void backend_end(void *sink, const struct tr_headers *trailers)
{
    struct backend_call *bc = sink;
    (void)trailers;
    if (bc->b->kind == B_ECHO || bc->b->kind == B_SERVING)
        backend_answer(bc, true);
}

static void backend_gone(void *sink, enum tr_err why)
{
    struct backend_call *bc = sink;
    (void)why;
    for (unsigned i = 0; i < bc->b->held_count; i++) {
        if (bc->b->held[i] == bc)
            bc->b->held[i] = NULL;
    }
    tr_buf_fini(&bc->body);
    bc->hs->ops->release(bc->hs);
}

static void backend_nothing(void *ctx)
{
    (void)ctx;
}

static const struct tr_hsink_ops backend_sink = {backend_data, backend_end, backend_nothing,
                                                 backend_gone, backend_gone};

static void backend_request(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                            const struct tr_status *st)
{
    struct backend *b = ctx;
    (void)st;
    assert_int_equal(refused, TR_OK);
    struct backend_call *bc = TR_ARENA_NEW(&hs->arena, struct backend_call);
    assert_non_null(bc);
    bc->b = b;
    bc->hs = hs;
    hs->sink = bc;
    hs->sink_ops = &backend_sink;
    b->requests++;
    if (b->kind == B_HOLD) {
        assert_true(b->held_count < CALLS);
        b->held[b->held_count++] = bc;
    } else if (hs->head.end) {
        backend_answer(bc, true);
    }
}

static void backend_conn_closed(void *ctx, struct tr_hconn *conn)
{
    (void)ctx;
    tr_list_remove(&conn->node);
}

static struct tr_hservice backend_services[BACKENDS];

/* ---- raw backends ---------------------------------------------------------------------------- */

static void raw_readable(void *ctx)
{
    struct backend *b = ctx;
    char buf[8192];
    ssize_t n = tr_stream_read(b->raw, buf, sizeof buf);
    if (n > 0)
        f_bytes(&b->rx, buf, (size_t)n);
    else if (n != TR_STREAM_AGAIN)
        tr_stream_want(b->raw, false, false);
}

static const struct tr_stream_events raw_events = {.on_readable = raw_readable};

static inline void raw_send(struct backend *b, struct tr_buf *bytes)
{
    if (bytes->len)
        assert_int_equal(tr_stream_write(b->raw, bytes->ptr, bytes->len), bytes->len);
}

static inline void backend_serve(struct backend *b, struct tr_stream *stream)
{
    struct tr_hconn *conn;
    assert_int_equal(tr_h2_conn_new(&b->w->worker, &b->limits,
                                    &backend_services[b - b->w->backends], stream, tr_span("", 0),
                                    b, &conn),
                     TR_OK);
    tr_list_push_back(&b->conns, &conn->node);
}

static void shaken(void *ctx, enum tr_err err)
{
    struct backend *b = ctx;
    struct tr_stream *stream = b->shaking;
    b->shaking = NULL;
    if (err)
        tr_stream_close(stream, false);
    else
        backend_serve(b, stream);
}

static const struct tr_stream_events shake_events = {.on_ready = shaken};

static void backend_accept(void *ctx, int fd, const struct tr_addr *peer)
{
    struct backend *b = ctx;
    struct world *w = b->w;
    struct tr_stream *stream;
    b->accepted++;
    if (b->kind == B_CLOSE) {
        (void)close(fd);
        return;
    }
    if (b->tls) {
        if (b->shaking)
            tr_stream_close(b->shaking, false);
        assert_int_equal(tr_stream_accept(w->loop, fd, b->tls, peer, &shake_events, b, &b->shaking),
                         TR_OK);
        return;
    }
    assert_int_equal(tr_stream_accept(w->loop, fd, NULL, peer, &raw_events, b, &stream), TR_OK);
    if (b->kind == B_RAW || b->kind == B_SILENT) {
        if (b->raw)
            tr_stream_close(b->raw, false);
        b->raw = stream;
        tr_buf_clear(&b->rx);
        tr_stream_want(stream, true, false);
        raw_send(b, &b->script);
        if (b->cut_after_script) {
            tr_stream_close(stream, false);
            b->raw = NULL;
        }
        return;
    }
    backend_serve(b, stream);
}

static inline void backend_listen(struct backend *b, const struct tr_addr *addr)
{
    assert_int_equal(tr_listener_open(b->w->loop, addr, backend_accept, b, &b->listener, NULL),
                     TR_OK);
    b->addr = *tr_listener_addr(b->listener);
}

/* Ends its connections and stops listening; the address stays known. */
static inline void backend_stop(struct backend *b)
{
    if (b->listener)
        tr_listener_close(b->listener);
    b->listener = NULL;
    tr_list_for_each (it, next, &b->conns)
        tr_hconn_abort(tr_container_of(it, struct tr_hconn, node));
    if (b->raw)
        tr_stream_close(b->raw, false);
    if (b->shaking)
        tr_stream_close(b->shaking, false);
    b->raw = b->shaking = NULL;
}

static inline struct backend *w_backend(struct world *w, enum backend_kind kind, uint32_t weight)
{
    const uint64_t s = 1000000000u;
    struct tr_addr any;
    unsigned i = w->backend_count++;
    struct backend *b = &w->backends[i];
    assert_true(i < BACKENDS);
    b->w = w;
    b->kind = kind;
    b->limits =
        (struct tr_hlimits){100, 65536, 8192, 100, 8u << 20, 10 * s, 30 * s, 30 * s, 75 * s, 200};
    backend_services[i] = (struct tr_hservice){b, backend_request, backend_conn_closed};
    tr_list_init(&b->conns);
    assert_int_equal(tr_addr_parse(TR_SPAN("127.0.0.1:0"), &any, NULL), TR_OK);
    backend_listen(b, &any);
    w->endpoints[i] = (struct tr_endpoint_conf){
        .addr = b->addr, .authority = TR_SPAN("backend.test"), .weight = weight};
    return b;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void call_head(void *ctx, unsigned status, const struct tr_headers *headers, bool end)
{
    struct test_call *tc = ctx;
    (void)headers;
    tc->heads++;
    tc->status = status;
    tc->head_end = end;
    if (tc->at_head)
        tc->at_head(tc);
    if (tc->free_on_head) {
        tr_cluster_free(tc->w->cluster);
        tc->w->cluster = NULL;
    }
}

static void call_data(void *ctx, struct tr_span data)
{
    struct test_call *tc = ctx;
    assert_int_equal(tc->heads, 1);
    assert_int_equal(tr_buf_append(&tc->data, data), TR_OK);
    if (!tc->keep_credit)
        tr_ucall_consume(&tc->call, data.len);
}

static void call_end(void *ctx, enum tr_err err, uint32_t h2_code,
                     const struct tr_headers *trailers)
{
    struct test_call *tc = ctx;
    tc->ends++;
    tc->err = err;
    tc->h2_code = h2_code;
    const struct tr_header *gs = tr_headers_find(trailers, TR_TOKEN_GRPC_STATUS, NULL);
    if (gs)
        (void)snprintf(tc->grpc_status, sizeof tc->grpc_status, "%.*s", (int)gs->value.len,
                       gs->value.ptr);
}

static void call_writable(void *ctx)
{
    struct test_call *tc = ctx;
    tc->writables++;
}

static const struct tr_ucall_events call_events = {call_head, call_data, call_end, call_writable};

static inline struct test_call *w_call_prepare(struct world *w, const char *body)
{
    assert_true(w->call_count < CALLS);
    struct test_call *tc = &w->calls[w->call_count++];
    tc->w = w;
    tr_arena_init(&tc->arena, &w->blocks);
    assert_int_equal(
        tr_headers_add(&tc->headers, &tc->arena, TR_SPAN("te"), TR_SPAN("trailers"), TR_TOKEN_TE),
        TR_OK);
    assert_int_equal(tr_headers_add(&tc->headers, &tc->arena, TR_SPAN("content-type"),
                                    TR_SPAN("application/grpc"), TR_TOKEN_CONTENT_TYPE),
                     TR_OK);
    assert_int_equal(tr_buf_append(&tc->req, tr_span_cstr(body)), TR_OK);
    tc->call = (struct tr_ucall){.events = &call_events,
                                 .ctx = tc,
                                 .path = TR_SPAN("/t.S/M"),
                                 .headers = &tc->headers,
                                 .req = &tc->req,
                                 .arena = &tc->arena};
    return tc;
}

static inline struct test_call *w_call(struct world *w, const char *body)
{
    struct test_call *tc = w_call_prepare(w, body);
    tc->err = tr_ucall_start(&tc->call, w->cluster);
    if (tc->err)
        tc->ends = 1000; /* never started */
    else
        tr_ucall_commit(&tc->call, true);
    return tc;
}

/* ---- the world ------------------------------------------------------------------------------- */

static inline void w_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    assert_int_equal(tr_loop_new(&w->loop), TR_OK);
    tr_block_cache_init(&w->blocks, 64);
    tr_bufpool_init(&w->bufs);
    w->worker = (struct tr_hworker){
        .loop = w->loop, .blocks = &w->blocks, .bufs = &w->bufs, .err_counts = w->errors};
    w->worker.read_buf = tr_malloc(TR_HREAD_BYTES);
    w->conf = (struct tr_upstream_conf){.name = TR_SPAN("u"),
                                        .endpoints = w->endpoints,
                                        .connect_timeout_ns = 300000000u,
                                        .max_connections = 4,
                                        .max_requests = 1000,
                                        .max_pending = 1000,
                                        .max_header_bytes = 65536};
    w->upstream = (struct tr_upstream){&w->conf, &w->shared, 0};
}

static inline void w_cluster(struct world *w)
{
    w->conf.endpoint_count = w->conf.endpoint_count ? w->conf.endpoint_count : w->backend_count;
    assert_int_equal(tr_cluster_new(&w->worker, w->dns, &w->upstream, &w->cluster), TR_OK);
}

static inline void w_step(struct world *w)
{
    struct timespec nap = {0, 200000};
    tr_loop_turn(w->loop, false);
    (void)nanosleep(&nap, NULL);
}

/* Turns until the first `count` calls have ended or ms have passed; how many have ended. */
static inline unsigned w_until(struct world *w, unsigned count, unsigned ms)
{
    struct timespec a, b;
    (void)clock_gettime(CLOCK_MONOTONIC, &a);
    for (;;) {
        unsigned ended = 0;
        for (unsigned i = 0; i < w->call_count; i++)
            ended += w->calls[i].ends > 0;
        (void)clock_gettime(CLOCK_MONOTONIC, &b);
        int64_t gone = (int64_t)(b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
        if (ended >= count || gone > (int64_t)ms)
            return ended;
        w_step(w);
    }
}

static inline void w_turns(struct world *w, unsigned n)
{
    while (n--)
        w_step(w);
}

static inline void w_fini(struct world *w)
{
    tr_cluster_free(w->cluster);
    for (unsigned i = 0; i < w->backend_count; i++) {
        backend_stop(&w->backends[i]);
        tr_buf_fini(&w->backends[i].script);
        tr_buf_fini(&w->backends[i].rx);
    }
    for (unsigned i = 0; i < w->call_count; i++) {
        struct test_call *tc = &w->calls[i];
        assert_true(tc->ends == 1 || tc->ends == 1000);
        tr_buf_fini(&tc->req);
        tr_buf_fini(&tc->data);
        tr_arena_fini(&tc->arena);
    }
    assert_int_equal(w->shared.active, 0);
    assert_int_equal(w->shared.pending, 0);
    tr_dns_free(w->dns);
    tr_loop_free(w->loop);
    assert_null(w->worker.h2_pool);
    tr_buf_fini(&w->worker.write_buf);
    tr_free(w->worker.read_buf);
    tr_bufpool_fini(&w->bufs);
    tr_block_cache_fini(&w->blocks);
}

#endif
