/* The address of the client as far as it can be trusted.
 *
 * Vocabulary: hop 0 is the peer of the connection; hop n is the n-th entry from the right of
 * x-forwarded-for, all its lines taken as one list. Proxies in front append, so that the last
 * `trusted_hops` entries were written by those that are trusted.
 *
 * Contract: hop `trusted_hops`. An entry that is missing or no address ends the walk: the last hop
 * before it counts, since nobody vouches for what stands to its left. A unix socket's peer has no
 * address. Entries may be in brackets and carry ports. Found once for each exchange; valid until it
 * ends. Worker's thread. */
#ifndef TR_PIPELINE_CLIENT_ADDR_H
#define TR_PIPELINE_CLIENT_ADDR_H

#include "pipeline/exchange.h"

/* NULL: none. */
const struct tr_ip *tr_client_addr(struct tr_exchange *x);
/* As text (RFC 5952); empty when there is none. */
struct tr_span tr_client_addr_text(struct tr_exchange *x);
/* An IPv4 address, or the /64 of an IPv6 one (tr_ip_site) as its first address; empty when there is
 * none, or no memory. Made anew by each call. */
struct tr_span tr_client_network_text(struct tr_exchange *x);

/* The rule alone: hops > 0, headers of a request; ret_ip is untouched when no entry counts. */
bool tr_client_addr_walk(const struct tr_headers *headers, uint32_t hops, struct tr_ip *ret_ip);

#endif
