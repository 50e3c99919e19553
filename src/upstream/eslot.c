#include "upstream/eslot.h"

#include "base/span.h"

#include <netinet/in.h>

#define HOLDERS_BITS 16
#define HOLDERS_MASK (((uint64_t)1 << HOLDERS_BITS) - 1)

static uint64_t mix(uint64_t z) /* the finalizer of splitmix64 */
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t tr_addr_key(const struct tr_addr *addr)
{
    uint64_t key;
    if (addr->ss.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)&addr->ss;
        key = (uint64_t)ntohl(in->sin_addr.s_addr) << 16 | ntohs(in->sin_port);
    } else if (addr->ss.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)&addr->ss;
        key = tr_span_hash(tr_span((const char *)&in->sin6_addr, sizeof in->sin6_addr),
                           (uint64_t)in->sin6_scope_id << 16 | ntohs(in->sin6_port));
    } else {
        key = tr_span_hash(tr_span((const char *)&addr->ss, addr->len), 1);
    }
    key = mix(key + 0x9E3779B97F4A7C15u);
    return key ? key : 1;
}

static uint64_t owner_key(uint64_t key)
{
    uint64_t k = key & ~HOLDERS_MASK;
    return k ? k : HOLDERS_MASK + 1;
}

/* One more holder, if it is still (or now) that key's. */
static bool join(struct tr_eslot *slot, uint64_t key)
{
    uint64_t owner = atomic_load_explicit(&slot->owner, memory_order_acquire);
    while ((owner & ~HOLDERS_MASK) == key && (owner & HOLDERS_MASK) < HOLDERS_MASK) {
        if (atomic_compare_exchange_weak_explicit(&slot->owner, &owner, owner + 1,
                                                  memory_order_acq_rel, memory_order_acquire))
            return true;
    }
    return false;
}

struct tr_eslot *tr_eslot_take(struct tr_eslot *slots, uint32_t count, uint64_t key)
{
    uint64_t want = owner_key(key);
    for (uint32_t i = 0; i < count; i++) {
        if (join(&slots[i], want))
            return &slots[i];
    }
    /* all who look for one key look in one order: two that come together meet at the first free one
     */
    for (uint32_t i = 0, at = count ? (uint32_t)(key % count) : 0; i < count;
         i++, at = at + 1 == count ? 0 : at + 1) {
        uint64_t none = 0;
        if (atomic_compare_exchange_strong_explicit(&slots[at].owner, &none, want + 1,
                                                    memory_order_acq_rel, memory_order_acquire) ||
            join(&slots[at], want))
            return &slots[at];
    }
    return NULL;
}

void tr_eslot_give(struct tr_eslot *slot, _Atomic uint32_t *ejected)
{
    uint64_t owner = atomic_load_explicit(&slot->owner, memory_order_acquire);
    for (;;) {
        bool last = (owner & HOLDERS_MASK) == 1;
        if (last) { /* before it is free: nobody else holds it */
            tr_outlier_reset(&slot->outlier, ejected);
            atomic_store_explicit(&slot->health, 0, memory_order_relaxed);
            atomic_store_explicit(&slot->healthy_ns, 0, memory_order_relaxed);
            atomic_store_explicit(&slot->next_check_ns, 0, memory_order_relaxed);
            atomic_store_explicit(&slot->down_told, false, memory_order_relaxed);
        }
        if (atomic_compare_exchange_weak_explicit(&slot->owner, &owner, last ? 0 : owner - 1,
                                                  memory_order_acq_rel, memory_order_acquire))
            return;
    }
}
