#include "proto/typepool.h"

#include "base/alloc.h"
#include "builtin_pb.h"
#include "proto/typepool_int.h"

#include <stdarg.h>
#include <stdio.h>

static bool usable(const struct tr_typepool *pool)
{
    return pool->state == TR_POOL_LINKED || pool->state == TR_POOL_FROZEN;
}

enum tr_err tr_typepool_new(struct tr_typepool **ret_pool)
{
    struct tr_typepool *pool = tr_calloc(1, sizeof *pool);
    if (!pool)
        return TR_ERR_NOMEM;
    tr_arena_init(&pool->arena, NULL);
    tr_buf_init(&pool->name_buf);
    pool->file_tail = &pool->file_list;
    pool->msg_tail = &pool->msgs;
    pool->enum_tail = &pool->enums;
    pool->service_tail = &pool->services;
    pool->ext_tail = &pool->exts;
    pool->late_tail = &pool->late_refs;
    pool->problem_tail = &pool->problems;
    *ret_pool = pool;
    return TR_OK;
}

void tr_typepool_free(struct tr_typepool *pool)
{
    if (!pool)
        return;
    tr_symtab_fini(&pool->syms);
    tr_symtab_fini(&pool->files);
    tr_buf_fini(&pool->name_buf);
    tr_arena_fini(&pool->arena);
    tr_free(pool);
}

void tr_pool_problem(struct tr_typepool *pool, const struct tr_file_decl *file, const char *fmt,
                     ...)
{
    pool->problem_count++;
    if (pool->problem_count > TR_PROBLEMS_MAX)
        return;
    struct tr_problem *problem = TR_ARENA_NEW(&pool->arena, struct tr_problem);
    if (!problem)
        return; /* it is counted: link fails all the same */
    char text[TR_STATUS_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (file)
        (void)tr_fail(&problem->st, TR_ERR_DESCRIPTOR, "%.*s: %s", TR_FMT_SPAN(file->name), text);
    else
        (void)tr_fail(&problem->st, TR_ERR_DESCRIPTOR, "%s", text);
    *pool->problem_tail = problem;
    pool->problem_tail = &problem->next;
}

struct tr_sym *tr_pool_sym(struct tr_typepool *pool, struct tr_span full_name)
{
    struct tr_sym *sym = tr_symtab_get(&pool->syms, full_name);
    if (sym)
        return sym;
    sym = TR_ARENA_NEW(&pool->arena, struct tr_sym);
    if (!sym)
        return NULL;
    sym->name = tr_arena_copy(&pool->arena, full_name);
    if (!sym->name.ptr || tr_symtab_put(&pool->syms, sym->name, sym) != TR_OK)
        return NULL;
    return sym;
}

enum tr_err tr_typepool_add(struct tr_typepool *pool, struct tr_span bytes, struct tr_status *st)
{
    if (pool->state != TR_POOL_LOADING)
        return tr_fail(st, TR_ERR_DESCRIPTOR, "the pool is already linked");
    enum tr_err err = tr_pool_load_set(pool, bytes, st);
    if (err)
        pool->state = TR_POOL_BROKEN;
    return err;
}

static enum tr_err add_builtin(struct tr_typepool *pool, struct tr_status *st)
{
    pool->adding_builtin = true;
    enum tr_err err =
        tr_pool_load_set(pool, tr_span((const char *)tr_builtin_pb, tr_builtin_pb_bytes), st);
    pool->adding_builtin = false;
    return err;
}

static enum tr_err index_services(struct tr_typepool *pool)
{
    pool->service_index =
        tr_arena_calloc(&pool->arena, pool->stats.services, sizeof *pool->service_index);
    if (!pool->service_index)
        return TR_ERR_NOMEM;
    uint32_t i = 0;
    for (struct tr_service_decl *s = pool->services; s; s = s->next)
        pool->service_index[i++] = s;
    return TR_OK;
}

enum tr_err tr_typepool_link(struct tr_typepool *pool,
                             void (*on_problem)(void *ctx, const struct tr_status *st), void *ctx,
                             struct tr_status *st)
{
    if (pool->state != TR_POOL_LOADING)
        return tr_fail(st, TR_ERR_DESCRIPTOR, "the pool is already linked or was not loaded");
    pool->state = TR_POOL_BROKEN;
    enum tr_err err = add_builtin(pool, st);
    if (err)
        return err;
    err = tr_pool_link(pool);
    if (!err)
        err = index_services(pool);
    if (err)
        return tr_fail(st, err, "out of memory");
    if (pool->problem_count) {
        for (struct tr_problem *p = pool->problems; p && on_problem; p = p->next)
            on_problem(ctx, &p->st);
        if (!pool->problems)
            return tr_fail(st, TR_ERR_NOMEM, "out of memory");
        if (st)
            *st = pool->problems->st;
        return TR_ERR_DESCRIPTOR;
    }
    pool->state = TR_POOL_LINKED;
    return TR_OK;
}

static enum tr_err reach_all(struct tr_typepool *pool)
{
    for (struct tr_msg_decl *m = pool->msgs; m; m = m->next)
        if (!tr_pool_reach(pool, m))
            return TR_ERR_NOMEM;
    for (struct tr_enum_decl *e = pool->enums; e; e = e->next)
        if (!tr_pool_enum_type(pool, e))
            return TR_ERR_NOMEM;
    return TR_OK;
}

static enum tr_err reach_builtin(struct tr_typepool *pool)
{
    for (const char *const *name = tr_pool_always_compiled; *name; name++) {
        struct tr_sym *sym = tr_symtab_get(&pool->syms, tr_span_cstr(*name));
        if (sym && sym->kind == TR_SYM_MESSAGE && !tr_pool_reach(pool, sym->of.msg))
            return TR_ERR_NOMEM;
    }
    return TR_OK;
}

enum tr_err tr_typepool_freeze(struct tr_typepool *pool, bool all, struct tr_status *st)
{
    if (pool->state != TR_POOL_LINKED)
        return tr_fail(st, TR_ERR_DESCRIPTOR, "the pool is not linked");
    enum tr_err err = all ? reach_all(pool) : reach_builtin(pool);
    if (!err)
        err = tr_pool_compile(pool);
    if (!err)
        err = tr_pool_mark_required(pool);
    if (err)
        return tr_fail(st, err, "out of memory");
    pool->state = TR_POOL_FROZEN;
    return TR_OK;
}

const struct tr_msgtype *tr_typepool_find(const struct tr_typepool *pool, struct tr_span full_name)
{
    const struct tr_sym *sym = tr_symtab_get(&pool->syms, full_name);
    if (!usable(pool) || !sym || sym->kind != TR_SYM_MESSAGE || !sym->of.msg->compiled)
        return NULL;
    return sym->of.msg->type;
}

const struct tr_msgtype *tr_typepool_message(struct tr_typepool *pool, struct tr_span full_name)
{
    if (pool->state != TR_POOL_LINKED)
        return tr_typepool_find(pool, full_name);
    const struct tr_sym *sym = tr_symtab_get(&pool->syms, full_name);
    if (!sym || sym->kind != TR_SYM_MESSAGE || !tr_pool_reach(pool, sym->of.msg) ||
        tr_pool_compile(pool) != TR_OK)
        return NULL;
    return sym->of.msg->type;
}

const struct tr_enumtype *tr_typepool_enum(struct tr_typepool *pool, struct tr_span full_name)
{
    const struct tr_sym *sym = tr_symtab_get(&pool->syms, full_name);
    if (!usable(pool) || !sym || sym->kind != TR_SYM_ENUM)
        return NULL;
    return pool->state == TR_POOL_FROZEN ? sym->of.en->type : tr_pool_enum_type(pool, sym->of.en);
}

const struct tr_service *tr_typepool_service(struct tr_typepool *pool, struct tr_span full_name)
{
    const struct tr_sym *sym = tr_symtab_get(&pool->syms, full_name);
    if (!usable(pool) || !sym || sym->kind != TR_SYM_SERVICE)
        return NULL;
    struct tr_service_decl *s = sym->of.service;
    if (s->compiled)
        return &s->service;
    if (pool->state == TR_POOL_FROZEN)
        return NULL;
    for (uint32_t i = 0; i < s->service.rpc_count; i++) {
        s->rpcs[i].input = tr_pool_reach(pool, s->refs[2 * i]->of.msg);
        s->rpcs[i].output = tr_pool_reach(pool, s->refs[2 * i + 1]->of.msg);
        if (!s->rpcs[i].input || !s->rpcs[i].output)
            return NULL;
    }
    if (tr_pool_compile(pool) != TR_OK)
        return NULL;
    s->compiled = true;
    return &s->service;
}

uint32_t tr_typepool_service_count(const struct tr_typepool *pool)
{
    return usable(pool) ? pool->stats.services : 0;
}

struct tr_span tr_typepool_service_name(const struct tr_typepool *pool, uint32_t i)
{
    return pool->service_index[i]->sym->name;
}

struct tr_typepool_stats tr_typepool_stats(const struct tr_typepool *pool)
{
    struct tr_typepool_stats stats = pool->stats;
    stats.memory_bytes = pool->arena.used_bytes;
    if (pool->syms.slots)
        stats.memory_bytes += (pool->syms.mask + 1) * sizeof(struct tr_symtab_slot);
    if (pool->files.slots)
        stats.memory_bytes += (pool->files.mask + 1) * sizeof(struct tr_symtab_slot);
    return stats;
}
