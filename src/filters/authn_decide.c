/* What becomes of a request, from what became of each credential that its policy asks for. */
#include "filters/authn.h"

/* What is decided comes before what is not: a request that waiting cannot save does not wait. */
static bool is_refusal(enum tr_authn_shown shown)
{
    return shown <= TR_AUTHN_EXPIRED;
}

struct walk {
    enum tr_authn_shown (*show)(void *ctx, uint32_t bit);
    void *ctx;
    bool any_shown;
};

static enum tr_authn_shown look(struct walk *w, uint64_t bits)
{
    enum tr_authn_shown one = w->show(w->ctx, (uint32_t)__builtin_ctzll(bits));
    w->any_shown = w->any_shown || one != TR_AUTHN_MISSING;
    return one;
}

/* The first that says no; else that something is awaited; else that keys cannot be had. */
static enum tr_authn_shown all_of(struct walk *w, uint64_t bits)
{
    enum tr_authn_shown worst = TR_AUTHN_OK;
    bool waits = false;
    for (; bits; bits &= bits - 1) {
        enum tr_authn_shown one = look(w, bits);
        if (one == TR_AUTHN_WAIT)
            waits = true;
        else if (one < worst)
            worst = one;
    }
    return waits && !is_refusal(worst) ? TR_AUTHN_WAIT : worst;
}

/* The best: a yes needs no waiting for the others. */
static enum tr_authn_shown any_of(struct walk *w, uint64_t bits)
{
    enum tr_authn_shown best = bits ? TR_AUTHN_MISSING : TR_AUTHN_OK;
    for (; bits && best != TR_AUTHN_OK; bits &= bits - 1) {
        enum tr_authn_shown one = look(w, bits);
        if (one > best)
            best = one;
    }
    return best;
}

enum tr_authn_shown tr_authn_decide(const struct tr_authn_policy *policy,
                                    enum tr_authn_shown (*show)(void *ctx, uint32_t bit), void *ctx)
{
    struct walk w = {.show = show, .ctx = ctx};
    enum tr_authn_shown all = all_of(&w, policy->all), any = any_of(&w, policy->any);
    enum tr_authn_shown less = all < any ? all : any;
    if (!is_refusal(less) && (all == TR_AUTHN_WAIT || any == TR_AUTHN_WAIT))
        return TR_AUTHN_WAIT;
    /* something was shown, and something else is missing: that is wrong, not anonymous */
    return less == TR_AUTHN_MISSING && w.any_shown ? TR_AUTHN_WRONG : less;
}

enum tr_err tr_authn_err(enum tr_authn_shown shown)
{
    switch (shown) {
    case TR_AUTHN_MISSING:
        return TR_ERR_AUTH_MISSING;
    case TR_AUTHN_WRONG:
        return TR_ERR_AUTH_INVALID;
    case TR_AUTHN_EXPIRED:
        return TR_ERR_AUTH_EXPIRED;
    case TR_AUTHN_UNAVAILABLE:
        return TR_ERR_AUTH_UNAVAILABLE;
    case TR_AUTHN_WAIT:
    case TR_AUTHN_OK:
        break;
    }
    return TR_OK;
}
