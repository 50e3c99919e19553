/* Loads of 16 bytes for code with an SSE2 path (TR_SIMD is defined where there can be one).
 *
 * SSE2 is the baseline of x86-64; what needs more asks tr_simd_avx2() and carries the target
 * attribute. To test what other machines run: -DTR_SIMD_BASELINE leaves AVX2 out, -DTR_SIMD_NONE
 * all of it. */
#ifndef TR_BASE_SIMD_H
#define TR_BASE_SIMD_H

#if defined(__SSE2__) && defined(__x86_64__) && !defined(TR_SIMD_NONE)
#define TR_SIMD 1
#include <emmintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline __m128i tr_simd_load(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}
static inline void tr_simd_store(char *p, __m128i v)
{
    _mm_storeu_si128((__m128i *)(void *)p, v);
}

/* n < 16 bytes, the others 0, reading nothing but these n: two loads that overlap, one shifted into
 * place. */
static inline __m128i tr_simd_load_short(const char *p, size_t n)
{
    uint64_t lo = 0, hi = 0;
    if (n >= 8) {
        memcpy(&lo, p, 8);
        memcpy(&hi, p + n - 8, 8);
        hi = hi >> 1 >> (127 - 8 * n); /* by 64 for n = 8 */
    } else if (n >= 4) {
        uint32_t a, b;
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
        lo = a | (uint64_t)b << (8 * n - 32);
    } else if (n) {
        lo = (uint64_t)(unsigned char)p[0] | (uint64_t)(unsigned char)p[n / 2] << (8 * (n / 2)) |
             (uint64_t)(unsigned char)p[n - 1] << (8 * (n - 1));
    }
    return _mm_set_epi64x((int64_t)hi, (int64_t)lo);
}

static inline bool tr_simd_avx2(void)
{
#if defined(TR_SIMD_BASELINE)
    return false;
#else
    return __builtin_cpu_supports("avx2");
#endif
}
#endif

#endif
