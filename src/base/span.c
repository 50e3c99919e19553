#include "base/span.h"

bool tr_span_ieq(struct tr_span a, struct tr_span b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (tr_lower(a.ptr[i]) != tr_lower(b.ptr[i]))
            return false;
    return true;
}

int tr_span_cmp(struct tr_span a, struct tr_span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int r = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (r != 0)
        return r;
    return a.len < b.len ? -1 : a.len > b.len;
}

size_t tr_span_rfind(struct tr_span s, char c)
{
    const char *p = s.len ? memrchr(s.ptr, c, s.len) : NULL;
    return p ? (size_t)(p - s.ptr) : s.len;
}

struct tr_span tr_span_trim(struct tr_span s)
{
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

struct tr_span tr_span_cut(struct tr_span *s, char sep)
{
    size_t i = tr_span_find(*s, sep);
    struct tr_span head = {s->ptr, i};
    *s = i == s->len ? (struct tr_span){NULL, 0} : (struct tr_span){s->ptr + i + 1, s->len - i - 1};
    return head;
}

bool tr_span_u64(struct tr_span s, uint64_t *ret)
{
    if (s.len == 0 || s.len > 19)
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!tr_is_digit(s.ptr[i]))
            return false;
        v = v * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    *ret = v;
    return true;
}

__extension__ typedef unsigned __int128 u128; /* scalar alias, not a struct */

static uint64_t mix(uint64_t a, uint64_t b)
{
    u128 m = (u128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t load64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

uint64_t tr_span_hash(struct tr_span s, uint64_t seed)
{
    const uint64_t k0 = 0x9E3779B97F4A7C15u, k1 = 0xD1B54A32D192ED03u;
    uint64_t h = seed ^ k0;
    const char *p = s.ptr;
    size_t n = s.len;
    while (n >= 8) {
        h = mix(h ^ load64(p), k1);
        p += 8;
        n -= 8;
    }
    uint64_t tail = 0;
    if (n)
        memcpy(&tail, p, n);
    return mix(h ^ tail, k0 ^ (uint64_t)s.len);
}

/* Eight at a time: the high bit of a byte shows when it is below 0x20, is 0x7F, or is above. A
 * borrow or carry goes into the next byte only out of one that is bad itself. */
bool tr_span_is_printable(struct tr_span s)
{
    size_t i = 0;
    for (; i + 8 <= s.len; i += 8) {
        uint64_t v;
        memcpy(&v, s.ptr + i, 8);
        if ((v | (v + UINT64_C(0x0101010101010101)) | (v - UINT64_C(0x2020202020202020))) &
            UINT64_C(0x8080808080808080))
            return false;
    }
    for (; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || (unsigned char)s.ptr[i] > 0x7E)
            return false;
    return true;
}
