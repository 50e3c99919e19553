#include "admin/admin.h"

#include "base/alloc.h"
#include "base/bufpool.h"

#include <unistd.h>

#define CONNECTIONS_MAX 64

struct tr_admin {
    struct tr_admin_params params;
    struct tr_listener *listener;
    struct tr_block_cache blocks;
    struct tr_bufpool bufs;
    struct tr_hworker h;
    struct tr_hservice service;
    struct tr_list conns;
    uint32_t conn_count;
    uint64_t err_counts[TR_ERR__COUNT];
};

/* ---- answers --------------------------------------------------------------------------------- */

static void answer(struct tr_hstream *hs, unsigned status, struct tr_span type, struct tr_span body)
{
    struct tr_resp_head head = {.status = (uint16_t)status, .content_length = (int64_t)body.len};
    bool head_only = hs->head.method == TR_METHOD_HEAD;
    enum tr_err err = tr_headers_add(&head.headers, &hs->arena, TR_SPAN("content-type"), type,
                                     TR_TOKEN_CONTENT_TYPE);
    if (!err)
        err = tr_headers_add(&head.headers, &hs->arena, TR_SPAN("cache-control"),
                             TR_SPAN("no-store"), TR_TOKEN_CACHE_CONTROL);
    if (!err && status == 405)
        err = tr_headers_add(&head.headers, &hs->arena, TR_SPAN("allow"), TR_SPAN("GET, HEAD"),
                             TR_TOKEN_NONE);
    if (!err && !head_only)
        err = tr_buf_append(&hs->out, body);
    if (!err)
        err = hs->ops->send_head(hs, &head, head_only);
    if (err)
        hs->ops->reset(hs, TR_HRESET_INTERNAL);
    else if (!head_only)
        hs->ops->commit(hs, true);
    hs->ops->release(hs);
}

static void metrics(struct tr_admin *a, struct tr_hstream *hs)
{
    struct tr_buf text;
    tr_buf_init(&text);
    if (a->params.metrics(a->params.ctx, &text))
        answer(hs, 500, TR_SPAN("text/plain; charset=utf-8"), TR_SPAN("out of memory\n"));
    else
        answer(hs, 200, TR_SPAN("text/plain; version=0.0.4; charset=utf-8"), tr_buf_span(&text));
    tr_buf_fini(&text);
}

static void nothing(void *sink)
{
    (void)sink;
}
static void ignore_data(void *sink, struct tr_span data)
{
    (void)sink;
    (void)data;
}
static void ignore_end(void *sink, const struct tr_headers *trailers)
{
    (void)sink;
    (void)trailers;
}
static void ignore_error(void *sink, enum tr_err why)
{
    (void)sink;
    (void)why;
}
static const struct tr_hsink_ops sink_ops = {
    .on_data = ignore_data,
    .on_end = ignore_end,
    .on_writable = nothing,
    .on_gone = ignore_error,
    .on_body_error = ignore_error,
};

static void on_request(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                       const struct tr_status *st)
{
    static const struct tr_span text = TR_SPAN_INIT("text/plain; charset=utf-8");
    struct tr_admin *a = ctx;
    struct tr_span path = hs->head.path;
    (void)st;
    hs->sink = a;
    hs->sink_ops = &sink_ops;
    bool get = hs->head.method == TR_METHOD_GET || hs->head.method == TR_METHOD_HEAD;
    bool health = tr_span_eq(path, TR_SPAN("/healthz")),
         ready = tr_span_eq(path, TR_SPAN("/readyz"));
    bool counters = tr_span_eq(path, TR_SPAN("/metrics"));
    if (refused)
        answer(hs, tr_err_info(refused)->http_status, text, tr_err_info(refused)->text);
    else if (!health && !ready && !counters)
        answer(hs, 404, text, TR_SPAN("not found: /healthz, /readyz and /metrics are here\n"));
    else if (!get)
        answer(hs, 405, text, TR_SPAN("only GET and HEAD\n"));
    else if (health)
        answer(hs, 200, text, TR_SPAN("ok\n"));
    else if (ready)
        a->params.ready(a->params.ctx) ? answer(hs, 200, text, TR_SPAN("ready\n"))
                                       : answer(hs, 503, text, TR_SPAN("not ready\n"));
    else
        metrics(a, hs);
}

/* ---- connections ----------------------------------------------------------------------------- */

static void on_conn_closed(void *ctx, struct tr_hconn *conn)
{
    struct tr_admin *a = ctx;
    a->conn_count--;
    tr_list_remove(&conn->node);
}

static const struct tr_stream_events no_events;

static void on_accept(void *ctx, int fd, const struct tr_addr *peer)
{
    struct tr_admin *a = ctx;
    struct tr_stream *stream;
    struct tr_hconn *conn;
    if (a->conn_count >= CONNECTIONS_MAX) {
        (void)close(fd);
        return;
    }
    if (tr_stream_accept(a->params.loop, fd, NULL, peer, &no_events, NULL, &stream))
        return;
    if (tr_h1_conn_new(&a->h, a->params.limits, &a->service, stream, tr_span("", 0), NULL, &conn)) {
        tr_stream_close(stream, true);
        return;
    }
    a->conn_count++;
    tr_list_push_back(&a->conns, &conn->node);
}

enum tr_err tr_admin_new(const struct tr_admin_params *params, struct tr_admin **ret_admin,
                         struct tr_status *st)
{
    struct tr_admin *a = tr_calloc(1, sizeof *a);
    if (!a)
        return TR_ERR_NOMEM;
    a->params = *params;
    tr_list_init(&a->conns);
    tr_block_cache_init(&a->blocks, 16);
    tr_bufpool_init(&a->bufs);
    a->h = (struct tr_hworker){
        .loop = params->loop, .blocks = &a->blocks, .bufs = &a->bufs, .err_counts = a->err_counts};
    a->h.read_buf = tr_malloc(TR_HREAD_BYTES);
    a->service =
        (struct tr_hservice){.ctx = a, .on_request = on_request, .on_conn_closed = on_conn_closed};
    enum tr_err err = a->h.read_buf ? tr_listener_open(params->loop, &params->addr, on_accept, a,
                                                       &a->listener, st)
                                    : TR_ERR_NOMEM;
    if (err) {
        tr_free(a->h.read_buf);
        tr_free(a);
        return err;
    }
    *ret_admin = a;
    return TR_OK;
}

const struct tr_addr *tr_admin_addr(const struct tr_admin *admin)
{
    return tr_listener_addr(admin->listener);
}

void tr_admin_free(struct tr_admin *admin)
{
    if (!admin)
        return;
    tr_listener_close(admin->listener);
    while (!tr_list_empty(&admin->conns))
        tr_hconn_abort(tr_container_of(admin->conns.next, struct tr_hconn, node));
    tr_buf_fini(&admin->h.write_buf);
    tr_free(admin->h.read_buf);
    tr_bufpool_fini(&admin->bufs);
    tr_block_cache_fini(&admin->blocks);
    tr_free(admin);
}
