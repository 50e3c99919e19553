/* Wire bytes from text, for tests: hex bytes ("08 96 01"), quoted text ("abc" is its bytes), and
 * braces around what gets its length as a varint in front ("0a { 08 01 }"). `#` starts a comment.
 * `*N{ ... }` is repeated N times, without a length. */
#ifndef TR_TESTS_WIRE_TEXT_H
#define TR_TESTS_WIRE_TEXT_H

#include "base/assert.h"
#include "base/buf.h"
#include "proto/wire.h"

static inline void wire_push(struct tr_buf *out, char c)
{
    TR_ASSERT(!tr_buf_push(out, c));
}

/* Inserts the length of what was written since `at`. */
static inline void wire_close(struct tr_buf *out, size_t at)
{
    char head[TR_VARINT_MAX];
    size_t len = out->len - at, n = tr_wire_put_varint(head, len);
    TR_ASSERT(!tr_buf_reserve(out, n));
    if (len)
        memmove(out->ptr + at + n, out->ptr + at, len);
    memcpy(out->ptr + at, head, n);
    out->len += n;
}

static inline void wire_repeat(struct tr_buf *out, size_t at, uint64_t times)
{
    size_t len = out->len - at;
    TR_ASSERT(times > 0 && !tr_buf_reserve(out, len * (times - 1)));
    for (uint64_t i = 1; i < times; i++) {
        memcpy(out->ptr + at + i * len, out->ptr + at, len);
        out->len += len;
    }
}

static inline void wire_text(struct tr_buf *out, struct tr_span text)
{
    struct {
        size_t at;
        uint64_t times; /* 0: braces with a length */
    } open[256];
    size_t depth = 0;
    uint64_t times = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == ' ' || c == '\n' || c == '\t')
            continue;
        if (c == '#') {
            i += tr_span_find(tr_span_from(text, i), '\n');
        } else if (c == '"') {
            for (i++; i < text.len && text.ptr[i] != '"'; i++)
                wire_push(out, text.ptr[i]);
        } else if (c == '*') {
            for (times = 0; i + 1 < text.len && tr_is_digit(text.ptr[i + 1]); i++)
                times = times * 10 + (uint64_t)(text.ptr[i + 1] - '0');
        } else if (c == '{') {
            TR_ASSERT(depth < 256);
            open[depth].at = out->len;
            open[depth++].times = times;
            times = 0;
        } else if (c == '}') {
            TR_ASSERT(depth > 0);
            depth--;
            if (open[depth].times)
                wire_repeat(out, open[depth].at, open[depth].times);
            else
                wire_close(out, open[depth].at);
        } else {
            TR_ASSERT(i + 1 < text.len);
            int hi = tr_hex_value(c), lo = tr_hex_value(text.ptr[++i]);
            TR_ASSERT(hi >= 0 && lo >= 0);
            wire_push(out, (char)(hi << 4 | lo));
        }
    }
    TR_ASSERT(depth == 0);
}

#endif
