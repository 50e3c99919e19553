#include "proto/names.h"

static char upper(char c)
{
    return (c >= 'a' && c <= 'z') ? (char)(c - 0x20) : c;
}

struct tr_span tr_name_to_json(struct tr_arena *arena, struct tr_span proto)
{
    if (tr_span_find(proto, '_') == proto.len)
        return proto;
    char *out = tr_arena_alloc(arena, proto.len);
    if (!out)
        return (struct tr_span){NULL, 0};
    size_t n = 0;
    bool raise = false;
    for (size_t i = 0; i < proto.len; i++) {
        char c = proto.ptr[i];
        if (c == '_') {
            raise = true;
            continue;
        }
        out[n++] = raise ? upper(c) : c;
        raise = false;
    }
    return tr_span(out, n);
}

bool tr_name_is_json_of(struct tr_span json, struct tr_span proto)
{
    size_t n = 0;
    bool raise = false;
    for (size_t i = 0; i < proto.len; i++) {
        char c = proto.ptr[i];
        if (c == '_') {
            raise = true;
            continue;
        }
        if (n == json.len || json.ptr[n] != (raise ? upper(c) : c))
            return false;
        n++;
        raise = false;
    }
    return n == json.len;
}

static size_t escape(char *out, struct tr_span s)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '"' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)c;
        } else if (c < 0x20) {
            memcpy(out + n, "\\u00", 4);
            out[n + 4] = hex[c >> 4];
            out[n + 5] = hex[c & 15];
            n += 6;
        } else {
            out[n++] = (char)c;
        }
    }
    return n;
}

struct tr_span tr_name_quote(struct tr_arena *arena, struct tr_span s, const char *tail)
{
    size_t tail_len = strlen(tail);
    bool plain = true;
    for (size_t i = 0; i < s.len && plain; i++)
        plain = (unsigned char)s.ptr[i] >= 0x20 && s.ptr[i] != '"' && s.ptr[i] != '\\';
    char *out = tr_arena_alloc(arena, (plain ? s.len : s.len * 6) + 2 + tail_len);
    if (!out)
        return (struct tr_span){NULL, 0};
    size_t n = 0;
    out[n++] = '"';
    if (plain) {
        memcpy(out + n, s.ptr, s.len);
        n += s.len;
    } else {
        n += escape(out + n, s);
    }
    out[n++] = '"';
    memcpy(out + n, tail, tail_len);
    return tr_span(out, n + tail_len);
}

uint32_t tr_name_slot_count(uint32_t count)
{
    uint32_t n = 4;
    while (n < count * 2)
        n *= 2;
    return n;
}
