#include "gateway/server.h"

#include "admin/admin.h"
#include "base/alloc.h"
#include "base/log.h"
#include "filters/registry.h"
#include "gateway/stats.h"
#include "gateway/worker.h"
#include "pipeline/reply.h"

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct tr_server {
    struct tr_snapshot *snap;
    const struct tr_server_opts *opts;
    struct tr_loop *loop;
    struct tr_mailbox *mailbox;
    struct tr_admin *admin;
    struct tr_worker *workers;
    uint32_t worker_count, started;
    struct tr_listener_shared *shared;
    struct tr_addr *addrs;
    struct tr_stats *stats;
    struct tr_control control;
    void **filters; /* what they keep on this thread */
    _Atomic bool ready;
    unsigned signals;
    struct tr_timer drain_delay;
    struct tr_mail done_mail;
    _Atomic uint32_t done;
};

_Atomic bool *tr_server_ready(struct tr_server *server)
{
    return &server->ready;
}

struct tr_metrics *tr_server_metrics(struct tr_server *server, uint32_t worker)
{
    return tr_stats_worker(server->stats, worker);
}

struct tr_mailbox *tr_server_mailbox(struct tr_server *server)
{
    return server->mailbox;
}

void **tr_server_filters(struct tr_server *server)
{
    return server->filters;
}

bool tr_server_health(struct tr_pworker *w, struct tr_exchange *x)
{
    const struct tr_peer *peer = x->hs->conn->user;
    struct tr_span path = x->hs->head.path, type = TR_SPAN("text/plain; charset=utf-8");
    if (!peer || !peer->listener->cfg->health ||
        (x->hs->head.method != TR_METHOD_GET && x->hs->head.method != TR_METHOD_HEAD))
        return false;
    if (tr_span_eq(path, TR_SPAN("/healthz"))) {
        tr_reply_text(x, 200, type, TR_SPAN("ok\n"));
        return true;
    }
    if (!tr_span_eq(path, TR_SPAN("/readyz")))
        return false;
    bool ready = atomic_load_explicit(w->ready, memory_order_relaxed);
    tr_reply_text(x, ready ? 200 : 503, type, ready ? TR_SPAN("ready\n") : TR_SPAN("not ready\n"));
    return true;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void on_worker_done(struct tr_mail *mail, void *ctx)
{
    struct tr_server *s = ctx;
    (void)mail;
    tr_loop_stop(s->loop);
}

void tr_server_worker_done(struct tr_server *server)
{
    if (atomic_fetch_add_explicit(&server->done, 1, memory_order_acq_rel) + 1 ==
        server->worker_count)
        tr_mailbox_post(server->mailbox, &server->done_mail);
}

static void on_drain_delay(struct tr_timer *timer)
{
    struct tr_server *s = tr_container_of(timer, struct tr_server, drain_delay);
    tr_log(TR_LOG_INFO, "draining");
    for (uint32_t i = 0; i < s->started; i++)
        tr_worker_drain(&s->workers[i]);
}

static void on_signal(int signum, void *ctx)
{
    struct tr_server *s = ctx;
    if (s->signals++ == 0) {
        tr_log(TR_LOG_INFO, "signal %d: not ready; connections are drained in %g s", signum,
               (double)s->snap->config.drain_delay / 1e9);
        atomic_store_explicit(&s->ready, false, memory_order_relaxed);
        (void)tr_timer_start(&s->drain_delay, s->snap->config.drain_delay);
        return;
    }
    tr_log(TR_LOG_INFO, "signal %d: stopping at once", signum);
    for (uint32_t i = 0; i < s->started; i++)
        tr_worker_abort(&s->workers[i]);
}

/* ---- the beginning --------------------------------------------------------------------------- */

static bool admin_ready(void *ctx)
{
    const struct tr_server *s = ctx;
    return atomic_load_explicit(&s->ready, memory_order_relaxed);
}

static enum tr_err admin_metrics(void *ctx, struct tr_buf *out)
{
    struct tr_server *s = ctx;
    return tr_stats_render(s->stats, s->workers, s->shared, s->filters, admin_ready(s), out);
}

static enum tr_err start_admin(struct tr_server *s, struct tr_status *st)
{
    struct tr_admin_params params = {.loop = s->loop,
                                     .limits = &s->snap->limits,
                                     .ready = admin_ready,
                                     .metrics = admin_metrics,
                                     .addr = s->snap->admin_addr,
                                     .ctx = s};
    return params.addr.len ? tr_admin_new(&params, &s->admin, st) : TR_OK;
}

/* Before the workers share their sockets: they would share them with another gateway as well. */
static enum tr_err probe_addresses(const struct tr_server *s, struct tr_status *st)
{
    for (uint32_t i = 0; i < s->snap->listener_count; i++) {
        enum tr_err err = tr_addr_probe(&s->addrs[i], st);
        if (err)
            return err;
    }
    return s->snap->admin_addr.len ? tr_addr_probe(&s->snap->admin_addr, st) : TR_OK;
}

static uint32_t worker_count(const struct tr_snapshot *snap)
{
    long n = snap->config.workers ? (long)snap->config.workers : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 256 ? 256 : (uint32_t)n;
}

static enum tr_err start_control(struct tr_server *s, struct tr_status *st)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): nothing changes the environment */
    enum tr_err err = tr_dns_new(s->loop, getenv("TRANSOM_DNS_SERVERS"), &s->control.dns);
    s->control.worker_mailboxes = tr_calloc(s->worker_count, sizeof(struct tr_mailbox *));
    if (err || !s->control.worker_mailboxes)
        return err ? err : TR_ERR_NOMEM;
    s->control.loop = s->loop;
    s->control.mailbox = s->mailbox;
    s->control.worker_count = s->worker_count;
    return tr_filters_control_start(&s->control, s->snap, &s->filters, st);
}

static enum tr_err start(struct tr_server *s, struct tr_status *st)
{
    struct tr_snapshot *snap = s->snap;
    s->worker_count = worker_count(snap);
    s->workers = tr_calloc(s->worker_count, sizeof *s->workers);
    s->shared = tr_calloc(snap->listener_count, sizeof *s->shared);
    s->addrs = tr_calloc(snap->listener_count, sizeof *s->addrs);
    s->stats = tr_stats_new(snap, s->worker_count);
    if (!s->workers || !s->shared || !s->addrs || !s->stats)
        return TR_ERR_NOMEM;
    for (uint32_t i = 0; i < snap->listener_count; i++)
        s->addrs[i] = snap->listeners[i].addr;
    enum tr_err err = tr_loop_new(&s->loop);
    if (!err)
        err = tr_mailbox_new(s->loop, s, &s->mailbox);
    if (!err)
        err = tr_loop_on_signal(s->loop, SIGTERM, on_signal, s);
    if (!err)
        err = tr_loop_on_signal(s->loop, SIGINT, on_signal, s);
    if (err)
        return err;
    s->done_mail.fn = on_worker_done;
    tr_timer_init(&s->drain_delay, s->loop, on_drain_delay);
    err = probe_addresses(s, st);
    if (!err)
        err = start_control(s, st);
    if (err)
        return err;
    for (uint32_t i = 0; i < s->worker_count; i++) {
        err = tr_worker_init(&s->workers[i], s, i, snap, s->shared, s->addrs, st);
        if (err)
            return err;
        s->control.worker_mailboxes[i] = s->workers[i].mailbox;
    }
    err = start_admin(s, st);
    if (err)
        return err;
    for (uint32_t i = 0; i < s->worker_count; i++) {
        err = tr_worker_start(&s->workers[i]);
        if (err)
            return err;
        s->started++;
    }
    return TR_OK;
}

static void print_addresses(const struct tr_server *s)
{
    char text[TR_ADDR_TEXT_MAX];
    (void)fprintf(s->opts->out, "%s listening", s->opts->name);
    for (uint32_t i = 0; i < s->snap->listener_count; i++) {
        struct tr_span a = tr_addr_text(&s->addrs[i], text);
        bool unix_path = tr_span_starts(a, TR_SPAN("unix:"));
        (void)fprintf(s->opts->out, " %s%.*s",
                      unix_path                   ? ""
                      : s->snap->listeners[i].tls ? "https://"
                                                  : "http://",
                      (int)a.len, a.ptr);
    }
    if (s->admin) {
        struct tr_span a = tr_addr_text(tr_admin_addr(s->admin), text);
        (void)fprintf(s->opts->out, " admin=http://%.*s", (int)a.len, a.ptr);
    }
    (void)fprintf(s->opts->out, "\n");
    (void)fflush(s->opts->out);
}

static void stop(struct tr_server *s)
{
    if (s->started < s->worker_count) /* start failed half-way */
        for (uint32_t i = 0; i < s->started; i++)
            tr_worker_abort(&s->workers[i]);
    for (uint32_t i = 0; i < s->started; i++)
        tr_worker_join(&s->workers[i]);
    tr_admin_free(s->admin);
    if (s->mailbox)
        tr_mailbox_free(s->mailbox);
    tr_filters_control_stop(s->filters);
    for (uint32_t i = 0; s->workers && i < s->worker_count; i++)
        tr_worker_fini(&s->workers[i]);
    if (s->loop)
        tr_timer_stop(&s->drain_delay);
    if (s->control.dns)
        tr_dns_free(s->control.dns);
    tr_free(s->control.worker_mailboxes);
    if (s->loop)
        tr_loop_free(s->loop);
    tr_stats_free(s->stats);
    tr_free(s->workers);
    tr_free(s->shared);
    tr_free(s->addrs);
}

/* Memory of a burst goes back to the system. Left alone, glibc raises the threshold above which a
 * block is mapped for itself with each such block that is freed, and large answers then leave holes
 * in the heap. */
static void tune_heap(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);  /* NOLINT(concurrency-mt-unsafe): at the start */
    (void)mallopt(M_TRIM_THRESHOLD, 1024 * 1024); /* NOLINT(concurrency-mt-unsafe) */
    (void)malloc_trim(0);                         /* what loading the snapshot took for a moment */
}

int tr_server_run(struct tr_snapshot *snap, const struct tr_server_opts *opts)
{
    struct tr_server s = {.snap = tr_snapshot_ref(snap), .opts = opts};
    struct tr_status st;
    tr_status_clear(&st);
    (void)signal(SIGPIPE, SIG_IGN);
    tune_heap();
    tr_log_set_level((enum tr_log_level)snap->config.log_level);
    enum tr_err err = start(&s, &st);
    if (err) {
        st.err = err;
        struct tr_span text = tr_status_text(&st);
        (void)fprintf(stderr, "transom: %.*s\n", (int)text.len, text.ptr);
    } else {
        atomic_store(&s.ready, true);
        print_addresses(&s);
        tr_loop_run(s.loop);
    }
    stop(&s);
    tr_snapshot_unref(snap);
    return err ? 1 : 0;
}
