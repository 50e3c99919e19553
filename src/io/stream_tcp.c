#include "base/alloc.h"
#include "base/assert.h"
#include "io/stream_int.h"
#include "io/watch.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/uio.h>
#include <unistd.h>

#define POOL_MAX        256
#define USER_TIMEOUT_MS 20000u
#define LINGER_NS                                                                                  \
    (UINT64_C(30) * 1000000000) /* for the last record of a peer that does not read                \
                                 */

/* A TCP or Unix socket, with or without TLS on it. */
struct tcp {
    struct tr_stream base;
    struct tr_watch watch;
    struct tr_task again; /* next round: a failure to report, or decrypted bytes that wait inside */
    struct tr_list linger; /* in loop->linger, or pool */
    struct tr_timer timer; /* bounds lingering */
    int fd;
    bool shutdown_asked, fin_sent;
    enum tr_err failure; /* for on_ready */
};

static struct tcp *tcp_of(struct tr_stream *s)
{
    return (struct tcp *)s;
}

const char *tr_stream_errno_text(int err)
{
    const char *text = strerrordesc_np(err);
    return text ? text : "unknown error";
}

/* -- objects ---------------------------------------------------------------------------------- */
static struct tcp *object_get(struct tr_loop *loop)
{
    struct tr_list *node = tr_list_pop_front(&loop->pool);
    if (node) {
        loop->pool_count--;
        return tr_container_of(node, struct tcp, linger);
    }
    return tr_malloc(sizeof(struct tcp));
}

static void object_put(struct tr_loop *loop, struct tcp *t)
{
#ifndef TR_ARENA_EMULATE /* which wants each object fresh from the heap, for ASan */
    if (loop->pool_count < POOL_MAX) {
        tr_list_push_front(&loop->pool, &t->linger);
        loop->pool_count++;
        return;
    }
#endif
    (void)loop;
    tr_free(t);
}

void tr_stream_pool_drop(struct tr_loop *loop)
{
    struct tr_list *node;
    while ((node = tr_list_pop_front(&loop->pool)) != NULL)
        tr_free(tr_container_of(node, struct tcp, linger));
    loop->pool_count = 0;
}

static void on_watch_closed(struct tr_watch *w)
{
    struct tcp *t = tr_container_of(w, struct tcp, watch);
    object_put(t->base.loop, t);
}

/* -- the mask that the kernel is asked for ---------------------------------------------------- */
static void update_mask(struct tcp *t)
{
    struct tr_stream *s = &t->base;
    unsigned mask = 0;
    bool unsent = s->tls && tr_tls_conn_unsent(s->tls);
    switch (s->state) {
    case TR_STREAM_CONNECTING:
    case TR_STREAM_LINGERING:
        mask = TR_WATCH_WRITE;
        break;
    case TR_STREAM_HANDSHAKING:
        mask = unsent ? TR_WATCH_READ | TR_WATCH_WRITE : TR_WATCH_READ;
        break;
    case TR_STREAM_OPEN:
        if (s->want_read)
            mask |= TR_WATCH_READ;
        if (s->want_write || unsent)
            mask |= TR_WATCH_WRITE;
        if (s->tls && s->want_read && tr_tls_conn_pending(s->tls))
            tr_loop_next_turn(s->loop, &t->again);
        break;
    case TR_STREAM_FAILED:
    case TR_STREAM_CLOSED:
        break;
    }
    tr_watch_want(&t->watch, mask);
}

static void tcp_want(struct tr_stream *s)
{
    if (s->state == TR_STREAM_OPEN)
        update_mask(tcp_of(s));
}

/* -- closing ---------------------------------------------------------------------------------- */
static void release(struct tcp *t)
{
    struct tr_stream *s = &t->base;
    s->state = TR_STREAM_CLOSED;
    tr_task_cancel(&t->again);
    tr_list_remove(&t->linger);
    tr_timer_stop(&t->timer);
    if (s->tls) {
        tr_tls_conn_free(s->tls);
        s->tls = NULL;
    }
    tr_watch_close(&t->watch, on_watch_closed);
    (void)close(t->fd);
}

static void on_linger_timeout(struct tr_timer *timer)
{
    release(tr_container_of(timer, struct tcp, timer));
}

static void tcp_close(struct tr_stream *s, bool hard)
{
    struct tcp *t = tcp_of(s);
    TR_ASSERT(tr_stream_is_live(s));
    if (hard) {
        struct linger rst = {1, 0}; /* close() then sends RST; Unix sockets do not mind */
        (void)setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
    } else if (s->tls && s->state == TR_STREAM_OPEN) {
        tr_tls_conn_shutdown(s->tls);
        /* the kernel would send on what it has; so must we */
        if (tr_tls_conn_unsent(s->tls) && tr_timer_start(&t->timer, LINGER_NS) == TR_OK) {
            s->state = TR_STREAM_LINGERING;
            tr_task_cancel(&t->again);
            tr_list_push_back(&s->loop->linger, &t->linger);
            update_mask(t);
            return;
        }
    }
    release(t);
}

void tr_stream_end_lingering(struct tr_loop *loop)
{
    while (!tr_list_empty(&loop->linger))
        release(tr_container_of(loop->linger.next, struct tcp, linger));
}

static void tcp_shutdown(struct tr_stream *s)
{
    struct tcp *t = tcp_of(s);
    if (s->state != TR_STREAM_OPEN || t->fin_sent)
        return;
    t->shutdown_asked = true;
    if (s->tls) {
        tr_tls_conn_shutdown(s->tls);
        if (tr_tls_conn_unsent(s->tls)) { /* FIN follows the last record */
            update_mask(t);
            return;
        }
    }
    t->fin_sent = true;
    (void)shutdown(t->fd, SHUT_WR);
}

/* -- getting ready ---------------------------------------------------------------------------- */
static void report_failure(struct tcp *t, enum tr_err err)
{
    struct tr_stream *s = &t->base;
    s->state = TR_STREAM_FAILED;
    update_mask(t);
    if (s->events.on_ready)
        s->events.on_ready(s->ctx, err);
}

static void handshake(struct tcp *t)
{
    struct tr_stream *s = &t->base;
    enum tr_err err = tr_tls_conn_handshake(s->tls);
    if (err == TR_ERR_AGAIN) {
        update_mask(t);
        return;
    }
    if (err) {
        (void)tr_tls_conn_flush(s->tls); /* the alert */
        report_failure(t, err);
        return;
    }
    s->state = TR_STREAM_OPEN;
    update_mask(t);
    if (s->events.on_ready)
        s->events.on_ready(s->ctx, TR_OK);
    /* bytes that came with the last flight stand inside already */
    if (s->state == TR_STREAM_OPEN)
        update_mask(t);
}

static void connected(struct tcp *t)
{
    struct tr_stream *s = &t->base;
    int err = 0;
    socklen_t len = sizeof err;
    if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
        err = errno;
    if (err) {
        s->error = tr_stream_errno_text(err);
        report_failure(t, TR_ERR_UPSTREAM_CONNECT);
        return;
    }
    if (s->tls) {
        s->state = TR_STREAM_HANDSHAKING;
        handshake(t);
        return;
    }
    s->state = TR_STREAM_OPEN;
    update_mask(t);
    if (s->events.on_ready)
        s->events.on_ready(s->ctx, TR_OK);
}

/* -- events ----------------------------------------------------------------------------------- */
static void flush_linger(struct tcp *t)
{
    if (!tr_tls_conn_flush(t->base.tls) || !tr_tls_conn_unsent(t->base.tls))
        release(t);
}

static void ready(struct tcp *t, unsigned events)
{
    struct tr_stream *s = &t->base;
    bool readable = events & TR_WATCH_READ, writable = events & TR_WATCH_WRITE;
    if (s->tls && writable && tr_tls_conn_unsent(s->tls)) {
        if (!tr_tls_conn_flush(s->tls)) {
            readable = true; /* the owner learns of it by reading or writing, whichever it wants */
        } else if (tr_tls_conn_unsent(s->tls)) {
            writable = false;
        } else {
            readable = readable || tr_tls_conn_read_blocked(s->tls);
            if (t->shutdown_asked)
                tcp_shutdown(s);
        }
    }
    if (readable && s->want_read && s->events.on_readable)
        s->events.on_readable(s->ctx);
    if (s->state != TR_STREAM_OPEN)
        return;
    if (writable && s->want_write && s->events.on_writable)
        s->events.on_writable(s->ctx);
    if (s->tls && s->state == TR_STREAM_OPEN)
        update_mask(t);
}

static void on_watch(struct tr_watch *w, unsigned events)
{
    struct tcp *t = tr_container_of(w, struct tcp, watch);
    switch (t->base.state) {
    case TR_STREAM_CONNECTING:
        connected(t);
        break;
    case TR_STREAM_HANDSHAKING:
        handshake(t);
        break;
    case TR_STREAM_OPEN:
        ready(t, events);
        break;
    case TR_STREAM_LINGERING:
        flush_linger(t);
        break;
    case TR_STREAM_FAILED:
    case TR_STREAM_CLOSED:
        break;
    }
}

static void on_again(struct tr_task *task)
{
    struct tcp *t = tr_container_of(task, struct tcp, again);
    if (t->failure) {
        enum tr_err err = t->failure;
        t->failure = TR_OK;
        report_failure(t, err);
    } else if (t->base.state == TR_STREAM_OPEN && t->base.tls && tr_tls_conn_pending(t->base.tls)) {
        ready(t, TR_WATCH_READ);
    }
}

/* -- bytes ------------------------------------------------------------------------------------ */
static ssize_t fail_errno(struct tr_stream *s, ssize_t again)
{
    if (errno == EAGAIN)
        return again;
    s->error = tr_stream_errno_text(errno);
    return TR_STREAM_ERROR;
}

static ssize_t tcp_read(struct tr_stream *s, void *buf, size_t cap)
{
    if (s->state != TR_STREAM_OPEN)
        return TR_STREAM_ERROR;
    struct tcp *t = tcp_of(s);
    ssize_t n;
    if (s->tls) {
        n = tr_tls_conn_read(s->tls, buf, cap);
        update_mask(t);
        return n;
    }
    do
        n = recv(t->fd, buf, cap, 0);
    while (n < 0 && errno == EINTR);
    return n >= 0 ? n : fail_errno(s, TR_STREAM_AGAIN);
}

static ssize_t tcp_writev(struct tr_stream *s, const struct tr_span *pieces, int count)
{
    if (s->state != TR_STREAM_OPEN)
        return TR_STREAM_ERROR;
    struct tcp *t = tcp_of(s);
    ssize_t n;
    if (s->tls) {
        n = tr_tls_conn_writev(s->tls, pieces, count);
        if (tr_tls_conn_unsent(s->tls))
            update_mask(t);
        return n;
    }
    if (count == 1) {
        do
            n = send(t->fd, pieces->ptr, pieces->len, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n >= 0 ? n : fail_errno(s, 0);
    }
    struct iovec iov[TR_STREAM_PIECES_MAX];
    for (int i = 0; i < count; i++) {
        union {
            const char *in;
            void *out;
        } cast = {pieces[i].ptr}; /* iovec serves reads too and so has no const */
        iov[i] = (struct iovec){cast.out, pieces[i].len};
    }
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    do
        n = sendmsg(t->fd, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n >= 0 ? n : fail_errno(s, 0);
}

static const struct tr_stream_ops tcp_ops = {
    tcp_want, tcp_read, tcp_writev, tcp_shutdown, tcp_close,
};

/* -- making ----------------------------------------------------------------------------------- */
/* Owns fd from here on, also on failure. */
static enum tr_err tcp_new(struct tr_loop *loop, int fd, struct tr_tls_ctx *tls,
                           struct tr_span server_name, const struct tr_addr *peer,
                           struct tcp **ret_tcp)
{
    struct tcp *t = object_get(loop);
    enum tr_err err = t ? TR_OK : TR_ERR_NOMEM;
    if (!err)
        err = tr_watch_init(&t->watch, loop, fd, on_watch);
    if (err) {
        tr_free(t);
        (void)close(fd);
        return err;
    }
    struct tr_stream *s = &t->base;
    s->ops = &tcp_ops;
    s->loop = loop;
    s->events = (struct tr_stream_events){NULL, NULL, NULL};
    s->ctx = NULL;
    s->error = NULL;
    s->tls = NULL;
    s->state = TR_STREAM_OPEN;
    s->want_read = s->want_write = false;
    s->peer.len = 0;
    if (peer && peer->len)
        s->peer = *peer;
    tr_task_init(&t->again, on_again);
    tr_list_init(&t->linger);
    tr_timer_init(&t->timer, loop, on_linger_timeout);
    t->fd = fd;
    t->shutdown_asked = t->fin_sent = false;
    t->failure = TR_OK;
    if (tls) {
        err = tr_tls_conn_new(tls, fd, server_name, &s->tls);
        if (err) {
            release(t);
            return err;
        }
    }
    *ret_tcp = t;
    return TR_OK;
}

static void set_tcp_options(int fd, const struct tr_addr *addr, bool upstream)
{
    int one = 1;
    unsigned user_timeout = USER_TIMEOUT_MS;
    if (addr && addr->len && addr->ss.ss_family == AF_UNIX)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (upstream)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof user_timeout);
}

enum tr_err tr_stream_connect(struct tr_loop *loop, const struct tr_addr *addr,
                              struct tr_tls_ctx *tls, struct tr_span server_name,
                              const struct tr_stream_events *events, void *ctx,
                              struct tr_stream **ret_stream)
{
    int fd = socket(addr->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return TR_ERR_IO;
    set_tcp_options(fd, addr, true);
    struct tcp *t;
    enum tr_err err = tcp_new(loop, fd, tls, server_name, addr, &t);
    if (err)
        return err;
    t->base.state = TR_STREAM_CONNECTING;
    tr_stream_set_events(&t->base, events, ctx);
    int rc = connect(fd, (const struct sockaddr *)&addr->ss, addr->len);
    if (rc == 0 || errno == EINPROGRESS || errno == EINTR) {
        update_mask(t); /* writable tells of both ends; at once when it is connected already */
    } else {
        t->base.error = tr_stream_errno_text(errno);
        t->base.state = TR_STREAM_FAILED;
        t->failure = TR_ERR_UPSTREAM_CONNECT;
        tr_loop_next_turn(loop, &t->again);
    }
    *ret_stream = &t->base;
    return TR_OK;
}

enum tr_err tr_stream_accept(struct tr_loop *loop, int fd, struct tr_tls_ctx *tls,
                             const struct tr_addr *peer, const struct tr_stream_events *events,
                             void *ctx, struct tr_stream **ret_stream)
{
    set_tcp_options(fd, peer, false);
    struct tcp *t;
    enum tr_err err = tcp_new(loop, fd, tls, TR_SPAN(""), peer, &t);
    if (err)
        return err;
    tr_stream_set_events(&t->base, events, ctx);
    if (tls) {
        t->base.state = TR_STREAM_HANDSHAKING;
        update_mask(t);
    }
    *ret_stream = &t->base;
    return TR_OK;
}
