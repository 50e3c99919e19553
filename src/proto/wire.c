#include "proto/wire.h"

#define SKIP_DEPTH_MAX 100

bool tr_wire_varint_slow(const char **p, const char *end, uint64_t *ret)
{
    const char *q = *p;
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (q == end)
            return false;
        uint8_t b = (uint8_t)*q++;
        /* the tenth byte has one useful bit; the others fall off, as in every implementation */
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *p = q;
            *ret = v;
            return true;
        }
    }
    return false;
}

static bool skip_bytes(const char **p, const char *end, size_t n)
{
    if ((size_t)(end - *p) < n)
        return false;
    *p += n;
    return true;
}

static bool skip_plain(const char **p, const char *end, uint32_t wire_type)
{
    uint64_t v;
    struct tr_span s;
    switch (wire_type) {
    case TR_WIRE_VARINT:
        return tr_wire_varint(p, end, &v);
    case TR_WIRE_FIXED64:
        return skip_bytes(p, end, 8);
    case TR_WIRE_LEN:
        return tr_wire_len(p, end, &s);
    case TR_WIRE_FIXED32:
        return skip_bytes(p, end, 4);
    default:
        return false;
    }
}

bool tr_wire_skip(const char **p, const char *end, uint32_t number, uint32_t wire_type)
{
    if (wire_type != TR_WIRE_SGROUP)
        return skip_plain(p, end, wire_type);
    /* An open group waits for the end tag of its own number; inside, anything goes. */
    uint32_t open[SKIP_DEPTH_MAX];
    unsigned depth = 0;
    open[depth++] = number;
    while (depth) {
        uint32_t n, type;
        if (!tr_wire_tag(p, end, &n, &type))
            return false;
        if (type == TR_WIRE_SGROUP) {
            if (depth == SKIP_DEPTH_MAX)
                return false;
            open[depth++] = n;
        } else if (type == TR_WIRE_EGROUP) {
            if (open[--depth] != n)
                return false;
        } else if (!skip_plain(p, end, type)) {
            return false;
        }
    }
    return true;
}
