#include "pipeline/identity.h"

const struct tr_claim *tr_claims_find(const struct tr_claims *claims, struct tr_span name)
{
    for (uint32_t i = 0; claims && i < claims->count; i++)
        if (tr_span_eq(claims->items[i].name, name))
            return &claims->items[i];
    return NULL;
}

const struct tr_claim *tr_identity_claim(const struct tr_identity *identity, struct tr_span name)
{
    const struct tr_claim *found = NULL;
    for (uint32_t i = 0; identity && i < identity->count && !found; i++)
        found = tr_claims_find(identity->items[i].claims, name);
    return found;
}

struct tr_span tr_identity_subject(const struct tr_identity *identity)
{
    for (uint32_t i = 0; identity && i < identity->count; i++)
        if (identity->items[i].subject.len)
            return identity->items[i].subject;
    return TR_SPAN("");
}

struct tr_span tr_identity_consumer(const struct tr_identity *identity)
{
    for (uint32_t i = 0; identity && i < identity->count; i++)
        if (identity->items[i].consumer.len)
            return identity->items[i].consumer;
    return TR_SPAN("");
}

struct tr_span tr_identity_tier(const struct tr_identity *identity)
{
    for (uint32_t i = 0; identity && i < identity->count; i++)
        if (identity->items[i].tier.len)
            return identity->items[i].tier;
    return TR_SPAN("");
}

bool tr_identity_has_scope(const struct tr_identity *identity, struct tr_span scope)
{
    for (uint32_t i = 0; identity && i < identity->count; i++) {
        const struct tr_credential *c = &identity->items[i];
        for (uint32_t k = 0; k < c->scope_count; k++)
            if (tr_span_eq(c->scopes[k], scope))
                return true;
    }
    return false;
}
