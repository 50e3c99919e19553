/* Addresses and networks of the Internet, in both families.
 *
 * Vocabulary: a *network* is an address and the count of its leading bits that matter; a *set* is
 * an array of networks that are sorted and apart from one another, so that one binary search tells
 * whether an address is in one.
 *
 * Contract: an IPv4 address that is written as IPv6 (::ffff:a.b.c.d, RFC 4291 §2.5.5.2) is the IPv4
 * address, everywhere. Text is in the forms of RFC 4291 §2.2 and dotted quads without leading
 * zeros; zones ("%eth0") are refused, since they mean nothing to anybody else. Pure functions. */
#ifndef TR_BASE_IP_H
#define TR_BASE_IP_H

#include "base/span.h"
#include "base/status.h"

struct sockaddr;

struct tr_ip {
    uint8_t bytes[16]; /* network order; IPv4 in the first four, the others zero */
    bool v4;
};

struct tr_ip_net {
    struct tr_ip base; /* bits after the first `bits` are zero */
    uint8_t bits;      /* 0-32 or 0-128 */
};

struct tr_ip_set {
    const struct tr_ip_net *nets;
    uint32_t count;
};

#define TR_IP_TEXT_MAX 46

/* An address and nothing else. */
bool tr_ip_parse(struct tr_span text, struct tr_ip *ret_ip);
/* As proxies write it: also "[v6]", "[v6]:port", "v4:port". */
bool tr_ip_parse_hop(struct tr_span text, struct tr_ip *ret_ip);
/* false: neither IPv4 nor IPv6. */
bool tr_ip_from_sockaddr(const struct sockaddr *addr, struct tr_ip *ret_ip);
/* Into out, in the form of RFC 5952; returns the span. */
struct tr_span tr_ip_print(char out[TR_IP_TEXT_MAX], const struct tr_ip *ip);
/* What one client may be taken to hold: an IPv4 address, or the first 64 bits of an IPv6 one, since
 * a network of that size is the least that anybody is given (RFC 6177 §2). 4 or 8 bytes of ip. */
static inline struct tr_span tr_ip_site(const struct tr_ip *ip)
{
    return tr_span((const char *)ip->bytes, ip->v4 ? 4 : 8);
}
/* First by family, then by bytes. */
int tr_ip_cmp(const struct tr_ip *a, const struct tr_ip *b);

/* "address" or "address/bits". Bits of the address beyond the prefix must be zero: "10.0.0.1/8" is
 * one of two mistakes. */
bool tr_ip_net_parse(struct tr_span text, struct tr_ip_net *ret_net);
bool tr_ip_net_has(const struct tr_ip_net *net, const struct tr_ip *ip);

/* Sorts nets in place and leaves out those that lie within another; the set points to nets. */
struct tr_ip_set tr_ip_set_make(struct tr_ip_net *nets, uint32_t count);
bool tr_ip_set_has(const struct tr_ip_set *set, const struct tr_ip *ip);

#endif
