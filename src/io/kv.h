/* Calls of a store that answers over the network: one script, run there on some keys, which gives
 * back a list of integers.
 *
 * Vocabulary: a *link* is one worker's connection to the store (io/kv_redis.h), made again for ever
 * when it is lost; a *call* is one run of the link's script, embedded in whoever asks.
 *
 * Contract
 *  1. Starting a call answers at once with TR_KV_OK (it is under way) or with why it cannot be; a
 *     call that is under way ends exactly once, by fn from the loop, never inside the call that
 *     started it, unless it was cancelled before. fn may start and cancel calls, this one too; it
 *     must not free the link.
 *  2. A call under way must stay where it is until fn or tr_kv_cancel. What `encode` reads must
 * stay as well: a store that has forgotten its scripts (NOSCRIPT) is sent the call a second time.
 *  3. A failure leaves open whether the store acted, but for DOWN, BUSY, NOMEM and what the store
 *     itself refused (ERROR, MOVED, LOADING, READONLY).
 *  4. Everything belongs to the thread of the link's loop; counters may be read by any. */
#ifndef TR_IO_KV_H
#define TR_IO_KV_H

#include "base/buf.h"
#include "base/list.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum tr_kv_failure {
    TR_KV_OK,
    TR_KV_DOWN,     /* there is no link now */
    TR_KV_BUSY,     /* too many calls are unanswered */
    TR_KV_NOMEM,    /* no memory for the call */
    TR_KV_TIMEOUT,  /* no answer in time */
    TR_KV_LOST,     /* the link was lost while the call waited */
    TR_KV_MOVED,    /* a cluster: the keys are elsewhere (MOVED, ASK, CLUSTERDOWN, TRYAGAIN) */
    TR_KV_LOADING,  /* the store reads its data */
    TR_KV_READONLY, /* a replica, or a store that may not write now (READONLY, MASTERDOWN, MISCONF,
                       OOM) */
    TR_KV_ERROR,    /* any other error of the store */
    TR_KV_PROTOCOL, /* an answer of the wrong form */
    TR_KV__COUNT
};
/* "timeout"; for metrics and logs. */
struct tr_span tr_kv_failure_name(enum tr_kv_failure failure);

#define TR_KV_INTS_MAX 64 /* a longer answer is of the wrong form */

struct tr_kv_call {
    /* Set by the owner before the start. */
    uint16_t keys, args; /* how many bulk strings encode appends: first the keys */
    enum tr_err (*encode)(struct tr_kv_call *call, struct tr_buf *out);
    /* The integers are dead after fn returns; count is 0 unless failure is TR_KV_OK. */
    void (*fn)(struct tr_kv_call *call, enum tr_kv_failure failure, const int64_t *ints,
               uint32_t count);
    /* The link's. */
    struct tr_list node;
    struct tr_kv_redis *link; /* NULL: not under way */
    uint64_t start_ns;
    uint32_t slot;
    bool repeated; /* sent again after NOSCRIPT */
};

static inline bool tr_kv_under_way(const struct tr_kv_call *call)
{
    return call->link != NULL;
}

/* For encode: one bulk string; a number as one. */
enum tr_err tr_kv_put(struct tr_buf *out, struct tr_span bytes) TR_MUST_USE;
enum tr_err tr_kv_put_u64(struct tr_buf *out, uint64_t value) TR_MUST_USE;

/* base/counter.h: written by the link's thread. */
struct tr_kv_counters {
    uint64_t results[TR_KV__COUNT]; /* of calls, those that could not start included */
    uint64_t cancelled;             /* calls whose owner left */
    uint64_t late;                  /* answers that came after the time-out, and were dropped */
    uint64_t repeated;              /* calls sent again after NOSCRIPT */
    uint64_t connects;              /* times that the link came up */
    uint64_t losses;                /* times that it went down after it was up */
    uint64_t failed_connects;       /* times that it did not come up */
    uint64_t answered_ns;           /* time that calls with an answer took, added up */
    uint64_t writes;                /* system calls that sent calls */
    uint64_t up;                    /* 1: the link is up */
};

#endif
