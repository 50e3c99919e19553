#include "json/strscan.h"

#if defined(__x86_64__) && defined(__SSE2__)
#include <immintrin.h>
#define HAVE_AVX2 1
#endif

static const char *find_bytes(const char *p, const char *end, bool *non_ascii)
{
    unsigned char seen = 0;
    for (; p < end && !tr_strscan_is_special(*p); p++)
        seen |= (unsigned char)*p;
    *non_ascii |= seen >= 0x80;
    return p;
}

#if defined(__SSE2__)
static const char *find_sse2(const char *p, const char *end, bool *non_ascii)
{
    while (end - p >= 16) {
        __m128i v = tr_strscan_load(p);
        uint32_t special = tr_strscan_special16(v);
        uint32_t high = (uint32_t)_mm_movemask_epi8(v);
        if (special) {
            unsigned at = (unsigned)__builtin_ctz(special);
            *non_ascii |= (high & ((1u << at) - 1)) != 0;
            return p + at;
        }
        *non_ascii |= high != 0;
        p += 16;
    }
    return find_bytes(p, end, non_ascii);
}
#endif

#if defined(HAVE_AVX2)
__attribute__((target("avx2"))) static const char *find_avx2(const char *p, const char *end,
                                                             bool *non_ascii)
{
    const __m256i quote = _mm256_set1_epi8('"'), slash = _mm256_set1_epi8('\\');
    const __m256i ctl = _mm256_set1_epi8(0x1F);
    uint32_t high = 0;
    while (end - p >= 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i bad = _mm256_or_si256(_mm256_cmpeq_epi8(v, quote), _mm256_cmpeq_epi8(v, slash));
        bad = _mm256_or_si256(bad, _mm256_cmpeq_epi8(_mm256_min_epu8(v, ctl), v));
        uint32_t special = (uint32_t)_mm256_movemask_epi8(bad);
        uint32_t top = (uint32_t)_mm256_movemask_epi8(v);
        if (special) {
            unsigned at = (unsigned)__builtin_ctz(special);
            *non_ascii |= (high | (top & ((1u << at) - 1))) != 0;
            return p + at;
        }
        high |= top;
        p += 32;
    }
    *non_ascii |= high != 0;
    return find_sse2(p, end, non_ascii);
}
#endif

const char *tr_strscan_find(const char *p, const char *end, bool *non_ascii)
{
    *non_ascii = false;
#if defined(HAVE_AVX2)
    if (end - p >= 64 && __builtin_cpu_supports("avx2"))
        return find_avx2(p, end, non_ascii);
#endif
#if defined(__SSE2__)
    return find_sse2(p, end, non_ascii);
#else
    return find_bytes(p, end, non_ascii);
#endif
}
