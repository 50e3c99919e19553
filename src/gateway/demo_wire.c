#include "gateway/demo_wire.h"

#include "proto/wire.h"

bool tr_demo_next_record(const char **p, const char *end, struct tr_demo_record *r)
{
    const char *start = *p;
    if (*p >= end || !tr_wire_tag(p, end, &r->number, &r->type))
        return false;
    const char *value = *p;
    if (!tr_wire_skip(p, end, r->number, r->type))
        return false;
    r->whole = tr_span(start, (size_t)(*p - start));
    r->value = tr_span("", 0);
    r->varint = 0;
    if (r->type == TR_WIRE_LEN)
        (void)tr_wire_len(&value, end, &r->value);
    else if (r->type == TR_WIRE_VARINT)
        (void)tr_wire_varint(&value, end, &r->varint);
    return true;
}

struct tr_span tr_demo_get_text(struct tr_span message, uint32_t number)
{
    const char *p = message.ptr, *end = message.ptr + message.len;
    struct tr_span found = tr_span("", 0);
    struct tr_demo_record r;
    while (tr_demo_next_record(&p, end, &r))
        if (r.number == number && r.type == TR_WIRE_LEN)
            found = r.value;
    return found;
}

uint64_t tr_demo_get_varint(struct tr_span message, uint32_t number)
{
    const char *p = message.ptr, *end = message.ptr + message.len;
    uint64_t found = 0;
    struct tr_demo_record r;
    while (tr_demo_next_record(&p, end, &r))
        if (r.number == number && r.type == TR_WIRE_VARINT)
            found = r.varint;
    return found;
}

enum tr_err tr_demo_get_message(struct tr_span message, uint32_t number, struct tr_buf *out)
{
    const char *p = message.ptr, *end = message.ptr + message.len;
    enum tr_err err = TR_OK;
    struct tr_demo_record r;
    while (!err && tr_demo_next_record(&p, end, &r))
        if (r.number == number && r.type == TR_WIRE_LEN)
            err = tr_buf_append(out, r.value);
    return err;
}

enum tr_err tr_demo_put_varint(struct tr_buf *out, uint32_t number, uint64_t v)
{
    char tmp[2 * TR_VARINT_MAX];
    size_t n = tr_wire_put_varint(tmp, (uint64_t)number << 3 | TR_WIRE_VARINT);
    n += tr_wire_put_varint(tmp + n, v);
    return tr_buf_append(out, tr_span(tmp, n));
}

enum tr_err tr_demo_put_text(struct tr_buf *out, uint32_t number, struct tr_span s)
{
    char tmp[2 * TR_VARINT_MAX];
    size_t n = tr_wire_put_varint(tmp, (uint64_t)number << 3 | TR_WIRE_LEN);
    n += tr_wire_put_varint(tmp + n, s.len);
    enum tr_err err = tr_buf_append(out, tr_span(tmp, n));
    return err ? err : tr_buf_append(out, s);
}

enum tr_err tr_demo_put_time(struct tr_buf *out, uint32_t number, int64_t unix_s)
{
    char tmp[1 + TR_VARINT_MAX];
    tmp[0] = 1 << 3 | TR_WIRE_VARINT;
    return tr_demo_put_text(out, number,
                            tr_span(tmp, 1 + tr_wire_put_varint(tmp + 1, (uint64_t)unix_s)));
}

enum tr_err tr_demo_copy_records(struct tr_buf *out, struct tr_span message, uint32_t number,
                                 bool others)
{
    const char *p = message.ptr, *end = message.ptr + message.len;
    struct tr_demo_record r;
    enum tr_err err = TR_OK;
    while (!err && tr_demo_next_record(&p, end, &r))
        if ((r.number == number) != others)
            err = tr_buf_append(out, r.whole);
    return err;
}
