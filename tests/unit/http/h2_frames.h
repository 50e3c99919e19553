/* HTTP/2 frames by hand, for peers that must be free to do what no library would. */
#ifndef TR_TESTS_H2_FRAMES_H
#define TR_TESTS_H2_FRAMES_H

#include "base/buf.h"
#include "test.h"

enum {
    F_DATA,
    F_HEADERS,
    F_PRIORITY,
    F_RST,
    F_SETTINGS,
    F_PUSH,
    F_PING,
    F_GOAWAY,
    F_WINDOW,
    F_CONTINUATION
};
#define F_END_STREAM  0x1
#define F_ACK         0x1
#define F_END_HEADERS 0x4
#define F_PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static inline void f_bytes(struct tr_buf *out, const void *p, size_t n)
{
    assert_int_equal(tr_buf_append(out, tr_span(p, n)), TR_OK);
}

static inline void f_u32(struct tr_buf *out, uint32_t v)
{
    unsigned char b[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16),
                          (unsigned char)(v >> 8), (unsigned char)v};
    f_bytes(out, b, 4);
}

static inline void f_head(struct tr_buf *out, size_t len, unsigned type, unsigned flags,
                          uint32_t id)
{
    unsigned char b[5] = {(unsigned char)(len >> 16), (unsigned char)(len >> 8), (unsigned char)len,
                          (unsigned char)type, (unsigned char)flags};
    f_bytes(out, b, 5);
    f_u32(out, id);
}

static inline void f_frame(struct tr_buf *out, unsigned type, unsigned flags, uint32_t id,
                           const void *payload, size_t len)
{
    f_head(out, len, type, flags, id);
    f_bytes(out, payload, len);
}

static inline void f_code(struct tr_buf *out, unsigned type, uint32_t id, uint32_t code)
{
    f_head(out, 4, type, 0, id);
    f_u32(out, code);
}

/* A literal field without indexing and without Huffman; name and value below 127 bytes, or the long
 * form. */
static inline void f_string(struct tr_buf *block, const char *s, size_t len)
{
    unsigned char b[6];
    size_t n = 0;
    if (len < 127) {
        b[n++] = (unsigned char)len;
    } else {
        size_t rest = len - 127;
        b[n++] = 127;
        while (rest >= 128) {
            b[n++] = (unsigned char)(rest % 128 + 128);
            rest /= 128;
        }
        b[n++] = (unsigned char)rest;
    }
    f_bytes(block, b, n);
    f_bytes(block, s, len);
}

static inline void f_field(struct tr_buf *block, const char *name, const char *value)
{
    assert_int_equal(tr_buf_push(block, 0), TR_OK);
    f_string(block, name, strlen(name));
    f_string(block, value, strlen(value));
}

static inline void f_request_block(struct tr_buf *block, const char *method, const char *path)
{
    f_field(block, ":method", method);
    f_field(block, ":scheme", "http");
    f_field(block, ":path", path);
    f_field(block, ":authority", "a.test");
}

/* HEADERS with the usual pseudo-header fields, and one more field when name is not NULL. */
static inline void f_request(struct tr_buf *out, uint32_t id, const char *method, const char *path,
                             const char *name, const char *value, bool end)
{
    struct tr_buf block = {NULL, 0, 0};
    f_request_block(&block, method, path);
    if (name)
        f_field(&block, name, value);
    f_frame(out, F_HEADERS, F_END_HEADERS | (end ? F_END_STREAM : 0), id, block.ptr, block.len);
    tr_buf_fini(&block);
}

static inline void f_settings(struct tr_buf *out, const uint32_t *pairs, size_t count)
{
    f_head(out, count * 6, F_SETTINGS, 0, 0);
    for (size_t i = 0; i < count; i++) {
        unsigned char id[2] = {0, (unsigned char)pairs[2 * i]};
        f_bytes(out, id, 2);
        f_u32(out, pairs[2 * i + 1]);
    }
}

struct frame {
    size_t len;
    unsigned type, flags;
    uint32_t id;
    const unsigned char *payload;
};
/* What a variable is before a frame was read into it. */
#define F_NONE                                                                                     \
    {                                                                                              \
        .payload = (const unsigned char *)"\0\0\0\0\0\0\0"                                         \
    }

static inline uint32_t f_read_u32(const void *p)
{
    unsigned char b[4];
    memcpy(b, p, sizeof b);
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* The frame at *pos, which moves behind it; false when it is not complete. */
static inline bool f_next(const struct tr_buf *in, size_t *pos, struct frame *ret)
{
    if (!in->ptr || in->len - *pos < 9)
        return false;
    const unsigned char *b = (const unsigned char *)in->ptr + *pos;
    size_t len = (size_t)b[0] << 16 | (size_t)b[1] << 8 | b[2];
    if (in->len - *pos - 9 < len)
        return false;
    *ret = (struct frame){len, b[3], b[4], f_read_u32(b + 5) & 0x7fffffff, b + 9};
    *pos += 9 + len;
    return true;
}

/* The first frame of a type on a stream (id ~0u: any); false when there is none. */
static inline bool f_find(const struct tr_buf *in, unsigned type, uint32_t id, struct frame *ret)
{
    for (size_t pos = 0; f_next(in, &pos, ret);) {
        if (ret->type == type && (id == ~0u || ret->id == id))
            return true;
    }
    return false;
}

static inline unsigned f_count(const struct tr_buf *in, unsigned type)
{
    unsigned n = 0;
    struct frame f = F_NONE;
    for (size_t pos = 0; f_next(in, &pos, &f);)
        n += f.type == type;
    return n;
}

/* DATA bytes of a stream, and whether its end was seen in any frame. */
static inline size_t f_data(const struct tr_buf *in, uint32_t id, bool *ret_end)
{
    size_t n = 0;
    struct frame f = F_NONE;
    *ret_end = false;
    for (size_t pos = 0; f_next(in, &pos, &f);) {
        if (f.id != id || (f.type != F_DATA && f.type != F_HEADERS))
            continue;
        n += f.type == F_DATA ? f.len : 0;
        *ret_end = *ret_end || (f.flags & F_END_STREAM);
    }
    return n;
}

#endif
