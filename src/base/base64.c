#include "base/base64.h"

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

static size_t encode_whole(char *out, struct tr_span in)
{
    size_t i = 0, o = 0;
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
    size_t i = 0, o = 0, rest = n % 4;
    if (rest == 1)
        return TR_ERR_JSON_BASE64;
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
