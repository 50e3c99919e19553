/* Views of bytes, passed by value. A span does not own what it points at and need not end in NUL.
 */
#ifndef TR_BASE_SPAN_H
#define TR_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct tr_span {
    const char *ptr;
    size_t len;
};

/* A span of a string literal, usable in initialisers: static const struct tr_span s =
 * TR_SPAN_INIT("x"). */
#define TR_SPAN_INIT(lit)                                                                          \
    {                                                                                              \
        ("" lit), sizeof(lit) - 1                                                                  \
    }
#define TR_SPAN(lit) ((struct tr_span)TR_SPAN_INIT(lit))

static inline struct tr_span tr_span(const char *ptr, size_t len)
{
    return (struct tr_span){ptr, len};
}

/* From a NUL-terminated string; for configuration and tests, not for the request path. */
static inline struct tr_span tr_span_cstr(const char *s)
{
    return (struct tr_span){s, s ? strlen(s) : 0};
}

static inline bool tr_span_eq(struct tr_span a, struct tr_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* All bytes in %x20-7E. */
bool tr_span_is_printable(struct tr_span s);

/* ASCII case-insensitive equality, independent of locale. */
bool tr_span_ieq(struct tr_span a, struct tr_span b);

/* memcmp order, shorter first on a common prefix: <0, 0, >0. */
int tr_span_cmp(struct tr_span a, struct tr_span b);

static inline bool tr_span_starts(struct tr_span s, struct tr_span prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

static inline bool tr_span_ends(struct tr_span s, struct tr_span suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.ptr + (s.len - suffix.len), suffix.ptr, suffix.len) == 0);
}

/* The part from `from` on, empty when from >= len. */
static inline struct tr_span tr_span_from(struct tr_span s, size_t from)
{
    return from >= s.len ? (struct tr_span){s.ptr + s.len, 0}
                         : (struct tr_span){s.ptr + from, s.len - from};
}

static inline struct tr_span tr_span_sub(struct tr_span s, size_t from, size_t len)
{
    struct tr_span t = tr_span_from(s, from);
    if (t.len > len)
        t.len = len;
    return t;
}

/* Index of the first `c`, or s.len when there is none. */
static inline size_t tr_span_find(struct tr_span s, char c)
{
    const char *p = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return p ? (size_t)(p - s.ptr) : s.len;
}

/* Index of the last `c`, or s.len when there is none. */
size_t tr_span_rfind(struct tr_span s, char c);

/* Without SP and HTAB on both sides (OWS of RFC 9110 §5.6.3). */
struct tr_span tr_span_trim(struct tr_span s);

/* Cuts *s at the first `sep`: the part before it is returned, *s becomes the part after it (ptr
 * NULL when there was no separator). Loop: while (s.ptr) { part = tr_span_cut(&s, ','); ... } */
struct tr_span tr_span_cut(struct tr_span *s, char sep);

/* A decimal number of 1 to 19 digits and nothing else; false leaves *ret unset. */
bool tr_span_u64(struct tr_span s, uint64_t *ret);

/* Seedable 64-bit hash (not cryptographic; the seed is per process, so that peers cannot aim
 * collisions). */
uint64_t tr_span_hash(struct tr_span s, uint64_t seed);

static inline char tr_lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c | 0x20) : c;
}
static inline bool tr_is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static inline bool tr_is_alpha(char c)
{
    char l = (char)(c | 0x20);
    return l >= 'a' && l <= 'z';
}
/* 0-15, or -1. */
static inline int tr_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char l = (char)(c | 0x20);
    return (l >= 'a' && l <= 'f') ? l - 'a' + 10 : -1;
}

#endif
