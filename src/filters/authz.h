/* Authorization: whether who was authenticated may do what is asked. */
#ifndef TR_FILTERS_AUTHZ_H
#define TR_FILTERS_AUTHZ_H

#include "config/policy.h"
#include "pipeline/identity.h"

/* Pure; id is not NULL. All that the policy asks for must be there: every scope, one of any_scope,
 * one of the consumers, and of each claim one of its values. */
bool tr_authz_may(const struct tr_policy_authorization *p, const struct tr_identity *id);

#endif
