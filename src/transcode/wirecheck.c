#include "transcode/wirecheck.h"

#include "base/utf8.h"
#include "proto/wire.h"
#include "transcode/bind.h"

#define DEPTH_MAX 100

struct level {
    const struct tr_msgtype *type;
    const char *end; /* of a group: that of what is around it */
    const struct tr_field *field;
    uint32_t group; /* its number; 0: none */
};

struct check {
    struct level levels[DEPTH_MAX + 1];
    uint32_t depth; /* of the innermost */
    const char *p;
    struct tr_status *st;
};

/* With the path to `leaf` (may be NULL), as far as the status has room. */
static enum tr_err refuse(struct check *c, enum tr_err err, const struct tr_field *leaf)
{
    const struct tr_field *chain[DEPTH_MAX + 1];
    uint32_t n = 0;
    if (!c->st)
        return err;
    for (uint32_t i = 1; i <= c->depth; i++)
        chain[n++] = c->levels[i].field;
    if (leaf)
        chain[n++] = leaf;
    struct tr_span text = tr_err_info(err)->text;
    (void)tr_fail(c->st, err, "%.*s", (int)text.len, text.ptr);
    if (n)
        tr_bind_set_field(chain, n, c->st);
    return err;
}

static enum tr_err push(struct check *c, const struct tr_field *f, const char *end, uint32_t group)
{
    if (c->depth == DEPTH_MAX)
        return refuse(c, TR_ERR_PROTO_DEPTH, NULL);
    c->levels[++c->depth] = (struct level){f->sub.msg, end, f, group};
    return TR_OK;
}

static bool packed_is_whole(const struct tr_field *f, struct tr_span s)
{
    const char *p = s.ptr, *end = s.len ? s.ptr + s.len : p;
    uint64_t v;
    switch (f->type) {
    case TR_FT_DOUBLE:
    case TR_FT_FIXED64:
    case TR_FT_SFIXED64:
        return s.len % 8 == 0;
    case TR_FT_FLOAT:
    case TR_FT_FIXED32:
    case TR_FT_SFIXED32:
        return s.len % 4 == 0;
    default:
        while (p < end)
            if (!tr_wire_varint(&p, end, &v))
                return false;
        return true;
    }
}

/* A length-delimited value of a field that the type has. */
static enum tr_err value(struct check *c, const struct tr_field *f, const char *end)
{
    struct tr_span s;
    if (!tr_wire_len(&c->p, end, &s))
        return refuse(c, TR_ERR_PROTO_MALFORMED, f);
    switch (f->type) {
    case TR_FT_MESSAGE:
        c->p = s.ptr;
        return push(c, f, s.ptr + s.len, 0);
    case TR_FT_STRING:
        return !(f->flags & TR_FF_UTF8) || tr_utf8_valid(s) ? TR_OK
                                                            : refuse(c, TR_ERR_PROTO_UTF8, f);
    case TR_FT_BYTES:
    case TR_FT_GROUP:
        return TR_OK;
    default:
        return !(f->flags & TR_FF_REPEATED) || packed_is_whole(f, s)
                   ? TR_OK
                   : refuse(c, TR_ERR_PROTO_MALFORMED, f);
    }
}

static enum tr_err field(struct check *c)
{
    struct level *l = &c->levels[c->depth];
    uint32_t number, type;
    if (!tr_wire_tag(&c->p, l->end, &number, &type))
        return refuse(c, TR_ERR_PROTO_MALFORMED, NULL);
    if (type == TR_WIRE_EGROUP) {
        if (l->group != number)
            return refuse(c, TR_ERR_PROTO_MALFORMED, NULL);
        c->depth--;
        return TR_OK;
    }
    const struct tr_field *f = tr_msgtype_field(l->type, number);
    if (f && type == TR_WIRE_LEN)
        return value(c, f, l->end);
    if (f && type == TR_WIRE_SGROUP && f->type == TR_FT_GROUP)
        return push(c, f, l->end, number);
    return tr_wire_skip(&c->p, l->end, number, type) ? TR_OK : refuse(c, TR_ERR_PROTO_MALFORMED, f);
}

enum tr_err tr_wire_check(const struct tr_msgtype *type, struct tr_span wire, struct tr_status *st)
{
    struct check c;
    if (wire.len == 0)
        return TR_OK;
    c.levels[0] = (struct level){type, wire.ptr + wire.len, NULL, 0};
    c.depth = 0;
    c.p = wire.ptr;
    c.st = st;
    for (;;) {
        while (c.p == c.levels[c.depth].end) {
            if (c.levels[c.depth].group)
                return refuse(&c, TR_ERR_PROTO_MALFORMED, NULL); /* its end tag is missing */
            if (c.depth == 0)
                return TR_OK;
            c.depth--;
        }
        enum tr_err err = field(&c);
        if (err)
            return err;
    }
}
