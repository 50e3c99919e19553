/* Each allocation of a client and a server connection failing in turn: nothing crashes, hangs or
 * leaks, and each request still ends exactly once on both sides. */
#include "base/bufpool.h"
#include "http/codec.h"
#include "http/h2_client.h"
#include "test.h"

#define REQUESTS 3

struct side {
    struct tr_hstream *hs;
    struct tr_h2_req *req;
    struct tr_arena arena;
    struct tr_buf body;
    size_t pos;
    unsigned ends, heads;
    enum tr_err err;
};

static struct tr_loop *loop;
static struct tr_hworker worker;
static struct tr_hlimits limits;
static struct tr_hconn *conn;
static struct tr_h2_client *client;
static struct side servers[REQUESTS], clients[REQUESTS];
static unsigned requests, open_sinks;
static bool closed, usable;

static void release(struct side *s)
{
    open_sinks--;
    s->hs->ops->release(s->hs);
}

static void sink_data(void *sink, struct tr_span data)
{
    struct side *s = sink;
    s->hs->ops->consume(s->hs, data.len);
}

static void sink_end(void *sink, const struct tr_headers *in)
{
    struct side *s = sink;
    struct tr_resp_head head = {.status = 200, .content_length = -1};
    struct tr_headers trailers = {NULL, 0, 0};
    (void)in;
    if (tr_buf_append(&s->hs->out, TR_SPAN("an answer")) == TR_OK &&
        tr_headers_add(&trailers, &s->hs->arena, TR_SPAN("grpc-status"), TR_SPAN("0"),
                       TR_TOKEN_GRPC_STATUS) == TR_OK &&
        s->hs->ops->send_head(s->hs, &head, false) == TR_OK) {
        s->hs->ops->commit(s->hs, false);
        if (s->hs->ops->send_trailers(s->hs, &trailers) != TR_OK)
            s->hs->ops->reset(s->hs, TR_HRESET_INTERNAL);
    }
    release(s);
}

static void sink_writable(void *sink)
{
    (void)sink;
}

static void sink_gone(void *sink, enum tr_err why)
{
    (void)why;
    release(sink);
}

static const struct tr_hsink_ops sink_ops = {sink_data, sink_end, sink_writable, sink_gone,
                                             sink_gone};

static void on_request(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                       const struct tr_status *st)
{
    (void)ctx;
    (void)refused;
    (void)st;
    struct side *s = &servers[requests++];
    s->hs = hs;
    hs->sink = s;
    hs->sink_ops = &sink_ops;
    open_sinks++;
}

static void on_conn_closed(void *ctx, struct tr_hconn *c)
{
    (void)ctx;
    (void)c;
    conn = NULL;
}

static void on_settings(void *ctx)
{
    (void)ctx;
    usable = true;
}

static void on_goaway(void *ctx, uint32_t code)
{
    (void)ctx;
    (void)code;
}

static void on_room(void *ctx)
{
    (void)ctx;
}

static void on_closed(void *ctx, enum tr_err why)
{
    (void)ctx;
    assert_int_not_equal(why, TR_OK);
    closed = true;
}

static const struct tr_h2_client_events client_events = {on_settings, on_goaway, on_room,
                                                         on_closed};

static void on_sent(void *ctx)
{
    (void)ctx;
}

static void on_head(void *ctx, unsigned status, const struct tr_headers *headers, bool end)
{
    (void)status;
    (void)headers;
    (void)end;
    ((struct side *)ctx)->heads++;
}

static void on_data(void *ctx, struct tr_span data)
{
    tr_h2_req_consume(((struct side *)ctx)->req, data.len);
}

static void on_end(void *ctx, enum tr_err err, uint32_t code, const struct tr_headers *trailers)
{
    (void)code;
    (void)trailers;
    struct side *s = ctx;
    s->ends++;
    s->err = err;
}

static const struct tr_h2_req_events req_events = {on_sent, on_head, on_data, on_end, on_room};

static void turns(int n)
{
    while (n--)
        tr_loop_turn(loop, false);
}

/* Runs the requests with what memory there is; how many were answered. */
static unsigned scenario(struct tr_stream *a, struct tr_stream *b)
{
    static const struct tr_headers none = {NULL, 0, 0};
    static const struct tr_hservice service = {NULL, on_request, on_conn_closed};
    unsigned answered = 0, started = 0;
    if (tr_h2_conn_new(&worker, &limits, &service, a, tr_span("", 0), NULL, &conn) != TR_OK) {
        tr_stream_close(a, true);
        conn = NULL;
    }
    if (tr_h2_client_new(&worker, b, 65536, &client_events, NULL, &client) != TR_OK) {
        tr_stream_close(b, true);
        client = NULL;
    }
    turns(6);
    for (int i = 0; i < REQUESTS && client && usable; i++) {
        struct side *s = &clients[i];
        struct tr_h2_req_params p = {.method = TR_SPAN("POST"),
                                     .scheme = TR_SPAN("http"),
                                     .authority = TR_SPAN("a.test"),
                                     .path = TR_SPAN("/a/path/that/is/not/in/the/table"),
                                     .headers = &none,
                                     .body = &s->body,
                                     .body_pos = &s->pos,
                                     .end = true,
                                     .arena = &s->arena,
                                     .events = &req_events,
                                     .ctx = s};
        if (tr_h2_req_new(client, &p, &s->req) != TR_OK)
            s->ends = 1;
        else
            started++;
        turns(2);
    }
    turns(10);
    tr_alloc_fail_after(0);
    if (conn)
        tr_hconn_abort(conn);
    turns(4);
    tr_h2_client_free(client);
    turns(2);
    for (unsigned i = 0; i < REQUESTS; i++) {
        assert_true(clients[i].ends == (clients[i].req || clients[i].ends ? 1u : 0u));
        answered += clients[i].req && clients[i].err == TR_OK && clients[i].heads == 1;
    }
    return answered;
}

static unsigned run(uint64_t fail_at)
{
    static char read_buf[TR_HREAD_BYTES];
    struct tr_block_cache blocks;
    struct tr_bufpool bufs;
    struct tr_stream *a, *b;
    const uint64_t s = 1000000000u;
    memset(servers, 0, sizeof servers);
    memset(clients, 0, sizeof clients);
    requests = open_sinks = 0;
    closed = usable = false;
    conn = NULL;
    client = NULL;
    assert_int_equal(tr_loop_new(&loop), TR_OK);
    tr_block_cache_init(&blocks, 8);
    tr_bufpool_init(&bufs);
    worker =
        (struct tr_hworker){.loop = loop, .blocks = &blocks, .bufs = &bufs, .read_buf = read_buf};
    limits =
        (struct tr_hlimits){100, 65536, 8192, 100, 8u << 20, 10 * s, 30 * s, 30 * s, 75 * s, 200};
    for (int i = 0; i < REQUESTS; i++) {
        tr_arena_init(&clients[i].arena, &blocks);
        assert_int_equal(tr_buf_append(&clients[i].body, TR_SPAN("a request")), TR_OK);
    }
    assert_int_equal(tr_stream_mem_pair(loop, 65536, &a, &b), TR_OK);
    tr_alloc_fail_after(fail_at);
    unsigned answered = scenario(a, b);
    assert_int_equal(open_sinks, 0);
    assert_null(conn);
    assert_null(worker.h2_pool);
    for (int i = 0; i < REQUESTS; i++) {
        tr_buf_fini(&clients[i].body);
        tr_arena_fini(&clients[i].arena);
    }
    tr_loop_free(loop);
    tr_buf_fini(&worker.write_buf);
    tr_bufpool_fini(&bufs);
    tr_block_cache_fini(&blocks);
    return answered;
}

static void h2_survives_each_allocation_failing(void **state)
{
    (void)state;
    uint64_t n = 1;
    unsigned hurt = 0;
    while (run(n) < REQUESTS) {
        hurt++;
        assert_true(++n < 5000);
    }
    assert_true(hurt > 5);
    assert_int_equal(run(0), REQUESTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(h2_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
