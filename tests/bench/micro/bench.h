/* Timing of micro-benchmarks: the best of several rounds, since whatever else runs can only make a
 * round slower. Nothing is asserted about time. */
#ifndef TR_TESTS_BENCH_H
#define TR_TESTS_BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static inline double tr_bench_now_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

typedef void tr_bench_fn(void *arg);

/* ns that one call of fn takes. */
static inline double tr_bench_run(tr_bench_fn *fn, void *arg)
{
    size_t n = 1;
    double best = 1e300;
    for (;;) { /* enough calls for 2 ms */
        double t = tr_bench_now_ns();
        for (size_t i = 0; i < n; i++)
            fn(arg);
        if (tr_bench_now_ns() - t > 2e6)
            break;
        n *= 2;
    }
    for (int round = 0; round < 25; round++) {
        double t = tr_bench_now_ns();
        for (size_t i = 0; i < n; i++)
            fn(arg);
        t = (tr_bench_now_ns() - t) / (double)n;
        best = t < best ? t : best;
    }
    return best;
}

static inline void tr_bench_print_bytes(const char *name, double ns, size_t bytes, size_t items,
                                        const char *item)
{
    printf("%-28s %10.0f ns  %8zu B  %6.2f GB/s", name, ns, bytes, (double)bytes / ns);
    if (items)
        printf("  %6.2f ns/%s", ns / (double)items, item);
    printf("\n");
}

#endif
