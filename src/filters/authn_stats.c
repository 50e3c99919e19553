/* What authentication tells /metrics. */
#include "base/counter.h"
#include "filters/authn_int.h"
#include "obs/expo.h"

static void results(struct tr_expo *e, const struct tr_authn_conf *conf, void *const *workers,
                    uint32_t count)
{
    for (uint32_t i = 0; i < conf->provider_count; i++) {
        for (unsigned r = 0; r < TR_JWT__COUNT; r++) {
            struct tr_span labels[2] = {conf->providers[i].cfg->name,
                                        tr_span_cstr(tr_jwt_result_name((enum tr_jwt_result)r))};
            uint64_t sum = 0;
            for (uint32_t k = 0; k < count; k++) {
                const struct tr_authn_worker *w = workers[k];
                sum += w ? tr_count_load(&w->results[i][r]) : 0;
            }
            if (sum)
                tr_expo_u64(e, TR_METRIC_AUTHENTICATIONS, labels, sum);
        }
    }
    for (unsigned r = 0; r < 4; r++) {
        struct tr_span labels[2] = {r < 2 ? TR_SPAN("api_key") : TR_SPAN("client_certificate"),
                                    r % 2 ? TR_SPAN("unknown") : TR_SPAN("ok")};
        uint64_t sum = 0;
        if (r < 2 ? !conf->has_api_keys : !conf->has_certificates)
            continue;
        for (uint32_t k = 0; k < count; k++) {
            const struct tr_authn_worker *w = workers[k];
            sum += w ? tr_count_load(r < 2 ? &w->api_key[r] : &w->certificate[r - 2]) : 0;
        }
        tr_expo_u64(e, TR_METRIC_AUTHENTICATIONS, labels, sum);
    }
}

static void fetches(struct tr_expo *e, const struct tr_authn_conf *conf,
                    const struct tr_authn_control *c)
{
    for (int family = 0; family < 4; family++) {
        for (uint32_t i = 0; i < conf->provider_count; i++) {
            if (!c->refreshes[i])
                continue;
            struct tr_jwks_refresh_stats s = tr_jwks_refresh_stats(c->refreshes[i]);
            struct tr_span name = conf->providers[i].cfg->name;
            struct tr_span ok[2] = {name, TR_SPAN("ok")}, failed[2] = {name, TR_SPAN("failed")};
            if (family == 0) {
                tr_expo_u64(e, TR_METRIC_JWKS_FETCHES, ok, s.fetches);
                tr_expo_u64(e, TR_METRIC_JWKS_FETCHES, failed, s.failures);
            } else if (family == 1) {
                tr_expo_u64(e, TR_METRIC_JWKS_AGE, &name, s.age_s);
            } else if (family == 2) {
                tr_expo_u64(e, TR_METRIC_JWKS_STALE, &name, (uint64_t)s.state);
            } else {
                tr_expo_u64(e, TR_METRIC_JWKS_REFETCHES_REFUSED, &name, s.refused);
            }
        }
    }
}

static void api_key_reads(struct tr_expo *e, const struct tr_authn_control *c)
{
    struct tr_span ok = TR_SPAN("ok"), failed = TR_SPAN("failed");
    uint64_t oks, faults;
    if (!c->api_keys)
        return;
    tr_apikey_store_reads(c->api_keys, &oks, &faults);
    tr_expo_u64(e, TR_METRIC_API_KEY_READS, &ok, oks);
    tr_expo_u64(e, TR_METRIC_API_KEY_READS, &failed, faults);
}

void tr_authn_metrics(struct tr_expo *e, const struct tr_snapshot *snap, void *conf, void *control,
                      void *const *workers, uint32_t count)
{
    static const struct tr_span outcome_names[TR_AUTHN_OUTCOME__COUNT] = {
        TR_SPAN_INIT("authenticated"), TR_SPAN_INIT("anonymous"), TR_SPAN_INIT("fail_open"),
        TR_SPAN_INIT("refused"), TR_SPAN_INIT("limited")};
    static const struct tr_span cache_names[3] = {TR_SPAN_INIT("hit"), TR_SPAN_INIT("miss"),
                                                  TR_SPAN_INIT("evicted")};
    static const struct tr_span unseen_names[2] = {TR_SPAN_INIT("end_of_turn"),
                                                   TR_SPAN_INIT("at_once")};
    uint64_t outcomes[TR_AUTHN_OUTCOME__COUNT] = {0}, cache[3] = {0}, unseen[2] = {0};
    (void)snap;
    if (!control)
        return;
    results(e, conf, workers, count);
    for (uint32_t k = 0; k < count; k++) {
        const struct tr_authn_worker *w = workers[k];
        for (unsigned i = 0; w && i < TR_AUTHN_OUTCOME__COUNT; i++)
            outcomes[i] += tr_count_load(&w->outcomes[i]);
        cache[0] += w ? tr_count_load(&w->cache_hits) : 0;
        cache[1] += w ? tr_count_load(&w->cache_misses) : 0;
        cache[2] += w ? tr_count_load(&w->cache.evicted) : 0;
        unseen[0] += w ? tr_count_load(&w->postponed) : 0;
        unseen[1] += w ? tr_count_load(&w->at_once) : 0;
    }
    for (unsigned i = 0; i < TR_AUTHN_OUTCOME__COUNT; i++)
        tr_expo_u64(e, TR_METRIC_AUTH_REQUESTS, &outcome_names[i], outcomes[i]);
    api_key_reads(e, control);
    for (unsigned i = 0; i < 3; i++)
        tr_expo_u64(e, TR_METRIC_JWT_CACHE, &cache_names[i], cache[i]);
    for (unsigned i = 0; i < 2; i++)
        tr_expo_u64(e, TR_METRIC_JWT_UNSEEN, &unseen_names[i], unseen[i]);
    fetches(e, conf, control);
}
