#include "gateway/stats.h"

#include "base/alloc.h"
#include "base/counter.h"
#include "filters/registry.h"
#include "gateway/worker.h"
#include "obs/metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

struct tr_stats {
    const struct tr_snapshot *snap;
    uint32_t workers;
    double start_time;
    struct tr_metrics **metrics;
    struct tr_metrics_route *routes;
};

struct tr_stats *tr_stats_new(const struct tr_snapshot *snap, uint32_t workers)
{
    struct timespec now;
    struct tr_stats *stats = tr_calloc(1, sizeof *stats);
    if (!stats)
        return NULL;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    *stats = (struct tr_stats){.snap = snap,
                               .workers = workers,
                               .start_time = (double)now.tv_sec + (double)now.tv_nsec / 1e9};
    stats->metrics = tr_calloc(workers, sizeof(struct tr_metrics *));
    stats->routes = tr_calloc((size_t)snap->route_count + 1, sizeof *stats->routes);
    bool ok = stats->metrics && stats->routes;
    for (uint32_t i = 0; ok && i < workers; i++)
        ok = tr_metrics_new(snap->route_count, &stats->metrics[i]) == TR_OK;
    if (!ok) {
        tr_stats_free(stats);
        return NULL;
    }
    for (uint32_t i = 0; i < snap->route_count; i++) {
        const struct tr_route *r = snap->routes[i];
        stats->routes[i] = (struct tr_metrics_route){r->native ? TR_SPAN("grpc") : TR_SPAN("rest"),
                                                     r->verb, r->label};
    }
    return stats;
}

void tr_stats_free(struct tr_stats *stats)
{
    if (!stats)
        return;
    for (uint32_t i = 0; stats->metrics && i < stats->workers; i++)
        tr_metrics_free(stats->metrics[i]);
    tr_free(stats->metrics);
    tr_free(stats->routes);
    tr_free(stats);
}

struct tr_metrics *tr_stats_worker(struct tr_stats *stats, uint32_t worker)
{
    return stats->metrics[worker];
}

/* The sum over the workers of the counter at `offset` of struct tr_worker. */
static uint64_t sum(const struct tr_worker *workers, uint32_t count, size_t offset)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++)
        total +=
            tr_count_load((const uint64_t *)(const void *)((const char *)&workers[i] + offset));
    return total;
}

static void listeners(struct tr_expo *e, const struct tr_stats *stats,
                      const struct tr_worker *workers, const struct tr_listener_shared *shared)
{
    const struct tr_snapshot *snap = stats->snap;
    uint64_t failures = 0;
    for (uint32_t i = 0; i < snap->listener_count; i++) {
        struct tr_span label = snap->listeners[i].cfg->address;
        tr_expo_u64(e, TR_METRIC_CONNECTIONS, &label,
                    atomic_load_explicit(&shared[i].connections, memory_order_relaxed));
    }
    tr_expo_u64(e, TR_METRIC_ACCEPTED, NULL,
                sum(workers, stats->workers, offsetof(struct tr_worker, stats.accepted)));
    for (uint32_t i = 0; i < snap->listener_count; i++) {
        struct tr_span label = snap->listeners[i].cfg->address;
        tr_expo_u64(e, TR_METRIC_REFUSED, &label,
                    atomic_load_explicit(&shared[i].refused, memory_order_relaxed));
    }
    tr_expo_u64(e, TR_METRIC_IDLE_CLOSED, NULL,
                sum(workers, stats->workers, offsetof(struct tr_worker, h.stats.idle_closed)));
    tr_expo_u64(e, TR_METRIC_HELD, NULL,
                sum(workers, stats->workers, offsetof(struct tr_worker, h.stats.held)));
    tr_expo_u64(e, TR_METRIC_STREAMS_REFUSED, NULL,
                sum(workers, stats->workers, offsetof(struct tr_worker, h.stats.streams_refused)));
    for (uint32_t i = 0; i < stats->workers; i++)
        failures += tr_count_load(&workers[i].stats.accept_failures);
    tr_expo_u64(e, TR_METRIC_ACCEPT_FAILURES, NULL, failures);
    tr_expo_u64(e, TR_METRIC_TLS_FAILURES, NULL,
                sum(workers, stats->workers, offsetof(struct tr_worker, stats.tls_failures)));
}

static const struct {
    enum tr_metric metric;
    size_t offset;
    bool wide; /* uint64_t, else uint32_t */
} upstream_metrics[] = {
#define WIDE(id, member)                                                                           \
    {                                                                                              \
        TR_METRIC_##id, offsetof(struct tr_cluster_stats, member), true                            \
    }
#define NARROW(id, member)                                                                         \
    {                                                                                              \
        TR_METRIC_##id, offsetof(struct tr_cluster_stats, member), false                           \
    }
    WIDE(UPSTREAM_REQUESTS, requests),
    NARROW(UPSTREAM_ACTIVE, active_requests),
    NARROW(UPSTREAM_PENDING, pending_requests),
    WIDE(UPSTREAM_PENDING_OVERFLOW, pending_overflow),
    WIDE(UPSTREAM_ACTIVE_OVERFLOW, active_overflow),
    NARROW(UPSTREAM_CONNECTIONS, connections),
    WIDE(UPSTREAM_CONNECTS, connects),
    WIDE(UPSTREAM_CONNECT_FAILURES, connect_failures),
    WIDE(UPSTREAM_CLOSED, connections_closed),
    WIDE(UPSTREAM_RESETS, resets_received),
    WIDE(UPSTREAM_GOAWAYS, goaways),
    WIDE(UPSTREAM_DNS_FAILURES, dns_failures),
    NARROW(UPSTREAM_ENDPOINTS, endpoints),
    NARROW(UPSTREAM_ENDPOINTS_UP, endpoints_up),
    WIDE(BREAKER_REFUSED, breaker_refused),
    WIDE(EJECTIONS, ejections),
#undef WIDE
#undef NARROW
};

static void upstreams(struct tr_expo *e, const struct tr_stats *stats,
                      const struct tr_worker *workers)
{
    for (size_t m = 0; m < sizeof upstream_metrics / sizeof upstream_metrics[0]; m++) {
        for (uint32_t u = 0; u < stats->snap->upstream_count; u++) {
            struct tr_span label = stats->snap->upstreams[u].conf->name;
            uint64_t total = 0;
            for (uint32_t i = 0; i < stats->workers; i++) {
                const char *at = (const char *)tr_cluster_stats(workers[i].p.clusters[u]) +
                                 upstream_metrics[m].offset;
                total +=
                    upstream_metrics[m].wide
                        ? tr_count_load((const uint64_t *)(const void *)at)
                        : __atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_RELAXED);
            }
            tr_expo_u64(e, upstream_metrics[m].metric, &label, total);
        }
    }
}

static void health_checks(struct tr_expo *e, const struct tr_stats *stats,
                          const struct tr_worker *workers)
{
    for (uint32_t u = 0; u < stats->snap->upstream_count; u++) {
        const struct tr_upstream_conf *conf = stats->snap->upstreams[u].conf;
        uint64_t healthy = 0, unhealthy = 0;
        for (uint32_t i = 0; i < stats->workers && conf->health; i++) {
            const struct tr_cluster_stats *s = tr_cluster_stats(workers[i].p.clusters[u]);
            healthy += tr_count_load(&s->checks_healthy);
            unhealthy += tr_count_load(&s->checks_unhealthy);
        }
        if (!conf->health)
            continue;
        struct tr_span labels[2] = {conf->name, TR_SPAN("healthy")};
        tr_expo_u64(e, TR_METRIC_HEALTH_CHECKS, labels, healthy);
        labels[1] = TR_SPAN("unhealthy");
        tr_expo_u64(e, TR_METRIC_HEALTH_CHECKS, labels, unhealthy);
    }
}

/* What the workers of an upstream share; families of what is not configured have no samples. */
static void upstream_states(struct tr_expo *e, const struct tr_stats *stats)
{
    static const enum tr_metric metrics[] = {TR_METRIC_BREAKER_STATE, TR_METRIC_BREAKER_OPENED,
                                             TR_METRIC_ENDPOINTS_EJECTED,
                                             TR_METRIC_ENDPOINTS_UNHEALTHY};
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    uint64_t now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
    for (size_t m = 0; m < sizeof metrics / sizeof metrics[0]; m++) {
        for (uint32_t u = 0; u < stats->snap->upstream_count; u++) {
            const struct tr_upstream *up = &stats->snap->upstreams[u];
            struct tr_upstream_state st = tr_upstream_state(up, now);
            const uint64_t values[] = {st.breaker, st.breaker_opened, st.ejected, st.unhealthy};
            const bool on[] = {up->conf->breaker, up->conf->breaker, up->conf->outlier,
                               up->conf->health};
            if (on[m])
                tr_expo_u64(e, metrics[m], &up->conf->name, values[m]);
        }
    }
}

static void retries(struct tr_expo *e, const struct tr_snapshot *snap)
{
    for (uint32_t u = 0; u < snap->upstream_count; u++) {
        const struct tr_upstream *up = &snap->upstreams[u];
        for (int why = TR_RETRY_PLAIN + 1; why < TR_RETRY__COUNT; why++) {
            struct tr_span labels[] = {up->conf->name,
                                       tr_span_cstr(tr_retry_why_name((enum tr_retry_why)why))};
            tr_expo_u64(
                e, TR_METRIC_RETRIES_REFUSED, labels,
                atomic_load_explicit(&up->shared->retries.refused[why], memory_order_relaxed));
        }
    }
    for (uint32_t u = 0; u < snap->upstream_count; u++) {
        const struct tr_upstream *up = &snap->upstreams[u];
        tr_expo_u64(e, TR_METRIC_TRY_TIMEOUTS, &up->conf->name,
                    atomic_load_explicit(&up->shared->retries.try_timeouts, memory_order_relaxed));
    }
}

static uint64_t resident_bytes(void)
{
    unsigned long long rss = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    char line[128];
    if (fgets(line, sizeof line, f)) {
        char *end = NULL;
        (void)strtoull(line, &end, 10);
        rss = end ? strtoull(end, NULL, 10) : 0;
    }
    (void)fclose(f);

    return rss * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_fds(void)
{
    uint64_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    while (readdir(dir)) /* NOLINT(concurrency-mt-unsafe): a DIR of our own */
        n++;
    (void)closedir(dir);
    return n > 3 ? n - 3 : 0; /* ".", "..", and dir itself */
}

static void process(struct tr_expo *e, const struct tr_stats *stats,
                    const struct tr_worker *workers, bool ready)
{
    struct tr_span version = TR_SPAN(TR_VERSION);
    struct rusage use;
    struct rlimit files;
    uint64_t allocations = 0;
    for (uint32_t i = 0; i < stats->workers; i++) {
        const struct tr_alloc_stats *a =
            atomic_load_explicit(&workers[i].allocs, memory_order_acquire);
        allocations += a ? tr_count_load(&a->calls) : 0;
    }
    tr_expo_u64(e, TR_METRIC_HEAP_ALLOCATIONS, NULL, allocations);
    tr_expo_u64(e, TR_METRIC_BUILD_INFO, &version, 1);
    tr_expo_u64(e, TR_METRIC_WORKERS, NULL, stats->workers);
    tr_expo_u64(e, TR_METRIC_ROUTES, NULL, stats->snap->route_count);
    tr_expo_u64(e, TR_METRIC_READY, NULL, ready);
    tr_expo_double(e, TR_METRIC_START_TIME, NULL, stats->start_time);
    tr_expo_u64(e, TR_METRIC_RESIDENT_BYTES, NULL, resident_bytes());
    if (getrusage(RUSAGE_SELF, &use) == 0)
        tr_expo_double(e, TR_METRIC_CPU_SECONDS, NULL,
                       (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6);
    tr_expo_u64(e, TR_METRIC_OPEN_FDS, NULL, open_fds());
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        tr_expo_u64(e, TR_METRIC_MAX_FDS, NULL, files.rlim_cur);
}

enum tr_err tr_stats_render(struct tr_stats *stats, const struct tr_worker *workers,
                            const struct tr_listener_shared *shared, void **filters, bool ready,
                            struct tr_buf *out)
{
    struct tr_expo e;
    tr_expo_init(&e, out);
    tr_metrics_write(&e, (const struct tr_metrics *const *)stats->metrics, stats->workers,
                     stats->routes, stats->snap->route_count);
    tr_expo_u64(&e, TR_METRIC_DROPPED_HEADERS, NULL,
                sum(workers, stats->workers, offsetof(struct tr_worker, p.dropped_headers)));
    tr_expo_u64(&e, TR_METRIC_BAD_UTF8, NULL,
                sum(workers, stats->workers, offsetof(struct tr_worker, p.bad_utf8)));
    tr_expo_u64(&e, TR_METRIC_LATE_RESUMES, NULL,
                sum(workers, stats->workers, offsetof(struct tr_worker, p.late_resumes)));
    const struct tr_pworker **p = tr_calloc(stats->workers, sizeof *p);
    for (uint32_t i = 0; p && i < stats->workers; i++)
        p[i] = &workers[i].p;
    if (p)
        tr_filters_metrics(&e, stats->snap, filters, p, stats->workers);
    tr_free(p);
    listeners(&e, stats, workers, shared);
    upstreams(&e, stats, workers);
    upstream_states(&e, stats);
    health_checks(&e, stats, workers);
    retries(&e, stats->snap);
    process(&e, stats, workers, ready);
    return tr_expo_end(&e);
}
