#include "base/alloc.h"
#include "base/assert.h"
#include "upstream/upstream_int.h"

/* Why nothing is reachable: a name that does not resolve, or what the last connect met. */
static enum tr_err reason(const struct tr_cluster *c)
{
    const struct tr_uendpoint *last = NULL;
    for (uint32_t i = 0; i < c->live_count; i++) {
        if (c->live[i]->state == TR_ENDPOINT_DOWN &&
            (!last || c->live[i]->down_ns >= last->down_ns))
            last = c->live[i];
    }
    if (last)
        return last->last_err;
    if (c->live_count)
        return TR_ERR_UPSTREAM_CONNECT;
    return c->name_count ? TR_ERR_UPSTREAM_DNS : TR_ERR_UPSTREAM_NO_ENDPOINT;
}

static bool is_resolving(const struct tr_cluster *c)
{
    for (uint32_t i = 0; i < c->name_count; i++) {
        if (c->names[i].query && !c->names[i].failed)
            return true;
    }
    return false;
}

static struct tr_ucall *oldest(const struct tr_cluster *c)
{
    return tr_list_empty(&c->pending) ? NULL
                                      : tr_container_of(c->pending.next, struct tr_ucall, node);
}

/* Ends the pending calls that have waited for long enough for a connection, or all; not those that
 * their ends start. */
static void fail_pending(struct tr_cluster *c, bool all)
{
    uint64_t now = tr_cluster_now(c);
    uint32_t count = c->stats.pending_requests;
    struct tr_ucall *call;
    while (count-- && (call = oldest(c)) != NULL &&
           (all || now - call->pending_since_ns >= c->upstream->conf->connect_timeout_ns))
        tr_ucall_end(call, reason(c), ~0u, NULL);
}

/* The next time-out of a pending call, or retry of a down endpoint. */
static void set_timer(struct tr_cluster *c)
{
    uint64_t now = tr_cluster_now(c), due = UINT64_MAX;
    const struct tr_ucall *call = oldest(c);
    if (call && !tr_cluster_has_ready(c))
        due = call->pending_since_ns + c->upstream->conf->connect_timeout_ns;
    for (uint32_t i = 0; i < c->live_count; i++) {
        const struct tr_uendpoint *e = c->live[i];
        if (e->state == TR_ENDPOINT_DOWN && !e->connecting && tr_uendpoint_retry_ns(e) < due)
            due = tr_uendpoint_retry_ns(e);
        if (call && e->grow_ns > now && e->grow_ns < due)
            due = e->grow_ns;
    }
    if (due == UINT64_MAX)
        tr_timer_stop(&c->timer);
    else
        (void)tr_timer_start(&c->timer, due > now ? due - now : 0);
}

static void on_timer(struct tr_timer *timer)
{
    struct tr_cluster *c = tr_container_of(timer, struct tr_cluster, timer);
    uint64_t now = tr_cluster_now(c);
    for (uint32_t i = 0; i < c->live_count && !c->retired; i++) {
        struct tr_uendpoint *e = c->live[i];
        if (e->state == TR_ENDPOINT_DOWN && !e->connecting && tr_uendpoint_retry_ns(e) <= now)
            tr_uendpoint_grow(e);
    }
    tr_cluster_kick(c);
}

/* Those that were looked at stay in their order, before any that came meanwhile. */
static void put_back(struct tr_cluster *c)
{
    while (!tr_list_empty(&c->waiting)) {
        struct tr_list *last = c->waiting.prev;
        tr_list_remove(last);
        tr_list_push_front(&c->pending, last);
    }
}

/* Gives streams to the calls that wait, in order. One that has its own endpoint to wait for
 * (ring_hash) does not stop those behind it. */
static void serve_pending(struct tr_cluster *c)
{
    struct tr_ucall *call;
    while ((call = oldest(c)) != NULL) {
        struct tr_uconn *conn = tr_cluster_conn(c, call);
        if (!conn) {
            if (!c->ring)
                break;
            tr_list_remove(&call->node);
            tr_list_push_back(&c->waiting, &call->node);
            continue;
        }
        enum tr_err err = tr_ucall_assign(call, conn);
        if (err)
            tr_ucall_end(call, err, ~0u, NULL);
    }
    put_back(c);
}

static void on_task(struct tr_task *task)
{
    struct tr_cluster *c = tr_container_of(task, struct tr_cluster, task);
    if (c->retired && tr_list_empty(&c->pending) && tr_list_empty(&c->active)) {
        tr_cluster_free(c);
        return;
    }
    serve_pending(c);
    if (oldest(c) && !tr_cluster_has_ready(c))
        fail_pending(c, !tr_cluster_is_connecting(c) && !is_resolving(c));
    set_timer(c);
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static enum tr_err add_endpoints(struct tr_cluster *c)
{
    const struct tr_upstream_conf *conf = c->upstream->conf;
    enum tr_err err = TR_OK;
    c->names = tr_calloc(conf->endpoint_count ? conf->endpoint_count : 1, sizeof *c->names);
    if (!c->names)
        return TR_ERR_NOMEM;
    for (uint32_t i = 0; i < conf->endpoint_count && !err; i++) {
        const struct tr_endpoint_conf *e = &conf->endpoints[i];
        struct tr_uendpoint *endpoint;
        if (e->host.len) {
            struct tr_uname *name = &c->names[c->name_count++];
            name->cluster = c;
            name->conf = e;
            err = tr_uname_start(name);
        } else {
            err = tr_uendpoint_new(c, e, &e->addr, &endpoint);
        }
    }
    return err;
}

enum tr_err tr_cluster_new(struct tr_hworker *worker, struct tr_dns *dns,
                           const struct tr_upstream *upstream, struct tr_cluster **ret_cluster)
{
    struct tr_cluster *c = tr_calloc(1, sizeof *c);
    if (!c)
        return TR_ERR_NOMEM;
    c->worker = worker;
    c->dns = dns;
    c->upstream = upstream;
    c->random =
        tr_span_hash(upstream->conf->name, (uint64_t)(uintptr_t)c ^ tr_loop_now_ns(worker->loop));
    tr_list_init(&c->endpoints);
    tr_list_init(&c->pending);
    tr_list_init(&c->active);
    tr_list_init(&c->waiting);
    c->look_ns = UINT64_MAX;
    tr_task_init(&c->task, on_task);
    tr_timer_init(&c->timer, worker->loop, on_timer);
    enum tr_err err = add_endpoints(c);
    if (err) {
        tr_cluster_free(c);
        return err;
    }
    tr_cluster_count_endpoints(c);
    tr_cluster_make_ring(c);
    *ret_cluster = c;
    return TR_OK;
}

void tr_cluster_retire(struct tr_cluster *cluster)
{
    cluster->retired = true;
    tr_list_for_each (it, next, &cluster->endpoints) {
        struct tr_uendpoint *e = tr_container_of(it, struct tr_uendpoint, node);
        tr_hcheck_free(e->check);
        e->check = NULL;
    }
    tr_cluster_kick(cluster);
}

void tr_cluster_free(struct tr_cluster *cluster)
{
    if (!cluster)
        return;
    cluster->freeing = true;
    for (uint32_t i = 0; i < cluster->name_count; i++)
        tr_uname_stop(&cluster->names[i]);
    put_back(cluster);
    struct tr_ucall *call;
    while ((call = oldest(cluster)) != NULL)
        tr_ucall_end(call, TR_ERR_UPSTREAM_CLOSED, ~0u, NULL);
    cluster->live_count = 0;
    tr_list_for_each (it, next, &cluster->endpoints) /* active calls end with their connections */
        tr_uendpoint_free(tr_container_of(it, struct tr_uendpoint, node));
    TR_ASSERT(tr_list_empty(&cluster->active));
    tr_timer_stop(&cluster->timer);
    tr_task_cancel(&cluster->task);
    tr_ring_free(cluster->ring);
    tr_free(cluster->names);
    tr_free(cluster->live);
    tr_free(cluster);
}

const struct tr_cluster_stats *tr_cluster_stats(const struct tr_cluster *cluster)
{
    return &cluster->stats;
}

uint64_t tr_cluster_retry_after_ns(const struct tr_cluster *cluster)
{
    uint64_t wait =
        tr_breaker_wait_ns(&cluster->upstream->shared->breaker, tr_cluster_now(cluster));
    return wait ? wait : 1;
}
