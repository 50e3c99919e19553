/* Which types have required fields in them or below: a walk from those that have some against the
 * direction of the fields. Sets without proto2's required, which is most of them, cost one look at
 * each type. */
#include "base/alloc.h"
#include "proto/typepool_int.h"

/* Users of each message: those of index i are users[first[i]] .. users[first[i + 1] - 1]. */
struct uses {
    uint32_t *first;
    struct tr_msg_decl **users;
    struct tr_msg_decl **queue;
};

static const struct tr_msg_decl *used(const struct tr_field_decl *f)
{
    return f->ref && f->ref->kind == TR_SYM_MESSAGE ? f->ref->of.msg : NULL;
}

static void each_use(struct tr_msg_decl *m, struct uses *u, bool fill)
{
    const struct tr_ext_decl *e = m->exts;
    for (uint32_t i = 0; i < m->field_count + m->ext_count; i++) {
        const struct tr_field_decl *f = i < m->field_count ? &m->fields[i] : &e->field;
        if (i >= m->field_count)
            e = e->next_same;
        const struct tr_msg_decl *target = used(f);
        if (!target)
            continue;
        if (fill)
            u->users[u->first[target->index]++] = m;
        else
            u->first[target->index + 1]++;
    }
}

static enum tr_err build_uses(struct tr_typepool *pool, struct uses *u)
{
    uint32_t count = pool->stats.messages;
    u->first = tr_calloc(count + 2, sizeof *u->first);
    u->queue = tr_calloc(count + 1, sizeof *u->queue);
    if (!u->first || !u->queue)
        return TR_ERR_NOMEM;
    for (struct tr_msg_decl *m = pool->msgs; m; m = m->next)
        if (m->compiled)
            each_use(m, u, false);
    for (uint32_t i = 0; i < count; i++)
        u->first[i + 1] += u->first[i];
    u->users = tr_calloc(u->first[count] + 1, sizeof *u->users);
    if (!u->users)
        return TR_ERR_NOMEM;
    for (struct tr_msg_decl *m = pool->msgs; m; m = m->next)
        if (m->compiled)
            each_use(m, u, true);
    /* filling moved each start to its end, which is the next one's start */
    for (uint32_t i = count; i > 0; i--)
        u->first[i] = u->first[i - 1];
    u->first[0] = 0;
    return TR_OK;
}

static void walk(struct tr_typepool *pool, struct uses *u)
{
    uint32_t head = 0, tail = 0;
    for (struct tr_msg_decl *m = pool->msgs; m; m = m->next)
        if (m->compiled && m->type->required_count) {
            m->type->has_required_below = true;
            u->queue[tail++] = m;
        }
    while (head < tail) {
        const struct tr_msg_decl *m = u->queue[head++];
        for (uint32_t i = u->first[m->index]; i < u->first[m->index + 1]; i++) {
            struct tr_msg_decl *user = u->users[i];
            if (user->type->has_required_below)
                continue;
            user->type->has_required_below = true;
            u->queue[tail++] = user;
        }
    }
}

enum tr_err tr_pool_mark_required(struct tr_typepool *pool)
{
    bool any = false;
    for (const struct tr_msg_decl *m = pool->msgs; m && !any; m = m->next)
        any = m->compiled && m->type->required_count;
    if (!any)
        return TR_OK;
    struct uses u = {NULL, NULL, NULL};
    enum tr_err err = build_uses(pool, &u);
    if (!err)
        walk(pool, &u);
    tr_free(u.first);
    tr_free(u.users);
    tr_free(u.queue);
    return err;
}
