#include "filters/jwt_claims.h"

#include "jwt_judge.h"
#include "test.h"

/* ---- claims ---------------------------------------------------------------------------------- */

static void payloads_are_objects(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "[]",
                                      "1",
                                      "null",
                                      "\"i\"",
                                      "{",
                                      "{}x",
                                      "{\"iss\":\"i\"",
                                      "{\"iss\":\"i\",\"exp\":1700000100}{}",
                                      "{'iss':'i'}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect(judge_at(bad[i], &any, NOW, NULL), TR_JWT_MALFORMED);
}

static void the_issuer_is_exact_and_judged_before_keys(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{\"exp\":1700000100}",
        "{\"iss\":\"I\",\"exp\":1700000100}",
        "{\"iss\":\"i/\",\"exp\":1700000100}",
        "{\"iss\":\"\",\"exp\":1700000100}",
        "{\"iss\":[\"i\"],\"exp\":1700000100}",
        "{\"iss\":{\"iss\":\"i\"},\"exp\":1700000100}",
        "{\"iss\":null,\"exp\":1700000100}",
        "{\"x\":{\"iss\":\"i\"},\"exp\":1700000100}",
        "{\"iss\":[],\"x\":[\"i\"],\"exp\":1700000100}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect(judge_at(bad[i], &any, NOW, NULL), TR_JWT_ISSUER);
    /* another issuer's token is told from a bad one without its keys */
    struct tr_jwks *set = world_set(W_P256, ",\"kid\":\"a\"");
    struct tr_buf b;
    tr_buf_init(&b);
    put_token(&b, W_RSA, TR_JWA_RS256, "{\"alg\":\"RS256\",\"kid\":\"z\",\"crit\":[]}",
              TR_SPAN("{\"iss\":\"other\"}"));
    struct tr_jwt_rules rules = any;
    rules.algorithms = TR_JWA_BIT(TR_JWA_ES256);
    expect(verify(tr_buf_span(&b), &rules, set, NOW, NULL), TR_JWT_ISSUER);
    tr_buf_fini(&b);
    tr_jwks_unref(set);
    expect(judge_at("{\"\\u0069ss\":\"\\u0069\",\"exp\":1700000100}", &any, NOW, NULL), TR_JWT_OK);
}

static void one_audience_must_be_right(void **state)
{
    (void)state;
    expect(judge("\"aud\":\"books\"", &plain, NULL), TR_JWT_OK);
    expect(judge("\"aud\":\"films\"", &plain, NULL), TR_JWT_OK);
    expect(judge("\"aud\":[\"x\",\"films\"]", &plain, NULL), TR_JWT_OK);
    expect(judge("\"aud\":[\"books\"]", &plain, NULL), TR_JWT_OK);
    expect(judge("", &plain, NULL), TR_JWT_AUDIENCE);
    expect(judge("\"aud\":\"Books\"", &plain, NULL), TR_JWT_AUDIENCE);
    expect(judge("\"aud\":\"books films\"", &plain, NULL), TR_JWT_AUDIENCE);
    expect(judge("\"aud\":[]", &plain, NULL), TR_JWT_AUDIENCE);
    expect(judge("\"aud\":[\"x\"],\"y\":[\"books\"],\"z\":\"books\"", &plain, NULL),
           TR_JWT_AUDIENCE);
    expect(judge("\"x\":{\"aud\":\"books\"}", &plain, NULL), TR_JWT_AUDIENCE);
    expect(judge("\"aud\":null", &plain, NULL), TR_JWT_CLAIMS);
    expect(judge("\"aud\":7", &plain, NULL), TR_JWT_CLAIMS);
    expect(judge("\"aud\":{\"books\":\"books\"}", &plain, NULL), TR_JWT_CLAIMS);
    expect(judge("\"aud\":[\"books\",7]", &plain, NULL), TR_JWT_CLAIMS);
    expect(judge("\"aud\":[[\"books\"]]", &plain, NULL), TR_JWT_CLAIMS);
    /* "any" is explicit */
    expect(judge("", &any, NULL), TR_JWT_OK);
    expect(judge("\"aud\":\"x\"", &any, NULL), TR_JWT_OK);
    expect(judge("\"aud\":7", &any, NULL), TR_JWT_OK);
    struct tr_jwt_rules nobody = plain;
    nobody.audience_count = 0;
    expect(judge("\"aud\":\"books\"", &nobody, NULL), TR_JWT_AUDIENCE);
}

static void dates_are_judged_with_skew(void **state)
{
    (void)state;
    static const struct {
        const char *exp, *nbf;
        int64_t now;
        enum tr_jwt_result want;
        int64_t until;
    } cases[] = {
        {"1000", NULL, 1059, TR_JWT_OK, 1060},
        {"1000", NULL, 1060, TR_JWT_EXPIRED, 0},
        {"1000.5", NULL, 1060, TR_JWT_OK, 1061},
        {"1000.5", NULL, 1061, TR_JWT_EXPIRED, 0},
        {"1e3", NULL, 1059, TR_JWT_OK, 1060},
        {"0", NULL, 59, TR_JWT_OK, 60},
        {"0", NULL, 60, TR_JWT_EXPIRED, 0},
        {"-0", NULL, 60, TR_JWT_EXPIRED, 0},
        {"-1000", NULL, 0, TR_JWT_EXPIRED, 0},
        {"1e300", NULL, 5, TR_JWT_OK, INT64_MAX},
        {"-1e300", NULL, 5, TR_JWT_EXPIRED, 0},
        {"9223372036854775807", NULL, 5, TR_JWT_OK, INT64_MAX},
        {"123456789012345678901234567890", NULL, 5, TR_JWT_OK, INT64_MAX},
        {"5000", "2000", 1940, TR_JWT_OK, 5060},
        {"5000", "2000", 1939, TR_JWT_NOT_YET, 0},
        {"5000", "2000.25", 1940, TR_JWT_NOT_YET, 0},
        {"5000", "2000.25", 1941, TR_JWT_OK, 5060},
        {"5000", "1e300", 1940, TR_JWT_NOT_YET, 0},
        {"5000", "-1e300", 1940, TR_JWT_OK, 5060},
        {"1000", "2000", 1500, TR_JWT_EXPIRED, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char payload[256];
        struct tr_jwt *jwt = NULL;
        (void)snprintf(payload, sizeof payload, "{\"iss\":\"i\",\"exp\":%s%s%s}", cases[i].exp,
                       cases[i].nbf ? ",\"nbf\":" : "", cases[i].nbf ? cases[i].nbf : "");
        enum tr_jwt_result got = judge_at(payload, &any, cases[i].now, &jwt);
        if (got != cases[i].want)
            fail_msg("%s at %lld: %s", payload, (long long)cases[i].now, tr_jwt_result_name(got));
        if (jwt)
            assert_int_equal(jwt->valid_until_s, cases[i].until);
        tr_jwt_unref(jwt);
    }
}

static void dates_are_finite_numbers(void **state)
{
    (void)state;
    static const char *const not_dates[] = {"null", "\"1700000100\"", "true",  "[1700000100]",
                                            "{}",   "1e400",          "-1e400"};
    for (size_t i = 0; i < sizeof not_dates / sizeof not_dates[0]; i++)
        for (int which = 0; which < 3; which++) {
            static const char *const names[] = {"exp", "nbf", "iat"};
            char payload[128];
            (void)snprintf(payload, sizeof payload, "{\"iss\":\"i\",\"%s\":%s%s}", names[which],
                           not_dates[i], which ? ",\"exp\":1700000100" : "");
            enum tr_jwt_result got = judge_at(payload, &any, NOW, NULL);
            if (got != TR_JWT_CLAIMS)
                fail_msg("%s: %s", payload, tr_jwt_result_name(got));
        }
    expect(judge_at("{\"iss\":\"i\"}", &any, NOW, NULL), TR_JWT_CLAIMS);
    expect(judge_at("{\"iss\":\"i\",\"x\":{\"exp\":1700000100}}", &any, NOW, NULL), TR_JWT_CLAIMS);
    expect(judge_at("{\"iss\":\"i\",\"exp\":NaN}", &any, NOW, NULL), TR_JWT_MALFORMED);
    /* when a token was issued decides nothing */
    expect(judge("\"iat\":9999999999", &any, NULL), TR_JWT_OK);
    expect(judge("\"iat\":-1.5", &any, NULL), TR_JWT_OK);
}

static void names_are_there_once(void **state)
{
    (void)state;
    expect(judge("\"sub\":\"a\",\"sub\":\"a\"", &any, NULL), TR_JWT_CLAIMS);
    expect(judge("\"sub\":\"a\",\"\\u0073ub\":\"b\"", &any, NULL), TR_JWT_CLAIMS);
    expect(judge("\"exp\":1700000100", &any, NULL), TR_JWT_CLAIMS);
    expect(judge("\"iss\":\"i\"", &any, NULL), TR_JWT_CLAIMS);
    expect(judge("\"a\":{\"b\":1,\"c\":2,\"b\":3}", &any, NULL), TR_JWT_CLAIMS);
    expect(judge("\"a\":[{\"b\":1,\"b\":3}]", &any, NULL), TR_JWT_CLAIMS);
    expect(judge("\"a\":{\"b\":{\"b\":{\"b\":{\"b\":{\"b\":{\"b\":1,\"b\":2}}}}}}", &any, NULL),
           TR_JWT_CLAIMS);
    expect(judge("\"a\":{\"b\":1},\"c\":{\"b\":1},\"d\":[{\"b\":1},{\"b\":1}],\"b\":{\"a\":1}",
                 &any, NULL),
           TR_JWT_OK);
    /* two ways to say one flattened name */
    expect(judge("\"a.b\":1,\"a\":{\"b\":2}", &any, NULL), TR_JWT_CLAIMS);
    expect(judge("\"a\":{\"b\":2},\"a.b\":1", &any, NULL), TR_JWT_CLAIMS);
    expect(judge("\"a\":{\"b.c\":2,\"b\":{\"c\":1}}", &any, NULL), TR_JWT_CLAIMS);
}

static void names_of_open_objects_are_bounded(void **state)
{
    (void)state;
    struct tr_buf b;
    for (int n = 253; n <= 255; n++) { /* beside iss, exp and x itself: 256 */
        tr_buf_init(&b);
        put_text(&b, "\"x\":{");
        for (int i = 0; i < n; i++)
            assert_int_equal(tr_buf_printf(&b, "%s\"%d\":0", i ? "," : "", i), 0);
        put_text(&b, "}");
        assert_int_equal(tr_buf_push(&b, 0), 0);
        expect(judge(b.ptr, &any, NULL), n > 253 ? TR_JWT_CLAIMS : TR_JWT_OK);
        tr_buf_fini(&b);
    }
    tr_buf_init(&b); /* those of closed ones are forgotten */
    put_text(&b, "\"x\":[");
    for (int i = 0; i < 600; i++)
        put_text(&b, i ? ",{\"a\":1}" : "{\"a\":1}");
    assert_int_equal(tr_buf_append(&b, TR_SPAN("]\0")), 0);
    expect(judge(b.ptr, &any, NULL), TR_JWT_OK);
    tr_buf_fini(&b);
}

/* name=value|value;name=... of all claims but iss and exp. */
static void flattened(const char *more, const char *want)
{
    struct tr_jwt *jwt = NULL;
    struct tr_buf b;
    tr_buf_init(&b);
    expect(judge(more, &any, &jwt), TR_JWT_OK);
    for (uint32_t i = 0; i < jwt->claims.count; i++) {
        const struct tr_claim *c = &jwt->claims.items[i];
        assert_ptr_equal(tr_claims_find(&jwt->claims, c->name), c);
        if (tr_span_eq(c->name, TR_SPAN("iss")) || tr_span_eq(c->name, TR_SPAN("exp")))
            continue;
        if (b.len)
            put_text(&b, ";");
        assert_int_equal(tr_buf_append(&b, c->name), 0);
        put_text(&b, "=");
        for (uint32_t k = 0; k < c->count; k++) {
            if (k)
                put_text(&b, "|");
            assert_int_equal(tr_buf_append(&b, c->values[k]), 0);
        }
    }
    assert_int_equal(tr_buf_push(&b, 0), 0);
    assert_string_equal(b.ptr, want);
    tr_buf_fini(&b);
    tr_jwt_unref(jwt);
}

static void claims_become_flat_text(void **state)
{
    (void)state;
    flattened("", "");
    flattened("\"sub\":\"me\"", "sub=me");
    flattened("\"a\":1,\"b\":-1.50e3,\"c\":18446744073709551616,\"d\":true,\"e\":false",
              "a=1;b=-1.50e3;c=18446744073709551616;d=true;e=false");
    flattened("\"a\":null,\"b\":\"\",\"c\":[],\"d\":{}", "b=;c=");
    flattened("\"a\":[\"x\",\"y\",3,true,null]", "a=x|y|3|true");
    flattened("\"a\":[\"x\",[\"y\"],{\"z\":1},\"w\"],\"b\":2", "a=x|w;b=2");
    flattened("\"realm_access\":{\"roles\":[\"a\",\"b\"],\"n\":1},\"c\":2",
              "realm_access.roles=a|b;realm_access.n=1;c=2");
    flattened("\"a\":{\"b\":{\"c\":{\"d\":1,\"e\":{\"f\":2},\"g\":[3]}}},\"h\":4",
              "a.b.c.d=1;a.b.c.g=3;h=4");
    flattened("\"a\":{\"b\":[{\"c\":1},2,[[3]]],\"d\":5},\"e\":6", "a.b=2;a.d=5;e=6");
    flattened("\"\":1,\"a\":{\"\":2,\"b\":3}", "=1;a.=2;a.b=3");
    flattened("\"t\":\"a\\u00e9\\n\\\"\",\"\\u0061\":{\"\\u0062\":\"\\u0063\"}",
              "t=a\xc3\xa9\n\";a.b=c");
}

static void registered_claims_are_at_hand(void **state)
{
    (void)state;
    struct tr_jwt *jwt = NULL;
    expect(judge("\"sub\":\"me\",\"scope\":\"books.read  books.write \",\"scp\":[\"x\",\"y\"]",
                 &any, &jwt),
           TR_JWT_OK);
    assert_span_equal(jwt->issuer, "i");
    assert_span_equal(jwt->subject, "me");
    assert_int_equal(jwt->scope_count, 4);
    assert_span_equal(jwt->scopes[0], "books.read");
    assert_span_equal(jwt->scopes[1], "books.write");
    assert_span_equal(jwt->scopes[2], "x");
    assert_span_equal(jwt->scopes[3], "y");
    assert_int_equal(jwt->refs, 1);
    tr_jwt_unref(tr_jwt_ref(jwt));
    tr_jwt_unref(jwt);
    expect(judge("\"scope\":[\"a\",\"b c\",7,true,null,[\"d\"]],\"sub\":[\"a\",\"b\"]", &any, &jwt),
           TR_JWT_OK);
    assert_int_equal(jwt->subject.len, 0);
    assert_int_equal(jwt->scope_count, 5);
    assert_span_equal(jwt->scopes[2], "c");
    assert_span_equal(jwt->scopes[4], "true");
    tr_jwt_unref(jwt);
    expect(judge("\"scope\":\"\",\"scp\":{\"a\":\"b\"},\"x\":{\"scope\":\"a\"}", &any, &jwt),
           TR_JWT_OK);
    assert_int_equal(jwt->scope_count, 0);
    assert_int_equal(jwt->subject.len, 0);
    tr_jwt_unref(jwt);
}

/* Claims beyond the bound are left out, those of the top level last. */
static void claims_have_bounds(void **state)
{
    (void)state;
    struct tr_jwt *jwt = NULL;
    struct tr_buf b;
    tr_buf_init(&b);
    put_text(&b, "\"n\":{");
    for (int i = 0; i < 100; i++)
        assert_int_equal(tr_buf_printf(&b, "%s\"%d\":%d", i ? "," : "", i, i), 0);
    put_text(&b, "},\"sub\":\"me\"");
    assert_int_equal(tr_buf_push(&b, 0), 0);
    expect(judge(b.ptr, &any, &jwt), TR_JWT_OK);
    assert_int_equal(jwt->claims.count, TR_JWT_CLAIMS_MAX);
    assert_span_equal(jwt->subject, "me"); /* though it came last */
    assert_non_null(tr_claims_find(&jwt->claims, TR_SPAN("n.60")));
    assert_null(tr_claims_find(&jwt->claims, TR_SPAN("n.61")));
    tr_jwt_unref(jwt);
    b.len--;
    for (int i = 0; i < 80; i++)
        assert_int_equal(tr_buf_printf(&b, ",\"t%d\":[%d,\"x\"]", i, i), 0);
    assert_int_equal(tr_buf_push(&b, 0), 0);
    expect(judge(b.ptr, &any, &jwt), TR_JWT_OK);
    assert_int_equal(jwt->claims.count, TR_JWT_CLAIMS_MAX);
    assert_null(tr_claims_find(&jwt->claims, TR_SPAN("n.0")));
    assert_non_null(tr_claims_find(&jwt->claims, TR_SPAN("t60")));
    assert_null(tr_claims_find(&jwt->claims, TR_SPAN("t61")));
    tr_jwt_unref(jwt);
    for (int more = 0; more < 2; more++) { /* names, too */
        tr_buf_clear(&b);
        put_text(&b, "\"n\":{\"");
        for (int i = 0; i < TR_JWT_CLAIM_NAME_MAX - 2 + more; i++)
            put_text(&b, "k");
        put_text(&b, "\":1,\"m\":2},\"o\":3");
        assert_int_equal(tr_buf_push(&b, 0), 0);
        expect(judge(b.ptr, &any, &jwt), TR_JWT_OK);
        assert_int_equal(jwt->claims.count, 5 - more);
        assert_non_null(tr_claims_find(&jwt->claims, TR_SPAN("n.m")));
        assert_non_null(tr_claims_find(&jwt->claims, TR_SPAN("o")));
        tr_jwt_unref(jwt);
    }
    tr_buf_fini(&b);
}

/* ---- as much as a token can hold ------------------------------------------------------------- */

#define PAYLOAD_ROOM ((TR_JWT_TOKEN_MAX - 20 - 43 - 2) / 4 * 3) /* beside {"alg":"HS256"} */
#define HEAD         "{\"iss\":\"i\",\"exp\":1700000100"

/* HEAD, then what `more` adds while there is room, then `tail`. */
static struct tr_jwt *fullest(size_t (*more)(struct tr_buf *b, size_t n), const char *begin,
                              const char *tail, size_t *ret_n)
{
    struct tr_buf b, token;
    struct tr_jwt *jwt = NULL;
    size_t n = 0, end = 0;
    tr_buf_init(&b);
    tr_buf_init(&token);
    put_text(&b, HEAD);
    put_text(&b, begin);
    for (; b.len + strlen(tail) <= PAYLOAD_ROOM; n++) {
        end = b.len;
        if (!more(&b, n))
            break;
    }
    if (b.len + strlen(tail) > PAYLOAD_ROOM) {
        b.len = end;
        n--;
    }
    put_text(&b, tail);
    assert_int_equal(tr_buf_push(&b, 0), 0);
    put_hs(&token, b.ptr);
    assert_true(token.len <= TR_JWT_TOKEN_MAX);
    expect(verify(tr_buf_span(&token), &any, secret, NOW, &jwt), TR_JWT_OK);
    tr_buf_fini(&b);
    tr_buf_fini(&token);
    *ret_n = n;
    return jwt;
}

static size_t digit(struct tr_buf *b, size_t n)
{
    put_text(b, n ? ",7" : "7");
    return 1;
}

static size_t nothing(struct tr_buf *b, size_t n)
{
    put_text(b, n ? ",\"\"" : "\"\"");
    return 1;
}

static size_t escape(struct tr_buf *b, size_t n)
{
    put_text(b, n ? ",\"\\uFFFD\"" : "\"\\uFFFD\"");
    return 1;
}

static void tiny_values_fill_a_token(void **state)
{
    (void)state;
    static const struct {
        size_t (*more)(struct tr_buf *b, size_t n);
        const char *value;
        uint32_t words;
        size_t least;
    } kinds[] = {{digit, "7", 1, 6000}, {nothing, "", 0, 4000}, {escape, "\xEF\xBF\xBD", 1, 1300}};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        size_t n;
        struct tr_jwt *jwt = fullest(kinds[k].more, ",\"scope\":[", "]}", &n);
        const struct tr_claim *c = tr_claims_find(&jwt->claims, TR_SPAN("scope"));
        assert_true(n >= kinds[k].least && n < TR_JWT_VALUES_MAX);
        assert_int_equal(c->count, n);
        assert_int_equal(jwt->scope_count, n * kinds[k].words);
        for (size_t i = 0; i < n; i++)
            assert_span_equal(c->values[i], kinds[k].value);
        for (uint32_t i = 0; i < jwt->scope_count; i++)
            assert_span_equal(jwt->scopes[i], kinds[k].value);
        tr_jwt_unref(jwt);
    }
}

/* A name of 256 bytes, half of them through escapes where `escaped`. */
static void long_name(struct tr_buf *b, size_t n, bool escaped)
{
    char end[12];
    (void)snprintf(end, sizeof end, "%04zu\":1", n);
    put_text(b, ",\"");
    for (int i = 0; i < TR_JWT_CLAIM_NAME_MAX - 4;) {
        put_text(b, escaped && i < 100 ? "\\uFFFD" : "a");
        i += escaped && i < 100 ? 3 : 1;
    }
    put_text(b, end);
}

static size_t top_name(struct tr_buf *b, size_t n)
{
    long_name(b, n, n % 2);
    return n < TR_JWT_CLAIMS_MAX;
}

/* As many names as are kept, as long as may be: those in an object share a prefix. */
static void long_names_fill_a_token(void **state)
{
    (void)state;
    struct tr_buf begin;
    size_t n;
    tr_buf_init(&begin);
    put_text(&begin, ",\"");
    for (int i = 0; i < TR_JWT_CLAIM_NAME_MAX - 3; i++)
        put_text(&begin, "p");
    put_text(&begin, "\":{\"00\":[]");
    for (int i = 1; i < 100; i++)
        assert_int_equal(tr_buf_printf(&begin, ",\"%02d\":[%d,true]", i, i), 0);
    put_text(&begin, "}");
    assert_int_equal(tr_buf_push(&begin, 0), 0);
    struct tr_jwt *jwt = fullest(top_name, begin.ptr, "}", &n);
    assert_true(n >= 30);
    assert_int_equal(jwt->claims.count, TR_JWT_CLAIMS_MAX);
    uint32_t nested = 0;
    for (uint32_t i = 2; i < jwt->claims.count; i++) {
        const struct tr_claim *c = &jwt->claims.items[i];
        char want[4];
        assert_int_equal(c->name.len, TR_JWT_CLAIM_NAME_MAX);
        if (c->name.ptr[0] != 'p')
            continue;
        (void)snprintf(want, sizeof want, "%02u", nested);
        assert_span_equal(tr_span_from(c->name, TR_JWT_CLAIM_NAME_MAX - 2), want);
        assert_int_equal(c->count, nested ? 2 : 0);
        if (nested)
            assert_span_equal(c->values[1], "true");
        nested++;
    }
    assert_int_equal(nested, TR_JWT_CLAIMS_MAX - 2 - n);
    tr_jwt_unref(jwt);
    tr_buf_fini(&begin);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    struct tr_buf b;
    tr_buf_init(&b);
    put_token(
        &b, W_SECRET, TR_JWA_HS256, "{\"\\u0061lg\":\"HS256\"}",
        TR_SPAN("{\"iss\":\"i\",\"exp\":1700000100,\"s\\u0075b\":\"\\u0061\",\"x\":[\"\\n\"]}"));
    enum tr_jwt_result result = TR_JWT_NOMEM;
    uint64_t n = 1;
    for (; result && n < 50; n++) {
        struct tr_jwt *jwt = NULL;
        tr_alloc_fail_after(n);
        result = tr_jwt_verify(tr_buf_span(&b), &any, secret, NOW, &jwt);
        tr_alloc_fail_after(0);
        assert_true(result == TR_JWT_OK ? jwt != NULL : result == TR_JWT_NOMEM && !jwt);
        tr_jwt_unref(jwt);
    }
    expect(result, TR_JWT_OK);
    assert_true(n > 3); /* the header's escapes, those of the claims, the block */
    tr_buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(payloads_are_objects),
        cmocka_unit_test(the_issuer_is_exact_and_judged_before_keys),
        cmocka_unit_test(one_audience_must_be_right),
        cmocka_unit_test(dates_are_judged_with_skew),
        cmocka_unit_test(dates_are_finite_numbers),
        cmocka_unit_test(names_are_there_once),
        cmocka_unit_test(names_of_open_objects_are_bounded),
        cmocka_unit_test(claims_become_flat_text),
        cmocka_unit_test(registered_claims_are_at_hand),
        cmocka_unit_test(claims_have_bounds),
        cmocka_unit_test(tiny_values_fill_a_token),
        cmocka_unit_test(long_names_fill_a_token),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, judge_begin, judge_end);
}
