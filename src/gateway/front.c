#include "gateway/front.h"

#include "base/alloc.h"
#include "base/counter.h"
#include "base/log.h"

#include <unistd.h>

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define PREFACE_LEN (sizeof preface - 1)

/* Lives as long as its connection; the tr_peer is the connection's user data. */
struct front {
    struct tr_peer peer;
    struct tr_worker *worker;
    struct tr_worker_listener *listener;
    struct tr_list node;
    struct tr_stream *stream;
    struct tr_timer timer;
    char first[PREFACE_LEN]; /* while it may still be the preface */
    size_t first_len;
};

void tr_front_release_peer(void *user)
{
    struct front *f = user;
    (void)atomic_fetch_sub_explicit(&f->listener->shared->connections, 1, memory_order_relaxed);
    tr_free(f);
}

static void drop(struct front *f, bool abort)
{
    tr_timer_stop(&f->timer);
    tr_list_remove(&f->node);
    tr_stream_close(f->stream, abort);
    tr_front_release_peer(f);
}

/* The codec takes the stream over. */
static void hand_on(struct front *f, bool h2, struct tr_span first)
{
    struct tr_worker *w = f->worker;
    struct tr_hconn *conn = NULL;
    tr_timer_stop(&f->timer);
    tr_list_remove(&f->node);
    enum tr_err err =
        h2 ? tr_h2_conn_new(&w->h, &w->p.snap->limits, &w->service, f->stream, first, f, &conn)
           : tr_h1_conn_new(&w->h, &w->p.snap->limits, &w->service, f->stream, first, f, &conn);
    if (err) {
        tr_count(&w->h.err_counts[err]);
        tr_stream_close(f->stream, true);
        tr_front_release_peer(f);
        return;
    }
    tr_list_push_back(&w->conns, &conn->node);
    if (w->p.draining)
        tr_hconn_drain(conn);
}

static void on_readable(void *ctx)
{
    struct front *f = ctx;
    char *buf = f->worker->h.read_buf;
    memcpy(buf, f->first, f->first_len);
    ssize_t n = tr_stream_read(f->stream, buf + f->first_len, TR_HREAD_BYTES - f->first_len);
    if (n == TR_STREAM_AGAIN)
        return;
    if (n <= 0) {
        drop(f, n < 0);
        return;
    }
    if (f->first_len == 0) /* from here it is a request, or the beginning of one */
        (void)tr_timer_start(&f->timer, f->worker->p.snap->config.limits.header_timeout);
    size_t len = f->first_len + (size_t)n, head = len < PREFACE_LEN ? len : PREFACE_LEN;
    bool may_be_h2 = memcmp(buf, preface, head) == 0;
    if (may_be_h2 && len < PREFACE_LEN) {
        memcpy(f->first, buf, len);
        f->first_len = len;
        return;
    }
    hand_on(f, may_be_h2, tr_span(buf, len));
}

static void on_ready(void *ctx, enum tr_err err)
{
    struct front *f = ctx;
    if (err) {
        tr_count(&f->worker->stats.tls_failures);
        tr_count(&f->worker->h.err_counts[TR_ERR_TLS]);
        tr_log(TR_LOG_DEBUG, "TLS handshake with %.*s failed: %.*s", (int)f->peer.ip_len,
               f->peer.ip, (int)tr_stream_error(f->stream).len, tr_stream_error(f->stream).ptr);
        drop(f, false);
        return;
    }
    f->peer.stream = f->stream;
    hand_on(f, tr_span_eq(tr_stream_alpn(f->stream), TR_SPAN("h2")), tr_span("", 0));
}

static void on_writable(void *ctx)
{
    (void)ctx;
}

static const struct tr_stream_events events = {
    .on_ready = on_ready, .on_readable = on_readable, .on_writable = on_writable};

static void on_timeout(struct tr_timer *timer)
{
    struct front *f = tr_container_of(timer, struct front, timer);
    bool silent = !f->peer.tls && f->first_len == 0; /* opened in advance and not used: no error */
    if (silent)
        tr_count(&f->worker->h.stats.idle_closed);
    else
        tr_count(&f->worker->h.err_counts[f->peer.tls ? TR_ERR_TLS : TR_ERR_HEADER_TIMEOUT]);
    drop(f, !silent);
}

void tr_front_accept(struct tr_worker *w, struct tr_worker_listener *l, int fd,
                     const struct tr_addr *peer)
{
    uint32_t open = atomic_fetch_add_explicit(&l->shared->connections, 1, memory_order_relaxed);
    struct front *f = open < l->conf->cfg->max_connections ? tr_calloc(1, sizeof *f) : NULL;
    if (!f) {
        (void)atomic_fetch_sub_explicit(&l->shared->connections, 1, memory_order_relaxed);
        (void)atomic_fetch_add_explicit(&l->shared->refused, 1, memory_order_relaxed);
        (void)close(fd);
        return;
    }
    tr_count(&w->stats.accepted);
    f->worker = w;
    f->listener = l;
    f->peer.listener = l->conf;
    f->peer.addr = *peer;
    f->peer.tls = l->conf->tls != NULL;
    char text[TR_ADDR_TEXT_MAX];
    struct tr_span ip = tr_addr_host(peer, text);
    f->peer.ip_len = (uint8_t)(ip.len < sizeof f->peer.ip ? ip.len : sizeof f->peer.ip);
    if (f->peer.ip_len)
        memcpy(f->peer.ip, ip.ptr, f->peer.ip_len);
    tr_timer_init(&f->timer, w->loop, on_timeout);
    if (tr_stream_accept(w->loop, fd, l->conf->tls, peer, &events, f, &f->stream)) {
        tr_front_release_peer(f);
        return;
    }
    const struct tr_cfg_limits *limits = &w->p.snap->config.limits;
    (void)tr_timer_start(&f->timer,
                         f->peer.tls ? limits->tls_handshake_timeout : limits->keepalive_timeout);
    tr_list_push_back(&w->fronts, &f->node);
    if (!f->peer.tls)
        tr_stream_want(f->stream, true, false);
}

void tr_front_close_all(struct tr_worker *w)
{
    tr_list_for_each (it, next, &w->fronts)
        drop(tr_container_of(it, struct front, node), false);
}
