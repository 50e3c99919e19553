#include "transcode/query.h"

#include "base/assert.h"
#include "base/utf8.h"

/* What was given so far: a tree of fields by (parent, field), and the member chosen of each
 * (parent, oneof). */
struct seen {
    uint32_t parent; /* index of the parent's slot + 1; 0: the request */
    uint32_t oneof;  /* 0: the slot is for the field itself */
    const struct tr_field *field;
};

struct query {
    const struct tr_msgtype *type;
    const struct tr_query_opts *opts;
    struct tr_arena *scratch;
    struct tr_buf *out;
    struct tr_query_result *ret;
    struct tr_status *st;
    struct seen *slots;
    uint32_t mask;
    /* the parameter in hand */
    struct tr_span name, value;
    const struct tr_field *chain[TR_BIND_DEPTH_MAX];
    uint32_t depth;
    struct tr_span map_key;
    bool has_key;
};

/* -- text -- */

/* One name or value, decoded into the arena. */
static enum tr_err decode(struct query *q, struct tr_span raw, struct tr_span *ret)
{
    char *out = tr_arena_alloc(q->scratch, raw.len + 1);
    if (!out)
        return tr_fail(q->st, TR_ERR_NOMEM, "out of memory");
    size_t n = 0;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int hi = i + 2 < raw.len ? tr_hex_value(raw.ptr[i + 1]) : -1;
            int lo = i + 2 < raw.len ? tr_hex_value(raw.ptr[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return tr_fail(q->st, TR_ERR_QUERY_SYNTAX,
                               "'%%' must be followed by two hexadecimal digits");
            c = (char)(hi << 4 | lo);
            i += 2;
        }
        out[n++] = c;
    }
    *ret = tr_span(out, n);
    if (!tr_utf8_valid(*ret))
        return tr_fail(q->st, TR_ERR_QUERY_SYNTAX, "the query is not valid UTF-8");
    return TR_OK;
}

static enum tr_err fail_name(struct query *q, enum tr_err err, const char *text)
{
    (void)tr_fail(q->st, err, "%s", text);
    tr_status_set_field(q->st, q->name);
    return err;
}

static enum tr_err fail_field(struct query *q, enum tr_err err, const char *text)
{
    (void)tr_fail(q->st, err, "%s", text);
    tr_bind_set_field(q->chain, q->depth, q->st);
    return err;
}

/* -- system parameters -- */

static enum tr_err once(struct query *q, struct tr_span *slot)
{
    if (slot->ptr)
        return fail_name(q, TR_ERR_QUERY_DUPLICATE, "the system parameter is given twice");
    *slot = q->value;
    return TR_OK;
}

static enum tr_err sys_alt(struct query *q)
{
    struct tr_sysparams *sys = &q->ret->sys;
    if (sys->alt != TR_ALT_UNSET)
        return fail_name(q, TR_ERR_QUERY_DUPLICATE, "the system parameter is given twice");
    if (tr_span_eq(q->value, TR_SPAN("json")))
        sys->alt = TR_ALT_JSON;
    else if (tr_span_eq(q->value, TR_SPAN("json;enum-encoding=int")))
        sys->alt = TR_ALT_JSON_INT_ENUMS;
    else if (tr_span_eq(q->value, TR_SPAN("proto")))
        sys->alt = TR_ALT_PROTO;
    else
        return fail_name(q, TR_ERR_SYSTEM_PARAMETER,
                         "expected json, proto or json;enum-encoding=int");
    return TR_OK;
}

static enum tr_err sys_pretty(struct query *q)
{
    struct tr_sysparams *sys = &q->ret->sys;
    if (sys->pretty >= 0)
        return fail_name(q, TR_ERR_QUERY_DUPLICATE, "the system parameter is given twice");
    if (tr_span_ieq(q->value, TR_SPAN("true")))
        sys->pretty = 1;
    else if (tr_span_ieq(q->value, TR_SPAN("false")))
        sys->pretty = 0;
    else
        return fail_name(q, TR_ERR_SYSTEM_PARAMETER, "expected true or false");
    return TR_OK;
}

enum sys_kind {
    SYS_NONE,
    SYS_ALT,
    SYS_PRETTY,
    SYS_FIELDS,
    SYS_KEY,
    SYS_TOKEN,
    SYS_QUOTA,
    SYS_XGAFV,
    SYS_VERSION
};

/* With the dollar always; without it where the request has no such field; two have no bare form. */
static enum sys_kind sys_kind(const struct query *q)
{
    static const struct {
        struct tr_span name;
        enum sys_kind kind;
        bool bare;
    } table[] = {
        {TR_SPAN_INIT("alt"), SYS_ALT, true},
        {TR_SPAN_INIT("prettyPrint"), SYS_PRETTY, true},
        {TR_SPAN_INIT("fields"), SYS_FIELDS, true},
        {TR_SPAN_INIT("key"), SYS_KEY, true},
        {TR_SPAN_INIT("access_token"), SYS_TOKEN, true},
        {TR_SPAN_INIT("quotaUser"), SYS_QUOTA, true},
        {TR_SPAN_INIT(".xgafv"), SYS_XGAFV, false},
        {TR_SPAN_INIT("apiVersion"), SYS_VERSION, false},
    };
    bool dollar = q->name.len && q->name.ptr[0] == '$';
    struct tr_span name = tr_span_from(q->name, dollar);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if ((dollar || table[i].bare) && tr_span_eq(name, table[i].name))
            return dollar || !tr_msgtype_field_by_name(q->type, name) ? table[i].kind : SYS_NONE;
    return SYS_NONE;
}

static enum tr_err system_parameter(struct query *q, enum sys_kind kind)
{
    struct tr_sysparams *sys = &q->ret->sys;
    switch (kind) {
    case SYS_ALT:
        return sys_alt(q);
    case SYS_PRETTY:
        return sys_pretty(q);
    case SYS_FIELDS:
        return once(q, &sys->fields);
    case SYS_KEY:
        return once(q, &sys->key);
    case SYS_TOKEN:
        return once(q, &sys->access_token);
    case SYS_QUOTA:
        return once(q, &sys->quota_user);
    case SYS_VERSION:
        return once(q, &sys->api_version);
    case SYS_XGAFV: /* the version of the error format: there is one */
        if (!tr_span_eq(q->value, TR_SPAN("1")) && !tr_span_eq(q->value, TR_SPAN("2")))
            return fail_name(q, TR_ERR_SYSTEM_PARAMETER, "expected 1 or 2");
        return once(q, &sys->xgafv);
    case SYS_NONE:
        break;
    }
    return TR_ERR_INTERNAL;
}

/* -- names -- */

static bool is_message(const struct tr_field *f)
{
    return f->type == TR_FT_MESSAGE || f->type == TR_FT_GROUP;
}

/* Cuts the next name off *rest: up to a dot, or to the bracket of a map key, which ends the whole.
 * An extension's name is in brackets itself. */
static struct tr_span next_name(struct query *q, struct tr_span *rest)
{
    size_t i = 0;
    if (rest->len && rest->ptr[0] == '[') {
        i = tr_span_find(*rest, ']');
        i += i < rest->len;
    }
    while (i < rest->len && rest->ptr[i] != '.' && rest->ptr[i] != '[')
        i++;
    struct tr_span name = tr_span_sub(*rest, 0, i);
    if (i == rest->len) {
        *rest = (struct tr_span){NULL, 0};
    } else if (rest->ptr[i] == '[') {
        q->has_key = rest->ptr[rest->len - 1] == ']';
        q->map_key = tr_span_sub(*rest, i + 1, rest->len - i - 2);
        if (!q->has_key)
            name.len = 0; /* names nothing */
        *rest = (struct tr_span){NULL, 0};
    } else {
        *rest = tr_span_from(*rest, i + 1);
    }
    return name;
}

/* The chain of fields that the name means. TR_ERR_QUERY_UNKNOWN when it means none. */
static enum tr_err resolve(struct query *q)
{
    const struct tr_msgtype *type = q->type;
    struct tr_span rest = q->name;
    q->depth = 0;
    q->has_key = false;
    while (rest.ptr) {
        struct tr_span name = next_name(q, &rest);
        const struct tr_field *f = name.len ? tr_msgtype_field_by_name(type, name) : NULL;
        if (!f || (q->has_key && !(f->flags & TR_FF_MAP)))
            return TR_ERR_QUERY_UNKNOWN;
        if (q->depth == TR_BIND_DEPTH_MAX)
            return fail_name(q, TR_ERR_QUERY_SYNTAX, "the name is nested too deeply");
        q->chain[q->depth++] = f;
        if (!rest.ptr)
            break;
        if (!is_message(f) || f->flags & TR_FF_MAP)
            return TR_ERR_QUERY_UNKNOWN;
        if (f->flags & TR_FF_REPEATED)
            return fail_field(q, TR_ERR_QUERY_MESSAGE,
                              "a repeated message cannot come from the query");
        type = f->sub.msg;
    }
    return TR_OK;
}

/* Whether the last field can take a text. */
static enum tr_err check_leaf(struct query *q)
{
    const struct tr_field *f = q->depth ? q->chain[q->depth - 1] : NULL;
    TR_ASSERT(f != NULL); /* resolve() found one at least */
    if (f->flags & TR_FF_MAP) {
        if (!q->has_key)
            return fail_field(q, TR_ERR_QUERY_VALUE, "a map entry is written name[key]=value");
        f = &f->sub.msg->fields[1];
    } else if (is_message(f) && f->flags & TR_FF_REPEATED) {
        return fail_field(q, TR_ERR_QUERY_MESSAGE, "a repeated message cannot come from the query");
    }
    if (is_message(f) && !tr_bind_has_string_form(f->sub.msg))
        return fail_field(q, TR_ERR_QUERY_MESSAGE,
                          "a message cannot come from the query as a whole");
    return TR_OK;
}

/* One chain is the beginning of the other, or they are the same. */
static bool overlaps(const struct query *q, const struct tr_bind_field *b)
{
    uint32_t n = b->depth < q->depth ? b->depth : q->depth;
    for (uint32_t i = 0; i < n; i++)
        if (b->chain[i] != q->chain[i])
            return false;
    return true;
}

static enum tr_err check_bound(struct query *q)
{
    const struct tr_query_opts *o = q->opts;
    if (o->body_star || (o->body_field && q->chain[0] == o->body_field))
        return fail_field(q, TR_ERR_QUERY_BOUND, "the field is bound by the body");
    for (uint32_t i = 0; i < o->path_bind_count; i++)
        if (overlaps(q, o->path_binds[i]))
            return fail_field(q, TR_ERR_QUERY_BOUND, "the field is bound by the path");
    return TR_OK;
}

/* -- what was given before -- */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0x9E3779B97F4A7C15u;
    x ^= x >> 29;
    return x;
}

/* The slot of (parent, oneof or field): found or new (*ret_new). There are twice as many slots as
 * can be taken. */
static uint32_t slot(struct query *q, uint32_t parent, uint32_t oneof, const struct tr_field *field,
                     bool *ret_new)
{
    uint64_t key = oneof ? oneof : (uint64_t)(uintptr_t)field;
    uint32_t i = (uint32_t)(mix(key + mix(parent + 1u)) >> 8) & q->mask;
    for (;; i = (i + 1) & q->mask) {
        struct seen *s = &q->slots[i];
        if (!s->field) {
            *s = (struct seen){parent, oneof, field};
            *ret_new = true;
            return i;
        }
        if (s->parent == parent && s->oneof == oneof && (oneof || s->field == field)) {
            *ret_new = false;
            return i;
        }
    }
}

/* What path and body give counts as a member of its oneof. */
static void take_bound(struct query *q)
{
    const struct tr_query_opts *o = q->opts;
    bool fresh;
    for (uint32_t b = 0; b < o->path_bind_count; b++) {
        uint32_t parent = 0;
        for (uint32_t i = 0; i < o->path_binds[b]->depth; i++) {
            const struct tr_field *f = o->path_binds[b]->chain[i];
            if (f->oneof)
                (void)slot(q, parent, f->oneof, f, &fresh);
            parent = slot(q, parent, 0, f, &fresh) + 1;
        }
    }
    if (o->body_field && o->body_field->oneof)
        (void)slot(q, 0, o->body_field->oneof, o->body_field, &fresh);
}

static enum tr_err check_again(struct query *q)
{
    uint32_t parent = 0;
    bool fresh = false;
    for (uint32_t i = 0; i < q->depth; i++) {
        const struct tr_field *f = q->chain[i];
        if (f->oneof) {
            uint32_t s = slot(q, parent, f->oneof, f, &fresh);
            if (q->slots[s].field != f)
                return fail_field(q, TR_ERR_QUERY_ONEOF,
                                  "another member of its oneof is given too");
        }
        parent = slot(q, parent, 0, f, &fresh) + 1;
    }
    const struct tr_field *leaf = q->chain[q->depth - 1];
    if (!fresh && !(leaf->flags & TR_FF_REPEATED))
        return fail_field(q, TR_ERR_QUERY_DUPLICATE, "the query parameter is given twice");
    return TR_OK;
}

/* -- the whole -- */

/* Standard base64 may have been sent with a bare '+', which was read as a space. */
static enum tr_err restore_plus(struct query *q)
{
    const struct tr_field *f = q->chain[q->depth - 1];
    if (f->flags & TR_FF_MAP)
        f = &f->sub.msg->fields[1];
    bool bytes = f->type == TR_FT_BYTES || (is_message(f) && f->sub.msg->wkt == TR_WKT_BYTES_VALUE);
    if (!bytes || tr_span_find(q->value, ' ') == q->value.len)
        return TR_OK;
    char *p = tr_arena_alloc(q->scratch, q->value.len + 1);
    if (!p)
        return tr_fail(q->st, TR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < q->value.len; i++)
        p[i] = (char)(q->value.ptr[i] == ' ' ? '+' : q->value.ptr[i]);
    q->value.ptr = p;
    return TR_OK;
}

static bool ignored(const struct query *q)
{
    for (uint32_t i = 0; i < q->opts->ignored_count; i++)
        if (tr_span_eq(q->opts->ignored[i], q->name))
            return true;
    return false;
}

static enum tr_err parameter(struct query *q)
{
    if (ignored(q))
        return TR_OK;
    enum sys_kind kind = sys_kind(q);
    if (kind != SYS_NONE)
        return system_parameter(q, kind);
    enum tr_err err = resolve(q);
    if (err == TR_ERR_QUERY_UNKNOWN)
        return q->opts->ignore_unknown ? TR_OK : fail_name(q, err, "no such query parameter");
    if (!err)
        err = check_bound(q);
    if (!err)
        err = check_leaf(q);
    if (!err)
        err = check_again(q);
    if (!err)
        err = restore_plus(q);
    if (err)
        return err;
    if (q->chain[0] == q->opts->mask_field)
        q->ret->mask_set = true;
    return tr_bind_encode(q->chain, q->depth, q->map_key, q->value, TR_ERR_QUERY_VALUE, q->out,
                          q->st);
}

/* Slots for each name of each parameter and of what is bound, and the oneofs of those: dots and
 * ampersands tell how many at most. */
static enum tr_err slots_init(struct query *q, struct tr_span raw)
{
    uint32_t names = 2;
    for (uint32_t b = 0; b < q->opts->path_bind_count; b++)
        names += q->opts->path_binds[b]->depth;
    for (size_t i = 0; i < raw.len; i++)
        names += raw.ptr[i] == '&' || raw.ptr[i] == '.' || raw.ptr[i] == '%';
    uint32_t cap = 8;
    while (cap < names * 4)
        cap *= 2;
    q->slots = tr_arena_calloc(q->scratch, cap, sizeof *q->slots);
    q->mask = cap - 1;
    if (!q->slots)
        return tr_fail(q->st, TR_ERR_NOMEM, "out of memory");
    take_bound(q);
    return TR_OK;
}

enum tr_err tr_query_bind(const struct tr_msgtype *type, struct tr_span raw,
                          const struct tr_query_opts *opts, struct tr_arena *scratch,
                          struct tr_buf *out, struct tr_query_result *ret, struct tr_status *st)
{
    struct query q = {
        .type = type, .opts = opts, .scratch = scratch, .out = out, .ret = ret, .st = st};
    size_t start = out->len;
    *ret = (struct tr_query_result){.sys = {.pretty = -1}};
    if (st)
        tr_status_clear(st);
    if (raw.len == 0)
        return TR_OK;
    enum tr_err err = slots_init(&q, raw);
    while (!err && raw.ptr) {
        struct tr_span pair = tr_span_cut(&raw, '&');
        if (pair.len == 0)
            continue;
        struct tr_span name = tr_span_cut(&pair, '=');
        err = decode(&q, name, &q.name);
        if (!err)
            err = decode(&q, pair.ptr ? pair : TR_SPAN(""), &q.value);
        if (err) {
            tr_status_set_field(st, name);
            break;
        }
        err = parameter(&q);
    }
    if (err)
        out->len = start;
    return err;
}
