#include "base/utf8.h"

#if defined(__SSE2__)
#include <emmintrin.h>
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

size_t tr_utf8_valid_prefix(struct tr_span s)
{
    size_t i = 0;
    while (i < s.len) {
#if defined(__SSE2__)
        while (s.len - i >= 16) {
            __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(s.ptr + i));
            int m = _mm_movemask_epi8(v);
            if (m) {
                i += (size_t)__builtin_ctz((unsigned)m);
                break;
            }
            i += 16;
        }
        if (i == s.len)
            break;
#endif
        int n = tr_utf8_seq(tr_span(s.ptr + i, s.len - i));
        if (n <= 0)
            return i;
        i += (size_t)n;
    }
    return i;
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
