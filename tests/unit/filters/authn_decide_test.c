#include "filters/authn.h"
#include "test.h"

#include <stdlib.h>

#define BIT(i) (UINT64_C(1) << (i))
#define M      TR_AUTHN_MISSING
#define W      TR_AUTHN_WRONG
#define E      TR_AUTHN_EXPIRED
#define U      TR_AUTHN_UNAVAILABLE
#define P      TR_AUTHN_WAIT
#define OK     TR_AUTHN_OK

struct shows {
    enum tr_authn_shown of[4];
    unsigned asked[4];
};

static enum tr_authn_shown show(void *ctx, uint32_t bit)
{
    struct shows *s = ctx;
    assert_true(bit < 4);
    s->asked[bit]++;
    return s->of[bit];
}

/* all_of: the first two, any_of: the last two. */
static enum tr_authn_shown both(enum tr_authn_shown a, enum tr_authn_shown b, enum tr_authn_shown c,
                                enum tr_authn_shown d)
{
    struct shows s = {.of = {a, b, c, d}};
    struct tr_authn_policy p = {.all = BIT(0) | BIT(1), .any = BIT(2) | BIT(3)};
    return tr_authn_decide(&p, show, &s);
}

static enum tr_authn_shown all(enum tr_authn_shown a, enum tr_authn_shown b)
{
    struct shows s = {.of = {a, b}};
    struct tr_authn_policy p = {.all = BIT(0) | BIT(1)};
    return tr_authn_decide(&p, show, &s);
}

static enum tr_authn_shown any(enum tr_authn_shown a, enum tr_authn_shown b)
{
    struct shows s = {.of = {a, b}};
    struct tr_authn_policy p = {.any = BIT(0) | BIT(1)};
    return tr_authn_decide(&p, show, &s);
}

static void one_of_any_is_enough(void **state)
{
    (void)state;
    static const enum tr_authn_shown others[] = {M, W, E, U, P};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(any(OK, others[i]), OK);
        assert_int_equal(any(others[i], OK), OK);
    }
    assert_int_equal(any(M, M), M);
    assert_int_equal(any(M, W), W);
    assert_int_equal(any(W, E), E);
    assert_int_equal(any(E, M), E);
}

static void a_good_one_ends_the_search(void **state)
{
    (void)state;
    struct shows s = {.of = {OK, OK}};
    struct tr_authn_policy p = {.any = BIT(0) | BIT(1)};
    assert_int_equal(tr_authn_decide(&p, show, &s), OK);
    assert_int_equal(s.asked[0], 1);
    assert_int_equal(s.asked[1], 0);
}

static void all_of_all_are_needed(void **state)
{
    (void)state;
    assert_int_equal(all(OK, OK), OK);
    assert_int_equal(all(OK, W), W);
    assert_int_equal(all(E, OK), E);
    assert_int_equal(all(W, E), W);
    assert_int_equal(both(OK, OK, M, OK), OK);
    assert_int_equal(both(OK, W, OK, OK), W);
    assert_int_equal(both(OK, OK, W, M), W);
}

static void half_of_what_is_needed_is_wrong_and_nothing_is_nobody(void **state)
{
    (void)state;
    assert_int_equal(all(M, M), M);
    assert_int_equal(both(M, M, M, M), M);
    assert_int_equal(all(OK, M), W);
    assert_int_equal(all(M, U), W);
    assert_int_equal(both(OK, OK, M, M), W);
    assert_int_equal(both(M, M, OK, M), W);
}

/* Fail-open and waiting are for what is not decided: anything that is refused for certain is. */
static void what_is_refused_anyway_waits_for_nothing(void **state)
{
    (void)state;
    static const enum tr_authn_shown no[] = {M, W, E};
    for (size_t i = 0; i < 3; i++) {
        enum tr_authn_shown want = no[i] == M ? W : no[i];
        assert_int_equal(all(P, no[i]), want);
        assert_int_equal(all(no[i], P), want);
        assert_int_equal(all(U, no[i]), want);
        assert_int_equal(both(OK, no[i], P, P), want);
        assert_int_equal(both(OK, no[i], U, OK), want);
        assert_int_equal(both(P, P, no[i], M), want);
        assert_int_equal(both(U, OK, M, no[i]), want);
    }
}

static void what_is_open_waits(void **state)
{
    (void)state;
    assert_int_equal(any(P, W), P);
    assert_int_equal(any(M, P), P);
    assert_int_equal(any(U, P), P);
    assert_int_equal(any(P, U), P);
    assert_int_equal(all(P, OK), P);
    assert_int_equal(all(U, P), P);
    assert_int_equal(all(P, U), P);
    assert_int_equal(both(P, OK, U, M), P);
    assert_int_equal(both(U, OK, P, M), P);
    assert_int_equal(both(U, OK, U, M), U);
    assert_int_equal(both(OK, OK, U, W), U);
    assert_int_equal(any(U, E), U);
    assert_int_equal(all(U, OK), U);
}

/* Every combination, against what the contract says in other words. */
static void every_combination_of_four(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6 * 6 * 6 * 6; i++) {
        enum tr_authn_shown v[4] = {i % 6, i / 6 % 6, i / 36 % 6, i / 216};
        enum tr_authn_shown got = both(v[0], v[1], v[2], v[3]);
        bool nothing = v[0] == M && v[1] == M && v[2] == M && v[3] == M;
        bool all_ok = v[0] == OK && v[1] == OK, any_ok = v[2] == OK || v[3] == OK;
        bool all_open = v[0] > E && v[1] > E, any_open = v[2] > E || v[3] > E;
        bool waits = v[0] == P || v[1] == P || (!any_ok && (v[2] == P || v[3] == P));
        assert_int_equal(got == M, nothing);
        assert_int_equal(got == OK, all_ok && any_ok);
        assert_int_equal(got <= E, !all_open || !any_open);
        assert_int_equal(got == P, all_open && any_open && waits);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_of_any_is_enough),
        cmocka_unit_test(a_good_one_ends_the_search),
        cmocka_unit_test(all_of_all_are_needed),
        cmocka_unit_test(half_of_what_is_needed_is_wrong_and_nothing_is_nobody),
        cmocka_unit_test(what_is_refused_anyway_waits_for_nothing),
        cmocka_unit_test(what_is_open_waits),
        cmocka_unit_test(every_combination_of_four),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
