#include "io/kv.h"

#include "base/num.h"

struct tr_span tr_kv_failure_name(enum tr_kv_failure failure)
{
    static const struct tr_span names[TR_KV__COUNT] = {
        [TR_KV_OK] = TR_SPAN_INIT("ok"),
        [TR_KV_DOWN] = TR_SPAN_INIT("down"),
        [TR_KV_BUSY] = TR_SPAN_INIT("busy"),
        [TR_KV_NOMEM] = TR_SPAN_INIT("nomem"),
        [TR_KV_TIMEOUT] = TR_SPAN_INIT("timeout"),
        [TR_KV_LOST] = TR_SPAN_INIT("lost"),
        [TR_KV_MOVED] = TR_SPAN_INIT("moved"),
        [TR_KV_LOADING] = TR_SPAN_INIT("loading"),
        [TR_KV_READONLY] = TR_SPAN_INIT("readonly"),
        [TR_KV_ERROR] = TR_SPAN_INIT("error"),
        [TR_KV_PROTOCOL] = TR_SPAN_INIT("protocol"),
    };
    return (unsigned)failure < TR_KV__COUNT ? names[failure] : TR_SPAN("unknown");
}

enum tr_err tr_kv_put(struct tr_buf *out, struct tr_span bytes)
{
    enum tr_err err = tr_buf_reserve(out, bytes.len + TR_NUM_MAX + 5);
    if (err)
        return err;
    char *w = tr_buf_end(out);
    *w++ = '$';
    w += tr_num_u64(w, bytes.len);
    memcpy(w, "\r\n", 2);
    w += 2;
    if (bytes.len)
        memcpy(w, bytes.ptr, bytes.len);
    w += bytes.len;
    memcpy(w, "\r\n", 2);
    out->len = (size_t)(w + 2 - out->ptr);
    return TR_OK;
}

enum tr_err tr_kv_put_u64(struct tr_buf *out, uint64_t value)
{
    char text[TR_NUM_MAX];
    return tr_kv_put(out, tr_span(text, tr_num_u64(text, value)));
}
