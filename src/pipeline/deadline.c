#include "pipeline/deadline.h"

#include "http/grpc_timeout.h"

static void least(uint64_t *deadline, uint64_t start_ns, uint64_t timeout_ns)
{
    uint64_t at;
    if (__builtin_add_overflow(start_ns, timeout_ns, &at))
        return;
    if (at == 0)
        at = 1;
    if (*deadline == 0 || at < *deadline)
        *deadline = at;
}

enum tr_err tr_deadline_of(const struct tr_policy *policy, const struct tr_headers *headers,
                           bool unary, uint64_t start_ns, uint64_t *ret_deadline_ns)
{
    uint64_t deadline = 0, ns;
    const struct tr_header *h;
    if (unary && policy->timeout)
        least(&deadline, start_ns, policy->timeout);
    h = tr_headers_find(headers, TR_TOKEN_GRPC_TIMEOUT, NULL);
    if (h) {
        if (tr_headers_find(headers, TR_TOKEN_GRPC_TIMEOUT, h) ||
            tr_grpc_timeout_parse(h->value, &ns))
            return TR_ERR_BAD_TIMEOUT;
        least(&deadline, start_ns, ns);
    }
    h = tr_headers_find(headers, TR_TOKEN_X_REQUEST_TIMEOUT, NULL);
    if (h) {
        if (tr_headers_find(headers, TR_TOKEN_X_REQUEST_TIMEOUT, h) ||
            tr_request_timeout_parse(h->value, &ns))
            return TR_ERR_BAD_TIMEOUT;
        least(&deadline, start_ns, ns);
    }
    *ret_deadline_ns = deadline;
    return TR_OK;
}

static bool passed(uint64_t at_ns, uint64_t now_ns, uint64_t *next_ns)
{
    if (now_ns >= at_ns)
        return true;
    if (*next_ns == 0 || at_ns < *next_ns)
        *next_ns = at_ns;
    return false;
}

enum tr_err tr_deadline_check(const struct tr_deadline_state *s, const struct tr_policy *policy,
                              uint64_t now_ns, uint64_t *ret_next_ns)
{
    uint64_t next = 0;
    if (s->deadline_ns && passed(s->deadline_ns, now_ns, &next))
        return TR_ERR_DEADLINE;
    if (s->stream && policy->max_stream_duration &&
        passed(s->start_ns + policy->max_stream_duration, now_ns, &next))
        return TR_ERR_STREAM_DURATION;
    if (s->stream && policy->stream_idle_timeout &&
        passed(s->last_message_ns + policy->stream_idle_timeout, now_ns, &next))
        return TR_ERR_STREAM_IDLE;
    *ret_next_ns = next;
    return TR_OK;
}
