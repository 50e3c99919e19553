/* What needs all files: names that were written relative, kinds of types, maps, extensions. */
#include "proto/typepool_int.h"
#include "proto/wire.h"

static enum tr_err resolve_late(struct tr_typepool *pool, const struct tr_late_ref *late)
{
    struct tr_span scope = late->scope;
    for (;;) {
        tr_buf_clear(&pool->name_buf);
        enum tr_err err = tr_buf_append(&pool->name_buf, scope);
        if (!err && scope.len)
            err = tr_buf_push(&pool->name_buf, '.');
        if (!err)
            err = tr_buf_append(&pool->name_buf, late->name);
        if (err)
            return err;
        struct tr_sym *sym = tr_symtab_get(&pool->syms, tr_buf_span(&pool->name_buf));
        if (sym && sym->kind != TR_SYM_UNDEFINED && sym->kind != TR_SYM_EXTENSION) {
            *late->where = sym;
            return TR_OK;
        }
        if (!scope.len)
            break;
        size_t dot = tr_span_rfind(scope, '.');
        scope.len = dot == scope.len ? 0 : dot;
    }
    tr_pool_problem(pool, late->file, "%.*s: the type \"%.*s\" is not defined",
                    TR_FMT_SPAN(late->used_by), TR_FMT_SPAN(late->name));
    return TR_OK;
}

static void check_deps(struct tr_typepool *pool)
{
    for (const struct tr_file_decl *f = pool->file_list; f; f = f->next) {
        if (f->builtin)
            continue;
        for (uint32_t i = 0; i < f->dep_count; i++)
            if (!tr_symtab_get(&pool->files, f->deps[i]))
                tr_pool_problem(pool, f, "the import \"%.*s\" is missing", TR_FMT_SPAN(f->deps[i]));
    }
}

static void report_missing(struct tr_typepool *pool, const struct tr_file_decl *file,
                           struct tr_span used_by, const char *member, struct tr_sym *sym)
{
    if (sym->reported)
        return;
    sym->reported = true;
    tr_pool_problem(pool, file, "%.*s%s%s: the type \"%.*s\" is not defined", TR_FMT_SPAN(used_by),
                    member[0] ? "." : "", member, TR_FMT_SPAN(sym->name));
}

/* Kind of the type, then the flags that hang on it. owner: the message; NULL for an extension. */
static void link_field(struct tr_typepool *pool, const struct tr_file_decl *file,
                       const struct tr_msg_decl *owner, struct tr_field_decl *f)
{
    if (!f->ref)
        return;
    struct tr_span used_by = owner ? owner->sym->name : tr_span(f->name, f->name_len);
    const char *member = owner ? f->name : "";
    if (f->ref->kind == TR_SYM_UNDEFINED) {
        report_missing(pool, file, used_by, member, f->ref);
        return;
    }
    bool is_msg = f->ref->kind == TR_SYM_MESSAGE, is_enum = f->ref->kind == TR_SYM_ENUM;
    if (f->type == 0)
        f->type = is_enum ? TR_FT_ENUM : TR_FT_MESSAGE;
    if (f->type == TR_FT_ENUM ? !is_enum : !is_msg) {
        tr_pool_problem(pool, file, "%.*s%s%s: %.*s is not %s", TR_FMT_SPAN(used_by),
                        member[0] ? "." : "", member, TR_FMT_SPAN(f->ref->name),
                        f->type == TR_FT_ENUM ? "an enum" : "a message");
        return;
    }
    if (is_enum) {
        if (f->ref->of.en->closed)
            f->flags |= TR_FF_CLOSED_ENUM;
        return;
    }
    if (f->ref->of.msg->is_map_entry) {
        if ((f->flags & TR_FF_REPEATED) && f->type == TR_FT_MESSAGE && owner)
            f->flags |= TR_FF_MAP;
        else
            tr_pool_problem(pool, file, "%.*s%s%s: a map entry outside a map", TR_FMT_SPAN(used_by),
                            member[0] ? "." : "", member);
    } else if (f->delimited && !(owner && owner->is_map_entry)) {
        f->type = TR_FT_GROUP;
    }
}

static enum tr_err check_default(struct tr_typepool *pool, const struct tr_file_decl *file,
                                 struct tr_span owner, const struct tr_field_decl *f)
{
    bool linked = f->type != TR_FT_ENUM || (f->ref && f->ref->kind == TR_SYM_ENUM);
    if (!f->def || !linked)
        return TR_OK;
    struct tr_arena_mark mark = tr_arena_mark(&pool->arena);
    bool bad;
    bool ok = tr_pool_default_json(pool, f, &bad).ptr != NULL;
    tr_arena_rewind(&pool->arena, mark);
    if (ok && bad)
        tr_pool_problem(pool, file, "%.*s%s%s: the default \"%s\" does not fit the type",
                        TR_FMT_SPAN(owner), owner.len ? "." : "", f->name, f->def);
    return ok ? TR_OK : TR_ERR_NOMEM;
}

static bool is_key_type(unsigned type)
{
    return type != TR_FT_DOUBLE && type != TR_FT_FLOAT && type != TR_FT_GROUP &&
           type != TR_FT_MESSAGE && type != TR_FT_BYTES && type != TR_FT_ENUM;
}

static void check_map_entry(struct tr_typepool *pool, const struct tr_msg_decl *m)
{
    const struct tr_field_decl *f = m->fields;
    if (m->field_count != 2 || f[0].number != 1 || f[1].number != 2 ||
        ((f[0].flags | f[1].flags) & TR_FF_REPEATED) || m->oneof_count || !is_key_type(f[0].type) ||
        f[1].type == TR_FT_GROUP)
        tr_pool_problem(pool, m->sym->file, "%s is not a map entry", m->sym->name.ptr);
}

static enum tr_err link_messages(struct tr_typepool *pool)
{
    for (struct tr_msg_decl *m = pool->msgs; m; m = m->next) {
        for (uint32_t i = 0; i < m->field_count; i++) {
            link_field(pool, m->sym->file, m, &m->fields[i]);
            enum tr_err err = check_default(pool, m->sym->file, m->sym->name, &m->fields[i]);
            if (err)
                return err;
        }
        if (m->is_map_entry)
            check_map_entry(pool, m);
        m->wkt = tr_pool_wkt_by_name(m->sym->name);
        if (m->wkt && !tr_pool_wkt_shape_ok(m))
            tr_pool_problem(pool, m->sym->file, "%s has not the fields that it must have",
                            m->sym->name.ptr);
    }
    return TR_OK;
}

/* Into the extendee's list, ascending by number. */
static void attach(struct tr_typepool *pool, struct tr_ext_decl *e)
{
    struct tr_msg_decl *m = e->extendee->of.msg;
    if (e->field.number >
        TR_FIELD_NUMBER_MAX) { /* only a message set may have it, and then no tag carries it */
        if (!m->message_set)
            tr_pool_problem(pool, e->file, "%s: field number %u is out of range", e->field.name,
                            (unsigned)e->field.number);
        return;
    }
    struct tr_ext_decl **at = &m->exts;
    while (*at && (*at)->field.number < e->field.number)
        at = &(*at)->next_same;
    bool taken = *at && (*at)->field.number == e->field.number;
    for (uint32_t i = 0; i < m->field_count && !taken; i++)
        taken = m->fields[i].number == e->field.number;
    if (taken) {
        tr_pool_problem(pool, e->file, "%s: number %u of %.*s is taken", e->field.name,
                        (unsigned)e->field.number, TR_FMT_SPAN(m->sym->name));
        return;
    }
    if (m->ext_count + m->field_count >= UINT16_MAX) {
        tr_pool_problem(pool, e->file, "%.*s has too many extensions", TR_FMT_SPAN(m->sym->name));
        return;
    }
    e->next_same = *at;
    *at = e;
    m->ext_count++;
}

static enum tr_err link_extensions(struct tr_typepool *pool)
{
    for (struct tr_ext_decl *e = pool->exts; e; e = e->next) {
        struct tr_span name = tr_span(e->field.name, e->field.name_len);
        link_field(pool, e->file, NULL, &e->field);
        enum tr_err err = check_default(pool, e->file, TR_SPAN(""), &e->field);
        if (err)
            return err;
        if (!e->extendee)
            continue;
        if (e->extendee->kind == TR_SYM_UNDEFINED)
            report_missing(pool, e->file, name, "", e->extendee);
        else if (e->extendee->kind != TR_SYM_MESSAGE)
            tr_pool_problem(pool, e->file, "%.*s extends %.*s, which is not a message",
                            TR_FMT_SPAN(name), TR_FMT_SPAN(e->extendee->name));
        else
            attach(pool, e);
    }
    return TR_OK;
}

static void link_services(struct tr_typepool *pool)
{
    for (struct tr_service_decl *s = pool->services; s; s = s->next) {
        for (uint32_t i = 0; i < s->service.rpc_count * 2; i++) {
            struct tr_sym *ref = s->refs[i];
            if (!ref || ref->kind == TR_SYM_MESSAGE)
                continue;
            if (ref->kind == TR_SYM_UNDEFINED)
                report_missing(pool, s->sym->file, s->rpcs[i / 2].full_name, "", ref);
            else
                tr_pool_problem(pool, s->sym->file, "%.*s: %.*s is not a message",
                                TR_FMT_SPAN(s->rpcs[i / 2].full_name), TR_FMT_SPAN(ref->name));
        }
    }
}

enum tr_err tr_pool_link(struct tr_typepool *pool)
{
    for (const struct tr_late_ref *late = pool->late_refs; late; late = late->next) {
        enum tr_err err = resolve_late(pool, late);
        if (err)
            return err;
    }
    check_deps(pool);
    link_services(pool);
    enum tr_err err = link_messages(pool);
    return err ? err : link_extensions(pool);
}
