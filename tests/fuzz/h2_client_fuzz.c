/* The HTTP/2 client connection against arbitrary bytes from its backend.
 *
 * The first byte says what the owner does (cancel, hold back credit, send its request in parts),
 * the second how many bytes come in one turn. Every request ends exactly once, a cancelled one
 * never, and nothing is left. */
#include "base/bufpool.h"
#include "fuzz.h"
#include "http/codec.h"
#include "http/h2_client.h"

#include <stdlib.h>
#include <string.h>

#define REQUESTS 3

struct request {
    struct tr_h2_req *req; /* NULL: not begun, ended, or cancelled */
    struct tr_arena arena;
    struct tr_buf body;
    size_t pos;
    unsigned begun, ends, heads, cancelled;
};

struct world {
    struct tr_loop *loop;
    struct tr_block_cache blocks;
    struct tr_bufpool bufs;
    struct tr_hworker worker;
    struct tr_h2_client *client;
    struct tr_stream *peer;
    struct request requests[REQUESTS];
    unsigned mode, closed;
};

static struct world w;

static void on_sent(void *ctx)
{
    FUZZ_CHECK(((struct request *)ctx)->ends == 0);
}

static void cancel(struct request *r)
{
    tr_h2_req_cancel(r->req);
    r->req = NULL;
    r->cancelled = 1;
}

static void on_head(void *ctx, unsigned status, const struct tr_headers *headers, bool end)
{
    struct request *r = ctx;
    (void)end;
    FUZZ_CHECK(status >= 200 && status <= 999);
    FUZZ_CHECK(r->heads++ == 0 && r->ends == 0 && !r->cancelled);
    for (uint32_t i = 0; i < headers->count; i++)
        FUZZ_CHECK(headers->items[i].name.len > 0 && headers->items[i].name.ptr[0] != ':');
    if (w.mode & 1)
        cancel(r);
}

static void on_data(void *ctx, struct tr_span data)
{
    struct request *r = ctx;
    FUZZ_CHECK(r->heads == 1 && r->ends == 0 && !r->cancelled && data.len > 0);
    if (w.mode & 2)
        cancel(r);
    else if (!(w.mode & 4))
        tr_h2_req_consume(r->req, data.len);
}

static void on_end(void *ctx, enum tr_err err, uint32_t code, const struct tr_headers *trailers)
{
    struct request *r = ctx;
    (void)code;
    FUZZ_CHECK(r->ends++ == 0 && !r->cancelled);
    FUZZ_CHECK(err != TR_OK || r->heads == 1);
    FUZZ_CHECK(trailers != NULL);
    r->req = NULL;
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static const struct tr_h2_req_events req_events = {on_sent, on_head, on_data, on_end, nothing};

static void on_goaway(void *ctx, uint32_t code)
{
    (void)ctx;
    (void)code;
}

static void on_closed(void *ctx, enum tr_err why)
{
    (void)ctx;
    FUZZ_CHECK(why != TR_OK && w.closed++ == 0);
    for (int i = 0; i < REQUESTS; i++)
        FUZZ_CHECK(w.requests[i].req == NULL);
}

static const struct tr_h2_client_events client_events = {nothing, on_goaway, nothing, on_closed};

static void peer_readable(void *ctx)
{
    (void)ctx;
    char buf[4096];
    ssize_t n = tr_stream_read(w.peer, buf, sizeof buf);
    if (n <= 0 && n != TR_STREAM_AGAIN)
        tr_stream_want(w.peer, false, false);
}

static const struct tr_stream_events peer_events = {.on_readable = peer_readable};

static void begin_requests(void)
{
    static const struct tr_headers none = {NULL, 0, 0};
    for (int i = 0; i < REQUESTS; i++) {
        struct request *r = &w.requests[i];
        struct tr_h2_req_params p = {.method = TR_SPAN("POST"),
                                     .scheme = TR_SPAN("http"),
                                     .authority = TR_SPAN("a.test"),
                                     .path = TR_SPAN("/"),
                                     .headers = &none,
                                     .body = &r->body,
                                     .body_pos = &r->pos,
                                     .end = !(w.mode & 8),
                                     .arena = &r->arena,
                                     .events = &req_events,
                                     .ctx = r};
        if (!r->begun && tr_h2_client_room(w.client) &&
            tr_h2_req_new(w.client, &p, &r->req) == TR_OK)
            r->begun = 1;
        else if (r->req && (w.mode & 8)) /* more of it with each turn */
            tr_h2_req_commit(r->req, tr_buf_append(&r->body, TR_SPAN("more")) != TR_OK);
    }
}

static void begin(unsigned mode)
{
    struct tr_stream *stream;
    static char read_buf[TR_HREAD_BYTES];
    memset(&w, 0, sizeof w);
    w.mode = mode;
    FUZZ_CHECK(tr_loop_new(&w.loop) == TR_OK);
    tr_block_cache_init(&w.blocks, 16);
    tr_bufpool_init(&w.bufs);
    w.worker = (struct tr_hworker){
        .loop = w.loop, .blocks = &w.blocks, .bufs = &w.bufs, .read_buf = read_buf};
    for (int i = 0; i < REQUESTS; i++) {
        tr_arena_init(&w.requests[i].arena, &w.blocks);
        FUZZ_CHECK(tr_buf_append(&w.requests[i].body, TR_SPAN("request")) == TR_OK);
    }
    FUZZ_CHECK(tr_stream_mem_pair(w.loop, 65536, &stream, &w.peer) == TR_OK);
    FUZZ_CHECK(tr_h2_client_new(&w.worker, stream, mode & 16 ? 200 : 65536, &client_events, NULL,
                                &w.client) == TR_OK);
    tr_stream_set_events(w.peer, &peer_events, NULL);
    tr_stream_want(w.peer, true, false);
}

static void finish(void)
{
    tr_h2_client_free(w.client);
    tr_stream_close(w.peer, false);
    tr_loop_turn(w.loop, false);
    for (int i = 0; i < REQUESTS; i++) {
        struct request *r = &w.requests[i];
        FUZZ_CHECK(r->ends + r->cancelled == r->begun);
        tr_buf_fini(&r->body);
        tr_arena_fini(&r->arena);
    }
    tr_loop_free(w.loop);
    FUZZ_CHECK(w.worker.h2_pool == NULL);
    tr_buf_fini(&w.worker.write_buf);
    tr_bufpool_fini(&w.bufs);
    tr_block_cache_fini(&w.blocks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char settings[] = "\0\0\0\4\0\0\0\0\0";
    if (size < 2 || size > 8000)
        return 0;
    size_t piece = (size_t)data[1] * 4 + 1;
    begin(data[0]);
    if (!(data[0] & 32))
        FUZZ_CHECK(tr_stream_write(w.peer, settings, sizeof settings - 1) > 0);
    for (size_t pos = 2; pos < size && !w.closed;) {
        tr_loop_turn(w.loop, false);
        tr_loop_turn(w.loop, false);
        if (!w.closed)
            begin_requests();
        tr_loop_turn(w.loop, false);
        size_t n = size - pos < piece ? size - pos : piece;
        ssize_t sent = tr_stream_write(w.peer, data + pos, n);
        if (sent < 0)
            break;
        pos += (size_t)sent;
    }
    for (int i = 0; i < 4; i++)
        tr_loop_turn(w.loop, false);
    finish();
    return 0;
}
