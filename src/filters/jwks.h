/* Key sets: a JWKS document (RFC 7517 §5) as an immutable value that threads share.
 *
 * Vocabulary: a key is *usable* when its type and curve are known, it is for signatures (`use`
 * absent or "sig", `key_ops` absent or with "verify"), its `alg` is absent or one that the key can
 * serve, it is public, strong enough (RSA of 2048 to 8192 bits) and well-formed. The others are
 * skipped and counted: one bad key does not take the good ones away. A symmetric key ("oct") is
 * never usable here: secrets come from configuration only, by tr_jwks_from_secret. A key with a
 * private part is skipped too: what was published signs nothing any more.
 *
 * Ownership: a set is counted; tr_jwks_ref and tr_jwks_unref may be called by any thread, the last
 * unref frees. A new set starts with one reference. */
#ifndef TR_FILTERS_JWKS_H
#define TR_FILTERS_JWKS_H

#include "filters/jwt_key.h"

#define TR_JWKS_BYTES_MAX ((size_t)4 * 1024 * 1024)
#define TR_JWKS_KEYS_MAX  1024 /* members of "keys", usable or not */
#define TR_JWKS_KID_MAX   1024 /* bytes; a key with a longer one is skipped */

struct json_t;
struct tr_jwks;

/* One reason why a key was left out. */
enum tr_jwks_skip {
    TR_JWKS_SKIP_TYPE,      /* unknown kty or crv */
    TR_JWKS_SKIP_SYMMETRIC, /* oct */
    TR_JWKS_SKIP_USE,       /* use, key_ops or alg is not for our signatures */
    TR_JWKS_SKIP_WEAK,      /* RSA below 2048 bits (or above 8192) */
    TR_JWKS_SKIP_PRIVATE,
    TR_JWKS_SKIP_MALFORMED,
    TR_JWKS_SKIP__COUNT
};
const char *tr_jwks_skip_name(enum tr_jwks_skip skip);

/* From text. Strict JSON, duplicate members refused. AUTH_UNAVAILABLE with text (no part of the
 * document in it): too large, not JSON, no "keys", too many keys, no usable key. NOMEM. */
enum tr_err tr_jwks_parse(struct tr_span json, struct tr_jwks **ret,
                          struct tr_status *st) TR_MUST_USE;
/* The same from configuration: the object with "keys". Not kept. */
enum tr_err tr_jwks_from_dom(const struct json_t *doc, struct tr_jwks **ret,
                             struct tr_status *st) TR_MUST_USE;
/* A set of one HS key without kid. AUTH_INVALID by length (jwt_key.h), NOMEM. */
enum tr_err tr_jwks_from_secret(struct tr_span secret, struct tr_jwks **ret,
                                struct tr_status *st) TR_MUST_USE;
/* What OpenID Connect discovery gives (OpenID Connect Discovery 1.0 §4.3): `issuer` must be equal,
 * and jwks_uri a string of at most `cap` bytes, written to `uri`. The caller judges the scheme.
 * AUTH_UNAVAILABLE with text. */
enum tr_err tr_jwks_discovery(struct tr_span json, struct tr_span issuer, char *uri, size_t cap,
                              size_t *ret_len, struct tr_status *st) TR_MUST_USE;

struct tr_jwks *tr_jwks_ref(struct tr_jwks *set);
void tr_jwks_unref(struct tr_jwks *set); /* NULL is fine */

/* A number that no other set of this process has had or will have; never 0. What was verified
 * under a set is good only while this number is current. */
uint64_t tr_jwks_generation(const struct tr_jwks *set);
bool tr_jwks_is_secret(const struct tr_jwks *set);
/* Mask of what its keys can verify; of a secret: what its length allows (jwt_key.h). Where it has
 * nothing of a provider's algorithms, no token of that provider can be verified. */
uint32_t tr_jwks_algorithms(const struct tr_jwks *set);
uint32_t tr_jwks_count(const struct tr_jwks *set);                          /* usable keys */
uint32_t tr_jwks_skipped(const struct tr_jwks *set, enum tr_jwks_skip why); /* left out */
/* Both have the same keys in the same order (members that make no difference aside): a fetch that
 * brought nothing new may keep the old set, and the tokens verified by it. */
bool tr_jwks_equal(const struct tr_jwks *a, const struct tr_jwks *b);

#define TR_JWKS_TRIES_MAX 8 /* keys that one token may be tried with */

/* The keys that may have made a signature: with a kid those of that name, or, where the set has
 * none of that name, those without name; without kid all; of these only what fits the algorithm.
 * At most TR_JWKS_TRIES_MAX are written. *ret_known: the set has a key with this kid (true for a
 * token without kid). */
uint32_t tr_jwks_find(const struct tr_jwks *set, bool has_kid, struct tr_span kid, enum tr_jwa alg,
                      const struct tr_jwt_key *ret_keys[TR_JWKS_TRIES_MAX], bool *ret_known);

#endif
