#include "base/utf8.h"

#include "base/simd.h"

#if defined(TR_SIMD)
#include <immintrin.h>
#endif

static int is_cont(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

int tr_utf8_seq(struct tr_span s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    unsigned char b = p[0];
    if (b < 0x80)
        return 1;
    if (b < 0xC2 || b > 0xF4)
        return -1;
    if (s.len < 2)
        return 0;
    if (b < 0xE0)
        return is_cont(p[1]) ? 2 : -1;
    /* the second byte excludes overlong forms, surrogates and what lies above U+10FFFF */
    unsigned char lo = b == 0xE0 ? 0xA0 : b == 0xF0 ? 0x90 : 0x80;
    unsigned char hi = b == 0xED ? 0x9F : b == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < lo || p[1] > hi)
        return -1;
    if (s.len < 3)
        return 0;
    if (!is_cont(p[2]))
        return -2;
    if (b < 0xF0)
        return 3;
    if (s.len < 4)
        return 0;
    return is_cont(p[3]) ? 4 : -3;
}

/* From i on, one sequence after the other. */
static size_t valid_scalar(struct tr_span s, size_t i)
{
    while (i < s.len) {
        int n = tr_utf8_seq(tr_span(s.ptr + i, s.len - i));
        if (n <= 0)
            break;
        i += (size_t)n;
    }
    return i;
}

#if defined(TR_SIMD)

/* 32 bytes at a time after J. Keiser and D. Lemire, "Validating UTF-8 in less than one instruction
 * per byte" (2021): three look-ups by nibbles (high and low of a byte, high of the next) give sets
 * of what may be wrong with the pair; what is in all three is wrong. Whether a third or fourth byte
 * belongs there follows from the leads before. */
enum {
    TOO_SHORT = 1 << 0,  /* a lead without continuation */
    TOO_LONG = 1 << 1,   /* a continuation after ASCII */
    OVERLONG_3 = 1 << 2, /* E0 80-9F */
    TOO_LARGE = 1 << 3,  /* F4 90-BF, F5-FF 90-BF */
    SURROGATE = 1 << 4,  /* ED A0-BF */
    OVERLONG_2 = 1 << 5, /* C0, C1 */
    OVERLONG_4 = 1 << 6, /* F0 80-8F; and F5-FF 80-8F, which differ in the low nibble */
    TWO_CONTS = 1 << 7,  /* wrong unless a third or fourth byte is due */
    LOW_ANY = TOO_SHORT | TOO_LONG | TWO_CONTS, /* the low nibble does not matter for these */
};

#define TWICE(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)                                      \
    _mm256_setr_epi8((char)(a), (char)(b), (char)(c), (char)(d), (char)(e), (char)(f), (char)(g),  \
                     (char)(h), (char)(i), (char)(j), (char)(k), (char)(l), (char)(m), (char)(n),  \
                     (char)(o), (char)(p), (char)(a), (char)(b), (char)(c), (char)(d), (char)(e),  \
                     (char)(f), (char)(g), (char)(h), (char)(i), (char)(j), (char)(k), (char)(l),  \
                     (char)(m), (char)(n), (char)(o), (char)(p))

/* Not 0 where block, which follows prev, is ill-formed. */
__attribute__((target("avx2"))) static inline __m256i errors_avx2(__m256i block, __m256i prev)
{
    const __m256i first_high =
        TWICE(TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
              TWO_CONTS, TWO_CONTS, TWO_CONTS, TWO_CONTS, TOO_SHORT | OVERLONG_2, TOO_SHORT,
              TOO_SHORT | OVERLONG_3 | SURROGATE, TOO_SHORT | TOO_LARGE | OVERLONG_4);
    const int large = LOW_ANY | TOO_LARGE | OVERLONG_4;
    const __m256i first_low =
        TWICE(LOW_ANY | OVERLONG_2 | OVERLONG_3 | OVERLONG_4, LOW_ANY | OVERLONG_2, LOW_ANY,
              LOW_ANY, LOW_ANY | TOO_LARGE, large, large, large, large, large, large, large, large,
              large | SURROGATE, large, large);
    const int cont = TOO_LONG | OVERLONG_2 | TWO_CONTS;
    const __m256i second_high = TWICE(
        TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
        cont | OVERLONG_3 | OVERLONG_4, cont | OVERLONG_3 | TOO_LARGE, cont | SURROGATE | TOO_LARGE,
        cont | SURROGATE | TOO_LARGE, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT);
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i carried =
        _mm256_permute2x128_si256(prev, block, 0x21); /* prev's high half, block's low half */
    __m256i prev1 = _mm256_alignr_epi8(block, carried, 15);
    __m256i prev2 = _mm256_alignr_epi8(block, carried, 14);
    __m256i prev3 = _mm256_alignr_epi8(block, carried, 13);
    __m256i a =
        _mm256_shuffle_epi8(first_high, _mm256_and_si256(_mm256_srli_epi16(prev1, 4), nibble));
    __m256i b = _mm256_shuffle_epi8(first_low, _mm256_and_si256(prev1, nibble));
    __m256i c =
        _mm256_shuffle_epi8(second_high, _mm256_and_si256(_mm256_srli_epi16(block, 4), nibble));
    __m256i wrong = _mm256_and_si256(_mm256_and_si256(a, b), c);
    /* bit 7 where a third or fourth byte is due: there, and only there, two continuations are right
     */
    __m256i third = _mm256_subs_epu8(prev2, _mm256_set1_epi8((char)(0xE0 - 0x80)));
    __m256i fourth = _mm256_subs_epu8(prev3, _mm256_set1_epi8((char)(0xF0 - 0x80)));
    __m256i due = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char)0x80));
    return _mm256_xor_si256(wrong, due);
}

/* The last n < 32 bytes, zeros after them: they make a sequence that is cut off an error. */
__attribute__((target("avx2"))) static inline __m256i load_tail_avx2(const char *p, size_t n)
{
    if (n < 16)
        return _mm256_zextsi128_si256(tr_simd_load_short(p, n));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(tr_simd_load(p)),
                                   tr_simd_load_short(p + 16, n - 16), 1);
}

__attribute__((target("avx2"))) static size_t valid_avx2(struct tr_span s, size_t i)
{
    __m256i prev = _mm256_setzero_si256();
    bool more = true;
    while (more) {
        more = s.len - i >= 32;
        __m256i block = more ? _mm256_loadu_si256((const __m256i *)(const void *)(s.ptr + i))
                             : load_tail_avx2(s.ptr + i, s.len - i);
        __m256i wrong = errors_avx2(block, prev);
        if (!_mm256_testz_si256(wrong, wrong))
            break;
        if (!more)
            return s.len;
        prev = block;
        i += 32;
    }
    /* The error is in this block, or in a sequence that began just before it. */
    size_t back = i < 3 ? i : 3;
    for (size_t k = 1; k <= back; k++)
        if (((unsigned char)s.ptr[i - k] & 0xC0) == 0xC0)
            return valid_scalar(s, i - k);
    return valid_scalar(s, i);
}
#endif

size_t tr_utf8_valid_prefix(struct tr_span s)
{
    size_t i = 0;
#if defined(TR_SIMD)
    while (s.len - i >= 16) {
        int high = _mm_movemask_epi8(tr_simd_load(s.ptr + i));
        if (high) {
            i += (size_t)__builtin_ctz((unsigned)high);
            break;
        }
        i += 16;
    }
    if (s.len - i >= 6 && tr_simd_avx2())
        return valid_avx2(s, i);
#endif
    return valid_scalar(s, i);
}

size_t tr_utf8_put(char *out, uint32_t cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | (cp >> 6));
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | (cp >> 12));
        out[1] = (char)(0x80 | ((cp >> 6) & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | (cp >> 18));
    out[1] = (char)(0x80 | ((cp >> 12) & 0x3F));
    out[2] = (char)(0x80 | ((cp >> 6) & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}
