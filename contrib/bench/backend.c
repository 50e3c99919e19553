/* A cheap gRPC backend for measurements: canned answers by method, HTTP/2 in cleartext on loopback,
 * one thread.
 *
 * bench_backend PORT DIR [MIB]: DIR has small.bin, medium.bin, large.bin, serialized messages.
 * GetBookSummary answers small, GetBook and EchoBook medium, ListBooks large, StreamBooks a hundred
 * times medium. Down (items of 1 KiB) and DownFile (pieces of 64 KiB) of the test service send MIB
 * megabytes, 1024 unless told; Up and UpFile swallow what comes and answer its size. Prints one
 * line with its port when ready. */
#include "base/alloc.h"
#include "base/bufpool.h"
#include "http/codec.h"
#include "io/listener.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct answer {
    const char *path;
    const char *file;
    unsigned repeat;
    struct tr_buf frames;
};

static struct answer answers[] = {
    {"/bookstore.v1.Bookstore/GetBookSummary", "small.bin", 1, {0}},
    {"/bookstore.v1.Bookstore/GetBook", "medium.bin", 1, {0}},
    {"/bookstore.v1.Bookstore/EchoBook", "medium.bin", 1, {0}},
    {"/bookstore.v1.Bookstore/ListBooks", "large.bin", 1, {0}},
    {"/bookstore.v1.Bookstore/StreamBooks", "medium.bin", 100, {0}},
};
#define ANSWERS (sizeof answers / sizeof answers[0])

/* Methods that move a volume: one frame again and again, or a count of what came. */
struct volume {
    const char *path;
    size_t piece; /* 0: an upload */
    unsigned char field;
    struct tr_buf frame;
};

static struct volume volumes[] = {
    {"/test.v1.EverythingService/Down", 1024, 2, {0}},           /* StreamItem.text */
    {"/test.v1.EverythingService/DownFile", 65536 - 64, 2, {0}}, /* HttpBody.data */
    {"/test.v1.EverythingService/Up", 0, 2, {0}},                /* StreamSummary.bytes */
    {"/test.v1.EverythingService/UpFile", 0, 3, {0}},            /* FileSummary.size */
};
#define VOLUMES (sizeof volumes / sizeof volumes[0])
static uint64_t volume_bytes = (uint64_t)1024 << 20;

static size_t put_varint(char *p, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        p[n++] = (char)((v & 0x7f) | 0x80);
    p[n++] = (char)v;
    return n;
}

static bool append_frame_head(struct tr_buf *b, size_t n)
{
    const char head[5] = {0, (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};
    return !tr_buf_append(b, tr_span(head, 5));
}

/* One frame with a message of one field of v->piece bytes of text. */
static bool make_volume(struct volume *v)
{
    static char bytes[65536];
    char tag[12];
    tag[0] = (char)(v->field << 3 | 2);
    size_t n = 1 + put_varint(tag + 1, v->piece);
    for (size_t i = 0; i < v->piece; i++)
        bytes[i] = (char)('a' + i % 26);
    return append_frame_head(&v->frame, n + v->piece) &&
           !tr_buf_append(&v->frame, tr_span(tag, n)) &&
           !tr_buf_append(&v->frame, tr_span(bytes, v->piece));
}

static bool load(struct answer *a, const char *dir)
{
    char path[4096];
    static char bytes[1 << 20];
    (void)snprintf(path, sizeof path, "%s/%s", dir, a->file);
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    size_t n = fread(bytes, 1, sizeof bytes, f);
    (void)fclose(f);
    for (unsigned i = 0; i < a->repeat; i++)
        if (!append_frame_head(&a->frames, n) || tr_buf_append(&a->frames, tr_span(bytes, n)))
            return false;
    return true;
}

struct request {
    struct tr_hstream *hs;
    const struct answer *answer;
    const struct volume *volume;
    uint64_t received, left; /* of a volume */
};

static bool begin(struct request *r)
{
    struct tr_resp_head head = {.status = 200, .content_length = -1};
    return !tr_headers_add(&head.headers, &r->hs->arena, TR_SPAN("content-type"),
                           TR_SPAN("application/grpc"), TR_TOKEN_CONTENT_TYPE) &&
           !r->hs->ops->send_head(r->hs, &head, false);
}

static bool finish(struct request *r, struct tr_span status)
{
    struct tr_headers trailers = {0};
    return !tr_headers_add(&trailers, &r->hs->arena, TR_SPAN("grpc-status"), status,
                           TR_TOKEN_GRPC_STATUS) &&
           !r->hs->ops->send_trailers(r->hs, &trailers);
}

static void end(struct request *r, bool ok)
{
    if (!ok)
        r->hs->ops->reset(r->hs, TR_HRESET_INTERNAL);
    r->hs->ops->release(r->hs);
}

/* More of a download, as far as the queue goes. */
static void pour(struct request *r)
{
    struct tr_hstream *hs = r->hs;
    struct tr_span frame = tr_buf_span(&r->volume->frame);
    bool ok = true;
    while (ok && r->left && hs->ops->queued(hs) < TR_OUT_HIGH_BYTES) {
        ok = !tr_buf_append(&hs->out, frame);
        hs->ops->commit(hs, false);
        r->left -= r->left < frame.len ? r->left : frame.len;
    }
    if (!ok)
        end(r, false);
    else if (!r->left)
        end(r, finish(r, TR_SPAN("0")));
}

static void respond_volume(struct request *r)
{
    char message[12];
    if (!begin(r)) {
        end(r, false);
        return;
    }
    if (r->volume->piece) {
        r->left = volume_bytes;
        pour(r);
        return;
    }
    message[0] = (char)(r->volume->field << 3);
    size_t n = 1 + put_varint(message + 1, r->received);
    bool ok = append_frame_head(&r->hs->out, n) && !tr_buf_append(&r->hs->out, tr_span(message, n));
    r->hs->ops->commit(r->hs, false);
    end(r, ok && finish(r, TR_SPAN("0")));
}

static void respond(struct request *r)
{
    if (r->volume) {
        respond_volume(r);
        return;
    }
    bool ok =
        begin(r) && (!r->answer || !tr_buf_append(&r->hs->out, tr_buf_span(&r->answer->frames)));
    if (ok)
        r->hs->ops->commit(r->hs, false);
    end(r, ok && finish(r, r->answer ? TR_SPAN("0") : TR_SPAN("12")));
}

static void on_data(void *sink, struct tr_span data)
{
    struct request *r = sink;
    r->received += data.len;
    r->hs->ops->consume(r->hs, data.len);
}
static void on_end(void *sink, const struct tr_headers *trailers)
{
    (void)trailers;
    respond(sink);
}
static void on_writable(void *sink)
{
    struct request *r = sink;
    if (r->left)
        pour(r);
}
static void on_gone(void *sink, enum tr_err why)
{
    struct request *r = sink;
    (void)why;
    r->hs->ops->release(r->hs);
}
static const struct tr_hsink_ops sink_ops = {.on_data = on_data,
                                             .on_end = on_end,
                                             .on_writable = on_writable,
                                             .on_gone = on_gone,
                                             .on_body_error = on_gone};

static void on_request(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                       const struct tr_status *st)
{
    struct request *r = TR_ARENA_NEW(&hs->arena, struct request);
    (void)ctx;
    (void)st;
    hs->sink = r;
    hs->sink_ops = &sink_ops;
    if (!r)
        abort();
    r->hs = hs;
    for (size_t i = 0; i < ANSWERS && !refused; i++)
        if (tr_span_eq(hs->head.path, tr_span_cstr(answers[i].path)))
            r->answer = &answers[i];
    for (size_t i = 0; i < VOLUMES && !refused; i++)
        if (tr_span_eq(hs->head.path, tr_span_cstr(volumes[i].path)))
            r->volume = &volumes[i];
    if (hs->head.end)
        respond(r);
}

static void on_conn_closed(void *ctx, struct tr_hconn *conn)
{
    (void)ctx;
    tr_list_remove(&conn->node);
}

static uint64_t err_counts[TR_ERR__COUNT];
static struct tr_block_cache blocks;
static struct tr_bufpool bufs;
static struct tr_hworker worker;
static struct tr_list conns;
static const struct tr_hlimits limits = {.max_headers = 100,
                                         .max_header_bytes = 65536,
                                         .max_path_bytes = 8192,
                                         .max_concurrent_streams = 10000,
                                         .max_buffered_bytes = 64u << 20,
                                         .header_timeout_ns = 10000000000u,
                                         .body_idle_timeout_ns = 60000000000u,
                                         .write_timeout_ns = 60000000000u,
                                         .keepalive_timeout_ns = 3600000000000u,
                                         .max_resets = 1000000};
static const struct tr_hservice service = {.on_request = on_request,
                                           .on_conn_closed = on_conn_closed};
static const struct tr_stream_events no_events;

static void on_accept(void *ctx, int fd, const struct tr_addr *peer)
{
    struct tr_stream *stream;
    struct tr_hconn *conn;
    (void)ctx;
    if (tr_stream_accept(worker.loop, fd, NULL, peer, &no_events, NULL, &stream))
        return;
    if (tr_h2_conn_new(&worker, &limits, &service, stream, tr_span("", 0), NULL, &conn))
        tr_stream_close(stream, true);
    else
        tr_list_push_back(&conns, &conn->node);
}

static void on_signal(int signum, void *ctx)
{
    (void)signum;
    tr_loop_stop(ctx);
}

int main(int argc, char **argv)
{
    struct tr_listener *listener;
    struct tr_addr addr;
    struct tr_status st;
    char text[TR_ADDR_TEXT_MAX], where[64];
    tr_status_clear(&st);
    if (argc < 3 || argc > 4)
        return 2;
    if (argc == 4) {
        uint64_t mib;
        if (!tr_span_u64(tr_span_cstr(argv[3]), &mib) || mib > 1 << 20)
            return 2;
        volume_bytes = mib << 20;
    }
    for (size_t i = 0; i < VOLUMES; i++)
        if (volumes[i].piece && !make_volume(&volumes[i]))
            return 1;
    for (size_t i = 0; i < ANSWERS; i++)
        if (!load(&answers[i], argv[2])) {
            (void)fprintf(stderr, "cannot read %s/%s\n", argv[2], answers[i].file);
            return 1;
        }
    tr_list_init(&conns);
    tr_block_cache_init(&blocks, 1024);
    tr_bufpool_init(&bufs);
    (void)snprintf(where, sizeof where, "127.0.0.1:%s", argv[1]);
    worker = (struct tr_hworker){.blocks = &blocks, .bufs = &bufs, .err_counts = err_counts};
    worker.read_buf = tr_malloc(TR_HREAD_BYTES);
    if (tr_loop_new(&worker.loop) || tr_addr_parse(tr_span_cstr(where), &addr, &st) ||
        tr_listener_open(worker.loop, &addr, on_accept, NULL, &listener, &st) ||
        tr_loop_on_signal(worker.loop, SIGTERM, on_signal, worker.loop)) {
        (void)fprintf(stderr, "cannot listen on %s\n", where);
        return 1;
    }
    struct tr_span bound = tr_addr_text(tr_listener_addr(listener), text);
    (void)printf("listening %.*s\n", (int)bound.len, bound.ptr);
    (void)fflush(stdout);
    tr_loop_run(worker.loop);
    return 0;
}
