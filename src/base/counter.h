/* Counters that one thread writes and any thread reads.
 *
 * Contract: only the owner calls tr_count and tr_count_add; a plain load and store are enough for
 * it, because nobody else writes. Both are relaxed atomics, so that the reader of metrics on
 * another thread sees whole values and no data race. */
#ifndef TR_BASE_COUNTER_H
#define TR_BASE_COUNTER_H

#include <stdint.h>

/* NOLINTNEXTLINE(readability-non-const-parameter): the builtin writes it */
static inline void tr_count_add(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* For readers on other threads. */
static inline uint64_t tr_count_load(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static inline void tr_count(uint64_t *counter)
{
    tr_count_add(counter, 1);
}

#endif
