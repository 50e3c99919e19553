/* What nghttp2 tells the server connection: heads, bodies, ends and floods. */
#include "base/assert.h"
#include "base/counter.h"
#include "http/h2_conn.h"

#define FLOOD_BURST     2000 /* frames that carry nothing */
#define FLOOD_A_SECOND  200
#define FLOOD_EARNED    4 /* given back for each frame of ours that carries something */
#define RESETS_A_SECOND 10
#define CROSSING_NS     ((uint64_t)10 * 1000 * 1000 * 1000) /* frames sent before a reset was seen */
#define BOMB_FACTOR     4 /* a header section that is this many times above its limits is an attack */
#define FIELD_EXTRA     32 /* RFC 9113 §10.5.1: what each field counts besides its bytes */
#define UNRELEASED_TIMES                                                                           \
    2 /* hstreams against max_concurrent_streams: beyond it, streams are refused */

static struct tr_h2_stream *stream_of(nghttp2_session *ng, int32_t id)
{
    return nghttp2_session_get_stream_user_data(ng, id);
}

static uint64_t now_ns(const struct tr_h2_conn *conn)
{
    return tr_loop_now_ns(conn->base.worker->loop);
}

static void empty_frame(struct tr_h2_conn *conn)
{
    if (!tr_h2_bucket_take(&conn->flood, FLOOD_BURST, FLOOD_A_SECOND, now_ns(conn)))
        tr_h2_conn_quit(conn, TR_ERR_H2_FLOOD, NGHTTP2_ENHANCE_YOUR_CALM);
}

void tr_h2_conn_count_frame(struct tr_h2_conn *conn, const struct tr_h2_frame_head *f)
{
    switch (f->type) {
    case NGHTTP2_HEADERS: /* opens or ends something, or is an error */
    case NGHTTP2_CONTINUATION:
    case NGHTTP2_RST_STREAM: /* from the bucket of resets, when it cut something short */
        return;
    case NGHTTP2_DATA:
        if (f->len == 0 && !(f->flags & NGHTTP2_FLAG_END_STREAM))
            empty_frame(conn);
        return;
    case NGHTTP2_SETTINGS:
        if (!conn->got_settings)
            return;
        break;
    default: /* PING, PRIORITY, WINDOW_UPDATE, and what is not known */
        break;
    }
    empty_frame(conn);
}

/* Resets by the client, and resets that the client made us send (RFC 9113 §10.5, and
 * CVE-2023-44487, CVE-2025-8671). */
static void resets_take(struct tr_h2_conn *conn)
{
    if (!tr_h2_bucket_take(&conn->resets, conn->base.limits->max_resets, RESETS_A_SECOND,
                           now_ns(conn)))
        tr_h2_conn_quit(conn, TR_ERR_H2_RESETS, NGHTTP2_ENHANCE_YOUR_CALM);
}

/* ---- heads ----------------------------------------------------------------------------------- */

/* True when the id was skipped by the client, which closes it for ever (RFC 9113 §5.1.1). */
static bool id_was_skipped(const struct tr_h2_conn *conn, uint32_t id)
{
    for (size_t i = 0; i < TR_H2_GAPS; i++) {
        if (id >= conn->gaps[i].first && id <= conn->gaps[i].last)
            return true;
    }
    return false;
}

/* Frames may have crossed with a reset of ours, so that they are let pass for a while after one. */
bool tr_h2_conn_closed_is_error(const struct tr_h2_conn *conn, int32_t id)
{
    if (nghttp2_session_get_stream_remote_close(conn->sess.ng, id) >= 0 || conn->drain_step >= 2)
        return false;
    return conn->refused_ns == 0 || now_ns(conn) - conn->refused_ns > CROSSING_NS;
}

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *user)
{
    (void)ng;
    struct tr_h2_conn *conn = tr_h2_conn_of_sess(user);
    uint32_t id = (uint32_t)hd->stream_id;
    if (hd->type != NGHTTP2_HEADERS || (id & 1) == 0)
        return 0;
    if (id <= conn->last_id) {
        if (id_was_skipped(conn, id))
            tr_h2_conn_quit(conn, TR_ERR_H2_PROTOCOL, NGHTTP2_PROTOCOL_ERROR);
        else if (tr_h2_conn_closed_is_error(conn, hd->stream_id))
            tr_h2_conn_quit(conn, TR_ERR_H2_PROTOCOL, NGHTTP2_STREAM_CLOSED);
        return 0;
    }
    if (id > conn->last_id + 2) {
        conn->gaps[conn->gap_next] =
            (struct tr_h2_gap){conn->last_id ? conn->last_id + 2 : 1, id - 2};
        conn->gap_next = (conn->gap_next + 1) % TR_H2_GAPS;
    }
    conn->last_id = id;
    return 0;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct tr_h2_conn *conn = tr_h2_conn_of_sess(user);
    int32_t id = frame->hd.stream_id;
    conn->head_ns = now_ns(conn);
    conn->head_id = id;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        struct tr_h2_stream *st = stream_of(ng, id);
        if (st)
            st->field_bytes = st->field_count = 0;
        return 0;
    }
    tr_h2_conn_active(conn);
    if (conn->base.open_streams >= conn->base.limits->max_concurrent_streams * UNRELEASED_TIMES) {
        conn->refused_ns = now_ns(conn);
        tr_count(&conn->base.worker->stats.streams_refused);
        (void)nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
        return 0;
    }
    struct tr_h2_stream *st = tr_h2_stream_new(conn, id);
    if (!st)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    (void)nghttp2_session_set_stream_user_data(ng, id, st);
    return 0;
}

/* Names and values of HPACK's static table need no copy. */
static bool take_text(struct tr_h2_stream *st, nghttp2_rcbuf *rc, struct tr_span *ret_text)
{
    nghttp2_vec v = nghttp2_rcbuf_get_buf(rc);
    struct tr_span s = tr_span((const char *)v.base, v.len);
    *ret_text = nghttp2_rcbuf_is_static(rc) ? s : tr_arena_copy(&st->hs.arena, s);
    return ret_text->ptr != NULL;
}

static void refuse(struct tr_h2_stream *st, enum tr_err err)
{
    if (!st->refused)
        st->refused = err;
}

/* False when the field is not to be kept. A section far above its limits ends the connection:
 * decoding it is work that a few bytes of HPACK can make very large. */
static bool within_limits(struct tr_h2_conn *conn, struct tr_h2_stream *st, size_t bytes,
                          bool pseudo)
{
    const struct tr_hlimits *l = conn->base.limits;
    st->field_count += !pseudo; /* they are the request line and Host of HTTP/1.1 */
    st->field_bytes += (uint32_t)(bytes < UINT32_MAX / 4 ? bytes : UINT32_MAX / 4) + FIELD_EXTRA;
    bool many = st->field_count > l->max_headers, large = st->field_bytes > l->max_header_bytes;
    if (!many && !large)
        return true;
    if (st->field_count / BOMB_FACTOR > l->max_headers ||
        st->field_bytes / BOMB_FACTOR > l->max_header_bytes)
        tr_h2_conn_quit(conn, TR_ERR_H2_FLOOD, NGHTTP2_ENHANCE_YOUR_CALM);
    refuse(st, large ? TR_ERR_HEADERS_TOO_LARGE : TR_ERR_TOO_MANY_HEADERS);
    return false;
}

static void set_pseudo(struct tr_h2_conn *conn, struct tr_h2_stream *st, struct tr_span name,
                       struct tr_span value)
{
    struct tr_req_head *h = &st->hs.head;
    if (tr_span_eq(name, TR_SPAN(":method"))) {
        h->method_text = value;
        h->method = tr_method_from(value);
    } else if (tr_span_eq(name, TR_SPAN(":path"))) {
        st->target = value;
        /* as in HTTP/1.1 the query counts with the header section alone */
        if (tr_span_find(value, '?') > conn->base.limits->max_path_bytes)
            refuse(st, TR_ERR_TARGET_TOO_LONG);
    } else if (tr_span_eq(name, TR_SPAN(":scheme"))) {
        h->scheme = value;
    } else if (tr_span_eq(name, TR_SPAN(":authority"))) {
        h->authority = value;
    }
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name_rc,
                     nghttp2_rcbuf *value_rc, uint8_t flags, void *user)
{
    (void)flags;
    struct tr_h2_conn *conn = tr_h2_conn_of_sess(user);
    struct tr_h2_stream *st = stream_of(ng, frame->hd.stream_id);
    /* A released stream's arena still stands, but nobody will read its trailers. */
    if (!st || st->released || conn->quitting)
        return 0;
    nghttp2_vec n = nghttp2_rcbuf_get_buf(name_rc), v = nghttp2_rcbuf_get_buf(value_rc);
    if (!within_limits(conn, st, n.len + v.len, n.len && n.base[0] == ':'))
        return 0;
    struct tr_span name, value;
    if (!take_text(st, name_rc, &name) || !take_text(st, value_rc, &value))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    bool trailer = st->requested;
    if (name.len && name.ptr[0] == ':') {
        set_pseudo(conn, st, name, value);
        return 0;
    }
    if (tr_headers_add(trailer ? &st->trailers_in : &st->hs.head.headers, &st->hs.arena, name,
                       value, tr_token_from(name)) != TR_OK)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return 0;
}

/* Fields that are malformed in a way that nghttp2 would let pass without them: the request is
 * refused instead. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                             nghttp2_rcbuf *value, uint8_t flags, void *user)
{
    (void)name;
    (void)value;
    (void)flags;
    (void)user;
    struct tr_h2_stream *st = stream_of(ng, frame->hd.stream_id);
    if (!st || st->requested)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    refuse(st, TR_ERR_BAD_HEADER);
    return 0;
}

static void head_complete(struct tr_h2_conn *conn, struct tr_h2_stream *st, bool end)
{
    struct tr_status status;
    struct tr_req_head *head = &st->hs.head;
    tr_status_clear(&status);
    head->version = 20;
    head->end = end;
    enum tr_err err = tr_req_head_finish(head, st->target, &status);
    if (st->refused) {
        tr_status_clear(&status);
        err = status.err = st->refused;
    }
    st->requested = true;
    st->remote_end = end;
    st->recv_ns = now_ns(conn);
    conn->base.open_streams++;
    st->sink_off = false;
    conn->base.service->on_request(conn->base.service->ctx, &st->hs, err, &status);
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                   void *user)
{
    (void)flags;
    struct tr_h2_conn *conn = tr_h2_conn_of_sess(user);
    /* The connection's window is never the limit: each stream has its own. */
    (void)nghttp2_session_consume_connection(ng, len);
    struct tr_h2_stream *st = stream_of(ng, id);
    if (!st || st->sink_off || conn->quitting)
        return 0;
    st->recv_ns = now_ns(conn);
    st->unconsumed += (uint32_t)len;
    st->hs.sink_ops->on_data(st->hs.sink, tr_span((const char *)data, len));
    return 0;
}

static void body_end(struct tr_h2_stream *st, const struct tr_headers *trailers)
{
    st->remote_end = true;
    if (!st->sink_off)
        st->hs.sink_ops->on_end(st->hs.sink, trailers);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct tr_h2_conn *conn = tr_h2_conn_of_sess(user);
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    struct tr_h2_stream *st;
    if (conn->quitting)
        return 0;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        conn->head_ns = 0;
        st = stream_of(ng, frame->hd.stream_id);
        if (!st)
            break;
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
            head_complete(conn, st, end);
        else if (end)
            body_end(st, &st->trailers_in);
        break;
    case NGHTTP2_DATA:
        if (end) {
            st = stream_of(ng, frame->hd.stream_id);
            if (st)
                body_end(st, NULL);
        } else if (frame->hd.length && frame->hd.length <= frame->data.padlen) {
            empty_frame(conn);
        }
        break;
    case NGHTTP2_SETTINGS:
        conn->got_settings = true;
        break;
    case NGHTTP2_RST_STREAM:
        /* the stream is still known here when the reset cut something short */
        st = stream_of(ng, frame->hd.stream_id);
        if (st && !(st->remote_end && st->local_end))
            resets_take(conn);
        else
            empty_frame(conn);
        break;
    default:
        break;
    }
    return 0;
}

/* DATA or HEADERS has left. */
static void message_sent(struct tr_h2_conn *conn, struct tr_h2_stream *st,
                         const nghttp2_frame_hd *hd)
{
    st->sent_ns = now_ns(conn);
    if (hd->type == NGHTTP2_DATA) {
        TR_DCHECK(conn->buffered >= hd->length);
        conn->buffered -= hd->length;
        conn->writable_due = conn->writable_due || st->above_high;
    }
    if (!(hd->flags & NGHTTP2_FLAG_END_STREAM))
        return;
    st->local_end = true;
    if (st->no_error_due && !st->remote_end)
        tr_h2_stream_rst(st, NGHTTP2_NO_ERROR);
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct tr_h2_conn *conn = tr_h2_conn_of_sess(user);
    struct tr_h2_stream *st = frame->hd.stream_id ? stream_of(ng, frame->hd.stream_id) : NULL;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
        tr_h2_bucket_give(&conn->flood, FLOOD_EARNED, FLOOD_BURST);
        if (st)
            message_sent(conn, st, &frame->hd);
        break;
    case NGHTTP2_GOAWAY:
        /* nghttp2 ends the connection of itself */
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR && !conn->quitting && !conn->why) {
            bool calm = frame->goaway.error_code == NGHTTP2_ENHANCE_YOUR_CALM;
            conn->why = calm ? TR_ERR_H2_FLOOD : TR_ERR_H2_PROTOCOL;
            tr_h2_count(conn->base.worker, conn->why);
        }
        break;
    case NGHTTP2_RST_STREAM:
        conn->refused_ns = now_ns(conn);
        if (!(st && st->own_reset))
            resets_take(conn);
        break;
    default:
        break;
    }
    return 0;
}

static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int lib_error,
                            void *user)
{
    struct tr_h2_conn *conn = tr_h2_conn_of_sess(user);
    struct tr_h2_stream *st = stream_of(ng, frame->hd.stream_id);
    conn->refused_ns = now_ns(conn);
    if (lib_error == NGHTTP2_ERR_REFUSED_STREAM)
        tr_count(&conn->base.worker->stats.streams_refused);
    if (st && !st->why)
        st->why = TR_ERR_H2_PROTOCOL;
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user)
{
    struct tr_h2_conn *conn = tr_h2_conn_of_sess(user);
    struct tr_h2_stream *st = stream_of(ng, id);
    if (conn->head_id == id)
        conn->head_ns = 0;
    if (!st)
        return 0;
    (void)nghttp2_session_set_stream_user_data(ng, id, NULL);
    enum tr_err why = st->why;
    if (!why && code == NGHTTP2_PROTOCOL_ERROR && st->hs.head.content_length >= 0 &&
        !st->remote_end)
        why = TR_ERR_BAD_BODY_LENGTH;
    if (why == TR_ERR_H2_PROTOCOL && !st->requested)
        tr_h2_count(conn->base.worker, why); /* a malformed head: no exchange knows of it */
    tr_h2_stream_closed(st, why ? why : TR_ERR_CLIENT_GONE);
    return 0;
}

void tr_h2_conn_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(cb, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(cb, on_invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
}
