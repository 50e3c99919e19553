#include "http/h2_sess.h"

#include "base/assert.h"
#include "base/bufpool.h"

#define FRAME_HEAD_BYTES 9
#define COMPACT_BYTES    ((size_t)64 * 1024)

nghttp2_nv *tr_h2_nvs(struct tr_h2_sess *s, size_t count, nghttp2_nv *stack)
{
    return count <= TR_H2_NV_STACK ? stack : tr_h2_pool_alloc(s->pool, count * sizeof *stack);
}

void tr_h2_nvs_done(struct tr_h2_sess *s, nghttp2_nv *nva, const nghttp2_nv *stack)
{
    if (nva != stack)
        tr_h2_pool_free(s->pool, nva);
}

static bool submit_trailers(nghttp2_session *ng, struct tr_h2_sess *s, int32_t stream_id,
                            const struct tr_headers *trailers)
{
    nghttp2_nv stack[TR_H2_NV_STACK];
    nghttp2_nv *nva = tr_h2_nvs(s, trailers->count, stack);
    if (!nva)
        return false;
    stack[0] = (nghttp2_nv){0}; /* without trailers nothing is read, which gcc does not see */
    for (size_t i = 0; i < trailers->count; i++)
        nva[i] = tr_h2_nv(&trailers->items[i]);
    int rv = nghttp2_submit_trailer(ng, stream_id, nva, trailers->count);
    tr_h2_nvs_done(s, nva, stack);
    return rv == 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the type is nghttp2's */
static ssize_t source_read(nghttp2_session *ng, int32_t stream_id, uint8_t *buf, size_t length,
                           uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)buf;
    struct tr_h2_source *src = source->ptr;
    if (src->dead)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t queued = tr_h2_source_queued(src);
    size_t n = queued < length ? queued : length;
    if (n == 0 && !src->end) {
        src->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (!src->end || n < queued)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!src->trailers)
        return (ssize_t)n;
    if (!submit_trailers(ng, user, stream_id, src->trailers))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    return (ssize_t)n;
}

static int send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t length,
                     nghttp2_data_source *source, void *user)
{
    (void)ng;
    TR_DCHECK(frame->data.padlen == 0);
    (void)frame;
    struct tr_h2_sess *s = user;
    struct tr_h2_source *src = source->ptr;
    struct tr_buf *w = &s->worker->write_buf;
    if (src->dead || tr_h2_source_queued(src) < length)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (w->len >= TR_H2_WRITE_BYTES) {
        s->full = true;
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    if (tr_buf_reserve(w, length + FRAME_HEAD_BYTES) != TR_OK)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    memcpy(tr_buf_end(w), head, FRAME_HEAD_BYTES);
    if (length)
        memcpy(tr_buf_end(w) + FRAME_HEAD_BYTES, src->buf->ptr + *src->pos, length);
    w->len += FRAME_HEAD_BYTES + length;
    *src->pos += length;
    return 0;
}

void tr_h2_sess_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_send_data_callback(cb, send_data);
}

void tr_h2_sess_options(nghttp2_option *opt)
{
    nghttp2_option_set_no_auto_window_update(opt, 1);
}

enum tr_err tr_h2_sess_init(struct tr_h2_sess *s, struct tr_hworker *worker,
                            struct tr_stream *stream)
{
    *s = (struct tr_h2_sess){.worker = worker, .stream = stream};
    s->pool = tr_h2_pool_ref(worker);
    s->progress_ns = tr_loop_now_ns(worker->loop);
    return s->pool ? TR_OK : TR_ERR_NOMEM;
}

void tr_h2_sess_fini(struct tr_h2_sess *s)
{
    if (s->ng) {
        nghttp2_session_del(s->ng);
        s->ng = NULL;
    }
    tr_bufpool_put(s->worker->bufs, &s->left);
    s->left_pos = 0;
    if (s->pool) {
        tr_h2_pool_unref(s->pool);
        s->pool = NULL;
    }
}

enum tr_err tr_h2_sess_feed(struct tr_h2_sess *s, const uint8_t *data, size_t len)
{
    ssize_t n = nghttp2_session_mem_recv(s->ng, data, len);
    if (s->mem.low || n == NGHTTP2_ERR_NOMEM)
        return TR_ERR_NOMEM;
    if (n >= 0)
        return TR_OK;
    return n == NGHTTP2_ERR_FLOODED ? TR_ERR_H2_FLOOD : TR_ERR_H2_PROTOCOL;
}

/* Fills the write buffer; false when nghttp2 failed. */
static bool make_output(struct tr_h2_sess *s, struct tr_buf *w)
{
    tr_buf_clear(w);
    s->full = false;
    while (w->len < TR_H2_WRITE_BYTES) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(s->ng, &data);
        if (n < 0)
            return false;
        if (n == 0)
            return true;
        if (tr_buf_append(w, tr_span((const char *)data, (size_t)n)) != TR_OK)
            return false;
    }
    s->full = true;
    return true;
}

static enum tr_h2_flush write_left(struct tr_h2_sess *s)
{
    ssize_t n = tr_stream_write(s->stream, s->left.ptr + s->left_pos, s->left.len - s->left_pos);
    if (n < 0)
        return TR_H2_BROKEN;
    if (n > 0)
        s->progress_ns = tr_loop_now_ns(s->worker->loop);
    s->left_pos += (size_t)n;
    if (s->left_pos < s->left.len)
        return TR_H2_BLOCKED;
    tr_bufpool_put(s->worker->bufs, &s->left);
    s->left_pos = 0;
    return TR_H2_FLUSHED;
}

enum tr_h2_flush tr_h2_sess_flush(struct tr_h2_sess *s)
{
    if (s->left.len) {
        enum tr_h2_flush r = write_left(s);
        if (r != TR_H2_FLUSHED)
            return r;
    }
    struct tr_buf *w = &s->worker->write_buf;
    if (tr_buf_reserve(w, 1) != TR_OK || !make_output(s, w) || s->mem.low)
        return TR_H2_NOMEM;
    s->progress_ns = tr_loop_now_ns(s->worker->loop);
    if (w->len == 0)
        return TR_H2_FLUSHED;
    ssize_t n = tr_stream_write(s->stream, w->ptr, w->len);
    if (n < 0)
        return TR_H2_BROKEN;
    if ((size_t)n < w->len) {
        if (tr_bufpool_reserve(s->worker->bufs, &s->left, w->len - (size_t)n) != TR_OK ||
            tr_buf_append(&s->left, tr_span(w->ptr + n, w->len - (size_t)n)) != TR_OK)
            return TR_H2_NOMEM;
        return TR_H2_BLOCKED;
    }
    return s->full ? TR_H2_MORE : TR_H2_FLUSHED;
}

ssize_t tr_h2_sess_read(struct tr_h2_sess *s)
{
    return tr_stream_read(s->stream, s->worker->read_buf, TR_HREAD_BYTES);
}

nghttp2_data_provider tr_h2_source_provider(struct tr_h2_source *src)
{
    return (nghttp2_data_provider){.source = {.ptr = src}, .read_callback = source_read};
}

size_t tr_h2_source_commit(struct tr_h2_source *src, bool end)
{
    size_t fresh = src->buf->len - src->ready;
    src->ready = src->buf->len;
    src->end = src->end || end;
    return fresh;
}

void tr_h2_source_compact(struct tr_h2_source *src, bool force)
{
    size_t taken = *src->pos;
    if (taken == 0 || src->dead)
        return;
    if (taken == src->buf->len)
        tr_buf_clear(src->buf);
    else if (force || (taken >= COMPACT_BYTES && taken >= src->buf->len / 2))
        tr_buf_consume(src->buf, taken);
    else
        return;
    src->ready -= taken;
    *src->pos = 0;
}

void tr_h2_source_resume(struct tr_h2_sess *s, int32_t stream_id, struct tr_h2_source *src)
{
    if (src->deferred && s->ng) {
        src->deferred = false;
        (void)nghttp2_session_resume_data(s->ng, stream_id);
    }
}

void tr_h2_window_consume(struct tr_h2_sess *s, int32_t stream_id, struct tr_h2_window *window,
                          size_t bytes)
{
    const size_t more = (size_t)(TR_H2_WINDOW_LARGE - TR_H2_WINDOW_FIRST);
    (void)nghttp2_session_consume_stream(s->ng, stream_id, bytes);
    if (window->consumed >= TR_H2_WINDOW_GROWS)
        return;
    window->consumed += bytes < TR_H2_WINDOW_GROWS ? (uint32_t)bytes : TR_H2_WINDOW_GROWS;
    if (window->consumed < TR_H2_WINDOW_GROWS || !tr_h2_pool_take_window(s->pool, more))
        return;
    window->large = true;
    (void)nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, stream_id,
                                                TR_H2_WINDOW_LARGE);
}

void tr_h2_window_end(struct tr_h2_sess *s, struct tr_h2_window *window)
{
    if (window->large)
        tr_h2_pool_give_window(s->pool, (size_t)(TR_H2_WINDOW_LARGE - TR_H2_WINDOW_FIRST));
    window->large = false;
}

/* Values that hardly ever repeat on a connection: an entry of the HPACK table would push out a
 * useful one. */
static bool is_volatile(const struct tr_header *h)
{
    switch (h->token) {
    case TR_TOKEN_X_REQUEST_ID:
    case TR_TOKEN_TRACEPARENT:
    case TR_TOKEN_TRACESTATE:
    case TR_TOKEN_GRPC_MESSAGE:
    case TR_TOKEN_GRPC_STATUS_DETAILS:
    case TR_TOKEN_GRPC_TIMEOUT:
    case TR_TOKEN_X_FORWARDED_FOR:
        return true;
    case TR_TOKEN_NONE:
        return h->value.len > 64 || tr_span_starts(h->name, TR_SPAN("ratelimit"));
    default:
        return h->value.len > 1024;
    }
}

static uint8_t *bytes_of(struct tr_span s)
{
    union {
        const char *in;
        uint8_t *out;
    } u = {s.ptr}; /* nghttp2 reads only, but its type does not say so */
    return u.out;
}

nghttp2_nv tr_h2_nv(const struct tr_header *h)
{
    uint8_t flags = is_volatile(h) ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
    struct tr_span name = h->name;
    if (h->token != TR_TOKEN_NONE) {
        name = tr_token_name(h->token);
        flags |= NGHTTP2_NV_FLAG_NO_COPY_NAME;
    }
    return (nghttp2_nv){bytes_of(name), bytes_of(h->value), name.len, h->value.len, flags};
}

nghttp2_nv tr_h2_nv_static(const char *name, size_t name_len, struct tr_span value)
{
    return (nghttp2_nv){bytes_of(tr_span(name, name_len)), bytes_of(value), name_len, value.len,
                        NGHTTP2_NV_FLAG_NO_COPY_NAME};
}
