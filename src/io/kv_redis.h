/* A worker's link to Redis.
 *
 * Contract
 *  1. The link connects by itself, at the end of the turn in which it was made, and again when it
 *     was lost: after 100 ms, then doubling to 5 s, each shortened by up to a half at random. It is
 *     up when the store has answered AUTH, SELECT and SCRIPT LOAD; until then calls are refused at
 *     once (TR_KV_DOWN), so that a store that is away costs a request nothing.
 *  2. Calls of one turn leave together in one write at its end. At most max_in_flight are
 *     unanswered, those that timed out included.
 *  3. A call without answer after timeout_ns fails (TR_KV_TIMEOUT); an answer that comes later is
 *     dropped and counted. When the oldest unanswered command is silence_ns old the link is closed
 *     and made again: what is frozen delays requests for no longer than that.
 *  4. NOSCRIPT sends the script itself with the call, once, within the call's time-out. MOVED and
 *     ASK are failures: what is called must lie on this node. READONLY and MASTERDOWN also close
 *     the link, since the name may stand for another node by now.
 *  5. An answer that nobody asked for, of a wrong form, or longer than 16 KiB closes the link.
 *
 * RESP2 (https://redis.io/docs/latest/develop/reference/protocol-spec/), read by hiredis; the
 * socket is a tr_stream. Why not hiredis' own context: contrib/adr/0035. */
#ifndef TR_IO_KV_REDIS_H
#define TR_IO_KV_REDIS_H

#include "base/span.h"
#include "io/dns.h"
#include "io/kv.h"
#include "io/loop.h"

struct tr_kv_redis;

#define TR_KV_REDIS_PORT 6379

/* Where the store is and how to come in. */
struct tr_kv_redis_url {
    struct tr_addr addr; /* len 0: host is a name */
    char host[256];      /* NUL-terminated; also for the log: never has secrets */
    uint16_t port;
    uint32_t db;
    uint16_t user_len, password_len; /* 0: none */
    char user[128], password[512];   /* decoded */
};

/* "redis://[:password@|user:password@]host[:port][/db]", user and password percent-encoded (RFC
 * 3986 §2.1), host a name, an IPv4 address or an IPv6 address in brackets; or "unix:path",
 * "unix://[user:password@]path[?db=N]", "redis+unix://..." for a Unix socket. No network.
 * TR_ERR_CONFIG with a text that has no secret; rediss:// is one of those mistakes. */
enum tr_err tr_kv_redis_parse(struct tr_span url, struct tr_kv_redis_url *ret_url,
                              struct tr_status *st) TR_MUST_USE;

struct tr_kv_redis_options {
    struct tr_loop *loop;
    struct tr_dns *dns;                /* NULL: only addresses are reached */
    const struct tr_kv_redis_url *url; /* copied */
    struct tr_span script;             /* Lua; must outlive the link */
    uint64_t timeout_ns;               /* 0: 20 ms */
    uint64_t silence_ns;               /* 0: 500 ms; not less than timeout_ns */
    uint64_t connect_timeout_ns; /* 0: 1 s, from the look-up to the last answer of the greeting */
    uint64_t backoff_ns;         /* 0: 100 ms, the first; the longest is 50 times that */
    uint32_t max_in_flight;      /* 0: 1024 */
};

/* TR_ERR_NOMEM. Nothing is connected inside this call. */
enum tr_err tr_kv_redis_new(const struct tr_kv_redis_options *options,
                            struct tr_kv_redis **ret_link) TR_MUST_USE;
/* Calls under way are forgotten, their fn does not run. NULL is accepted. Not from inside fn. */
void tr_kv_redis_free(struct tr_kv_redis *link);

/* See contract 1 of io/kv.h. Zero the call before its first use. */
enum tr_kv_failure tr_kv_redis_call(struct tr_kv_redis *link, struct tr_kv_call *call) TR_MUST_USE;
/* fn will not run. A call that is not under way is left alone. */
void tr_kv_cancel(struct tr_kv_call *call);

/* Valid while the link lives. */
const struct tr_kv_counters *tr_kv_redis_counters(const struct tr_kv_redis *link);
/* Why the link is not up, for the log; never has secrets. */
struct tr_span tr_kv_redis_trouble(const struct tr_kv_redis *link);

#endif
