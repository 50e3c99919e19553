/* Circuit breaker of one upstream, for all workers: arithmetic on atomics, no lock, no clock.
 *
 * Vocabulary: *closed*, calls go through and their outcomes are counted in a sliding window of
 * TR_BREAKER_SLICES slices; *open*, calls are refused until a time; *half-open*, up to `probes`
 * calls are let through: all must succeed to close it, one failure opens it again. A *generation*
 * is the time between two changes of state; a *ticket* says in which one a call was admitted, and
 * whether as a probe. Outcomes of other generations than the present one are not counted.
 *
 * Contract: each admitted call gives its ticket back once: tr_breaker_report, or tr_breaker_abandon
 * when nothing is known of the backend (the client left, a limit of ours refused it), which frees
 * the slot of a probe. Half-open that is not decided within `open_for` (its probes take longer)
 * begins another *round*: others are let through in place of those that have not ended. What any
 * probe of the generation says counts.
 *
 * Thread: any; zeroed is closed. The state is one word, changed by compare-and-swap; the window is
 * exact but for calls that end while a slice begins, which may be counted in the new one. See
 * contrib/adr/0034-breaker-statistics.md. */
#ifndef TR_UPSTREAM_BREAKER_H
#define TR_UPSTREAM_BREAKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TR_BREAKER_SLICES 10

struct tr_breaker_conf {
    uint32_t failure_ratio; /* millionths */
    uint32_t minimum_requests;
    uint64_t window_ns, open_for_ns;
    uint32_t probes; /* 1-65535 */
};

enum tr_breaker_state { TR_BREAKER_CLOSED, TR_BREAKER_HALF_OPEN, TR_BREAKER_OPEN };

struct tr_breaker {
    _Atomic uint64_t state;  /* see breaker.c */
    _Atomic uint64_t probes; /* of a half-open generation: let through, succeeded */
    _Atomic uint64_t opened; /* times */
    char apart[64];          /* every call reads the state and writes a slice: not on one line */
    _Atomic uint64_t slices[TR_BREAKER_SLICES]; /* number, calls, failures */
};

/* No ticket: the breaker was not asked. */
#define TR_BREAKER_NO_TICKET UINT32_MAX

/* May a call go out at `now`? Sets *ret_ticket when so. */
bool tr_breaker_admit(struct tr_breaker *b, const struct tr_breaker_conf *conf, uint64_t now_ns,
                      uint32_t *ret_ticket);
/* random: any bits, for jitter of open_for (a tenth each way). True when this opened the breaker.
 */
bool tr_breaker_report(struct tr_breaker *b, const struct tr_breaker_conf *conf, uint32_t ticket,
                       bool failure, uint64_t now_ns, uint32_t random);
void tr_breaker_abandon(struct tr_breaker *b, uint32_t ticket);
bool tr_breaker_is_probe(uint32_t ticket);

enum tr_breaker_state tr_breaker_state(const struct tr_breaker *b);
/* Until a call may be let through; 0 when closed. */
uint64_t tr_breaker_wait_ns(const struct tr_breaker *b, uint64_t now_ns);
/* Calls and failures in the window, for tests and logs. */
void tr_breaker_window(const struct tr_breaker *b, const struct tr_breaker_conf *conf,
                       uint64_t now_ns, uint64_t *ret_calls, uint64_t *ret_failures);

#endif
