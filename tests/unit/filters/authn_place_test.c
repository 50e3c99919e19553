#include "base/arena.h"
#include "filters/authn.h"
#include "test.h"

static struct tr_arena arena;
static struct tr_header items[8];
static struct tr_req_head head;
static struct tr_cfg_provider cfg;
static struct tr_authn_provider provider;
static struct tr_cfg_api_keys keys_cfg;
static struct tr_cfg_authentication authentication;
static struct tr_authn_conf conf;

static int begin(void **state)
{
    (void)state;
    tr_arena_init(&arena, NULL);
    memset(&head, 0, sizeof head);
    head.headers = (struct tr_headers){items, 0, 8};
    cfg = (struct tr_cfg_provider){.name = TR_SPAN("p")};
    provider = (struct tr_authn_provider){.cfg = &cfg, .header = TR_SPAN("authorization")};
    keys_cfg = (struct tr_cfg_api_keys){.query = TR_SPAN("key")};
    authentication = (struct tr_cfg_authentication){.api_keys = &keys_cfg};
    conf = (struct tr_authn_conf){
        .cfg = &authentication, .api_key_header = TR_SPAN("x-api-key"), .has_api_keys = true};
    return 0;
}

static int end(void **state)
{
    (void)state;
    tr_arena_fini(&arena);
    return 0;
}

static void put(const char *name, const char *value)
{
    struct tr_span n = tr_span_cstr(name);
    items[head.headers.count++] = (struct tr_header){
        .name = n, .value = tr_span_cstr(value), .token = (uint16_t)tr_token_from(n)};
}

static void token_is(const char *want)
{
    assert_span_equal(tr_authn_token(&provider, &head, &arena), want);
}

static void a_token_stands_behind_bearer(void **state)
{
    (void)state;
    static const struct {
        const char *value, *token;
    } cases[] = {{"Bearer abc", "abc"}, {"bearer abc", "abc"}, {"BEARER   abc ", "abc"},
                 {"Bearer", ""},        {"Bearer ", ""},       {"Bearerabc", ""},
                 {"Basic abc", ""},     {"abc", ""},           {"", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        head.headers.count = 0;
        put("authorization", cases[i].value);
        token_is(cases[i].token);
    }
}

static void in_another_header_it_may_stand_alone(void **state)
{
    (void)state;
    provider.header = TR_SPAN("x-token");
    put("authorization", "Bearer no");
    token_is("");
    put("x-token", "abc");
    token_is("abc");
    items[1].value = TR_SPAN("Bearer abc");
    token_is("abc");
}

static void the_first_header_with_a_token_counts(void **state)
{
    (void)state;
    put("authorization", "Basic x");
    put("authorization", "Bearer one");
    put("authorization", "Bearer two");
    token_is("one");
}

static void the_header_comes_before_the_query_and_that_before_the_cookie(void **state)
{
    (void)state;
    cfg.token_query = TR_SPAN("t");
    cfg.token_cookie = TR_SPAN("session");
    put("cookie", "a=1; session=cookie; session=second");
    token_is("cookie");
    head.query = TR_SPAN("x=1&t=query&t=second");
    token_is("query");
    put("authorization", "Bearer header");
    token_is("header");
    provider.header = TR_SPAN("");
    token_is("query");
}

static void names_are_whole_names(void **state)
{
    (void)state;
    cfg.token_query = TR_SPAN("t");
    cfg.token_cookie = TR_SPAN("s");
    head.query = TR_SPAN("tt=1&xt=2&T=3&t");
    put("cookie", "ss=1; xs=2; S=3; s");
    put("cookie", "a=s=4");
    token_is("");
    put("cookie", "s=a=b");
    token_is("a=b");
}

static void values_of_a_query_are_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *query, *key;
    } cases[] = {{"k%65y=a", "a"},       {"%6bey=a&key=b", "a"},
                 {"k%ey=a", ""},         {"key=a%2Bb%2f%3D", "a+b/="},
                 {"key=a+b", "a+b"},     {"key=a%2", "a%2"},
                 {"key=%", "%"},         {"key=%zz", "%zz"},
                 {"key=%41%4", "%41%4"}, {"key=", ""},
                 {"a=1&key=%41", "A"},   {"", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        head.query = tr_span_cstr(cases[i].query);
        assert_span_equal(tr_authn_api_key(&conf, &head, &arena), cases[i].key);
    }
    put("x-api-key", "from-the-header");
    assert_span_equal(tr_authn_api_key(&conf, &head, &arena), "from-the-header");
    conf.api_key_header = TR_SPAN("");
    assert_span_equal(tr_authn_api_key(&conf, &head, &arena), "");
}

static void one_cookie_is_taken_out_of_many(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after;
    } cases[] = {{"s=1", ""},
                 {"s=1; s=2", ""},
                 {"a=1; s=t; b=2", "a=1; b=2"},
                 {"s=t;a=1;s=u;b=2;", "a=1; b=2"},
                 {"a=1;b=2;c=3", "a=1; b=2; c=3"},
                 {"as=1; sa=2; S=3", "as=1; sa=2; S=3"},
                 {"a=s=1", "a=s=1"},
                 {"s", ""},
                 {" ; ;", ""},
                 {"", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[64];
        assert_span_equal(tr_authn_without_cookie(out, tr_span_cstr(cases[i].before), TR_SPAN("s")),
                          cases[i].after);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_token_stands_behind_bearer, begin, end),
        cmocka_unit_test_setup_teardown(in_another_header_it_may_stand_alone, begin, end),
        cmocka_unit_test_setup_teardown(the_first_header_with_a_token_counts, begin, end),
        cmocka_unit_test_setup_teardown(
            the_header_comes_before_the_query_and_that_before_the_cookie, begin, end),
        cmocka_unit_test_setup_teardown(names_are_whole_names, begin, end),
        cmocka_unit_test_setup_teardown(values_of_a_query_are_decoded, begin, end),
        cmocka_unit_test(one_cookie_is_taken_out_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
