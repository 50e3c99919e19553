/* Origins and header lists of CORS (the Fetch standard, §3.2), as pure functions.
 *
 * Vocabulary: a *pattern* is an origin of the configuration: whole ("https://app.example.com",
 * "null") or with "*." for one label or more in place of the first ("https://\*.example.com").
 *
 * Contract: an Origin header is compared byte by byte: browsers write scheme and host in lower case
 * and leave out the default port (RFC 6454 §6.2), and patterns are brought into that form at load.
 */
#ifndef TR_FILTERS_CORS_ORIGIN_H
#define TR_FILTERS_CORS_ORIGIN_H

#include "base/arena.h"
#include "base/span.h"

struct tr_cors_pattern {
    struct tr_span scheme; /* with "://"; empty: `rest` is the whole origin */
    struct tr_span rest;   /* wildcard: what follows the star, ".example.com" */
    bool wildcard;
};

/* false: no origin. Copies into the arena; *ret_nomem tells the one failure that is not the text's.
 */
bool tr_cors_pattern_parse(struct tr_span text, struct tr_arena *arena,
                           struct tr_cors_pattern *ret_pattern, bool *ret_nomem);
bool tr_cors_pattern_matches(const struct tr_cors_pattern *pattern, struct tr_span origin);

#define TR_CORS_HEADERS_MAX_BYTES 1024 /* of one Access-Control-Request-Headers */

/* A list of field names, at most TR_CORS_HEADERS_MAX_BYTES long; empty members are allowed. */
bool tr_cors_is_name_list(struct tr_span list);
/* Whether a list separated by commas has the word, in any case. */
bool tr_cors_list_has(struct tr_span list, struct tr_span word);

#endif
