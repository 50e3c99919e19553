#include "json/emit.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/num.h"
#include "base/utf8.h"
#include "json/strscan.h"

#include <math.h>

/* Second byte of the short escapes; 0 where \u00XX is needed. */
static const char short_escape[0x20] = {
    ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r',
};

static enum tr_err put_escape(struct tr_buf *out, char c)
{
    static const char hex[] = "0123456789abcdef";
    enum tr_err err = tr_buf_reserve(out, 6);
    if (err)
        return err;
    char *o = tr_buf_end(out);
    o[0] = '\\';
    if (c == '"' || c == '\\') {
        o[1] = c;
        out->len += 2;
        return TR_OK;
    }
    unsigned char u = (unsigned char)c;
    if (short_escape[u]) {
        o[1] = short_escape[u];
        out->len += 2;
        return TR_OK;
    }
    memcpy(o + 1, "u00", 3);
    o[4] = hex[u >> 4];
    o[5] = hex[u & 15];
    out->len += 6;
    return TR_OK;
}

/* A run without special bytes that is not all ASCII. */
static enum tr_err put_text(struct tr_buf *out, struct tr_span s, uint64_t *bad_utf8)
{
    while (s.len) {
        size_t good = tr_utf8_valid_prefix(s);
        enum tr_err err = tr_buf_append(out, tr_span_sub(s, 0, good));
        if (err)
            return err;
        s = tr_span_from(s, good);
        if (s.len == 0)
            break;
        int seq = tr_utf8_seq(s);
        err = tr_buf_append(out, TR_SPAN("\xEF\xBF\xBD"));
        if (err)
            return err;
        if (bad_utf8)
            ++*bad_utf8;
        s = tr_span_from(s, seq < 0 ? (size_t)-seq : s.len); /* 0: cut off by the end */
    }
    return TR_OK;
}

enum tr_err tr_emit_string_content(struct tr_buf *out, struct tr_span s, uint64_t *bad_utf8)
{
    enum tr_err err = tr_buf_reserve(out, s.len);
    const char *p = s.ptr, *end = s.len ? s.ptr + s.len : s.ptr;
    while (!err && p < end) {
        uint32_t non_ascii;
        const char *q = tr_strscan_find(p, end, &non_ascii);
        struct tr_span run = tr_span(p, (size_t)(q - p));
        err = non_ascii ? put_text(out, run, bad_utf8) : tr_buf_append(out, run);
        if (!err && q < end)
            err = put_escape(out, *q++);
        p = q;
    }
    return err;
}

enum tr_err tr_emit_string(struct tr_buf *out, struct tr_span s, uint64_t *bad_utf8)
{
    enum tr_err err = tr_buf_reserve(out, s.len + 2);
    if (err)
        return err;
    out->ptr[out->len++] = '"';
    err = tr_emit_string_content(out, s, bad_utf8);
    return err ? err : tr_buf_push(out, '"');
}

enum tr_err tr_emit_i64(struct tr_buf *out, int64_t v)
{
    enum tr_err err = tr_buf_reserve(out, TR_NUM_MAX);
    if (!err)
        out->len += tr_num_i64(tr_buf_end(out), v);
    return err;
}

enum tr_err tr_emit_u64(struct tr_buf *out, uint64_t v)
{
    enum tr_err err = tr_buf_reserve(out, TR_NUM_MAX);
    if (!err)
        out->len += tr_num_u64(tr_buf_end(out), v);
    return err;
}

static struct tr_span not_finite(bool nan, bool neg)
{
    if (nan)
        return TR_SPAN("\"NaN\"");
    return neg ? TR_SPAN("\"-Infinity\"") : TR_SPAN("\"Infinity\"");
}

enum tr_err tr_emit_double(struct tr_buf *out, double v)
{
    if (tr_unlikely(!isfinite(v)))
        return tr_buf_append(out, not_finite(isnan(v), v < 0));
    enum tr_err err = tr_buf_reserve(out, TR_NUM_MAX);
    if (!err)
        out->len += tr_num_double(tr_buf_end(out), v);
    return err;
}

enum tr_err tr_emit_float(struct tr_buf *out, float v)
{
    if (tr_unlikely(!isfinite(v)))
        return tr_buf_append(out, not_finite(isnan(v), v < 0));
    enum tr_err err = tr_buf_reserve(out, TR_NUM_MAX);
    if (!err)
        out->len += tr_num_float(tr_buf_end(out), v);
    return err;
}

enum tr_err tr_emit_base64(struct tr_buf *out, struct tr_span bytes)
{
    size_t n = tr_base64_encoded_len(bytes.len);
    enum tr_err err = tr_buf_reserve(out, n + 2);
    if (err)
        return err;
    char *o = tr_buf_end(out);
    o[0] = '"';
    n = tr_base64_encode(o + 1, bytes);
    o[n + 1] = '"';
    out->len += n + 2;
    return TR_OK;
}
