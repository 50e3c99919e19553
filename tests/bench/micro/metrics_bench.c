/* Time of counting one request: tr_metrics_begin and tr_metrics_end, over sixteen routes. Prints
 * only. */
#include "base/assert.h"
#include "obs/metrics.h"

#include <stdio.h>
#include <time.h>

#define TIMES 10000000u

int main(void)
{
    struct tr_metrics *m = NULL;
    struct tr_metrics_end end = {.http_status = 200,
                                 .version = 20,
                                 .bytes_in = 300,
                                 .bytes_out = 2000,
                                 .upstream_ns = 900000};
    TR_ASSERT(tr_metrics_new(100, &m) == TR_OK);
    for (int round = 0; round < 3; round++) {
        struct timespec from, to;
        (void)clock_gettime(CLOCK_MONOTONIC, &from);
        for (uint32_t i = 0; i < TIMES; i++) {
            end.route = i % 16;
            end.duration_ns = 1000000 + (i & 0xfffff);
            tr_metrics_begin(m, end.route);
            tr_metrics_end(m, &end);
        }
        (void)clock_gettime(CLOCK_MONOTONIC, &to);
        double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
        printf("a request: %.1f ns\n", ns / TIMES);
    }
    tr_metrics_free(m);
    return 0;
}
