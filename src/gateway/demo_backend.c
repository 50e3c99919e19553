#include "gateway/demo_backend.h"

#include "base/alloc.h"
#include "base/bufpool.h"
#include "base/num.h"
#include "gateway/demo_store.h"
#include "http/codec.h"
#include "proto/wire.h"
#include "transcode/frame.h"
#include "transcode/rpcstatus.h"

#include <pthread.h>

#define REQUEST_MAX ((size_t)4 * 1024 * 1024)

struct tr_demo_backend {
    struct tr_loop *loop;
    struct tr_mailbox *mailbox;
    struct tr_listener *listener;
    struct tr_block_cache blocks;
    struct tr_bufpool bufs;
    struct tr_hworker h;
    struct tr_hlimits limits;
    struct tr_hservice service;
    struct tr_list conns;
    struct tr_demo_store *store;
    struct tr_mail stop_mail;
    pthread_t thread;
    uint64_t err_counts[TR_ERR__COUNT];
};

/* One call. */
struct call {
    struct tr_demo_backend *backend;
    struct tr_hstream *hs;
    struct tr_span method; /* "GetBook" */
    struct tr_unframer unframer;
    struct tr_buf gather, request, names, parent;
    uint64_t messages;
    bool chat, import_books, head_sent, ended;
};

static void release(struct call *c)
{
    struct tr_bufpool *pool = &c->backend->bufs;
    tr_bufpool_put(pool, &c->gather);
    tr_bufpool_put(pool, &c->request);
    tr_bufpool_put(pool, &c->names);
    tr_bufpool_put(pool, &c->parent);
    c->ended = true;
    c->hs->ops->release(c->hs);
}

static enum tr_err send_head(struct call *c)
{
    struct tr_resp_head head = {.status = 200, .content_length = -1};
    if (c->head_sent)
        return TR_OK;
    c->head_sent = true;
    enum tr_err err = tr_headers_add(&head.headers, &c->hs->arena, TR_SPAN("content-type"),
                                     TR_SPAN("application/grpc"), TR_TOKEN_CONTENT_TYPE);
    return err ? err : c->hs->ops->send_head(c->hs, &head, false);
}

static enum tr_err send_message(struct call *c, struct tr_span message)
{
    char head[TR_FRAME_HEADER_BYTES];
    enum tr_err err = send_head(c);
    tr_frame_put_header(head, false, (uint32_t)message.len);
    if (!err)
        err = tr_buf_append(&c->hs->out, tr_span(head, sizeof head));
    if (!err)
        err = tr_buf_append(&c->hs->out, message);
    if (!err)
        c->hs->ops->commit(c->hs, false);
    return err;
}

static void end(struct call *c, struct tr_demo_reply reply)
{
    struct tr_headers trailers = {0};
    struct tr_arena *arena = &c->hs->arena;
    char *digits = tr_arena_alloc(arena, TR_NUM_MAX);
    struct tr_buf text = tr_bufpool_get(&c->backend->bufs);
    enum tr_err err = digits ? send_head(c) : TR_ERR_NOMEM;
    if (!err)
        err = tr_headers_add(&trailers, arena, TR_SPAN("grpc-status"),
                             tr_span(digits, tr_num_u64(digits, reply.code)), TR_TOKEN_GRPC_STATUS);
    if (!err && reply.text.len)
        err = tr_rpcstatus_encode_message(&text, reply.text);
    if (!err && text.len)
        err = tr_headers_add(&trailers, arena, TR_SPAN("grpc-message"),
                             tr_arena_copy(arena, tr_buf_span(&text)), TR_TOKEN_GRPC_MESSAGE);
    tr_bufpool_put(&c->backend->bufs, &text);
    if (!err)
        err = c->hs->ops->send_trailers(c->hs, &trailers);
    if (err)
        c->hs->ops->reset(c->hs, TR_HRESET_INTERNAL);
    release(c);
}

static void finish_unary(struct call *c)
{
    struct tr_buf out = tr_bufpool_get(&c->backend->bufs);
    struct tr_demo_reply reply =
        tr_demo_store_call(c->backend->store, c->method, tr_buf_span(&c->request),
                           tr_loop_unix_s(c->backend->loop), &out);
    if (c->messages != 1)
        reply = (struct tr_demo_reply){13, TR_SPAN("a unary call has one message")};
    if (reply.code == 0 && send_message(c, tr_buf_span(&out)))
        reply = (struct tr_demo_reply){8, TR_SPAN("out of memory")};
    tr_bufpool_put(&c->backend->bufs, &out);
    end(c, reply);
}

static void finish_stream_books(struct call *c)
{
    struct tr_span book;
    struct tr_demo_reply reply = {0, TR_SPAN("")};
    for (uint32_t i = 0;
         tr_demo_store_stream(c->backend->store, tr_buf_span(&c->request), i, &book); i++) {
        if (send_message(c, book)) {
            reply = (struct tr_demo_reply){8, TR_SPAN("out of memory")};
            break;
        }
    }
    end(c, reply);
}

static void finish_import(struct call *c)
{
    char head[16];
    struct tr_demo_reply reply = {0, TR_SPAN("")};
    head[0] = 1 << 3; /* ImportBooksResponse.imported */
    size_t n = 1;
    uint64_t v = c->messages;
    for (; v >= 0x80; v >>= 7)
        head[n++] = (char)(v | 0x80);
    head[n++] = (char)v;
    enum tr_err err = tr_buf_append(&c->names, tr_span(head, n));
    if (!err)
        err = send_message(c, tr_buf_span(&c->names));
    if (err)
        reply = (struct tr_demo_reply){8, TR_SPAN("out of memory")};
    end(c, reply);
}

static void finish(struct call *c)
{
    if (c->chat)
        end(c, (struct tr_demo_reply){0, TR_SPAN("")});
    else if (c->import_books)
        finish_import(c);
    else if (tr_span_eq(c->method, TR_SPAN("StreamBooks")))
        finish_stream_books(c);
    else
        finish_unary(c);
}

/* What a CreateBookRequest says of its parent; later ones without it go to the first one's. */
static enum tr_err with_parent(struct call *c, struct tr_span message, struct tr_buf *out)
{
    const char *p = message.ptr, *end = message.ptr + message.len;
    bool has = false;
    while (p < end) {
        const char *start = p;
        uint32_t number, type;
        if (!tr_wire_tag(&p, end, &number, &type) || !tr_wire_skip(&p, end, number, type))
            break;
        if (number == 1 && type == TR_WIRE_LEN) {
            has = true;
            tr_buf_clear(&c->parent);
            enum tr_err err = tr_buf_append(&c->parent, tr_span(start, (size_t)(p - start)));
            if (err)
                return err;
        }
    }
    enum tr_err err = has ? TR_OK : tr_buf_append(out, tr_buf_span(&c->parent));
    return err ? err : tr_buf_append(out, message);
}

/* ImportBooks: each CreateBookRequest as it comes; an error ends the call early. */
static struct tr_demo_reply import_one(struct call *c, struct tr_span message)
{
    struct tr_buf out = tr_bufpool_get(&c->backend->bufs),
                  request = tr_bufpool_get(&c->backend->bufs);
    struct tr_demo_reply reply = {8, TR_SPAN("out of memory")};
    if (with_parent(c, message, &request) == TR_OK)
        reply = tr_demo_store_call(c->backend->store, TR_SPAN("CreateBook"), tr_buf_span(&request),
                                   tr_loop_unix_s(c->backend->loop), &out);
    tr_bufpool_put(&c->backend->bufs, &out);
    tr_bufpool_put(&c->backend->bufs, &request);
    return reply;
}

static void on_data(void *sink, struct tr_span data)
{
    struct call *c = sink;
    struct tr_frame frame;
    struct tr_status st;
    size_t n = data.len;
    enum tr_err err;
    tr_status_clear(&st);
    while ((err = tr_unframer_next(&c->unframer, &data, &frame, &st)) == TR_OK) {
        struct tr_demo_reply reply = {0, TR_SPAN("")};
        c->messages++;
        if (frame.compressed)
            reply = (struct tr_demo_reply){12, TR_SPAN("compressed messages are not read")};
        else if (c->chat)
            err = send_message(c, frame.message);
        else if (c->import_books)
            reply = import_one(c, frame.message);
        else
            err = tr_buf_append(&c->request, frame.message);
        if (err)
            reply = (struct tr_demo_reply){8, TR_SPAN("out of memory")};
        if (reply.code) {
            end(c, reply);
            return;
        }
    }
    if (err != TR_ERR_AGAIN) {
        end(c, (struct tr_demo_reply){13, TR_SPAN("the frame is malformed")});
        return;
    }
    c->hs->ops->consume(c->hs, n);
}

static void on_end(void *sink, const struct tr_headers *trailers)
{
    (void)trailers;
    finish(sink);
}
static void on_writable(void *sink)
{
    (void)sink;
}
static void on_gone(void *sink, enum tr_err why)
{
    (void)why;
    release(sink);
}
static const struct tr_hsink_ops sink_ops = {
    .on_data = on_data,
    .on_end = on_end,
    .on_writable = on_writable,
    .on_gone = on_gone,
    .on_body_error = on_gone,
};

static void on_request(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                       const struct tr_status *st)
{
    static const struct tr_span prefix = TR_SPAN_INIT("/bookstore.v1.Bookstore/");
    struct tr_demo_backend *b = ctx;
    struct call *c = TR_ARENA_NEW(&hs->arena, struct call);
    (void)st;
    hs->sink = c;
    hs->sink_ops = &sink_ops;
    if (!c || refused) {
        hs->ops->reset(hs, TR_HRESET_REFUSED);
        hs->ops->release(hs);
        return;
    }
    c->backend = b;
    c->hs = hs;
    tr_unframer_init(&c->unframer, &c->gather, REQUEST_MAX, TR_ERR_BODY_TOO_LARGE);
    if (tr_span_starts(hs->head.path, prefix))
        c->method = tr_span_from(hs->head.path, prefix.len);
    c->chat = tr_span_eq(c->method, TR_SPAN("Chat"));
    c->import_books = tr_span_eq(c->method, TR_SPAN("ImportBooks"));
    if (hs->head.end)
        finish(c);
}

/* ---- connections and the thread -------------------------------------------------------------- */

static void on_conn_closed(void *ctx, struct tr_hconn *conn)
{
    (void)ctx;
    tr_list_remove(&conn->node);
}

static const struct tr_stream_events no_events;

static void on_accept(void *ctx, int fd, const struct tr_addr *peer)
{
    struct tr_demo_backend *b = ctx;
    struct tr_stream *stream;
    struct tr_hconn *conn;
    if (tr_stream_accept(b->loop, fd, NULL, peer, &no_events, NULL, &stream))
        return;
    if (tr_h2_conn_new(&b->h, &b->limits, &b->service, stream, tr_span("", 0), NULL, &conn))
        tr_stream_close(stream, true);
    else
        tr_list_push_back(&b->conns, &conn->node);
}

static void on_stop(struct tr_mail *mail, void *ctx)
{
    struct tr_demo_backend *b = ctx;
    (void)mail;
    tr_loop_stop(b->loop);
}

static void *thread_main(void *arg)
{
    struct tr_demo_backend *b = arg;
    tr_loop_run(b->loop);
    return NULL;
}

static void free_all(struct tr_demo_backend *b)
{
    tr_listener_close(b->listener);
    while (!tr_list_empty(&b->conns))
        tr_hconn_abort(tr_container_of(b->conns.next, struct tr_hconn, node));
    if (b->mailbox)
        tr_mailbox_free(b->mailbox);
    tr_buf_fini(&b->h.write_buf);
    tr_free(b->h.read_buf);
    tr_loop_free(b->loop);
    tr_bufpool_fini(&b->bufs);
    tr_block_cache_fini(&b->blocks);
    tr_demo_store_free(b->store);
    tr_free(b);
}

enum tr_err tr_demo_backend_start(const struct tr_typepool *pool,
                                  struct tr_demo_backend **ret_backend, struct tr_status *st)
{
    const uint64_t second = 1000000000u;
    struct tr_demo_backend *b = tr_calloc(1, sizeof *b);
    struct tr_addr addr;
    if (!b)
        return TR_ERR_NOMEM;
    tr_list_init(&b->conns);
    tr_block_cache_init(&b->blocks, 64);
    tr_bufpool_init(&b->bufs);
    b->limits = (struct tr_hlimits){.max_headers = 100,
                                    .max_header_bytes = 65536,
                                    .max_path_bytes = 8192,
                                    .max_concurrent_streams = 1000,
                                    .max_buffered_bytes = 64u << 20,
                                    .header_timeout_ns = 10 * second,
                                    .body_idle_timeout_ns = 300 * second,
                                    .write_timeout_ns = 60 * second,
                                    .keepalive_timeout_ns = 3600 * second,
                                    .max_resets = 100000};
    b->service =
        (struct tr_hservice){.ctx = b, .on_request = on_request, .on_conn_closed = on_conn_closed};
    b->stop_mail.fn = on_stop;
    enum tr_err err = tr_demo_store_new(pool, &b->store);
    if (!err)
        err = tr_addr_parse(TR_SPAN("127.0.0.1:0"), &addr, st);
    if (!err)
        err = tr_loop_new(&b->loop);
    if (!err)
        err = tr_mailbox_new(b->loop, b, &b->mailbox);
    b->h = (struct tr_hworker){
        .loop = b->loop, .blocks = &b->blocks, .bufs = &b->bufs, .err_counts = b->err_counts};
    b->h.read_buf = tr_malloc(TR_HREAD_BYTES);
    if (!err)
        err = b->h.read_buf ? tr_listener_open(b->loop, &addr, on_accept, b, &b->listener, st)
                            : TR_ERR_NOMEM;
    if (!err && pthread_create(&b->thread, NULL, thread_main, b) != 0)
        err = TR_ERR_IO;
    if (err)
        free_all(b);
    else
        *ret_backend = b;
    return err;
}

const struct tr_addr *tr_demo_backend_addr(const struct tr_demo_backend *backend)
{
    return tr_listener_addr(backend->listener);
}

void tr_demo_backend_stop(struct tr_demo_backend *backend)
{
    if (!backend)
        return;
    tr_mailbox_post(backend->mailbox, &backend->stop_mail);
    (void)pthread_join(backend->thread, NULL);
    free_all(backend);
}
