/* CORS of a policy, for who asks without a request (`transom explain`). */
#ifndef TR_FILTERS_CORS_H
#define TR_FILTERS_CORS_H

#include "config/policy.h"

/* The policy has `cors` and lets this origin in. Pure; the filters are prepared. */
bool tr_cors_allows(const struct tr_policy *policy, struct tr_span origin);

#endif
