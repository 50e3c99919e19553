/* The event loop of one thread: timers, end-of-turn work, wake-ups from other threads.
 *
 * Vocabulary: a *turn* is one round of the loop: due timers, then ready sockets, then the *tasks*
 * deferred to the end of the turn (tasks deferred by timers run before the loop sleeps). Everything
 * of a loop belongs to the thread that runs it; only tr_mailbox_post may be called from other
 * threads. Built on libuv, which no other layer sees. */
#ifndef TR_IO_LOOP_H
#define TR_IO_LOOP_H

#include "base/list.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct tr_loop;

enum tr_err tr_loop_new(struct tr_loop **ret_loop) TR_MUST_USE;
/* Everything on it must be closed; runs the loop until libuv has let go of all handles, then frees.
 * NULL is accepted. */
void tr_loop_free(struct tr_loop *loop);
/* Runs until tr_loop_stop. */
void tr_loop_run(struct tr_loop *loop);
/* One turn that waits at most until the next timer when `wait` (and not at all when timers or tasks
 * had something to do), else not at all; for tests. */
void tr_loop_turn(struct tr_loop *loop, bool wait);
void tr_loop_stop(struct tr_loop *loop);

/* Monotonic nanoseconds, read once per turn (cheap). */
uint64_t tr_loop_now_ns(const struct tr_loop *loop);
/* The same clock read now: later than the turn's time while a turn has much to do, and the same for
 * all workers. For what must be exact between them. */
uint64_t tr_loop_clock_ns(const struct tr_loop *loop);
/* Unix time in seconds, refreshed with the turn; for Date headers. */
int64_t tr_loop_unix_s(const struct tr_loop *loop);

/* A timer is embedded in its owner. Zeroed and tr_timer_init'ed before use; starting allocates
 * nothing (timers live in the loop's own heap of intrusive nodes, so that starting and stopping one
 * costs tens of ns). */
struct tr_timer {
    void (*fn)(struct tr_timer *timer);
    struct tr_loop *loop;
    uint64_t due_ns;
    uint32_t slot; /* place in the heap + 1; 0 = not running */
};
void tr_timer_init(struct tr_timer *timer, struct tr_loop *loop, void (*fn)(struct tr_timer *));
/* Fires once, not before `delay_ns` from now; restarts a running timer. TR_ERR_NOMEM only when the
 * heap must grow. */
enum tr_err tr_timer_start(struct tr_timer *timer, uint64_t delay_ns);
void tr_timer_stop(struct tr_timer *timer);
static inline bool tr_timer_running(const struct tr_timer *timer)
{
    return timer->slot != 0;
}

/* A task runs once at the end of the turn; queueing a queued task does nothing. Tasks queued by
 * tasks run in the same end of turn. Embedded in its owner; must be removed before the owner goes.
 */
struct tr_task {
    struct tr_list node; /* self-linked when not queued */
    void (*fn)(struct tr_task *task);
};
void tr_task_init(struct tr_task *task, void (*fn)(struct tr_task *));
void tr_loop_defer(struct tr_loop *loop, struct tr_task *task);
/* Queues a task for the sockets' part of the next round (or of this one, when called before it).
 * Unlike tr_loop_defer, a task that queues itself again lets everybody else run first. */
void tr_loop_next_turn(struct tr_loop *loop, struct tr_task *task);
static inline void tr_task_cancel(struct tr_task *task)
{
    tr_list_remove(&task->node);
}

/* Messages from other threads, in order of posting; the receiver runs fn on its loop. The sender
 * owns a message until it is posted, the receiver after. */
struct tr_mail {
    struct tr_mail *next;
    void (*fn)(struct tr_mail *mail, void *ctx);
};
struct tr_mailbox;
enum tr_err tr_mailbox_new(struct tr_loop *loop, void *ctx,
                           struct tr_mailbox **ret_box) TR_MUST_USE;
/* On the loop's thread, when no other thread can be inside tr_mailbox_post any more. Delivers what
 * waits. */
void tr_mailbox_free(struct tr_mailbox *box);
void tr_mailbox_post(struct tr_mailbox *box, struct tr_mail *mail); /* any thread */

/* Signals, on one loop of the process. fn runs on the loop. At most 8. */
enum tr_err tr_loop_on_signal(struct tr_loop *loop, int signum, void (*fn)(int signum, void *ctx),
                              void *ctx);

/* Event-loop lag: how late the last turn began against the earliest due timer, in ns (0 when on
 * time). */
uint64_t tr_loop_lag_ns(const struct tr_loop *loop);

#endif
