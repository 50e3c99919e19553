#include "filters/quota_redis.h"

#include "base/assert.h"
#include "base/num.h"

#define TAG        "{transom}:"
#define ARGS_EACH  5
#define LONGEST_US (UINT64_C(1) << 51)
#define ANY_US     (UINT64_C(1) << 53) /* no counter owes so much */
#define NS_PER_US  1000u
#define KEY_MAX    ((size_t)64 * 1024)

/* For each key: den, the price and the room (what may be owed before it), both in whole
 * microseconds and a fraction over den. Gives back whether it charged, then for each key what is
 * owed after. First it looks at all keys, then it charges, and nothing runs in between. A counter
 * outlives what it owes by a second, so that one which is still owed never expires early.
 *
 * A counter is its TAT, and when it was written. Time that is before that tells that the clock was
 * set back: then nothing is known to be paid since, and the counter is moved to the new time, also
 * by a request that is refused. */
const struct tr_span tr_quota_redis_script = TR_SPAN_INIT(
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000000 + t[2]\n"
    "local owed, part, back, ok = {}, {}, {}, 1\n"
    "for i, key in ipairs(KEYS) do\n"
    "  local a, o, f = 5 * i - 4, 0, 0\n"
    "  local v = redis.call('GET', key)\n"
    "  if v then\n"
    "    local tat, frac, den, at = string.match(v, '^(%d+) (%d+) (%d+) (%d+)$')\n"
    "    if not tat then return redis.error_reply('ERR not a counter of a quota') end\n"
    "    at = tonumber(at)\n"
    "    back[i] = at > now\n"
    "    o, f = tonumber(tat) - math.max(now, at), tonumber(frac)\n"
    "    if den ~= ARGV[a] and f > 0 then o, f = o + 1, 0 end\n"
    "    if o < 0 then o, f = 0, 0 end\n"
    "  end\n"
    "  local most, most_part = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4])\n"
    "  if o > most or (o == most and f > most_part) then ok = 0 end\n"
    "  owed[i], part[i] = o, f\n"
    "end\n"
    "local r = {ok}\n"
    "for i, key in ipairs(KEYS) do\n"
    "  local a, o, f = 5 * i - 4, owed[i], part[i]\n"
    "  local den, price, price_part = tonumber(ARGV[a]), tonumber(ARGV[a + 1]), tonumber(ARGV[a + "
    "2])\n"
    "  local charge = ok == 1 and price + price_part > 0\n"
    "  if charge then\n"
    "    o, f = o + price, f + price_part\n"
    "    if f >= den then o, f = o + 1, f - den end\n"
    "  end\n"
    "  if charge or back[i] then\n"
    "    redis.call('SET', key, string.format('%.0f %.0f %.0f %.0f', now + o, f, den, now),\n"
    "               'PX', string.format('%.0f', math.floor(o / 1000) + 1000))\n"
    "  end\n"
    "  r[2 * i], r[2 * i + 1] = o, f\n"
    "end\n"
    "return r\n");

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

struct tr_quota_redis_rate tr_quota_redis_rate_make(uint32_t limit, uint64_t window_ns,
                                                    uint32_t burst)
{
    struct tr_quota_redis_rate r;
    uint64_t per = (uint64_t)limit * NS_PER_US, g = gcd(window_ns, per), num = window_ns / g;
    r.den = per / g;
    r.interval_us = num / r.den; /* NOLINT(clang-analyzer-core.DivideZero): limit is not 0 */
    r.interval_frac = num % r.den;
    __uint128_t most = (__uint128_t)LONGEST_US * r.den, capacity = num;
    if (capacity > most) {
        capacity = most;
        r.interval_us = LONGEST_US;
        r.interval_frac = 0;
    } else {
        uint64_t times = burst ? burst : limit;
        capacity = capacity * times > most ? most - most % num : capacity * times;
    }
    r.capacity_us = (uint64_t)(capacity / r.den);
    r.capacity_frac = (uint64_t)(capacity % r.den);
    return r;
}

/* Times in units of a microsecond over den. */
static __uint128_t units(const struct tr_quota_redis_rate *r, uint64_t us, uint64_t frac)
{
    return (__uint128_t)us * r->den + frac;
}

/* What may be owed before a request of this cost; false: it never passes. */
static bool room_of(const struct tr_quota_redis_rate *r, uint32_t cost, __uint128_t *ret_price,
                    __uint128_t *ret_room)
{
    __uint128_t price = units(r, r->interval_us, r->interval_frac) * cost;
    __uint128_t capacity = units(r, r->capacity_us, r->capacity_frac);
    if (price > capacity)
        return false;
    *ret_price = price;
    *ret_room = capacity - price;
    return true;
}

static enum tr_err put_key(struct tr_buf *out, struct tr_span key)
{
    size_t tag = sizeof TAG - 1;
    enum tr_err err = tr_buf_reserve(out, key.len + tag + TR_NUM_MAX + 5);
    if (err)
        return err;
    char *w = tr_buf_end(out);
    *w++ = '$';
    w += tr_num_u64(w, key.len + tag);
    memcpy(w, "\r\n" TAG, tag + 2);
    w += tag + 2;
    if (key.len)
        memcpy(w, key.ptr, key.len);
    w += key.len;
    memcpy(w, "\r\n", 2);
    out->len = (size_t)(w + 2 - out->ptr);
    return TR_OK;
}

static enum tr_err put_pair(struct tr_buf *out, const struct tr_quota_redis_rate *r,
                            __uint128_t value)
{
    enum tr_err err = tr_kv_put_u64(out, (uint64_t)(value / r->den));
    return err ? err : tr_kv_put_u64(out, (uint64_t)(value % r->den));
}

static enum tr_err encode(struct tr_kv_call *call, struct tr_buf *out)
{
    const struct tr_quota_redis_check *c = tr_container_of(call, struct tr_quota_redis_check, call);
    enum tr_err err = TR_OK;
    for (uint32_t i = 0; i < c->count && !err; i++)
        err = put_key(out, c->items[i].key);
    for (uint32_t i = 0; i < c->count && !err; i++) {
        const struct tr_quota_redis_rate *r = c->items[i].rate;
        __uint128_t price, room;
        err = tr_kv_put_u64(out, r->den);
        if (err)
            break;
        if (!room_of(r, c->cost, &price, &room)) { /* less than nothing may be owed */
            for (int k = 0; k < ARGS_EACH - 1 && !err; k++)
                err = tr_kv_put(out, k == 2 ? TR_SPAN("-1") : TR_SPAN("0"));
            continue;
        }
        if (c->cost == 0) /* passes also when more is owed than this limit would let be */
            room = units(r, ANY_US, 0);
        err = put_pair(out, r, price);
        if (!err)
            err = put_pair(out, r, room);
    }
    return err;
}

/* Rounded up: what is told is never too early. */
static uint64_t to_ns(const struct tr_quota_redis_rate *r, __uint128_t value)
{
    return (uint64_t)((value * NS_PER_US + r->den - 1) / r->den);
}

static struct tr_gcra_result result_of(const struct tr_quota_redis_rate *r, uint32_t cost,
                                       bool admitted, __uint128_t owed)
{
    struct tr_gcra_result result = {.allowed = true, .reset_ns = to_ns(r, owed)};
    __uint128_t price, room, capacity = units(r, r->capacity_us, r->capacity_frac);
    if (!admitted && !room_of(r, cost, &price, &room)) {
        result.allowed = false;
        result.retry_after_ns = UINT64_MAX;
    } else if (!admitted && owed > room) {
        result.allowed = false;
        result.retry_after_ns = to_ns(r, owed - room);
    }
    if (owed < capacity) {
        __uint128_t left = (capacity - owed) / units(r, r->interval_us, r->interval_frac);
        result.remaining = left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
    }
    return result;
}

static void on_answer(struct tr_kv_call *call, enum tr_kv_failure failure, const int64_t *ints,
                      uint32_t count)
{
    struct tr_quota_redis_check *c = tr_container_of(call, struct tr_quota_redis_check, call);
    if (failure == TR_KV_OK && (count != 1 + 2 * c->count || (ints[0] != 0 && ints[0] != 1)))
        failure = TR_KV_PROTOCOL;
    for (uint32_t i = 1; failure == TR_KV_OK && i < count; i++)
        if (ints[i] < 0)
            failure = TR_KV_PROTOCOL;
    if (failure == TR_KV_OK) {
        c->admitted = ints[0] == 1;
        for (uint32_t i = 0; i < c->count; i++) {
            const struct tr_quota_redis_rate *r = c->items[i].rate;
            __uint128_t owed = units(r, (uint64_t)ints[1 + 2 * i], (uint64_t)ints[2 + 2 * i]);
            c->items[i].result = result_of(r, c->cost, c->admitted, owed);
        }
    }
    c->fn(c, failure);
}

enum tr_kv_failure tr_quota_redis_check(struct tr_kv_redis *link, struct tr_quota_redis_check *c)
{
    TR_ASSERT(c->count >= 1 && c->count <= TR_QUOTA_REDIS_MAX);
    for (uint32_t i = 0; i < c->count; i++)
        if (c->items[i].key.len > KEY_MAX)
            return TR_KV_NOMEM;
    c->call.keys = (uint16_t)c->count;
    c->call.args = (uint16_t)(c->count * ARGS_EACH);
    c->call.encode = encode;
    c->call.fn = on_answer;
    return tr_kv_redis_call(link, &c->call);
}
