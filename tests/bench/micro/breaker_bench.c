/* What resilience costs a call that succeeds: the breaker's admission and outcome, the outcome for
 * outlier detection, and the choice of an endpoint. Prints only. */
#include "base/assert.h"
#include "bench.h"
#include "upstream/upstream_int.h"

#include <pthread.h>

#define SEC  ((uint64_t)1000000000)
#define MANY 20

static const struct tr_breaker_conf breaker_conf = {.failure_ratio = 500000,
                                                    .minimum_requests = 20,
                                                    .window_ns = 10 * SEC,
                                                    .open_for_ns = 5 * SEC,
                                                    .probes = 3};
static const struct tr_outlier_conf outlier_conf = {5, 30 * SEC, 50};

static struct tr_breaker breaker;
static struct tr_outlier outlier;
static _Atomic uint32_t ejected;
static uint64_t now = 1000 * SEC, random_state = 1;
static struct tr_endpoint_conf confs[MANY];
static struct tr_uendpoint endpoints[MANY];
static struct tr_uendpoint *live[MANY];

struct choice {
    struct tr_pick pick;
    uint32_t count;
};

static void admit_and_report(void *arg)
{
    uint32_t ticket;
    (void)arg;
    now += 1000;
    if (tr_breaker_admit(&breaker, &breaker_conf, now, &ticket))
        (void)tr_breaker_report(&breaker, &breaker_conf, ticket, false, now, 0);
}

static void refuse(void *arg)
{
    uint32_t ticket;
    (void)tr_breaker_admit(arg, &breaker_conf, now, &ticket);
}

static void outcome(void *arg)
{
    (void)arg;
    (void)tr_outlier_report(&outlier, &outlier_conf, &ejected, 3, false, now);
}

static void choose(void *arg)
{
    struct choice *c = arg;
    c->pick.hash = c->pick.hash * 6364136223846793005u + 1442695040888963407u;
    (void)tr_balance_pick(&c->pick, live, c->count, &random_state);
}

#define SHARED_CALLS 5000000

static void *shared(void *arg)
{
    uint64_t at = 2000 * SEC;
    (void)arg;
    for (int i = 0; i < SHARED_CALLS; i++, at += 1000) {
        uint32_t ticket;
        if (tr_breaker_admit(&breaker, &breaker_conf, at, &ticket))
            (void)tr_breaker_report(&breaker, &breaker_conf, ticket, false, at, 0);
    }
    return NULL;
}

/* Two threads that do nothing else: as bad as it gets. */
static double two_threads(void)
{
    pthread_t other;
    double from = tr_bench_now_ns();
    TR_ASSERT(pthread_create(&other, NULL, shared, NULL) == 0);
    (void)shared(NULL);
    TR_ASSERT(pthread_join(other, NULL) == 0);
    return (tr_bench_now_ns() - from) / SHARED_CALLS;
}

int main(void)
{
    static const char *const names[] = {"least_request", "round_robin", "ring_hash"};
    static const uint32_t counts[] = {1, 3, MANY};
    struct tr_ring_node nodes[MANY];
    struct tr_breaker open = {0};
    uint32_t ticket;
    for (uint32_t i = 0; i < MANY; i++) {
        confs[i].weight = 1;
        endpoints[i] = (struct tr_uendpoint){.conf = &confs[i], .state = TR_ENDPOINT_UP};
        live[i] = &endpoints[i];
        nodes[i] = (struct tr_ring_node){i + 1, 1};
    }
    for (int i = 0; i < 20 && tr_breaker_admit(&open, &breaker_conf, now, &ticket); i++)
        (void)tr_breaker_report(&open, &breaker_conf, ticket, true, now, 0);
    printf("%-28s %6.1f ns\n", "breaker: admit and report", tr_bench_run(admit_and_report, NULL));
    printf("%-28s %6.1f ns\n", "breaker: two threads at once", two_threads());
    printf("%-28s %6.1f ns\n", "breaker: refuse", tr_bench_run(refuse, &open));
    printf("%-28s %6.1f ns\n", "outlier: success", tr_bench_run(outcome, NULL));
    for (int how = 0; how < 3; how++) {
        for (int n = 0; n < 3; n++) {
            struct tr_ring *ring = NULL;
            TR_ASSERT(tr_ring_new(nodes, counts[n], &ring) == TR_OK);
            struct choice c = {{.how = (enum tr_balance)how, .ring = ring, .hashed = true},
                               counts[n]};
            printf("%-14s of %-10u %7.1f ns\n", names[how], counts[n], tr_bench_run(choose, &c));
            tr_ring_free(ring);
        }
    }
    return 0;
}
