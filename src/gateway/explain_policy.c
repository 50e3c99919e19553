#include "gateway/explain_policy.h"

#include "filters/authn.h"
#include "filters/cors.h"
#include "filters/ip.h"
#include "filters/quota.h"
#include "filters/registry.h"
#include "pipeline/client_addr.h"
#include "route/router.h"

#include <stdio.h>

/* ---- addresses ------------------------------------------------------------------------------- */

int tr_explain_ip(const struct tr_snapshot *snap, const struct tr_policy *policy,
                  const struct tr_req_head *head)
{
    char text[TR_IP_TEXT_MAX];
    struct tr_ip ip;
    uint32_t hops = snap->config.trusted_hops;
    if (!policy->slots[TR_POLICY_IP])
        return 0;
    if (!hops || !tr_client_addr_walk(&head->headers, hops, &ip)) {
        (void)printf("address: not decided here: the rules hold for the peer of the connection\n");
        return 0;
    }
    struct tr_span printed = tr_ip_print(text, &ip);
    const struct tr_err_info *info = tr_err_info(TR_ERR_IP_DENIED);
    bool may = tr_ip_may_ask(policy, &ip);
    if (may)
        (void)printf("address: %.*s passes\n", (int)printed.len, printed.ptr);
    else
        (void)printf("address: %.*s: refused: %u %s: %s\n", (int)printed.len, printed.ptr,
                     info->http_status, info->name, info->text.ptr);
    return may ? 0 : 1;
}

/* ---- preflights ------------------------------------------------------------------------------ */

static const struct tr_route *preflight_route(const struct tr_snapshot *snap,
                                              const struct tr_req_head *head, struct tr_span asked)
{
    struct tr_route_match match;
    enum tr_method method = tr_method_from(asked);
    tr_router_match(snap->router, method, asked, head->path, &match);
    const struct tr_route *route = match.result == TR_MATCH_FOUND ? match.target
                                   : method == TR_METHOD_POST ? tr_snapshot_native(snap, head->path)
                                                              : NULL;
    return route && route->policy->slots[TR_POLICY_CORS] ? route : NULL;
}

bool tr_explain_preflight(const struct tr_snapshot *snap, const struct tr_req_head *head,
                          int *ret_status)
{
    const struct tr_header *origin = tr_headers_find(&head->headers, TR_TOKEN_ORIGIN, NULL);
    const struct tr_header *asked =
        tr_headers_find_name(&head->headers, TR_SPAN("access-control-request-method"));
    const struct tr_route *route = head->method == TR_METHOD_OPTIONS && origin && asked
                                       ? preflight_route(snap, head, asked->value)
                                       : NULL;
    if (!route)
        return false;
    (void)printf("preflight of: %.*s %.*s\nmethod: %.*s\n", (int)asked->value.len, asked->value.ptr,
                 (int)route->template_text.len, route->template_text.ptr,
                 (int)route->rpc->full_name.len, route->rpc->full_name.ptr);
    *ret_status = tr_explain_ip(snap, route->policy, head);
    if (*ret_status)
        return true;
    bool allowed = tr_http_is_token(asked->value) && asked->value.len &&
                   !tr_headers_find(&head->headers, TR_TOKEN_ORIGIN, origin) &&
                   tr_cors_allows(route->policy, origin->value);
    (void)printf("answered: 204, the origin is %s; no credential is looked at, no backend asked\n",
                 allowed ? "allowed" : "not allowed");
    return true;
}

/* ---- failures -------------------------------------------------------------------------------- */

static void say(bool *begun, const char *what, struct tr_span name, const char *holds,
                const char *by)
{
    if (!*begun)
        (void)printf("when what it depends on fails:\n");
    *begun = true;
    (void)printf("  %s \"%.*s\": %s   (%s)\n", what, (int)name.len, name.ptr, holds, by);
}

static void say_keys(const struct tr_snapshot *snap, const struct tr_policy *policy, bool *begun)
{
    const struct tr_authn_conf *conf =
        snap->filter_conf ? snap->filter_conf[TR_FILTER_AUTHN] : NULL;
    const struct tr_authn_policy *p = policy->slots[TR_POLICY_AUTHN];
    for (uint32_t i = 0; conf && p && i < conf->provider_count; i++)
        if ((p->any | p->all) >> i & 1 && !conf->providers[i].fixed)
            say(begun, "keys of", conf->providers[i].cfg->name,
                p->open ? "pass without identity" : "refused: 503 AUTH_UNAVAILABLE",
                p->open ? "authentication.on_unavailable = allow"
                        : "authentication.on_unavailable = deny");
}

static void say_store(const struct tr_policy *policy, bool *begun)
{
    static const char *const holds[] = {[TR_ON_FAILURE_LOCAL] = "counted by this process alone",
                                        [TR_ON_FAILURE_ALLOW] = "pass uncounted",
                                        [TR_ON_FAILURE_DENY] = "refused: 503 QUOTA_UNAVAILABLE"};
    static const char *const of_store[] = {[TR_ON_FAILURE_LOCAL] = "quota_store.on_failure = local",
                                           [TR_ON_FAILURE_ALLOW] = "quota_store.on_failure = allow",
                                           [TR_ON_FAILURE_DENY] = "quota_store.on_failure = deny"};
    static const char *const of_quota[] = {[TR_ON_FAILURE_LOCAL] = "its on_failure = local",
                                           [TR_ON_FAILURE_ALLOW] = "its on_failure = allow",
                                           [TR_ON_FAILURE_DENY] = "its on_failure = deny"};
    const struct tr_quotas *quotas = policy->slots[TR_POLICY_QUOTA];
    const struct tr_policy_quota *cfg = policy->quotas.items;
    for (uint32_t i = 0; quotas && i < quotas->count; i++) {
        const struct tr_quota *q = &quotas->items[i];
        bool own = cfg[i].on_failure != TR_QUOTA_ON_FAILURE_STORE;
        if (q->shared)
            say(begun, "store of quota", q->name, holds[q->on_failure],
                own ? of_quota[q->on_failure] : of_store[q->on_failure]);
    }
}

void tr_explain_failures(const struct tr_snapshot *snap, const struct tr_policy *policy)
{
    bool begun = false;
    say_keys(snap, policy, &begun);
    say_store(policy, &begun);
}
