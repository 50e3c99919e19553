#include "filters/jwt_cache.h"

#include "jwt_world.h"
#include "test.h"

#define NOW 1000000

static struct tr_jwks *keys;

static int begin(void **state)
{
    (void)state;
    keys = world_set(W_SECRET, "");
    return 0;
}

static int end(void **state)
{
    (void)state;
    tr_jwks_unref(keys);
    return world_end(state);
}

/* A verified token of subject `n`, good until `exp`, with a claim of `pad` bytes. */
static struct tr_jwt *token(unsigned n, int64_t exp, unsigned pad)
{
    static const struct tr_jwt_rules rules = {
        .issuer = TR_SPAN_INIT("i"), .any_audience = true, .algorithms = TR_JWA_HMAC};
    struct tr_buf payload, b;
    struct tr_jwt *jwt = NULL;
    tr_buf_init(&payload);
    tr_buf_init(&b);
    assert_int_equal(tr_buf_printf(&payload,
                                   "{\"iss\":\"i\",\"exp\":%lld,\"sub\":\"%u\",\"pad\":\"%0*d\"}",
                                   (long long)exp, n, (int)pad + 1, 0),
                     0);
    assert_int_equal(tr_buf_push(&payload, 0), 0);
    put_hs(&b, payload.ptr);
    assert_int_equal(tr_jwt_verify(tr_buf_span(&b), &rules, keys, NOW, &jwt), TR_JWT_OK);
    tr_buf_fini(&payload);
    tr_buf_fini(&b);
    return jwt;
}

#define CACHE(name, entries, bytes)                                                                \
    struct tr_jwt_cache name;                                                                      \
    assert_int_equal(tr_jwt_cache_init(&name, entries, bytes, 42), 0)

/* Whether a copy of the token's bytes finds it. */
static bool has(struct tr_jwt_cache *cache, uint32_t provider, const struct tr_jwt *jwt,
                uint64_t generation, int64_t now)
{
    char *copy = malloc(jwt->token.len);
    memcpy(copy, jwt->token.ptr, jwt->token.len);
    struct tr_jwt *got =
        tr_jwt_cache_get(cache, provider, tr_span(copy, jwt->token.len), generation, now);
    free(copy);
    if (got)
        assert_ptr_equal(got, jwt);
    tr_jwt_unref(got);
    return got != NULL;
}

static void a_token_is_found_again(void **state)
{
    (void)state;
    CACHE(cache, 8, 1 << 20);
    struct tr_jwt *a = token(1, NOW + 10, 0);
    assert_false(has(&cache, 0, a, 5, NOW));
    tr_jwt_cache_put(&cache, 0, 5, a);
    assert_int_equal(cache.entries, 1);
    assert_int_equal(cache.bytes, a->bytes);
    struct tr_alloc_stats before = tr_alloc_stats();
    struct tr_jwt *got = tr_jwt_cache_get(&cache, 0, a->token, 5, NOW);
    assert_ptr_equal(got, a);
    tr_jwt_unref(got);
    assert_int_equal(tr_alloc_stats().calls, before.calls);
    assert_span_equal(a->subject, "1");
    tr_jwt_unref(a);
    tr_jwt_cache_fini(&cache);
}

static void providers_do_not_share_tokens(void **state)
{
    (void)state;
    CACHE(cache, 8, 1 << 20);
    struct tr_jwt *a = token(1, NOW + 10, 0);
    tr_jwt_cache_put(&cache, 3, 5, a);
    assert_false(has(&cache, 2, a, 5, NOW));
    assert_false(has(&cache, 4, a, 5, NOW));
    assert_true(has(&cache, 3, a, 5, NOW));
    tr_jwt_unref(a);
    tr_jwt_cache_fini(&cache);
}

static void a_token_of_any_provider_tells_its_issuer(void **state)
{
    (void)state;
    CACHE(cache, 8, 1 << 20);
    CACHE(none, 0, 0);
    struct tr_jwt *a = token(1, NOW + 10, 0), *b = token(2, NOW + 10, 0);
    struct tr_span issuer = TR_SPAN("");
    assert_false(tr_jwt_cache_issuer(&cache, a->token, &issuer));
    tr_jwt_cache_put(&cache, 3, 5, a);
    assert_true(tr_jwt_cache_issuer(&cache, a->token, &issuer));
    assert_span_equal(issuer, "i");
    assert_false(tr_jwt_cache_issuer(&cache, b->token, &issuer));
    assert_false(tr_jwt_cache_issuer(&cache, tr_span(a->token.ptr, a->token.len - 1), &issuer));
    assert_false(tr_jwt_cache_issuer(&none, a->token, &issuer));
    tr_jwt_unref(a);
    tr_jwt_unref(b);
    tr_jwt_cache_fini(&cache);
}

/* A token of another provider with the same issuer would be refused otherwise. */
static void an_issuer_behind_too_many_claims_is_not_told(void **state)
{
    (void)state;
    static const struct tr_jwt_rules rules = {
        .issuer = TR_SPAN_INIT("i"), .any_audience = true, .algorithms = TR_JWA_HMAC};
    CACHE(cache, 8, 1 << 20);
    for (int before = TR_JWT_CLAIMS_MAX - 2; before <= TR_JWT_CLAIMS_MAX; before += 2) {
        struct tr_buf payload, b;
        struct tr_jwt *jwt = NULL;
        struct tr_span issuer = TR_SPAN("");
        tr_buf_init(&payload);
        tr_buf_init(&b);
        assert_int_equal(tr_buf_printf(&payload, "{\"exp\":%d", NOW + 10), 0);
        for (int i = 0; i < before; i++)
            assert_int_equal(tr_buf_printf(&payload, ",\"x%d\":1", i), 0);
        assert_int_equal(tr_buf_printf(&payload, ",\"iss\":\"i\"}"), 0);
        assert_int_equal(tr_buf_push(&payload, 0), 0);
        put_hs(&b, payload.ptr);
        assert_int_equal(tr_jwt_verify(tr_buf_span(&b), &rules, keys, NOW, &jwt), TR_JWT_OK);
        tr_jwt_cache_put(&cache, 3, 5, jwt);
        assert_int_equal(tr_jwt_cache_issuer(&cache, jwt->token, &issuer),
                         before < TR_JWT_CLAIMS_MAX);
        assert_true(has(&cache, 3, jwt, 5, NOW));
        tr_jwt_unref(jwt);
        tr_buf_fini(&payload);
        tr_buf_fini(&b);
    }
    tr_jwt_cache_fini(&cache);
}

/* Only the end of a token is hashed: one that differs elsewhere lands in the same place. */
static void all_bytes_of_a_token_count(void **state)
{
    (void)state;
    CACHE(cache, 8, 1 << 20);
    struct tr_jwt *a = token(1, NOW + 10, 100);
    tr_jwt_cache_put(&cache, 0, 5, a);
    char *copy = malloc(a->token.len + 1);
    memcpy(copy, a->token.ptr, a->token.len);
    for (size_t i = 0; i < a->token.len; i++) {
        copy[i] ^= 1;
        assert_null(tr_jwt_cache_get(&cache, 0, tr_span(copy, a->token.len), 5, NOW));
        copy[i] ^= 1;
    }
    assert_null(tr_jwt_cache_get(&cache, 0, tr_span(copy + 1, a->token.len - 1), 5, NOW));
    assert_null(tr_jwt_cache_get(&cache, 0, tr_span(copy, a->token.len - 1), 5, NOW));
    copy[a->token.len] = 'A';
    assert_null(tr_jwt_cache_get(&cache, 0, tr_span(copy, a->token.len + 1), 5, NOW));
    assert_null(tr_jwt_cache_get(&cache, 0, tr_span(copy, 0), 5, NOW));
    memmove(copy + 1, a->token.ptr, a->token.len);
    copy[0] = 'e';
    assert_null(tr_jwt_cache_get(&cache, 0, tr_span(copy, a->token.len + 1), 5, NOW));
    free(copy);
    tr_jwt_unref(a);
    tr_jwt_cache_fini(&cache);
}

static void a_token_is_gone_when_it_expires(void **state)
{
    (void)state;
    CACHE(cache, 8, 1 << 20);
    struct tr_jwt *a = token(1, NOW + 10, 0);
    tr_jwt_cache_put(&cache, 0, 5, a);
    assert_true(has(&cache, 0, a, 5, NOW + 9));
    assert_false(has(&cache, 0, a, 5, NOW + 10));
    assert_int_equal(cache.entries, 0);
    assert_int_equal(cache.bytes, 0);
    assert_int_equal(cache.evicted, 0);
    assert_false(has(&cache, 0, a, 5, NOW + 9)); /* nor does it come back */
    tr_jwt_unref(a);
    tr_jwt_cache_fini(&cache);
}

static void a_token_is_gone_when_its_keys_are_replaced(void **state)
{
    (void)state;
    CACHE(cache, 8, 1 << 20);
    struct tr_jwt *a = token(1, NOW + 10, 0);
    tr_jwt_cache_put(&cache, 0, 5, a);
    assert_false(has(&cache, 0, a, 6, NOW));
    assert_false(has(&cache, 0, a, 5, NOW));
    assert_int_equal(cache.entries, 0);
    tr_jwt_cache_put(&cache, 0, 6, a); /* verified anew */
    assert_true(has(&cache, 0, a, 6, NOW));
    tr_jwt_unref(a);
    tr_jwt_cache_fini(&cache);
}

static void the_idlest_goes_first(void **state)
{
    (void)state;
    CACHE(cache, 3, 1 << 20);
    struct tr_jwt *t[4];
    for (unsigned i = 0; i < 4; i++)
        t[i] = token(i, NOW + 10, 0);
    for (unsigned i = 0; i < 3; i++)
        tr_jwt_cache_put(&cache, 0, 5, t[i]);
    assert_true(has(&cache, 0, t[0], 5, NOW)); /* 1 is the idlest now */
    tr_jwt_cache_put(&cache, 0, 5, t[3]);
    assert_int_equal(cache.entries, 3);
    assert_int_equal(cache.evicted, 1);
    assert_false(has(&cache, 0, t[1], 5, NOW));
    assert_true(has(&cache, 0, t[0], 5, NOW));
    assert_true(has(&cache, 0, t[2], 5, NOW));
    assert_true(has(&cache, 0, t[3], 5, NOW));
    for (unsigned i = 0; i < 4; i++)
        tr_jwt_unref(t[i]);
    tr_jwt_cache_fini(&cache);
}

static void bytes_are_bounded(void **state)
{
    (void)state;
    struct tr_jwt *small = token(1, NOW + 10, 0), *more = token(2, NOW + 10, 0);
    struct tr_jwt *large = token(3, NOW + 10, 2000);
    CACHE(cache, 100, large->bytes);
    tr_jwt_cache_put(&cache, 0, 5, small);
    tr_jwt_cache_put(&cache, 0, 5, more);
    assert_int_equal(cache.bytes, small->bytes + more->bytes);
    tr_jwt_cache_put(&cache, 0, 5, large); /* takes all of it */
    assert_int_equal(cache.entries, 1);
    assert_int_equal(cache.bytes, large->bytes);
    assert_int_equal(cache.evicted, 2);
    tr_jwt_cache_fini(&cache);
    CACHE(tight, 100, large->bytes - 1);
    tr_jwt_cache_put(&tight, 0, 5, small);
    tr_jwt_cache_put(&tight, 0, 5, large); /* does not fit at all: nothing gives way for it */
    assert_true(has(&tight, 0, small, 5, NOW));
    assert_false(has(&tight, 0, large, 5, NOW));
    tr_jwt_cache_fini(&tight);
    tr_jwt_unref(small);
    tr_jwt_unref(more);
    tr_jwt_unref(large);
}

static void claims_live_while_a_request_holds_them(void **state)
{
    (void)state;
    CACHE(cache, 1, 1 << 20);
    struct tr_jwt *a = token(1, NOW + 10, 50), *b = token(2, NOW + 10, 50);
    tr_jwt_cache_put(&cache, 0, 5, a);
    struct tr_jwt *held = tr_jwt_cache_get(&cache, 0, a->token, 5, NOW);
    tr_jwt_unref(a);
    tr_jwt_cache_put(&cache, 0, 5, b); /* evicts a */
    tr_jwt_unref(b);
    assert_int_equal(cache.entries, 1);
    assert_span_equal(held->subject, "1");
    assert_int_equal(tr_claims_find(&held->claims, TR_SPAN("pad"))->values[0].len, 51);
    tr_jwt_cache_fini(&cache);
    assert_span_equal(held->subject, "1");
    tr_jwt_unref(held);
}

static void a_token_is_there_once(void **state)
{
    (void)state;
    CACHE(cache, 8, 1 << 20);
    struct tr_jwt *a = token(1, NOW + 10, 0), *again = token(1, NOW + 10, 0);
    tr_jwt_cache_put(&cache, 0, 5, a);
    tr_jwt_cache_put(&cache, 0, 5, a); /* in the cache: left alone, */
    tr_jwt_cache_put(&cache, 1, 5, a); /* for another provider too */
    assert_int_equal(cache.entries, 1);
    assert_false(has(&cache, 1, a, 5, NOW));
    assert_true(has(&cache, 0, a, 5, NOW));
    tr_jwt_cache_put(&cache, 0, 6, again); /* two requests verified it at once */
    assert_int_equal(cache.entries, 1);
    assert_int_equal(cache.bytes, again->bytes);
    assert_int_equal(cache.evicted, 0);
    assert_true(has(&cache, 0, again, 6, NOW));
    tr_jwt_unref(a);
    tr_jwt_unref(again);
    tr_jwt_cache_fini(&cache);
}

static void a_cache_of_none_remembers_nothing(void **state)
{
    (void)state;
    CACHE(cache, 0, 1 << 20);
    struct tr_jwt *a = token(1, NOW + 10, 0);
    tr_jwt_cache_put(&cache, 0, 5, a);
    assert_false(has(&cache, 0, a, 5, NOW));
    assert_int_equal(a->refs, 1);
    tr_jwt_unref(a);
    tr_jwt_cache_clear(&cache);
    tr_jwt_cache_fini(&cache);
}

static void clear_forgets_all(void **state)
{
    (void)state;
    CACHE(cache, 8, 1 << 20);
    for (unsigned i = 0; i < 8; i++) {
        struct tr_jwt *a = token(i, NOW + 10, 0);
        tr_jwt_cache_put(&cache, i, 5, a);
        tr_jwt_unref(a);
    }
    assert_int_equal(cache.entries, 8);
    tr_jwt_cache_clear(&cache);
    assert_int_equal(cache.entries, 0);
    assert_int_equal(cache.bytes, 0);
    tr_jwt_cache_fini(&cache);
}

/* Against a plain list, with few buckets so that chains are long. */
static void it_holds_what_a_plain_list_would(void **state)
{
    (void)state;
    enum { TOKENS = 24, ROOM = 7 };
    CACHE(cache, ROOM, 1 << 20);
    struct tr_jwt *t[TOKENS];
    unsigned order[ROOM], n = 0; /* the idlest first */
    uint64_t seed = tr_test_seed();
    for (unsigned i = 0; i < TOKENS; i++)
        t[i] = token(i, NOW + 10, 0);
    for (int step = 0; step < 20000; step++) {
        unsigned i = (unsigned)(tr_test_rand(&seed) % TOKENS), at = 0;
        while (at < n && order[at] != i)
            at++;
        bool there = has(&cache, 0, t[i], 5, NOW);
        assert_int_equal(there, at < n);
        if (!there)
            tr_jwt_cache_put(&cache, 0, 5, t[i]);
        if (at == n && n == ROOM)
            at = 0;
        else if (at == n)
            n++;
        memmove(order + at, order + at + 1, (n - at - 1) * sizeof order[0]);
        order[n - 1] = i;
    }
    tr_jwt_cache_fini(&cache);
    for (unsigned i = 0; i < TOKENS; i++) {
        assert_int_equal(t[i]->refs, 1);
        tr_jwt_unref(t[i]);
    }
}

static void out_of_memory_leaves_a_cache_of_none(void **state)
{
    (void)state;
    struct tr_jwt_cache cache;
    tr_alloc_fail_after(1);
    assert_int_equal(tr_jwt_cache_init(&cache, 8, 1 << 20, 1), TR_ERR_NOMEM);
    tr_alloc_fail_after(0);
    assert_null(tr_jwt_cache_get(&cache, 0, TR_SPAN("a.b.c"), 5, NOW));
    tr_jwt_cache_fini(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_found_again),
        cmocka_unit_test(providers_do_not_share_tokens),
        cmocka_unit_test(a_token_of_any_provider_tells_its_issuer),
        cmocka_unit_test(an_issuer_behind_too_many_claims_is_not_told),
        cmocka_unit_test(all_bytes_of_a_token_count),
        cmocka_unit_test(a_token_is_gone_when_it_expires),
        cmocka_unit_test(a_token_is_gone_when_its_keys_are_replaced),
        cmocka_unit_test(the_idlest_goes_first),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(claims_live_while_a_request_holds_them),
        cmocka_unit_test(a_token_is_there_once),
        cmocka_unit_test(a_cache_of_none_remembers_nothing),
        cmocka_unit_test(clear_forgets_all),
        cmocka_unit_test(it_holds_what_a_plain_list_would),
        cmocka_unit_test(out_of_memory_leaves_a_cache_of_none),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
