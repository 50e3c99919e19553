#include "transcode/bind.h"

#include "base/utf8.h"
#include "transcode/scalar.h"
#include "transcode/wktparse.h"

static bool is_message(const struct tr_field *field)
{
    return field->type == TR_FT_MESSAGE || field->type == TR_FT_GROUP;
}

bool tr_bind_has_string_form(const struct tr_msgtype *msg)
{
    return msg->wkt == TR_WKT_TIMESTAMP || msg->wkt == TR_WKT_DURATION ||
           msg->wkt == TR_WKT_FIELD_MASK || tr_wkt_is_wrapper((enum tr_wkt)msg->wkt);
}

void tr_bind_set_field(const struct tr_field *const *chain, uint32_t depth, struct tr_status *st)
{
    char path[TR_STATUS_FIELD_MAX + 4];
    size_t len = 0;
    for (uint32_t i = 0; i < depth; i++) {
        struct tr_span name = chain[i]->names->proto;
        if (len && len < sizeof path)
            path[len++] = '.';
        size_t n = name.len < sizeof path - len ? name.len : sizeof path - len;
        memcpy(path + len, name.ptr, n);
        len += n;
    }
    tr_status_set_field(st, tr_span(path, len));
}

/* -- at load -- */

static enum tr_err refuse(struct tr_status *st, struct tr_span path, const char *why)
{
    (void)tr_fail(st, TR_ERR_CONFIG, "the variable \"%.*s\" %s", (int)path.len, path.ptr, why);
    tr_status_set_field(st, path);
    return TR_ERR_CONFIG;
}

/* Why a field cannot be the end of a binding, or NULL. */
static const char *bad_leaf(const struct tr_field *f)
{
    if (f->flags & TR_FF_MAP)
        return "is a map, which the path cannot bind";
    if (f->flags & TR_FF_REPEATED)
        return "is repeated, which the path cannot bind";
    if (!is_message(f))
        return NULL;
    if (f->sub.msg->wkt == TR_WKT_FIELD_MASK)
        return "is a FieldMask, which the path cannot override";
    return tr_bind_has_string_form(f->sub.msg) ? NULL : "is a message without a string form";
}

enum tr_err tr_bind_path_compile(const struct tr_msgtype *type, struct tr_span path,
                                 struct tr_arena *arena, const struct tr_bind_field **ret_bind,
                                 struct tr_status *st)
{
    const struct tr_field *chain[TR_BIND_DEPTH_MAX];
    uint32_t depth = 0;
    struct tr_span rest = path;
    size_t len = 0;
    while (rest.ptr) {
        struct tr_span name = tr_span_cut(&rest, '.');
        const struct tr_field *f = name.len ? tr_msgtype_field_by_name(type, name) : NULL;
        if (!f)
            return refuse(st, path, "names no field of the request");
        if (depth == TR_BIND_DEPTH_MAX)
            return refuse(st, path, "is nested too deeply");
        chain[depth++] = f;
        len += f->names->proto.len + 1;
        if (!rest.ptr)
            break;
        if (!is_message(f) || f->flags & TR_FF_REPEATED)
            return refuse(st, path, "goes through a field that is no single message");
        type = f->sub.msg;
    }
    if (depth == 0)
        return refuse(st, path, "names no field of the request");
    const char *why = bad_leaf(chain[depth - 1]);
    if (why)
        return refuse(st, path, why);
    struct tr_bind_field *b = tr_arena_alloc(arena, sizeof *b + depth * sizeof(void *));
    char *text = tr_arena_alloc(arena, len);
    if (!b || !text)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    len = 0;
    for (uint32_t i = 0; i < depth; i++) {
        struct tr_span name = chain[i]->names->proto;
        if (i)
            text[len++] = '.';
        memcpy(text + len, name.ptr, name.len);
        len += name.len;
        b->chain[i] = chain[i];
    }
    b->path = tr_span(text, len);
    b->leaf = chain[depth - 1];
    b->depth = depth;
    *ret_bind = b;
    return TR_OK;
}

/* -- values -- */

/* true and false in any case. */
static bool parse_bool(struct tr_span s, uint64_t *ret)
{
    *ret = tr_span_ieq(s, TR_SPAN("true"));
    return *ret || tr_span_ieq(s, TR_SPAN("false"));
}

static enum tr_err parse_enum(const struct tr_field *f, struct tr_span s, uint64_t *ret,
                              struct tr_status *st)
{
    int32_t v = 0;
    enum tr_err err;
    if (s.len && (tr_is_digit(s.ptr[0]) || s.ptr[0] == '-'))
        err = tr_scalar_enum_number(f, s, &v, st);
    else
        err = tr_scalar_enum_name(f->sub.en, s, &v, st);
    *ret = (uint64_t)(int64_t)v;
    return err;
}

/* A scalar without tag. */
static enum tr_err put_scalar(const struct tr_field *f, struct tr_span s, struct tr_buf *out,
                              struct tr_status *st)
{
    uint64_t raw = 0;
    enum tr_err err;
    switch (f->type) {
    case TR_FT_STRING:
        if (!tr_utf8_valid(s))
            return tr_fail(st, TR_ERR_JSON_UTF8, "the value is not valid UTF-8");
        return tr_scalar_put_string(out, s);
    case TR_FT_BYTES:
        return tr_scalar_put_bytes(out, s, st);
    case TR_FT_BOOL:
        if (!parse_bool(s, &raw))
            return tr_fail(st, TR_ERR_JSON_TYPE, "expected true or false");
        err = TR_OK;
        break;
    case TR_FT_ENUM:
        err = parse_enum(f, s, &raw, st);
        break;
    default:
        err = tr_scalar_number(f->type, s, true, &raw, st);
        break;
    }
    if (!err)
        err = tr_buf_reserve(out, TR_VARINT_MAX);
    if (!err)
        out->len += tr_scalar_write(tr_buf_end(out), f->type, raw);
    return err;
}

/* The content of a message that has a string form: every member, zeros too. */
static enum tr_err put_wkt(const struct tr_msgtype *msg, struct tr_span s, struct tr_buf *out,
                           struct tr_status *st)
{
    int64_t seconds = 0;
    int32_t nanos = 0;
    enum tr_err err;
    switch (msg->wkt) {
    case TR_WKT_TIMESTAMP:
        err = tr_wkt_timestamp(s, &seconds, &nanos, st);
        break;
    case TR_WKT_DURATION:
        err = tr_wkt_duration(s, &seconds, &nanos, st);
        break;
    case TR_WKT_FIELD_MASK:
        return tr_utf8_valid(s) ? tr_wkt_field_mask(s, true, out, st)
                                : tr_fail(st, TR_ERR_JSON_UTF8, "the value is not valid UTF-8");
    default: /* wrappers */
        err = tr_buf_reserve(out, 5);
        if (err)
            return err;
        out->len = (size_t)(tr_scalar_tag(tr_buf_end(out), &msg->fields[0]) - out->ptr);
        return put_scalar(&msg->fields[0], s, out, st);
    }
    if (!err)
        err = tr_buf_reserve(out, TR_WKT_TIME_MAX);
    if (!err)
        out->len += tr_wkt_time_wire(tr_buf_end(out), seconds, nanos, true);
    return err;
}

/* Puts the tag (and length, or the end tag of a group) around what stands behind `from`. */
static enum tr_err wrap(const struct tr_field *f, bool length, struct tr_buf *out, size_t from)
{
    enum tr_err err = tr_buf_reserve(out, 10 + TR_VARINT_MAX);
    if (err)
        return err;
    char head[5 + TR_VARINT_MAX];
    char *p = tr_scalar_tag(head, f);
    size_t len = out->len - from;
    if (length)
        p += tr_wire_put_varint(p, len);
    size_t n = (size_t)(p - head);
    memmove(out->ptr + from + n, out->ptr + from, len);
    memcpy(out->ptr + from, head, n);
    out->len += n;
    if (f->type == TR_FT_GROUP) {
        memcpy(tr_buf_end(out), f->tag, 5);
        *tr_buf_end(out) = (char)((f->tag[0] & ~7) | TR_WIRE_EGROUP);
        out->len += f->tag_len;
    }
    return TR_OK;
}

/* One field with its tag. */
static enum tr_err put_field(const struct tr_field *f, struct tr_span s, struct tr_buf *out,
                             struct tr_status *st)
{
    size_t from = out->len;
    if (is_message(f)) {
        enum tr_err err = put_wkt(f->sub.msg, s, out, st);
        return err ? err : wrap(f, f->type != TR_FT_GROUP, out, from);
    }
    enum tr_err err = put_scalar(f, s, out, st);
    /* strings and bytes have their length already */
    return err ? err : wrap(f, (f->flags & TR_FF_PACKED) != 0, out, from);
}

static enum tr_err put_entry(const struct tr_field *f, struct tr_span key, struct tr_span s,
                             struct tr_buf *out, struct tr_status *st)
{
    size_t from = out->len;
    enum tr_err err = put_field(&f->sub.msg->fields[0], key, out, st);
    if (!err)
        err = put_field(&f->sub.msg->fields[1], s, out, st);
    return err ? err : wrap(f, true, out, from);
}

enum tr_err tr_bind_encode(const struct tr_field *const *chain, uint32_t depth,
                           struct tr_span map_key, struct tr_span value, enum tr_err err_as,
                           struct tr_buf *out, struct tr_status *st)
{
    const struct tr_field *leaf = chain[depth - 1];
    size_t from = out->len;
    enum tr_err err = leaf->flags & TR_FF_MAP ? put_entry(leaf, map_key, value, out, st)
                                              : put_field(leaf, value, out, st);
    for (uint32_t i = depth - 1; !err && i-- > 0;)
        err = wrap(chain[i], chain[i]->type != TR_FT_GROUP, out, from);
    if (!err)
        return TR_OK;
    out->len = from;
    if (err == TR_ERR_NOMEM)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    if (st)
        st->err = err_as;
    tr_bind_set_field(chain, depth, st);
    return err_as;
}

enum tr_err tr_bind_value(const struct tr_bind_field *bind, struct tr_span value,
                          struct tr_buf *out, struct tr_status *st)
{
    return tr_bind_encode(bind->chain, bind->depth, TR_SPAN(""), value, TR_ERR_PATH_VALUE, out, st);
}
