/* The HTTP/2 server connection against arbitrary bytes from its client.
 *
 * The first byte chooses the limits and what the sinks do, the second the sizes of the pieces; the
 * rest is what the client sends. Whatever it is: each request that was told of ends (released
 * once), the connection goes, and nothing is left. The number of requests and of body bytes does
 * not depend on the pieces when nobody answers in between, and no reset of ours decides. */
#include "base/alloc.h"
#include "base/bufpool.h"
#include "fuzz.h"
#include "http/codec.h"
#include "http/h2_scan.h"

#include <stdlib.h>
#include <string.h>

enum { FRAME_RST_STREAM = 3, FRAME_GOAWAY = 7 };

struct sink {
    struct tr_hstream *hs;
    unsigned mode;
};

struct world {
    struct tr_loop *loop;
    struct tr_block_cache blocks;
    struct tr_bufpool bufs;
    struct tr_hworker worker;
    struct tr_hlimits limits;
    struct tr_hservice service;
    struct tr_hconn *conn;
    struct tr_stream *peer;
    uint64_t errors[TR_ERR__COUNT];
    struct tr_h2_scan answers;
    unsigned mode, requests, ended, resets;
    size_t body_bytes;
    unsigned open;
};

static struct world *the_world;

static void release(struct sink *s)
{
    the_world->open--;
    s->hs->ops->release(s->hs);
}

static void answer(struct sink *s)
{
    struct tr_resp_head head = {.status = 200, .content_length = s->mode & 1 ? -1 : 5};
    struct tr_headers trailers = {NULL, 0, 0};
    struct tr_hstream *hs = s->hs;
    FUZZ_CHECK(tr_buf_append(&hs->out, TR_SPAN("hello")) == TR_OK);
    if (hs->ops->send_head(hs, &head, false) == TR_OK) {
        hs->ops->commit(hs, !(s->mode & 1));
        if (s->mode & 1)
            (void)hs->ops->send_trailers(hs, &trailers);
    }
    release(s);
}

static void on_data(void *sink, struct tr_span data)
{
    struct sink *s = sink;
    the_world->body_bytes += data.len;
    if (!(s->mode & 2))
        s->hs->ops->consume(s->hs, data.len);
}

static void on_end(void *sink, const struct tr_headers *trailers)
{
    (void)trailers;
    the_world->ended++;
    if (((struct sink *)sink)->mode & 4)
        answer(sink);
}

static void on_writable(void *sink)
{
    (void)sink;
}

static void on_gone(void *sink, enum tr_err why)
{
    FUZZ_CHECK(why != TR_OK);
    release(sink);
}

static const struct tr_hsink_ops sink_ops = {on_data, on_end, on_writable, on_gone, on_gone};

static void on_request(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                       const struct tr_status *st)
{
    struct world *w = ctx;
    (void)st;
    struct sink *s = TR_ARENA_NEW(&hs->arena, struct sink);
    FUZZ_CHECK(s != NULL);
    s->hs = hs;
    s->mode = w->mode;
    w->open++;
    w->requests++;
    hs->sink = s;
    hs->sink_ops = &sink_ops;
    if (!refused) {
        FUZZ_CHECK(hs->head.path.len > 0);
        FUZZ_CHECK(hs->head.authority.len > 0);
    }
    if (w->mode & 8)
        answer(s);
}

static void on_conn_closed(void *ctx, struct tr_hconn *conn)
{
    struct world *w = ctx;
    FUZZ_CHECK(conn == w->conn);
    w->conn = NULL;
}

static void peer_readable(void *ctx)
{
    struct world *w = ctx;
    char buf[4096];
    ssize_t n = tr_stream_read(w->peer, buf, sizeof buf);
    if (n <= 0 && n != TR_STREAM_AGAIN)
        tr_stream_want(w->peer, false, false);
    struct tr_h2_frame_head head;
    for (size_t pos = 0;
         n > 0 && tr_h2_scan_next(&w->answers, (const uint8_t *)buf, (size_t)n, &pos, &head);)
        w->resets += head.type == FRAME_RST_STREAM;
}

static const struct tr_stream_events peer_events = {.on_readable = peer_readable};

static void begin(struct world *w, unsigned mode)
{
    struct tr_stream *server;
    static char read_buf[TR_HREAD_BYTES];
    memset(w, 0, sizeof *w);
    the_world = w;
    w->mode = mode;
    FUZZ_CHECK(tr_loop_new(&w->loop) == TR_OK);
    tr_block_cache_init(&w->blocks, 16);
    tr_bufpool_init(&w->bufs);
    w->worker = (struct tr_hworker){.loop = w->loop,
                                    .blocks = &w->blocks,
                                    .bufs = &w->bufs,
                                    .err_counts = w->errors,
                                    .read_buf = read_buf};
    /* without 64 so many streams and resets that it does not matter when in between the output is
     * flushed */
    w->limits = (struct tr_hlimits){.max_headers = mode & 16 ? 5 : 100,
                                    .max_header_bytes = mode & 16 ? 300 : 65536,
                                    .max_path_bytes = 64,
                                    .max_concurrent_streams = mode & 64 ? 10 : 10000,
                                    .max_buffered_bytes = 1 << 16,
                                    .max_resets = mode & 64 ? 20 : 10000};
    w->limits.header_timeout_ns = w->limits.body_idle_timeout_ns = w->limits.write_timeout_ns =
        w->limits.keepalive_timeout_ns = 10000000000u;
    w->service = (struct tr_hservice){w, on_request, on_conn_closed};
    FUZZ_CHECK(tr_stream_mem_pair(w->loop, 65536, &server, &w->peer) == TR_OK);
    FUZZ_CHECK(tr_h2_conn_new(&w->worker, &w->limits, &w->service, server, tr_span("", 0), NULL,
                              &w->conn) == TR_OK);
    tr_stream_set_events(w->peer, &peer_events, w);
    tr_stream_want(w->peer, true, false);
}

static void turns(struct world *w, int n)
{
    while (n--)
        tr_loop_turn(w->loop, false);
}

static void finish(struct world *w)
{
    tr_stream_close(w->peer, false);
    turns(w, 4);
    FUZZ_CHECK(w->open == 0 || w->conn != NULL);
    if (w->conn)
        tr_hconn_abort(w->conn);
    FUZZ_CHECK(w->open == 0);
    FUZZ_CHECK(w->conn == NULL);
    tr_loop_free(w->loop);
    FUZZ_CHECK(w->worker.h2_pool == NULL);
    tr_buf_fini(&w->worker.write_buf);
    tr_bufpool_fini(&w->bufs);
    tr_block_cache_fini(&w->blocks);
}

static void run(struct world *w, const uint8_t *data, size_t size, unsigned mode, size_t piece)
{
    begin(w, mode);
    for (size_t pos = 0; pos < size;) {
        size_t n = size - pos < piece ? size - pos : piece;
        ssize_t sent = tr_stream_write(w->peer, data + pos, n);
        if (sent < 0)
            break;
        pos += (size_t)sent;
        turns(w, 1);
    }
    turns(w, 6);
    finish(w);
}

/* After a GOAWAY of the client the connection ends as soon as it is idle, which depends on the
 * pieces. */
static bool has_goaway(const uint8_t *data, size_t size)
{
    struct tr_h2_scan scan = {.payload_left = TR_H2_PREFACE_BYTES};
    struct tr_h2_frame_head head;
    for (size_t pos = 0; tr_h2_scan_next(&scan, data, size, &pos, &head);) {
        if (head.type == FRAME_GOAWAY)
            return true;
    }
    return false;
}

/* What comes to a stream after its end is an error of the connection, but is let pass once the
 * stream was reset by us (RFC 9113 §5.1): whether the reset has left depends on the pieces. */
static bool reset_decides(const struct world *whole, const struct world *pieces)
{
    return (whole->resets || pieces->resets) &&
           (whole->errors[TR_ERR_H2_PROTOCOL] || pieces->errors[TR_ERR_H2_PROTOCOL]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";
    static struct world whole, pieces;
    if (size < 2 || size > 8000)
        return 0;
    unsigned mode = data[0];
    size_t piece = (size_t)data[1] + 1, lead = mode & 32 ? 0 : sizeof preface - 1;
    uint8_t *input = malloc(lead + size - 2 ? lead + size - 2 : 1);
    FUZZ_CHECK(input != NULL);
    memcpy(input, preface, lead);
    memcpy(input + lead, data + 2, size - 2);
    run(&whole, input, lead + size - 2, mode, 65536);
    if ((mode & (4 | 8 | 64)) == 0 && !has_goaway(input, lead + size - 2)) {
        run(&pieces, input, lead + size - 2, mode, piece);
        if (!reset_decides(&whole, &pieces)) {
            FUZZ_CHECK(pieces.requests == whole.requests);
            FUZZ_CHECK(pieces.ended == whole.ended);
            FUZZ_CHECK(pieces.body_bytes == whole.body_bytes);
        }
    }
    free(input);
    return 0;
}
