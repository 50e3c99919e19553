/* Whether a failed attempt is made again, and after what delay (SPEC §10): arithmetic, from what is
 * known of the attempt, the method and the policy.
 *
 * Vocabulary: a failure is *unread* when the backend cannot have acted on the request: nothing of
 * it was sent, or the backend refused the stream (REFUSED_STREAM), or its GOAWAY did not cover it.
 * Such an attempt is repeated for any method; others only for idempotent methods, and only those
 * that the policy lists. A retry is *charged* to the budget when the attempt before it has reached
 * a backend: so that the load on a backend stays within the requests and the budget. */
#ifndef TR_UPSTREAM_RETRY_H
#define TR_UPSTREAM_RETRY_H

#include "base/span.h"
#include "base/status.h"

#include <stdatomic.h>
#define TR_RETRY_UNREAD_ATTEMPTS 3u /* in all, for what was not read, without a policy */

enum tr_pushback { TR_PUSHBACK_NONE, TR_PUSHBACK_AFTER, TR_PUSHBACK_NEVER };

struct tr_retry_try {
    /* the attempt */
    enum tr_err err; /* TR_OK: the backend answered with `code` */
    uint8_t code;    /* gRPC's; with UPSTREAM_RESET that of the reset */
    bool sent;       /* bytes of the request have gone out */
    bool begun;      /* a byte of a message has come, or a byte of the answer has left */
    enum tr_pushback pushback;
    uint64_t pushback_ns;
    /* the request */
    uint32_t attempts; /* made so far, this one included */
    uint32_t backoffs; /* since the last pushback */
    bool idempotent, client_streaming;
    bool replayable;  /* all of it is there, and not more than replay_bytes were sent */
    uint64_t left_ns; /* of the deadline; UINT64_MAX: none */
    /* the policy */
    uint32_t max_attempts; /* 1: no policy */
    uint32_t on_codes;     /* bits: 1 << code */
    uint64_t base_ns, max_ns;
    uint64_t random; /* uniform */
};

/* Why a failed attempt is not repeated. RETRY_AGAIN: it is. Those after PLAIN are worth counting:
 * the policy would have had it repeated. */
enum tr_retry_why {
    TR_RETRY_AGAIN,
    TR_RETRY_PLAIN, /* the failure, or the method, is none that is repeated */
    TR_RETRY_ATTEMPTS,
    TR_RETRY_PUSHBACK,
    TR_RETRY_REPLAY,
    TR_RETRY_DEADLINE,
    TR_RETRY_BUDGET, /* never said here: the caller asks the budget last */
    TR_RETRY__COUNT
};
struct tr_retry_verdict {
    enum tr_retry_why why;
    bool charged;      /* takes a token of the budget */
    uint64_t delay_ns; /* 0: at once */
};
struct tr_retry_verdict tr_retry_judge(const struct tr_retry_try *t);
const char *tr_retry_why_name(enum tr_retry_why why); /* "budget" */

/* grpc-retry-pushback-ms (gRFC A6): a number of milliseconds; negative or malformed: never. */
enum tr_pushback tr_retry_pushback(struct tr_span value, uint64_t *ret_ns);

/* Full jitter: uniform in [0, min(max, base * 2^n)]. */
uint64_t tr_retry_backoff(uint64_t base_ns, uint64_t max_ns, uint32_t n, uint64_t random);

/* Bit 1 << code of the name of a gRPC code, "UNAVAILABLE"; 0: there is no such failure. */
uint32_t tr_retry_code_bit(struct tr_span name);

/* What an upstream counts of retries, over all workers; failures only, so that sharing costs
 * nothing. */
struct tr_retry_counts {
    _Atomic uint64_t refused[TR_RETRY__COUNT];
    _Atomic uint64_t try_timeouts;
};

#endif
