/* Endpoints: addresses, fixed or of a name, and whether they answer. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "upstream/upstream_int.h"

#include <netinet/in.h>
#include <sys/un.h>

enum tr_err tr_uendpoint_new(struct tr_cluster *c, const struct tr_endpoint_conf *conf,
                             const struct tr_addr *addr, struct tr_uendpoint **ret_endpoint)
{
    if (c->live_count == c->live_cap) {
        uint32_t cap = c->live_cap ? c->live_cap * 2 : 8;
        struct tr_uendpoint **live = tr_realloc(c->live, cap * sizeof(void *));
        if (!live)
            return TR_ERR_NOMEM;
        c->live = live;
        c->live_cap = cap;
    }
    struct tr_uendpoint *e = tr_calloc(1, sizeof *e);
    if (!e)
        return TR_ERR_NOMEM;
    e->cluster = c;
    e->conf = conf;
    e->addr = *addr;
    e->last_err = TR_ERR_UPSTREAM_CONNECT;
    e->key = tr_addr_key(addr);
    tr_list_init(&e->conns);
    tr_list_init(&e->node);
    if (c->upstream->conf->health &&
        tr_hcheck_new(e, c->upstream->conf->health, &e->check) != TR_OK) {
        tr_free(e);
        return TR_ERR_NOMEM;
    }
    const struct tr_upstream_shared *shared = c->upstream->shared;
    e->slot = tr_eslot_take(shared->slots, shared->slot_count, e->key);
    if (!e->slot)
        e->slot = &e->own;
    tr_list_push_back(&c->endpoints, &e->node);
    c->live[c->live_count++] = e;
    c->stale = true;
    *ret_endpoint = e;
    return TR_OK;
}

void tr_uendpoint_free(struct tr_uendpoint *e)
{
    _Atomic uint32_t *ejected = &e->cluster->upstream->shared->ejected;
    tr_hcheck_free(e->check);
    tr_list_for_each (it, next, &e->conns)
        tr_uconn_close(tr_container_of(it, struct tr_uconn, node));
    tr_list_remove(&e->node);
    if (e->slot == &e->own)
        tr_outlier_reset(&e->own.outlier, ejected);
    else
        tr_eslot_give(e->slot, ejected);
    tr_free(e);
}

void tr_uendpoint_up(struct tr_uendpoint *e)
{
    struct tr_cluster *c = e->cluster;
    bool again = e->state == TR_ENDPOINT_DOWN || (e->state == TR_ENDPOINT_IDLE && e->late);
    if (again && c->upstream->conf->slow_start_ns)
        e->ramp_ns = tr_cluster_now(c);
    if (again)
        e->smooth = 0;
    e->state = TR_ENDPOINT_UP;
    c->stale = true;
    tr_cluster_count_endpoints(e->cluster);
}

void tr_uendpoint_down(struct tr_uendpoint *e, enum tr_err why)
{
    uint64_t twice = e->backoff_ns * 2;
    e->backoff_ns = twice < TR_BACKOFF_MIN_NS   ? TR_BACKOFF_MIN_NS
                    : twice > TR_BACKOFF_MAX_NS ? TR_BACKOFF_MAX_NS
                                                : twice;
    e->state = TR_ENDPOINT_DOWN;
    e->down_ns = e->cluster->fail_ns = tr_cluster_now(e->cluster);
    e->last_err = why;
    e->smooth = 0;
    e->cluster->stale = true;
    tr_cluster_count_endpoints(e->cluster);
    tr_cluster_kick(e->cluster);
    if (e->check && e->conn_count == 0)
        tr_hcheck_failed(e->check);
}

uint64_t tr_uendpoint_retry_ns(const struct tr_uendpoint *e)
{
    return e->down_ns + e->backoff_ns;
}

uint64_t tr_uendpoint_demand_ns(const struct tr_uendpoint *e)
{
    return e->down_ns + TR_BACKOFF_MIN_NS;
}

void tr_cluster_count_endpoints(struct tr_cluster *c)
{
    uint32_t up = 0;
    for (uint32_t i = 0; i < c->live_count; i++)
        up += c->live[i]->state == TR_ENDPOINT_UP;
    TR_STAT_SET(c->stats.endpoints, c->live_count);
    TR_STAT_SET(c->stats.endpoints_up, up);
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool addr_equal(const struct tr_addr *a, const struct tr_addr *b)
{
    if (a->ss.ss_family != b->ss.ss_family)
        return false;
    if (a->ss.ss_family == AF_INET) {
        const struct sockaddr_in *x = (const void *)&a->ss, *y = (const void *)&b->ss;
        return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
    }
    if (a->ss.ss_family == AF_INET6) {
        const struct sockaddr_in6 *x = (const void *)&a->ss, *y = (const void *)&b->ss;
        return x->sin6_port == y->sin6_port && x->sin6_scope_id == y->sin6_scope_id &&
               memcmp(&x->sin6_addr, &y->sin6_addr, sizeof x->sin6_addr) == 0;
    }
    return a->len == b->len && memcmp(&a->ss, &b->ss, a->len) == 0;
}

static struct tr_uendpoint *find_live(const struct tr_uname *name, const struct tr_addr *addr)
{
    const struct tr_cluster *c = name->cluster;
    for (uint32_t i = 0; i < c->live_count; i++) {
        if (c->live[i]->conf == name->conf && addr_equal(&c->live[i]->addr, addr))
            return c->live[i];
    }
    return NULL;
}

/* Takes the endpoints of the name that were not in the answer out of use; their calls finish. */
static void drop_stale(struct tr_uname *name)
{
    struct tr_cluster *c = name->cluster;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->live_count; i++) {
        struct tr_uendpoint *e = c->live[i];
        if (e->conf != name->conf || e->fresh) {
            c->live[kept++] = e;
            continue;
        }
        e->gone = true;
        tr_hcheck_free(e->check);
        e->check = NULL;
        tr_list_for_each (it, next, &e->conns)
            tr_uconn_drain(tr_container_of(it, struct tr_uconn, node));
        if (tr_list_empty(&e->conns))
            tr_uendpoint_free(e);
    }
    c->live_count = kept;
}

static void resolve_again(struct tr_uname *name, uint32_t after_s)
{
    /* without memory for the timer the name stays as it is known */
    (void)tr_timer_start(&name->timer, (uint64_t)after_s * 1000000000u);
}

/* Once for all workers until one of them has an answer: it is asked for again and again. */
static void tell_name(const struct tr_uname *name)
{
    const struct tr_upstream *u = name->cluster->upstream;
    const struct tr_span upstream = u->conf->name, host = name->conf->host;
    uint64_t bit = UINT64_C(1) << ((size_t)(name->conf - u->conf->endpoints) % 64);
    uint64_t told = name->failed ? atomic_fetch_or(&u->shared->names_told, bit)
                                 : atomic_fetch_and(&u->shared->names_told, ~bit);
    if (name->failed && !(told & bit))
        tr_log(TR_LOG_WARN, "upstream %.*s: the name %.*s does not resolve: %s", (int)upstream.len,
               upstream.ptr, (int)host.len, host.ptr,
               name->answered ? "the addresses that are known stay in use" : "none is known");
    if (!name->failed && (told & bit))
        tr_log(TR_LOG_INFO, "upstream %.*s: the name %.*s resolves again", (int)upstream.len,
               upstream.ptr, (int)host.len, host.ptr);
}

static void on_answer(void *ctx, const struct tr_dns_answer *answer)
{
    struct tr_uname *name = ctx;
    struct tr_cluster *c = name->cluster;
    name->query = NULL;
    name->failed = answer->err != TR_OK || answer->count == 0;
    resolve_again(name, answer->ttl_s ? answer->ttl_s : 1);
    tell_name(name);
    if (name->failed) { /* what was known stays in use */
        TR_STAT_ADD(c->stats.dns_failures, 1);
        tr_cluster_kick(c);
        return;
    }
    for (uint32_t i = 0; i < c->live_count; i++)
        c->live[i]->fresh = false;
    for (size_t i = 0; i < answer->count; i++) {
        struct tr_uendpoint *e = find_live(name, &answer->addrs[i]);
        if (!e && tr_uendpoint_new(c, name->conf, &answer->addrs[i], &e) == TR_OK)
            e->late = name->answered;
        if (e)
            e->fresh = true;
    }
    name->answered = true;
    drop_stale(name);
    c->stale = true;
    tr_cluster_make_ring(c);
    tr_cluster_count_endpoints(c);
    tr_cluster_kick(c);
}

static void on_ttl(struct tr_timer *timer)
{
    struct tr_uname *name = tr_container_of(timer, struct tr_uname, timer);
    if (!name->query && tr_uname_start(name) != TR_OK)
        resolve_again(name, 5);
}

enum tr_err tr_uname_start(struct tr_uname *name)
{
    struct tr_cluster *c = name->cluster;
    if (!name->timer.fn)
        tr_timer_init(&name->timer, c->worker->loop, on_ttl);
    return tr_dns_resolve(c->dns, name->conf->host, name->conf->port, on_answer, name,
                          &name->query);
}

void tr_uname_stop(struct tr_uname *name)
{
    if (name->query)
        tr_dns_cancel(name->query);
    name->query = NULL;
    if (name->timer.fn)
        tr_timer_stop(&name->timer);
}
