#include "base/num.h"

#include "base/assert.h"
#include "base/num_table.h"
#include "base/simd.h"

#include <math.h>

__extension__ typedef unsigned __int128 u128; /* scalar alias, not a struct */

/* -- integers
 * ----------------------------------------------------------------------------------------- */

static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

static const uint64_t pow10_u64[20] = {
    1u,
    10u,
    100u,
    1000u,
    10000u,
    100000u,
    1000000u,
    10000000u,
    100000000u,
    1000000000u,
    10000000000u,
    100000000000u,
    1000000000000u,
    10000000000000u,
    100000000000000u,
    1000000000000000u,
    10000000000000000u,
    100000000000000000u,
    1000000000000000000u,
    10000000000000000000u,
};

static size_t digit_count(uint64_t v)
{
    /* 1233 / 4096 is log10(2) from above, near enough for 64 bits; the table settles the last digit
     */
    unsigned t = (unsigned)(64 - __builtin_clzll(v | 1)) * 1233u >> 12;
    return t + (v >= pow10_u64[t]) + (v == 0);
}

static void put2(char *out, uint32_t v)
{
    memcpy(out, pairs + (size_t)v * 2, 2);
}

static void put8(char *out, uint64_t bytes)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bytes = __builtin_bswap64(bytes);
#endif
    memcpy(out, &bytes, 8);
}

/* The eight digits of v < 10^8, the first in the lowest byte, as numbers 0-9. Each step splits all
 * parts at once: into four digits and four, two and two, one and one; the factors are 1/100 and
 * 1/10 in fixed point, exact so far up. */
static uint64_t digits8(uint32_t v)
{
    uint64_t x = v / 10000 | (uint64_t)(v % 10000) << 32;
    uint64_t hundreds = (x * 10486 >> 20) & 0x0000007F0000007Fu;
    x = hundreds | (x - hundreds * 100) << 16;
    uint64_t tens = (x * 103 >> 10) & 0x000F000F000F000Fu;
    return tens | (x - tens * 10) << 8;
}

#define ASCII_ZEROS 0x3030303030303030u

/* The last n (1-8) of the eight digits of v, as text; eight bytes are written. */
static void put_last(char *out, uint32_t v, size_t n)
{
    put8(out, (digits8(v) + ASCII_ZEROS) >> (64 - 8 * n));
}

/* Sixteen digits as text, the first in the lowest byte of lo. */
struct text16 {
    uint64_t lo, hi;
    unsigned kept; /* digits without the zeros at the end */
};

/* v < 10^16 */
__attribute__((always_inline)) static inline struct text16 text16(uint64_t v)
{
    const uint64_t e8 = 100000000u;
    uint32_t high = (uint32_t)(v / e8), low = (uint32_t)(v % e8);
#if defined(TR_SIMD)
    /* the same three steps on both halves at once */
    __m128i x = _mm_set_epi64x(low, high);
    __m128i q =
        _mm_srli_epi64(_mm_mul_epu32(x, _mm_set1_epi32((int)3518437209u)), 45); /* by 10000 */
    x = _mm_or_si128(q,
                     _mm_slli_epi64(_mm_sub_epi32(x, _mm_mul_epu32(q, _mm_set1_epi32(10000))), 32));
    q = _mm_srli_epi16(_mm_mulhi_epu16(x, _mm_set1_epi16(5243)), 3); /* by 100 */
    x = _mm_or_si128(q,
                     _mm_slli_epi32(_mm_sub_epi16(x, _mm_mullo_epi16(q, _mm_set1_epi16(100))), 16));
    q = _mm_mulhi_epu16(x, _mm_set1_epi16(6554)); /* by 10 */
    x = _mm_or_si128(q,
                     _mm_slli_epi16(_mm_sub_epi16(x, _mm_mullo_epi16(q, _mm_set1_epi16(10))), 8));
    unsigned zeros = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_setzero_si128()));
    x = _mm_add_epi8(x, _mm_set1_epi8('0'));
    return (struct text16){(uint64_t)_mm_cvtsi128_si64(x),
                           (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(x, x)),
                           31 - (unsigned)__builtin_clz(((zeros ^ 0xFFFF) << 1) | 1)};
#else
    uint64_t a = digits8(high), b = digits8(low);
    unsigned kept = b   ? 16 - (unsigned)__builtin_clzll(b) / 8
                    : a ? 8 - (unsigned)__builtin_clzll(a) / 8
                        : 0;
    return (struct text16){a + ASCII_ZEROS, b + ASCII_ZEROS, kept};
#endif
}

static void put16(char *out, struct text16 t)
{
    put8(out, t.lo);
    put8(out + 8, t.hi);
}

size_t tr_num_u64(char *out, uint64_t v)
{
    const uint64_t e8 = 100000000u, e16 = e8 * e8;
    if (v < 10) {
        out[0] = (char)('0' + v);
        return 1;
    }
    if (v < 100) {
        put2(out, (uint32_t)v);
        return 2;
    }
    size_t n = digit_count(v);
    if (v < e8) {
        put_last(out, (uint32_t)v, n);
        return n;
    }
    if (v < e16) {
        put_last(out, (uint32_t)(v / e8), n - 8);
        put_last(out + n - 8, (uint32_t)(v % e8), 8);
        return n;
    }
    put_last(out, (uint32_t)(v / e16), n - 16);
    put16(out + n - 16, text16(v % e16));
    return n;
}

size_t tr_num_i64(char *out, int64_t v)
{
    if (v >= 0)
        return tr_num_u64(out, (uint64_t)v);
    *out = '-';
    return 1 + tr_num_u64(out + 1, 0 - (uint64_t)v);
}

/* -- shortest decimals: Schubfach (R. Giulietti, "The Schubfach way to render doubles", 2020)
 * ----------- */

struct decimal {
    uint64_t digits;
    int exp; /* value = digits * 10^exp */
};

static int floor_log2_pow10(int e)
{
    return (e * 1741647) >> 19;
}

/* floor(log10(2^q)), or of 3/4 * 2^q: where a mantissa of zero makes the gap below half as wide */
static int floor_log10(int q, int lower_is_closer)
{
    return (q * 1262611 - (lower_is_closer ? 524031 : 0)) >> 22;
}

static uint64_t mul_hi(uint64_t a, uint64_t b)
{
    return (uint64_t)((u128)a * b >> 64);
}

/* The top 64 bits of g * cp (192 bits); the lowest of them is set when anything below is more than
 * the error of g. */
static uint64_t round_to_odd64(struct tr_pow10 g, uint64_t cp)
{
    u128 y = (u128)g.hi * cp + mul_hi(g.lo, cp);
    return (uint64_t)(y >> 64) | ((uint64_t)y > 1);
}

static uint32_t round_to_odd32(uint64_t g, uint32_t cp)
{
    u128 p = (u128)g * cp;
    return (uint32_t)(p >> 64) | ((uint32_t)((uint64_t)p >> 32) > 1);
}

/* The candidates of one digit less (sp, sp + 1) and of full length (s, s + 1) against the rounding
 * interval; all four values are scaled by 4. An interval that holds just one of a pair names the
 * answer. */
static struct decimal choose(uint64_t vbl, uint64_t vb, uint64_t vbr, int k, unsigned odd)
{
    uint64_t lower = vbl + odd,
             upper = vbr - odd; /* the ends belong to the interval of an even mantissa */
    uint64_t s = vb / 4;
    if (s >= 10) {
        uint64_t sp = s / 10;
        int up_inside = lower <= 40 * sp, wp_inside = 40 * sp + 40 <= upper;
        if (up_inside != wp_inside)
            return (struct decimal){sp + (uint64_t)wp_inside, k + 1};
    }
    int u_inside = lower <= 4 * s, w_inside = 4 * s + 4 <= upper;
    if (u_inside != w_inside)
        return (struct decimal){s + (uint64_t)w_inside, k};
    uint64_t mid = 4 * s + 2;
    int up = vb > mid || (vb == mid && (s & 1));
    return (struct decimal){s + (uint64_t)up, k};
}

static struct decimal shortest_double(uint64_t mantissa, int biased)
{
    uint64_t c = biased ? mantissa | (uint64_t)1 << 52 : mantissa;
    int q = (biased ? biased : 1) - 1075;
    /* an integer below 2^53 is its own digits */
    if (q <= 0 && q > -53 && (c & (((uint64_t)1 << -q) - 1)) == 0)
        return (struct decimal){c >> -q, 0};
    int closer = mantissa == 0 && biased > 1;
    int k = floor_log10(q, closer);
    int h = q + floor_log2_pow10(-k) + 1;
    struct tr_pow10 g = tr_pow10_table[-k - TR_POW10_MIN];
    uint64_t cbl = 4 * c - 2 + (uint64_t)closer, cb = 4 * c, cbr = 4 * c + 2;
    return choose(round_to_odd64(g, cbl << h), round_to_odd64(g, cb << h),
                  round_to_odd64(g, cbr << h), k, (unsigned)(c & 1));
}

static struct decimal shortest_float(uint32_t mantissa, int biased)
{
    uint32_t c = biased ? mantissa | (uint32_t)1 << 23 : mantissa;
    int q = (biased ? biased : 1) - 150;
    if (q <= 0 && q > -24 && (c & (((uint32_t)1 << -q) - 1)) == 0)
        return (struct decimal){c >> -q, 0};
    int closer = mantissa == 0 && biased > 1;
    int k = floor_log10(q, closer);
    int h = q + floor_log2_pow10(-k) + 1;
    struct tr_pow10 g128 = tr_pow10_table[-k - TR_POW10_MIN];
    uint64_t g = g128.hi + (g128.lo != 0); /* rounded up to 64 bits, as the proof wants */
    uint32_t cbl = 4 * c - 2 + (uint32_t)closer, cb = 4 * c, cbr = 4 * c + 2;
    return choose(round_to_odd32(g, cbl << h), round_to_odd32(g, cb << h),
                  round_to_odd32(g, cbr << h), k, c & 1);
}

static size_t put_exponent(char *out, int e)
{
    out[0] = 'e';
    out[1] = e < 0 ? '-' : '+';
    return 2 + tr_num_u64(out + 2, (uint32_t)(e < 0 ? -e : e));
}

/* d.digits > 0, at most 17 digits. They are brought to 17 and kept in registers, so that a point is
 * put between them by a shift. */
static size_t put_decimal(char *out, struct decimal d)
{
    static const char zeros[7] = {'0', '.', '0', '0', '0', '0', '0'};
    const uint64_t e16 = 10000000000000000u;
    if (d.exp == 0)
        return tr_num_u64(out, d.digits);
    size_t n = digit_count(d.digits);
    int point = (int)n + d.exp; /* digits before the decimal point */
    uint64_t full = d.digits * pow10_u64[17 - n], first = full / e16;
    struct text16 t = text16(full - first * e16);
    char d0 = (char)('0' + first);
    n = t.kept + 1;
    if (point > 0 && point <= 21) {
        out[0] = d0;
        put16(out + 1, t);
        if (point >= (int)n) {
            memset(out + 17, '0', 4);
            return (size_t)point;
        }
        u128 after = ((u128)t.hi << 64 | t.lo) >> (8 * (point - 1));
        out[point] = '.';
        put8(out + point + 1, (uint64_t)after);
        put8(out + point + 9, (uint64_t)(after >> 64));
        return n + 1;
    }
    if (point > -6 && point <= 0) {
        memcpy(out, zeros, sizeof zeros);
        size_t at = (size_t)(2 - point);
        out[at] = d0;
        put16(out + at + 1, t);
        return at + n;
    }
    out[0] = d0;
    out[1] = '.';
    put16(out + 2, t);
    size_t at = n > 1 ? n + 1 : 1;
    return at + put_exponent(out + at, point - 1);
}

size_t tr_num_double(char *out, double v)
{
    TR_DCHECK(isfinite(v));
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    size_t sign = bits >> 63;
    *out = '-';
    out += sign;
    bits &= UINT64_MAX >> 1;
    if (bits == 0) {
        *out = '0';
        return sign + 1;
    }
    return sign +
           put_decimal(out, shortest_double(bits & (((uint64_t)1 << 52) - 1), (int)(bits >> 52)));
}

size_t tr_num_float(char *out, float v)
{
    TR_DCHECK(isfinite(v));
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    size_t sign = bits >> 31;
    *out = '-';
    out += sign;
    bits &= UINT32_MAX >> 1;
    if (bits == 0) {
        *out = '0';
        return sign + 1;
    }
    return sign +
           put_decimal(out, shortest_float(bits & (((uint32_t)1 << 23) - 1), (int)(bits >> 23)));
}
