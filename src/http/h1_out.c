#include "base/assert.h"
#include "http/h1_conn.h"
#include "http/h1_emit.h"

static struct h1_conn *conn_of(struct tr_hstream *hs)
{
    return tr_container_of(hs, struct h1_conn, hs);
}

void h1_out_begin(struct h1_conn *c)
{
    c->answer = H1_ANS_NONE;
    c->committed = 0;
    c->length = -1;
    c->formed_bytes = 0;
    c->no_body = c->chunked_out = c->to_eof = false;
    c->ended = c->cut = c->over_high = false;
}

static size_t trailers_left(const struct h1_conn *c)
{
    return c->answer == H1_ANS_FORMED ? c->trailers.len - c->trailers_pos : 0;
}

size_t h1_out_pending(const struct h1_conn *c)
{
    return c->stage.len - c->stage_pos + c->body_now + c->tail.len + trailers_left(c);
}

/* How the body is delimited (RFC 9112 §6.3). Decided as late as the write, so that an answer which
 * is complete by then has a Content-Length whether or not the sink knew it, and `close` tells the
 * truth. */
static enum tr_err form_framing(struct h1_conn *c)
{
    struct tr_h1_framing f = {.content_length = -1};
    f.date = tr_hworker_date(c->base.worker);
    if (c->length == -2) {
        c->no_body = true;
    } else if (c->length >= 0) {
        f.content_length = c->length;
    } else if (c->ended && c->trailers.len == 0) {
        f.content_length = c->length = (int64_t)(c->committed - c->hs.out_pos);
    } else if (!c->is_head) {
        if (c->hs.head.version >= 11)
            f.chunked = c->chunked_out = true;
        else
            c->to_eof = c->close_after = true;
    }
    c->no_body |= c->is_head;
    f.close = c->close_after;
    enum tr_err err = tr_h1_emit_framing(&c->stage, &f);
    if (!err)
        c->answer = H1_ANS_BODY;
    return err;
}

static enum tr_err form_body(struct h1_conn *c)
{
    size_t n = c->committed - c->hs.out_pos;
    if (n == 0)
        return TR_OK;
    if (c->no_body) {
        c->hs.out_pos = c->committed;
        return TR_OK;
    }
    if (c->length >= 0 && c->formed_bytes + n > (uint64_t)c->length) {
        n = (size_t)((uint64_t)c->length -
                     c->formed_bytes); /* our bug, but never the next answer's bytes */
        c->cut = true;
    }
    if (c->chunked_out) {
        enum tr_err err = tr_h1_emit_chunk_size(&c->stage, n);
        if (err)
            return err;
        c->tail = TR_SPAN("\r\n");
    }
    c->body_now = n;
    c->formed_bytes += n;
    return TR_OK;
}

static void form_end(struct h1_conn *c)
{
    if (c->chunked_out) {
        bool open = c->body_now > 0, more = c->trailers.len > 0;
        if (open)
            c->tail = more ? TR_SPAN("\r\n0\r\n") : TR_SPAN("\r\n0\r\n\r\n");
        else
            c->tail = more ? TR_SPAN("0\r\n") : TR_SPAN("0\r\n\r\n");
    } else {
        c->trailers.len = 0;
        if (!c->no_body && c->length >= 0 && c->formed_bytes != (uint64_t)c->length)
            c->cut = true;
    }
    c->answer = H1_ANS_FORMED;
}

enum tr_err h1_out_form(struct h1_conn *c)
{
    /* Trailers stand ready from send_trailers on, but belong to the pieces only when the answer is
     * formed. */
    if (c->answer == H1_ANS_NONE || c->answer == H1_ANS_FORMED || c->body_now || c->tail.len)
        return TR_OK;
    enum tr_err err = TR_OK;
    if (c->answer == H1_ANS_HEAD)
        err = form_framing(c);
    if (!err)
        err = form_body(c);
    if (!err && c->ended && !c->cut)
        form_end(c);
    return err;
}

bool h1_out_fold(struct h1_conn *c)
{
    size_t room = c->body_now + c->tail.len + c->trailers.len - c->trailers_pos;
    if (c->stage.len + room > H1_FOLD_MAX || tr_buf_reserve(&c->stage, room) != TR_OK)
        return false;
    char *end = tr_buf_end(&c->stage);
    if (c->body_now)
        memcpy(end, c->hs.out.ptr + c->hs.out_pos, c->body_now);
    end += c->body_now;
    if (c->tail.len)
        memcpy(end, c->tail.ptr, c->tail.len);
    end += c->tail.len;
    if (c->trailers.len > c->trailers_pos)
        memcpy(end, c->trailers.ptr + c->trailers_pos, c->trailers.len - c->trailers_pos);
    c->stage.len += room;
    c->body_now = 0;
    c->tail.len = 0;
    c->trailers.len = c->trailers_pos = 0;
    return true;
}

static size_t take(size_t *n, size_t have)
{
    size_t t = *n < have ? *n : have;
    *n -= t;
    return t;
}

static void advance(struct h1_conn *c, size_t n)
{
    c->stage_pos += take(&n, c->stage.len - c->stage_pos);
    if (c->stage_pos == c->stage.len)
        c->stage.len = c->stage_pos = 0;
    size_t body = take(&n, c->body_now);
    c->body_now -= body;
    c->hs.out_pos += body;
    if (c->tail.len)
        c->tail = tr_span_from(c->tail, take(&n, c->tail.len));
    c->trailers_pos += n;
    if (c->hs.out_pos == c->hs.out.len) {
        c->hs.out.len = c->hs.out_pos = c->committed = 0;
    } else if (c->hs.out_pos >= TR_OUT_LOW_BYTES && c->hs.out_pos >= c->hs.out.len / 2) {
        tr_buf_consume(&c->hs.out, c->hs.out_pos);
        c->committed -= c->hs.out_pos;
        c->hs.out_pos = 0;
    }
}

enum tr_err h1_out_write(struct h1_conn *c)
{
    struct tr_span pieces[4];
    int count = 0;
    size_t total = 0;
    if (c->stage.len > c->stage_pos)
        pieces[count++] = tr_span_from(tr_buf_span(&c->stage), c->stage_pos);
    if (c->body_now)
        pieces[count++] = tr_span(c->hs.out.ptr + c->hs.out_pos, c->body_now);
    if (c->tail.len)
        pieces[count++] = c->tail;
    if (trailers_left(c))
        pieces[count++] = tr_span_from(tr_buf_span(&c->trailers), c->trailers_pos);
    for (int i = 0; i < count; i++)
        total += pieces[i].len;
    if (total == 0)
        return TR_OK;
    ssize_t n = count == 1 ? tr_stream_write(c->base.stream, pieces[0].ptr, pieces[0].len)
                           : tr_stream_writev(c->base.stream, pieces, count);
    if (n < 0)
        return TR_ERR_CLIENT_GONE;
    advance(c, (size_t)n);
    c->blocked = (size_t)n < total;
    if (!c->blocked)
        tr_timer_stop(&c->write_timer);
    else if (n > 0 || !tr_timer_running(&c->write_timer))
        return tr_timer_start(&c->write_timer, c->base.limits->write_timeout_ns);
    return TR_OK;
}

void h1_out_reset(struct h1_conn *c)
{
    struct tr_bufpool *bufs = c->base.worker->bufs;
    tr_bufpool_put(bufs, &c->hs.out);
    c->hs.out_pos = c->committed = 0;
    if (c->trailers.cap) {
        tr_bufpool_put(bufs, &c->trailers);
        c->trailers_pos = 0;
    }
    if (c->stage.len == 0 && c->stage.cap)
        tr_bufpool_put(bufs, &c->stage);
}

/* -- what the sink calls
 * ----------------------------------------------------------------------------------- */

static bool is_over(const struct h1_conn *c)
{
    return c->gone || c->closed;
}

static enum tr_err stage_ready(struct h1_conn *c)
{
    if (c->stage.cap == 0)
        c->stage = tr_bufpool_get(c->base.worker->bufs);
    return tr_buf_reserve(&c->stage, 512);
}

static void op_send_continue(struct tr_hstream *hs)
{
    struct h1_conn *c = conn_of(hs);
    if (is_over(c) || !c->expect || hs->head_sent)
        return;
    if (stage_ready(c) != TR_OK ||
        tr_buf_append(&c->stage, TR_SPAN("HTTP/1.1 100 Continue\r\n\r\n")) != TR_OK) {
        c->cut = true;
    } else {
        c->expect = false;
        h1_update_want(c);
    }
    h1_defer(c);
}

static enum tr_err op_send_head(struct tr_hstream *hs, const struct tr_resp_head *head, bool end)
{
    struct h1_conn *c = conn_of(hs);
    if (is_over(c))
        return TR_ERR_CLIENT_GONE;
    TR_DCHECK(!hs->head_sent);
    enum tr_err err = stage_ready(c);
    if (!err)
        err = tr_h1_emit_head(&c->stage, head);
    if (err)
        return err;
    hs->head_sent = true;
    c->answer = H1_ANS_HEAD;
    c->length = head->content_length >= 0 ? head->content_length : -1;
    if (head->status == 204 || head->status == 304 || head->content_length == -2)
        c->length = -2;
    c->ended |= end;
    h1_defer(c);
    return TR_OK;
}

static void op_commit(struct tr_hstream *hs, bool end)
{
    struct h1_conn *c = conn_of(hs);
    if (is_over(c))
        return;
    c->committed = hs->out.len;
    c->ended |= end;
    if (hs->out.len - hs->out_pos >= TR_OUT_HIGH_BYTES)
        c->over_high = true;
    h1_defer(c);
}

static enum tr_err op_send_trailers(struct tr_hstream *hs, const struct tr_headers *trailers)
{
    struct h1_conn *c = conn_of(hs);
    if (is_over(c))
        return TR_ERR_CLIENT_GONE;
    c->committed = hs->out.len;
    /* RFC 9112 §7.1.2 has them only in a chunked body; the client asked with "TE: trailers". */
    if (trailers->count && c->te_trailers && !c->is_head && c->length == -1) {
        c->trailers = tr_bufpool_get(c->base.worker->bufs);
        c->trailers_pos = 0;
        enum tr_err err = tr_h1_emit_trailers(&c->trailers, trailers);
        if (err)
            return err;
    }
    c->ended = true;
    h1_defer(c);
    return TR_OK;
}

static void op_reset(struct tr_hstream *hs, enum tr_hreset why)
{
    struct h1_conn *c = conn_of(hs);
    if (is_over(c))
        return;
    if (why == TR_HRESET_NO_ERROR && c->ended) {
        c->deaf = true;
        h1_in_discard_body(c);
    } else {
        c->cut = true;
        c->gone = true;
    }
    h1_defer(c);
}

static void op_consume(struct tr_hstream *hs, size_t bytes)
{
    struct h1_conn *c = conn_of(hs);
    TR_DCHECK(bytes <= c->unconsumed);
    c->unconsumed -= bytes <= c->unconsumed ? bytes : c->unconsumed;
    if (!is_over(c) && c->input == H1_IN_BODY)
        h1_update_want(c);
}

static size_t op_queued(const struct tr_hstream *hs)
{
    return hs->out.len - hs->out_pos;
}

static void op_release(struct tr_hstream *hs)
{
    struct h1_conn *c = conn_of(hs);
    TR_ASSERT(c->live);
    h1_enter(c);
    c->live = false;
    c->base.open_streams--;
    if (!c->closed) {
        if (!c->ended)
            c->cut = true;
        c->deaf = true;
        h1_in_discard_body(c);
        h1_defer(c);
    } else {
        tr_bufpool_put(c->base.worker->bufs, &hs->out);
    }
    tr_arena_reset(&hs->arena);
    h1_leave(c);
}

const struct tr_hstream_ops h1_stream_ops = {
    .send_continue = op_send_continue,
    .send_head = op_send_head,
    .commit = op_commit,
    .send_trailers = op_send_trailers,
    .reset = op_reset,
    .consume = op_consume,
    .queued = op_queued,
    .release = op_release,
};
