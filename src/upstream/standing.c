/* Standing: which endpoints may be used, by what all workers know of them. */
#include "base/alloc.h"
#include "base/log.h"
#include "io/listener.h"
#include "upstream/upstream_int.h"

#include <stdio.h>

const char *tr_uendpoint_text(const struct tr_uendpoint *e, char *out)
{
    char text[TR_ADDR_TEXT_MAX];
    struct tr_span addr = tr_addr_text(&e->addr, text);
    if (e->conf->host.len)
        (void)snprintf(out, TR_ENDPOINT_TEXT_MAX, "%.*s (%.*s)", (int)addr.len, addr.ptr,
                       (int)(e->conf->text.len < 200 ? e->conf->text.len : 200), e->conf->text.ptr);
    else
        (void)snprintf(out, TR_ENDPOINT_TEXT_MAX, "%.*s", (int)addr.len, addr.ptr);
    return out;
}

void tr_cluster_changed(struct tr_cluster *c)
{
    (void)atomic_fetch_add_explicit(&c->upstream->shared->version, 1, memory_order_acq_rel);
}

static bool is_ejected(struct tr_cluster *c, struct tr_uendpoint *e, uint64_t now)
{
    bool ended = false;
    if (!c->upstream->conf->outlier)
        return false;
    bool ejected = tr_outlier_settle(&e->slot->outlier, &c->upstream->shared->ejected, now, &ended);
    if (ended)
        tr_cluster_changed(c);
    uint64_t until = atomic_load_explicit(&e->slot->outlier.until_ns, memory_order_relaxed);
    if (ejected && until < c->look_ns)
        c->look_ns = until;
    return ejected;
}

static bool is_unhealthy(const struct tr_cluster *c, const struct tr_uendpoint *e)
{
    return c->upstream->conf->health &&
           atomic_load_explicit(&e->slot->health, memory_order_relaxed) == TR_HEALTH_UNHEALTHY;
}

/* Slow start begins when it came back, whether or not this worker had a call for it meanwhile. */
static void see_return(struct tr_uendpoint *e)
{
    uint64_t ejection = atomic_load_explicit(&e->slot->outlier.back_ns, memory_order_relaxed);
    uint64_t illness = atomic_load_explicit(&e->slot->healthy_ns, memory_order_relaxed);
    uint64_t back = ejection > illness ? ejection : illness;
    if (back == e->back_ns)
        return;
    e->back_ns = back;
    e->smooth = 0;
    if (e->cluster->upstream->conf->slow_start_ns)
        e->ramp_ns = back;
}

static void set_panic(struct tr_cluster *c, bool panic)
{
    struct tr_span name = c->upstream->conf->name;
    if (panic && !c->panic)
        tr_log(TR_LOG_WARN,
               "upstream %.*s: every endpoint is down, ejected or unhealthy; those that are not "
               "down are used all the same",
               (int)name.len, name.ptr);
    c->panic = panic;
}

void tr_cluster_look_again(struct tr_cluster *c)
{
    uint64_t now = tr_cluster_now(c);
    uint32_t usable = 0, out = 0;
    c->version = atomic_load_explicit(&c->upstream->shared->version, memory_order_acquire);
    c->stale = false;
    c->look_ns = UINT64_MAX;
    for (uint32_t i = 0; i < c->live_count; i++) {
        struct tr_uendpoint *e = c->live[i];
        e->blocked = is_ejected(c, e, now) || is_unhealthy(c, e);
        if (e->blocked)
            out++;
        else
            see_return(e);
        usable += tr_uendpoint_usable(e);
    }
    set_panic(c, out && !usable);
    for (uint32_t i = 0; i < c->live_count && c->panic; i++)
        c->live[i]->blocked = false;
}

void tr_uendpoint_outcome(struct tr_uendpoint *e, bool failure)
{
    struct tr_cluster *c = e->cluster;
    const struct tr_outlier_conf *conf = c->upstream->conf->outlier;
    struct tr_upstream_shared *shared = c->upstream->shared;
    uint64_t now = tr_cluster_now(c);
    char text[TR_ENDPOINT_TEXT_MAX];
    if (!conf || e->gone)
        return;
    if (failure) /* ejections that are over must not take the places of new ones */
        tr_cluster_look(c);
    if (!tr_outlier_report(&e->slot->outlier, conf, &shared->ejected, c->live_count, failure, now))
        return;
    uint64_t until = atomic_load_explicit(&e->slot->outlier.until_ns, memory_order_relaxed);
    TR_STAT_ADD(c->stats.ejections, 1);
    tr_cluster_changed(c);
    tr_log(TR_LOG_WARN,
           "upstream %.*s: endpoint %s failed %u times in a row and is left out for %.1f s",
           (int)c->upstream->conf->name.len, c->upstream->conf->name.ptr,
           tr_uendpoint_text(e, text), conf->consecutive_failures,
           until > now ? (double)(until - now) / 1e9 : 0.0);
}

void tr_cluster_make_ring(struct tr_cluster *c)
{
    tr_ring_free(c->ring);
    c->ring = NULL;
    if (c->upstream->conf->balance != TR_BALANCE_RING_HASH || c->live_count == 0)
        return;
    struct tr_ring_node *nodes = tr_calloc(c->live_count, sizeof *nodes);
    if (!nodes)
        return; /* any endpoint will do until the next change */
    for (uint32_t i = 0; i < c->live_count; i++)
        nodes[i] = (struct tr_ring_node){c->live[i]->key, c->live[i]->conf->weight};
    if (tr_ring_new(nodes, c->live_count, &c->ring) != TR_OK)
        c->ring = NULL;
    tr_free(nodes);
}

struct tr_upstream_state tr_upstream_state(const struct tr_upstream *upstream, uint64_t now_ns)
{
    const struct tr_upstream_shared *shared = upstream->shared;
    struct tr_upstream_state st = {
        .breaker = tr_breaker_state(&shared->breaker),
        .breaker_opened = atomic_load_explicit(&shared->breaker.opened, memory_order_relaxed)};
    for (uint32_t i = 0; i < shared->slot_count; i++) {
        const struct tr_eslot *slot = &shared->slots[i];
        if (!tr_eslot_held(slot))
            continue;
        st.ejected += atomic_load_explicit(&slot->outlier.until_ns, memory_order_relaxed) > now_ns;
        st.unhealthy +=
            atomic_load_explicit(&slot->health, memory_order_relaxed) == TR_HEALTH_UNHEALTHY;
    }
    return st;
}
