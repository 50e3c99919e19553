#include "upstream/retry.h"

__extension__ typedef unsigned __int128 u128; /* scalar alias, not a struct */

/* The protocol says that the backend has not acted, or it has not heard of the request. */
static bool is_unread(const struct tr_retry_try *t)
{
    enum tr_retry_class class = tr_err_info(t->err)->retry;
    return class == TR_RETRY_SAFE || (class == TR_RETRY_IDEMPOTENT && !t->sent);
}

static bool is_turned_away(const struct tr_retry_try *t)
{
    return t->err == TR_ERR_UPSTREAM_REFUSED || t->err == TR_ERR_UPSTREAM_GOAWAY;
}

static bool is_listed(const struct tr_retry_try *t, uint8_t code)
{
    return code < 32 && (t->on_codes >> code & 1u);
}

/* A reset or a lost connection is listed as UNAVAILABLE, and as the status that a reset stands for;
 * that an attempt took too long needs no listing: who sets per_try_timeout wants another one. */
static bool is_failure_listed(const struct tr_retry_try *t)
{
    if (t->err == TR_OK)
        return t->code != 0 && is_listed(t, t->code);
    return t->err == TR_ERR_UPSTREAM_TRY_TIMEOUT || is_listed(t, tr_err_info(t->err)->grpc_code) ||
           (t->err == TR_ERR_UPSTREAM_RESET && is_listed(t, t->code));
}

static bool is_eligible(const struct tr_retry_try *t, bool unread)
{
    if (t->begun)
        return false;
    if (unread) /* the cluster has tried all endpoints for what could not be connected */
        return t->max_attempts > 1 || is_turned_away(t);
    if (t->err != TR_OK && tr_err_info(t->err)->retry != TR_RETRY_IDEMPOTENT)
        return false;
    return t->max_attempts > 1 && t->idempotent && !t->client_streaming && is_failure_listed(t);
}

static uint64_t delay_of(const struct tr_retry_try *t, bool unread)
{
    if (t->pushback == TR_PUSHBACK_AFTER)
        return t->pushback_ns;
    bool lost = t->err == TR_ERR_UPSTREAM_CLOSED || is_turned_away(t);
    if (unread && lost && (t->attempts == 1 || t->max_attempts <= 1))
        return 0; /* another connection or endpoint takes it */
    return tr_retry_backoff(t->base_ns, t->max_ns, t->backoffs, t->random);
}

struct tr_retry_verdict tr_retry_judge(const struct tr_retry_try *t)
{
    bool unread = t->err != TR_OK && is_unread(t), policy = t->max_attempts > 1;
    struct tr_retry_verdict v = {.why = TR_RETRY_PLAIN};
    if (!is_eligible(t, unread))
        return v;
    if (t->attempts >= (policy ? t->max_attempts : TR_RETRY_UNREAD_ATTEMPTS)) {
        v.why = TR_RETRY_ATTEMPTS;
    } else if (t->pushback == TR_PUSHBACK_NEVER) {
        v.why = TR_RETRY_PUSHBACK;
    } else if (!t->replayable) {
        v.why = TR_RETRY_REPLAY;
    } else {
        v.delay_ns = delay_of(t, unread);
        v.why = v.delay_ns >= t->left_ns ? TR_RETRY_DEADLINE : TR_RETRY_AGAIN;
        /* what one GOAWAY turned away has cost the backend nothing that counts */
        v.charged = t->sent && !(t->err == TR_ERR_UPSTREAM_GOAWAY && t->attempts == 1);
    }
    return v;
}

const char *tr_retry_why_name(enum tr_retry_why why)
{
    static const char *const names[TR_RETRY__COUNT] = {
        "again", "plain", "attempts", "pushback", "replay", "deadline", "budget",
    };
    return (unsigned)why < TR_RETRY__COUNT ? names[why] : "?";
}

enum tr_pushback tr_retry_pushback(struct tr_span value, uint64_t *ret_ns)
{
    uint64_t ms;
    if (!tr_span_u64(value, &ms) || ms > UINT64_MAX / 1000000u)
        return TR_PUSHBACK_NEVER;
    *ret_ns = ms * 1000000u;
    return TR_PUSHBACK_AFTER;
}

uint64_t tr_retry_backoff(uint64_t base_ns, uint64_t max_ns, uint32_t n, uint64_t random)
{
    uint64_t most = n < 63 && base_ns <= UINT64_MAX >> (n + 1) ? base_ns << n : UINT64_MAX;
    if (most > max_ns)
        most = max_ns;
    /* the high bits of random * (most + 1): the bias is below 2^-20 for any delay of a day */
    return (uint64_t)(((u128)random * ((u128)most + 1)) >> 64);
}

uint32_t tr_retry_code_bit(struct tr_span name)
{
    for (unsigned code = 1; code <= 16; code++)
        if (tr_span_eq(tr_grpc_code_name(code), name))
            return UINT32_C(1) << code;
    return 0;
}
