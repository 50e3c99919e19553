#include "pipeline/identity.h"

#include "test.h"

static const struct tr_span gold[] = {TR_SPAN_INIT("gold")};
static const struct tr_span silver[] = {TR_SPAN_INIT("silver"), TR_SPAN_INIT("x")};
static const struct tr_claim first_items[] = {{TR_SPAN_INIT("plan"), gold, 1}};
static const struct tr_claim second_items[] = {{TR_SPAN_INIT("plan"), silver, 2},
                                               {TR_SPAN_INIT("a.b"), silver, 2}};
static const struct tr_claims first = {first_items, 1}, second = {second_items, 2};
static const struct tr_span scopes[] = {TR_SPAN_INIT("read"), TR_SPAN_INIT("write")};

static void nobody_has_nothing(void **state)
{
    (void)state;
    assert_null(tr_claims_find(NULL, TR_SPAN("plan")));
    assert_null(tr_identity_claim(NULL, TR_SPAN("plan")));
    assert_int_equal(tr_identity_subject(NULL).len, 0);
    assert_int_equal(tr_identity_consumer(NULL).len, 0);
    assert_int_equal(tr_identity_tier(NULL).len, 0);
    assert_false(tr_identity_has_scope(NULL, TR_SPAN("read")));
}

static void the_first_credential_that_has_it_decides(void **state)
{
    (void)state;
    struct tr_identity id = {.items = {{.claims = &first,
                                        .subject = TR_SPAN("alice"),
                                        .scopes = scopes,
                                        .scope_count = 1},
                                       {.claims = &second,
                                        .subject = TR_SPAN("bob"),
                                        .consumer = TR_SPAN("acme"),
                                        .tier = TR_SPAN("t"),
                                        .scopes = scopes + 1,
                                        .scope_count = 1}},
                             .count = 2};
    assert_ptr_equal(tr_identity_claim(&id, TR_SPAN("plan")), &first_items[0]);
    assert_ptr_equal(tr_identity_claim(&id, TR_SPAN("a.b")), &second_items[1]);
    assert_null(tr_identity_claim(&id, TR_SPAN("a")));
    assert_true(tr_span_eq(tr_identity_subject(&id), TR_SPAN("alice")));
    assert_true(tr_span_eq(tr_identity_consumer(&id), TR_SPAN("acme")));
    assert_true(tr_span_eq(tr_identity_tier(&id), TR_SPAN("t")));
    assert_true(tr_identity_has_scope(&id, TR_SPAN("read")));
    assert_true(tr_identity_has_scope(&id, TR_SPAN("write")));
    assert_false(tr_identity_has_scope(&id, TR_SPAN("admin")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_has_nothing),
        cmocka_unit_test(the_first_credential_that_has_it_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
