#include "transcode/json2pb_impl.h"

#include <stdio.h>

/* A bounded text: what does not fit is left out. */
struct text {
    char *ptr;
    size_t len, cap;
};

static void add(struct text *t, struct tr_span s)
{
    size_t n = s.len < t->cap - t->len ? s.len : t->cap - t->len;
    if (n)
        memcpy(t->ptr + t->len, s.ptr, n);
    t->len += n;
}

static void add_name(struct text *t, struct tr_span name)
{
    if (t->len)
        add(t, TR_SPAN("."));
    add(t, name);
}

static void add_index(struct text *t, uint32_t index)
{
    char s[16];
    int n = snprintf(s, sizeof s, "[%u]", index);
    add(t, tr_span(s, n > 0 ? (size_t)n : 0));
}

static int64_t key_number(uint8_t type, const char *p, const char *end)
{
    uint64_t v = 0;
    uint32_t v32 = 0;
    switch (type) {
    case TR_FT_FIXED64:
    case TR_FT_SFIXED64:
        return tr_wire_fixed64(&p, end, &v) ? (int64_t)v : 0;
    case TR_FT_FIXED32:
        return tr_wire_fixed32(&p, end, &v32) ? (int64_t)v32 : 0;
    case TR_FT_SFIXED32:
        return tr_wire_fixed32(&p, end, &v32) ? (int64_t)(int32_t)v32 : 0;
    default:
        break;
    }
    if (!tr_wire_varint(&p, end, &v))
        return 0;
    return type == TR_FT_SINT32 || type == TR_FT_SINT64 ? tr_wire_unzigzag64(v) : (int64_t)v;
}

/* The key of the entry in hand, read back from the output, where it stands as the first field of
 * the entry. */
static void add_key(struct text *t, const struct tr_json2pb *j, const struct tr_j2p_frame *f)
{
    const struct tr_field *key = f->kind == J2P_MAP ? &f->field->sub.msg->fields[0] : NULL;
    if (f->start == 0 || f->start >= j->out->len)
        return;
    const char *p = j->out->ptr + f->start + (key ? key->tag_len : 1);
    const char *end = j->out->ptr + j->out->len;
    char s[32];
    int n;
    if (key && key->type == TR_FT_BOOL) {
        add(t, p < end && *p ? TR_SPAN("[true]") : TR_SPAN("[false]"));
    } else if (key && key->type != TR_FT_STRING) {
        n = snprintf(s, sizeof s, "[%lld]", (long long)key_number(key->type, p, end));
        add(t, tr_span(s, n > 0 ? (size_t)n : 0));
    } else {
        struct tr_span name;
        if (p > end || !tr_wire_len(&p, end, &name))
            return;
        add(t, TR_SPAN("[\""));
        add(t, name);
        add(t, TR_SPAN("\"]"));
    }
}

size_t tr_j2p_error_path(const struct tr_json2pb *j, char *buf, size_t cap)
{
    struct text t = {NULL, 0, cap};
    t.ptr = buf;
    for (uint32_t i = 0; i <= j->top; i++) {
        const struct tr_j2p_frame *f = &j->frames[i];
        switch ((enum tr_j2p_kind)f->kind) {
        case J2P_ROOT:
        case J2P_MSG:
            if (f->field)
                add_name(&t, f->field->names->proto);
            break;
        case J2P_LIST:
        case J2P_LISTVALUE:
            if (f->index)
                add_index(&t, f->index - 1);
            break;
        case J2P_MAP:
        case J2P_STRUCT:
            add_key(&t, j, f);
            break;
        case J2P_ANY:
        case J2P_ANY_TYPE:
        case J2P_ANY_WKT:
        case J2P_HOLD:
        case J2P_SKIP:
            break;
        }
    }
    if (j->failed == TR_ERR_JSON_UNKNOWN_FIELD)
        add_name(&t, *j->text);
    return t.len;
}

enum tr_err tr_j2p_report_path(struct tr_json2pb *j, bool leaf)
{
    size_t need = 1;
    uint32_t end = leaf ? j->top + 1 : j->top;
    for (uint32_t i = 1; i < end; i++)
        need += 1 + j->frames[i].field->names->proto.len;
    if (need > j->path_cap) {
        char *path = tr_arena_alloc(j->arena, need * 2);
        if (!path)
            return TR_ERR_NOMEM;
        j->path = path;
        j->path_cap = need * 2;
    }
    struct text t = {j->path, 0, j->path_cap};
    for (uint32_t i = 1; i < end; i++)
        add_name(&t, j->frames[i].field->names->proto);
    if (t.len)
        j->opts.on_path(j->opts.on_path_ctx, tr_span(t.ptr, t.len));
    return TR_OK;
}
