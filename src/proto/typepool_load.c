/* One file of a set at a time: protobuf-c unpacks it into a scratch arena, what is needed is copied
 * into declarations. */
#include "proto/typepool_load.h"

#include "base/utf8.h"
#include "proto/annot.h"
#include "proto/pbc_alloc.h"
#include "proto/wire.h"

struct tr_features tr_load_features(struct tr_features base, const pb_features *set)
{
    if (!set)
        return base;
    return tr_features_merge(
        base,
        (struct tr_features){(uint8_t)set->field_presence, (uint8_t)set->enum_type,
                             (uint8_t)set->repeated_field_encoding, (uint8_t)set->utf8_validation,
                             (uint8_t)set->message_encoding, (uint8_t)set->json_format});
}

bool tr_load_is_identifier(struct tr_span s)
{
    if (!s.len || tr_is_digit(s.ptr[0]))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!tr_is_alpha(s.ptr[i]) && !tr_is_digit(s.ptr[i]) && s.ptr[i] != '_')
            return false;
    return true;
}

/* "scope.name" in the pool's buffer, valid until the next call. */
static enum tr_err full_name(struct tr_typepool *pool, struct tr_span scope, struct tr_span name,
                             struct tr_span *ret)
{
    struct tr_buf *b = &pool->name_buf;
    tr_buf_clear(b);
    enum tr_err err = tr_buf_reserve(b, scope.len + name.len + 1);
    if (err)
        return err;
    if (scope.len) {
        memcpy(b->ptr, scope.ptr, scope.len);
        b->ptr[scope.len] = '.';
        b->len = scope.len + 1;
    }
    memcpy(b->ptr + b->len, name.ptr, name.len);
    b->len += name.len;
    *ret = tr_buf_span(b);
    return TR_OK;
}

enum tr_err tr_load_declare(struct tr_load *l, struct tr_span scope, const char *pb_name,
                            enum tr_sym_kind kind, const char *what, struct tr_sym **ret)
{
    struct tr_span name = tr_span_cstr(pb_name), full;
    *ret = NULL;
    if (!tr_load_is_identifier(name)) {
        tr_pool_problem(l->pool, l->file, "a %s in \"%.*s\" has a malformed name", what,
                        TR_FMT_SPAN(scope));
        return TR_OK;
    }
    enum tr_err err = full_name(l->pool, scope, name, &full);
    if (err)
        return err;
    struct tr_sym *sym = tr_pool_sym(l->pool, full);
    if (!sym)
        return TR_ERR_NOMEM;
    if (sym->kind != TR_SYM_UNDEFINED) {
        if (!l->file->builtin)
            tr_pool_problem(l->pool, l->file, "%s is already declared in %.*s", sym->name.ptr,
                            TR_FMT_SPAN(sym->file->name));
        return TR_OK;
    }
    sym->kind = (uint8_t)kind;
    sym->file = l->file;
    *ret = sym;
    return TR_OK;
}

enum tr_err tr_load_refer(struct tr_load *l, const char *type_name, struct tr_span scope,
                          struct tr_span used_by, struct tr_sym **where)
{
    struct tr_span name = tr_span_cstr(type_name);
    if (name.len > 1 && name.ptr[0] == '.') {
        struct tr_sym *sym = tr_pool_sym(l->pool, tr_span_from(name, 1));
        if (!sym)
            return TR_ERR_NOMEM;
        *where = sym;
        return TR_OK;
    }
    struct tr_late_ref *late = TR_ARENA_NEW(&l->pool->arena, struct tr_late_ref);
    if (!late)
        return TR_ERR_NOMEM;
    *late =
        (struct tr_late_ref){.where = where, .scope = scope, .used_by = used_by, .file = l->file};
    late->name = tr_arena_copy(&l->pool->arena, name);
    if (!late->name.ptr)
        return TR_ERR_NOMEM;
    *l->pool->late_tail = late;
    l->pool->late_tail = &late->next;
    return TR_OK;
}

static enum tr_err load_enum(struct tr_load *l, const pb_enum *pb, struct tr_span scope,
                             struct tr_features inherited)
{
    struct tr_typepool *pool = l->pool;
    struct tr_sym *sym;
    enum tr_err err = tr_load_declare(l, scope, pb->name, TR_SYM_ENUM, "enum", &sym);
    if (err || !sym)
        return err;
    struct tr_enum_decl *e = TR_ARENA_NEW(&pool->arena, struct tr_enum_decl);
    if (!e)
        return TR_ERR_NOMEM;
    sym->of.en = e;
    e->sym = sym;
    struct tr_features f = tr_load_features(inherited, pb->options ? pb->options->features : NULL);
    e->closed = f.enum_type == TR_ENUM_CLOSED;
    e->values = tr_arena_calloc(&pool->arena, pb->n_value, sizeof *e->values);
    if (!e->values)
        return TR_ERR_NOMEM;
    for (size_t i = 0; i < pb->n_value; i++) {
        const Google__Protobuf__EnumValueDescriptorProto *v = pb->value[i];
        if (!tr_load_is_identifier(tr_span_cstr(v->name))) {
            tr_pool_problem(pool, l->file, "a value of %s has a malformed name", sym->name.ptr);
            continue;
        }
        struct tr_span name = tr_arena_copy(&pool->arena, tr_span_cstr(v->name));
        if (!name.ptr)
            return TR_ERR_NOMEM;
        e->values[e->value_count++] =
            (struct tr_enum_value_decl){name.ptr, (uint32_t)name.len, v->number};
    }
    if (!e->value_count)
        tr_pool_problem(pool, l->file, "%s has no value", sym->name.ptr);
    else if (!e->closed && e->values[0].number != 0)
        tr_pool_problem(pool, l->file, "the first value of %s is not 0", sym->name.ptr);
    *pool->enum_tail = e;
    pool->enum_tail = &e->next;
    pool->stats.enums++;
    return TR_OK;
}

static enum tr_err load_extension(struct tr_load *l, const pb_field *pb, struct tr_span scope,
                                  struct tr_features f)
{
    struct tr_typepool *pool = l->pool;
    if (!pb->extendee || !pb->extendee[0]) {
        tr_pool_problem(pool, l->file, "an extension in \"%.*s\" extends nothing",
                        TR_FMT_SPAN(scope));
        return TR_OK;
    }
    struct tr_sym *sym;
    enum tr_err err = tr_load_declare(l, scope, pb->name, TR_SYM_EXTENSION, "extension", &sym);
    if (err || !sym)
        return err;
    struct tr_ext_decl *e = TR_ARENA_NEW(&pool->arena, struct tr_ext_decl);
    if (!e)
        return TR_ERR_NOMEM;
    e->file = l->file;
    e->field.name = sym->name.ptr;
    e->field.name_len = (uint32_t)sym->name.len;
    err = tr_load_refer(l, pb->extendee, scope, sym->name, &e->extendee);
    if (!err)
        err = tr_load_field(l, pb, scope, f, &e->field);
    if (err)
        return err;
    *pool->ext_tail = e;
    pool->ext_tail = &e->next;
    return TR_OK;
}

/* The annotation may be split over several records: messages merge, which is to parse them one
 * after the other. */
static enum tr_err load_http_rule(struct tr_load *l, const ProtobufCMessage *options,
                                  struct tr_rpc *rpc)
{
    struct tr_span wire = {NULL, 0};
    for (unsigned i = 0; i < options->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *u = &options->unknown_fields[i];
        const char *p = (const char *)u->data;
        struct tr_span part;
        if (u->tag != TR_ANNOT_HTTP_FIELD || u->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED ||
            !tr_wire_len(&p, p + u->len, &part))
            continue;
        char *joined = tr_arena_alloc(l->scratch, wire.len + part.len);
        if (!joined)
            return TR_ERR_NOMEM;
        if (wire.len)
            memcpy(joined, wire.ptr, wire.len);
        if (part.len)
            memcpy(joined + wire.len, part.ptr, part.len);
        wire = tr_span(joined, wire.len + part.len);
    }
    if (!wire.ptr)
        return TR_OK;
    struct tr_status st;
    tr_status_clear(&st);
    enum tr_err err = tr_annot_http_rule(&l->pool->arena, wire, &rpc->rule, &st);
    if (err != TR_ERR_DESCRIPTOR)
        return err;
    tr_pool_problem(l->pool, l->file, "%s: %.*s", rpc->full_name.ptr,
                    TR_FMT_SPAN(tr_status_text(&st)));
    return TR_OK;
}

static enum tr_err load_rpc(struct tr_load *l, const pb_method *pb, struct tr_service_decl *s,
                            struct tr_rpc *rpc, struct tr_sym **refs)
{
    struct tr_arena *arena = &l->pool->arena;
    struct tr_span service = s->sym->name, full;
    size_t name_len = strlen(pb->name);
    enum tr_err err = full_name(l->pool, service, tr_span(pb->name, name_len), &full);
    if (err)
        return err;
    char *path = tr_arena_alloc(arena, service.len + name_len + 2);
    rpc->full_name = tr_arena_copy(arena, full);
    if (!path || !rpc->full_name.ptr)
        return TR_ERR_NOMEM;
    path[0] = '/';
    memcpy(path + 1, full.ptr, full.len);
    path[1 + service.len] = '/';
    rpc->path = tr_span(path, full.len + 1);
    rpc->name = tr_span_from(rpc->full_name, service.len + 1);
    rpc->service = &s->service;
    rpc->client_streaming = pb->client_streaming;
    rpc->server_streaming = pb->server_streaming;
    if (!pb->input_type || !pb->input_type[0] || !pb->output_type || !pb->output_type[0]) {
        tr_pool_problem(l->pool, l->file, "%s lacks its request or response type",
                        rpc->full_name.ptr);
        return TR_OK;
    }
    err = tr_load_refer(l, pb->input_type, service, rpc->full_name, &refs[0]);
    if (!err)
        err = tr_load_refer(l, pb->output_type, service, rpc->full_name, &refs[1]);
    if (err || !pb->options)
        return err;
    rpc->deprecated = pb->options->deprecated;
    if (pb->options->idempotency_level == 1 || pb->options->idempotency_level == 2)
        rpc->idempotency = (uint8_t)pb->options->idempotency_level;
    return load_http_rule(l, &pb->options->base, rpc);
}

static enum tr_err load_service(struct tr_load *l, const pb_service *pb, struct tr_span scope)
{
    struct tr_typepool *pool = l->pool;
    struct tr_sym *sym;
    enum tr_err err = tr_load_declare(l, scope, pb->name, TR_SYM_SERVICE, "service", &sym);
    if (err || !sym)
        return err;
    struct tr_service_decl *s = TR_ARENA_NEW(&pool->arena, struct tr_service_decl);
    if (!s)
        return TR_ERR_NOMEM;
    sym->of.service = s;
    s->sym = sym;
    s->rpcs = tr_arena_calloc(&pool->arena, pb->n_method, sizeof *s->rpcs);
    s->refs = tr_arena_calloc(&pool->arena, pb->n_method, 2 * sizeof *s->refs);
    if (!s->rpcs || !s->refs)
        return TR_ERR_NOMEM;
    s->service = (struct tr_service){sym->name, s->rpcs, 0};
    for (size_t i = 0; i < pb->n_method; i++) {
        if (!tr_load_is_identifier(tr_span_cstr(pb->method[i]->name))) {
            tr_pool_problem(pool, l->file, "a method of %s has a malformed name", sym->name.ptr);
            continue;
        }
        uint32_t at = s->service.rpc_count++;
        err = load_rpc(l, pb->method[i], s, &s->rpcs[at], &s->refs[2 * at]);
        if (err)
            return err;
    }
    *pool->service_tail = s;
    pool->service_tail = &s->next;
    pool->stats.services++;
    return TR_OK;
}

static enum tr_err push_message(struct tr_load *l, const pb_message *pb, struct tr_span scope,
                                struct tr_features f)
{
    struct tr_load_pending *p = tr_arena_alloc(l->scratch, sizeof *p);
    if (!p)
        return TR_ERR_NOMEM;
    *p = (struct tr_load_pending){pb, scope, f, NULL};
    *l->last = p;
    l->last = &p->next;
    return TR_OK;
}

static enum tr_err load_pending(struct tr_load *l, const struct tr_load_pending *p)
{
    struct tr_typepool *pool = l->pool;
    struct tr_sym *sym;
    enum tr_err err = tr_load_declare(l, p->scope, p->pb->name, TR_SYM_MESSAGE, "message", &sym);
    if (err || !sym)
        return err;
    struct tr_msg_decl *m = TR_ARENA_NEW(&pool->arena, struct tr_msg_decl);
    if (!m)
        return TR_ERR_NOMEM;
    sym->of.msg = m;
    m->sym = sym;
    struct tr_features f =
        tr_load_features(p->features, p->pb->options ? p->pb->options->features : NULL);
    err = tr_load_message(l, p->pb, m, f);
    for (size_t i = 0; !err && i < p->pb->n_enum_type; i++)
        err = load_enum(l, p->pb->enum_type[i], sym->name, f);
    for (size_t i = 0; !err && i < p->pb->n_extension; i++)
        err = load_extension(l, p->pb->extension[i], sym->name, f);
    for (size_t i = 0; !err && i < p->pb->n_nested_type; i++)
        err = push_message(l, p->pb->nested_type[i], sym->name, f);
    if (err)
        return err;
    *pool->msg_tail = m;
    pool->msg_tail = &m->next;
    m->index = pool->stats.messages++;
    return TR_OK;
}

static enum tr_err load_head(struct tr_load *l, const pb_file *pb, struct tr_features *ret_features)
{
    struct tr_typepool *pool = l->pool;
    struct tr_file_decl *file = l->file;
    file->deps = tr_arena_calloc(&pool->arena, pb->n_dependency, sizeof *file->deps);
    if (!file->deps)
        return TR_ERR_NOMEM;
    for (size_t i = 0; i < pb->n_dependency; i++) {
        file->deps[i] = tr_arena_copy(&pool->arena, tr_span_cstr(pb->dependency[i]));
        if (!file->deps[i].ptr)
            return TR_ERR_NOMEM;
        file->dep_count++;
    }
    struct tr_span syntax = pb->syntax ? tr_span_cstr(pb->syntax) : TR_SPAN("");
    int32_t edition = -1;
    if (tr_span_eq(syntax, TR_SPAN("")) || tr_span_eq(syntax, TR_SPAN("proto2")))
        edition = TR_EDITION_PROTO2;
    else if (tr_span_eq(syntax, TR_SPAN("proto3")))
        edition = TR_EDITION_PROTO3;
    else if (tr_span_eq(syntax, TR_SPAN("editions")))
        edition = (int32_t)pb->edition;
    l->proto3 = edition == TR_EDITION_PROTO3;
    if (!tr_features_of_edition(edition, ret_features)) {
        if (edition < 0)
            tr_pool_problem(pool, file, "the syntax \"%.*s\" is not known", TR_FMT_SPAN(syntax));
        else
            tr_pool_problem(pool, file, "edition %d is not supported", (int)edition);
        (void)tr_features_of_edition(TR_EDITION_2023, ret_features);
    }
    *ret_features = tr_load_features(*ret_features, pb->options ? pb->options->features : NULL);
    return TR_OK;
}

static enum tr_err load_file(struct tr_load *l, const pb_file *pb)
{
    struct tr_features f;
    struct tr_span package = pb->package ? tr_span_cstr(pb->package) : TR_SPAN("");
    enum tr_err err = load_head(l, pb, &f);
    /* the scope outlives the scratch arena in late references */
    package = tr_arena_copy(&l->pool->arena, package);
    if (!err && !package.ptr)
        err = TR_ERR_NOMEM;
    for (size_t i = 0; !err && i < pb->n_message_type; i++)
        err = push_message(l, pb->message_type[i], package, f);
    for (const struct tr_load_pending *p = l->first; !err && p; p = p->next)
        err = load_pending(l, p);
    for (size_t i = 0; !err && i < pb->n_enum_type; i++)
        err = load_enum(l, pb->enum_type[i], package, f);
    for (size_t i = 0; !err && i < pb->n_extension; i++)
        err = load_extension(l, pb->extension[i], package, f);
    for (size_t i = 0; !err && i < pb->n_service; i++)
        err = load_service(l, pb->service[i], package);
    return err;
}

/* The name (field 1) without unpacking: sets repeat their imports, and a file that is here already
 * costs nothing. */
static bool peek_name(struct tr_span wire, struct tr_span *ret)
{
    const char *p = wire.ptr, *end = wire.ptr + wire.len;
    bool found = false;
    while (p < end) {
        uint32_t number, type;
        if (!tr_wire_tag(&p, end, &number, &type))
            return false;
        if (number == 1 && type == TR_WIRE_LEN) {
            if (!tr_wire_len(&p, end, ret))
                return false;
            found = true;
        } else if (!tr_wire_skip(&p, end, number, type)) {
            return false;
        }
    }
    return found && ret->len && !memchr(ret->ptr, 0, ret->len) && tr_utf8_valid(*ret);
}

static enum tr_err unpack_file(struct tr_typepool *pool, struct tr_pbc_alloc *scratch,
                               struct tr_span name, struct tr_span wire, struct tr_status *st)
{
    static const struct tr_pbc_nest nest = {{4}, 1, 3}; /* message_type, nested_type */
    if (!tr_pbc_depth_ok(wire, &nest, TR_NEST_MAX))
        return tr_fail(st, TR_ERR_DESCRIPTOR,
                       "%.*s: malformed, or messages nested more than %d deep", TR_FMT_SPAN(name),
                       TR_NEST_MAX - 1);
    pb_file *pb = google__protobuf__file_descriptor_proto__unpack(&scratch->base, wire.len,
                                                                  (const uint8_t *)wire.ptr);
    if (!pb && scratch->failed)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    if (!pb)
        return tr_fail(st, TR_ERR_DESCRIPTOR, "%.*s: not a file descriptor", TR_FMT_SPAN(name));
    struct tr_file_decl *file = TR_ARENA_NEW(&pool->arena, struct tr_file_decl);
    if (!file)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    file->builtin = pool->adding_builtin;
    file->name = tr_arena_copy(&pool->arena, name);
    if (!file->name.ptr || tr_symtab_put(&pool->files, file->name, file) != TR_OK)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    *pool->file_tail = file;
    pool->file_tail = &file->next;
    pool->stats.files++;
    struct tr_load l = {.pool = pool, .scratch = &scratch->arena, .file = file};
    l.last = &l.first;
    enum tr_err err = load_file(&l, pb);
    return err ? tr_fail(st, err, "out of memory") : TR_OK;
}

enum tr_err tr_pool_load_set(struct tr_typepool *pool, struct tr_span bytes, struct tr_status *st)
{
    struct tr_block_cache cache;
    struct tr_pbc_alloc scratch;
    tr_block_cache_init(&cache, 256);
    tr_pbc_alloc_init(&scratch, &cache);
    const char *p = bytes.ptr, *end = bytes.len ? bytes.ptr + bytes.len : p;
    uint32_t files = 0;
    enum tr_err err = TR_OK;
    while (!err && p < end) {
        uint32_t number, type;
        struct tr_span wire, name;
        size_t at = (size_t)(p - bytes.ptr);
        if (!tr_wire_tag(&p, end, &number, &type) ||
            (number == 1 ? type != TR_WIRE_LEN || !tr_wire_len(&p, end, &wire)
                         : !tr_wire_skip(&p, end, number, type))) {
            err = tr_fail(st, TR_ERR_DESCRIPTOR, "not a FileDescriptorSet: malformed at byte %zu",
                          at);
        } else if (number == 1) {
            files++;
            if (!peek_name(wire, &name))
                err =
                    tr_fail(st, TR_ERR_DESCRIPTOR,
                            "not a FileDescriptorSet: file %u is malformed or has no name", files);
            else if (!tr_symtab_get(&pool->files, name))
                err = unpack_file(pool, &scratch, name, wire, st);
            tr_pbc_alloc_rewind(&scratch);
        }
    }
    if (!err && !files)
        err = tr_fail(st, TR_ERR_DESCRIPTOR, "not a FileDescriptorSet: it holds no file");
    tr_pbc_alloc_fini(&scratch);
    tr_block_cache_fini(&cache);
    return err;
}
