#include "http/h1_conn.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/counter.h"

/* Many idle connections are kept; each costs this and no buffer. */
_Static_assert(sizeof(struct h1_conn) <= 1536, "an idle connection is small");

/* -- the end of a connection
 * -------------------------------------------------------------------------------- */

void h1_leave(struct h1_conn *c)
{
    if (--c->depth > 0 || !c->closed || c->base.open_streams > 0)
        return;
    c->base.service->on_conn_closed(c->base.service->ctx, &c->base);
    tr_free(c);
}

void h1_close(struct h1_conn *c, bool abort)
{
    if (c->closed)
        return;
    c->closed = true;
    tr_stream_close(c->base.stream, abort);
    c->base.stream = NULL;
    tr_timer_stop(&c->timer);
    tr_timer_stop(&c->write_timer);
    tr_task_cancel(&c->task);
    struct tr_bufpool *bufs = c->base.worker->bufs;
    tr_bufpool_put(bufs, &c->in);
    tr_bufpool_put(bufs, &c->stage);
    tr_bufpool_put(bufs, &c->trailers);
    tr_bufpool_put(bufs, &c->chunk.trailers);
    if (!c->live) /* else the sink may be writing into it */
        tr_bufpool_put(bufs, &c->hs.out);
}

void h1_tell_gone(struct h1_conn *c, enum tr_err why)
{
    if (!h1_sink_listens(c))
        return;
    c->gone = true;
    c->hs.sink_ops->on_gone(c->hs.sink, why);
}

void h1_lost(struct h1_conn *c, enum tr_err why)
{
    if (c->closed)
        return;
    if (!c->live && why != TR_ERR_CLIENT_GONE)
        /* nobody else counts it; that an idle client leaves is no error */
        tr_count(&c->base.worker->err_counts[why]);
    h1_tell_gone(c, why);
    h1_close(c, true);
}

/* Our FIN, then what the client still sends is read and dropped for a while: closing at once would
 * answer it with a RST that may overtake the answer (RFC 9112 §9.6). */
static void linger(struct h1_conn *c)
{
    h1_tell_gone(c, TR_ERR_CLIENT_GONE);
    tr_stream_shutdown(c->base.stream);
    bool quiet = c->input == H1_IN_DONE && c->asked_close && h1_in_pending(c).len == 0;
    if (c->eof || quiet) {
        h1_close(c, false);
        return;
    }
    c->input = H1_IN_LINGER;
    c->dropped = 0;
    tr_bufpool_put(c->base.worker->bufs, &c->in);
    c->in_pos = 0;
    h1_set_deadline(c, H1_DL_LINGER, H1_LINGER_NS);
}

/* -- what is awaited
 * ------------------------------------------------------------------------------------------ */

/* The timer is left running when a deadline is taken back or moved later, and looks at deadline_ns
 * when it fires: a request then costs no timer work at all. */
void h1_set_deadline(struct h1_conn *c, enum h1_deadline what, uint64_t delay_ns)
{
    c->deadline = (uint8_t)what;
    c->deadline_ns = 0;
    if (what == H1_DL_NONE)
        return;
    c->deadline_ns = tr_loop_now_ns(c->base.worker->loop) + delay_ns;
    if (tr_timer_running(&c->timer) && c->timer.due_ns <= c->deadline_ns)
        return;
    if (tr_timer_start(&c->timer, delay_ns) != TR_OK) {
        c->cut = true;
        h1_defer(c);
    }
}

void h1_update_want(struct h1_conn *c)
{
    if (c->closed)
        return;
    bool readable = !c->eof;
    if (c->input == H1_IN_BODY)
        readable = readable && c->unconsumed < H1_BODY_WINDOW;
    else if (c->input == H1_IN_DONE)
        readable = readable && h1_in_pending(c).len < H1_PIPELINE_MAX;
    /* The client is only late with a body that it has been asked for and that would be read. */
    if (c->input == H1_IN_BODY || c->input == H1_IN_DISCARD) {
        bool waits = readable && !c->expect;
        if (waits != (c->deadline == H1_DL_BODY))
            h1_set_deadline(c, waits ? H1_DL_BODY : H1_DL_NONE,
                            c->base.limits->body_idle_timeout_ns);
    }
    tr_stream_want(c->base.stream, readable, c->blocked);
}

/* -- reading ---------------------------------------------------------------------------------- */

static void on_readable(void *ctx)
{
    struct h1_conn *c = ctx;
    h1_enter(c);
    char *buf = c->base.worker->read_buf;
    ssize_t n = tr_stream_read(c->base.stream, buf, TR_HREAD_BYTES);
    if (n > 0) {
        struct tr_span data = tr_span(buf, (size_t)n);
        h1_in_take(c, data);
        if (!c->closed && c->input == H1_IN_LINGER && c->dropped > H1_LINGER_MAX)
            h1_close(c, false);
    } else if (n == 0) {
        h1_in_ended(c);
    } else if (n != TR_STREAM_AGAIN) {
        h1_lost(c, TR_ERR_CLIENT_GONE);
    }
    h1_update_want(c);
    h1_leave(c);
}

/* -- the end of the turn
 * --------------------------------------------------------------------------------------------------
 */

static bool answer_is_out(const struct h1_conn *c)
{
    return c->answer == H1_ANS_FORMED && !c->live;
}

static void tell_writable(struct h1_conn *c)
{
    if (!c->over_high || c->hs.out.len - c->hs.out_pos >= TR_OUT_LOW_BYTES)
        return;
    c->over_high = false;
    if (h1_sink_listens(c) && !c->ended)
        c->hs.sink_ops->on_writable(c->hs.sink);
}

/* What follows when no byte waits for the socket. */
static void flushed(struct h1_conn *c)
{
    if (c->cut) {
        /* Where only the end of the connection delimits the body, a FIN would be taken for success.
         */
        if (c->to_eof || c->answer == H1_ANS_NONE) {
            h1_tell_gone(c, TR_ERR_CLIENT_GONE);
            h1_close(c, c->to_eof);
        } else {
            linger(c);
        }
    } else if (answer_is_out(c) && c->close_after) {
        linger(c);
    } else if (answer_is_out(c) && c->input == H1_IN_DONE) {
        h1_in_next(c);
        if (h1_in_pending(c).len)
            h1_defer(c);
        else if (c->base.draining)
            h1_close(c, false);
    } else if ((c->eof || c->base.draining) && c->input == H1_IN_HEAD && !c->live &&
               h1_in_pending(c).len == 0) {
        h1_close(c, false);
    }
}

/* Answers to pipelined requests that are ready at once leave in one write. */
static bool fold_and_go_on(struct h1_conn *c)
{
    if (!answer_is_out(c) || c->input != H1_IN_DONE || c->close_after || c->cut ||
        h1_in_pending(c).len == 0 || !h1_out_fold(c))
        return false;
    h1_in_next(c);
    return true;
}

static void run(struct h1_conn *c)
{
    enum tr_err err = TR_OK;
    do {
        h1_in_feed_pending(c);
        if (c->closed)
            return;
        err = h1_out_form(c);
    } while (!err && fold_and_go_on(c));
    if (!err)
        err = h1_out_write(c);
    /* What was committed while the socket was blocked. */
    if (!err && h1_out_pending(c) == 0 && (err = h1_out_form(c)) == TR_OK)
        err = h1_out_write(c);
    if (err) {
        h1_lost(c, err);
        return;
    }
    tell_writable(c);
    if (!c->closed && !c->blocked && c->input != H1_IN_LINGER)
        flushed(c);
    h1_update_want(c);
}

static void on_task(struct tr_task *task)
{
    struct h1_conn *c = tr_container_of(task, struct h1_conn, task);
    h1_enter(c);
    run(c);
    h1_leave(c);
}

static void on_writable(void *ctx)
{
    struct h1_conn *c = ctx;
    h1_defer(c);
}

static void on_timer(struct tr_timer *timer)
{
    struct h1_conn *c = tr_container_of(timer, struct h1_conn, timer);
    if (c->deadline_ns == 0)
        return;
    uint64_t now = tr_loop_now_ns(c->base.worker->loop);
    h1_enter(c);
    if (now < c->deadline_ns) {
        if (tr_timer_start(&c->timer, c->deadline_ns - now) != TR_OK)
            h1_lost(c, TR_ERR_NOMEM);
        h1_leave(c);
        return;
    }
    struct tr_status st;
    tr_status_clear(&st);
    switch ((enum h1_deadline)c->deadline) {
    case H1_DL_HEAD:
        h1_in_refuse(
            c, h1_in_pending(c),
            tr_fail(&st, TR_ERR_HEADER_TIMEOUT, "the header section did not arrive in time"), &st);
        break;
    case H1_DL_BODY:
        h1_in_body_failed(c, TR_ERR_BODY_TIMEOUT);
        break;
    case H1_DL_IDLE:
        tr_count(&c->base.worker->stats.idle_closed);
        h1_close(c, false);
        break;
    case H1_DL_LINGER:
        h1_close(c, false);
        break;
    case H1_DL_NONE:
        break;
    }
    h1_update_want(c);
    h1_leave(c);
}

static void on_write_timer(struct tr_timer *timer)
{
    struct h1_conn *c = tr_container_of(timer, struct h1_conn, write_timer);
    h1_enter(c);
    h1_lost(c, TR_ERR_CLIENT_STALLED);
    h1_leave(c);
}

/* -- the face
 * ----------------------------------------------------------------------------------------------------------------
 */

static void conn_drain(struct tr_hconn *conn)
{
    struct h1_conn *c = h1_of(conn);
    h1_enter(c);
    conn->draining = true;
    if (!c->closed && c->input == H1_IN_HEAD && !c->live) {
        if (h1_in_pending(c).len == 0 && h1_out_pending(c) == 0)
            h1_close(c, false);
    } else {
        c->close_after = true;
        h1_defer(c);
    }
    h1_leave(c);
}

static void conn_abort(struct tr_hconn *conn)
{
    struct h1_conn *c = h1_of(conn);
    h1_enter(c);
    h1_lost(c, TR_ERR_DRAINING);
    h1_leave(c);
}

static const struct tr_hconn_ops conn_ops = {.drain = conn_drain, .abort = conn_abort};
static const struct tr_stream_events events = {.on_readable = on_readable,
                                               .on_writable = on_writable};

enum tr_err tr_h1_conn_new(struct tr_hworker *worker, const struct tr_hlimits *limits,
                           const struct tr_hservice *service, struct tr_stream *stream,
                           struct tr_span first, void *user, struct tr_hconn **ret_conn)
{
    struct h1_conn *c = tr_calloc(1, sizeof *c);
    if (!c)
        return TR_ERR_NOMEM;
    c->base.ops = &conn_ops;
    c->base.worker = worker;
    c->base.limits = limits;
    c->base.service = service;
    c->base.stream = stream;
    c->base.user = user;
    tr_list_init(&c->base.node);
    c->limits = (struct tr_h1_limits){limits->max_headers, limits->max_header_bytes,
                                      limits->max_path_bytes};
    tr_timer_init(&c->timer, worker->loop, on_timer);
    tr_timer_init(&c->write_timer, worker->loop, on_write_timer);
    tr_task_init(&c->task, on_task);
    tr_h1_scan_init(&c->scan);
    if (tr_buf_append(&c->in, first) != TR_OK) {
        tr_free(c);
        return TR_ERR_NOMEM;
    }
    h1_set_deadline(c, H1_DL_IDLE, limits->header_timeout_ns);
    tr_stream_set_events(stream, &events, c);
    tr_stream_want(stream, true, false);
    if (first.len)
        tr_loop_defer(worker->loop, &c->task);
    *ret_conn = &c->base;
    return TR_OK;
}
