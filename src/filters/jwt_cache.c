#include "filters/jwt_cache.h"

#include "base/alloc.h"
#include "base/counter.h"

#define TAIL_BYTES 32

/* The end of a token is its signature, as random as a hash of all of it would be. */
static uint64_t hash(const struct tr_jwt_cache *cache, struct tr_span token)
{
    size_t n = token.len < TAIL_BYTES ? token.len : TAIL_BYTES;
    return tr_span_hash(tr_span_from(token, token.len - n), cache->seed);
}

enum tr_err tr_jwt_cache_init(struct tr_jwt_cache *cache, uint32_t max_entries, size_t max_bytes,
                              uint64_t seed)
{
    uint32_t buckets = 1;
    memset(cache, 0, sizeof *cache);
    tr_list_init(&cache->idle);
    if (!max_entries)
        return TR_OK;
    while (buckets < max_entries && buckets < UINT32_C(1) << 31)
        buckets *= 2;
    cache->buckets = tr_calloc(buckets, sizeof(struct tr_jwt *));
    if (!cache->buckets)
        return TR_ERR_NOMEM;
    cache->mask = buckets - 1;
    cache->max_entries = max_entries;
    cache->max_bytes = max_bytes;
    cache->seed = seed;
    return TR_OK;
}

static void remove_entry(struct tr_jwt_cache *cache, struct tr_jwt *jwt)
{
    struct tr_jwt **at = &cache->buckets[jwt->hash & cache->mask];
    while (*at != jwt)
        at = &(*at)->next;
    *at = jwt->next;
    tr_list_remove(&jwt->node);
    jwt->next = NULL;
    jwt->generation = 0;
    tr_count_add(&cache->entries, (uint64_t)-1);
    tr_count_add(&cache->bytes, -(uint64_t)jwt->bytes);
    tr_jwt_unref(jwt);
}

void tr_jwt_cache_clear(struct tr_jwt_cache *cache)
{
    while (!tr_list_empty(&cache->idle))
        remove_entry(cache, tr_container_of(cache->idle.next, struct tr_jwt, node));
}

void tr_jwt_cache_fini(struct tr_jwt_cache *cache)
{
    tr_jwt_cache_clear(cache);
    tr_free(cache->buckets);
    cache->buckets = NULL;
    cache->max_entries = 0;
}

static struct tr_jwt *find(const struct tr_jwt_cache *cache, uint32_t provider,
                           struct tr_span token, uint64_t h)
{
    struct tr_jwt *jwt = cache->buckets[h & cache->mask];
    while (jwt && (jwt->hash != h || jwt->provider != provider || !tr_span_eq(jwt->token, token)))
        jwt = jwt->next;
    return jwt;
}

struct tr_jwt *tr_jwt_cache_get(struct tr_jwt_cache *cache, uint32_t provider, struct tr_span token,
                                uint64_t generation, int64_t now_s)
{
    struct tr_jwt *jwt = NULL;
    if (cache->max_entries)
        jwt = find(cache, provider, token, hash(cache, token));
    if (jwt && (jwt->generation != generation || now_s >= jwt->valid_until_s)) {
        remove_entry(cache, jwt);
        jwt = NULL;
    }
    if (!jwt)
        return NULL;
    if (cache->idle.prev != &jwt->node) {
        tr_list_remove(&jwt->node);
        tr_list_push_back(&cache->idle, &jwt->node);
    }
    return tr_jwt_ref(jwt);
}

bool tr_jwt_cache_issuer(const struct tr_jwt_cache *cache, struct tr_span token,
                         struct tr_span *ret_issuer)
{
    if (!cache->max_entries)
        return false;
    uint64_t h = hash(cache, token);
    const struct tr_jwt *jwt = cache->buckets[h & cache->mask];
    /* `iss` may stand behind more claims than are kept */
    while (jwt && (jwt->hash != h || !jwt->issuer.len || !tr_span_eq(jwt->token, token)))
        jwt = jwt->next;
    if (jwt)
        *ret_issuer = jwt->issuer;
    return jwt != NULL;
}

void tr_jwt_cache_put(struct tr_jwt_cache *cache, uint32_t provider, uint64_t generation,
                      struct tr_jwt *jwt)
{
    if (!cache->max_entries || jwt->generation || jwt->bytes > cache->max_bytes)
        return;
    uint64_t h = hash(cache, jwt->token);
    struct tr_jwt *old = find(cache, provider, jwt->token, h);
    if (old)
        remove_entry(cache, old);
    while (cache->entries >= cache->max_entries || cache->bytes > cache->max_bytes - jwt->bytes) {
        remove_entry(cache, tr_container_of(cache->idle.next, struct tr_jwt, node));
        tr_count(&cache->evicted);
    }
    jwt->provider = provider;
    jwt->generation = generation;
    jwt->hash = h;
    jwt->next = cache->buckets[h & cache->mask];
    cache->buckets[h & cache->mask] = jwt;
    tr_list_push_back(&cache->idle, &jwt->node);
    tr_count(&cache->entries);
    tr_count_add(&cache->bytes, jwt->bytes);
    tr_jwt_ref(jwt);
}
