#include "io/loop.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "io/loop_int.h"
#include "io/stream_int.h"
#include "io/watch.h"

#include <time.h>

#define NS_PER_MS UINT64_C(1000000)

struct tr_loop_signal {
    uv_signal_t handle;
    void (*fn)(int signum, void *ctx);
    void *ctx;
};

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;
    int rc = clock_gettime(id, &ts);
    TR_ASSERT(rc == 0);
    return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

uint64_t tr_loop_clock_ns(const struct tr_loop *loop)
{
    (void)loop;
    return clock_ns(CLOCK_MONOTONIC);
}

void tr_loop_refresh(struct tr_loop *loop)
{
    struct timespec ts;
    loop->stale = false;
    loop->now_ns = clock_ns(CLOCK_MONOTONIC);
    if (clock_gettime(CLOCK_REALTIME_COARSE, &ts) == 0)
        loop->unix_s = ts.tv_sec;
}

static bool run_tasks(struct tr_loop *loop)
{
    struct tr_list *node;
    bool any = !tr_list_empty(&loop->tasks);
    while ((node = tr_list_pop_front(&loop->tasks)) != NULL) {
        struct tr_task *task = tr_container_of(node, struct tr_task, node);
        task->fn(task);
    }
    return any;
}

static void run_next(struct tr_loop *loop)
{
    /* what is queued from here on waits for the next round; a task may cancel one that is still in
     * this list */
    struct tr_list *node;
    if (tr_list_empty(&loop->next))
        return;
    tr_list_insert_before(&loop->next, &loop->round);
    tr_list_remove(&loop->next);
    while ((node = tr_list_pop_front(&loop->round)) != NULL) {
        struct tr_task *task = tr_container_of(node, struct tr_task, node);
        task->fn(task);
    }
}

static void on_wake(uv_timer_t *timer)
{
    struct tr_loop *loop = timer->data;
    loop->armed_ns = UINT64_MAX; /* prepare, which follows, runs what is due */
}

/* Sets the length of the sleep. libuv counts in milliseconds, from now: rounded up, so that no turn
 * is spent in vain. When the loop wakes sooner, libuv may find its timer due a part of a
 * millisecond early: then this sets it again. */
static void arm(struct tr_loop *loop, bool no_sleep)
{
    uint64_t due = UINT64_MAX;
    if (no_sleep || !tr_list_empty(&loop->next))
        due = 0;
    else if (loop->timers.count)
        due = loop->timers.slots[0].due_ns;
    if (due == loop->armed_ns)
        return;
    if (due == UINT64_MAX) {
        (void)uv_timer_stop(&loop->wake);
    } else {
        uint64_t left = due > loop->now_ns ? due - loop->now_ns : 0;
        (void)uv_timer_start(&loop->wake, on_wake, left / NS_PER_MS + (left % NS_PER_MS != 0), 0);
    }
    loop->armed_ns = due;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct tr_loop *loop = prepare->data;
    tr_loop_refresh(loop);
    uint64_t due = loop->timers.count ? loop->timers.slots[0].due_ns : UINT64_MAX;
    loop->lag_ns = loop->now_ns > due ? loop->now_ns - due : 0;
    bool busy = tr_timers_run(loop);
    busy = run_tasks(loop) || busy;
    tr_watch_apply(loop);
    arm(loop,
        busy && loop->single); /* a single turn that has done something does not wait for more */
    loop->stale = true;
}

static void on_check(uv_check_t *check)
{
    struct tr_loop *loop = check->data;
    tr_loop_enter(loop);
    run_next(loop);
    (void)run_tasks(loop);
}

static void on_alive(uv_async_t *async)
{
    (void)async;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

enum tr_err tr_loop_new(struct tr_loop **ret_loop)
{
    struct tr_loop *loop = tr_calloc(1, sizeof *loop);
    if (!loop)
        return TR_ERR_NOMEM;
    if (uv_loop_init(&loop->uv) != 0) {
        tr_free(loop);
        return TR_ERR_IO;
    }
    loop->armed_ns = UINT64_MAX;
    tr_list_init(&loop->tasks);
    tr_list_init(&loop->next);
    tr_list_init(&loop->round);
    tr_list_init(&loop->changes);
    tr_list_init(&loop->linger);
    tr_list_init(&loop->pool);
    tr_loop_refresh(loop);
    loop->prepare.data = loop->check.data = loop->wake.data = loop;
    if (uv_prepare_init(&loop->uv, &loop->prepare) ||
        uv_prepare_start(&loop->prepare, on_prepare) || uv_check_init(&loop->uv, &loop->check) ||
        uv_check_start(&loop->check, on_check) || uv_timer_init(&loop->uv, &loop->wake) ||
        uv_async_init(&loop->uv, &loop->alive, on_alive)) {
        tr_loop_free(loop);
        return TR_ERR_IO;
    }
    *ret_loop = loop;
    return TR_OK;
}

void tr_loop_free(struct tr_loop *loop)
{
    if (!loop)
        return;
    tr_stream_end_lingering(loop);
    run_next(loop); /* closed streams that are freed with the next round */
    /* whose memory is the loop's own; streams and listeners have closed theirs */
    uv_handle_t *own[] = {(uv_handle_t *)&loop->prepare, (uv_handle_t *)&loop->check,
                          (uv_handle_t *)&loop->wake, (uv_handle_t *)&loop->alive};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (uv_handle_get_loop(own[i]))
            close_handle(own[i], NULL);
    for (uint32_t i = 0; i < loop->signal_count; i++)
        close_handle((uv_handle_t *)&loop->signals[i]->handle, NULL);
    int rc = UV_EBUSY; /* closing takes a round, signals may need a second one */
    for (int round = 0; round < 8 && rc != 0; round++) {
        (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
        rc = uv_loop_close(&loop->uv);
    }
    TR_ASSERT(rc == 0); /* something on the loop was not closed by its owner */
    for (uint32_t i = 0; i < loop->signal_count; i++)
        tr_free(loop->signals[i]);
    tr_stream_pool_drop(loop);
    tr_free(loop->timers.slots);
    tr_free(loop);
}

void tr_loop_run(struct tr_loop *loop)
{
    loop->in_turn = true;
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    loop->in_turn = false;
}

void tr_loop_turn(struct tr_loop *loop, bool wait)
{
    loop->in_turn = loop->single = true;
    (void)uv_run(&loop->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    if (wait) { /* what it waited for */
        tr_loop_refresh(loop);
        (void)tr_timers_run(loop);
        (void)run_tasks(loop);
    }
    loop->in_turn = loop->single = false;
}

void tr_loop_stop(struct tr_loop *loop)
{
    uv_stop(&loop->uv);
}

uint64_t tr_loop_now_ns(const struct tr_loop *loop)
{
    return loop->in_turn ? loop->now_ns : clock_ns(CLOCK_MONOTONIC);
}

int64_t tr_loop_unix_s(const struct tr_loop *loop)
{
    return loop->unix_s;
}

uint64_t tr_loop_lag_ns(const struct tr_loop *loop)
{
    return loop->lag_ns;
}

void tr_task_init(struct tr_task *task, void (*fn)(struct tr_task *))
{
    tr_list_init(&task->node);
    task->fn = fn;
}

void tr_loop_defer(struct tr_loop *loop, struct tr_task *task)
{
    if (tr_list_empty(&task->node))
        tr_list_push_back(&loop->tasks, &task->node);
}

void tr_loop_next_turn(struct tr_loop *loop, struct tr_task *task)
{
    if (tr_list_empty(&task->node))
        tr_list_push_back(&loop->next, &task->node);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct tr_loop_signal *sig = handle->data;
    tr_loop_enter(tr_container_of(handle->loop, struct tr_loop, uv));
    sig->fn(signum, sig->ctx);
}

enum tr_err tr_loop_on_signal(struct tr_loop *loop, int signum, void (*fn)(int signum, void *ctx),
                              void *ctx)
{
    if (loop->signal_count == TR_LOOP_SIGNALS_MAX)
        return TR_ERR_IO;
    struct tr_loop_signal *sig = tr_calloc(1, sizeof *sig);
    if (!sig)
        return TR_ERR_NOMEM;
    sig->fn = fn;
    sig->ctx = ctx;
    if (uv_signal_init(&loop->uv, &sig->handle) != 0) {
        tr_free(sig);
        return TR_ERR_IO;
    }
    sig->handle.data = sig;
    loop->signals[loop->signal_count++] = sig; /* the loop's now, whether it starts or not */
    return uv_signal_start(&sig->handle, on_signal, signum) == 0 ? TR_OK : TR_ERR_IO;
}
