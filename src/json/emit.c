#include "json/emit.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/counter.h"
#include "base/num.h"
#include "base/utf8.h"
#include "json/strscan.h"

#include <math.h>

/* Second byte of an escape: 'u' where only \u00XX will do. */
static const char escape[128] = {
    [0] = 'u',  [1] = 'u',    [2] = 'u',    [3] = 'u',    [4] = 'u',   [5] = 'u',     [6] = 'u',
    [7] = 'u',  ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', [11] = 'u',  ['\f'] = 'f',  ['\r'] = 'r',
    [14] = 'u', [15] = 'u',   [16] = 'u',   [17] = 'u',   [18] = 'u',  [19] = 'u',    [20] = 'u',
    [21] = 'u', [22] = 'u',   [23] = 'u',   [24] = 'u',   [25] = 'u',  [26] = 'u',    [27] = 'u',
    [28] = 'u', [29] = 'u',   [30] = 'u',   [31] = 'u',   ['"'] = '"', ['\\'] = '\\',
};

#define ESCAPE_MAX 6

/* c is special; at most ESCAPE_MAX bytes are written. Returns the end. */
static char *put_escape(char *o, char c)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char u = (unsigned char)c;
    o[0] = '\\';
    o[1] = escape[u];
    if (o[1] != 'u')
        return o + 2;
    o[2] = o[3] = '0';
    o[4] = hex[u >> 4];
    o[5] = hex[u & 15];
    return o + 6;
}

/* One run or sequence after the other: for text that is not valid UTF-8. */
__attribute__((cold, noinline)) static enum tr_err put_repaired(struct tr_buf *out,
                                                                struct tr_span s,
                                                                uint64_t *bad_utf8)
{
    static const char replacement[3] = {'\xEF', '\xBF', '\xBD'}; /* U+FFFD */
    const char *special =
        s.ptr; /* no byte before it needs an escape: looked for once, not for each bad sequence */
    while (s.len) {
        if (special <= s.ptr) {
            uint32_t non_ascii;
            special = tr_strscan_find(s.ptr, s.ptr + s.len, &non_ascii);
        }
        size_t run = (size_t)(special - s.ptr);
        size_t good = tr_utf8_valid_prefix(tr_span_sub(s, 0, run));
        enum tr_err err = tr_buf_append(out, tr_span_sub(s, 0, good));
        if (!err)
            err = tr_buf_reserve(out, ESCAPE_MAX);
        if (err)
            return err;
        s = tr_span_from(s, good);
        if (s.len == 0)
            break;
        char *o = tr_buf_end(out);
        if (good == run) {
            out->len += (size_t)(put_escape(o, s.ptr[0]) - o);
            s = tr_span_from(s, 1);
            continue;
        }
        memcpy(o, replacement, sizeof replacement);
        out->len += sizeof replacement;
        if (bad_utf8)
            tr_count(bad_utf8);
        int seq = tr_utf8_seq(s);
        s = tr_span_from(s, seq < 0 ? (size_t)-seq : s.len); /* 0: cut off by the end */
    }
    return TR_OK;
}

#if defined(TR_SIMD)

/* What the loop below may write after the text that it has copied: a whole block, or an escape; and
 * a quote. */
#define SLACK     ((size_t)32)
#define LONG_TEXT 128

/* Room for n more bytes of text at o; NULL when there is no memory. */
__attribute__((noinline)) static char *more_room(struct tr_buf *out, const char *o, size_t n)
{
    out->len = (size_t)(o - out->ptr);
    return tr_buf_reserve(out, n + n / 4 + 2 * SLACK) ? NULL : tr_buf_end(out);
}

/* A long run: found by the widest means, copied at once. */
static size_t copy_run(char *o, const char *p, size_t n, uint32_t *high)
{
    uint32_t non_ascii;
    size_t run = (size_t)(tr_strscan_find_long(p, p + n, &non_ascii) - p);
    memcpy(o, p, run);
    *high |= non_ascii;
    return run;
}

/* Copies p[0..n) block by block to o until a special byte, looking at what it copies; returns the
 * bytes before it, or n. Up to 15 bytes more may be written. */
static inline size_t copy_blocks(char *o, const char *p, size_t n, uint32_t *high)
{
    size_t i = 0;
    uint32_t special, seen = 0;
    for (; n - i >= 16; i += 16) {
        __m128i v = tr_simd_load(p + i);
        tr_simd_store(o + i, v);
        seen |= (uint32_t)_mm_movemask_epi8(v);
        special = tr_strscan_special16(v);
        if (special) {
            *high |= seen;
            return i + (size_t)__builtin_ctz(special);
        }
    }
    __m128i v = tr_simd_load_short(p + i, n - i);
    tr_simd_store(o + i, v);
    *high |= seen | (uint32_t)_mm_movemask_epi8(v);
    special = tr_strscan_special16(v) | (1u << (n - i));
    return i + (size_t)__builtin_ctz(special);
}

/* Whether the text is UTF-8 is asked at the end, and only of text that is not all ASCII. */
static enum tr_err put_text(struct tr_buf *out, struct tr_span s, uint64_t *bad_utf8, bool quoted)
{
    if (tr_unlikely(tr_buf_reserve(out, s.len + SLACK)))
        return TR_ERR_NOMEM;
    size_t start = out->len, n = s.len;
    char *o = tr_buf_end(out);
    const char *p = n ? s.ptr : "";
    uint32_t high = 0;
    *o = '"';
    o += quoted;
    bool bulk = n >= LONG_TEXT;
    for (;;) {
        size_t run =
            bulk && n >= LONG_TEXT ? copy_run(o, p, n, &high) : copy_blocks(o, p, n, &high);
        o += run;
        n -= run;
        if (tr_likely(n == 0))
            break;
        bulk = run >= LONG_TEXT; /* long runs are expected after a long run */
        o = put_escape(o, p[run]);
        p += run + 1;
        n--;
        if (tr_unlikely((size_t)(out->ptr + out->cap - o) < n + SLACK)) {
            o = more_room(out, o, n);
            if (!o)
                return TR_ERR_NOMEM;
        }
    }
    if (tr_unlikely(high) && !tr_utf8_valid(s)) {
        out->len = start + quoted;
        enum tr_err err = put_repaired(out, s, bad_utf8);
        return err || !quoted ? err : tr_buf_push(out, '"');
    }
    *o = '"';
    o += quoted;
    out->len = (size_t)(o - out->ptr);
    return TR_OK;
}

#else

static enum tr_err put_text(struct tr_buf *out, struct tr_span s, uint64_t *bad_utf8, bool quoted)
{
    enum tr_err err = quoted ? tr_buf_push(out, '"') : TR_OK;
    if (!err)
        err = put_repaired(out, s, bad_utf8);
    return err || !quoted ? err : tr_buf_push(out, '"');
}

#endif

enum tr_err tr_emit_string_content(struct tr_buf *out, struct tr_span s, uint64_t *bad_utf8)
{
    return put_text(out, s, bad_utf8, false);
}

enum tr_err tr_emit_string(struct tr_buf *out, struct tr_span s, uint64_t *bad_utf8)
{
    return put_text(out, s, bad_utf8, true);
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
