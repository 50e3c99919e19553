#include "upstream/outlier.h"

uint32_t tr_outlier_places(const struct tr_outlier_conf *conf, uint32_t count)
{
    if (count < 2 || conf->max_ejected_percent == 0)
        return 0;
    uint32_t places = (uint32_t)((uint64_t)count * conf->max_ejected_percent / 100);
    return places ? places : 1;
}

static bool take_place(_Atomic uint32_t *ejected, uint32_t places)
{
    uint32_t n = atomic_load_explicit(ejected, memory_order_relaxed);
    while (n < places) {
        if (atomic_compare_exchange_weak_explicit(ejected, &n, n + 1, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    }
    return false;
}

/* How often in a row, with what the endpoint has made good since. */
static uint32_t next_times(const struct tr_outlier *o, const struct tr_outlier_conf *conf,
                           uint64_t now_ns)
{
    uint32_t times = atomic_load_explicit(&o->times, memory_order_relaxed);
    uint64_t back = atomic_load_explicit(&o->back_ns, memory_order_relaxed);
    uint64_t good =
        now_ns > back && conf->base_ejection_ns ? (now_ns - back) / conf->base_ejection_ns : 0;
    times = good >= times ? 0 : times - (uint32_t)good;
    return times < TR_OUTLIER_TIMES_MAX ? times + 1 : TR_OUTLIER_TIMES_MAX;
}

bool tr_outlier_report(struct tr_outlier *o, const struct tr_outlier_conf *conf,
                       _Atomic uint32_t *ejected, uint32_t count, bool failure, uint64_t now_ns)
{
    if (!failure) {
        if (atomic_load_explicit(&o->failures, memory_order_relaxed))
            atomic_store_explicit(&o->failures, 0, memory_order_relaxed);
        return false;
    }
    if (atomic_load_explicit(&o->until_ns, memory_order_relaxed))
        return false;
    uint32_t failures = atomic_fetch_add_explicit(&o->failures, 1, memory_order_relaxed) + 1;
    if (failures < conf->consecutive_failures ||
        !take_place(ejected, tr_outlier_places(conf, count)))
        return false;
    uint32_t times = next_times(o, conf, now_ns);
    uint64_t none = 0;
    if (!atomic_compare_exchange_strong_explicit(&o->until_ns, &none,
                                                 now_ns + times * conf->base_ejection_ns,
                                                 memory_order_acq_rel, memory_order_relaxed)) {
        (void)atomic_fetch_sub_explicit(ejected, 1, memory_order_relaxed); /* another was first */
        return false;
    }
    atomic_store_explicit(&o->times, times, memory_order_relaxed);
    atomic_store_explicit(&o->failures, 0, memory_order_relaxed);
    return true;
}

bool tr_outlier_settle(struct tr_outlier *o, _Atomic uint32_t *ejected, uint64_t now_ns,
                       bool *ret_ended)
{
    uint64_t until = atomic_load_explicit(&o->until_ns, memory_order_acquire);
    if (until == 0)
        return false;
    if (until > now_ns)
        return true;
    atomic_store_explicit(&o->back_ns, until, memory_order_relaxed);
    atomic_store_explicit(&o->failures, 0, memory_order_relaxed);
    if (atomic_compare_exchange_strong_explicit(&o->until_ns, &until, 0, memory_order_acq_rel,
                                                memory_order_relaxed)) {
        (void)atomic_fetch_sub_explicit(ejected, 1, memory_order_relaxed);
        *ret_ended = true;
        return false;
    }
    return until > now_ns; /* somebody ended it, and perhaps it was ejected anew */
}

void tr_outlier_reset(struct tr_outlier *o, _Atomic uint32_t *ejected)
{
    if (atomic_exchange_explicit(&o->until_ns, 0, memory_order_acq_rel))
        (void)atomic_fetch_sub_explicit(ejected, 1, memory_order_relaxed);
    atomic_store_explicit(&o->failures, 0, memory_order_relaxed);
    atomic_store_explicit(&o->times, 0, memory_order_relaxed);
    atomic_store_explicit(&o->back_ns, 0, memory_order_relaxed);
}
