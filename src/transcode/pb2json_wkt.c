/* Well-known types with a JSON form of their own (ProtoJSON, "JSON format" table). */
#include "base/num.h"
#include "json/emit.h"
#include "proto/typepool.h"
#include "transcode/pb2json_priv.h"

/* must be last */
#include "base/banned.h"

static enum tr_err unprintable(struct tr_pj *j, const char *why)
{
    return tr_fail(j->st, TR_ERR_PROTO_UNPRINTABLE, "%s", why);
}

/* -- Timestamp, Duration -- */

#define TIMESTAMP_MIN INT64_C(-62135596800) /* 0001-01-01T00:00:00Z */
#define TIMESTAMP_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define DURATION_MAX  INT64_C(315576000000)
#define NANOS_MAX     999999999

static enum tr_err read_seconds(struct tr_pj *j, struct tr_span wire, int64_t *ret_seconds,
                                int32_t *ret_nanos)
{
    const char *p = wire.ptr, *end = wire.ptr + wire.len;
    uint64_t field[2] = {0, 0};
    while (p < end) {
        uint32_t tag = (uint8_t)*p, number, type;
        if (tr_likely(tag == (1 << 3 | TR_WIRE_VARINT) || tag == (2 << 3 | TR_WIRE_VARINT))) {
            p++;
            if (!tr_pj_varint(&p, end, &field[tag >> 4]))
                return tr_pj_malformed(j);
            continue;
        }
        if (!tr_wire_tag(&p, end, &number, &type))
            return tr_pj_malformed(j);
        if (number <= 2 && type == TR_WIRE_VARINT ? !tr_wire_varint(&p, end, &field[number - 1])
                                                  : !tr_wire_skip(&p, end, number, type))
            return tr_pj_malformed(j);
    }
    *ret_seconds = (int64_t)field[0];
    *ret_nanos = (int32_t)(uint32_t)field[1];
    return TR_OK;
}

static inline char *put2(char *w, uint32_t v)
{
    memcpy(w, tr_pj_pairs + (size_t)v * 2, 2);
    return w + 2;
}

static inline char *put3(char *w, uint32_t v)
{
    *w = (char)('0' + v / 100);
    return put2(w + 1, v % 100);
}

/* Nothing, or a point and 3, 6 or 9 digits. */
static char *put_fraction(char *w, uint32_t nanos)
{
    if (!nanos)
        return w;
    *w++ = '.';
    uint32_t micros = nanos / 1000;
    w = put3(w, micros / 1000);
    if (nanos % 1000000 == 0)
        return w;
    w = put3(w, micros % 1000);
    return nanos % 1000 == 0 ? w : put3(w, nanos % 1000);
}

/* Days since 0001-01-01 to a date of the proleptic Gregorian calendar. Years are counted from
 * March, so that the leap day is the last of a year; shifted to begin at 0000-03-01. */
static void civil_from_days(uint32_t days, uint32_t *ret_y, uint32_t *ret_m, uint32_t *ret_d)
{
    uint32_t n = days + 306; /* since 0000-03-01 */
    uint32_t era = n / 146097, day = n % 146097;
    uint32_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    uint32_t yday = day - (365 * year + year / 4 - year / 100);
    uint32_t m = (5 * yday + 2) / 153; /* from March */
    *ret_d = yday - (153 * m + 2) / 5 + 1;
    *ret_m = m < 10 ? m + 3 : m - 9;
    *ret_y = era * 400 + year + (m >= 10);
}

static enum tr_err put_timestamp(struct tr_pj *j, struct tr_span wire)
{
    int64_t seconds = 0;
    int32_t nanos = 0;
    enum tr_err err = read_seconds(j, wire, &seconds, &nanos);
    if (err)
        return err;
    if (seconds < TIMESTAMP_MIN || seconds > TIMESTAMP_MAX || nanos < 0 || nanos > NANOS_MAX)
        return unprintable(j, "a Timestamp is out of range");
    err = tr_buf_reserve(j->out, TR_PJ_ROOM);
    if (err)
        return err;
    uint64_t since = (uint64_t)(seconds - TIMESTAMP_MIN);
    uint32_t y, m, d, of_day = (uint32_t)(since % 86400);
    civil_from_days((uint32_t)(since / 86400), &y, &m, &d);
    char *w = tr_buf_end(j->out);
    *w++ = '"';
    w = put2(put2(w, y / 100), y % 100);
    *w++ = '-';
    w = put2(w, m);
    *w++ = '-';
    w = put2(w, d);
    *w++ = 'T';
    w = put2(w, of_day / 3600);
    *w++ = ':';
    w = put2(w, of_day / 60 % 60);
    *w++ = ':';
    w = put2(w, of_day % 60);
    w = put_fraction(w, (uint32_t)nanos);
    *w++ = 'Z';
    *w++ = '"';
    j->out->len = (size_t)(w - j->out->ptr);
    return TR_OK;
}

static enum tr_err put_duration(struct tr_pj *j, struct tr_span wire)
{
    int64_t seconds = 0;
    int32_t nanos = 0;
    enum tr_err err = read_seconds(j, wire, &seconds, &nanos);
    if (err)
        return err;
    if (seconds < -DURATION_MAX || seconds > DURATION_MAX || nanos < -NANOS_MAX ||
        nanos > NANOS_MAX)
        return unprintable(j, "a Duration is out of range");
    if ((seconds < 0 && nanos > 0) || (seconds > 0 && nanos < 0))
        return unprintable(j, "seconds and nanos of a Duration differ in sign");
    err = tr_buf_reserve(j->out, TR_PJ_ROOM);
    if (err)
        return err;
    char *w = tr_buf_end(j->out);
    *w++ = '"';
    if (seconds < 0 || nanos < 0)
        *w++ = '-';
    w += tr_num_u64(w, (uint64_t)(seconds < 0 ? -seconds : seconds));
    w = put_fraction(w, (uint32_t)(nanos < 0 ? -nanos : nanos));
    *w++ = 's';
    *w++ = '"';
    j->out->len = (size_t)(w - j->out->ptr);
    return TR_OK;
}

/* -- FieldMask -- */

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

/* snake_case to camelCase; refused when camelCase would not read back as the same. */
static enum tr_err put_mask_path(struct tr_pj *j, struct tr_span path)
{
    size_t from = 0;
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        if (c >= 'A' && c <= 'Z')
            return unprintable(j, "a FieldMask path has an upper-case letter");
        if (c != '_')
            continue;
        if (i + 1 == path.len || !is_lower(path.ptr[i + 1]))
            return unprintable(j, "a FieldMask path has no camelCase form");
        enum tr_err err =
            tr_emit_string_content(j->out, tr_span_sub(path, from, i - from), j->o->bad_utf8);
        if (!err)
            err = tr_buf_push(j->out, (char)(path.ptr[++i] & ~0x20));
        if (err)
            return err;
        from = i + 1;
    }
    return tr_emit_string_content(j->out, tr_span_from(path, from), j->o->bad_utf8);
}

static enum tr_err put_field_mask(struct tr_pj *j, struct tr_span wire)
{
    const char *p = wire.ptr, *end = wire.ptr + wire.len;
    enum tr_err err = tr_buf_push(j->out, '"');
    bool first = true;
    while (!err && p < end) {
        uint32_t number, type;
        struct tr_span path;
        if (!tr_wire_tag(&p, end, &number, &type))
            return tr_pj_malformed(j);
        if (number != 1 || type != TR_WIRE_LEN) {
            if (!tr_wire_skip(&p, end, number, type))
                return tr_pj_malformed(j);
            continue;
        }
        if (!tr_wire_len(&p, end, &path))
            return tr_pj_malformed(j);
        if (!first)
            err = tr_buf_push(j->out, ',');
        if (!err)
            err = put_mask_path(j, path);
        first = false;
    }
    return err ? err : tr_buf_push(j->out, '"');
}

/* -- wrappers and Value -- */

static enum tr_err put_wrapper(struct tr_pj *j, const struct tr_msgtype *type, struct tr_span wire)
{
    const struct tr_field *fd = tr_msgtype_field(type, 1);
    if (!fd || tr_pj_is_message(fd) || (fd->flags & TR_FF_REPEATED))
        return unprintable(j, "a wrapper is not declared as it should be");
    struct tr_pj_scalar v = {0, {"", 0}};
    const char *p = wire.ptr, *end = wire.ptr + wire.len;
    while (p < end) {
        uint32_t number, wt;
        if (!tr_wire_tag(&p, end, &number, &wt))
            return tr_pj_malformed(j);
        if (number == 1 && wt == tr_pj_wire_of[fd->type] ? !tr_pj_read_scalar(fd, &p, end, &v)
                                                         : !tr_wire_skip(&p, end, number, wt))
            return tr_pj_malformed(j);
    }
    enum tr_err err = tr_buf_reserve(j->out, TR_PJ_ROOM);
    return err ? err : tr_pj_put_scalar(j, fd, &v);
}

struct value_kind {
    const struct tr_field *field;
    struct tr_pj_scalar scalar;
    struct tr_span message;
};

/* The last member wins; a message that comes twice in a row is merged. */
static enum tr_err read_value(struct tr_pj *j, const struct tr_msgtype *type, struct tr_span wire,
                              struct value_kind *ret)
{
    *ret = (struct value_kind){.scalar.s = {"", 0}};
    const char *p = wire.ptr, *end = wire.ptr + wire.len;
    while (p < end) {
        uint32_t number, wt;
        if (!tr_wire_tag(&p, end, &number, &wt))
            return tr_pj_malformed(j);
        const struct tr_field *fd = tr_msgtype_field(type, number);
        if (!fd || number > TR_PJ_VALUE_LIST || wt != tr_pj_wire_of[fd->type]) {
            if (!tr_wire_skip(&p, end, number, wt))
                return tr_pj_malformed(j);
            continue;
        }
        if (!tr_pj_is_message(fd)) {
            if (!tr_pj_read_scalar(fd, &p, end, &ret->scalar))
                return tr_pj_malformed(j);
        } else {
            struct tr_span s;
            if (!tr_pj_read_message(fd, &p, end, &s))
                return tr_pj_malformed(j);
            if (tr_unlikely(ret->field == fd)) {
                enum tr_err err = tr_pj_concat(j, &ret->message, &s, &s);
                if (err)
                    return err;
            }
            ret->message = s;
        }
        ret->field = fd;
    }
    return TR_OK;
}

const struct tr_field *tr_pj_only_field(const struct tr_msgtype *type)
{
    const struct tr_field *fd = tr_msgtype_field(type, 1);
    uint8_t want = TR_FF_REPEATED | (type->wkt == TR_WKT_STRUCT ? TR_FF_MAP : 0);
    return fd && (fd->flags & (TR_FF_REPEATED | TR_FF_MAP)) == want ? fd : NULL;
}

/* Struct and ListValue print the one field that they have. */
static enum tr_err push_only(struct tr_pj *j, const struct tr_pj_push *push, unsigned extra)
{
    struct tr_pj_push bare = *push;
    bare.only = tr_pj_only_field(push->type);
    bare.extra = (uint8_t)extra;
    if (!bare.only)
        return unprintable(j, "a Struct or ListValue is not declared as it should be");
    return tr_pj_push_frame(j, &bare);
}

static enum tr_err put_value(struct tr_pj *j, const struct tr_pj_push *push, unsigned extra)
{
    struct value_kind v;
    enum tr_err err = read_value(j, push->type, push->wire, &v);
    if (err)
        return err;
    if (!v.field)
        return unprintable(j, "a Value has no kind");
    if (tr_pj_is_message(v.field)) {
        struct tr_pj_push inner = *push;
        inner.type = v.field->sub.msg;
        inner.wire = v.message;
        return push_only(j, &inner, extra);
    }
    if (v.field->number == TR_PJ_VALUE_NUMBER && (v.scalar.u >> 52 & 0x7FF) == 0x7FF)
        return unprintable(j, "a Value is a number that is not finite");
    err = tr_buf_reserve(j->out, TR_PJ_ROOM);
    if (err)
        return err;
    if (v.field->number == TR_PJ_VALUE_NULL)
        err = tr_buf_append(j->out, TR_SPAN("null"));
    else
        err = tr_pj_put_scalar(j, v.field, &v.scalar);
    return err ? err : tr_pj_close_extra(j, extra);
}

/* -- Any -- */

struct any {
    struct tr_span url, value;
};

static enum tr_err read_any(struct tr_pj *j, struct tr_span wire, struct any *ret)
{
    *ret = (struct any){{"", 0}, {"", 0}};
    const char *p = wire.ptr, *end = wire.ptr + wire.len;
    while (p < end) {
        uint32_t number, wt;
        if (!tr_wire_tag(&p, end, &number, &wt))
            return tr_pj_malformed(j);
        bool ok;
        if (number <= 2 && wt == TR_WIRE_LEN)
            ok = tr_wire_len(&p, end, number == 1 ? &ret->url : &ret->value);
        else
            ok = tr_wire_skip(&p, end, number, wt);
        if (!ok)
            return tr_pj_malformed(j);
    }
    return TR_OK;
}

/* NULL: not known, or not a type URL. */
static const struct tr_msgtype *any_type(const struct tr_pj *j, struct tr_span url)
{
    size_t slash = tr_span_rfind(url, '/');
    if (!j->o->pool || slash == url.len)
        return NULL;
    return tr_typepool_find(j->o->pool, tr_span_from(url, slash + 1));
}

static enum tr_err put_member(struct tr_pj *j, char sep, struct tr_span key)
{
    enum tr_err err = tr_buf_push(j->out, sep);
    if (!err && j->o->pretty)
        err = tr_pj_newline(j);
    if (!err)
        err = tr_buf_append(j->out, key);
    if (!err && j->o->pretty)
        err = tr_buf_push(j->out, ' ');
    return err;
}

/* {"@type":"...", and for types with a form of their own also "value": */
static enum tr_err put_any_head(struct tr_pj *j, struct tr_span url, bool value)
{
    j->indent++;
    enum tr_err err = put_member(j, '{', TR_SPAN("\"@type\":"));
    if (!err)
        err = tr_emit_string(j->out, url, j->o->bad_utf8);
    if (!err && value)
        err = put_member(j, ',', TR_SPAN("\"value\":"));
    return err;
}

static bool has_own_form(enum tr_wkt wkt)
{
    return wkt != TR_WKT_NONE && wkt != TR_WKT_EMPTY && wkt != TR_WKT_HTTP_BODY;
}

/* One Any: its head is printed, *at becomes what is inside; its type is NULL when all is printed.
 */
static enum tr_err enter_any(struct tr_pj *j, struct tr_pj_push *at, unsigned *extra)
{
    struct any any;
    enum tr_err err = read_any(j, at->wire, &any);
    if (err)
        return err;
    if (!any.url.len) {
        if (any.value.len)
            return unprintable(j, "an Any has a value and no type");
        at->type = NULL;
        return tr_buf_append(j->out, TR_SPAN("{}"));
    }
    if (*extra + j->depth >= TR_PJ_DEPTH_MAX)
        return tr_fail(j->st, TR_ERR_PROTO_DEPTH, "messages are nested deeper than %d",
                       TR_PJ_DEPTH_MAX);
    const struct tr_msgtype *type = any_type(j, any.url);
    if (!type && !j->o->unknown_any_as_base64)
        return tr_fail(j->st, TR_ERR_PROTO_UNPRINTABLE, "the type of an Any is not known: %.*s",
                       any.url.len > 128 ? 128 : (int)any.url.len, any.url.ptr);
    at->type = type;
    at->wire = any.value;
    at->opened = type && !has_own_form((enum tr_wkt)type->wkt);
    *extra += !at->opened;
    err = put_any_head(j, any.url, !at->opened);
    return err || type ? err : tr_emit_base64(j->out, any.value);
}

/* Descends through Any in Any. */
static enum tr_err open_any(struct tr_pj *j, struct tr_pj_push *at, unsigned *extra)
{
    enum tr_err err = TR_OK;
    while (!err && at->type && at->type->wkt == TR_WKT_ANY)
        err = enter_any(j, at, extra);
    return err;
}

/* Types whose JSON is one string or number; false: it is another type. */
static bool put_leaf(struct tr_pj *j, const struct tr_msgtype *type, struct tr_span wire,
                     enum tr_err *ret_err)
{
    if (type->wkt == TR_WKT_TIMESTAMP)
        *ret_err = put_timestamp(j, wire);
    else if (type->wkt == TR_WKT_DURATION)
        *ret_err = put_duration(j, wire);
    else if (tr_wkt_is_wrapper((enum tr_wkt)type->wkt))
        *ret_err = put_wrapper(j, type, wire);
    else if (type->wkt == TR_WKT_FIELD_MASK)
        *ret_err = put_field_mask(j, wire);
    else
        return false;
    return true;
}

enum tr_err tr_pj_wkt(struct tr_pj *j, const struct tr_pj_push *push)
{
    enum tr_err err = TR_OK;
    if (put_leaf(j, push->type, push->wire, &err))
        return err;
    struct tr_pj_push at = *push;
    unsigned extra = 0;
    if (at.type->wkt == TR_WKT_ANY) {
        at.tree = NULL;
        err = open_any(j, &at, &extra);
        if (err)
            return err;
        if (!at.type || put_leaf(j, at.type, at.wire, &err))
            return err ? err : tr_pj_close_extra(j, extra);
    }
    if (at.type->wkt == TR_WKT_STRUCT || at.type->wkt == TR_WKT_LIST_VALUE)
        return push_only(j, &at, extra);
    if (at.type->wkt == TR_WKT_VALUE)
        return put_value(j, &at, extra);
    at.extra = (uint8_t)extra;
    return tr_pj_push_frame(j, &at);
}
