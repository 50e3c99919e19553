/* The heap, counted. Own code allocates through these only (nghttp2, OpenSSL and libuv have their
 * own ways).
 *
 * Each thread counts its calls, so that a test can assert that a request made none, and can make
 * the n-th next allocation of this thread fail, so that a test can walk every failure. */
#ifndef TR_BASE_ALLOC_H
#define TR_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

struct tr_alloc_stats {
    uint64_t calls; /* allocations and reallocations, this thread, since start */
    uint64_t frees;
};

/* NULL when out of memory (or told to fail). Sizes of 0 give a unique pointer. */
void *tr_malloc(size_t size);
void *tr_calloc(size_t count, size_t size);
/* On failure the old block is untouched and NULL is returned. */
void *tr_realloc(void *ptr, size_t size);
void tr_free(void *ptr);

struct tr_alloc_stats tr_alloc_stats(void);
/* The counters themselves, for a reader on another thread (relaxed loads); valid while this thread
 * lives. */
const struct tr_alloc_stats *tr_alloc_stats_place(void);

/* The n-th next allocation of this thread (1 = the next) and all after it fail until 0 is set.
 * Tests only. */
void tr_alloc_fail_after(uint64_t n);

#endif
