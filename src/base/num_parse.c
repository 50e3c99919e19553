#include "base/assert.h"
#include "base/num.h"
#include "base/num_table.h"

#include <float.h>
#include <math.h>

__extension__ typedef unsigned __int128 u128; /* scalar alias, not a struct */

/* -- the text
 * ------------------------------------------------------------------------------------------ */

/* A number taken apart: value = (-1)^neg * D * 10^exp, D being the digits of `whole` then of
 * `frac`. */
struct number {
    struct tr_span whole, frac;
    uint64_t head;    /* the first 19 digits of D (all of them when !cut), leading zeros skipped */
    int64_t exp;      /* of D */
    int64_t head_exp; /* of head */
    bool neg, cut;    /* cut: D has more digits than head */
};

#define EXP_BOUND ((int64_t)1 << 60) /* beyond any exponent that a length could make up for */

/* -- eight digits at once: bytes of a word, the first digit in the lowest
 * ------------------------------ */

#define BYTES(b) ((uint64_t)(b)*0x0101010101010101u)

static uint64_t load_word(const char *p)
{
    uint64_t w;
    memcpy(&w, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    return w;
}

static bool all_digits(uint64_t w)
{
    return ((w & BYTES(0xF0)) | ((w + BYTES(6)) & BYTES(0xF0)) >> 4) == BYTES(0x33);
}

/* Pairs, then fours, then all eight: each step is one multiplication by (10^n, 1) in two lanes. */
static uint64_t word_value(uint64_t w)
{
    const uint64_t lanes = 0x000000FF000000FFu;
    w = (w & BYTES(0x0F)) * 10 + ((w & BYTES(0x0F)) >> 8);
    return ((w & lanes) * (100 + ((uint64_t)1000000 << 32)) +
            (w >> 16 & lanes) * (1 + ((uint64_t)10000 << 32))) >>
           32;
}

/* p[0..n), 1 to 8 bytes, behind as many '0' as are missing. */
static uint64_t load_padded(const char *p, size_t n)
{
    uint64_t w;
    if (n == 8)
        return load_word(p);
    if (n >= 4) {
        uint32_t a, b;
        memcpy(&a, p, 4);
        memcpy(&b, p + n - 4, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        a = __builtin_bswap32(a);
        b = __builtin_bswap32(b);
#endif
        w = a | (uint64_t)b << (8 * n - 32);
    } else {
        w = (unsigned char)p[0] | (uint64_t)(unsigned char)p[n / 2] << (8 * (n / 2)) |
            (uint64_t)(unsigned char)p[n - 1] << (8 * (n - 1));
    }
    return w << (64 - 8 * n) | BYTES('0') >> (8 * n);
}

/* A plain integer of at most 16 digits: most are. */
static bool short_integer(struct tr_span s, bool *ret_neg, uint64_t *ret)
{
    if (s.len == 0 || s.len > 17)
        return false;
    bool neg = s.ptr[0] == '-';
    const char *p = s.ptr + neg;
    size_t n = s.len - neg;
    if (n == 0 || n > 16 || (p[0] == '0' && n > 1))
        return false;
    uint64_t v = 0;
    if (n > 8) {
        uint64_t high = load_padded(p, n - 8);
        if (!all_digits(high))
            return false;
        v = word_value(high) * 100000000u;
        p += n - 8;
        n = 8;
    }
    uint64_t low = load_padded(p, n);
    if (!all_digits(low))
        return false;
    *ret_neg = neg;
    *ret = v + word_value(low);
    return true;
}

static const char *digits_run(const char *p, const char *end, uint64_t *acc)
{
    uint64_t v = *acc;
    while (tr_unlikely(end - p >= 8)) {
        uint64_t w = load_word(p);
        if (!all_digits(w))
            break;
        v = v * 100000000u + word_value(w);
        p += 8;
    }
    while (p < end && tr_is_digit(*p)) {
        v = v * 10 + (uint64_t)(*p - '0'); /* wraps beyond 19 digits; number_cut sees to that */
        p++;
    }
    *acc = v;
    return p;
}

static char digit_at(const struct number *n, size_t i)
{
    if (i < n->whole.len)
        return n->whole.ptr[i];
    return n->frac.ptr[i - n->whole.len];
}

/* More than 19 digits: takes the first 19 that count. */
static void number_cut(struct number *n)
{
    size_t total = n->whole.len + n->frac.len, i = 0;
    while (i < total && digit_at(n, i) == '0')
        i++;
    size_t taken = 0;
    uint64_t v = 0;
    for (; i < total && taken < 19; i++, taken++)
        v = v * 10 + (uint64_t)(digit_at(n, i) - '0');
    n->head = v;
    n->head_exp = n->exp + (int64_t)(total - i);
    n->cut = i < total;
}

static const char *exponent(const char *p, const char *end, int64_t *ret)
{
    bool neg = false;
    p++;
    if (p < end && (*p == '+' || *p == '-')) {
        neg = *p == '-';
        p++;
    }
    if (p == end || !tr_is_digit(*p))
        return NULL;
    int64_t e = 0;
    for (; p < end && tr_is_digit(*p); p++)
        if (e < EXP_BOUND / 16)
            e = e * 10 + (*p - '0');
    *ret = neg ? -e : e;
    return p;
}

/* RFC 8259 §6, the whole of s. */
static bool number_read(struct tr_span s, struct number *n)
{
    if (s.len == 0)
        return false;
    const char *p = s.ptr, *end = s.ptr + s.len;
    uint64_t v = 0;
    int64_t e = 0;
    n->neg = *p == '-';
    p += n->neg;
    const char *whole = p;
    p = digits_run(p, end, &v);
    n->whole = tr_span(whole, (size_t)(p - whole));
    if (n->whole.len == 0 || (*whole == '0' && n->whole.len > 1))
        return false;
    n->frac = tr_span(p, 0);
    if (p < end && *p == '.') {
        const char *frac = ++p;
        p = digits_run(p, end, &v);
        n->frac = tr_span(frac, (size_t)(p - frac));
        if (n->frac.len == 0)
            return false;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p = exponent(p, end, &e);
        if (!p)
            return false;
    }
    n->exp = n->head_exp = e - (int64_t)n->frac.len;
    n->head = v;
    n->cut = false;
    if (tr_unlikely(n->whole.len + n->frac.len > 19))
        number_cut(n);
    return p == end;
}

/* -- integers
 * ------------------------------------------------------------------------------------------ */

static enum tr_err magnitude_slow(const struct number *n, uint64_t *ret)
{
    size_t first = 0, end = n->whole.len + n->frac.len;
    int64_t e = n->exp;
    while (first < end && digit_at(n, first) == '0')
        first++;
    while (end > first && digit_at(n, end - 1) == '0') {
        end--;
        e++;
    }
    if (first == end) {
        *ret = 0;
        return TR_OK;
    }
    if (e < 0)
        return TR_ERR_JSON_TYPE;
    if (end - first > 20 || e > 19)
        return TR_ERR_JSON_RANGE;
    uint64_t v = 0;
    bool over = false;
    for (size_t i = first; i < end; i++) {
        over |= __builtin_mul_overflow(v, 10u, &v);
        over |= __builtin_add_overflow(v, (uint64_t)(digit_at(n, i) - '0'), &v);
    }
    for (; e > 0; e--)
        over |= __builtin_mul_overflow(v, 10u, &v);
    if (over)
        return TR_ERR_JSON_RANGE;
    *ret = v;
    return TR_OK;
}

static enum tr_err magnitude(struct tr_span s, bool *ret_neg, uint64_t *ret)
{
    struct number n;
    if (tr_likely(short_integer(s, ret_neg, ret)))
        return TR_OK;
    if (!number_read(s, &n))
        return TR_ERR_JSON_SYNTAX;
    *ret_neg = n.neg;
    if (n.exp == 0 && !n.cut && n.whole.len <= 19) {
        *ret = n.head;
        return TR_OK;
    }
    return magnitude_slow(&n, ret);
}

enum tr_err tr_num_parse_u64(struct tr_span s, uint64_t *ret)
{
    bool neg;
    uint64_t v;
    enum tr_err err = magnitude(s, &neg, &v);
    if (err)
        return err;
    if (neg && v != 0)
        return TR_ERR_JSON_RANGE;
    *ret = v;
    return TR_OK;
}

enum tr_err tr_num_parse_i64(struct tr_span s, int64_t *ret)
{
    bool neg;
    uint64_t v;
    enum tr_err err = magnitude(s, &neg, &v);
    if (err)
        return err;
    if (v > (uint64_t)INT64_MAX + neg)
        return TR_ERR_JSON_RANGE;
    *ret = neg ? (int64_t)(0 - v) : (int64_t)v;
    return TR_OK;
}

/* -- binary floating point
 * --------------------------------------------------------------------------------- */

struct format {
    int mant_bits; /* stored ones */
    int bias;
    uint64_t inf;         /* bits of infinity */
    int min10, max10;     /* below: w * 10^min10 is 0 for any w; above: infinity for any w > 0 */
    int even_lo, even_hi; /* exponents at which 64-bit w can lie exactly between two values */
};

static const struct format f64 = {52, 1023, (uint64_t)0x7FF << 52, -342, 308, -4, 23};
static const struct format f32 = {23, 127, (uint64_t)0xFF << 23, -65, 38, -17, 10};

/* w * 10^q to the nearest, as bits. (D. Lemire, "Number parsing at a gigabyte per second", 2021;
 * that 128 bits of the power always decide for a 64-bit w: N. Mushtak and D. Lemire, "Fast number
 * parsing without fallback", 2023.) */
static uint64_t from_decimal(const struct format *f, uint64_t w, int64_t q64)
{
    if (w == 0 || q64 < f->min10)
        return 0;
    if (q64 > f->max10)
        return f->inf;
    int q = (int)q64;
    int lz = __builtin_clzll(w);
    w <<= lz;
    struct tr_pow10 t = tr_pow10_table[q - TR_POW10_MIN];
    t.lo -= q > 55; /* cut off, not rounded up: see contrib/gen-num-table.py */
    u128 product = (u128)w * t.hi;
    uint64_t mask = UINT64_MAX >> (f->mant_bits + 3);
    if (((uint64_t)(product >> 64) & mask) == mask)
        product += (u128)w * t.lo >> 64;
    uint64_t hi = (uint64_t)(product >> 64), lo = (uint64_t)product;
    int top = (int)(hi >> 63);
    int shift = top + 64 - f->mant_bits - 3;
    uint64_t m = hi >> shift;
    int e = ((217706 * q) >> 16) + 63 + top - lz + f->bias;
    if (e <= 0) { /* subnormal, or rounding up to the least normal */
        if (1 - e >= 64)
            return 0;
        m >>= 1 - e;
        return (m + (m & 1)) >> 1;
    }
    if (lo <= 1 && q >= f->even_lo && q <= f->even_hi && (m & 3) == 1 && m << shift == hi)
        m &= ~(uint64_t)1; /* exactly half-way: down to the even one */
    m = (m + (m & 1)) >> 1;
    /* a carry out of the mantissa moves into the exponent by itself, and beyond the last one gives
     * infinity */
    uint64_t bits = m + ((uint64_t)(e - 1) << f->mant_bits);
    return bits < f->inf ? bits : f->inf;
}

/* Unsigned integers of up to 5120 bits, for what 19 digits do not decide. */
#define BIG_LIMBS  80
#define BIG_DIGITS 800 /* no value half-way between two doubles has more than 767 */

struct big {
    size_t n; /* limbs in use, the top one not 0 */
    uint64_t limb[BIG_LIMBS];
};

static void big_mul_add(struct big *b, uint64_t factor, uint64_t add)
{
    uint64_t carry = add;
    for (size_t i = 0; i < b->n; i++) {
        u128 p = (u128)b->limb[i] * factor + carry;
        b->limb[i] = (uint64_t)p;
        carry = (uint64_t)(p >> 64);
    }
    if (carry) {
        TR_ASSERT(b->n < BIG_LIMBS);
        b->limb[b->n++] = carry;
    }
}

static void big_mul_pow5(struct big *b, int64_t e)
{
    const uint64_t pow5_27 = 7450580596923828125u;
    for (; e >= 27; e -= 27)
        big_mul_add(b, pow5_27, 0);
    uint64_t f = 1;
    for (; e > 0; e--)
        f *= 5;
    big_mul_add(b, f, 0);
}

static void big_shift(struct big *b, int64_t bits)
{
    size_t limbs = (size_t)bits / 64;
    big_mul_add(b, (uint64_t)1 << (bits % 64), 0);
    if (b->n == 0 || limbs == 0)
        return;
    TR_ASSERT(b->n + limbs <= BIG_LIMBS);
    memmove(b->limb + limbs, b->limb, b->n * sizeof b->limb[0]);
    memset(b->limb, 0, limbs * sizeof b->limb[0]);
    b->n += limbs;
}

static int big_cmp(const struct big *a, const struct big *b)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    for (size_t i = a->n; i-- > 0;)
        if (a->limb[i] != b->limb[i])
            return a->limb[i] < b->limb[i] ? -1 : 1;
    return 0;
}

/* The digits of n, cut at BIG_DIGITS with a last digit 1 in place of whatever follows. Returns
 * their exponent. */
static int64_t big_digits(struct big *b, const struct number *n)
{
    size_t total = n->whole.len + n->frac.len, i = 0;
    while (i < total && digit_at(n, i) == '0')
        i++;
    size_t end = total - i > BIG_DIGITS ? i + BIG_DIGITS : total;
    b->n = 0;
    for (; i < end; i++)
        big_mul_add(b, 10, (uint64_t)(digit_at(n, i) - '0'));
    int64_t e = n->exp + (int64_t)(total - end);
    for (; i < total; i++) {
        if (digit_at(n, i) != '0') {
            big_mul_add(b, 10, 1);
            return e - 1;
        }
    }
    return e;
}

/* digits * 10^e against the middle between the value of `bits` and the next one up. */
static int cmp_half(const struct format *f, const struct big *digits, int64_t e, uint64_t bits)
{
    int biased = (int)(bits >> f->mant_bits);
    uint64_t m = bits & (((uint64_t)1 << f->mant_bits) - 1);
    if (biased)
        m |= (uint64_t)1 << f->mant_bits;
    int64_t e2 = (biased ? biased : 1) - f->bias - f->mant_bits - 1;
    struct big left = *digits, right = {.n = 1, .limb = {2 * m + 1}};
    if (e >= 0)
        big_mul_pow5(&left, e);
    else
        big_mul_pow5(&right, -e);
    int64_t shift = e - e2; /* 2^e of the left, 2^e2 of the right */
    if (shift >= 0)
        big_shift(&left, shift);
    else
        big_shift(&right, -shift);
    return big_cmp(&left, &right);
}

/* From a guess that is at most a few steps off to the nearest. */
static uint64_t settle(const struct format *f, const struct number *n, uint64_t bits)
{
    struct big digits;
    int64_t e = big_digits(&digits, n);
    if (bits >= f->inf)
        bits = f->inf - 1;
    while (bits < f->inf) {
        int c = cmp_half(f, &digits, e, bits);
        if (c < 0 || (c == 0 && (bits & 1) == 0))
            break;
        bits++;
        if (c == 0)
            return bits;
    }
    while (bits > 0 && bits < f->inf) {
        int c = cmp_half(f, &digits, e, bits - 1);
        if (c > 0 || (c == 0 && (bits & 1) == 0))
            break;
        bits--;
    }
    return bits;
}

static uint64_t nearest(const struct format *f, const struct number *n)
{
    uint64_t bits = from_decimal(f, n->head, n->head_exp);
    if (tr_likely(!n->cut) || bits == from_decimal(f, n->head + 1, n->head_exp))
        return bits;
    return settle(f, n, bits);
}

enum tr_err tr_num_parse_double(struct tr_span s, double *ret)
{
    static const double exact[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    struct number n;
    if (!number_read(s, &n))
        return TR_ERR_JSON_SYNTAX;
    double v;
    /* Both operands exact, one rounding (W. D. Clinger, "How to read floating point numbers
     * accurately", 1990). */
    if (FLT_EVAL_METHOD == 0 && n.head <= (uint64_t)1 << 53 && n.exp >= -22 && n.exp <= 22 &&
        !n.cut) {
        v = (double)(int64_t)n.head;
        v = n.exp < 0 ? v / exact[-n.exp] : v * exact[n.exp];
    } else {
        uint64_t bits = nearest(&f64, &n);
        if (bits == f64.inf)
            return TR_ERR_JSON_RANGE;
        memcpy(&v, &bits, sizeof v);
    }
    *ret = n.neg ? -v : v;
    return TR_OK;
}

enum tr_err tr_num_parse_float(struct tr_span s, float *ret)
{
    static const float exact[] = {1e0f, 1e1f, 1e2f, 1e3f, 1e4f, 1e5f,
                                  1e6f, 1e7f, 1e8f, 1e9f, 1e10f};
    struct number n;
    if (!number_read(s, &n))
        return TR_ERR_JSON_SYNTAX;
    float v;
    if (FLT_EVAL_METHOD == 0 && n.head <= (uint64_t)1 << 24 && n.exp >= -10 && n.exp <= 10 &&
        !n.cut) {
        v = (float)(int32_t)n.head;
        v = n.exp < 0 ? v / exact[-n.exp] : v * exact[n.exp];
    } else {
        uint32_t bits = (uint32_t)nearest(&f32, &n);
        if (bits == f32.inf)
            return TR_ERR_JSON_RANGE;
        memcpy(&v, &bits, sizeof v);
    }
    *ret = n.neg ? -v : v;
    return TR_OK;
}
