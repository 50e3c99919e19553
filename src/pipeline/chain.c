#include "pipeline/chain.h"

static void *state_of(struct tr_exchange *x, uint32_t i)
{
    return x->filter_state ? x->filter_state[i] : NULL;
}

static bool states(struct tr_exchange *x)
{
    if (x->filter_state || x->w->filter_count == 0)
        return true;
    void **state = tr_arena_calloc(&x->hs->arena, x->w->filter_count, sizeof *state);
    for (uint32_t i = 0; state && i < x->w->filter_count; i++) {
        size_t n = x->w->filters[i]->state_bytes;
        if (n && !(state[i] = tr_arena_calloc(&x->hs->arena, 1, n)))
            return false;
    }
    x->filter_state = state;
    return state != NULL;
}

enum tr_verdict tr_chain_run(struct tr_exchange *x)
{
    struct tr_pworker *w = x->w;
    if (!states(x)) {
        (void)tr_fail(tr_exchange_status(x), TR_ERR_NOMEM, "out of memory");
        return TR_FAIL;
    }
    while (x->filter_at < w->filter_count) {
        const struct tr_filter *f = w->filters[x->filter_at];
        if (f->phase >= TR_PHASE_REWRITE && tr_exchange_metadata(x))
            return TR_FAIL;
        bool again = x->filter_ran > x->filter_at;
        x->filter_ran = (uint8_t)(x->filter_at + 1);
        void *state = state_of(x, x->filter_at);
        enum tr_verdict v = again && f->on_resume ? f->on_resume(x, state)
                            : f->on_request       ? f->on_request(x, state)
                                                  : TR_CONTINUE;
        if (v != TR_CONTINUE)
            return v;
        x->filter_at++;
    }
    return TR_CONTINUE;
}

void tr_chain_response(struct tr_exchange *x)
{
    for (uint32_t i = 0; i < x->w->filter_count; i++)
        if (x->w->filters[i]->on_response)
            x->w->filters[i]->on_response(x, i < x->filter_ran ? state_of(x, i) : NULL);
}

void tr_chain_done(struct tr_exchange *x)
{
    tr_exchange_unpause(x);
    while (x->filter_ran > 0) {
        x->filter_ran--;
        const struct tr_filter *f = x->w->filters[x->filter_ran];
        if (f->done)
            f->done(x, state_of(x, x->filter_ran));
    }
}
