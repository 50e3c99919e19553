#include "upstream/retry.h"

#include "test.h"

#define MS ((uint64_t)1000000)

#define CODE(name) (tr_retry_code_bit(TR_SPAN(#name)))

/* A unary idempotent call whose first attempt was sent and failed; three attempts, on UNAVAILABLE.
 */
static struct tr_retry_try plain(enum tr_err err)
{
    return (struct tr_retry_try){
        .err = err,
        .code = err ? tr_err_info(err)->grpc_code : 14,
        .sent = true,
        .attempts = 1,
        .idempotent = true,
        .replayable = true,
        .left_ns = UINT64_MAX,
        .max_attempts = 3,
        .on_codes = CODE(UNAVAILABLE),
        .base_ns = 100 * MS,
        .max_ns = 1000 * MS,
        .random = UINT64_MAX,
    };
}

static enum tr_retry_why why(struct tr_retry_try t)
{
    return tr_retry_judge(&t).why;
}

/* ---- the table: each error, with what it takes ----------------------------------------------- */

/* Whether it is repeated: for an idempotent method, for any method, for any method though nothing
 * was sent, for any method without a policy. */
static const struct {
    enum tr_err err;
    bool idempotent, any, unsent, without_policy;
} table[] = {
    {TR_ERR_UPSTREAM_NO_ENDPOINT, true, true, true, false},
    {TR_ERR_UPSTREAM_DNS, true, true, true, false},
    {TR_ERR_UPSTREAM_CONNECT, true, true, true, false},
    {TR_ERR_UPSTREAM_TLS, true, true, true, false},
    {TR_ERR_UPSTREAM_REFUSED, true, true, true, true},
    {TR_ERR_UPSTREAM_GOAWAY, true, true, true, true},
    {TR_ERR_UPSTREAM_TRY_TIMEOUT, true, false, true, false},
    {TR_ERR_UPSTREAM_RESET, true, false, true, false},
    {TR_ERR_UPSTREAM_CLOSED, true, false, true, false},
    {TR_ERR_UPSTREAM_PENDING, false, false, false, false},
    {TR_ERR_UPSTREAM_ACTIVE, false, false, false, false},
    {TR_ERR_BREAKER_OPEN, false, false, false, false},
    {TR_ERR_UPSTREAM_PROTOCOL, false, false, false, false},
    {TR_ERR_UPSTREAM_CONTENT_TYPE, false, false, false, false},
    {TR_ERR_UPSTREAM_MALFORMED, false, false, false, false},
    {TR_ERR_UPSTREAM_OVERSIZED, false, false, false, false},
    {TR_ERR_UPSTREAM_HEADERS, false, false, false, false},
    {TR_ERR_DEADLINE, false, false, false, false},
    {TR_ERR_STREAM_IDLE, false, false, false, false},
    {TR_ERR_CLIENT_GONE, false, false, false, false},
    {TR_ERR_NOMEM, false, false, false, false},
    {TR_ERR_INTERNAL, false, false, false, false},
    {TR_ERR_QUOTA_EXCEEDED, false, false, false, false},
};

static void retry_follows_the_class_of_each_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct tr_retry_try t = plain(table[i].err);
        const char *name = tr_err_info(table[i].err)->name;
        bool got[4];
        got[0] = why(t) == TR_RETRY_AGAIN;
        t.idempotent = false;
        got[1] = why(t) == TR_RETRY_AGAIN;
        t.max_attempts = 1;
        got[3] = why(t) == TR_RETRY_AGAIN;
        t.max_attempts = 3;
        t.sent = false;
        got[2] = why(t) == TR_RETRY_AGAIN;
        if (got[0] != table[i].idempotent || got[1] != table[i].any || got[2] != table[i].unsent ||
            got[3] != table[i].without_policy)
            fail_msg("%s: %d %d %d %d", name, got[0], got[1], got[2], got[3]);
    }
}

static void retry_of_a_status_needs_its_code_listed_and_an_idempotent_method(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 256; code++) {
        struct tr_retry_try t = plain(TR_OK);
        t.code = (uint8_t)code;
        t.on_codes = CODE(UNAVAILABLE) | CODE(ABORTED);
        bool listed = code == 14 || code == 10;
        assert_int_equal(why(t), listed ? TR_RETRY_AGAIN : TR_RETRY_PLAIN);
        t.idempotent = false;
        assert_int_equal(why(t), TR_RETRY_PLAIN);
        t.idempotent = true;
        t.client_streaming = true;
        assert_int_equal(why(t), TR_RETRY_PLAIN);
        t.client_streaming = false;
        t.max_attempts = 1;
        assert_int_equal(why(t), TR_RETRY_PLAIN);
    }
}

static void retry_never_takes_a_success_for_a_failure(void **state)
{
    (void)state;
    struct tr_retry_try t = plain(TR_OK);
    t.code = 0;
    t.on_codes = UINT32_MAX;
    assert_int_equal(why(t), TR_RETRY_PLAIN);
}

static void retry_lists_lost_calls_as_unavailable_or_as_what_the_reset_stands_for(void **state)
{
    (void)state;
    struct tr_retry_try t = plain(TR_ERR_UPSTREAM_RESET);
    t.code = 13;
    assert_int_equal(why(t), TR_RETRY_AGAIN);
    t.on_codes = CODE(INTERNAL);
    assert_int_equal(why(t), TR_RETRY_AGAIN);
    t.on_codes = CODE(ABORTED);
    assert_int_equal(why(t), TR_RETRY_PLAIN);
    t = plain(TR_ERR_UPSTREAM_CLOSED);
    t.on_codes = CODE(ABORTED);
    assert_int_equal(why(t), TR_RETRY_PLAIN);
    t = plain(TR_ERR_UPSTREAM_TRY_TIMEOUT); /* asked for by per_try_timeout itself */
    t.on_codes = CODE(ABORTED);
    assert_int_equal(why(t), TR_RETRY_AGAIN);
}

static void retry_of_client_streams_needs_them_unread(void **state)
{
    (void)state;
    enum tr_err unread[] = {TR_ERR_UPSTREAM_REFUSED, TR_ERR_UPSTREAM_GOAWAY,
                            TR_ERR_UPSTREAM_CONNECT};
    enum tr_err other[] = {TR_ERR_UPSTREAM_RESET, TR_ERR_UPSTREAM_CLOSED,
                           TR_ERR_UPSTREAM_TRY_TIMEOUT};
    for (size_t i = 0; i < 3; i++) {
        struct tr_retry_try t = plain(unread[i]);
        t.client_streaming = true;
        assert_int_equal(why(t), TR_RETRY_AGAIN);
        t = plain(other[i]);
        t.client_streaming = true;
        assert_int_equal(why(t), TR_RETRY_PLAIN);
        t.sent = false;
        assert_int_equal(why(t), TR_RETRY_AGAIN);
    }
}

static void retry_ends_with_the_first_byte_of_an_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct tr_retry_try t = plain(table[i].err);
        t.begun = true;
        assert_int_equal(why(t), TR_RETRY_PLAIN);
    }
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static void retry_counts_the_first_attempt_among_its_attempts(void **state)
{
    (void)state;
    struct tr_retry_try t = plain(TR_OK);
    t.attempts = 2;
    assert_int_equal(why(t), TR_RETRY_AGAIN);
    t.attempts = 3;
    assert_int_equal(why(t), TR_RETRY_ATTEMPTS);
    t = plain(TR_ERR_UPSTREAM_REFUSED);
    t.max_attempts = 1;
    t.attempts = TR_RETRY_UNREAD_ATTEMPTS - 1;
    assert_int_equal(why(t), TR_RETRY_AGAIN);
    t.attempts++;
    assert_int_equal(why(t), TR_RETRY_ATTEMPTS);
}

static void retry_needs_the_request(void **state)
{
    (void)state;
    struct tr_retry_try t = plain(TR_OK);
    t.replayable = false;
    assert_int_equal(why(t), TR_RETRY_REPLAY);
    t = plain(TR_ERR_UPSTREAM_GOAWAY);
    t.replayable = false;
    assert_int_equal(why(t), TR_RETRY_REPLAY);
}

static void retry_never_goes_past_the_deadline(void **state)
{
    (void)state;
    struct tr_retry_try t = plain(TR_OK);
    t.left_ns = 100 * MS;
    assert_int_equal(why(t), TR_RETRY_DEADLINE);
    t.left_ns = 100 * MS + 1;
    assert_int_equal(why(t), TR_RETRY_AGAIN);
    t = plain(TR_ERR_UPSTREAM_GOAWAY); /* at once */
    t.left_ns = 1;
    assert_int_equal(why(t), TR_RETRY_AGAIN);
    t.left_ns = 0;
    assert_int_equal(why(t), TR_RETRY_DEADLINE);
}

static void retry_obeys_pushback(void **state)
{
    (void)state;
    struct tr_retry_try t = plain(TR_OK);
    t.pushback = TR_PUSHBACK_AFTER;
    t.pushback_ns = 7 * MS;
    assert_int_equal(tr_retry_judge(&t).delay_ns, 7 * MS);
    t.pushback_ns = 0;
    assert_int_equal(tr_retry_judge(&t).delay_ns, 0);
    t.pushback_ns = 5000 * MS;
    t.left_ns = 4000 * MS;
    assert_int_equal(why(t), TR_RETRY_DEADLINE);
    t.pushback = TR_PUSHBACK_NEVER;
    assert_int_equal(why(t), TR_RETRY_PUSHBACK);
    t.code = 5; /* what is not listed is no matter of pushback */
    assert_int_equal(why(t), TR_RETRY_PLAIN);
    t.code = 14;
    t.idempotent = false; /* and it gives no leave to do things twice */
    t.pushback = TR_PUSHBACK_AFTER;
    assert_int_equal(why(t), TR_RETRY_PLAIN);
}

static void retry_is_charged_when_the_attempt_reached_a_backend(void **state)
{
    (void)state;
    struct tr_retry_try t = plain(TR_OK);
    assert_true(tr_retry_judge(&t).charged);
    t = plain(TR_ERR_UPSTREAM_REFUSED);
    assert_true(tr_retry_judge(&t).charged);
    t = plain(TR_ERR_UPSTREAM_CLOSED);
    assert_true(tr_retry_judge(&t).charged);
    t.sent = false;
    assert_false(tr_retry_judge(&t).charged);
    t = plain(TR_ERR_UPSTREAM_CONNECT);
    t.sent = false;
    assert_false(tr_retry_judge(&t).charged);
    t = plain(TR_ERR_UPSTREAM_GOAWAY);
    assert_false(tr_retry_judge(&t).charged);
    t.attempts = 2; /* a backend that says GOAWAY to everything */
    assert_true(tr_retry_judge(&t).charged);
}

/* ---- delays ---------------------------------------------------------------------------------- */

static void retry_of_what_was_turned_away_is_at_once_the_first_time(void **state)
{
    (void)state;
    struct tr_retry_try t = plain(TR_ERR_UPSTREAM_REFUSED);
    assert_int_equal(tr_retry_judge(&t).delay_ns, 0);
    t.attempts = 2;
    assert_int_equal(tr_retry_judge(&t).delay_ns, 100 * MS);
    t.max_attempts = 1; /* without a policy there is no backoff */
    assert_int_equal(tr_retry_judge(&t).delay_ns, 0);
    t = plain(TR_ERR_UPSTREAM_CONNECT); /* there the cluster has just tried all */
    t.sent = false;
    assert_int_equal(tr_retry_judge(&t).delay_ns, 100 * MS);
}

static void retry_backoff_doubles_up_to_its_maximum(void **state)
{
    (void)state;
    static const uint64_t want[] = {100, 200, 400, 800, 1000, 1000};
    for (uint32_t n = 0; n < 6; n++) {
        assert_int_equal(tr_retry_backoff(100 * MS, 1000 * MS, n, UINT64_MAX), want[n] * MS);
        assert_int_equal(tr_retry_backoff(100 * MS, 1000 * MS, n, 0), 0);
    }
    for (uint32_t n = 0; n < 300; n++)
        assert_in_range(tr_retry_backoff(UINT64_MAX / 3, 1000 * MS, n, UINT64_MAX), 1000 * MS,
                        1000 * MS);
    assert_int_equal(tr_retry_backoff(0, 1000 * MS, 5, UINT64_MAX), 0);
    assert_int_equal(tr_retry_backoff(1, UINT64_MAX, 64, UINT64_MAX), UINT64_MAX);
}

static void retry_backoff_is_uniform(void **state)
{
    uint64_t seed = tr_test_seed(), sum = 0;
    uint32_t low = 0;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        uint64_t d = tr_retry_backoff(100 * MS, 1000 * MS, 0, tr_test_rand(&seed));
        assert_true(d <= 100 * MS);
        sum += d / 1000;
        low += d < 25 * MS;
    }
    assert_in_range(sum / 20000, 48000, 52000);
    assert_in_range(low, 4700, 5300);
}

/* ---- texts ----------------------------------------------------------------------------------- */

static void retry_reads_pushback(void **state)
{
    uint64_t ns = 1;
    (void)state;
    assert_int_equal(tr_retry_pushback(TR_SPAN("0"), &ns), TR_PUSHBACK_AFTER);
    assert_int_equal(ns, 0);
    assert_int_equal(tr_retry_pushback(TR_SPAN("1500"), &ns), TR_PUSHBACK_AFTER);
    assert_int_equal(ns, 1500 * MS);
    const char *never[] = {
        "-1", "", "soon", "1.5", " 1", "+1", "1ms", "99999999999999999999", "18446744073709551615"};
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        assert_int_equal(tr_retry_pushback(tr_span_cstr(never[i]), &ns), TR_PUSHBACK_NEVER);
    assert_int_equal(ns, 1500 * MS);
}

static void retry_knows_the_names_of_codes(void **state)
{
    (void)state;
    assert_int_equal(CODE(CANCELLED), 1u << 1);
    assert_int_equal(CODE(RESOURCE_EXHAUSTED), 1u << 8);
    assert_int_equal(CODE(UNAVAILABLE), 1u << 14);
    assert_int_equal(CODE(UNAUTHENTICATED), 1u << 16);
    assert_int_equal(CODE(OK), 0);
    assert_int_equal(CODE(unavailable), 0);
    assert_int_equal(tr_retry_code_bit(TR_SPAN("")), 0);
    assert_int_equal(tr_retry_code_bit(TR_SPAN("14")), 0);
    assert_string_equal(tr_retry_why_name(TR_RETRY_BUDGET), "budget");
    assert_string_equal(tr_retry_why_name(TR_RETRY_ATTEMPTS), "attempts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retry_follows_the_class_of_each_error),
        cmocka_unit_test(retry_of_a_status_needs_its_code_listed_and_an_idempotent_method),
        cmocka_unit_test(retry_never_takes_a_success_for_a_failure),
        cmocka_unit_test(retry_lists_lost_calls_as_unavailable_or_as_what_the_reset_stands_for),
        cmocka_unit_test(retry_of_client_streams_needs_them_unread),
        cmocka_unit_test(retry_ends_with_the_first_byte_of_an_answer),
        cmocka_unit_test(retry_counts_the_first_attempt_among_its_attempts),
        cmocka_unit_test(retry_needs_the_request),
        cmocka_unit_test(retry_never_goes_past_the_deadline),
        cmocka_unit_test(retry_obeys_pushback),
        cmocka_unit_test(retry_is_charged_when_the_attempt_reached_a_backend),
        cmocka_unit_test(retry_of_what_was_turned_away_is_at_once_the_first_time),
        cmocka_unit_test(retry_backoff_doubles_up_to_its_maximum),
        cmocka_unit_test(retry_backoff_is_uniform),
        cmocka_unit_test(retry_reads_pushback),
        cmocka_unit_test(retry_knows_the_names_of_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
