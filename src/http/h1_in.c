/* The input half of an HTTP/1.1 connection: bytes to heads, bodies and their ends. */
#include "base/assert.h"
#include "base/counter.h"
#include "http/h1_conn.h"

struct tr_span h1_in_pending(const struct h1_conn *c)
{
    if (c->in.len == 0)
        return tr_span(NULL, 0);
    return tr_span_from(tr_buf_span(&c->in), c->in_pos);
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
    hs->start_ns = c->head_ns ? c->head_ns : tr_loop_now_ns(c->base.worker->loop);
    hs->out = tr_bufpool_get(c->base.worker->bufs);
    hs->head.scheme = tr_stream_is_tls(c->base.stream) ? TR_SPAN("https") : TR_SPAN("http");
    tr_arena_init(&hs->arena, c->base.worker->blocks);
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
    h1_defer(c);
}

/* A head that cannot be served still becomes a stream, with as much of its first line as is known.
 */
void h1_in_refuse(struct h1_conn *c, struct tr_span buf, enum tr_err err, struct tr_status *st)
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
void h1_in_next(struct h1_conn *c)
{
    h1_out_reset(c);
    if (c->chunk.trailers.cap)
        tr_bufpool_put(c->base.worker->bufs, &c->chunk.trailers);
    c->answer = H1_ANS_NONE;
    c->input = H1_IN_HEAD;
    tr_h1_scan_init(&c->scan);
    h1_set_deadline(c, H1_DL_IDLE, c->base.limits->keepalive_timeout_ns);
}

/* -- bytes
 * -----------------------------------------------------------------------------------------------------------
 */

void h1_in_body_failed(struct h1_conn *c, enum tr_err err)
{
    c->close_after = true;
    c->input = H1_IN_SWALLOW;
    h1_set_deadline(c, H1_DL_NONE, 0);
    h1_defer(c);
    if (!h1_sink_listens(c) || c->deaf)
        return;
    if (c->ended) { /* the answer is complete and goes out, then the connection ends */
        h1_tell_gone(c, err);
        return;
    }
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
    h1_defer(c);
    if (!wanted || !h1_sink_listens(c) || c->deaf)
        return;
    struct tr_headers trailers = {0};
    if (c->chunked_in) {
        struct tr_status st;
        enum tr_err err = tr_h1_chunk_trailers(&c->chunk, &c->hs.arena, &trailers, &st);
        if (err) {
            h1_in_body_failed(c, err);
            return;
        }
    }
    c->hs.sink_ops->on_end(c->hs.sink, trailers.count ? &trailers : NULL);
}

void h1_in_discard_body(struct h1_conn *c)
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

static void body_data(struct h1_conn *c, struct tr_span data)
{
    if (data.len == 0)
        return;
    if (c->input == H1_IN_BODY && h1_sink_listens(c) && !c->deaf) {
        c->unconsumed += data.len;
        c->hs.sink_ops->on_data(c->hs.sink, data);
        return;
    }
    c->dropped += data.len;
    if (c->dropped > H1_DISCARD_MAX && c->input == H1_IN_DISCARD) {
        c->close_after = true;
        c->input = H1_IN_SWALLOW;
        h1_defer(c);
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
            h1_in_body_failed(c, err);
            break;
        }
        body_data(c, piece);
        if (tr_h1_chunk_done(&c->chunk) && !c->closed &&
            (c->input == H1_IN_BODY || c->input == H1_IN_DISCARD))
            body_ended(c);
    }
    return data.len - rest.len;
}

/* A first line, and what follows, without "HTTP/" is another protocol, as a spoilt HTTP/2 preface
 * is (RFC 9113 §3.4): the peer would not understand an answer. */
static bool is_other_protocol(const struct h1_conn *c, struct tr_span data)
{
    return c->hs.id == 0 && tr_span_find(data, '\n') < data.len &&
           !memmem(data.ptr, data.len, "HTTP/", 5) && !memmem(data.ptr, data.len, "http/", 5);
}

static size_t feed_head(struct h1_conn *c, struct tr_span data)
{
    struct tr_status st;
    size_t len = 0;
    tr_status_clear(&st);
    enum tr_err err = tr_h1_scan(&c->scan, data, &c->limits, &len, &st);
    if (err == TR_ERR_AGAIN) {
        if (c->deadline != H1_DL_HEAD) {
            c->head_ns = tr_loop_now_ns(c->base.worker->loop);
            h1_set_deadline(c, H1_DL_HEAD, c->base.limits->header_timeout_ns);
        }
        return 0;
    }
    if ((!err || err == TR_ERR_BAD_REQUEST_LINE) &&
        is_other_protocol(c, err ? data : tr_span_sub(data, 0, len))) {
        tr_count(&c->base.worker->err_counts[TR_ERR_BAD_REQUEST_LINE]);
        c->answer = H1_ANS_FORMED; /* of no bytes: our FIN follows */
        c->close_after = true;
        c->input = H1_IN_SWALLOW;
        h1_set_deadline(c, H1_DL_NONE, 0);
        h1_defer(c);
        return data.len;
    }
    if (err) {
        h1_in_refuse(c, data, err, &st);
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

void h1_in_feed_pending(struct h1_conn *c)
{
    struct tr_span data = h1_in_pending(c);
    if (data.len == 0)
        return;
    size_t used = feed(c, data);
    if (c->closed)
        return;
    c->in_pos += used;
    if (c->in_pos == c->in.len) {
        tr_bufpool_put(c->base.worker->bufs, &c->in);
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
        c->in = tr_bufpool_get(c->base.worker->bufs);
        c->in_pos = 0;
    }
    if (tr_buf_append(&c->in, rest) != TR_OK)
        h1_lost(c, TR_ERR_NOMEM);
}

void h1_in_take(struct h1_conn *c, struct tr_span data)
{
    if (c->in.len == 0) {
        keep(c, tr_span_from(data, feed(c, data)));
        return;
    }
    keep(c, data);
    if (!c->closed)
        h1_in_feed_pending(c);
}

/* FIN: an answer that is owed is cancelled (SPEC §9), one that is complete still goes out. */
void h1_in_ended(struct h1_conn *c)
{
    c->eof = true;
    if (c->input == H1_IN_LINGER ||
        (!c->live && h1_out_pending(c) == 0 && c->answer == H1_ANS_NONE)) {
        h1_close(c, false);
        return;
    }
    c->close_after = true;
    if (!c->ended || c->input == H1_IN_BODY)
        h1_tell_gone(c, TR_ERR_CLIENT_GONE);
    if (!c->ended)
        c->cut = true;
    h1_defer(c);
}
