/* A key that verifies signatures of tokens: RFC 7517/7518/8037 members to an OpenSSL key.
 *
 * Vocabulary: a *JWA* is a signature algorithm by its name in RFC 7518 §3.1 and RFC 8037 §3.1; a
 * *mask* has one bit an algorithm. `none` is not one of them and has no bit.
 *
 * Contract: a key serves exactly the algorithms that its type and curve allow (RSA: RS and PS;
 * P-256: ES256; P-384: ES384; P-521: ES512; Ed25519 and Ed448: EdDSA; a secret: HS), so that no
 * header of a token can make one kind of key act as another.
 * Thread: made by one thread, immutable after; any number of threads may verify at once. Nothing
 * is left in OpenSSL's error queue. */
#ifndef TR_FILTERS_JWT_KEY_H
#define TR_FILTERS_JWT_KEY_H

#include "base/span.h"
#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum tr_jwa {
    TR_JWA_RS256,
    TR_JWA_RS384,
    TR_JWA_RS512,
    TR_JWA_PS256,
    TR_JWA_PS384,
    TR_JWA_PS512,
    TR_JWA_ES256,
    TR_JWA_ES384,
    TR_JWA_ES512,
    TR_JWA_EDDSA,
    TR_JWA_HS256,
    TR_JWA_HS384,
    TR_JWA_HS512,
    TR_JWA__COUNT
};

#define TR_JWA_BIT(alg)   (UINT32_C(1) << (alg))
#define TR_JWA_HMAC       (TR_JWA_BIT(TR_JWA_HS256) | TR_JWA_BIT(TR_JWA_HS384) | TR_JWA_BIT(TR_JWA_HS512))
#define TR_JWA_ASYMMETRIC ((TR_JWA_BIT(TR_JWA__COUNT) - 1) & ~TR_JWA_HMAC)

/* By its exact name; false: not known (`none` never is). */
bool tr_jwa_find(struct tr_span name, enum tr_jwa *ret);
struct tr_span tr_jwa_name(enum tr_jwa alg);

#define TR_JWT_RSA_BITS_MIN  2048
#define TR_JWT_RSA_BITS_MAX  8192 /* each verification costs by it */
#define TR_JWT_SIGNATURE_MAX (TR_JWT_RSA_BITS_MAX / 8)
#define TR_JWT_SECRET_MIN    32 /* bytes; RFC 7518 §3.2: no shorter than the hash */
#define TR_JWT_SECRET_MAX    4096

/* The members of a JWK that make its public key; n, e, x, y are decoded bytes. Those that the type
 * does not use are empty. */
struct tr_jwk {
    struct tr_span kty, crv;
    struct tr_span n, e;
    struct tr_span x, y;
};

struct tr_jwt_key;

/* RSA, EC or OKP. AUTH_INVALID with text: type or curve not known, a size that is not allowed, a
 * point that is not on its curve, a coordinate that does not have its curve's length. NOMEM. */
enum tr_err tr_jwt_key_new(const struct tr_jwk *jwk, struct tr_jwt_key **ret,
                           struct tr_status *st) TR_MUST_USE;
/* HS. AUTH_INVALID when its length is not between TR_JWT_SECRET_MIN and _MAX. NOMEM. The bytes are
 * copied, and wiped when the key is freed. */
enum tr_err tr_jwt_key_secret(struct tr_span secret, struct tr_jwt_key **ret,
                              struct tr_status *st) TR_MUST_USE;
void tr_jwt_key_free(struct tr_jwt_key *key);

/* Mask of the algorithms it can serve. */
uint32_t tr_jwt_key_algorithms(const struct tr_jwt_key *key);

enum tr_jwt_verdict { TR_JWT_VERDICT_GOOD, TR_JWT_VERDICT_BAD, TR_JWT_VERDICT_NOMEM };
/* Whether `signature` (as RFC 7518 §3 shapes it: for ES the two numbers at their full length) signs
 * `input`. BAD, too, when alg is not among the key's. HMACs are compared in constant time. */
enum tr_jwt_verdict tr_jwt_key_verify(const struct tr_jwt_key *key, enum tr_jwa alg,
                                      struct tr_span input, struct tr_span signature);

#endif
