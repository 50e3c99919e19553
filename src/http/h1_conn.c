#include "http/h1_conn.h"

#include "base/alloc.h"
#include "base/assert.h"

/* Many idle connections are kept; each costs this and no buffer. */
_Static_assert(sizeof(struct h1_conn) <= 1536, "an idle connection is small");

static void run(struct h1_conn *c);

static struct tr_hworker *worker_of(struct h1_conn *c)
{
    return c->base.worker;
}

static bool sink_listens(const struct h1_conn *c)
{
    return c->live && !c->gone;
}

static struct tr_span pending_input(const struct h1_conn *c)
{
    if (c->in.len == 0)
        return tr_span(NULL, 0);
    return tr_span_from(tr_buf_span(&c->in), c->in_pos);
}

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
    struct tr_bufpool *bufs = worker_of(c)->bufs;
    tr_bufpool_put(bufs, &c->in);
    tr_bufpool_put(bufs, &c->stage);
    tr_bufpool_put(bufs, &c->trailers);
    tr_bufpool_put(bufs, &c->chunk.trailers);
    if (!c->live) /* else the sink may be writing into it */
        tr_bufpool_put(bufs, &c->hs.out);
}

static void tell_gone(struct h1_conn *c, enum tr_err why)
{
    if (!sink_listens(c))
        return;
    c->gone = true;
    c->hs.sink_ops->on_gone(c->hs.sink, why);
}

void h1_lost(struct h1_conn *c, enum tr_err why)
{
    if (c->closed)
        return;
    if (!c->live)
        worker_of(c)->err_counts[why]++; /* nobody else counts it */
    tell_gone(c, why);
    h1_close(c, true);
}

/* Our FIN, then what the client still sends is read and dropped for a while: closing at once would
 * answer it with a RST that may overtake the answer (RFC 9112 §9.6). */
static void linger(struct h1_conn *c)
{
    tell_gone(c, TR_ERR_CLIENT_GONE);
    tr_stream_shutdown(c->base.stream);
    bool quiet = c->input == H1_IN_DONE && c->asked_close && pending_input(c).len == 0;
    if (c->eof || quiet) {
        h1_close(c, false);
        return;
    }
    c->input = H1_IN_LINGER;
    c->dropped = 0;
    tr_bufpool_put(worker_of(c)->bufs, &c->in);
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
    c->deadline_ns = tr_loop_now_ns(worker_of(c)->loop) + delay_ns;
    if (tr_timer_running(&c->timer) && c->timer.due_ns <= c->deadline_ns)
        return;
    if (tr_timer_start(&c->timer, delay_ns) != TR_OK) {
        c->cut = true;
        tr_loop_defer(worker_of(c)->loop, &c->task);
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
        readable = readable && pending_input(c).len < H1_PIPELINE_MAX;
    /* The client is only late with a body that it has been asked for and that would be read. */
    if (c->input == H1_IN_BODY || c->input == H1_IN_DISCARD) {
        bool waits = readable && !c->expect;
        if (waits != (c->deadline == H1_DL_BODY))
            h1_set_deadline(c, waits ? H1_DL_BODY : H1_DL_NONE,
                            c->base.limits->body_idle_timeout_ns);
    }
    tr_stream_want(c->base.stream, readable, c->blocked);
}

void h1_discard_body(struct h1_conn *c)
{
    if (c->input != H1_IN_BODY)
        return;
    c->input = H1_IN_DISCARD;
    c->dropped = 0;
    /* Not sent yet (it waits for our 100), or more than is worth reading: the connection ends with
     * this answer. */
    if (c->expect || (!c->chunked_in && c->body_left > H1_DISCARD_MAX)) {
        c->close_after = true;
        c->input = H1_IN_SWALLOW;
        h1_set_deadline(c, H1_DL_NONE, 0);
    }
}

/* -- requests
 * ----------------------------------------------------------------------------------------------------
 */

static void stream_init(struct h1_conn *c)
{
    struct tr_hstream *hs = &c->hs;
    uint32_t id = hs->id + 1;
    memset(hs, 0, sizeof *hs);
    hs->ops = &h1_stream_ops;
    hs->conn = &c->base;
    hs->id = id;
    hs->start_ns = c->head_ns ? c->head_ns : tr_loop_now_ns(worker_of(c)->loop);
    hs->out = tr_bufpool_get(worker_of(c)->bufs);
    hs->head.scheme = tr_stream_is_tls(c->base.stream) ? TR_SPAN("https") : TR_SPAN("http");
    tr_arena_init(&hs->arena, worker_of(c)->blocks);
    c->head_ns = 0;
    c->unconsumed = 0;
    c->gone = c->deaf = c->expect = c->chunked_in = c->asked_close = false;
    h1_out_begin(c);
}

static void serve(struct h1_conn *c, enum tr_err refused, const struct tr_status *st)
{
    struct tr_req_head *head = &c->hs.head;
    h1_set_deadline(c, H1_DL_NONE, 0);
    c->is_head = head->method == TR_METHOD_HEAD;
    c->te_trailers = head->te_trailers;
    if (refused) {
        c->close_after = true;
        c->input = H1_IN_SWALLOW;
    } else {
        c->asked_close = head->version < 11 || tr_h1_says_close(&head->headers);
        c->close_after = c->asked_close || c->base.draining;
        c->expect = head->expect_continue;
        c->chunked_in = !head->end && head->content_length < 0;
        c->body_left = head->content_length > 0 ? (uint64_t)head->content_length : 0;
        c->input = head->end ? H1_IN_DONE : H1_IN_BODY;
        if (c->chunked_in)
            tr_h1_chunk_init(&c->chunk);
    }
    c->live = true;
    c->base.open_streams++;
    c->base.service->on_request(c->base.service->ctx, &c->hs, refused, st);
    TR_ASSERT(!c->live || c->hs.sink_ops);
    tr_loop_defer(worker_of(c)->loop, &c->task);
}

/* A head that cannot be served still becomes a stream, with as much of its first line as is known.
 */
static void refuse(struct h1_conn *c, struct tr_span buf, enum tr_err err, struct tr_status *st)
{
    stream_init(c);
    size_t len = c->scan.start + c->scan.method_len;
    if (c->scan.target_len)
        len += 1 + c->scan.target_len;
    struct tr_span line = tr_arena_copy(&c->hs.arena, tr_span_sub(buf, 0, len));
    if (line.ptr)
        tr_h1_parse_refused(line, &c->scan, &c->hs.head);
    serve(c, err, st);
}

static void start_request(struct h1_conn *c, struct tr_span head)
{
    struct tr_status st;
    tr_status_clear(&st);
    stream_init(c);
    char *copy = tr_arena_alloc(&c->hs.arena, head.len);
    enum tr_err err = TR_ERR_NOMEM;
    if (copy) {
        memcpy(copy, head.ptr, head.len);
        err = tr_h1_parse(copy, head.len, &c->scan, &c->hs.arena, &c->hs.head, &st);
    } else {
        (void)tr_fail(&st, err, "out of memory");
    }
    serve(c, err, &st);
}

/* The next request may begin. */
static void next_request(struct h1_conn *c)
{
    h1_out_reset(c);
    if (c->chunk.trailers.cap)
        tr_bufpool_put(worker_of(c)->bufs, &c->chunk.trailers);
    c->answer = H1_ANS_NONE;
    c->input = H1_IN_HEAD;
    tr_h1_scan_init(&c->scan);
    h1_set_deadline(c, H1_DL_IDLE, c->base.limits->keepalive_timeout_ns);
}

/* -- input
 * -----------------------------------------------------------------------------------------------------------
 */

static void body_failed(struct h1_conn *c, enum tr_err err)
{
    c->close_after = true;
    c->input = H1_IN_SWALLOW;
    h1_set_deadline(c, H1_DL_NONE, 0);
    tr_loop_defer(worker_of(c)->loop, &c->task);
    if (!sink_listens(c) || c->deaf || c->ended)
        return; /* the answer is complete: it goes out, and the connection ends */
    if (c->hs.head_sent) {
        h1_lost(c, err);
        return;
    }
    c->deaf = true;
    c->hs.sink_ops->on_body_error(c->hs.sink, err);
}

static void body_ended(struct h1_conn *c)
{
    bool wanted = c->input == H1_IN_BODY;
    c->input = H1_IN_DONE;
    h1_set_deadline(c, H1_DL_NONE, 0);
    tr_loop_defer(worker_of(c)->loop, &c->task);
    if (!wanted || !sink_listens(c) || c->deaf)
        return;
    struct tr_headers trailers = {0};
    if (c->chunked_in) {
        struct tr_status st;
        enum tr_err err = tr_h1_chunk_trailers(&c->chunk, &c->hs.arena, &trailers, &st);
        if (err) {
            body_failed(c, err);
            return;
        }
    }
    c->hs.sink_ops->on_end(c->hs.sink, trailers.count ? &trailers : NULL);
}

static void body_data(struct h1_conn *c, struct tr_span data)
{
    if (data.len == 0)
        return;
    if (c->input == H1_IN_BODY && sink_listens(c) && !c->deaf) {
        c->unconsumed += data.len;
        c->hs.sink_ops->on_data(c->hs.sink, data);
        return;
    }
    c->dropped += data.len;
    if (c->dropped > H1_DISCARD_MAX && c->input == H1_IN_DISCARD) {
        c->close_after = true;
        c->input = H1_IN_SWALLOW;
        tr_loop_defer(worker_of(c)->loop, &c->task);
    }
}

static size_t feed_body(struct h1_conn *c, struct tr_span data)
{
    struct tr_span rest = data;
    c->expect = false; /* the client did not wait for its 100 */
    h1_set_deadline(c, H1_DL_BODY, c->base.limits->body_idle_timeout_ns);
    if (!c->chunked_in) {
        size_t n = rest.len < c->body_left ? rest.len : (size_t)c->body_left;
        c->body_left -= n;
        body_data(c, tr_span_sub(rest, 0, n));
        if (c->body_left == 0 && !c->closed &&
            (c->input == H1_IN_BODY || c->input == H1_IN_DISCARD))
            body_ended(c);
        return n;
    }
    while (rest.len && !c->closed && (c->input == H1_IN_BODY || c->input == H1_IN_DISCARD)) {
        struct tr_span piece;
        enum tr_err err = tr_h1_chunk_next(&c->chunk, &c->limits, &rest, &piece, NULL);
        if (err) {
            body_failed(c, err);
            break;
        }
        body_data(c, piece);
        if (tr_h1_chunk_done(&c->chunk) && !c->closed &&
            (c->input == H1_IN_BODY || c->input == H1_IN_DISCARD))
            body_ended(c);
    }
    return data.len - rest.len;
}

static size_t feed_head(struct h1_conn *c, struct tr_span data)
{
    struct tr_status st;
    size_t len = 0;
    tr_status_clear(&st);
    enum tr_err err = tr_h1_scan(&c->scan, data, &c->limits, &len, &st);
    if (err == TR_ERR_AGAIN) {
        if (c->deadline != H1_DL_HEAD) {
            c->head_ns = tr_loop_now_ns(worker_of(c)->loop);
            h1_set_deadline(c, H1_DL_HEAD, c->base.limits->header_timeout_ns);
        }
        return 0;
    }
    if (err) {
        refuse(c, data, err, &st);
        return data.len;
    }
    start_request(c, tr_span_sub(data, 0, len));
    return len;
}

/* Uses as much of data as the state allows; the rest waits. */
static size_t feed(struct h1_conn *c, struct tr_span data)
{
    size_t used = 0;
    while (used < data.len && !c->closed) {
        struct tr_span rest = tr_span_from(data, used);
        size_t n = 0;
        switch ((enum h1_input)c->input) {
        case H1_IN_HEAD:
            n = feed_head(c, rest);
            break;
        case H1_IN_BODY:
        case H1_IN_DISCARD:
            n = feed_body(c, rest);
            break;
        case H1_IN_DONE:
            break;
        case H1_IN_SWALLOW:
        case H1_IN_LINGER:
            n = rest.len;
            c->dropped += n;
            break;
        }
        if (n == 0)
            break;
        used += n;
    }
    return used;
}

static void feed_pending(struct h1_conn *c)
{
    struct tr_span data = pending_input(c);
    if (data.len == 0)
        return;
    size_t used = feed(c, data);
    if (c->closed)
        return;
    c->in_pos += used;
    if (c->in_pos == c->in.len) {
        tr_bufpool_put(worker_of(c)->bufs, &c->in);
        c->in_pos = 0;
    } else if (c->in_pos > H1_PIPELINE_MAX) {
        tr_buf_consume(&c->in, c->in_pos);
        c->in_pos = 0;
    }
}

static void keep(struct h1_conn *c, struct tr_span rest)
{
    if (rest.len == 0 || c->closed)
        return;
    if (c->in.cap == 0) {
        c->in = tr_bufpool_get(worker_of(c)->bufs);
        c->in_pos = 0;
    }
    if (tr_buf_append(&c->in, rest) != TR_OK)
        h1_lost(c, TR_ERR_NOMEM);
}

/* FIN: an answer that is owed is cancelled (SPEC §9), one that is complete still goes out. */
static void input_ended(struct h1_conn *c)
{
    c->eof = true;
    if (c->input == H1_IN_LINGER ||
        (!c->live && h1_out_pending(c) == 0 && c->answer == H1_ANS_NONE)) {
        h1_close(c, false);
        return;
    }
    c->close_after = true;
    if (!c->ended || c->input == H1_IN_BODY)
        tell_gone(c, TR_ERR_CLIENT_GONE);
    if (!c->ended)
        c->cut = true;
    tr_loop_defer(worker_of(c)->loop, &c->task);
}

static void on_readable(void *ctx)
{
    struct h1_conn *c = ctx;
    h1_enter(c);
    char *buf = worker_of(c)->read_buf;
    ssize_t n = tr_stream_read(c->base.stream, buf, TR_HREAD_BYTES);
    if (n > 0) {
        struct tr_span data = tr_span(buf, (size_t)n);
        if (c->in.len > 0) {
            keep(c, data);
            if (!c->closed)
                feed_pending(c);
        } else {
            keep(c, tr_span_from(data, feed(c, data)));
        }
        if (!c->closed && c->input == H1_IN_LINGER && c->dropped > H1_LINGER_MAX)
            h1_close(c, false);
    } else if (n == 0) {
        input_ended(c);
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
    if (sink_listens(c) && !c->ended)
        c->hs.sink_ops->on_writable(c->hs.sink);
}

/* What follows when no byte waits for the socket. */
static void flushed(struct h1_conn *c)
{
    if (c->cut) {
        /* Where only the end of the connection delimits the body, a FIN would be taken for success.
         */
        if (c->to_eof || c->answer == H1_ANS_NONE) {
            tell_gone(c, TR_ERR_CLIENT_GONE);
            h1_close(c, c->to_eof);
        } else {
            linger(c);
        }
    } else if (answer_is_out(c) && c->close_after) {
        linger(c);
    } else if (answer_is_out(c) && c->input == H1_IN_DONE) {
        next_request(c);
        if (pending_input(c).len)
            tr_loop_defer(worker_of(c)->loop, &c->task);
        else if (c->base.draining)
            h1_close(c, false);
    } else if ((c->eof || c->base.draining) && c->input == H1_IN_HEAD && !c->live &&
               pending_input(c).len == 0) {
        h1_close(c, false);
    }
}

/* Answers to pipelined requests that are ready at once leave in one write. */
static bool fold_and_go_on(struct h1_conn *c)
{
    if (!answer_is_out(c) || c->input != H1_IN_DONE || c->close_after || c->cut ||
        pending_input(c).len == 0 || !h1_out_fold(c))
        return false;
    next_request(c);
    return true;
}

static void run(struct h1_conn *c)
{
    enum tr_err err = TR_OK;
    do {
        feed_pending(c);
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
    tr_loop_defer(worker_of(c)->loop, &c->task);
}

static void on_timer(struct tr_timer *timer)
{
    struct h1_conn *c = tr_container_of(timer, struct h1_conn, timer);
    if (c->deadline_ns == 0)
        return;
    uint64_t now = tr_loop_now_ns(worker_of(c)->loop);
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
        refuse(c, pending_input(c),
               tr_fail(&st, TR_ERR_HEADER_TIMEOUT, "the header section did not arrive in time"),
               &st);
        break;
    case H1_DL_BODY:
        body_failed(c, TR_ERR_BODY_TIMEOUT);
        break;
    case H1_DL_IDLE:
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
        if (pending_input(c).len == 0 && h1_out_pending(c) == 0)
            h1_close(c, false);
    } else {
        c->close_after = true;
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
