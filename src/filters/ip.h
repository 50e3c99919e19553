/* The address rules of a policy, for who asks without a request (`transom explain`). */
#ifndef TR_FILTERS_IP_H
#define TR_FILTERS_IP_H

#include "base/ip.h"
#include "config/policy.h"

/* The policy has no rules, or they let this address ask; NULL: who asks has none. Pure; the filters
 * are prepared. */
bool tr_ip_may_ask(const struct tr_policy *policy, const struct tr_ip *ip);

#endif
