#include "filters/authz.h"

#include "test.h"

#define LIST(...)                                                                                  \
    {                                                                                              \
        (struct tr_span[]){__VA_ARGS__},                                                           \
            sizeof((struct tr_span[]){__VA_ARGS__}) / sizeof(struct tr_span)                       \
    }
#define S(text) TR_SPAN_INIT(text)

static const struct tr_span read_write[] = {S("read"), S("write")}, admin[] = {S("admin")};
static const struct tr_span gold[] = {S("gold")}, roles[] = {S("editor"), S("author")};
static const struct tr_claim claim_items[] = {
    {S("plan"), gold, 1}, {S("roles"), roles, 2}, {S("none"), gold, 0}};
static const struct tr_claims claims = {claim_items, 3};
static const struct tr_identity token = {.items = {{.kind = TR_CREDENTIAL_TOKEN,
                                                    .claims = &claims,
                                                    .scopes = read_write,
                                                    .scope_count = 2}},
                                         .count = 1};
static const struct tr_identity two = {
    .items =
        {{.kind = TR_CREDENTIAL_TOKEN, .claims = &claims, .scopes = read_write, .scope_count = 2},
         {.kind = TR_CREDENTIAL_API_KEY, .consumer = S("acme"), .scopes = admin, .scope_count = 1}},
    .count = 2};

static void every_scope_is_needed(void **state)
{
    (void)state;
    struct tr_policy_authorization p = {.scopes = LIST(S("read"))};
    assert_true(tr_authz_may(&p, &token));
    p.scopes = (struct tr_strings)LIST(S("read"), S("write"));
    assert_true(tr_authz_may(&p, &token));
    p.scopes = (struct tr_strings)LIST(S("read"), S("admin"));
    assert_false(tr_authz_may(&p, &token));
    assert_true(tr_authz_may(&p, &two)); /* those of all credentials count */
}

static void a_scope_is_a_whole_word(void **state)
{
    (void)state;
    static const struct tr_span near[] = {S("rea"), S("reads"), S("Read"), S(""), S("read write")};
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++) {
        struct tr_policy_authorization p = {.scopes = LIST(near[i])};
        assert_false(tr_authz_may(&p, &token));
    }
}

static void one_of_any_scope_is_enough(void **state)
{
    (void)state;
    struct tr_policy_authorization p = {.any_scope = LIST(S("admin"), S("write"))};
    assert_true(tr_authz_may(&p, &token));
    p.any_scope = (struct tr_strings)LIST(S("admin"), S("root"));
    assert_false(tr_authz_may(&p, &token));
}

static void a_claim_has_one_of_the_values(void **state)
{
    (void)state;
    struct tr_named_strings want[2] = {{.name = S("plan"), .values = LIST(S("free"), S("gold"))},
                                       {.name = S("roles"), .values = LIST(S("author"))}};
    struct tr_policy_authorization p = {.claims = {want, 2}};
    assert_true(tr_authz_may(&p, &token));
    want[1].values = (struct tr_strings)LIST(S("editor,author"));
    assert_false(tr_authz_may(&p, &token));
    want[1].values = (struct tr_strings)LIST(S("reader"));
    assert_false(tr_authz_may(&p, &token)); /* each claim is needed */
    want[1] = (struct tr_named_strings){.name = S("absent"), .values = LIST(S("x"))};
    assert_false(tr_authz_may(&p, &token));
    want[1] = (struct tr_named_strings){.name = S("none"), .values = LIST(S("gold"))};
    assert_false(tr_authz_may(&p, &token));
}

static void consumers_are_those_of_keys_and_certificates(void **state)
{
    (void)state;
    struct tr_policy_authorization p = {.consumers = LIST(S("other"), S("acme"))};
    assert_false(tr_authz_may(&p, &token));
    assert_true(tr_authz_may(&p, &two));
    p.consumers = (struct tr_strings)LIST(S(""));
    assert_false(tr_authz_may(&p, &token)); /* no name is nobody's name */
}

static void all_that_is_asked_for_must_be_there(void **state)
{
    (void)state;
    struct tr_named_strings want = {.name = S("plan"), .values = LIST(S("gold"))};
    const struct tr_policy_authorization good = {.scopes = LIST(S("read")),
                                                 .any_scope = LIST(S("admin")),
                                                 .consumers = LIST(S("acme")),
                                                 .claims = {&want, 1}};
    struct tr_named_strings wrong = {.name = S("plan"), .values = LIST(S("free"))};
    struct tr_policy_authorization p = good;
    assert_true(tr_authz_may(&p, &two));
    p.scopes = (struct tr_strings)LIST(S("never"));
    assert_false(tr_authz_may(&p, &two));
    p = good;
    p.any_scope = (struct tr_strings)LIST(S("never"));
    assert_false(tr_authz_may(&p, &two));
    p = good;
    p.consumers = (struct tr_strings)LIST(S("nobody"));
    assert_false(tr_authz_may(&p, &two));
    p = good;
    p.claims = (struct tr_items){&wrong, 1};
    assert_false(tr_authz_may(&p, &two));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scope_is_needed),
        cmocka_unit_test(a_scope_is_a_whole_word),
        cmocka_unit_test(one_of_any_scope_is_enough),
        cmocka_unit_test(a_claim_has_one_of_the_values),
        cmocka_unit_test(consumers_are_those_of_keys_and_certificates),
        cmocka_unit_test(all_that_is_asked_for_must_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
