/* Verified tokens that a worker remembers, so that a token that comes again costs a look-up.
 *
 * Contract
 *  1. A token is found by provider and by all of its bytes, while now < valid_until_s and while the
 *     key set that verified it is the provider's current one (by tr_jwks_generation). A token that
 *     is no longer good goes when it is looked up.
 *  2. Bounded by entries and by bytes (whole blocks, as tr_jwt.bytes); the idlest go first. A block
 *     that a request still uses lives until the last reference is gone; it is no longer counted.
 *  3. Nothing but init allocates: an entry is the verified token's own block. A hit costs a hash of
 *     the token's end (its signature: no peer can aim collisions without the issuer's key), one
 *     comparison of all bytes, and a move in the list.
 *  4. One cache belongs to one configuration: providers are numbered by it. Thread: its worker's;
 *     the counters may be read by any thread. */
#ifndef TR_FILTERS_JWT_CACHE_H
#define TR_FILTERS_JWT_CACHE_H

#include "filters/jwt.h"

struct tr_jwt_cache {
    struct tr_jwt **buckets;
    uint32_t mask; /* of buckets; meaningless when max_entries is 0 */
    uint32_t max_entries;
    size_t max_bytes;
    uint64_t seed;
    struct tr_list idle; /* tr_jwt.node, the idlest first */
    /* Counters: read with relaxed loads by other threads. */
    uint64_t entries, bytes; /* now */
    uint64_t evicted;        /* still good, gone for want of room */
};

/* max_entries 0: remembers nothing. seed: any random number. NOMEM leaves *cache as if max_entries
 * were 0. */
enum tr_err tr_jwt_cache_init(struct tr_jwt_cache *cache, uint32_t max_entries, size_t max_bytes,
                              uint64_t seed) TR_MUST_USE;
/* Requests may still hold blocks; they free them by tr_jwt_unref. */
void tr_jwt_cache_fini(struct tr_jwt_cache *cache);
/* NULL: not there. Else the verified token with one more reference, which is the caller's. */
struct tr_jwt *tr_jwt_cache_get(struct tr_jwt_cache *cache, uint32_t provider, struct tr_span token,
                                uint64_t generation, int64_t now_s);
/* The issuer of a token that is there for any provider, whether its keys and its time still hold;
 * false: it is there for none, or its issuer was not kept. The span lives as long as its entry. */
bool tr_jwt_cache_issuer(const struct tr_jwt_cache *cache, struct tr_span token,
                         struct tr_span *ret_issuer);
/* Remembers `jwt`, verified with the set of this generation (the caller keeps its reference); one
 * that is there for the same token is replaced. A token larger than the whole cache, or one that is
 * in a cache already, is left alone. */
void tr_jwt_cache_put(struct tr_jwt_cache *cache, uint32_t provider, uint64_t generation,
                      struct tr_jwt *jwt);
void tr_jwt_cache_clear(struct tr_jwt_cache *cache);

#endif
