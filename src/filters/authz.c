/* Authorization: what those who were authenticated need to have. */
#include "filters/authz.h"

#include "base/alloc.h"
#include "filters/authn.h"
#include "filters/registry.h"
#include "filters/report.h"
#include "filters/tally.h"
#include "pipeline/exchange.h"

static bool has_claim(const struct tr_identity *id, const struct tr_named_strings *want)
{
    const struct tr_claim *claim = tr_identity_claim(id, want->name);
    for (uint32_t i = 0; claim && i < claim->count; i++)
        for (uint32_t k = 0; k < want->values.count; k++)
            if (tr_span_eq(claim->values[i], want->values.items[k]))
                return true;
    return false;
}

static bool is_consumer(const struct tr_identity *id, const struct tr_strings *names)
{
    for (uint32_t i = 0; i < id->count; i++)
        for (uint32_t k = 0; id->items[i].consumer.len && k < names->count; k++)
            if (tr_span_eq(id->items[i].consumer, names->items[k]))
                return true;
    return false;
}

bool tr_authz_may(const struct tr_policy_authorization *p, const struct tr_identity *id)
{
    const struct tr_named_strings *claims = p->claims.items;
    bool any = p->any_scope.count == 0;
    for (uint32_t i = 0; i < p->scopes.count; i++)
        if (!tr_identity_has_scope(id, p->scopes.items[i]))
            return false;
    for (uint32_t i = 0; i < p->any_scope.count && !any; i++)
        any = tr_identity_has_scope(id, p->any_scope.items[i]);
    if (!any || (p->consumers.count && !is_consumer(id, &p->consumers)))
        return false;
    for (uint32_t i = 0; i < p->claims.count; i++)
        if (!has_claim(id, &claims[i]))
            return false;
    return true;
}

/* RFC 6750 §3.1: also who has a token, but not the right, is told what kind of credential counts.
 */
static struct tr_span challenge(const struct tr_identity *id)
{
    if (!id)
        return TR_SPAN("Bearer realm=\"transom\"");
    for (uint32_t i = 0; i < id->count; i++)
        if (id->items[i].kind == TR_CREDENTIAL_TOKEN)
            return TR_SPAN("Bearer realm=\"transom\", error=\"insufficient_scope\"");
    return TR_SPAN("");
}

static enum tr_verdict on_request(struct tr_exchange *x, void *state)
{
    const struct tr_policy_authorization *p = x->policy->slots[TR_POLICY_AUTHZ];
    struct tr_tally *tally = tr_filter_worker(x, TR_FILTER_AUTHZ);
    (void)state;
    if (!p)
        return TR_CONTINUE;
    bool allowed = x->identity && tr_authz_may(p, x->identity);
    tr_tally_count(tally, allowed);
    if (allowed)
        return TR_CONTINUE;
    enum tr_err err = x->identity ? TR_ERR_PERMISSION_DENIED : TR_ERR_AUTH_MISSING;
    struct tr_span told = challenge(x->identity);
    if (told.len)
        (void)!tr_exchange_header(x, TR_SPAN("www-authenticate"), told, TR_TOKEN_NONE);
    (void)tr_fail(tr_exchange_status(x), err, "%s", tr_err_info(err)->text.ptr);
    return TR_FAIL;
}

/* ---- load ------------------------------------------------------------------------------------ */

static void compile_policy(void *ctx, struct tr_policy *policy)
{
    struct tr_snapshot *snap = ctx;
    const struct tr_policy_authorization *p = policy->authorization;
    if (!p || p->none)
        return;
    if (p->scopes.count + p->any_scope.count + p->consumers.count + p->claims.count == 0)
        tr_filter_problem(snap, policy, "authorization",
                          "name scopes, any_scope, claims or consumers, or say \"none\"");
    if (!policy->authentication || policy->authentication->none)
        tr_filter_problem(snap, policy, "authorization",
                          "nobody could pass: the policy names no authentication");
    bool claims, consumer;
    tr_authn_brings(policy, &claims, &consumer);
    if ((claims || consumer) && p->claims.count && !claims)
        tr_filter_problem(snap, policy, "authorization",
                          "nobody could pass: only tokens have claims, and authentication names no "
                          "provider of them");
    if ((claims || consumer) && p->consumers.count && !consumer)
        tr_filter_problem(snap, policy, "authorization",
                          "nobody could pass: only an api_key and a client_certificate have a "
                          "consumer, and authentication names neither");
    policy->slots[TR_POLICY_AUTHZ] = p;
}

static enum tr_err prepare(struct tr_snapshot *snap, void **ret_conf)
{
    (void)ret_conf;
    tr_policy_each(snap->policies, compile_policy, snap);
    return TR_OK;
}

static void metrics(struct tr_expo *e, const struct tr_snapshot *snap, void *conf, void *control,
                    void *const *workers, uint32_t count)
{
    (void)snap;
    (void)conf;
    (void)control;
    tr_tally_write(e, TR_METRIC_AUTHZ_DECISIONS, TR_SPAN("allowed"), TR_SPAN("denied"), workers,
                   count);
}

const struct tr_filter tr_filter_authz = {
    .name = "authorization",
    .phase = TR_PHASE_AUTHZ,
    .on_request = on_request,
    .prepare = prepare,
    .worker_start = tr_tally_start,
    .worker_stop = tr_free,
    .metrics = metrics,
};
