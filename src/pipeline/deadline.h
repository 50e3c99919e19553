/* Deadlines as arithmetic: `now` is passed in (SPEC §10). */
#ifndef TR_PIPELINE_DEADLINE_H
#define TR_PIPELINE_DEADLINE_H

#include "config/policy.h"
#include "http/msg.h"

/* The deadline of a call that began at start_ns: the least of the policy's timeout (unary calls
 * only), grpc-timeout and x-request-timeout. *ret_deadline_ns 0: none. TR_ERR_BAD_TIMEOUT for a
 * malformed header. */
enum tr_err tr_deadline_of(const struct tr_policy *policy, const struct tr_headers *headers,
                           bool unary, uint64_t start_ns, uint64_t *ret_deadline_ns) TR_MUST_USE;

/* When a timer of the exchange must look again, and what has passed by now. */
struct tr_deadline_state {
    uint64_t deadline_ns; /* 0: none */
    uint64_t start_ns, last_message_ns;
    bool stream;
};
/* TR_OK, DEADLINE, STREAM_IDLE or STREAM_DURATION; *ret_next_ns: the earliest time at which that
 * may change, 0: never. */
enum tr_err tr_deadline_check(const struct tr_deadline_state *s, const struct tr_policy *policy,
                              uint64_t now_ns, uint64_t *ret_next_ns) TR_MUST_USE;

#endif
