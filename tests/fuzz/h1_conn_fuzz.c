/* A whole HTTP/1.1 connection under arbitrary bytes, cuts and sinks: nothing is told twice or after
 * the end, nothing leaks, and after the client's FIN the connection ends. Bytes 0-1 seed what the
 * sinks and the cuts do. */
#include "base/alloc.h"
#include "base/bufpool.h"
#include "fuzz.h"
#include "http/codec.h"

#include <stdlib.h>
#include <string.h>

struct sink {
    struct sink *next;
    struct tr_hstream *hs;
    bool refused, ended, gone, failed, answered, done;
};

static struct {
    struct tr_loop *loop;
    struct tr_hworker worker;
    struct tr_bufpool bufs;
    struct tr_block_cache blocks;
    uint64_t errors[TR_ERR__COUNT];
    char read_buf[TR_HREAD_BYTES];
    struct sink *sinks; /* alive */
    uint32_t seed;
    bool closed;
} w;

static uint32_t dice(uint32_t n)
{
    w.seed = w.seed * 1664525u + 1013904223u;
    return (w.seed >> 16) % n;
}

static void finish(struct sink *s)
{
    struct sink **p = &w.sinks;
    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
    struct tr_hstream *hs = s->hs;
    tr_free(s);
    hs->ops->release(hs);
}

static void act(struct sink *s)
{
    struct tr_hstream *hs = s->hs;
    if (s->gone || s->done) {
        finish(s);
        return;
    }
    struct tr_header t = {TR_SPAN_INIT("x-t"), TR_SPAN_INIT("1"), TR_TOKEN_NONE};
    struct tr_headers trailers = {&t, 1, 1};
    struct tr_resp_head head = {.status = (uint16_t)(dice(8) ? 200 : 204),
                                .content_length = dice(2) ? -1 : 4};
    switch (dice(s->answered ? 6 : 3)) {
    case 0:
        if (!s->answered) {
            s->answered = true;
            FUZZ_CHECK(hs->ops->send_head(hs, &head, false) == TR_OK);
        }
        break;
    case 1:
        hs->ops->send_continue(hs);
        break;
    case 2:
        if (dice(20) == 0) {
            if (dice(2))
                hs->ops->reset(hs, TR_HRESET_INTERNAL);
            finish(s);
        }
        break;
    case 3:
    case 4:
        FUZZ_CHECK(tr_buf_append(&hs->out, TR_SPAN("body")) == TR_OK);
        s->done = dice(2) != 0;
        hs->ops->commit(hs, s->done);
        break;
    default:
        s->done = true;
        FUZZ_CHECK(hs->ops->send_trailers(hs, &trailers) == TR_OK);
        if (dice(2))
            hs->ops->reset(hs, TR_HRESET_NO_ERROR);
        break;
    }
}

static void on_data(void *ctx, struct tr_span data)
{
    struct sink *s = ctx;
    FUZZ_CHECK(data.len && !s->ended && !s->gone && !s->failed && !s->refused);
    s->hs->ops->consume(s->hs, data.len);
    if (dice(4) == 0)
        act(s);
}

static void on_end(void *ctx, const struct tr_headers *trailers)
{
    (void)trailers;
    struct sink *s = ctx;
    FUZZ_CHECK(!s->ended && !s->gone && !s->failed && !s->refused && !s->hs->head.end);
    s->ended = true;
    act(s);
}

static void on_writable(void *ctx)
{
    struct sink *s = ctx;
    FUZZ_CHECK(!s->gone && !s->done);
}

static void on_gone(void *ctx, enum tr_err why)
{
    struct sink *s = ctx;
    FUZZ_CHECK(why && !s->gone);
    s->gone = true;
    if (dice(2))
        finish(s);
}

static void on_body_error(void *ctx, enum tr_err why)
{
    struct sink *s = ctx;
    FUZZ_CHECK(why && !s->gone && !s->failed && !s->answered);
    s->failed = true;
}

static const struct tr_hsink_ops sink_ops = {on_data, on_end, on_writable, on_gone, on_body_error};

static void on_request(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                       const struct tr_status *st)
{
    (void)ctx;
    FUZZ_CHECK(st->err == refused);
    FUZZ_CHECK(!w.sinks); /* one request at a time */
    struct sink *s = tr_calloc(1, sizeof *s);
    FUZZ_CHECK(s);
    s->hs = hs;
    s->refused = refused != TR_OK;
    s->next = w.sinks;
    w.sinks = s;
    hs->sink = s;
    hs->sink_ops = &sink_ops;
    if (dice(2))
        act(s);
}

static void on_conn_closed(void *ctx, struct tr_hconn *conn)
{
    (void)ctx;
    (void)conn;
    FUZZ_CHECK(!w.closed && !w.sinks);
    w.closed = true;
}

static void client_turn(struct tr_stream *client)
{
    char buf[4096];
    tr_loop_turn(w.loop, false);
    if (w.sinks && dice(2))
        act(w.sinks);
    if (dice(3))
        (void)tr_stream_read(client, buf, sizeof buf);
    tr_loop_turn(w.loop, false);
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static const struct tr_stream_events client_events = {.on_readable = nothing,
                                                      .on_writable = nothing};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tr_hlimits limits = {
        16, 2048, 256, 1, 1 << 20, 1000000000000u, 1000000000000u, 1000000000000u, 1000000000000u,
        1};
    static const struct tr_hservice service = {NULL, on_request, on_conn_closed};
    if (size < 2)
        return 0;
    if (!w.loop) {
        FUZZ_CHECK(tr_loop_new(&w.loop) == TR_OK);
        tr_bufpool_init(&w.bufs);
        tr_block_cache_init(&w.blocks, 64);
        w.worker = (struct tr_hworker){.loop = w.loop,
                                       .blocks = &w.blocks,
                                       .bufs = &w.bufs,
                                       .read_buf = w.read_buf,
                                       .err_counts = w.errors};
    }
    struct tr_stream *server, *client;
    struct tr_hconn *conn;
    w.seed = data[0] | (uint32_t)data[1] << 8;
    w.closed = false;
    FUZZ_CHECK(tr_stream_mem_pair(w.loop, 64 + dice(4000), &server, &client) == TR_OK);
    tr_stream_set_events(client, &client_events, NULL);
    FUZZ_CHECK(tr_h1_conn_new(&w.worker, &limits, &service, server, TR_SPAN(""), NULL, &conn) ==
               TR_OK);
    struct tr_span in = tr_span((const char *)data + 2, size - 2);
    for (int stalled = 0; in.len && stalled < 50 && !w.closed;) {
        struct tr_span part = tr_span_sub(in, 0, 1 + dice(100));
        ssize_t n = tr_stream_write(client, part.ptr, part.len);
        if (n < 0)
            break;
        in = tr_span_from(in, (size_t)n);
        stalled = n ? 0 : stalled + 1;
        client_turn(client);
        if (dice(200) == 0 && !w.closed)
            tr_hconn_drain(conn);
    }
    tr_stream_shutdown(client);
    for (int i = 0; i < 300 && !w.closed; i++)
        client_turn(client);
    FUZZ_CHECK(w.closed);
    tr_stream_close(client, false);
    for (int i = 0; i < 3; i++)
        tr_loop_turn(w.loop, false);
    return 0;
}
