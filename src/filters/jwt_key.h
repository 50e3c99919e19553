/* A key that verifies signatures of tokens: RFC 7517/7518/8037 members to an OpenSSL key.
 *
 * Vocabulary: a *JWA* is a signature algorithm by its name in RFC 7518 §3.1 and RFC 8037 §3.1; a
 * *mask* has one bit an algorithm. `none` is not one of them and has no bit.
 *
 * Contract: a key serves exactly the algorithms that its type and curve allow (RSA: RS and PS;
 * P-256: ES256; P-384: ES384; P-521: ES512; Ed25519 and Ed448: EdDSA; a secret: HS), so that no
 * header of a token can make one kind of key act as another.
 * Thread: made by one thread, and then the same for ever; any number of threads may verify at
 * once. Nothing is left in OpenSSL's error queue. */
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
    TR_JWA_PUBLIC_COUNT, /* those before this one verify with a public key */
    TR_JWA_HS256 = TR_JWA_PUBLIC_COUNT,
    TR_JWA_HS384,
    TR_JWA_HS512,
    TR_JWA__COUNT
};

#define TR_JWA_BIT(alg)   (UINT32_C(1) << (alg))
#define TR_JWA_HMAC       (TR_JWA_BIT(TR_JWA_HS256) | TR_JWA_BIT(TR_JWA_HS384) | TR_JWA_BIT(TR_JWA_HS512))
#define TR_JWA_RSA        (TR_JWA_BIT(TR_JWA_PS512 + 1) - 1)
#define TR_JWA_ASYMMETRIC ((TR_JWA_BIT(TR_JWA__COUNT) - 1) & ~TR_JWA_HMAC)

/* By its exact name; false: not known (`none` never is). */
bool tr_jwa_find(struct tr_span name, enum tr_jwa *ret);
struct tr_span tr_jwa_name(enum tr_jwa alg);

#define TR_JWT_RSA_BITS_MIN  2048
#define TR_JWT_RSA_BITS_MAX  8192 /* each verification costs by it */
#define TR_JWT_SIGNATURE_MAX (TR_JWT_RSA_BITS_MAX / 8)
#define TR_JWT_SECRET_MIN    32 /* bytes */
#define TR_JWT_SECRET_MAX    4096

#define TR_JWK_MEMBER_MAX ((size_t)2048) /* bytes of n, e, x, y that are looked at */

/* The members of a JWK that make its public key; n, e, x, y are decoded bytes. Those that the type
 * does not use are empty. */
struct tr_jwk {
    struct tr_span kty, crv;
    struct tr_span n, e;
    struct tr_span x, y;
};

struct tr_jwt_key;

/* Why a JWK makes no key. */
enum tr_jwk_fault {
    TR_JWK_TYPE,     /* kty or crv is not known */
    TR_JWK_WEAK,     /* RSA of a size that is not allowed, or of a kind that can be factored */
    TR_JWK_MALFORMED /* a coordinate without its curve's length, a point off the curve, ... */
};
/* RSA, EC or OKP. AUTH_INVALID sets *ret_fault (which may be NULL) and says more in st. NOMEM. */
enum tr_err tr_jwt_key_new(const struct tr_jwk *jwk, struct tr_jwt_key **ret,
                           enum tr_jwk_fault *ret_fault, struct tr_status *st) TR_MUST_USE;
/* HS: of the three those whose hash is no longer than the secret (RFC 7518 §3.2). AUTH_INVALID when
 * its length is not between TR_JWT_SECRET_MIN and _MAX. NOMEM. The bytes are copied, and wiped when
 * the key is freed. */
enum tr_err tr_jwt_key_secret(struct tr_span secret, struct tr_jwt_key **ret,
                              struct tr_status *st) TR_MUST_USE;
void tr_jwt_key_free(struct tr_jwt_key *key);

/* Mask of the algorithms it can serve. */
uint32_t tr_jwt_key_algorithms(const struct tr_jwt_key *key);
bool tr_jwt_key_equal(const struct tr_jwt_key *a, const struct tr_jwt_key *b);

enum tr_jwt_verdict { TR_JWT_VERDICT_GOOD, TR_JWT_VERDICT_BAD, TR_JWT_VERDICT_NOMEM };
/* Whether `signature` (as RFC 7518 §3 shapes it: for ES the two numbers at their full length) signs
 * `input`. BAD, too, when alg is not among the key's. HMACs are compared in constant time. */
enum tr_jwt_verdict tr_jwt_key_verify(const struct tr_jwt_key *key, enum tr_jwa alg,
                                      struct tr_span input, struct tr_span signature);

/* Base64url as RFC 7515 §2 has it: no padding, no other characters, unused bits 0. `out` holds
 * tr_base64_decoded_max(in.len). */
bool tr_jwt_base64url(char *out, struct tr_span in, size_t *ret_len);

#endif
