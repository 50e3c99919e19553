#include "http/h2_conn.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bufpool.h"
#include "base/counter.h"

#define LINGER_NS        ((uint64_t)500 * 1000 * 1000)
#define LINGER_BYTES     ((uint32_t)1024 * 1024)
#define TICK_MIN_NS      ((uint64_t)10 * 1000 * 1000)
#define TICK_MAX_NS      ((uint64_t)5 * 1000 * 1000 * 1000)
#define CONTINUATIONS    16 /* frames of 16 KiB after a HEADERS frame; more ends the connection */
#define ROUNDS_A_TURN    4 /* writes of TR_H2_WRITE_BYTES before other connections have their turn */
#define QUEUE_FRAMES     1000 /* that wait for a socket that is full, besides four a stream */
#define LIBRARY_BURST    1000
#define LIBRARY_A_SECOND 33

static uint64_t now_ns(const struct tr_h2_conn *conn)
{
    return tr_loop_now_ns(conn->base.worker->loop);
}

/* ---- the end ------------------------------------------------------------------------------------
 */

static void conn_free(struct tr_h2_conn *conn)
{
    conn->base.service->on_conn_closed(conn->base.service->ctx, &conn->base);
    tr_timer_stop(&conn->timer);
    tr_task_cancel(&conn->task);
    if (conn->sess.stream)
        tr_stream_close(conn->sess.stream, false);
    tr_h2_sess_fini(&conn->sess);
    tr_bufpool_put(conn->base.worker->bufs, &conn->first);
    tr_free(conn);
}

/* Sinks are told and the session goes; hstreams that are not released keep the connection's memory,
 * and its pool. */
static void conn_tear(struct tr_h2_conn *conn)
{
    conn->torn = true;
    tr_timer_stop(&conn->timer);
    tr_task_cancel(&conn->task);
    if (conn->sess.ng) {
        nghttp2_session_del(conn->sess.ng);
        conn->sess.ng = NULL;
    }
    conn->busy++;
    tr_list_for_each (it, next, &conn->streams) {
        struct tr_h2_stream *st = tr_container_of(it, struct tr_h2_stream, node);
        tr_h2_stream_closed(st, conn->why ? conn->why : TR_ERR_CLIENT_GONE);
    }
    conn->busy--;
}

static void close_stream(struct tr_h2_conn *conn)
{
    if (conn->sess.stream)
        tr_stream_close(conn->sess.stream, false);
    conn->sess.stream = NULL;
    conn->base.stream = NULL;
    conn->lingering = false;
    tr_timer_stop(&conn->timer);
}

void tr_h2_conn_settle(struct tr_h2_conn *conn)
{
    if (conn->busy)
        return;
    if (conn->dead && !conn->torn) {
        conn_tear(conn);
        if (!conn->lingering || tr_timer_start(&conn->timer, LINGER_NS) != TR_OK)
            close_stream(conn);
    }
    if (conn->torn && conn->base.open_streams == 0 && !conn->lingering)
        conn_free(conn);
}

static void conn_kill(struct tr_h2_conn *conn, enum tr_err why)
{
    if (!conn->why)
        conn->why = why;
    conn->dead = true;
}

/* All that had to be said is said. What the client still sends is read and thrown away for a
 * moment, because closing on unread bytes makes TCP reset the connection, and the reset can
 * overtake the GOAWAY. */
static void conn_finish(struct tr_h2_conn *conn)
{
    conn_kill(conn, TR_ERR_CLIENT_GONE);
    conn->lingering = true;
    tr_stream_shutdown(conn->sess.stream);
    tr_stream_want(conn->sess.stream, true, false);
}

void tr_h2_conn_quit(struct tr_h2_conn *conn, enum tr_err why, uint32_t code)
{
    if (conn->quitting || conn->torn)
        return;
    conn->quitting = true;
    if (!conn->why)
        conn->why = why;
    if (why)
        tr_h2_count(conn->base.worker, why);
    (void)nghttp2_session_terminate_session(conn->sess.ng, code);
    tr_h2_conn_kick(conn);
}

/* ---- output -------------------------------------------------------------------------------------
 */

/* nghttp2 has nothing to say and nothing to hear: after GOAWAY, when the streams are done. */
static bool session_over(const struct tr_h2_conn *conn)
{
    return !nghttp2_session_want_read(conn->sess.ng) && !nghttp2_session_want_write(conn->sess.ng);
}

static void send_due_errors(struct tr_h2_conn *conn)
{
    conn->errors_due = false;
    tr_list_for_each (it, next, &conn->streams) {
        struct tr_h2_stream *st = tr_container_of(it, struct tr_h2_stream, node);
        if (st->error_due)
            tr_h2_stream_rst(st, NGHTTP2_INTERNAL_ERROR);
        st->error_due = false;
    }
}

static void conn_flush(struct tr_h2_conn *conn)
{
    enum tr_h2_flush r = TR_H2_MORE;
    conn->busy++;
    for (int round = 0; r == TR_H2_MORE && round < ROUNDS_A_TURN && !conn->dead; round++) {
        r = tr_h2_sess_flush(&conn->sess);
        if (conn->writable_due || conn->held)
            tr_h2_conn_writable(conn);
        if (r == TR_H2_FLUSHED && conn->errors_due && !conn->dead) {
            send_due_errors(conn);
            r = TR_H2_MORE;
        }
    }
    conn->busy--;
    if (conn->dead)
        return;
    switch (r) {
    case TR_H2_FLUSHED:
        tr_stream_want(conn->sess.stream, true, false);
        if (session_over(conn))
            conn_finish(conn);
        break;
    case TR_H2_MORE:
        tr_stream_want(conn->sess.stream, true, true);
        break;
    case TR_H2_BLOCKED:
        /* Reading goes on: what it can make us queue is bounded by the limits on streams,
         * acknowledgements and resets, and a client that writes before it reads would otherwise
         * wait for us as we for it. */
        tr_stream_want(conn->sess.stream, true, true);
        tr_h2_conn_active(conn);
        break;
    case TR_H2_BROKEN:
        conn_kill(conn, TR_ERR_CLIENT_GONE);
        break;
    case TR_H2_NOMEM:
        conn_kill(conn, TR_ERR_NOMEM);
        break;
    }
}

/* ---- input --------------------------------------------------------------------------------------
 */

static void conn_feed(struct tr_h2_conn *conn, const uint8_t *data, size_t len)
{
    if (len == 0 || conn->quitting || conn->dead)
        return;
    conn->busy++;
    enum tr_err err = tr_h2_sess_feed(&conn->sess, data, len);
    conn->busy--;
    if (err == TR_ERR_NOMEM)
        conn_kill(conn, err);
    else if (err)
        tr_h2_conn_quit(
            conn, err, err == TR_ERR_H2_FLOOD ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
}

/* Resets and acknowledgements are counted when they are sent. A client that makes us queue them and
 * does not read is counted here. */
static void check_queue(struct tr_h2_conn *conn)
{
    if (conn->sess.left.len == 0 || conn->dead || conn->quitting)
        return;
    size_t streams = conn->base.limits->max_concurrent_streams;
    if (nghttp2_session_get_outbound_queue_size(conn->sess.ng) <= QUEUE_FRAMES + 4 * streams)
        return;
    tr_h2_count(conn->base.worker, TR_ERR_H2_FLOOD);
    conn_kill(conn, TR_ERR_H2_FLOOD); /* there is no room for a GOAWAY */
}

/* DATA on a closed stream is looked for here, because nghttp2 ignores it without a word. To know
 * whether the stream is closed nghttp2 must have seen all that comes before; it is fed piecemeal
 * only when that matters.
 *
 * The head of a frame is fed as a whole: nghttp2 bounds the CONTINUATION frames of a section by
 * counting each piece of a head that it is given, and would end the connection at two frames whose
 * heads come a byte at a time. */
static void conn_input(struct tr_h2_conn *conn, const uint8_t *data, size_t len)
{
    size_t pos = 0, fed = 0;
    bool held = conn->scan.have > 0; /* the head that data begins within */
    bool resets = false;
    struct tr_h2_frame_head f;
    while (!conn->quitting && !conn->dead && tr_h2_scan_next(&conn->scan, data, len, &pos, &f)) {
        tr_h2_conn_count_frame(conn, &f);
        if (held) {
            conn_feed(conn, conn->scan.head, sizeof conn->scan.head);
            fed = pos;
            held = false;
        }
        resets = resets || f.type == NGHTTP2_RST_STREAM;
        if (f.type != NGHTTP2_DATA || (f.stream_id & 1) == 0 ||
            (!resets && ((uint32_t)f.stream_id > conn->last_id ||
                         nghttp2_session_get_stream_remote_close(conn->sess.ng, f.stream_id) >= 0)))
            continue;
        conn_feed(conn, data + fed, pos - fed);
        fed = pos;
        if (!conn->quitting && !conn->dead && (uint32_t)f.stream_id <= conn->last_id &&
            tr_h2_conn_closed_is_error(conn, f.stream_id))
            tr_h2_conn_quit(conn, TR_ERR_H2_PROTOCOL, NGHTTP2_STREAM_CLOSED);
    }
    if (!held)
        conn_feed(conn, data + fed, len - fed - conn->scan.have);
    check_queue(conn);
    tr_h2_conn_kick(conn);
}

static void linger_read(struct tr_h2_conn *conn)
{
    ssize_t n = tr_h2_sess_read(&conn->sess);
    if (n == TR_STREAM_AGAIN)
        return;
    if (n > 0)
        conn->linger_bytes += (uint32_t)n;
    if (n <= 0 || conn->linger_bytes > LINGER_BYTES)
        close_stream(conn);
    tr_h2_conn_settle(conn);
}

/* A GOAWAY that waits behind a full socket, for a client that sends and does not read: the linger
 * that bounds what is thrown away does not begin. */
static void input_after_the_end(struct tr_h2_conn *conn, uint32_t n)
{
    conn->linger_bytes += n;
    if (conn->linger_bytes > LINGER_BYTES)
        conn_kill(conn, TR_ERR_CLIENT_STALLED);
    tr_h2_conn_kick(conn);
}

static void on_readable(void *ctx)
{
    struct tr_h2_conn *conn = ctx;
    if (conn->lingering) {
        linger_read(conn);
        return;
    }
    ssize_t n = tr_h2_sess_read(&conn->sess);
    if (n > 0 && conn->quitting)
        input_after_the_end(conn, (uint32_t)n);
    else if (n > 0)
        conn_input(conn, (const uint8_t *)conn->base.worker->read_buf, (size_t)n);
    else if (n != TR_STREAM_AGAIN)
        conn_kill(conn,
                  TR_ERR_CLIENT_GONE); /* a client that shuts its side cancels what it asked for */
    tr_h2_conn_settle(conn);
}

static void on_writable(void *ctx)
{
    struct tr_h2_conn *conn = ctx;
    if (conn->lingering)
        tr_stream_want(conn->sess.stream, true, false);
    else
        tr_h2_conn_kick(conn);
}

static void on_ready(void *ctx, enum tr_err err)
{
    (void)ctx;
    (void)err;
}

static const struct tr_stream_events stream_events = {on_ready, on_readable, on_writable};

static void on_task(struct tr_task *task)
{
    struct tr_h2_conn *conn = tr_container_of(task, struct tr_h2_conn, task);
    if (conn->first.len) {
        struct tr_buf first = conn->first;
        tr_buf_init(&conn->first);
        conn_input(conn, (const uint8_t *)first.ptr, first.len);
        tr_bufpool_put(conn->base.worker->bufs, &first);
    }
    if (!conn->dead)
        conn_flush(conn);
    tr_h2_conn_settle(conn);
}

/* ---- time-outs ----------------------------------------------------------------------------------
 */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Time-outs are found at most a quarter late. */
static uint64_t tick_ns(const struct tr_h2_conn *conn)
{
    const struct tr_hlimits *l = conn->base.limits;
    uint64_t t = least(least(l->header_timeout_ns, l->body_idle_timeout_ns),
                       least(l->write_timeout_ns, l->keepalive_timeout_ns)) /
                 4;
    return t < TICK_MIN_NS ? TICK_MIN_NS : least(t, TICK_MAX_NS);
}

static void timer_set(struct tr_h2_conn *conn, uint64_t delay)
{
    if (tr_timer_start(&conn->timer, delay) != TR_OK) {
        conn_kill(conn, TR_ERR_NOMEM); /* without its timer a connection could stay for ever */
        tr_h2_conn_kick(conn);
    }
}

void tr_h2_conn_active(struct tr_h2_conn *conn)
{
    uint64_t tick = tick_ns(conn);
    if (!conn->torn &&
        (!tr_timer_running(&conn->timer) || conn->timer.due_ns > now_ns(conn) + tick))
        timer_set(conn, tick);
}

static bool is_grpc(const struct tr_h2_stream *st)
{
    const struct tr_header *ct = tr_headers_find(&st->hs.head.headers, TR_TOKEN_CONTENT_TYPE, NULL);
    return ct && tr_span_starts(ct->value, TR_SPAN("application/grpc"));
}

/* The body is late when the client could send and does not. After the head of the answer, and for
 * gRPC, the time belongs to the pipeline: such a stream may rest for long by its nature. */
static bool body_is_late(const struct tr_h2_conn *conn, const struct tr_h2_stream *st, uint64_t now)
{
    return st->requested && !st->remote_end && !st->sink_off && !st->body_late &&
           !st->hs.head_sent && st->unconsumed < (uint32_t)TR_H2_WINDOW_FIRST / 2 &&
           now - st->recv_ns >= conn->base.limits->body_idle_timeout_ns && !is_grpc(st);
}

/* A request that ends so is counted with it; an answer that its sink has let go of is counted here.
 */
static void count_stall(struct tr_h2_conn *conn)
{
    tr_list_for_each (it, next, &conn->streams) {
        if (!tr_container_of(it, struct tr_h2_stream, node)->sink_off)
            return;
    }
    tr_h2_count(conn->base.worker, TR_ERR_CLIENT_STALLED);
}

static void tick_streams(struct tr_h2_conn *conn, uint64_t now)
{
    const uint64_t patience = conn->base.limits->write_timeout_ns;
    bool stalled = false, moving = false;
    conn->busy++;
    tr_list_for_each (it, next, &conn->streams) {
        struct tr_h2_stream *st = tr_container_of(it, struct tr_h2_stream, node);
        if (body_is_late(conn, st, now)) {
            st->body_late = true;
            st->hs.sink_ops->on_body_error(st->hs.sink, TR_ERR_BODY_TIMEOUT);
            continue;
        }
        bool waiting = tr_h2_source_queued(&st->src) > 0;
        if (!waiting)
            st->sent_ns = now;
        else if (now - st->sent_ns < patience)
            moving = true;
        else
            stalled = true;
    }
    /* One stalled stream among moving ones is reset; a client on which nothing moves is left. */
    if (stalled && !moving) {
        if (!conn->quitting)
            count_stall(conn);
        if (!conn->why)
            conn->why = TR_ERR_CLIENT_STALLED;
        tr_h2_conn_quit(conn, TR_OK, NGHTTP2_ENHANCE_YOUR_CALM);
    } else if (stalled) {
        tr_list_for_each (it, next, &conn->streams) {
            struct tr_h2_stream *st = tr_container_of(it, struct tr_h2_stream, node);
            if (tr_h2_source_queued(&st->src) > 0 && now - st->sent_ns >= patience) {
                st->why = TR_ERR_CLIENT_STALLED;
                if (st->sink_off && !st->src.dead)
                    tr_h2_count(conn->base.worker, TR_ERR_CLIENT_STALLED);
                tr_h2_stream_rst(st, NGHTTP2_ENHANCE_YOUR_CALM);
            }
        }
    }
    conn->busy--;
}

static void on_timer(struct tr_timer *timer)
{
    struct tr_h2_conn *conn = tr_container_of(timer, struct tr_h2_conn, timer);
    const struct tr_hlimits *l = conn->base.limits;
    uint64_t now = now_ns(conn), next = tick_ns(conn);
    if (conn->torn) { /* the linger is over */
        close_stream(conn);
        tr_h2_conn_settle(conn);
        return;
    }
    if ((!conn->got_settings && now - conn->start_ns >= l->header_timeout_ns) ||
        (conn->head_ns && now - conn->head_ns >= l->header_timeout_ns)) {
        if (conn->quitting)
            conn_kill(conn, TR_ERR_HEADER_TIMEOUT);
        tr_h2_conn_quit(conn, TR_ERR_HEADER_TIMEOUT, NGHTTP2_ENHANCE_YOUR_CALM);
    } else if (conn->sess.left.len && now - conn->sess.progress_ns >= l->write_timeout_ns) {
        count_stall(conn);
        conn_kill(conn, TR_ERR_CLIENT_STALLED); /* no room even for a GOAWAY */
    } else if (!tr_list_empty(&conn->streams)) {
        tick_streams(conn, now);
    } else if (conn->got_settings && !conn->head_ns && !conn->sess.left.len) {
        uint64_t idle = now - conn->idle_ns;
        if (idle < l->keepalive_timeout_ns) {
            next = l->keepalive_timeout_ns - idle;
        } else if (!conn->quitting) {
            tr_count(&conn->base.worker->stats.idle_closed);
            tr_h2_conn_quit(conn, TR_OK, NGHTTP2_NO_ERROR);
        }
    }
    if (!conn->dead)
        timer_set(conn, next);
    tr_h2_conn_kick(conn);
    tr_h2_conn_settle(conn);
}

/* ---- beginning, drain, abort ----------------------------------------------------------------- */

static void conn_drain(struct tr_hconn *base)
{
    struct tr_h2_conn *conn = tr_h2_conn_of(base);
    if (conn->torn || conn->quitting || conn->drain_step >= 2)
        return;
    base->draining = true;
    if (conn->drain_step++ == 0)
        (void)nghttp2_submit_shutdown_notice(conn->sess.ng);
    else
        (void)nghttp2_submit_goaway(conn->sess.ng, NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(conn->sess.ng),
                                    NGHTTP2_NO_ERROR, NULL, 0);
    tr_h2_conn_kick(conn);
}

static void conn_abort(struct tr_hconn *base)
{
    struct tr_h2_conn *conn = tr_h2_conn_of(base);
    if (conn->torn && conn->lingering) {
        close_stream(conn);
    } else {
        conn_kill(conn, TR_ERR_DRAINING);
        tr_h2_conn_kick(conn);
    }
    tr_h2_conn_settle(conn);
}

static const struct tr_hconn_ops conn_ops = {conn_drain, conn_abort};

static enum tr_err session_new(struct tr_h2_conn *conn)
{
    nghttp2_session_callbacks *cb = NULL;
    nghttp2_option *opt = NULL;
    enum tr_err err = TR_ERR_NOMEM;
    if (nghttp2_session_callbacks_new(&cb) != 0 || nghttp2_option_new(&opt) != 0)
        goto done;
    tr_h2_sess_callbacks(cb);
    tr_h2_conn_callbacks(cb);
    tr_h2_sess_options(opt);
    nghttp2_option_set_no_closed_streams(opt, 1); /* http/h2_scan.h */
    nghttp2_option_set_max_settings(opt, 32);
#ifdef TR_HAVE_NGHTTP2_RESET_RATE
    nghttp2_option_set_stream_reset_rate_limit(opt, LIBRARY_BURST, LIBRARY_A_SECOND);
#endif
#ifdef TR_HAVE_NGHTTP2_MAX_CONTINUATIONS
    nghttp2_option_set_max_continuations(opt, CONTINUATIONS);
#endif
    nghttp2_mem mem;
    tr_h2_pool_mem(conn->sess.pool, &conn->sess.mem, &mem);
    if (nghttp2_session_server_new3(&conn->sess.ng, cb, &conn->sess, opt, &mem) != 0)
        goto done;
    const struct tr_hlimits *l = conn->base.limits;
    const nghttp2_settings_entry iv[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, l->max_concurrent_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)TR_H2_WINDOW_FIRST},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, l->max_header_bytes},
    };
    if (nghttp2_submit_settings(conn->sess.ng, NGHTTP2_FLAG_NONE, iv, sizeof iv / sizeof iv[0]) ==
            0 &&
        nghttp2_session_set_local_window_size(conn->sess.ng, NGHTTP2_FLAG_NONE, 0,
                                              TR_H2_CONN_WINDOW) == 0 &&
        !conn->sess.mem.low)
        err = TR_OK;
done:
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(opt);
    return err;
}

enum tr_err tr_h2_conn_new(struct tr_hworker *worker, const struct tr_hlimits *limits,
                           const struct tr_hservice *service, struct tr_stream *stream,
                           struct tr_span first, void *user, struct tr_hconn **ret_conn)
{
    struct tr_h2_conn *conn = tr_calloc(1, sizeof *conn);
    if (!conn)
        return TR_ERR_NOMEM;
    conn->base = (struct tr_hconn){.ops = &conn_ops,
                                   .worker = worker,
                                   .limits = limits,
                                   .service = service,
                                   .stream = stream,
                                   .is_h2 = true,
                                   .user = user};
    conn->scan.payload_left = TR_H2_PREFACE_BYTES;
    tr_list_init(&conn->base.node);
    tr_list_init(&conn->streams);
    tr_task_init(&conn->task, on_task);
    tr_timer_init(&conn->timer, worker->loop, on_timer);
    enum tr_err err = tr_h2_sess_init(&conn->sess, worker, stream);
    conn->start_ns = conn->idle_ns = conn->sess.progress_ns;
    if (!err)
        err = session_new(conn);
    if (!err && first.len) {
        conn->first = tr_bufpool_get(worker->bufs);
        err = tr_buf_append(&conn->first, first);
    }
    if (!err)
        err = tr_timer_start(&conn->timer, tick_ns(conn));
    if (err) {
        tr_h2_sess_fini(&conn->sess);
        tr_bufpool_put(worker->bufs, &conn->first);
        tr_free(conn);
        return err;
    }
    tr_stream_set_events(stream, &stream_events, conn);
    tr_stream_want(stream, true, false);
    tr_loop_defer(worker->loop, &conn->task); /* SETTINGS, and the first bytes */
    *ret_conn = &conn->base;
    return TR_OK;
}
