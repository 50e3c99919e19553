/* A query for the log: values of credentials are not in it.
 *
 * Contract: the value of each parameter whose name is one of `names`, or one that is known to carry
 * credentials (key, access_token, api_key, token, password ... see query_mask.c), becomes "***".
 * Names are compared decoded and without regard to case, so that no other spelling escapes; a
 * leading '$' (of system parameters) does not count. Pure. */
#ifndef TR_FILTERS_QUERY_MASK_H
#define TR_FILTERS_QUERY_MASK_H

#include "config/keys.h"

#define TR_QUERY_MASK_MAX 1024

/* Into out[TR_QUERY_MASK_MAX], cut there. Returns the span; empty for a query without parameters.
 */
struct tr_span tr_query_mask(char *out, struct tr_span query, const struct tr_strings *names);
/* A URL with its query so, and without its fragment. Into out[TR_QUERY_MASK_MAX], cut there. */
struct tr_span tr_query_mask_url(char *out, struct tr_span url, const struct tr_strings *names);

#endif
