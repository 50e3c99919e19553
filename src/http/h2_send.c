/* Streams of the server connection: their life, and the ops that the sink calls. */
#include "base/assert.h"
#include "base/bufpool.h"
#include "base/counter.h"
#include "http/h2_conn.h"

static struct tr_h2_conn *conn_of(const struct tr_h2_stream *st)
{
    return tr_h2_conn_of(st->hs.conn);
}

/* Nothing can be sent on the stream any more. */
static bool is_off(const struct tr_h2_stream *st)
{
    return st->closed || conn_of(st)->torn;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct tr_h2_stream *tr_h2_stream_new(struct tr_h2_conn *conn, int32_t id)
{
    struct tr_hworker *worker = conn->base.worker;
    struct tr_h2_stream *st = tr_h2_pool_alloc(conn->sess.pool, sizeof *st);
    if (!st)
        return NULL;
    memset(st, 0, sizeof *st);
    st->hs.ops = &tr_h2_stream_ops;
    st->hs.conn = &conn->base;
    tr_arena_init(&st->hs.arena, worker->blocks);
    st->hs.out = tr_bufpool_get(worker->bufs);
    st->hs.start_ns = st->recv_ns = st->sent_ns = tr_loop_now_ns(worker->loop);
    st->hs.id = (uint32_t)id;
    st->hs.head.content_length = -1;
    st->src = (struct tr_h2_source){.buf = &st->hs.out, .pos = &st->hs.out_pos};
    st->sink_off = true; /* until on_request */
    tr_list_push_back(&conn->streams, &st->node);
    return st;
}

/* Lets go of the answer bytes that will not be sent. */
static void drop_output(struct tr_h2_stream *st)
{
    struct tr_h2_conn *conn = conn_of(st);
    size_t queued = tr_h2_source_queued(&st->src);
    TR_DCHECK(conn->buffered >= queued);
    conn->buffered -= queued;
    st->src.dead = true;
}

static void stream_free(struct tr_h2_stream *st)
{
    struct tr_h2_conn *conn = conn_of(st);
    tr_list_remove(&st->node);
    if (tr_list_empty(&conn->streams))
        conn->idle_ns = tr_loop_now_ns(conn->base.worker->loop);
    tr_bufpool_put(conn->base.worker->bufs, &st->hs.out);
    tr_arena_fini(&st->hs.arena);
    if (st->requested)
        conn->base.open_streams--;
    tr_h2_pool_free(conn->sess.pool, st);
}

void tr_h2_stream_closed(struct tr_h2_stream *st, enum tr_err why)
{
    drop_output(st);
    tr_h2_window_end(&conn_of(st)->sess, &st->window);
    st->closed = true;
    if (!st->sink_off && !(st->local_end && st->remote_end)) {
        st->sink_off = true;
        st->telling = true;
        st->hs.sink_ops->on_gone(st->hs.sink, why);
        st->telling = false;
    }
    if (st->released || !st->requested)
        stream_free(st);
}

void tr_h2_stream_rst(struct tr_h2_stream *st, uint32_t code)
{
    struct tr_h2_conn *conn = conn_of(st);
    if (is_off(st))
        return;
    drop_output(st);
    (void)nghttp2_submit_rst_stream(conn->sess.ng, NGHTTP2_FLAG_NONE, (int32_t)st->hs.id, code);
    tr_h2_conn_kick(conn);
}

/* ---- backpressure ---------------------------------------------------------------------------- */

/* Room of the whole connection, with a gap between stopping and going on. */
static bool conn_has_room(const struct tr_h2_conn *conn)
{
    return conn->buffered < (size_t)conn->base.limits->max_buffered_bytes / 4 * 3;
}

void tr_h2_conn_writable(struct tr_h2_conn *conn)
{
    bool all = conn->held;
    conn->writable_due = false;
    if (!conn_has_room(conn))
        return;
    conn->held = false;
    tr_list_for_each (it, next, &conn->streams) {
        struct tr_h2_stream *st = tr_container_of(it, struct tr_h2_stream, node);
        if (st->sink_off || st->closed || st->ended || !(all || st->above_high))
            continue;
        /* What was held for the connection's sake and has much to send itself is told later. */
        st->above_high = tr_h2_source_queued(&st->src) >= TR_OUT_LOW_BYTES;
        if (st->above_high)
            continue;
        st->hs.sink_ops->on_writable(st->hs.sink);
    }
}

static size_t op_queued(const struct tr_hstream *hs)
{
    const struct tr_h2_stream *st =
        (const struct tr_h2_stream *)(const void *)((const char *)hs -
                                                    offsetof(struct tr_h2_stream, hs));
    struct tr_h2_conn *conn = tr_h2_conn_of(hs->conn);
    size_t queued = tr_h2_source_queued(&st->src);
    if (conn->buffered < conn->base.limits->max_buffered_bytes)
        return queued;
    if (!conn->held)
        tr_count(&conn->base.worker->stats.held);
    conn->held = true; /* on_writable comes to all when there is room again */
    return queued > TR_OUT_HIGH_BYTES ? queued : TR_OUT_HIGH_BYTES;
}

/* ---- ops ------------------------------------------------------------------------------------- */

static void op_send_continue(struct tr_hstream *hs)
{
    struct tr_h2_stream *st = tr_h2_stream_of(hs);
    struct tr_h2_conn *conn = conn_of(st);
    if (is_off(st) || st->sent_100 || hs->head_sent || !hs->head.expect_continue || st->remote_end)
        return;
    st->sent_100 = true;
    nghttp2_nv nv = tr_h2_nv_static(":status", 7, TR_SPAN("100"));
    (void)nghttp2_submit_headers(conn->sess.ng, NGHTTP2_FLAG_NONE, (int32_t)hs->id, NULL, &nv, 1,
                                 NULL);
    tr_h2_conn_kick(conn);
}

static size_t put_decimal(char *end, uint64_t v)
{
    size_t n = 0;
    do {
        end[-(ptrdiff_t)++n] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    return n;
}

static enum tr_err op_send_head(struct tr_hstream *hs, const struct tr_resp_head *head, bool end)
{
    struct tr_h2_stream *st = tr_h2_stream_of(hs);
    struct tr_h2_conn *conn = conn_of(st);
    if (is_off(st) || hs->head_sent)
        return TR_ERR_CLIENT_GONE;
    nghttp2_nv stack[TR_H2_NV_STACK];
    size_t count = 0;
    nghttp2_nv *nva = tr_h2_nvs(&conn->sess, head->headers.count + 3u, stack);
    if (!nva)
        return TR_ERR_NOMEM;
    char status[3], length[20];
    (void)put_decimal(status + 3, head->status % 1000u);
    nva[count++] = tr_h2_nv_static(":status", 7, tr_span(status, 3));
    for (uint32_t i = 0; i < head->headers.count; i++)
        nva[count++] = tr_h2_nv(&head->headers.items[i]);
    if (head->content_length >= 0) {
        size_t n = put_decimal(length + sizeof length, (uint64_t)head->content_length);
        nva[count++] =
            tr_h2_nv_static("content-length", 14, tr_span(length + sizeof length - n, n));
    }
    nva[count++] = tr_h2_nv_static("date", 4, tr_hworker_date(conn->base.worker));
    nghttp2_data_provider body = tr_h2_source_provider(&st->src);
    int rv =
        nghttp2_submit_response(conn->sess.ng, (int32_t)hs->id, nva, count, end ? NULL : &body);
    tr_h2_nvs_done(&conn->sess, nva, stack);
    if (rv != 0)
        return TR_ERR_NOMEM;
    hs->head_sent = true;
    st->ended = end;
    tr_h2_conn_kick(conn);
    return TR_OK;
}

static void op_commit(struct tr_hstream *hs, bool end)
{
    struct tr_h2_stream *st = tr_h2_stream_of(hs);
    struct tr_h2_conn *conn = conn_of(st);
    if (is_off(st) || st->ended || st->src.dead)
        return;
    TR_DCHECK(hs->head_sent);
    if (tr_h2_source_queued(&st->src) == 0)
        st->sent_ns = tr_loop_now_ns(conn->base.worker->loop);
    tr_h2_source_compact(&st->src, false);
    conn->buffered += tr_h2_source_commit(&st->src, end);
    st->ended = end;
    if (tr_h2_source_queued(&st->src) >= TR_OUT_HIGH_BYTES)
        st->above_high = true;
    tr_h2_source_resume(&conn->sess, (int32_t)hs->id, &st->src);
    tr_h2_conn_kick(conn);
}

static enum tr_err op_send_trailers(struct tr_hstream *hs, const struct tr_headers *trailers)
{
    struct tr_h2_stream *st = tr_h2_stream_of(hs);
    if (is_off(st) || st->ended)
        return TR_ERR_CLIENT_GONE;
    for (uint32_t i = 0; i < trailers->count; i++) {
        const struct tr_header *t = &trailers->items[i];
        struct tr_span name =
            t->token ? tr_token_name(t->token) : tr_arena_copy(&hs->arena, t->name);
        struct tr_span value = tr_arena_copy(&hs->arena, t->value);
        if (!name.ptr || !value.ptr ||
            tr_headers_add(&st->trailers_out, &hs->arena, name, value, t->token) != TR_OK)
            return TR_ERR_NOMEM;
    }
    if (trailers->count)
        st->src.trailers = &st->trailers_out;
    op_commit(hs, true);
    return TR_OK;
}

static void op_reset(struct tr_hstream *hs, enum tr_hreset why)
{
    static const uint32_t codes[] = {
        [TR_HRESET_INTERNAL] = NGHTTP2_INTERNAL_ERROR,
        [TR_HRESET_CANCEL] = NGHTTP2_CANCEL,
        [TR_HRESET_REFUSED] = NGHTTP2_REFUSED_STREAM,
        [TR_HRESET_NO_ERROR] = NGHTTP2_NO_ERROR,
    };
    struct tr_h2_stream *st = tr_h2_stream_of(hs);
    if (is_off(st) || st->own_reset)
        return;
    st->sink_off = true;
    st->own_reset = true;
    /* RST_STREAM overtakes DATA: after a complete answer it waits for END_STREAM, after the
     * beginning of one for what can be sent of it. */
    if (why == TR_HRESET_NO_ERROR && st->ended && !st->local_end) {
        st->no_error_due = true;
    } else if (why == TR_HRESET_INTERNAL && hs->head_sent && !st->ended) {
        st->error_due = conn_of(st)->errors_due = true;
        tr_h2_conn_kick(conn_of(st));
    } else if (!(st->local_end && st->remote_end)) {
        tr_h2_stream_rst(st, codes[why]);
    }
}

static void op_consume(struct tr_hstream *hs, size_t bytes)
{
    struct tr_h2_stream *st = tr_h2_stream_of(hs);
    struct tr_h2_conn *conn = conn_of(st);
    TR_DCHECK(bytes <= st->unconsumed);
    st->unconsumed -= (uint32_t)bytes;
    if (is_off(st) || st->remote_end)
        return;
    st->recv_ns = tr_loop_now_ns(conn->base.worker->loop);
    tr_h2_window_consume(&conn->sess, (int32_t)hs->id, &st->window, bytes);
    tr_h2_conn_kick(conn);
}

static void op_release(struct tr_hstream *hs)
{
    struct tr_h2_stream *st = tr_h2_stream_of(hs);
    struct tr_h2_conn *conn = conn_of(st);
    TR_DCHECK(!st->released);
    if (!is_off(st) && !st->own_reset && !(st->ended && st->remote_end))
        op_reset(hs, st->ended ? TR_HRESET_NO_ERROR : TR_HRESET_INTERNAL);
    st->sink_off = true;
    st->released = true;
    if (st->closed && !st->telling) {
        stream_free(st);
        tr_h2_conn_settle(conn);
    }
}

const struct tr_hstream_ops tr_h2_stream_ops = {
    op_send_continue, op_send_head, op_commit, op_send_trailers,
    op_reset,         op_consume,   op_queued, op_release,
};
