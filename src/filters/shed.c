/* Load shedding: while a worker's loop lags, or the process is too large, requests are refused
 * before anything is done for them.
 *
 * A timer of each worker samples how late it fires; the control thread reads the process's memory.
 * A request looks at a flag and a share. */
#include "base/alloc.h"
#include "base/counter.h"
#include "filters/registry.h"
#include "filters/shed_level.h"
#include "io/loop.h"
#include "obs/expo.h"
#include "pipeline/exchange.h"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#define RETRY_AFTER_NS     UINT64_C(1000000000)
#define MEMORY_INTERVAL_NS ((uint64_t)100000000)
#define TRIM_EVERY         10 /* readings above the bound */

struct memory { /* of the control thread */
    struct tr_timer timer;
    struct tr_shed_level level;
    uint64_t bound, page_bytes;
    uint32_t readings_over;
    int fd;
    _Atomic bool over; /* the workers' view */
};

struct lag { /* of a worker */
    struct tr_timer timer;
    struct tr_loop *loop;
    const struct memory *memory;
    struct tr_shed_level level;
    uint64_t bound, interval;
    uint64_t due_ns; /* of the running timer; 0: the first, which began before the thread */
    uint64_t lag_ns; /* for metrics */
    uint64_t shed_lag, shed_memory;
};

/* ---- requests -------------------------------------------------------------------------------- */

static enum tr_verdict on_request(struct tr_exchange *x, void *state)
{
    struct lag *lag = tr_filter_worker(x, TR_FILTER_SHED);
    (void)state;
    if (!lag)
        return TR_CONTINUE;
    bool memory = atomic_load_explicit(&lag->memory->over, memory_order_relaxed);
    if (!memory && (lag->level.share == 0 || !tr_shed_refuses(&lag->level)))
        return TR_CONTINUE;
    tr_count(memory ? &lag->shed_memory : &lag->shed_lag);
    tr_exchange_retry_after(x, RETRY_AFTER_NS);
    (void)tr_fail(tr_exchange_status(x), TR_ERR_OVERLOADED, "%s",
                  tr_err_info(TR_ERR_OVERLOADED)->text.ptr);
    return TR_FAIL;
}

/* ---- lag ------------------------------------------------------------------------------------- */

static void next_sample(struct lag *lag)
{
    lag->due_ns = tr_loop_now_ns(lag->loop) + lag->interval;
    (void)tr_timer_start(&lag->timer, lag->interval); /* its place in the heap is there */
}

static void on_lag_timer(struct tr_timer *timer)
{
    struct lag *lag = tr_container_of(timer, struct lag, timer);
    uint64_t now = tr_loop_now_ns(lag->loop);
    if (lag->due_ns) {
        tr_shed_lag(&lag->level, now > lag->due_ns ? now - lag->due_ns : 0, lag->bound);
        __atomic_store_n(&lag->lag_ns, lag->level.value, __ATOMIC_RELAXED);
    }
    next_sample(lag);
}

static enum tr_err worker_start(struct tr_pworker *w, void *conf, void *control, void **ret_worker)
{
    (void)conf;
    if (!control) /* tests without a control thread */
        return TR_OK;
    struct lag *lag = tr_calloc(1, sizeof *lag);
    *ret_worker = lag;
    if (!lag)
        return TR_ERR_NOMEM;
    lag->loop = w->h->loop;
    lag->memory = control;
    lag->bound = w->snap->config.load_shedding.max_lag;
    lag->interval = tr_shed_lag_interval(lag->bound);
    tr_timer_init(&lag->timer, lag->loop, on_lag_timer);
    return tr_timer_start(&lag->timer, lag->interval);
}

static void worker_stop(void *worker)
{
    struct lag *lag = worker;
    tr_timer_stop(&lag->timer);
    tr_free(lag);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void on_memory_timer(struct tr_timer *timer)
{
    struct memory *m = tr_container_of(timer, struct memory, timer);
    char line[128];
    ssize_t n = pread(m->fd, line, sizeof line, 0);
    if (n > 0)
        tr_shed_memory(&m->level, tr_shed_statm_pages(line, (uint32_t)n) * m->page_bytes, m->bound);
    atomic_store_explicit(&m->over, m->level.over, memory_order_relaxed);
    /* what is free in the heap must not keep requests out */
    if (!m->level.over)
        m->readings_over = 0;
    else if (m->readings_over++ % TRIM_EVERY == 0)
        (void)malloc_trim(0);
    (void)tr_timer_start(&m->timer, MEMORY_INTERVAL_NS);
}

static enum tr_err control_start(const struct tr_control *control, const struct tr_snapshot *snap,
                                 void *conf, void **ret_control, struct tr_status *st)
{
    struct memory *m = tr_calloc(1, sizeof *m);
    (void)conf;
    *ret_control = m;
    if (!m)
        return TR_ERR_NOMEM;
    m->fd = -1;
    m->bound = snap->config.load_shedding.max_memory;
    m->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    tr_timer_init(&m->timer, control->loop, on_memory_timer);
    if (m->bound == 0)
        return TR_OK;
    m->fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (m->fd < 0)
        return tr_fail(st, TR_ERR_IO, "load_shedding.max_memory: /proc/self/statm cannot be read");
    on_memory_timer(&m->timer); /* known before the first request */
    return TR_OK;
}

static void control_stop(void *control)
{
    struct memory *m = control;
    tr_timer_stop(&m->timer);
    if (m->fd >= 0)
        (void)close(m->fd);
    tr_free(m);
}

/* ---- metrics --------------------------------------------------------------------------------- */

static void metrics(struct tr_expo *e, const struct tr_snapshot *snap, void *conf, void *control,
                    void *const *workers, uint32_t count)
{
    struct tr_span by_lag = TR_SPAN("lag"), by_memory = TR_SPAN("memory");
    uint64_t lag = 0, shed_lag = 0, shed_memory = 0;
    (void)snap;
    (void)conf;
    (void)control;
    for (uint32_t i = 0; i < count; i++) {
        const struct lag *l = workers[i];
        uint64_t one = l ? tr_count_load(&l->lag_ns) : 0;
        lag = one > lag ? one : lag;
        shed_lag += l ? tr_count_load(&l->shed_lag) : 0;
        shed_memory += l ? tr_count_load(&l->shed_memory) : 0;
    }
    tr_expo_u64(e, TR_METRIC_SHED, &by_lag, shed_lag);
    tr_expo_u64(e, TR_METRIC_SHED, &by_memory, shed_memory);
    tr_expo_double(e, TR_METRIC_LOOP_LAG, NULL, (double)lag / 1e9);
}

const struct tr_filter tr_filter_shed = {
    .name = "load_shedding",
    .phase = TR_PHASE_GUARD,
    .on_request = on_request,
    .control_start = control_start,
    .control_stop = control_stop,
    .worker_start = worker_start,
    .worker_stop = worker_stop,
    .metrics = metrics,
};
