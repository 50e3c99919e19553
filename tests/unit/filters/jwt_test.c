#include "filters/jwt.h"

#include "jwt_judge.h"
#include "test.h"

/* ---- the examples of RFC 7515 and 8037 ------------------------------------------------------- */

static void examples_of_rfc_7515_are_judged(void **state)
{
    (void)state;
    char k[80];
    size_t len;
    struct tr_jwks *hs = NULL;
    assert_true(tr_jwt_base64url(k, TR_SPAN(RFC7515_A1_K), &len));
    assert_int_equal(tr_jwks_from_secret(tr_span(k, len), &hs, NULL), 0);
    struct tr_jwks *sets[] = {hs, parse_set("{\"keys\":[" RFC7515_A2_KEY "]}"),
                              parse_set("{\"keys\":[" RFC7515_A3_KEY "]}"),
                              parse_set("{\"keys\":[" RFC7515_A4_KEY "]}")};
    const struct tr_span tokens[] = {TR_SPAN(RFC7515_A1), TR_SPAN(RFC7515_A2), TR_SPAN(RFC7515_A3)};
    static const struct tr_jwt_rules joe = {
        .issuer = TR_SPAN_INIT("joe"), .any_audience = true, .algorithms = UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct tr_jwt *jwt = NULL;
        expect(verify(tokens[i], &joe, sets[i], RFC7515_EXP - 1, &jwt), TR_JWT_OK);
        assert_int_equal(jwt->valid_until_s, RFC7515_EXP);
        assert_span_equal(jwt->issuer, "joe");
        assert_int_equal(jwt->claims.count, 3);
        const struct tr_claim *root =
            tr_claims_find(&jwt->claims, TR_SPAN("http://example.com/is_root"));
        assert_non_null(root);
        assert_span_equal(root->values[0], "true");
        tr_jwt_unref(jwt);
        expect(verify(tokens[i], &joe, sets[i], RFC7515_EXP, NULL), TR_JWT_EXPIRED);
        for (size_t j = 0; j < 4; j++)
            if (j != i)
                expect(verify(tokens[i], &joe, sets[j], RFC7515_EXP - 1, NULL), TR_JWT_ALGORITHM);
    }
    /* A.4 signs a text that is no JSON; A.5 is signed by nobody */
    expect(tr_jws_verify(TR_SPAN(RFC7515_A4), UINT32_MAX, sets[3]), TR_JWT_OK);
    expect(verify(TR_SPAN(RFC7515_A4), &joe, sets[3], 0, NULL), TR_JWT_MALFORMED);
    for (size_t j = 0; j < 4; j++) {
        expect(verify(TR_SPAN(RFC7515_A5), &joe, sets[j], 0, NULL), TR_JWT_ALGORITHM);
        expect(tr_jws_verify(TR_SPAN(RFC7515_A5), UINT32_MAX, sets[j]), TR_JWT_ALGORITHM);
    }
    for (size_t j = 0; j < 4; j++)
        tr_jwks_unref(sets[j]);
}

static void the_example_of_rfc_8037_is_good(void **state)
{
    (void)state;
    struct tr_jwks *set = parse_set("{\"keys\":[" RFC8037_A4_KEY "]}");
    expect(tr_jws_verify(TR_SPAN(RFC8037_A4), UINT32_MAX, set), TR_JWT_OK);
    expect(tr_jws_verify(TR_SPAN(RFC8037_A4), ~TR_JWA_BIT(TR_JWA_EDDSA), set), TR_JWT_ALGORITHM);
    tr_jwks_unref(set);
}

/* ---- algorithms and keys --------------------------------------------------------------------- */

static const enum world_kind kind_of[TR_JWA__COUNT] = {
    W_RSA,  W_RSA,  W_RSA,     W_RSA,    W_RSA,    W_RSA,   W_P256,
    W_P384, W_P521, W_ED25519, W_SECRET, W_SECRET, W_SECRET};

static void every_algorithm_of_rfc_7518_verifies(void **state)
{
    (void)state;
    for (int alg = 0; alg < TR_JWA__COUNT; alg++) {
        enum world_kind kind = kind_of[alg];
        struct tr_jwks *set = world_set(kind, ",\"kid\":\"k\"");
        char header[64];
        (void)snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"k\"}",
                       tr_jwa_name((enum tr_jwa)alg).ptr);
        struct tr_buf b;
        tr_buf_init(&b);
        put_token(&b, kind, (enum tr_jwa)alg, header,
                  TR_SPAN("{\"iss\":\"i\",\"exp\":1700000100}"));
        struct tr_jwt_rules rules = any;
        rules.algorithms = TR_JWA_BIT(alg);
        expect(verify(tr_buf_span(&b), &rules, set, NOW, NULL), TR_JWT_OK);
        rules.algorithms = ~TR_JWA_BIT(alg);
        expect(verify(tr_buf_span(&b), &rules, set, NOW, NULL), TR_JWT_ALGORITHM);
        b.ptr[b.len - 20] = b.ptr[b.len - 20] == 'A' ? 'B' : 'A';
        expect(verify(tr_buf_span(&b), &any, set, NOW, NULL), TR_JWT_SIGNATURE);
        tr_buf_fini(&b);
        tr_jwks_unref(set);
    }
    struct tr_jwks *set = world_set(W_ED448, "");
    expect(judge_header("{\"alg\":\"EdDSA\"}", W_ED448, TR_JWA_EDDSA, set), TR_JWT_OK);
    tr_jwks_unref(set);
}

/* The oldest trick: an HMAC by the bytes of the public key. */
static void a_public_key_is_no_secret(void **state)
{
    (void)state;
    struct tr_buf jwk, b;
    tr_buf_init(&jwk);
    tr_buf_init(&b);
    put_jwk(&jwk, W_RSA, "");
    unsigned char der[1024], *at = der;
    int der_len = i2d_PUBKEY(world_key(W_RSA), &at);
    assert_true(der_len > 0);
    const struct tr_span secrets[] = {tr_buf_span(&jwk), tr_span((char *)der, (size_t)der_len)};
    struct tr_jwks *set = world_set(W_RSA, "");
    for (int i = 0; i < 2; i++)
        for (int alg = TR_JWA_HS256; alg <= TR_JWA_HS512; alg++) {
            char header[32];
            (void)snprintf(header, sizeof header, "{\"alg\":\"%s\"}",
                           tr_jwa_name((enum tr_jwa)alg).ptr);
            tr_buf_clear(&b);
            put_b64(&b, tr_span_cstr(header));
            put_text(&b, ".");
            put_b64(&b, TR_SPAN("{\"iss\":\"i\",\"exp\":1700000100}"));
            struct tr_buf sig;
            tr_buf_init(&sig);
            put_signature(&sig, NULL, secrets[i], (enum tr_jwa)alg, tr_buf_span(&b));
            put_text(&b, ".");
            assert_int_equal(tr_buf_append(&b, tr_buf_span(&sig)), 0);
            tr_buf_fini(&sig);
            expect(verify(tr_buf_span(&b), &any, set, NOW, NULL), TR_JWT_ALGORITHM);
        }
    tr_jwks_unref(set);
    tr_buf_fini(&jwk);
    tr_buf_fini(&b);
}

static void none_is_no_algorithm(void **state)
{
    (void)state;
    static const char *const names[] = {"none", "None", "NONE",  "nOnE",
                                        "",     "HS1",  "hs256", "HS256 "};
    struct tr_jwks *rsa = world_set(W_RSA, "");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char header[64];
        (void)snprintf(header, sizeof header, "{\"alg\":\"%s\"}", names[i]);
        expect(judge_header(header, W_SECRET, TR_JWA_HS256, secret), TR_JWT_ALGORITHM);
        struct tr_buf b;
        tr_buf_init(&b);
        put_b64(&b, tr_span_cstr(header));
        put_text(&b, ".");
        put_b64(&b, TR_SPAN("{\"iss\":\"i\",\"exp\":1700000100}"));
        put_text(&b, ".");
        expect(verify(tr_buf_span(&b), &any, secret, NOW, NULL), TR_JWT_ALGORITHM);
        expect(verify(tr_buf_span(&b), &any, rsa, NOW, NULL), TR_JWT_ALGORITHM);
        tr_buf_fini(&b);
    }
    tr_jwks_unref(rsa);
}

static void keys_that_a_token_brings_are_not_looked_at(void **state)
{
    (void)state;
    struct tr_buf header;
    tr_buf_init(&header);
    put_text(&header, "{\"alg\":\"ES256\",\"jku\":\"https://evil.example/k\",\"x5u\":\"https://"
                      "evil.example/c\",\"x5c\":[\"AAAA\"],\"jwk\":");
    put_jwk(&header, W_P256, ",\"kid\":\"inner\"");
    put_text(&header, "}");
    assert_int_equal(tr_buf_push(&header, 0), 0);
    struct tr_jwks *other = parse_set("{\"keys\":[" RFC7515_A3_KEY "]}");
    struct tr_jwks *own = world_set(W_P256, "");
    struct tr_jwks *rsa = world_set(W_RSA, "");
    expect(judge_header(header.ptr, W_P256, TR_JWA_ES256, other), TR_JWT_SIGNATURE);
    expect(judge_header(header.ptr, W_P256, TR_JWA_ES256, rsa), TR_JWT_ALGORITHM);
    expect(judge_header(header.ptr, W_P256, TR_JWA_ES256, own), TR_JWT_OK);
    tr_jwks_unref(other);
    tr_jwks_unref(own);
    tr_jwks_unref(rsa);
    tr_buf_fini(&header);
}

static void an_unknown_kid_is_a_result_of_its_own(void **state)
{
    (void)state;
    struct tr_jwks *set = world_set(W_P256, ",\"kid\":\"a\"");
    struct tr_jwks *nameless = world_set(W_P256, "");
    struct tr_jwks *others = parse_set("{\"keys\":[" RFC7515_A3_KEY "]}");
    const char *a = "{\"alg\":\"ES256\",\"kid\":\"a\"}", *b = "{\"alg\":\"ES256\",\"kid\":\"b\"}";
    expect(judge_header(a, W_P256, TR_JWA_ES256, set), TR_JWT_OK);
    expect(judge_header(b, W_P256, TR_JWA_ES256, set), TR_JWT_NO_KEY);
    expect(judge_header("{\"alg\":\"ES256\"}", W_P256, TR_JWA_ES256, set), TR_JWT_OK);
    expect(judge_header("{\"alg\":\"ES384\",\"kid\":\"b\"}", W_P384, TR_JWA_ES384, set),
           TR_JWT_NO_KEY);
    /* a known kid whose key is of another kind: no fresh set will help */
    expect(judge_header("{\"alg\":\"ES384\",\"kid\":\"a\"}", W_P384, TR_JWA_ES384, set),
           TR_JWT_ALGORITHM);
    /* a set without names */
    expect(judge_header(b, W_P256, TR_JWA_ES256, nameless), TR_JWT_OK);
    expect(judge_header(b, W_P256, TR_JWA_ES256, others), TR_JWT_NO_KEY);
    expect(judge_header("{\"alg\":\"ES256\"}", W_P256, TR_JWA_ES256, others), TR_JWT_SIGNATURE);
    /* a secret has no name, and cannot be fetched */
    expect(judge_header("{\"alg\":\"HS256\",\"kid\":\"b\"}", W_SECRET, TR_JWA_HS256, secret),
           TR_JWT_OK);
    expect(judge_header("{\"alg\":\"HS512\",\"kid\":\"b\"}", W_SECRET, TR_JWA_HS256, secret),
           TR_JWT_SIGNATURE);
    expect(judge_header(b, W_P256, TR_JWA_ES256, secret), TR_JWT_ALGORITHM);
    tr_jwks_unref(set);
    tr_jwks_unref(nameless);
    tr_jwks_unref(others);
}

static void a_key_serves_its_own_alg_only(void **state)
{
    (void)state;
    struct tr_jwks *set = world_set(W_RSA, ",\"kid\":\"a\",\"alg\":\"PS256\"");
    expect(judge_header("{\"alg\":\"PS256\",\"kid\":\"a\"}", W_RSA, TR_JWA_PS256, set), TR_JWT_OK);
    expect(judge_header("{\"alg\":\"RS256\",\"kid\":\"a\"}", W_RSA, TR_JWA_RS256, set),
           TR_JWT_ALGORITHM);
    expect(judge_header("{\"alg\":\"PS384\"}", W_RSA, TR_JWA_PS384, set), TR_JWT_ALGORITHM);
    tr_jwks_unref(set);
}

static void without_kid_the_right_key_is_found_among_eight(void **state)
{
    (void)state;
    for (int before = 6; before <= 8; before++) {
        struct tr_buf b;
        tr_buf_init(&b);
        put_text(&b, "{\"keys\":[");
        for (int i = 0; i < before; i++)
            put_text(&b, RFC8037_A4_KEY ",");
        put_jwk(&b, W_ED25519, "");
        put_text(&b, "]}");
        assert_int_equal(tr_buf_push(&b, 0), 0);
        struct tr_jwks *set = parse_set(b.ptr);
        expect(judge_header("{\"alg\":\"EdDSA\"}", W_ED25519, TR_JWA_EDDSA, set),
               before < TR_JWKS_TRIES_MAX ? TR_JWT_OK : TR_JWT_SIGNATURE);
        tr_jwks_unref(set);
        tr_buf_fini(&b);
    }
}

/* ---- shape ----------------------------------------------------------------------------------- */

static void headers_are_strict(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        enum tr_jwt_result want;
    } cases[] = {
        {"{\"alg\":\"HS256\"}", TR_JWT_OK},
        {"{\"alg\":\"HS256\",\"kid\":\"\"}", TR_JWT_OK},
        {" {\n\"typ\" : \"JWT\", \"alg\" : \"HS256\" } ", TR_JWT_OK},
        {"{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"cty\":\"JWT\",\"x\":{\"alg\":\"none\",\"crit\":1}"
         "}",
         TR_JWT_OK},
        {"{\"\\u0061lg\":\"HS256\"}", TR_JWT_OK},
        {"{\"alg\":\"HS256\",\"x\":[{\"a\":1},{\"a\":1}]}", TR_JWT_OK}, /* a name in two objects */
        {"{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}", TR_JWT_CRIT},
        {"{\"alg\":\"HS256\",\"crit\":[]}", TR_JWT_CRIT},
        {"{\"alg\":\"HS256\",\"crit\":null}", TR_JWT_CRIT},
        {"{\"alg\":\"none\",\"crit\":[\"b64\"],\"b64\":false}", TR_JWT_CRIT},
        {"{}", TR_JWT_MALFORMED},
        {"{\"typ\":\"JWT\"}", TR_JWT_MALFORMED},
        {"{\"alg\":null}", TR_JWT_MALFORMED},
        {"{\"alg\":[\"HS256\"]}", TR_JWT_MALFORMED},
        {"{\"alg\":{\"alg\":\"HS256\"}}", TR_JWT_MALFORMED},
        {"{\"alg\":\"HS256\",\"alg\":\"HS256\"}", TR_JWT_MALFORMED},
        {"{\"alg\":\"none\",\"\\u0061lg\":\"HS256\"}", TR_JWT_MALFORMED},
        {"{\"alg\":\"HS256\",\"x\":{\"a\":1,\"a\":1}}", TR_JWT_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":7}", TR_JWT_MALFORMED},
        {"{\"alg\":\"HS256\",\"kid\":null}", TR_JWT_MALFORMED},
        {"{\"alg\":\"HS256\"} x", TR_JWT_MALFORMED},
        {"{\"alg\":\"HS256\"}{}", TR_JWT_MALFORMED},
        {"{\"alg\":\"HS256\",}", TR_JWT_MALFORMED},
        {"{\"alg\":\"HS256\"", TR_JWT_MALFORMED},
        {"[\"HS256\"]", TR_JWT_MALFORMED},
        {"\"HS256\"", TR_JWT_MALFORMED},
        {"{\"alg\":\"HS256\",\"x\":\"\xff\"}", TR_JWT_MALFORMED},
        {"\xef\xbb\xbf{\"alg\":\"HS256\"}", TR_JWT_MALFORMED},
        {"{\"alg\":\"HS256\",\"x\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}", TR_JWT_OK},
        {"{\"alg\":\"HS256\",\"x\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}", TR_JWT_MALFORMED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum tr_jwt_result got = judge_header(cases[i].header, W_SECRET, TR_JWA_HS256, secret);
        if (got != cases[i].want)
            fail_msg("%s: %s", cases[i].header, tr_jwt_result_name(got));
    }
}

static void a_kid_has_a_bound(void **state)
{
    (void)state;
    for (int more = 0; more < 2; more++) {
        struct tr_buf b;
        tr_buf_init(&b);
        put_text(&b, "{\"alg\":\"HS256\",\"kid\":\"");
        for (int i = 0; i < TR_JWKS_KID_MAX + more; i++)
            put_text(&b, "k");
        assert_int_equal(tr_buf_append(&b, TR_SPAN("\"}\0")), 0);
        expect(judge_header(b.ptr, W_SECRET, TR_JWA_HS256, secret),
               more ? TR_JWT_MALFORMED : TR_JWT_OK);
        tr_buf_fini(&b);
    }
}

static void the_three_parts_are_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",          ".",         "..",        "...",
        "a",         "a.b",       "a.b.c",     ".e30.",
        "e30..e30",  "e30.e30",   "e30.e30.",  "e30.e30.e30.e30",
        " e30.e30.", "e30=.e30.", "e30.e30=.", "Bearer e30.e30.e30",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect(verify(tr_span_cstr(bad[i]), &any, secret, NOW, NULL), TR_JWT_MALFORMED);
    struct tr_buf b;
    tr_buf_init(&b);
    put_hs(&b, "{\"iss\":\"i\",\"exp\":1700000100}");
    expect(verify(tr_buf_span(&b), &any, secret, NOW, NULL), TR_JWT_OK);
    /* every token that is shorter is refused, */
    for (size_t n = 0; n < b.len; n++)
        assert_int_not_equal(verify(tr_span(b.ptr, n), &any, secret, NOW, NULL), TR_JWT_OK);
    /* and every one with a byte changed, or put in */
    for (size_t i = 0; i < b.len; i++) {
        char was = b.ptr[i];
        for (int bit = 0; bit < 8; bit++) {
            b.ptr[i] = (char)(was ^ (1 << bit));
            assert_int_not_equal(verify(tr_buf_span(&b), &any, secret, NOW, NULL), TR_JWT_OK);
        }
        b.ptr[i] = was;
    }
    put_text(&b, "x");
    static const char fill[] = {'=', '.', ' ', '\n', 'A', '\0', '-'};
    for (size_t i = 0; i < b.len; i++) {
        memmove(b.ptr + i + 1, b.ptr + i, b.len - 1 - i);
        for (size_t k = 0; k < sizeof fill; k++) {
            b.ptr[i] = fill[k];
            assert_int_not_equal(verify(tr_buf_span(&b), &any, secret, NOW, NULL), TR_JWT_OK);
        }
        memmove(b.ptr + i, b.ptr + i + 1, b.len - 1 - i);
    }
    tr_buf_fini(&b);
}

/* Signed as it is: the encoding is judged even where the signature is right. */
static void a_payload_in_another_encoding_is_malformed(void **state)
{
    (void)state;
    static const char *const payloads[] = {"AB", "AA==", "A", "AA.", "A+", "A/", "AA\n"};
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        struct tr_buf b, sig;
        tr_buf_init(&b);
        tr_buf_init(&sig);
        put_b64(&b, TR_SPAN("{\"alg\":\"HS256\"}"));
        put_text(&b, ".");
        put_text(&b, payloads[i]);
        put_signature(&sig, NULL, TR_SPAN(WORLD_SECRET), TR_JWA_HS256, tr_buf_span(&b));
        put_text(&b, ".");
        assert_int_equal(tr_buf_append(&b, tr_buf_span(&sig)), 0);
        expect(tr_jws_verify(tr_buf_span(&b), UINT32_MAX, secret), TR_JWT_MALFORMED);
        expect(verify(tr_buf_span(&b), &any, secret, NOW, NULL), TR_JWT_MALFORMED);
        tr_buf_fini(&b);
        tr_buf_fini(&sig);
    }
}

static void huge_tokens_are_refused_unread(void **state)
{
    (void)state;
    struct tr_buf p, b;
    tr_buf_init(&p);
    tr_buf_init(&b);
    put_text(&p, "{\"iss\":\"i\",\"exp\":1700000100,\"x\":\"");
    size_t fixed = p.len;
    while (p.len < TR_JWT_TOKEN_MAX)
        put_text(&p, "xxxxxxxxxxxxxxxx");
    /* to the byte: header 20 and signature 43 characters, two dots */
    size_t room = (TR_JWT_TOKEN_MAX - 20 - 43 - 2) / 4 * 3;
    for (int more = -1; more < 4; more++) {
        memset(p.ptr + fixed, 'x', p.len - fixed);
        p.len = room - 2 + (size_t)more;
        assert_true(p.len > fixed);
        put_text(&p, "\"}");
        put_token(&b, W_SECRET, TR_JWA_HS256, "{\"alg\":\"HS256\"}", tr_buf_span(&p));
        expect(verify(tr_buf_span(&b), &any, secret, NOW, NULL),
               b.len > TR_JWT_TOKEN_MAX ? TR_JWT_TOO_LARGE : TR_JWT_OK);
        assert_int_equal(b.len > TR_JWT_TOKEN_MAX, b.len > 16384);
    }
    assert_true(b.len > TR_JWT_TOKEN_MAX);
    static char huge[1 << 20];
    memset(huge, '.', sizeof huge);
    expect(verify(tr_span(huge, sizeof huge), &any, secret, NOW, NULL), TR_JWT_TOO_LARGE);
    memset(huge, 'A', sizeof huge);
    expect(verify(tr_span(huge, TR_JWT_TOKEN_MAX), &any, secret, NOW, NULL), TR_JWT_MALFORMED);
    memcpy(huge, "eyJhbGciOiJIUzI1NiJ9.e30.", 25);
    expect(tr_jws_verify(tr_span(huge, TR_JWT_TOKEN_MAX), UINT32_MAX, secret), TR_JWT_SIGNATURE);
    tr_buf_fini(&p);
    tr_buf_fini(&b);
}

static void results_have_names_and_texts_without_secrets(void **state)
{
    (void)state;
    for (int i = 0; i < TR_JWT__COUNT; i++) {
        enum tr_jwt_result r = (enum tr_jwt_result)i;
        assert_true(strlen(tr_jwt_result_name(r)) > 1);
        assert_true(tr_jwt_result_text(r).len > 5);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(tr_jwt_result_name(r),
                                    tr_jwt_result_name((enum tr_jwt_result)k));
        enum tr_err want = r == TR_JWT_OK                               ? TR_OK
                           : r == TR_JWT_EXPIRED || r == TR_JWT_NOT_YET ? TR_ERR_AUTH_EXPIRED
                           : r == TR_JWT_NOMEM                          ? TR_ERR_NOMEM
                                                                        : TR_ERR_AUTH_INVALID;
        assert_int_equal(tr_jwt_result_err(r), want);
    }
}

/* ---- without keys ---------------------------------------------------------------------------- */

static enum tr_jwt_result peek(const char *header, const char *payload, const char *signature)
{
    struct tr_buf b;
    tr_buf_init(&b);
    put_b64(&b, tr_span_cstr(header));
    put_text(&b, ".");
    put_b64(&b, tr_span_cstr(payload));
    put_text(&b, signature);
    struct tr_jwt_rules rules = plain;
    rules.algorithms = TR_JWA_ASYMMETRIC;
    enum tr_jwt_result result = tr_jwt_peek(tr_buf_span(&b), &rules, NOW);
    tr_buf_fini(&b);
    return result;
}

static void what_no_key_could_make_good_is_known_without_one(void **state)
{
    (void)state;
    const char *es = "{\"alg\":\"ES256\"}";
    const char *good = "{\"iss\":\"i\",\"aud\":\"books\",\"exp\":1700000100}";
    expect(peek(es, good, ".x"), TR_JWT_OK); /* whatever the signature is */
    expect(peek(es, good, ""), TR_JWT_MALFORMED);
    expect(peek("{\"alg\":\"none\"}", good, "."), TR_JWT_ALGORITHM);
    expect(peek("{\"alg\":\"HS256\"}", good, ".x"), TR_JWT_ALGORITHM);
    expect(peek("{\"alg\":\"ES256\",\"crit\":[\"x\"]}", good, ".x"), TR_JWT_CRIT);
    expect(peek(es, "{\"iss\":\"j\",\"aud\":\"books\",\"exp\":1700000100}", ".x"), TR_JWT_ISSUER);
    expect(peek(es, "{\"iss\":\"i\",\"aud\":\"cars\",\"exp\":1700000100}", ".x"), TR_JWT_AUDIENCE);
    expect(peek(es, "{\"iss\":\"i\",\"aud\":\"books\",\"exp\":1699999000}", ".x"), TR_JWT_EXPIRED);
    expect(peek(es, "{\"iss\":\"i\",\"aud\":\"books\"}", ".x"), TR_JWT_CLAIMS);
    expect(peek(es, "[]", ".x"), TR_JWT_MALFORMED);
}

/* ---- in two steps ---------------------------------------------------------------------------- */

#define GOOD "{\"iss\":\"i\",\"exp\":1700000100,\"sub\":\"me\"}"
#define OLD  "{\"iss\":\"i\",\"exp\":1699999000,\"sub\":\"me\"}"

static struct tr_buf token_of(const char *header, const char *payload)
{
    struct tr_buf b;
    tr_buf_init(&b);
    put_token(&b, W_SECRET, TR_JWA_HS256, header, tr_span_cstr(payload));
    return b;
}

static void a_token_is_opened_before_its_signature_is_known(void **state)
{
    (void)state;
    struct tr_buf good = token_of("{\"alg\":\"HS256\"}", GOOD);
    struct tr_buf old = token_of("{\"alg\":\"HS256\"}", OLD);
    struct tr_jwt_memo memo = {.len = 0};
    struct tr_jwt_opened o;
    struct tr_jwt *jwt = NULL;
    expect(tr_jwt_open(tr_buf_span(&good), &any, NOW, &memo, &o), TR_JWT_OK);
    assert_int_equal(o.token.len, good.len);
    expect(o.after, TR_JWT_OK);
    expect(tr_jwt_close(&o, secret, &jwt), TR_JWT_OK);
    assert_span_equal(jwt->subject, "me");
    tr_jwt_unref(jwt);
    jwt = NULL;
    expect(tr_jwt_open(tr_buf_span(&good), &any, NOW, &memo, &o), TR_JWT_OK);
    tr_jwt_drop(&o); /* what it holds is given back */
    tr_jwt_drop(&o); /* and nothing twice */

    /* the signature comes first: whoever forges a token does not learn what else is wrong */
    struct tr_jwks *others = world_set(W_P256, "");
    good.ptr[good.len - 3] ^= 1;
    expect(tr_jwt_open(tr_buf_span(&good), &any, NOW, &memo, &o), TR_JWT_OK);
    expect(tr_jwt_close(&o, secret, &jwt), TR_JWT_SIGNATURE);
    expect(tr_jwt_open(tr_buf_span(&old), &any, NOW, &memo, &o), TR_JWT_OK);
    expect(tr_jwt_close(&o, secret, &jwt), TR_JWT_EXPIRED);
    old.ptr[old.len - 3] ^= 1;
    expect(tr_jwt_open(tr_buf_span(&old), &any, NOW, &memo, &o), TR_JWT_OK);
    expect(tr_jwt_close(&o, secret, &jwt), TR_JWT_SIGNATURE);
    expect(tr_jwt_open(tr_buf_span(&old), &any, NOW, &memo, &o), TR_JWT_OK);
    assert_true(tr_jwt_has_key(&o, secret));
    assert_false(tr_jwt_has_key(&o, others));
    expect(tr_jwt_close(&o, others, &jwt), TR_JWT_ALGORITHM);
    assert_null(jwt);
    tr_jwks_unref(others);
    tr_buf_fini(&good);
    tr_buf_fini(&old);
}

static void kid_is(struct tr_jwt_memo *memo, const char *header, const char *want)
{
    struct tr_buf b = token_of(header, GOOD);
    struct tr_jwt_opened o;
    expect(tr_jwt_open(tr_buf_span(&b), &any, NOW, memo, &o), TR_JWT_OK);
    assert_int_equal(o.has_kid, want != NULL);
    if (want)
        assert_span_equal(tr_span(o.kid, o.kid_len), want);
    tr_jwt_drop(&o);
    tr_buf_fini(&b);
}

static void a_header_is_remembered_by_all_of_its_bytes(void **state)
{
    (void)state;
    struct tr_jwt_memo memo = {.len = 0};
    struct tr_jwt_opened o;
    char wide[TR_JWT_MEMO_BYTES + 64];
    kid_is(&memo, "{\"alg\":\"HS256\",\"kid\":\"a\"}", "a");
    uint32_t len = memo.len;
    assert_true(len > 0);
    kid_is(&memo, "{\"alg\":\"HS256\",\"kid\":\"a\"}", "a");
    kid_is(&memo, "{\"alg\":\"HS256\",\"kid\":\"b\"}", "b");
    assert_int_equal(memo.len, len);
    kid_is(&memo, "{\"alg\":\"HS256\"}", NULL);
    kid_is(&memo, "{\"alg\":\"HS256\",\"kid\":\"a\"}", "a");
    /* one that is wrong is not, nor what it said before it was found wrong */
    struct tr_buf bad = token_of("{\"alg\":\"HS256\",\"kid\":\"c\",\"alg\":1}", GOOD);
    for (int i = 0; i < 2; i++) {
        expect(tr_jwt_open(tr_buf_span(&bad), &any, NOW, &memo, &o), TR_JWT_MALFORMED);
        assert_int_equal(memo.len, 0);
    }
    kid_is(&memo, "{\"alg\":\"HS256\",\"kid\":\"a\"}", "a");
    /* one that is refused by the rules is refused when it is remembered, too */
    struct tr_jwt_rules es = any;
    es.algorithms = TR_JWA_ASYMMETRIC;
    struct tr_buf hs = token_of("{\"alg\":\"HS256\",\"kid\":\"a\"}", GOOD);
    expect(tr_jwt_open(tr_buf_span(&hs), &es, NOW, &memo, &o), TR_JWT_ALGORITHM);
    /* and a long one is read each time */
    assert_true(snprintf(wide, sizeof wide, "{\"alg\":\"HS256\",\"kid\":\"w\",\"x\":\"%0500d\"}",
                         1) < (int)sizeof wide);
    kid_is(&memo, wide, "w");
    assert_int_equal(memo.len, 0);
    kid_is(&memo, wide, "w");
    tr_buf_fini(&bad);
    tr_buf_fini(&hs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_rfc_7515_are_judged),
        cmocka_unit_test(the_example_of_rfc_8037_is_good),
        cmocka_unit_test(every_algorithm_of_rfc_7518_verifies),
        cmocka_unit_test(a_public_key_is_no_secret),
        cmocka_unit_test(none_is_no_algorithm),
        cmocka_unit_test(keys_that_a_token_brings_are_not_looked_at),
        cmocka_unit_test(an_unknown_kid_is_a_result_of_its_own),
        cmocka_unit_test(a_key_serves_its_own_alg_only),
        cmocka_unit_test(without_kid_the_right_key_is_found_among_eight),
        cmocka_unit_test(headers_are_strict),
        cmocka_unit_test(a_kid_has_a_bound),
        cmocka_unit_test(the_three_parts_are_strict),
        cmocka_unit_test(a_payload_in_another_encoding_is_malformed),
        cmocka_unit_test(huge_tokens_are_refused_unread),
        cmocka_unit_test(results_have_names_and_texts_without_secrets),
        cmocka_unit_test(what_no_key_could_make_good_is_known_without_one),
        cmocka_unit_test(a_token_is_opened_before_its_signature_is_known),
        cmocka_unit_test(a_header_is_remembered_by_all_of_its_bytes),
    };
    return cmocka_run_group_tests(tests, judge_begin, judge_end);
}
