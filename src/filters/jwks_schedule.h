/* When the keys of one issuer are fetched, and how long they may be used: arithmetic with `now`
 * passed in, without I/O.
 *
 * Vocabulary: an *attempt* is one try to get a key set, of one or two requests; at most one is
 * under way. The *lifetime* of a set is what its Cache-Control said, at most refresh_interval, and
 * no less than unknown_kid_interval (or refresh_interval, if that is shorter), so that no answer
 * makes us hammer its server. A set is *fresh* until its lifetime ends, *stale* for max_stale more,
 * then it is gone. The next attempt is made between 3/4 and 9/10 of the lifetime.
 *
 * After failures in a row the next attempt waits 1 s, 2 s, 4 s ... at most 60 s, less up to half of
 * it by chance, so that many gateways do not come back at the same moment.
 *
 * An *ask* is a worker's wish for an attempt before its time: KID because a token names a key that
 * the set has not, KEYS because there is no set. While one is under way asks join it. A KID ask
 * starts one when the last that a KID ask started began unknown_kid_interval ago or more; a KEYS
 * ask when the last of any kind did. Else it is refused. All times are monotonic nanoseconds. */
#ifndef TR_FILTERS_JWKS_SCHEDULE_H
#define TR_FILTERS_JWKS_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

enum tr_jwks_ask { TR_JWKS_ASK_KID, TR_JWKS_ASK_KEYS, TR_JWKS_ASK__COUNT };
/* The values are those of transom_jwks_stale. */
enum tr_jwks_state {
    TR_JWKS_FRESH,
    TR_JWKS_STALE,
    TR_JWKS_NONE /* no keys: not yet, or no longer */
};
enum tr_jwks_verdict { TR_JWKS_START, TR_JWKS_JOIN, TR_JWKS_REFUSE };

struct tr_jwks_schedule_params {
    uint64_t refresh_interval_ns, max_stale_ns, unknown_kid_interval_ns;
};

struct tr_jwks_schedule {
    struct tr_jwks_schedule_params params;
    uint64_t next_ns;        /* of the next attempt */
    uint64_t begun_ns;       /* of the last attempt */
    uint64_t kid_ns;         /* of the last that a KID ask started */
    uint64_t fetched_ns;     /* of the set in use */
    uint64_t fresh_until_ns; /* of the set in use */
    uint32_t failures;       /* in a row */
    bool begun, kid_begun;   /* whether the times above mean anything */
    bool fetched, under_way;
};

/* The first attempt is due at once. */
void tr_jwks_schedule_init(struct tr_jwks_schedule *s, const struct tr_jwks_schedule_params *params,
                           uint64_t now_ns);
/* When to look again: the next attempt (none is under way), or the end of the set's freshness or of
 * its use; UINT64_MAX: when the attempt under way ends. */
uint64_t tr_jwks_schedule_wake_ns(const struct tr_jwks_schedule *s, uint64_t now_ns);
bool tr_jwks_schedule_due(const struct tr_jwks_schedule *s, uint64_t now_ns);
/* An attempt begins; none is under way. */
void tr_jwks_schedule_begin(struct tr_jwks_schedule *s, uint64_t now_ns);
/* It brought keys. max_age_s: -1 when the answer did not say. `random`: any 64 bits. */
void tr_jwks_schedule_ok(struct tr_jwks_schedule *s, uint64_t now_ns, int64_t max_age_s,
                         uint64_t random);
void tr_jwks_schedule_failed(struct tr_jwks_schedule *s, uint64_t now_ns, uint64_t random);
/* START: the caller begins an attempt now (this has noted that the ask started it). */
enum tr_jwks_verdict tr_jwks_schedule_ask(struct tr_jwks_schedule *s, enum tr_jwks_ask ask,
                                          uint64_t now_ns);
/* Before this an ask is refused for certain unless an attempt is under way; 0: ask any time. */
uint64_t tr_jwks_schedule_ask_after_ns(const struct tr_jwks_schedule *s, enum tr_jwks_ask ask);
enum tr_jwks_state tr_jwks_schedule_state(const struct tr_jwks_schedule *s, uint64_t now_ns);

#endif
