/* The payload of a token: claims judged, flattened, and put into one block.
 *
 * The payload is walked once; what it says is noted in the walk's own bounded room, so that nothing
 * is allocated for a token that is refused. Private to jwt.c. */
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

#define TR_JWT_PAYLOAD_MAX (TR_JWT_TOKEN_MAX / 4 * 3 + 4) /* bytes of JSON */
#define TR_JWT_VALUES_MAX  (TR_JWT_PAYLOAD_MAX / 2)       /* a digit and a comma each */
#define TR_JWT_TEXT_MAX    (TR_JWT_PAYLOAD_MAX + 2 * TR_JWT_CLAIMS_MAX * (size_t)TR_JWT_CLAIM_NAME_MAX)

struct tr_jwt_slice { /* of the walk's text */
    uint16_t at, len;
};

struct tr_jwt_found { /* a claim */
    struct tr_jwt_slice name;
    uint16_t first, count; /* of values */
    bool top;              /* no member of another claim */
};

struct tr_jwt_claims_walk {
    struct tr_jwt_json r;
    const struct tr_jwt_rules *rules;
    bool iss_right, aud_there, aud_right, exp_there, nbf_there;
    bool wrong; /* a registered claim is not of its type */
    double exp, nbf;
    uint32_t scopes; /* words */
    /* The place: */
    bool kept; /* the claim of the name or array at hand: the last of found */
    enum tr_jwt_registered registered;
    uint32_t level;       /* of the object whose names are taken; its depth, too */
    uint32_t array_depth; /* of the array whose elements are a claim's values; 0: none */
    uint32_t skip_depth;  /* of the container that is not looked into; 0: none */
    size_t name_len;      /* dotted, of the member at hand */
    size_t prefix_len[TR_JWT_CLAIM_DEPTH_MAX + 1]; /* of the object at a level */
    bool name_long;                                /* it has no room: the claim is not taken */
    /* What was found: */
    uint32_t top, nested; /* claims; at most TR_JWT_CLAIMS_MAX of each */
    uint32_t values, text_len;
    char name[TR_JWT_CLAIM_NAME_MAX];
    struct tr_jwt_found found[2 * TR_JWT_CLAIMS_MAX];
    struct tr_jwt_slice value[TR_JWT_VALUES_MAX];
    char text[TR_JWT_TEXT_MAX];
};

/* MALFORMED, CLAIMS (a name twice), ISSUER, NOMEM; else the rest waits for tr_jwt_claims_judge. */
enum tr_jwt_result tr_jwt_claims_read(struct tr_jwt_claims_walk *w, struct tr_span payload,
                                      const struct tr_jwt_rules *rules);
enum tr_jwt_result tr_jwt_claims_judge(const struct tr_jwt_claims_walk *w, int64_t now_s);
/* The block, with one reference. CLAIMS: two claims have one flattened name; NOMEM. */
enum tr_jwt_result tr_jwt_claims_make(const struct tr_jwt_claims_walk *w, struct tr_span token,
                                      struct tr_jwt **ret);

#endif
