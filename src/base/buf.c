#include "base/buf.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>

void tr_buf_fini(struct tr_buf *b)
{
    tr_free(b->ptr);
    tr_buf_init(b);
}

enum tr_err tr_buf_grow(struct tr_buf *b, size_t extra)
{
    size_t need;
    if (__builtin_add_overflow(b->len, extra, &need) || need > SIZE_MAX / 4)
        return TR_ERR_NOMEM;
    size_t cap = b->cap ? b->cap * 2 : 256;
    if (cap < need)
        cap = (need + 63) & ~(size_t)63;
    char *p = tr_realloc(b->ptr, cap);
    if (!p)
        return TR_ERR_NOMEM;
    b->ptr = p;
    b->cap = cap;
    return TR_OK;
}

void tr_buf_consume(struct tr_buf *b, size_t n)
{
    if (n < b->len)
        memmove(b->ptr, b->ptr + n, b->len - n);
    b->len = n < b->len ? b->len - n : 0;
}

enum tr_err tr_buf_printf(struct tr_buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    enum tr_err err = n < 0 ? TR_ERR_INTERNAL : tr_buf_reserve(b, (size_t)n + 1);
    if (!err) {
        (void)vsnprintf(tr_buf_end(b), (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return err;
}
