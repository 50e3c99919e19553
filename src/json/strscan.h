/* Private to json: finding the bytes of a string that need attention, 16 or 32 at a time.
 *
 * A *special* byte is a quote, a backslash or a control character (below U+0020). */
#ifndef TR_JSON_STRSCAN_H
#define TR_JSON_STRSCAN_H

#include "base/assert.h"
#include "base/simd.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(TR_SIMD)
/* Bit i: byte i is special. */
static inline uint32_t tr_strscan_special16(__m128i v)
{
    const __m128i ctl = _mm_set1_epi8(0x1F);
    __m128i bad =
        _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(_mm_min_epu8(v, ctl), v));
    return (uint32_t)_mm_movemask_epi8(bad);
}

/* Of the n bytes at p, at most 64: which are special, and which above 0x7F. */
static inline void tr_strscan_window(const char *p, size_t n, uint64_t *ret_special,
                                     uint64_t *ret_high)
{
    uint64_t special = 0, high = 0;
    unsigned at = 0, whole = n >= 64 ? 64 : (unsigned)n & ~15u;
    for (; at < whole; at += 16) {
        __m128i v = tr_simd_load(p + at);
        special |= (uint64_t)tr_strscan_special16(v) << at;
        high |= (uint64_t)(uint32_t)_mm_movemask_epi8(v) << at;
    }
    if (n < 64 && n > at) {
        __m128i v = tr_simd_load_short(p + at, n - at);
        special |= (uint64_t)(tr_strscan_special16(v) & ((1u << (n - at)) - 1)) << at;
        high |= (uint64_t)(uint32_t)_mm_movemask_epi8(v) << at;
    }
    *ret_special = special;
    *ret_high = high;
}
#endif

static inline bool tr_strscan_is_special(char c)
{
    return c == '"' || c == '\\' || (unsigned char)c < 0x20;
}

/* The first special byte in [p, end), or end; *non_ascii becomes not 0 when a byte before it is
 * above 0x7F, else 0. */
const char *tr_strscan_find_long(const char *p, const char *end, uint32_t *non_ascii);

/* The same, with the first 32 bytes in line: most strings are shorter. */
static inline const char *tr_strscan_find(const char *p, const char *end, uint32_t *non_ascii)
{
#if defined(TR_SIMD)
    if (tr_likely(end - p >= 32)) {
        __m128i v = tr_simd_load(p);
        uint32_t special = tr_strscan_special16(v);
        if (tr_likely(special)) {
            /* special ^ (special - 1): up to and with the lowest bit, whose byte is ASCII */
            *non_ascii = (uint32_t)_mm_movemask_epi8(v) & (special ^ (special - 1));
            return p + __builtin_ctz(special);
        }
        __m128i w = tr_simd_load(p + 16);
        special = tr_strscan_special16(w);
        if (special) {
            *non_ascii = (uint32_t)_mm_movemask_epi8(v) |
                         ((uint32_t)_mm_movemask_epi8(w) & (special ^ (special - 1)));
            return p + 16 + __builtin_ctz(special);
        }
    }
#endif
    return tr_strscan_find_long(p, end, non_ascii);
}

#endif
