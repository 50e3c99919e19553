#include "pipeline/deadline.h"

#include "http/grpc_timeout.h"
#include "test.h"

static const uint64_t second = 1000000000u;

static uint64_t deadline(const struct tr_policy *policy, const char *grpc, const char *request,
                         bool unary)
{
    struct tr_arena arena;
    struct tr_headers headers = {0};
    uint64_t at = 0;
    tr_arena_init(&arena, NULL);
    if (grpc)
        assert_int_equal(tr_headers_add(&headers, &arena, TR_SPAN("grpc-timeout"),
                                        tr_span_cstr(grpc), TR_TOKEN_GRPC_TIMEOUT),
                         TR_OK);
    if (request)
        assert_int_equal(tr_headers_add(&headers, &arena, TR_SPAN("x-request-timeout"),
                                        tr_span_cstr(request), TR_TOKEN_X_REQUEST_TIMEOUT),
                         TR_OK);
    if (tr_deadline_of(policy, &headers, unary, 100 * second, &at))
        at = UINT64_MAX;
    tr_arena_fini(&arena);
    return at;
}

static void the_least_of_all_timeouts_holds(void **state)
{
    struct tr_policy p = {.timeout = 15 * second};
    (void)state;
    assert_int_equal(deadline(&p, NULL, NULL, true), 115 * second);
    assert_int_equal(deadline(&p, "5S", NULL, true), 105 * second);
    assert_int_equal(deadline(&p, "1H", NULL, true), 115 * second);
    assert_int_equal(deadline(&p, "5S", "2.5", true), 102 * second + second / 2);
    assert_int_equal(deadline(&p, NULL, "0", true), 100 * second);
}

static void the_policys_timeout_is_not_for_streams(void **state)
{
    struct tr_policy p = {.timeout = 15 * second};
    (void)state;
    assert_int_equal(deadline(&p, NULL, NULL, false), 0);
    assert_int_equal(deadline(&p, "5S", NULL, false), 105 * second);
}

static void malformed_timeouts_are_refused(void **state)
{
    static const char *const bad[] = {"",           "S",   "5",    "5s", "-5S",
                                      "123456789S", "5 S", "1.5S", "5SS"};
    static const char *const bad_seconds[] = {"",   "1s",    "-1",  ".5",
                                              "1.", "1.2.3", "1e3", "9999999999"};
    struct tr_policy p = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(deadline(&p, bad[i], NULL, true), UINT64_MAX);
    for (size_t i = 0; i < sizeof bad_seconds / sizeof bad_seconds[0]; i++)
        assert_int_equal(deadline(&p, NULL, bad_seconds[i], true), UINT64_MAX);
}

static void grpc_timeouts_have_up_to_8_digits_of_every_unit(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } cases[] = {{"0n", 0},
                 {"1n", 1},
                 {"00000001u", 1000},
                 {"99999999m", 99999999000000u},
                 {"99999999S", 99999999000000000u},
                 {"99999999M", 60 * second * 99999999u},
                 {"2562047H", 3600 * second * 2562047u},
                 {"2562048H", INT64_MAX}, /* saturates */
                 {"99999999H", INT64_MAX}};
    struct tr_policy p = {0};
    uint64_t ns = 1;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(tr_grpc_timeout_parse(tr_span_cstr(cases[i].text), &ns), TR_OK);
        assert_int_equal(ns, cases[i].ns);
        assert_int_equal(deadline(&p, cases[i].text, NULL, true), 100 * second + cases[i].ns);
    }
    static const char *const bad[] = {"000000001S", "1", "+1S", "1\tS", "S1", "1h", "1D", "0x1S"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(tr_grpc_timeout_parse(tr_span_cstr(bad[i]), &ns), TR_ERR_BAD_TIMEOUT);
}

static void request_timeouts_may_have_any_number_of_decimals(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } cases[] = {{"0.30000000000000004", 300000000u}, /* 0.1 + 0.2 as programs print it */
                 {"4.999876022338867", 4999876022u},
                 {"0.000000001", 1},
                 {"0.0000000009999", 0},
                 {"1.000000000", second},
                 {"007.5", 7 * second + second / 2},
                 {"999999999.999999999999", 999999999999999999u}};
    static const char *const bad[] = {
        "0.3000000000000000x", "1.-5", "1. 5", "1,5", "+1", " 1", "."};
    uint64_t ns = 1;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(tr_request_timeout_parse(tr_span_cstr(cases[i].text), &ns), TR_OK);
        assert_int_equal(ns, cases[i].ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(tr_request_timeout_parse(tr_span_cstr(bad[i]), &ns), TR_ERR_BAD_TIMEOUT);
}

static void what_is_sent_upstream_is_rounded_down_and_never_zero(void **state)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } cases[] = {{0, "1n"},
                 {1, "1n"},
                 {99999999, "99999999n"},
                 {100000000, "100000u"},
                 {15000000000u, "15000000u"},
                 {100000000999u, "100000m"},
                 {UINT64_MAX / 2, "2562047H"}};
    char out[16];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tr_span s = tr_grpc_timeout_print(out, cases[i].ns);
        uint64_t back;
        assert_span_equal(s, cases[i].text);
        assert_int_equal(tr_grpc_timeout_parse(s, &back), TR_OK);
        assert_true(back <= (cases[i].ns ? cases[i].ns : 1));
        assert_true(back > 0);
    }
}

static void streams_end_by_idleness_or_age(void **state)
{
    struct tr_policy p = {.stream_idle_timeout = 10 * second, .max_stream_duration = 60 * second};
    struct tr_deadline_state s = {
        .start_ns = 100 * second, .last_message_ns = 130 * second, .stream = true};
    uint64_t next = 0;
    (void)state;
    assert_int_equal(tr_deadline_check(&s, &p, 139 * second, &next), TR_OK);
    assert_int_equal(next, 140 * second);
    assert_int_equal(tr_deadline_check(&s, &p, 140 * second, &next), TR_ERR_STREAM_IDLE);
    s.last_message_ns = 159 * second;
    assert_int_equal(tr_deadline_check(&s, &p, 160 * second, &next), TR_ERR_STREAM_DURATION);
    s.deadline_ns = 150 * second;
    assert_int_equal(tr_deadline_check(&s, &p, 150 * second, &next), TR_ERR_DEADLINE);
    s.stream = false;
    s.deadline_ns = 0;
    assert_int_equal(tr_deadline_check(&s, &p, 1000 * second, &next), TR_OK);
    assert_int_equal(next, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_of_all_timeouts_holds),
        cmocka_unit_test(the_policys_timeout_is_not_for_streams),
        cmocka_unit_test(malformed_timeouts_are_refused),
        cmocka_unit_test(grpc_timeouts_have_up_to_8_digits_of_every_unit),
        cmocka_unit_test(request_timeouts_may_have_any_number_of_decimals),
        cmocka_unit_test(what_is_sent_upstream_is_rounded_down_and_never_zero),
        cmocka_unit_test(streams_end_by_idleness_or_age),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
