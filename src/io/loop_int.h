/* What the files of this folder know of a loop. No other layer includes this. */
#ifndef TR_IO_LOOP_INT_H
#define TR_IO_LOOP_INT_H

#include "io/loop.h"

#include <uv.h>

#define TR_LOOP_SIGNALS_MAX 8

struct tr_timer_slot {
    uint64_t due_ns; /* beside the pointer, so that sifting touches the array alone */
    struct tr_timer *timer;
};

struct tr_timer_heap {
    struct tr_timer_slot *slots;
    uint32_t count, cap;
};

struct tr_loop {
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t wake;   /* bounds the sleep; our timers run in prepare */
    uv_async_t alive;  /* keeps uv_run going while nothing else is open */
    uint64_t armed_ns; /* what wake is set for; UINT64_MAX = not running */

    uint64_t now_ns;
    int64_t unix_s;
    uint64_t lag_ns;
    bool in_turn; /* inside uv_run: now_ns is of this turn */
    bool single;  /* inside tr_loop_turn */
    bool stale;   /* the loop slept since now_ns was read */

    struct tr_timer_heap timers;
    struct tr_list tasks; /* tr_task.node: end of this turn */
    struct tr_list
        next; /* tr_task.node: beside the sockets of the next round, without sleeping before */
    struct tr_list round;   /* those of next that this round still has to run */
    struct tr_list changes; /* tr_watch.change: the wanted mask differs from the kernel's */
    struct tr_list linger;  /* streams that are closed but still flush a TLS record */

    struct tr_list pool; /* stream objects kept for reuse */
    uint32_t pool_count;

    uint32_t signal_count;
    struct tr_loop_signal *signals[TR_LOOP_SIGNALS_MAX];
};

/* Every callback that libuv makes after its sleep begins with this: the turn's time is read once.
 */
void tr_loop_refresh(struct tr_loop *loop);
static inline void tr_loop_enter(struct tr_loop *loop)
{
    if (loop->stale)
        tr_loop_refresh(loop);
}

/* Runs all timers that are due at now_ns, true when there were any; those started meanwhile wait
 * for the next turn. */
bool tr_timers_run(struct tr_loop *loop);

#endif
