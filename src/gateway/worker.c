#include "gateway/worker.h"

#include "base/alloc.h"
#include "base/log.h"
#include "filters/registry.h"
#include "gateway/front.h"
#include "gateway/server.h"
#include "obs/metrics.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/random.h>

#define BLOCKS_KEPT   512                    /* arena blocks of 4 KiB: 2 MiB a worker */
#define GOAWAY_GAP_NS ((uint64_t)1000000000) /* between the two steps of GOAWAY */
#define TRIM_AFTER_BYTES                                                                           \
    ((uint64_t)1 << 20) /* kept in large buffers, or gone back to the heap since the last trim */
#define TRIM_DELAY_NS  ((uint64_t)1000000000)
#define TRIM_PAD_BYTES ((size_t)256 * 1024)

/* ---- connections ----------------------------------------------------------------------------- */

static void on_accept(void *ctx, int fd, const struct tr_addr *peer)
{
    struct tr_worker_listener *l = ctx;
    tr_front_accept(l->worker, l, fd, peer);
}

/* What bursts of large answers took goes back to the system; free() alone leaves holes in the heap.
 */
static bool trim_is_due(const struct tr_worker *w)
{
    return w->bufs.kept > TRIM_AFTER_BYTES || w->bufs.dropped - w->trimmed > TRIM_AFTER_BYTES;
}

static void trim_later(struct tr_worker *w)
{
    (void)tr_timer_start(&w->trim_timer, TRIM_DELAY_NS);
}

static void on_trim_timer(struct tr_timer *timer)
{
    struct tr_worker *w = tr_container_of(timer, struct tr_worker, trim_timer);
    tr_bufpool_decay(&w->bufs);
    if (w->bufs.dropped - w->trimmed > TRIM_AFTER_BYTES) {
        w->trimmed = w->bufs.dropped;
        (void)malloc_trim(TRIM_PAD_BYTES);
    }
    if (trim_is_due(w))
        trim_later(w);
}

static void on_request(void *ctx, struct tr_hstream *hs, enum tr_err refused,
                       const struct tr_status *st)
{
    struct tr_worker *w = ctx;
    if (trim_is_due(w) && !tr_timer_running(&w->trim_timer))
        trim_later(w);
    tr_exchange_service(&w->p, hs, refused, st);
}

static void on_conn_closed(void *ctx, struct tr_hconn *conn)
{
    struct tr_worker *w = ctx;
    tr_list_remove(&conn->node);
    tr_front_release_peer(conn->user);
    tr_worker_check_done(w);
}

/* ---- drain ----------------------------------------------------------------------------------- */

static void close_listeners(struct tr_worker *w)
{
    for (uint32_t i = 0; i < w->listener_count; i++) {
        tr_listener_close(w->listeners[i].listener);
        w->listeners[i].listener = NULL;
    }
}

void tr_worker_check_done(struct tr_worker *w)
{
    if (!w->p.draining || !tr_list_empty(&w->conns) || !tr_list_empty(&w->fronts))
        return;
    tr_timer_stop(&w->drain_timer);
    tr_loop_stop(w->loop);
}

static void drain_conns(struct tr_worker *w)
{
    tr_list_for_each (it, next, &w->conns)
        tr_hconn_drain(tr_container_of(it, struct tr_hconn, node));
}

static void abort_conns(struct tr_worker *w)
{
    while (!tr_list_empty(&w->conns))
        tr_hconn_abort(tr_container_of(w->conns.next, struct tr_hconn, node));
}

/* Two-step GOAWAY (RFC 9113 §6.8): the last id follows when what was under way has had a second to
 * arrive; then patience, then force. */
static void on_drain_timer(struct tr_timer *timer)
{
    struct tr_worker *w = tr_container_of(timer, struct tr_worker, drain_timer);
    uint64_t timeout = w->p.snap->config.drain_timeout;
    if (w->drain_round++ == 0 && timeout > GOAWAY_GAP_NS) {
        drain_conns(w);
        (void)tr_timer_start(&w->drain_timer, timeout - GOAWAY_GAP_NS);
    } else {
        abort_conns(w);
    }
    tr_worker_check_done(w);
}

static void drain(struct tr_worker *w)
{
    if (w->p.draining)
        return;
    w->p.draining = true;
    close_listeners(w);
    tr_front_close_all(w);
    drain_conns(w);
    uint64_t timeout = w->p.snap->config.drain_timeout;
    (void)tr_timer_start(&w->drain_timer, timeout < GOAWAY_GAP_NS ? timeout : GOAWAY_GAP_NS);
    tr_worker_check_done(w);
}

struct drain_mail {
    struct tr_mail mail;
    struct tr_worker *worker;
    bool abort;
};

static void on_drain_mail(struct tr_mail *mail, void *ctx)
{
    struct drain_mail *m = tr_container_of(mail, struct drain_mail, mail);
    struct tr_worker *w = ctx;
    bool force = m->abort;
    tr_free(m);
    drain(w);
    if (force) {
        abort_conns(w);
        tr_worker_check_done(w);
    }
}

static void post_drain(struct tr_worker *w, bool force)
{
    struct drain_mail *m = tr_calloc(1, sizeof *m);
    if (!m)
        abort(); /* cannot even stop in order */
    m->mail.fn = on_drain_mail;
    m->abort = force;
    tr_mailbox_post(w->mailbox, &m->mail);
}

void tr_worker_drain(struct tr_worker *w)
{
    post_drain(w, false);
}

void tr_worker_abort(struct tr_worker *w)
{
    post_drain(w, true);
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum tr_err open_listeners(struct tr_worker *w, struct tr_snapshot *snap,
                                  struct tr_listener_shared *shared, struct tr_addr *addrs,
                                  struct tr_status *st)
{
    w->listeners = tr_calloc(snap->listener_count, sizeof *w->listeners);
    if (!w->listeners)
        return TR_ERR_NOMEM;
    for (uint32_t i = 0; i < snap->listener_count; i++) {
        struct tr_worker_listener *l = &w->listeners[i];
        *l = (struct tr_worker_listener){
            .worker = w, .conf = &snap->listeners[i], .shared = &shared[i], .index = i};
        enum tr_err err = tr_listener_open(w->loop, &addrs[i], on_accept, l, &l->listener, st);
        if (err)
            return err;
        w->listener_count++;
        tr_listener_count_failures(l->listener, &w->stats.accept_failures);
        addrs[i] = *tr_listener_addr(l->listener);
    }
    return TR_OK;
}

static enum tr_err make_clusters(struct tr_worker *w, struct tr_snapshot *snap)
{
    w->p.clusters = tr_calloc((size_t)snap->upstream_count + 1, sizeof *w->p.clusters);
    if (!w->p.clusters)
        return TR_ERR_NOMEM;
    for (uint32_t i = 0; i < snap->upstream_count; i++) {
        enum tr_err err = tr_cluster_new(&w->h, w->dns, &snap->upstreams[i], &w->p.clusters[i]);
        if (err)
            return err;
    }
    return TR_OK;
}

enum tr_err tr_worker_init(struct tr_worker *w, struct tr_server *server, uint32_t index,
                           struct tr_snapshot *snap, struct tr_listener_shared *shared,
                           struct tr_addr *addrs, struct tr_status *st)
{
    *w = (struct tr_worker){.server = server, .index = index};
    tr_list_init(&w->fronts);
    tr_list_init(&w->conns);
    tr_block_cache_init(&w->blocks, BLOCKS_KEPT);
    tr_bufpool_init(&w->bufs);
    enum tr_err err = tr_loop_new(&w->loop);
    if (!err)
        err = tr_mailbox_new(w->loop, w, &w->mailbox);
    if (!err)
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): nothing changes the environment */
        err = tr_dns_new(w->loop, getenv("TRANSOM_DNS_SERVERS"), &w->dns);
    if (err)
        return err;
    w->h = (struct tr_hworker){.loop = w->loop, .blocks = &w->blocks, .bufs = &w->bufs};
    w->h.read_buf = tr_malloc(TR_HREAD_BYTES);
    if (!w->h.read_buf)
        return TR_ERR_NOMEM;
    w->service =
        (struct tr_hservice){.ctx = w, .on_request = on_request, .on_conn_closed = on_conn_closed};
    tr_timer_init(&w->drain_timer, w->loop, on_drain_timer);
    tr_timer_init(&w->trim_timer, w->loop, on_trim_timer);
    tr_pworker_init(&w->p, &w->h, snap);
    w->p.filters = tr_filters_registry(&w->p.filter_count);
    w->p.health = tr_server_health;
    w->p.ready = tr_server_ready(server);
    w->p.metrics = tr_server_metrics(server, index);
    w->h.err_counts = w->p.metrics->errors;
    if (getrandom(w->p.id_state, sizeof w->p.id_state, 0) != (ssize_t)sizeof w->p.id_state)
        return tr_fail(st, TR_ERR_IO, "getrandom failed");
    w->p.mailbox = w->mailbox;
    w->p.control = tr_server_mailbox(server);
    w->p.dns = w->dns;
    err = open_listeners(w, snap, shared, addrs, st);
    if (!err)
        err = make_clusters(w, snap);
    return err ? err : tr_filters_worker_start(&w->p, tr_server_filters(server));
}

static void *thread_main(void *arg)
{
    struct tr_worker *w = arg;
    atomic_store_explicit(&w->allocs, tr_alloc_stats_place(), memory_order_release);
    tr_loop_run(w->loop);
    atomic_store_explicit(&w->done, true, memory_order_release);
    tr_server_worker_done(w->server);
    return NULL;
}

enum tr_err tr_worker_start(struct tr_worker *w)
{
    if (pthread_create(&w->thread, NULL, thread_main, w) != 0)
        return TR_ERR_IO;
    w->started = true;
    return TR_OK;
}

void tr_worker_join(struct tr_worker *w)
{
    if (w->started)
        (void)pthread_join(w->thread, NULL);
    w->started = false;
}

void tr_worker_fini(struct tr_worker *w)
{
    if (!w->loop)
        return;
    close_listeners(w);
    tr_front_close_all(w);
    abort_conns(w);
    if (w->p.clusters && w->p.snap)
        for (uint32_t i = 0; i < w->p.snap->upstream_count; i++)
            if (w->p.clusters[i])
                tr_cluster_free(w->p.clusters[i]);
    tr_free(w->p.clusters);
    tr_timer_stop(&w->drain_timer);
    tr_timer_stop(&w->trim_timer);
    if (w->mailbox)
        tr_mailbox_free(w->mailbox);
    tr_filters_worker_stop(&w->p);
    if (w->dns)
        tr_dns_free(w->dns);
    tr_pworker_fini(&w->p);
    tr_buf_fini(&w->h.write_buf);
    tr_free(w->h.read_buf);
    tr_free(w->listeners);
    tr_loop_free(w->loop);
    tr_bufpool_fini(&w->bufs);
    tr_block_cache_fini(&w->blocks);
}
