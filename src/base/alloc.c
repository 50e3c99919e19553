#include "base/alloc.h"

#include "base/counter.h"

#include <stdlib.h>

static _Thread_local struct tr_alloc_stats stats;
static _Thread_local uint64_t
    fail_at; /* value of stats.calls from which allocations fail; 0 = never */

static int must_fail(void)
{
    tr_count(&stats.calls);
    return fail_at != 0 && stats.calls >= fail_at;
}

void *tr_malloc(size_t size)
{
    return must_fail() ? NULL : malloc(size ? size : 1);
}

void *tr_calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : calloc(count ? count : 1, size ? size : 1);
}

void *tr_realloc(void *ptr, size_t size)
{
    return must_fail() ? NULL : realloc(ptr, size ? size : 1);
}

void tr_free(void *ptr)
{
    if (ptr)
        tr_count(&stats.frees);
    free(ptr);
}

struct tr_alloc_stats tr_alloc_stats(void)
{
    return stats;
}

const struct tr_alloc_stats *tr_alloc_stats_place(void)
{
    return &stats;
}

void tr_alloc_fail_after(uint64_t n)
{
    fail_at = n ? stats.calls + n : 0;
}
