/* Who asks: what authentication learned of a client, for the filters and stages that come after.
 *
 * Vocabulary: a *credential* is one thing that was shown and verified: a token, an API key, a
 * client certificate; an *identity* is all of a request (any_of gives one, all_of several). A
 * *claim* has a name (dots go into objects: "realm_access.roles") and values as text: a string,
 * number or bool gives one, an array several.
 *
 * Ownership: everything is valid until the exchange ends; what a cache owns is pinned by the filter
 * that verified it. NULL in tr_exchange.identity: anonymous. Worker's thread. */
#ifndef TR_PIPELINE_IDENTITY_H
#define TR_PIPELINE_IDENTITY_H

#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

struct tr_claim {
    struct tr_span name;
    const struct tr_span *values;
    uint32_t count;
};

struct tr_claims {
    const struct tr_claim *items;
    uint32_t count;
};

enum tr_credential_kind { TR_CREDENTIAL_TOKEN, TR_CREDENTIAL_API_KEY, TR_CREDENTIAL_CERTIFICATE };

struct tr_credential {
    enum tr_credential_kind kind;
    struct tr_span provider; /* name of the issuer's entry, "api_key", "client_certificate" */
    struct tr_span subject;  /* `sub` of a token, the certificate's subject; else the consumer */
    struct tr_span consumer, tier;  /* empty: none */
    const struct tr_claims *claims; /* of a token; NULL */
    const struct tr_span *scopes;
    uint32_t scope_count;
};

#define TR_CREDENTIALS_MAX 4

struct tr_identity {
    struct tr_credential items[TR_CREDENTIALS_MAX];
    uint32_t count;
};

/* NULL: no such claim. claims may be NULL. */
const struct tr_claim *tr_claims_find(const struct tr_claims *claims, struct tr_span name);
/* All of these accept identity NULL. The first credential that has it decides; empty: none has. */
const struct tr_claim *tr_identity_claim(const struct tr_identity *identity, struct tr_span name);
struct tr_span tr_identity_subject(const struct tr_identity *identity);
struct tr_span tr_identity_consumer(const struct tr_identity *identity);
struct tr_span tr_identity_tier(const struct tr_identity *identity);
bool tr_identity_has_scope(const struct tr_identity *identity, struct tr_span scope);

#endif
