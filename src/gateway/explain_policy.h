/* What `transom explain` says of the parts of a policy that answer or refuse a request before a
 * backend is asked, and of what holds when something they depend on is not there. Printed on
 * standard output; the filters are prepared. */
#ifndef TR_GATEWAY_EXPLAIN_POLICY_H
#define TR_GATEWAY_EXPLAIN_POLICY_H

#include "config/snapshot.h"
#include "http/msg.h"

/* OPTIONS that is a CORS preflight, as the gateway finds it: *ret_status is that of explain. */
bool tr_explain_preflight(const struct tr_snapshot *snap, const struct tr_req_head *head,
                          int *ret_status);
/* The address rules, where x-forwarded-for tells the address; the exit status. */
int tr_explain_ip(const struct tr_snapshot *snap, const struct tr_policy *policy,
                  const struct tr_req_head *head);
/* Each dependency whose failure would leave a question open, and the answer in force. */
void tr_explain_failures(const struct tr_snapshot *snap, const struct tr_policy *policy);

#endif
