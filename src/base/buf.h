/* A growable run of bytes on the heap. Writers reserve, write at tr_buf_end and add; growth
 * doubles, so appends are amortised O(1). The buffer owns its memory; a pool may keep cleared
 * buffers for reuse. */
#ifndef TR_BASE_BUF_H
#define TR_BASE_BUF_H

#include "base/span.h"
#include "base/status.h"

struct tr_buf {
    char *ptr;
    size_t len, cap;
};

static inline void tr_buf_init(struct tr_buf *b)
{
    *b = (struct tr_buf){NULL, 0, 0};
}
void tr_buf_fini(struct tr_buf *b);
static inline void tr_buf_clear(struct tr_buf *b)
{
    b->len = 0;
}

/* Makes room for `extra` more bytes; TR_ERR_NOMEM leaves the buffer as it was. */
enum tr_err tr_buf_grow(struct tr_buf *b, size_t extra) TR_MUST_USE;
static inline TR_MUST_USE enum tr_err tr_buf_reserve(struct tr_buf *b, size_t extra)
{
    return b->cap - b->len >= extra ? TR_OK : tr_buf_grow(b, extra);
}
static inline char *tr_buf_end(struct tr_buf *b)
{
    return b->ptr + b->len;
}
static inline struct tr_span tr_buf_span(const struct tr_buf *b)
{
    return tr_span(b->ptr, b->len);
}

static inline TR_MUST_USE enum tr_err tr_buf_append(struct tr_buf *b, struct tr_span s)
{
    enum tr_err err = tr_buf_reserve(b, s.len);
    if (err)
        return err;
    if (s.len)
        memcpy(b->ptr + b->len, s.ptr, s.len);
    b->len += s.len;
    return TR_OK;
}
static inline TR_MUST_USE enum tr_err tr_buf_push(struct tr_buf *b, char c)
{
    enum tr_err err = tr_buf_reserve(b, 1);
    if (err)
        return err;
    b->ptr[b->len++] = c;
    return TR_OK;
}
/* Removes the first n bytes (n <= len) by moving the rest to the front. */
void tr_buf_consume(struct tr_buf *b, size_t n);
/* printf at the end; for cold paths only. */
enum tr_err tr_buf_printf(struct tr_buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
