/* The protobuf wire format: bounded readers and writers, inline for the hot loops. Encoding:
 * protobuf.dev "Encoding". */
#ifndef TR_PROTO_WIRE_H
#define TR_PROTO_WIRE_H

#include "base/buf.h"
#include "base/span.h"
#include "base/status.h"

enum tr_wire_type {
    TR_WIRE_VARINT = 0,
    TR_WIRE_FIXED64 = 1,
    TR_WIRE_LEN = 2,
    TR_WIRE_SGROUP = 3,
    TR_WIRE_EGROUP = 4,
    TR_WIRE_FIXED32 = 5,
};

#define TR_VARINT_MAX 10

/* Advances *p (p <= end). NULL-free results: false when truncated or longer than 10 bytes. */
bool tr_wire_varint_slow(const char **p, const char *end, uint64_t *ret);
static inline bool tr_wire_varint(const char **p, const char *end, uint64_t *ret)
{
    if (*p < end && !(**p & 0x80)) {
        *ret = (uint8_t) * (*p)++;
        return true;
    }
    return tr_wire_varint_slow(p, end, ret);
}
/* A tag of at most 5 bytes whose field number is 1..2^29-1; false otherwise. */
static inline bool tr_wire_tag(const char **p, const char *end, uint32_t *ret_number,
                               uint32_t *ret_type)
{
    uint64_t v;
    if (!tr_wire_varint(p, end, &v) || v > UINT32_MAX || (v >> 3) == 0)
        return false;
    *ret_number = (uint32_t)(v >> 3);
    *ret_type = (uint32_t)(v & 7);
    return true;
}
static inline bool tr_wire_fixed32(const char **p, const char *end, uint32_t *ret)
{
    if (end - *p < 4)
        return false;
    memcpy(ret, *p, 4);
    *p += 4;
    return true;
}
static inline bool tr_wire_fixed64(const char **p, const char *end, uint64_t *ret)
{
    if (end - *p < 8)
        return false;
    memcpy(ret, *p, 8);
    *p += 8;
    return true;
}
static inline bool tr_wire_len(const char **p, const char *end, struct tr_span *ret)
{
    uint64_t n;
    if (!tr_wire_varint(p, end, &n) || n > (uint64_t)(end - *p))
        return false;
    *ret = tr_span(*p, (size_t)n);
    *p += n;
    return true;
}
/* Skips the value of a field whose tag was just read; groups to a depth of 100 (no recursion).
 * false: malformed. */
bool tr_wire_skip(const char **p, const char *end, uint32_t number, uint32_t wire_type);

static inline uint32_t tr_wire_zigzag32(int32_t v)
{
    return ((uint32_t)v << 1) ^ (uint32_t)(v >> 31);
}
static inline uint64_t tr_wire_zigzag64(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}
static inline int32_t tr_wire_unzigzag32(uint32_t v)
{
    return (int32_t)((v >> 1) ^ (0u - (v & 1)));
}
static inline int64_t tr_wire_unzigzag64(uint64_t v)
{
    return (int64_t)((v >> 1) ^ (0u - (v & 1)));
}

/* Bytes of v as a varint, 1-10. */
static inline size_t tr_wire_varint_len(uint64_t v)
{
    return (size_t)(((64 - (unsigned)__builtin_clzll(v | 1)) + 6) / 7);
}
/* Writes to out (TR_VARINT_MAX bytes of room); returns the length. */
static inline size_t tr_wire_put_varint(char *out, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        out[n++] = (char)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (char)v;
    return n;
}

#endif
