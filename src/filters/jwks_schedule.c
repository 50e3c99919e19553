#include "filters/jwks_schedule.h"

#include "base/assert.h"

#define SECOND      UINT64_C(1000000000)
#define BACKOFF_MAX (60 * SECOND)
#define BACKOFF_LOG 6u /* 1 s << 6 is above the most */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void tr_jwks_schedule_init(struct tr_jwks_schedule *s, const struct tr_jwks_schedule_params *params,
                           uint64_t now_ns)
{
    *s = (struct tr_jwks_schedule){.params = *params, .next_ns = now_ns};
}

bool tr_jwks_schedule_due(const struct tr_jwks_schedule *s, uint64_t now_ns)
{
    return !s->under_way && now_ns >= s->next_ns;
}

enum tr_jwks_state tr_jwks_schedule_state(const struct tr_jwks_schedule *s, uint64_t now_ns)
{
    if (!s->fetched)
        return TR_JWKS_NONE;
    if (now_ns < s->fresh_until_ns)
        return TR_JWKS_FRESH;
    return now_ns - s->fresh_until_ns < s->params.max_stale_ns ? TR_JWKS_STALE : TR_JWKS_NONE;
}

uint64_t tr_jwks_schedule_wake_ns(const struct tr_jwks_schedule *s, uint64_t now_ns)
{
    uint64_t wake = s->under_way ? UINT64_MAX : s->next_ns;
    switch (tr_jwks_schedule_state(s, now_ns)) {
    case TR_JWKS_FRESH:
        return least(wake, s->fresh_until_ns);
    case TR_JWKS_STALE:
        return least(wake, s->fresh_until_ns + s->params.max_stale_ns);
    case TR_JWKS_NONE:
        break;
    }
    return wake;
}

void tr_jwks_schedule_begin(struct tr_jwks_schedule *s, uint64_t now_ns)
{
    TR_ASSERT(!s->under_way);
    s->under_way = s->begun = true;
    s->begun_ns = now_ns;
}

void tr_jwks_schedule_ok(struct tr_jwks_schedule *s, uint64_t now_ns, int64_t max_age_s,
                         uint64_t random)
{
    uint64_t most = s->params.refresh_interval_ns,
             floor = least(most, s->params.unknown_kid_interval_ns), life = most;
    if (max_age_s >= 0 && (uint64_t)max_age_s < most / SECOND)
        life = (uint64_t)max_age_s * SECOND;
    if (life < floor)
        life = floor;
    s->under_way = false;
    s->fetched = true;
    s->failures = 0;
    s->fetched_ns = now_ns;
    s->fresh_until_ns = now_ns + life;
    s->next_ns = now_ns + life / 4 * 3 + random % (life / 20 * 3 + 1);
}

void tr_jwks_schedule_failed(struct tr_jwks_schedule *s, uint64_t now_ns, uint64_t random)
{
    uint64_t wait =
        s->failures < BACKOFF_LOG ? least(SECOND << s->failures, BACKOFF_MAX) : BACKOFF_MAX;
    s->under_way = false;
    s->failures += s->failures < UINT32_MAX;
    s->next_ns = now_ns + wait - random % (wait / 2 + 1);
}

uint64_t tr_jwks_schedule_ask_after_ns(const struct tr_jwks_schedule *s, enum tr_jwks_ask ask)
{
    uint64_t interval = s->params.unknown_kid_interval_ns;
    if (ask == TR_JWKS_ASK_KID)
        return s->kid_begun ? s->kid_ns + interval : 0;
    return s->begun ? least(s->next_ns, s->begun_ns + interval) : 0;
}

enum tr_jwks_verdict tr_jwks_schedule_ask(struct tr_jwks_schedule *s, enum tr_jwks_ask ask,
                                          uint64_t now_ns)
{
    if (s->under_way)
        return TR_JWKS_JOIN;
    if (now_ns < tr_jwks_schedule_ask_after_ns(s, ask))
        return TR_JWKS_REFUSE;
    if (ask == TR_JWKS_ASK_KID) {
        s->kid_begun = true;
        s->kid_ns = now_ns;
    }
    return TR_JWKS_START;
}
