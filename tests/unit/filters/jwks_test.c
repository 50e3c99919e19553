#include "filters/jwks.h"

#include "jwt_world.h"
#include "test.h"

#include <jansson.h>
#include <pthread.h>

static char big[TR_JWKS_BYTES_MAX + 2];

/* {"keys": [...]} of what the caller puts between. */
static void begin_set(struct tr_buf *b)
{
    tr_buf_init(b);
    put_text(b, "{\"keys\":[");
}

static struct tr_jwks *end_set(struct tr_buf *b)
{
    put_text(b, "]}");
    assert_int_equal(tr_buf_push(b, 0), 0);
    struct tr_jwks *set = parse_set(b->ptr);
    tr_buf_fini(b);
    return set;
}

static void refused(struct tr_span json, const char *why)
{
    struct tr_jwks *set = NULL;
    struct tr_status st;
    tr_status_clear(&st);
    assert_int_equal(tr_jwks_parse(json, &set, &st), TR_ERR_AUTH_UNAVAILABLE);
    assert_null(set);
    st.text[st.text_len < TR_STATUS_TEXT_MAX ? st.text_len : TR_STATUS_TEXT_MAX - 1] = 0;
    if (!strstr(st.text, why))
        fail_msg("%s", st.text);
}

/* A set of one good key and this one: the good one stays, the other is left out for this reason. */
static void skipped(const char *jwk, enum tr_jwks_skip why)
{
    struct tr_buf b;
    begin_set(&b);
    put_text(&b, jwk);
    put_text(&b, ",");
    put_jwk(&b, W_ED25519, ",\"kid\":\"good\"");
    struct tr_jwks *set = end_set(&b);
    assert_int_equal(tr_jwks_count(set), 1);
    for (int i = 0; i < TR_JWKS_SKIP__COUNT; i++)
        if (tr_jwks_skipped(set, (enum tr_jwks_skip)i) != (i == (int)why))
            fail_msg("%s: %s", jwk, tr_jwks_skip_name((enum tr_jwks_skip)i));
    tr_jwks_unref(set);
}

/* The same for a key of the world with these members more. */
static void skipped_with(enum world_kind kind, const char *more, enum tr_jwks_skip why)
{
    struct tr_buf b;
    tr_buf_init(&b);
    put_jwk(&b, kind, more);
    assert_int_equal(tr_buf_push(&b, 0), 0);
    skipped(b.ptr, why);
    tr_buf_fini(&b);
}

static void every_kind_of_key_is_usable(void **state)
{
    (void)state;
    struct tr_buf b;
    begin_set(&b);
    for (int kind = 0; kind < W_SECRET; kind++) {
        char kid[32];
        (void)snprintf(kid, sizeof kid, ",\"kid\":\"%s\"", world_names[kind]);
        if (kind)
            put_text(&b, ",");
        put_jwk(&b, (enum world_kind)kind, kid);
    }
    struct tr_jwks *set = end_set(&b);
    assert_int_equal(tr_jwks_count(set), W_SECRET);
    assert_int_equal(tr_jwks_algorithms(set), TR_JWA_ASYMMETRIC);
    assert_false(tr_jwks_is_secret(set));
    for (int i = 0; i < TR_JWKS_SKIP__COUNT; i++)
        assert_int_equal(tr_jwks_skipped(set, (enum tr_jwks_skip)i), 0);
    tr_jwks_unref(set);
}

static void keys_for_something_else_are_left_out(void **state)
{
    (void)state;
    skipped_with(W_P256, ",\"use\":\"enc\"", TR_JWKS_SKIP_USE);
    skipped_with(W_P256, ",\"use\":\"SIG\"", TR_JWKS_SKIP_USE);
    skipped_with(W_P256, ",\"key_ops\":[\"sign\"]", TR_JWKS_SKIP_USE);
    skipped_with(W_P256, ",\"key_ops\":[]", TR_JWKS_SKIP_USE);
    skipped_with(W_P256, ",\"key_ops\":[1,null,\"verify \"]", TR_JWKS_SKIP_USE);
    skipped_with(W_RSA, ",\"alg\":\"RSA-OAEP\"", TR_JWKS_SKIP_USE);
    skipped_with(W_RSA, ",\"alg\":\"none\"", TR_JWKS_SKIP_USE);
    skipped_with(W_RSA, ",\"alg\":\"ES256\"", TR_JWKS_SKIP_USE);
    skipped_with(W_RSA, ",\"alg\":\"HS256\"", TR_JWKS_SKIP_USE);
    skipped_with(W_P256, ",\"alg\":\"ES384\"", TR_JWKS_SKIP_USE);
    skipped_with(W_ED448, ",\"alg\":\"RS256\"", TR_JWKS_SKIP_USE);
}

static void keys_of_unknown_type_are_left_out(void **state)
{
    (void)state;
    skipped("{\"kty\":\"AKP\",\"alg\":\"ML-DSA-44\",\"pub\":\"AAAA\"}", TR_JWKS_SKIP_USE);
    skipped("{\"kty\":\"AKP\",\"pub\":\"AAAA\"}", TR_JWKS_SKIP_TYPE);
    skipped("{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AAAA\",\"y\":\"AAAA\"}",
            TR_JWKS_SKIP_TYPE);
    skipped("{\"kty\":\"EC\",\"x\":\"AAAA\",\"y\":\"AAAA\"}", TR_JWKS_SKIP_TYPE);
    skipped("{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AAAA\"}", TR_JWKS_SKIP_TYPE);
}

static void symmetric_and_private_keys_are_left_out(void **state)
{
    (void)state;
    skipped("{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"" RFC7515_A1_K "\"}",
            TR_JWKS_SKIP_SYMMETRIC);
    skipped_with(W_P256, ",\"d\":\"AAAA\"", TR_JWKS_SKIP_PRIVATE);
    skipped_with(W_RSA, ",\"p\":\"AAAA\"", TR_JWKS_SKIP_PRIVATE);
    skipped_with(W_ED448, ",\"d\":\"\"", TR_JWKS_SKIP_PRIVATE);
    skipped("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"AAAA\"}", TR_JWKS_SKIP_PRIVATE);
}

static void malformed_keys_are_left_out(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "1",
        "null",
        "[]",
        "{}",
        "{\"kty\":1}",
        "{\"kty\":\"RSA\"}",
        "{\"kty\":\"RSA\",\"n\":\"AAAA\"}",
        "{\"kty\":\"RSA\",\"n\":5,\"e\":\"AQAB\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}",
        "{\"kty\":\"EC\",\"crv\":7,\"x\":\"AAAA\",\"y\":\"AAAA\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}",
        /* standard base64, and a bit too much at the end */
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS/"
        "7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_"
        "7TyWQHOg7hcvPapiMlrwIaaPcHURp\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        skipped(bad[i], TR_JWKS_SKIP_MALFORMED);
    skipped_with(W_P256, ",\"kid\":7", TR_JWKS_SKIP_MALFORMED);
    skipped_with(W_P256, ",\"use\":null", TR_JWKS_SKIP_MALFORMED);
    skipped_with(W_P256, ",\"alg\":[]", TR_JWKS_SKIP_MALFORMED);
    skipped_with(W_P256, ",\"key_ops\":\"verify\"", TR_JWKS_SKIP_MALFORMED);
    struct tr_buf b;
    tr_buf_init(&b);
    put_text(&b, ",\"kid\":\"");
    for (int i = 0; i <= TR_JWKS_KID_MAX; i++)
        put_text(&b, "k");
    assert_int_equal(tr_buf_append(&b, TR_SPAN("\"\0")), 0);
    skipped_with(W_P256, b.ptr, TR_JWKS_SKIP_MALFORMED);
    tr_buf_fini(&b);
}

static void weak_rsa_keys_are_left_out(void **state)
{
    (void)state;
    struct tr_buf b;
    EVP_PKEY *small = EVP_RSA_gen(1024);
    tr_buf_init(&b);
    put_jwk_of(&b, small, W_RSA, "");
    assert_int_equal(tr_buf_push(&b, 0), 0);
    skipped(b.ptr, TR_JWKS_SKIP_WEAK);
    tr_buf_fini(&b);
    EVP_PKEY_free(small);
}

static void documents_without_a_usable_key_are_refused(void **state)
{
    (void)state;
    refused(TR_SPAN(""), "not JSON");
    refused(TR_SPAN("{\"keys\":["), "not JSON");
    refused(TR_SPAN("<html>"), "not JSON");
    refused(TR_SPAN("{\"keys\":[]} x"), "not JSON");
    refused(TR_SPAN("{\"keys\":[],\"keys\":[]}"), "not JSON"); /* a name twice */
    refused(TR_SPAN("[]"), "not a JSON object");
    refused(TR_SPAN("{}"), "\"keys\"");
    refused(TR_SPAN("{\"keys\":{}}"), "\"keys\"");
    refused(TR_SPAN("{\"keys\":[]}"), "no usable key");
    refused(TR_SPAN("{\"keys\":[{\"kty\":\"oct\",\"k\":\"" RFC7515_A1_K "\"}]}"), "1 symmetric");
    refused(TR_SPAN("{\"keys\":[null,{\"kty\":\"X\"}]}"), "no usable key (2 in it");
}

static void documents_have_bounds(void **state)
{
    (void)state;
    memset(big, ' ', sizeof big);
    refused(tr_span(big, TR_JWKS_BYTES_MAX + 1), "more than");
    refused(tr_span(big, TR_JWKS_BYTES_MAX), "not JSON");
    struct tr_buf b;
    begin_set(&b);
    for (int i = 0; i <= TR_JWKS_KEYS_MAX; i++)
        put_text(&b, i ? ",0" : "0");
    put_text(&b, "]}");
    refused(tr_buf_span(&b), "more than 1024");
    tr_buf_fini(&b);
}

static uint32_t find(const struct tr_jwks *set, const char *kid, enum tr_jwa alg, bool *ret_known)
{
    const struct tr_jwt_key *keys[TR_JWKS_TRIES_MAX];
    uint32_t n = tr_jwks_find(set, kid != NULL, tr_span_cstr(kid), alg, keys, ret_known);
    for (uint32_t i = 0; i < n; i++)
        assert_true(tr_jwt_key_algorithms(keys[i]) & TR_JWA_BIT(alg));
    return n;
}

static void keys_are_found_by_kid_and_algorithm(void **state)
{
    (void)state;
    struct tr_buf b;
    begin_set(&b);
    put_jwk(&b, W_RSA, ",\"kid\":\"r\"");
    put_text(&b, ",");
    put_jwk(&b, W_RSA, ",\"kid\":\"r256\",\"alg\":\"RS256\",\"use\":\"sig\"");
    put_text(&b, ",");
    put_jwk(&b, W_P256, ",\"kid\":\"twin\",\"key_ops\":[\"x\",\"verify\"]");
    put_text(&b, ",");
    put_jwk(&b, W_P384, ",\"kid\":\"twin\"");
    put_text(&b, ",");
    put_jwk(&b, W_ED25519, ",\"kid\":\"\"");
    struct tr_jwks *set = end_set(&b);
    bool known = false;
    assert_int_equal(find(set, "r", TR_JWA_PS512, &known), 1);
    assert_true(known);
    assert_int_equal(find(set, "r256", TR_JWA_RS256, &known), 1);
    assert_int_equal(find(set, "r256", TR_JWA_RS384, &known), 0); /* the key's own alg */
    assert_true(known);
    assert_int_equal(find(set, "r256", TR_JWA_ES256, &known), 0);
    assert_int_equal(find(set, "twin", TR_JWA_ES256, &known), 1);
    assert_int_equal(find(set, "twin", TR_JWA_ES384, &known), 1);
    assert_int_equal(find(set, "", TR_JWA_EDDSA, &known), 1);
    assert_int_equal(find(set, "R", TR_JWA_RS256, &known), 0);
    assert_false(known);
    assert_int_equal(find(set, NULL, TR_JWA_RS256, &known), 2);
    assert_true(known);
    assert_int_equal(find(set, NULL, TR_JWA_RS384, &known), 1);
    assert_int_equal(find(set, NULL, TR_JWA_ES512, &known), 0);
    assert_int_equal(find(set, NULL, TR_JWA_HS256, &known), 0);
    tr_jwks_unref(set);
}

static void keys_without_kid_stand_in_for_an_unknown_one(void **state)
{
    (void)state;
    struct tr_buf b;
    begin_set(&b);
    put_jwk(&b, W_P256, "");
    put_text(&b, ",");
    put_jwk(&b, W_P256, ",\"kid\":\"a\"");
    struct tr_jwks *set = end_set(&b);
    bool known = true;
    assert_int_equal(find(set, "b", TR_JWA_ES256, &known), 1);
    assert_false(known);
    assert_int_equal(find(set, "a", TR_JWA_ES256, &known), 1);
    assert_true(known);
    assert_int_equal(find(set, NULL, TR_JWA_ES256, &known), 2);
    tr_jwks_unref(set);
}

static void tries_are_bounded(void **state)
{
    (void)state;
    struct tr_buf b;
    begin_set(&b);
    for (int i = 0; i < 12; i++) {
        if (i)
            put_text(&b, ",");
        put_jwk(&b, W_ED25519, "");
    }
    struct tr_jwks *set = end_set(&b);
    bool known;
    assert_int_equal(tr_jwks_count(set), 12);
    assert_int_equal(find(set, NULL, TR_JWA_EDDSA, &known), TR_JWKS_TRIES_MAX);
    tr_jwks_unref(set);
}

static void secrets_come_from_configuration_alone(void **state)
{
    (void)state;
    struct tr_jwks *set = world_set(W_SECRET, ""), *other = NULL;
    bool known;
    assert_true(tr_jwks_is_secret(set));
    assert_int_equal(tr_jwks_algorithms(set), TR_JWA_HMAC);
    assert_int_equal(find(set, NULL, TR_JWA_HS256, &known), 1);
    assert_int_equal(find(set, "any", TR_JWA_HS256, &known), 1);
    assert_int_equal(find(set, NULL, TR_JWA_RS256, &known), 0);
    assert_int_equal(tr_jwks_from_secret(TR_SPAN("short"), &other, NULL), TR_ERR_AUTH_INVALID);
    assert_null(other);
    tr_jwks_unref(set);
}

static void generations_never_come_back(void **state)
{
    (void)state;
    uint64_t last = 0;
    for (int i = 0; i < 4; i++) {
        struct tr_jwks *set = world_set(W_SECRET, "");
        assert_true(tr_jwks_generation(set) > last);
        last = tr_jwks_generation(set);
        tr_jwks_unref(set);
    }
}

static void sets_are_equal_by_what_verifies(void **state)
{
    (void)state;
    struct tr_jwks *sets[] = {
        world_set(W_P256, ",\"kid\":\"a\""),
        world_set(W_P256, ",\"kid\":\"b\""),
        world_set(W_P256, ""),
        world_set(W_P256, ",\"kid\":\"\""),
        world_set(W_RSA, ",\"kid\":\"a\""),
        world_set(W_RSA, ",\"kid\":\"a\",\"alg\":\"RS256\""),
        world_set(W_SECRET, ""),
    };
    struct tr_jwks *same = world_set(W_P256, ",\"kid\":\"a\",\"alg\":\"ES256\",\"x5t\":\"\"");
    size_t n = sizeof sets / sizeof sets[0];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            assert_int_equal(tr_jwks_equal(sets[i], sets[j]), i == j);
    assert_true(tr_jwks_equal(sets[0], same));
    for (size_t i = 0; i < n; i++)
        tr_jwks_unref(sets[i]);
    tr_jwks_unref(same);
}

static void *use_set(void *arg)
{
    struct tr_jwks *set = arg;
    for (int i = 0; i < 2000; i++)
        tr_jwks_unref(tr_jwks_ref(set));
    tr_jwks_unref(set);
    return NULL;
}

static void threads_share_a_set(void **state)
{
    (void)state;
    struct tr_jwks *set = world_set(W_P256, "");
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_set, tr_jwks_ref(set)), 0);
    tr_jwks_unref(set);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void inline_keys_are_read_like_fetched_ones(void **state)
{
    (void)state;
    json_t *doc = json_loads("{\"keys\":[" RFC7515_A3_KEY "]}", 0, NULL);
    struct tr_jwks *set = NULL, *parsed = parse_set("{\"keys\":[" RFC7515_A3_KEY "]}");
    assert_int_equal(tr_jwks_from_dom(doc, &set, NULL), 0);
    json_decref(doc);
    assert_true(tr_jwks_equal(set, parsed));
    tr_jwks_unref(set);
    tr_jwks_unref(parsed);
    set = NULL;
    assert_int_equal(tr_jwks_from_dom(NULL, &set, NULL), TR_ERR_AUTH_UNAVAILABLE);
    assert_null(set);
}

static void discovery_is_for_its_issuer(void **state)
{
    (void)state;
    char uri[32];
    size_t len = 99;
    struct tr_span issuer = TR_SPAN("https://a.example");
    assert_int_equal(tr_jwks_discovery(TR_SPAN("{\"issuer\":\"https://a.example\",\"jwks_uri\":"
                                               "\"https://a.example/jwks\",\"more\":[]}"),
                                       issuer, uri, sizeof uri, &len, NULL),
                     0);
    assert_span_equal(tr_span(uri, len), "https://a.example/jwks");
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"jwks_uri\":\"https://a.example/jwks\"}",
        "{\"issuer\":\"https://a.example/\",\"jwks_uri\":\"https://a.example/jwks\"}",
        "{\"issuer\":[\"https://a.example\"],\"jwks_uri\":\"https://a.example/jwks\"}",
        "{\"issuer\":\"https://a.example\"}",
        "{\"issuer\":\"https://a.example\",\"jwks_uri\":\"\"}",
        "{\"issuer\":\"https://a.example\",\"jwks_uri\":7}",
        "{\"issuer\":\"https://a.example\",\"jwks_uri\":\"https://a.example/a-long-way/to-go\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        len = 99;
        assert_int_equal(
            tr_jwks_discovery(tr_span_cstr(bad[i]), issuer, uri, sizeof uri, &len, NULL),
            TR_ERR_AUTH_UNAVAILABLE);
        assert_int_equal(len, 99);
    }
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    struct tr_buf b;
    tr_buf_init(&b);
    put_text(&b, "{\"keys\":[");
    put_jwk(&b, W_P256, ",\"kid\":\"a\"");
    put_text(&b, ",{\"kty\":\"oct\"},");
    put_jwk(&b, W_ED25519, ",\"kid\":\"b\"");
    put_text(&b, "]}");
    uint64_t n = 1;
    enum tr_err err = TR_ERR_NOMEM;
    for (; err && n < 100; n++) {
        struct tr_jwks *set = NULL;
        tr_alloc_fail_after(n);
        err = tr_jwks_parse(tr_buf_span(&b), &set, NULL);
        tr_alloc_fail_after(0);
        assert_true(err == 0 || (err == TR_ERR_NOMEM && !set));
        tr_jwks_unref(set);
    }
    assert_int_equal(err, 0);
    assert_true(n > 5);
    err = TR_ERR_NOMEM;
    for (n = 1; err && n < 10; n++) {
        struct tr_jwks *set = NULL;
        tr_alloc_fail_after(n);
        err = tr_jwks_from_secret(TR_SPAN(WORLD_SECRET), &set, NULL);
        tr_alloc_fail_after(0);
        assert_true(err == 0 || (err == TR_ERR_NOMEM && !set));
        tr_jwks_unref(set);
    }
    assert_int_equal(n, 4); /* the set, the key, then none failed */
    tr_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_key_is_usable),
        cmocka_unit_test(keys_for_something_else_are_left_out),
        cmocka_unit_test(keys_of_unknown_type_are_left_out),
        cmocka_unit_test(symmetric_and_private_keys_are_left_out),
        cmocka_unit_test(malformed_keys_are_left_out),
        cmocka_unit_test(weak_rsa_keys_are_left_out),
        cmocka_unit_test(documents_without_a_usable_key_are_refused),
        cmocka_unit_test(documents_have_bounds),
        cmocka_unit_test(keys_are_found_by_kid_and_algorithm),
        cmocka_unit_test(keys_without_kid_stand_in_for_an_unknown_one),
        cmocka_unit_test(tries_are_bounded),
        cmocka_unit_test(secrets_come_from_configuration_alone),
        cmocka_unit_test(generations_never_come_back),
        cmocka_unit_test(sets_are_equal_by_what_verifies),
        cmocka_unit_test(threads_share_a_set),
        cmocka_unit_test(inline_keys_are_read_like_fetched_ones),
        cmocka_unit_test(discovery_is_for_its_issuer),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, world_end);
}
