#include "base/alloc.h"
#include "base/assert.h"
#include "io/loop_int.h"

/* A 4-ary heap: half the levels of a binary one, and the four children share a cache line. */
#define ARITY 4u

static void place(struct tr_timer_heap *heap, uint32_t i, struct tr_timer_slot slot)
{
    heap->slots[i] = slot;
    slot.timer->slot = i + 1;
}

static void sift_up(struct tr_timer_heap *heap, uint32_t i, struct tr_timer_slot slot)
{
    while (i > 0) {
        uint32_t parent = (i - 1) / ARITY;
        if (heap->slots[parent].due_ns <= slot.due_ns)
            break;
        place(heap, i, heap->slots[parent]);
        i = parent;
    }
    place(heap, i, slot);
}

static void sift_down(struct tr_timer_heap *heap, uint32_t i, struct tr_timer_slot slot)
{
    for (;;) {
        uint32_t first = i * ARITY + 1, least = i;
        uint64_t due = slot.due_ns;
        for (uint32_t c = first; c < first + ARITY && c < heap->count; c++) {
            if (heap->slots[c].due_ns < due) {
                due = heap->slots[c].due_ns;
                least = c;
            }
        }
        if (least == i)
            break;
        place(heap, i, heap->slots[least]);
        i = least;
    }
    place(heap, i, slot);
}

static void move(struct tr_timer_heap *heap, uint32_t i, struct tr_timer_slot slot)
{
    if (i > 0 && slot.due_ns < heap->slots[(i - 1) / ARITY].due_ns)
        sift_up(heap, i, slot);
    else
        sift_down(heap, i, slot);
}

static enum tr_err grow(struct tr_timer_heap *heap)
{
    uint32_t cap = heap->cap ? heap->cap * 2 : 64;
    if (cap < heap->cap)
        return TR_ERR_NOMEM;
    struct tr_timer_slot *slots = tr_realloc(heap->slots, cap * sizeof *slots);
    if (!slots)
        return TR_ERR_NOMEM;
    heap->slots = slots;
    heap->cap = cap;
    return TR_OK;
}

void tr_timer_init(struct tr_timer *timer, struct tr_loop *loop, void (*fn)(struct tr_timer *))
{
    *timer = (struct tr_timer){fn, loop, 0, 0};
}

enum tr_err tr_timer_start(struct tr_timer *timer, uint64_t delay_ns)
{
    struct tr_timer_heap *heap = &timer->loop->timers;
    uint64_t now = tr_loop_now_ns(timer->loop);
    /* at least 1 ns: a timer that starts itself with 0 runs once a turn */
    uint64_t due = now + (delay_ns ? delay_ns : 1);
    if (due < now)
        due = UINT64_MAX;
    if (!timer->slot && heap->count == heap->cap) {
        enum tr_err err = grow(heap);
        if (err)
            return err;
    }
    timer->due_ns = due;
    struct tr_timer_slot slot = {due, timer};
    if (timer->slot)
        move(heap, timer->slot - 1, slot);
    else
        sift_up(heap, heap->count++, slot);
    return TR_OK;
}

void tr_timer_stop(struct tr_timer *timer)
{
    if (!timer->slot)
        return;
    struct tr_timer_heap *heap = &timer->loop->timers;
    uint32_t i = timer->slot - 1;
    TR_DCHECK(i < heap->count && heap->slots[i].timer == timer);
    timer->slot = 0;
    struct tr_timer_slot last = heap->slots[--heap->count];
    if (i < heap->count)
        move(heap, i, last);
}

bool tr_timers_run(struct tr_loop *loop)
{
    struct tr_timer_heap *heap = &loop->timers;
    bool any = false;
    while (heap->count && heap->slots[0].due_ns <= loop->now_ns) {
        struct tr_timer *timer = heap->slots[0].timer;
        tr_timer_stop(timer);
        timer->fn(timer);
        any = true;
    }
    return any;
}
