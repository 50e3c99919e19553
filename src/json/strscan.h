/* Private to json: finding the bytes of a string that need attention, 16 or 32 at a time.
 *
 * A *special* byte is a quote, a backslash or a control character (below U+0020). */
#ifndef TR_JSON_STRSCAN_H
#define TR_JSON_STRSCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>

/* Masks of 16 bytes: bit i for byte i. */
static inline uint32_t tr_strscan_special16(__m128i v)
{
    const __m128i ctl = _mm_set1_epi8(0x1F);
    __m128i bad =
        _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(_mm_min_epu8(v, ctl), v));
    return (uint32_t)_mm_movemask_epi8(bad);
}
static inline __m128i tr_strscan_load(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}
#endif

static inline bool tr_strscan_is_special(char c)
{
    return c == '"' || c == '\\' || (unsigned char)c < 0x20;
}

/* The first special byte in [p, end), or end; *non_ascii is set to true when a byte before it is
 * above 0x7F. */
const char *tr_strscan_find(const char *p, const char *end, bool *non_ascii);

#endif
