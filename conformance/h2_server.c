/* A server of nothing but a short text, on the project's own loop, streams and HTTP/2 connection:
 * what h2spec and load tools talk to when the connection alone is to be judged.
 *
 * Usage: h2_server PORT [CERTIFICATE KEY]; prints "listening on ADDRESS", ends on SIGTERM or
 * SIGINT. Each answer has the body "hello, world\n"; a path "/N" with a number asks for that many
 * bytes. */
#include "base/alloc.h"
#include "base/bufpool.h"
#include "http/codec.h"
#include "io/listener.h"
#include "io/tls_ctx.h"

#include <signal.h>
#include <stdio.h>

struct server {
    struct tr_loop *loop;
    struct tr_hworker worker;
    struct tr_hlimits limits;
    struct tr_hservice service;
    struct tr_block_cache blocks;
    struct tr_bufpool bufs;
    struct tr_tls_ctx *tls;
    struct tr_list conns, shaking;
    uint64_t errors[TR_ERR__COUNT];
};

struct sink {
    struct tr_hstream *hs;
    uint64_t left;
    bool head_sent;
};

/* A TLS stream until its hands are shaken. */
struct shake {
    struct tr_list node;
    struct server *server;
    struct tr_stream *stream;
};

static void pump(struct sink *s)
{
    static const char text[] = "hello, world\n";
    struct tr_buf *out = &s->hs->out;
    while (s->left && s->hs->ops->queued(s->hs) < TR_OUT_HIGH_BYTES) {
        size_t n = 0;
        while (s->left && n < 65536) {
            size_t part = s->left < sizeof text - 1 ? (size_t)s->left : sizeof text - 1;
            if (tr_buf_append(out, tr_span(text, part)) != TR_OK) {
                s->hs->ops->release(s->hs);
                return;
            }
            s->left -= part;
            n += part;
        }
        s->hs->ops->commit(s->hs, s->left == 0);
    }
    if (s->left == 0)
        s->hs->ops->release(s->hs);
}

static void answer(struct sink *s, unsigned status)
{
    struct tr_resp_head head = {.status = (uint16_t)status, .content_length = (int64_t)s->left};
    s->head_sent = true;
    if (tr_headers_add(&head.headers, &s->hs->arena, TR_SPAN("content-type"), TR_SPAN("text/plain"),
                       TR_TOKEN_CONTENT_TYPE) != TR_OK ||
        s->hs->ops->send_head(s->hs, &head, false) != TR_OK) {
        s->hs->ops->release(s->hs);
        return;
    }
    pump(s);
}

static void on_data(void *ctx, struct tr_span data)
{
    struct sink *s = ctx;
    s->hs->ops->consume(s->hs, data.len);
}

static void on_end(void *ctx, const struct tr_headers *trailers)
{
    (void)trailers;
    answer(ctx, 200);
}

static void on_writable(void *ctx)
{
    pump(ctx);
}

static void on_gone(void *ctx, enum tr_err why)
{
    (void)why;
    struct sink *s = ctx;
    s->hs->ops->release(s->hs);
}

static void on_body_error(void *ctx, enum tr_err why)
{
    answer(ctx, tr_err_info(why)->http_status);
}

static const struct tr_hsink_ops sink_ops = {on_data, on_end, on_writable, on_gone, on_body_error};

static void on_request(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                       const struct tr_status *st)
{
    (void)ctx;
    (void)st;
    struct sink *s = TR_ARENA_NEW(&hs->arena, struct sink);
    if (!s) {
        hs->ops->release(hs);
        return;
    }
    s->hs = hs;
    s->left = 13;
    (void)tr_span_u64(tr_span_from(hs->head.path, 1), &s->left);
    hs->sink = s;
    hs->sink_ops = &sink_ops;
    if (hs->head.expect_continue)
        hs->ops->send_continue(hs);
    if (refused || hs->head.end)
        answer(s, refused ? tr_err_info(refused)->http_status : 200);
}

static void on_conn_closed(void *ctx, struct tr_hconn *conn)
{
    (void)ctx;
    tr_list_remove(&conn->node);
}

static void conn_open(struct server *server, struct tr_stream *stream)
{
    struct tr_hconn *conn;
    if (tr_h2_conn_new(&server->worker, &server->limits, &server->service, stream, tr_span("", 0),
                       NULL, &conn) != TR_OK) {
        tr_stream_close(stream, true);
        return;
    }
    tr_list_push_back(&server->conns, &conn->node);
}

static void shake_done(void *ctx, enum tr_err err)
{
    struct shake *sh = ctx;
    if (err)
        tr_stream_close(sh->stream, true);
    else
        conn_open(sh->server, sh->stream);
    tr_list_remove(&sh->node);
    tr_free(sh);
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static const struct tr_stream_events shake_events = {shake_done, nothing, nothing};

static void on_accept(void *ctx, int fd, const struct tr_addr *peer)
{
    struct server *server = ctx;
    struct shake *sh = tr_calloc(1, sizeof *sh);
    if (!sh)
        return;
    tr_list_init(&sh->node);
    sh->server = server;
    if (tr_stream_accept(server->loop, fd, server->tls, peer, &shake_events, sh, &sh->stream) !=
        TR_OK) {
        tr_free(sh);
        return;
    }
    if (server->tls) {
        tr_list_push_back(&server->shaking, &sh->node);
        return;
    }
    conn_open(server, sh->stream);
    tr_free(sh);
}

static void on_signal(int signum, void *ctx)
{
    (void)signum;
    tr_loop_stop(ctx);
}

static bool start(struct server *server, int argc, char **argv, struct tr_listener **ret_listener)
{
    struct tr_status st;
    struct tr_addr addr;
    char text[TR_ADDR_TEXT_MAX], where[64];
    tr_status_clear(&st);
    (void)snprintf(where, sizeof where, "127.0.0.1:%s", argv[1]);
    bool ok = tr_addr_parse(tr_span_cstr(where), &addr, &st) == TR_OK;
    if (ok && argc == 4) {
        struct tr_tls_certificate cert = {tr_span_cstr(argv[2]), tr_span_cstr(argv[3])};
        struct tr_tls_server_params params = {.certificates = &cert, .certificate_count = 1};
        ok = tr_tls_server_new(&params, &server->tls, &st) == TR_OK;
    }
    ok = ok && tr_listener_open(server->loop, &addr, on_accept, server, ret_listener, &st) == TR_OK;
    if (!ok) {
        (void)fprintf(stderr, "h2_server: %.*s\n", (int)st.text_len, st.text);
        return false;
    }
    struct tr_span a = tr_addr_text(tr_listener_addr(*ret_listener), text);
    (void)printf("listening on %.*s\n", (int)a.len, a.ptr);
    (void)fflush(stdout);
    return true;
}

int main(int argc, char **argv)
{
    static struct server server;
    static char read_buf[TR_HREAD_BYTES];
    struct tr_listener *listener = NULL;
    const uint64_t second = 1000000000u;
    if ((argc != 2 && argc != 4) || tr_loop_new(&server.loop) != TR_OK)
        return 2;
    tr_list_init(&server.conns);
    tr_list_init(&server.shaking);
    tr_block_cache_init(&server.blocks, 1024);
    tr_bufpool_init(&server.bufs);
    server.worker = (struct tr_hworker){.loop = server.loop,
                                        .blocks = &server.blocks,
                                        .read_buf = read_buf,
                                        .bufs = &server.bufs,
                                        .err_counts = server.errors};
    server.limits = (struct tr_hlimits){100,         65536,       8192,        100,         8 << 20,
                                        10 * second, 30 * second, 30 * second, 75 * second, 200};
    server.service = (struct tr_hservice){&server, on_request, on_conn_closed};
    if (!start(&server, argc, argv, &listener))
        return 1;
    if (tr_loop_on_signal(server.loop, SIGTERM, on_signal, server.loop) != TR_OK ||
        tr_loop_on_signal(server.loop, SIGINT, on_signal, server.loop) != TR_OK)
        return 1;
    tr_loop_run(server.loop);
    tr_listener_close(listener);
    tr_list_for_each (it, next, &server.conns)
        tr_hconn_abort(tr_container_of(it, struct tr_hconn, node));
    tr_list_for_each (it2, next2, &server.shaking) {
        struct shake *sh = tr_container_of(it2, struct shake, node);
        tr_stream_close(sh->stream, true);
        tr_free(sh);
    }
    tr_loop_free(server.loop);
    tr_tls_ctx_unref(server.tls);
    tr_buf_fini(&server.worker.write_buf);
    tr_bufpool_fini(&server.bufs);
    tr_block_cache_fini(&server.blocks);
    return 0;
}
