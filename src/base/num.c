#include "base/num.h"

#include "base/assert.h"
#include "base/num_table.h"

#include <math.h>

__extension__ typedef unsigned __int128
    u128; /* scalar alias, not a struct */

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

/* Exactly eight digits, v < 10^8. */
static void put8(char *out, uint32_t v)
{
    uint32_t hi = v / 10000, lo = v % 10000;
    put2(out, hi / 100);
    put2(out + 2, hi % 100);
    put2(out + 4, lo / 100);
    put2(out + 6, lo % 100);
}

/* Exactly n digits, v < 10^n. */
static void put_digits(char *out, uint64_t v, size_t n)
{
    while (n > 8) {
        n -= 8;
        put8(out + n, (uint32_t)(v % 100000000u));
        v /= 100000000u;
    }
    uint32_t w = (uint32_t)v;
    while (n >= 2) {
        n -= 2;
        put2(out + n, w % 100);
        w /= 100;
    }
    if (n)
        out[0] = (char)('0' + w);
}

size_t tr_num_u64(char *out, uint64_t v)
{
    if (v < 10) {
        out[0] = (char)('0' + v);
        return 1;
    }
    if (v < 100) {
        put2(out, (uint32_t)v);
        return 2;
    }
    size_t n = digit_count(v);
    put_digits(out, v, n);
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

static struct decimal without_zeros(struct decimal d)
{
    if (d.digits % 100000000u == 0) {
        d.digits /= 100000000u;
        d.exp += 8;
    }
    if (d.digits % 10000u == 0) {
        d.digits /= 10000u;
        d.exp += 4;
    }
    if (d.digits % 100u == 0) {
        d.digits /= 100u;
        d.exp += 2;
    }
    if (d.digits % 10u == 0) {
        d.digits /= 10u;
        d.exp += 1;
    }
    return d;
}

static size_t put_exponent(char *out, int e)
{
    size_t n = 0;
    out[n++] = 'e';
    out[n++] = e < 0 ? '-' : '+';
    uint32_t v = (uint32_t)(e < 0 ? -e : e);
    return n + tr_num_u64(out + n, v);
}

/* digits > 0, at most 17 of them. */
static size_t put_decimal(char *out, struct decimal d)
{
    if (d.digits % 10 == 0)
        d = without_zeros(d);
    size_t n = digit_count(d.digits);
    int point = (int)n + d.exp; /* digits before the decimal point */
    if (d.exp >= 0 && point <= 21) {
        put_digits(out, d.digits, n);
        memset(out + n, '0', (size_t)d.exp);
        return (size_t)point;
    }
    if (point > 0 && point <= 21) {
        put_digits(out + 1, d.digits, n);
        memmove(out, out + 1, (size_t)point);
        out[point] = '.';
        return n + 1;
    }
    if (point > -6 && point <= 0) {
        memcpy(out, "0.00000", 7);
        size_t at = (size_t)(2 - point);
        put_digits(out + at, d.digits, n);
        return at + n;
    }
    put_digits(out + 1, d.digits, n);
    out[0] = out[1];
    out[1] = '.';
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
