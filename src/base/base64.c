#include "base/base64.h"

#include "base/simd.h"

#if defined(TR_SIMD)
#include <immintrin.h>
#endif

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#define X 0xFF
/* clang-format off */
static const uint8_t values[256] = {
    X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X, X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,
    X,X,X,X,X,X,X,X,X,X,X,62,X,62,X,63, 52,53,54,55,56,57,58,59,60,61,X,X,X,X,X,X,
    X,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14, 15,16,17,18,19,20,21,22,23,24,25,X,X,X,X,63,
    X,26,27,28,29,30,31,32,33,34,35,36,37,38,39,40, 41,42,43,44,45,46,47,48,49,50,51,X,X,X,X,X,
    X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X, X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,
    X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X, X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,
    X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X, X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,
    X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X, X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,X,
};
/* clang-format on */
#undef X

static uint32_t byte_at(struct tr_span s, size_t i)
{
    return (unsigned char)s.ptr[i];
}

#if defined(TR_SIMD)

/* 24 bytes and 32 characters at a time, after W. Mula and D. Lemire, "Faster Base64 encoding and
 * decoding using AVX2 instructions" (2018). */

#define LANES(...) _mm256_setr_epi8(__VA_ARGS__, __VA_ARGS__)

/* Each 3 bytes become four 6-bit numbers in four bytes: the bytes are spread so that each number
 * lies within 16 bits, and the multiplications shift them into place. */
__attribute__((target("avx2"))) static inline __m256i split_avx2(__m256i v)
{
    v = _mm256_shuffle_epi8(v, LANES(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10));
    __m256i ac = _mm256_mulhi_epu16(_mm256_and_si256(v, _mm256_set1_epi32(0x0FC0FC00)),
                                    _mm256_set1_epi32(0x04000040));
    __m256i bd = _mm256_mullo_epi16(_mm256_and_si256(v, _mm256_set1_epi32(0x003F03F0)),
                                    _mm256_set1_epi32(0x01000010));
    return _mm256_or_si256(ac, bd);
}

/* 0-63 to characters, by what is to be added in each of the five ranges: index 0 for a-z, 1-12 for
 * the digits and the two others, 13 for A-Z. */
__attribute__((target("avx2"))) static inline __m256i letters_avx2(__m256i v)
{
    __m256i range = _mm256_subs_epu8(v, _mm256_set1_epi8(51));
    __m256i upper = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), v);
    range = _mm256_or_si256(range, _mm256_and_si256(upper, _mm256_set1_epi8(13)));
    const __m256i add =
        LANES('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
              '0' - 52, '0' - 52, '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
    return _mm256_add_epi8(v, _mm256_shuffle_epi8(add, range));
}

/* Returns the bytes of `in` that it encoded, a multiple of 24. */
__attribute__((target("avx2"))) static size_t encode_avx2(char *out, struct tr_span in)
{
    size_t i = 0;
    for (; in.len - i >= 28; i += 24) {
        __m256i v = _mm256_inserti128_si256(_mm256_castsi128_si256(tr_simd_load(in.ptr + i)),
                                            tr_simd_load(in.ptr + i + 12), 1);
        v = letters_avx2(split_avx2(v));
        _mm256_storeu_si256((__m256i *)(void *)(out + i / 3 * 4), v);
    }
    return i;
}

__attribute__((target("avx2"))) static inline __m256i in_range(__m256i v, char from, char to)
{
    return _mm256_and_si256(_mm256_cmpgt_epi8(v, _mm256_set1_epi8((char)(from - 1))),
                            _mm256_cmpgt_epi8(_mm256_set1_epi8((char)(to + 1)), v));
}

__attribute__((target("avx2"))) static inline __m256i is_char(__m256i v, char c)
{
    return _mm256_cmpeq_epi8(v, _mm256_set1_epi8(c));
}

/* Characters to 0-63; *ret_good: FF where it was one of either alphabet. */
__attribute__((target("avx2"))) static inline __m256i numbers_avx2(__m256i v, __m256i *ret_good)
{
    __m256i upper = in_range(v, 'A', 'Z'), lower = in_range(v, 'a', 'z'),
            digit = in_range(v, '0', '9');
    __m256i plus = is_char(v, '+'), minus = is_char(v, '-'), slash = is_char(v, '/'),
            low = is_char(v, '_');
    __m256i add = _mm256_and_si256(upper, _mm256_set1_epi8(-'A'));
    add = _mm256_or_si256(add, _mm256_and_si256(lower, _mm256_set1_epi8(26 - 'a')));
    add = _mm256_or_si256(add, _mm256_and_si256(digit, _mm256_set1_epi8(52 - '0')));
    add = _mm256_or_si256(add, _mm256_and_si256(plus, _mm256_set1_epi8(62 - '+')));
    add = _mm256_or_si256(add, _mm256_and_si256(minus, _mm256_set1_epi8(62 - '-')));
    add = _mm256_or_si256(add, _mm256_and_si256(slash, _mm256_set1_epi8(63 - '/')));
    add = _mm256_or_si256(add, _mm256_and_si256(low, _mm256_set1_epi8(63 - '_')));
    __m256i letters = _mm256_or_si256(_mm256_or_si256(upper, lower), digit);
    __m256i others = _mm256_or_si256(_mm256_or_si256(plus, minus), _mm256_or_si256(slash, low));
    *ret_good = _mm256_or_si256(letters, others);
    return _mm256_add_epi8(v, add);
}

/* Returns the characters that it decoded, a multiple of 32; stops before a stray one. Stores 32
 * bytes for 24, which stay behind what is read next (out == in.ptr) and inside of out. */
__attribute__((target("avx2"))) static size_t decode_avx2(char *out, const char *in, size_t n)
{
    size_t i = 0;
    for (; n - i >= 48; i += 32) {
        __m256i good, v = _mm256_loadu_si256((const __m256i *)(const void *)(in + i));
        v = numbers_avx2(v, &good);
        if (_mm256_movemask_epi8(good) != -1)
            break;
        /* pairs to 12 bits, pairs of these to 24, then the three bytes of each four together */
        v = _mm256_maddubs_epi16(v, _mm256_set1_epi32(0x01400140));
        v = _mm256_madd_epi16(v, _mm256_set1_epi32(0x00011000));
        v = _mm256_shuffle_epi8(v, LANES(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1));
        v = _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7));
        _mm256_storeu_si256((__m256i *)(void *)(out + i / 4 * 3), v);
    }
    return i;
}
#endif

/* The whole groups of three. */
static size_t encode_whole(char *out, struct tr_span in)
{
    size_t i = 0;
#if defined(TR_SIMD)
    if (in.len >= 28 && tr_simd_avx2())
        i = encode_avx2(out, in);
#endif
    size_t o = i / 3 * 4;
    for (; in.len - i >= 3; i += 3, o += 4) {
        uint32_t v = byte_at(in, i) << 16 | byte_at(in, i + 1) << 8 | byte_at(in, i + 2);
        out[o] = alphabet[v >> 18];
        out[o + 1] = alphabet[(v >> 12) & 63];
        out[o + 2] = alphabet[(v >> 6) & 63];
        out[o + 3] = alphabet[v & 63];
    }
    return o;
}

size_t tr_base64_encode_unpadded(char *out, struct tr_span in)
{
    size_t o = encode_whole(out, in);
    size_t i = in.len - in.len % 3;
    if (in.len - i == 1) {
        uint32_t v = byte_at(in, i);
        out[o++] = alphabet[v >> 2];
        out[o++] = alphabet[(v << 4) & 63];
    } else if (in.len - i == 2) {
        uint32_t v = byte_at(in, i) << 8 | byte_at(in, i + 1);
        out[o++] = alphabet[v >> 10];
        out[o++] = alphabet[(v >> 4) & 63];
        out[o++] = alphabet[(v << 2) & 63];
    }
    return o;
}

size_t tr_base64_encode(char *out, struct tr_span in)
{
    size_t o = tr_base64_encode_unpadded(out, in);
    while (o % 4 != 0)
        out[o++] = '=';
    return o;
}

/* The n (2-4) characters at p as 6-bit groups from bit 18 down; false on a stray character. */
static bool quad(const char *p, size_t n, uint32_t *ret)
{
    uint32_t v = 0, bad = 0;
    for (size_t i = 0; i < 4; i++) {
        uint32_t d = i < n ? values[(unsigned char)p[i]] : 0;
        bad |= d;
        v = v << 6 | (d & 63);
    }
    *ret = v;
    return (bad & 0x80) == 0;
}

enum tr_err tr_base64_decode(char *out, struct tr_span in, size_t *ret_len)
{
    size_t n = in.len;
    if (n && in.ptr[n - 1] == '=') {
        /* padding fills the last quad and only that */
        n -= n > 1 && in.ptr[n - 2] == '=' ? 2 : 1;
        if (in.len % 4 != 0 || n % 4 == 0)
            return TR_ERR_JSON_BASE64;
    }
    size_t i = 0, rest = n % 4;
    if (rest == 1)
        return TR_ERR_JSON_BASE64;
#if defined(TR_SIMD)
    if (n >= 48 && tr_simd_avx2())
        i = decode_avx2(out, in.ptr, n);
#endif
    size_t o = i / 4 * 3;
    uint32_t v;
    for (; n - i >= 4; i += 4, o += 3) {
        if (!quad(in.ptr + i, 4, &v))
            return TR_ERR_JSON_BASE64;
        out[o] = (char)(v >> 16);
        out[o + 1] = (char)(v >> 8);
        out[o + 2] = (char)v;
    }
    if (rest) {
        if (!quad(in.ptr + i, rest, &v))
            return TR_ERR_JSON_BASE64;
        out[o++] = (char)(v >> 16);
        if (rest == 3)
            out[o++] = (char)(v >> 8);
    }
    *ret_len = o;
    return TR_OK;
}
