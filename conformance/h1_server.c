/* A server of nothing but the HTTP/1.1 connection, for conformance/h1_probe.py and for load tools.
 *
 * Usage: h1_server PORT (0: any); prints "listening on ADDRESS", ends on SIGTERM or SIGINT.
 * GET, HEAD and POST answer 200 when the whole request has arrived: the body is what was sent, else
 * the Cookie, else a short text; OPTIONS 204; the rest 405. GET /count answers how many requests
 * were accepted before, itself not counted. */
#include "base/alloc.h"
#include "base/bufpool.h"
#include "base/num.h"
#include "http/codec.h"
#include "io/listener.h"

#include <signal.h>
#include <stdio.h>

struct server {
    struct tr_loop *loop;
    struct tr_hworker worker;
    struct tr_hlimits limits;
    struct tr_hservice service;
    struct tr_block_cache blocks;
    struct tr_bufpool bufs;
    struct tr_list conns;
    uint64_t accepted;
    uint64_t errors[TR_ERR__COUNT];
};

struct sink {
    struct tr_hstream *hs;
    struct server *server;
};

static void answer(struct tr_hstream *hs, unsigned status)
{
    struct tr_resp_head head = {.status = (uint16_t)status,
                                .content_length = status == 204 ? -2 : (int64_t)hs->out.len};
    bool ok = tr_headers_add(&head.headers, &hs->arena, TR_SPAN("content-type"),
                             TR_SPAN("text/plain"), TR_TOKEN_CONTENT_TYPE) == TR_OK;
    if (status == 204 || status == 405)
        ok = ok && tr_headers_add(&head.headers, &hs->arena, TR_SPAN("allow"),
                                  TR_SPAN("GET, HEAD, POST, OPTIONS"), TR_TOKEN_NONE) == TR_OK;
    if (ok && hs->ops->send_head(hs, &head, false) == TR_OK)
        hs->ops->commit(hs, true);
    hs->ops->release(hs);
}

static void respond(struct sink *s)
{
    struct tr_hstream *hs = s->hs;
    const struct tr_req_head *head = &hs->head;
    const struct tr_header *cookie = tr_headers_find(&head->headers, TR_TOKEN_COOKIE, NULL);
    enum tr_err err = TR_OK;
    unsigned status = 405;
    if (head->method == TR_METHOD_OPTIONS)
        status = 204;
    else if (head->method == TR_METHOD_GET || head->method == TR_METHOD_HEAD ||
             head->method == TR_METHOD_POST)
        status = 200;
    if (tr_span_eq(head->path, TR_SPAN("/count"))) {
        char text[TR_NUM_MAX];
        err = tr_buf_append(&hs->out, tr_span(text, tr_num_u64(text, s->server->accepted)));
    } else {
        s->server->accepted++;
    }
    for (; cookie && !err && status == 200;
         cookie = tr_headers_find(&head->headers, TR_TOKEN_COOKIE, cookie)) {
        err = tr_buf_append(&hs->out, cookie->value);
        if (!err)
            err = tr_buf_push(&hs->out, '\n');
    }
    if (status == 200 && hs->out.len == 0)
        err = tr_buf_append(&hs->out, TR_SPAN("hello, world\n"));
    answer(hs, err ? 503 : status);
}

static void on_data(void *ctx, struct tr_span data)
{
    struct sink *s = ctx;
    (void)!tr_buf_append(&s->hs->out, data);
    s->hs->ops->consume(s->hs, data.len);
}

static void on_end(void *ctx, const struct tr_headers *trailers)
{
    (void)trailers;
    respond(ctx);
}

static void on_writable(void *ctx)
{
    (void)ctx;
}

static void on_gone(void *ctx, enum tr_err why)
{
    struct sink *s = ctx;
    (void)why;
    s->hs->ops->release(s->hs);
}

static void refuse(struct tr_hstream *hs, enum tr_err why)
{
    const struct tr_err_info *info = tr_err_info(why);
    tr_buf_clear(&hs->out);
    (void)!tr_buf_append(&hs->out, info->text);
    answer(hs, info->http_status);
}

static void on_body_error(void *ctx, enum tr_err why)
{
    struct sink *s = ctx;
    refuse(s->hs, why);
}

static const struct tr_hsink_ops sink_ops = {on_data, on_end, on_writable, on_gone, on_body_error};

static void on_request(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                       const struct tr_status *st)
{
    (void)st;
    struct sink *s = TR_ARENA_NEW(&hs->arena, struct sink);
    if (!s) {
        hs->ops->release(hs);
        return;
    }
    s->hs = hs;
    s->server = ctx;
    hs->sink = s;
    hs->sink_ops = &sink_ops;
    if (refused) {
        refuse(hs, refused);
        return;
    }
    if (hs->head.expect_continue)
        hs->ops->send_continue(hs);
    if (hs->head.end)
        respond(s);
}

static void on_conn_closed(void *ctx, struct tr_hconn *conn)
{
    (void)ctx;
    tr_list_remove(&conn->node);
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static void on_accept(void *ctx, int fd, const struct tr_addr *peer)
{
    static const struct tr_stream_events events = {.on_readable = nothing, .on_writable = nothing};
    struct server *server = ctx;
    struct tr_stream *stream;
    struct tr_hconn *conn;
    if (tr_stream_accept(server->loop, fd, NULL, peer, &events, NULL, &stream) != TR_OK)
        return;
    if (tr_h1_conn_new(&server->worker, &server->limits, &server->service, stream, tr_span("", 0),
                       NULL, &conn) != TR_OK) {
        tr_stream_close(stream, true);
        return;
    }
    tr_list_push_back(&server->conns, &conn->node);
}

static void on_signal(int signum, void *ctx)
{
    (void)signum;
    tr_loop_stop(ctx);
}

static bool start(struct server *server, const char *port, struct tr_listener **ret_listener)
{
    struct tr_status st;
    struct tr_addr addr;
    char text[TR_ADDR_TEXT_MAX], where[64];
    tr_status_clear(&st);
    (void)snprintf(where, sizeof where, "127.0.0.1:%s", port);
    if (tr_addr_parse(tr_span_cstr(where), &addr, &st) != TR_OK ||
        tr_listener_open(server->loop, &addr, on_accept, server, ret_listener, &st) != TR_OK) {
        (void)fprintf(stderr, "h1_server: %.*s\n", (int)st.text_len, st.text);
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
    if (argc != 2 || tr_loop_new(&server.loop) != TR_OK)
        return 2;
    tr_list_init(&server.conns);
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
    if (!start(&server, argv[1], &listener))
        return 1;
    if (tr_loop_on_signal(server.loop, SIGTERM, on_signal, server.loop) != TR_OK ||
        tr_loop_on_signal(server.loop, SIGINT, on_signal, server.loop) != TR_OK)
        return 1;
    tr_loop_run(server.loop);
    tr_listener_close(listener);
    tr_list_for_each (it, next, &server.conns)
        tr_hconn_abort(tr_container_of(it, struct tr_hconn, node));
    tr_loop_free(server.loop);
    tr_buf_fini(&server.worker.write_buf);
    tr_bufpool_fini(&server.bufs);
    tr_block_cache_fini(&server.blocks);
    return 0;
}
