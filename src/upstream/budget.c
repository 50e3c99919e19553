#include "upstream/budget.h"

#define TOKEN          1000000                               /* in millionths */
#define NS_A_MILLIONTH 1000u                                 /* of a token, at one token a second */
#define IDLE_NS        ((uint64_t)1000 * 1000 * 1000 * 1000) /* every bucket is full by then */

static int64_t bucket(const struct tr_budget_conf *conf)
{
    uint32_t tokens =
        conf->min_per_second > TR_BUDGET_TOKENS ? conf->min_per_second : TR_BUDGET_TOKENS;
    return (int64_t)tokens * TOKEN;
}

static int64_t start(const struct tr_budget_conf *conf)
{
    int64_t floor = (int64_t)conf->min_per_second * TR_BUDGET_START_SECONDS * TOKEN;
    return floor < bucket(conf) ? floor : bucket(conf);
}

/* A full bucket, which is how it is found when all is well, is only read: the line stays shared
 * between the cores. */
static void add(struct tr_budget *budget, const struct tr_budget_conf *conf, int64_t amount)
{
    int64_t least = start(conf) - bucket(conf);
    int64_t spent = atomic_load_explicit(&budget->spent, memory_order_relaxed), next;
    do {
        if (spent <= least)
            return;
        next = spent - amount < least ? least : spent - amount;
    } while (!atomic_compare_exchange_weak_explicit(&budget->spent, &spent, next,
                                                    memory_order_relaxed, memory_order_relaxed));
}

/* Each stretch of time is credited by one thread, the one that moves until_ns over it. */
static void add_time(struct tr_budget *budget, const struct tr_budget_conf *conf, uint64_t now_ns)
{
    uint64_t until = atomic_load_explicit(&budget->until_ns, memory_order_relaxed), next = now_ns;
    uint64_t amount = 0, rate = conf->min_per_second;
    if (rate == 0 || (until && now_ns <= until))
        return;
    if (until && now_ns - until < IDLE_NS) {
        amount = (now_ns - until) * rate / NS_A_MILLIONTH;
        if (amount == 0)
            return;
        next = until + (amount * NS_A_MILLIONTH + rate - 1) / rate; /* the rest counts later */
    } else if (until) {
        amount = (uint64_t)bucket(conf);
    }
    if (atomic_compare_exchange_strong_explicit(&budget->until_ns, &until, next,
                                                memory_order_relaxed, memory_order_relaxed) &&
        amount)
        add(budget, conf, (int64_t)amount);
}

void tr_budget_earn(struct tr_budget *budget, const struct tr_budget_conf *conf)
{
    add(budget, conf, (int64_t)conf->percent * (TOKEN / 100));
}

bool tr_budget_take(struct tr_budget *budget, const struct tr_budget_conf *conf, uint64_t now_ns)
{
    add_time(budget, conf, now_ns);
    int64_t spent = atomic_load_explicit(&budget->spent, memory_order_relaxed);
    do {
        if (spent + TOKEN > start(conf))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&budget->spent, &spent, spent + TOKEN,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}
