/* Names to addresses with TTL, by c-ares driven from the loop; one resolver for each worker, no
 * blocking call. */
#ifndef TR_IO_DNS_H
#define TR_IO_DNS_H

#include "io/loop.h"
#include "io/stream.h"

struct tr_dns;
struct tr_dns_query;

#define TR_DNS_ADDRS_MAX 32

struct tr_dns_answer {
    enum tr_err err; /* TR_OK or TR_ERR_UPSTREAM_DNS */
    struct tr_addr
        addrs[TR_DNS_ADDRS_MAX]; /* IPv6 and IPv4 as the resolver orders them; port set */
    size_t count;
    uint32_t ttl_s; /* the least TTL of the records, at least 1; 5 after a failure; 60 for entries
                       of the hosts file */
};

/* servers: NULL for the system's (resolv.conf), else "ip:port[,ip:port]" for tests. */
enum tr_err tr_dns_new(struct tr_loop *loop, const char *servers,
                       struct tr_dns **ret_dns) TR_MUST_USE;
void tr_dns_free(struct tr_dns *dns);
/* fn runs once from the loop (never inside this call), unless cancelled. Time-out 5 s in all. */
enum tr_err tr_dns_resolve(struct tr_dns *dns, struct tr_span name, uint16_t port,
                           void (*fn)(void *ctx, const struct tr_dns_answer *answer), void *ctx,
                           struct tr_dns_query **ret_query) TR_MUST_USE;
void tr_dns_cancel(struct tr_dns_query *query);

#endif
