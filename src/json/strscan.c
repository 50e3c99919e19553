#include "json/strscan.h"

#if defined(TR_SIMD)
#include <immintrin.h>

static const char *find_sse2(const char *p, const char *end, uint32_t *non_ascii)
{
    uint32_t high = 0;
    while (p < end) {
        size_t n = (size_t)(end - p);
        __m128i v = n >= 16 ? tr_simd_load(p) : tr_simd_load_short(p, n);
        uint32_t special = tr_strscan_special16(v);
        uint32_t top = (uint32_t)_mm_movemask_epi8(v);
        if (n < 16)
            special &= (1u << n) - 1;
        if (special) {
            *non_ascii = high | (top & (special ^ (special - 1)));
            return p + __builtin_ctz(special);
        }
        high |= top;
        p += n < 16 ? n : 16;
    }
    *non_ascii = high;
    return end;
}

__attribute__((target("avx2"))) static const char *find_avx2(const char *p, const char *end,
                                                             uint32_t *non_ascii)
{
    const __m256i quote = _mm256_set1_epi8('"'), slash = _mm256_set1_epi8('\\');
    const __m256i ctl = _mm256_set1_epi8(0x1F);
    uint32_t high = 0, rest;
    while (end - p >= 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i bad = _mm256_or_si256(_mm256_cmpeq_epi8(v, quote), _mm256_cmpeq_epi8(v, slash));
        bad = _mm256_or_si256(bad, _mm256_cmpeq_epi8(_mm256_min_epu8(v, ctl), v));
        uint32_t special = (uint32_t)_mm256_movemask_epi8(bad);
        uint32_t top = (uint32_t)_mm256_movemask_epi8(v);
        if (special) {
            *non_ascii = high | (top & (special ^ (special - 1)));
            return p + __builtin_ctz(special);
        }
        high |= top;
        p += 32;
    }
    p = find_sse2(p, end, &rest);
    *non_ascii = high | rest;
    return p;
}

const char *tr_strscan_find_long(const char *p, const char *end, uint32_t *non_ascii)
{
    if (end - p >= 64 && tr_simd_avx2())
        return find_avx2(p, end, non_ascii);
    return find_sse2(p, end, non_ascii);
}

#else

const char *tr_strscan_find_long(const char *p, const char *end, uint32_t *non_ascii)
{
    unsigned char seen = 0;
    for (; p < end && !tr_strscan_is_special(*p); p++)
        seen |= (unsigned char)*p;
    *non_ascii = seen >= 0x80;
    return p;
}

#endif
