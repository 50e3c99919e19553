/* Rules on the client's address: `ip` of a policy, compiled to sorted networks. */
#include "filters/ip.h"

#include "base/alloc.h"
#include "filters/registry.h"
#include "filters/report.h"
#include "filters/tally.h"
#include "pipeline/client_addr.h"

struct rules { /* TR_POLICY_IP */
    struct tr_ip_set allow, deny;
};

/* ---- load ------------------------------------------------------------------------------------ */

struct compile {
    struct tr_snapshot *snap;
    enum tr_err err;
};

static bool make_set(struct compile *c, const struct tr_policy *policy, const char *key,
                     const struct tr_strings *texts, struct tr_ip_set *ret_set)
{
    struct tr_ip_net *nets = tr_arena_calloc(&c->snap->arena, texts->count + 1u, sizeof *nets);
    uint32_t n = 0;
    if (!nets) {
        c->err = TR_ERR_NOMEM;
        return false;
    }
    for (uint32_t i = 0; i < texts->count; i++) {
        struct tr_span text = texts->items[i];
        if (tr_ip_net_parse(text, &nets[n]))
            n++;
        else
            tr_filter_problem(c->snap, policy, "ip",
                              "%s: \"%.*s\" is neither an address nor a network such as "
                              "\"10.0.0.0/8\" (with no bits set after the prefix)",
                              key, (int)(text.len < 100 ? text.len : 100), text.ptr);
    }
    *ret_set = tr_ip_set_make(nets, n);
    return true;
}

static void compile_policy(void *ctx, struct tr_policy *policy)
{
    struct compile *c = ctx;
    const struct tr_policy_ip *ip = policy->ip;
    if (c->err || !ip || ip->none)
        return;
    struct rules *rules = TR_ARENA_NEW(&c->snap->arena, struct rules);
    if (!rules) {
        c->err = TR_ERR_NOMEM;
        return;
    }
    if (make_set(c, policy, "allow", &ip->allow, &rules->allow) &&
        make_set(c, policy, "deny", &ip->deny, &rules->deny) && ip->allow.count + ip->deny.count)
        policy->slots[TR_POLICY_IP] = rules;
}

static enum tr_err prepare(struct tr_snapshot *snap, void **ret_conf)
{
    struct compile c = {.snap = snap};
    (void)ret_conf;
    tr_policy_each(snap->policies, compile_policy, &c);
    return c.err;
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Who has no address (the peer of a unix socket) is on no list. */
static bool may_ask(const struct rules *rules, const struct tr_ip *ip)
{
    if (ip && tr_ip_set_has(&rules->deny, ip))
        return false;
    return rules->allow.count == 0 || (ip && tr_ip_set_has(&rules->allow, ip));
}

bool tr_ip_may_ask(const struct tr_policy *policy, const struct tr_ip *ip)
{
    const struct rules *rules = policy->slots[TR_POLICY_IP];
    return !rules || may_ask(rules, ip);
}

static enum tr_verdict on_request(struct tr_exchange *x, void *state)
{
    const struct rules *rules = x->policy->slots[TR_POLICY_IP];
    struct tr_tally *tally = tr_filter_worker(x, TR_FILTER_IP);
    (void)state;
    if (!rules)
        return TR_CONTINUE;
    bool allowed = may_ask(rules, tr_client_addr(x));
    tr_tally_count(tally, allowed);
    if (allowed)
        return TR_CONTINUE;
    (void)tr_fail(tr_exchange_status(x), TR_ERR_IP_DENIED, "%s",
                  tr_err_info(TR_ERR_IP_DENIED)->text.ptr);
    return TR_FAIL;
}

/* ---- workers --------------------------------------------------------------------------------- */

static void metrics(struct tr_expo *e, const struct tr_snapshot *snap, void *conf, void *control,
                    void *const *workers, uint32_t count)
{
    (void)snap;
    (void)conf;
    (void)control;
    tr_tally_write(e, TR_METRIC_IP_DECISIONS, TR_SPAN("allowed"), TR_SPAN("denied"), workers,
                   count);
}

const struct tr_filter tr_filter_ip = {
    .name = "ip",
    .phase = TR_PHASE_GUARD,
    .on_request = on_request,
    .prepare = prepare,
    .worker_start = tr_tally_start,
    .worker_stop = tr_free,
    .metrics = metrics,
};
