/* The payload of a token: claims judged, flattened, and put into one block.
 *
 * The payload is walked twice: first to find what judges it and to measure what its flattened
 * claims need, and when the signature is right, to write them. Private to jwt.c. */
#ifndef TR_FILTERS_JWT_CLAIMS_H
#define TR_FILTERS_JWT_CLAIMS_H

#include "filters/jwt_json.h"

/* Which registered claim a value belongs to. */
enum tr_jwt_registered {
    TR_JWT_REG_NONE,
    TR_JWT_REG_ISS,
    TR_JWT_REG_AUD,
    TR_JWT_REG_EXP,
    TR_JWT_REG_NBF,
    TR_JWT_REG_IAT,
    TR_JWT_REG_SCOPE, /* scope, scp */
};

struct tr_jwt_claims_walk {
    struct tr_jwt_json r;
    const struct tr_jwt_rules *rules;
    /* Found by the first walk: */
    bool iss_right, aud_there, aud_right, exp_there, nbf_there;
    bool wrong; /* a registered claim is not of its type */
    double exp, nbf;
    uint32_t top, nested; /* claims */
    uint32_t values, scopes;
    size_t text_bytes;
    /* The place: */
    bool writing; /* the second walk */
    bool kept;    /* the claim of the name or array at hand */
    enum tr_jwt_registered registered;
    uint32_t level;       /* of the object whose names are taken; its depth, too */
    uint32_t array_depth; /* of the array whose elements are a claim's values; 0: none */
    uint32_t skip_depth;  /* of the container that is not looked into; 0: none */
    size_t name_len;      /* dotted, of the member at hand */
    size_t prefix_len[TR_JWT_CLAIM_DEPTH_MAX + 1]; /* of the object at a level */
    char name[TR_JWT_CLAIM_NAME_MAX];
    bool name_long; /* it has no room: the claim is not taken */
    /* Written by the second: */
    struct tr_claim *items, *item;
    struct tr_span *value_at;
    char *text_at;
    uint32_t kept_top, kept_nested;
};

/* MALFORMED, CLAIMS (a name twice), ISSUER, NOMEM; else the rest waits for tr_jwt_claims_judge. */
enum tr_jwt_result tr_jwt_claims_measure(struct tr_jwt_claims_walk *w, struct tr_span payload,
                                         const struct tr_jwt_rules *rules);
enum tr_jwt_result tr_jwt_claims_judge(const struct tr_jwt_claims_walk *w, int64_t now_s);
/* The block, with one reference. CLAIMS: two claims have one flattened name; NOMEM. */
enum tr_jwt_result tr_jwt_claims_make(struct tr_jwt_claims_walk *w, struct tr_span payload,
                                      struct tr_span token, struct tr_jwt **ret);

#endif
