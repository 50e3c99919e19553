#include "transcode/wktparse.h"

#include "test.h"

#include <stdio.h>
#include <time.h>

static void timestamp_agrees_with_the_calendar_on_every_day(void **state)
{
    (void)state;
    /* timegm is glibc's; it knows the proleptic Gregorian calendar too */
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint64_t seed = tr_test_seed();
    for (int year = 1; year <= 9999; year += year < 1600 || year > 2500 ? 7 : 1) {
        for (int month = 1; month <= 12; month++) {
            for (int day = 1; day <= days[month - 1]; day += day == 1 ? 26 : 1) {
                struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
                tm.tm_hour = (int)(tr_test_rand(&seed) % 24);
                tm.tm_min = (int)(tr_test_rand(&seed) % 60);
                tm.tm_sec = (int)(tr_test_rand(&seed) % 60);
                struct tm want = tm;
                int64_t t = timegm(&want), got = -1;
                int32_t nanos = -1;
                char s[64];
                int n = snprintf(s, sizeof s, "%04d-%02d-%02dT%02d:%02d:%02dZ", year, month, day,
                                 tm.tm_hour, tm.tm_min, tm.tm_sec);
                enum tr_err err = tr_wkt_timestamp(tr_span(s, (size_t)n), &got, &nanos, NULL);
                if (want.tm_mon != tm.tm_mon) { /* timegm carried: there is no such day */
                    assert_int_equal(err, TR_ERR_JSON_WKT);
                    continue;
                }
                assert_int_equal(err, TR_OK);
                assert_int_equal(got, t);
                assert_int_equal(nanos, 0);
            }
        }
    }
}

static void timestamp_refuses_every_cut_and_every_changed_character(void **state)
{
    (void)state;
    static const char good[] = "2024-02-29T23:59:59.125+05:30";
    int64_t s;
    int32_t n;
    assert_int_equal(tr_wkt_timestamp(TR_SPAN("2024-02-29T23:59:59.125+05:30"), &s, &n, NULL),
                     TR_OK);
    assert_int_equal(s, 1709231399);
    assert_int_equal(n, 125000000);
    for (size_t len = 0; len < sizeof good - 1; len++) {
        char *copy = malloc(len ? len : 1); /* exact, so that a sanitizer sees over-reads */
        assert_non_null(copy);
        memcpy(copy, good, len);
        assert_int_equal(tr_wkt_timestamp(tr_span(copy, len), &s, &n, NULL), TR_ERR_JSON_WKT);
        free(copy);
    }
    for (size_t i = 0; i < sizeof good - 1; i++) {
        char bad[sizeof good];
        memcpy(bad, good, sizeof good);
        bad[i] = 'x';
        assert_int_equal(tr_wkt_timestamp(tr_span(bad, sizeof bad - 1), &s, &n, NULL),
                         TR_ERR_JSON_WKT);
    }
    assert_int_equal(s, 1709231399); /* outputs are set only on success */
}

static void duration_keeps_the_sign_in_both_members(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
        int32_t nanos;
    } cases[] = {{"0s", 0, 0},
                 {"-0s", 0, 0},
                 {"1.5s", 1, 500000000},
                 {"-1.5s", -1, -500000000},
                 {"-0.000000001s", 0, -1},
                 {"007s", 7, 0},
                 {"315576000000.999999999s", 315576000000, 999999999}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t s = 99;
        int32_t n = 99;
        assert_int_equal(tr_wkt_duration(tr_span_cstr(cases[i].text), &s, &n, NULL), TR_OK);
        assert_int_equal(s, cases[i].seconds);
        assert_int_equal(n, cases[i].nanos);
    }
    int64_t s = 99;
    int32_t n = 99;
    assert_int_equal(tr_wkt_duration((struct tr_span){NULL, 0}, &s, &n, NULL), TR_ERR_JSON_WKT);
    assert_int_equal(tr_wkt_timestamp((struct tr_span){NULL, 0}, &s, &n, NULL), TR_ERR_JSON_WKT);
    assert_int_equal(s, 99);
}

static void time_wire_leaves_out_zeros_unless_told(void **state)
{
    (void)state;
    char out[TR_WKT_TIME_MAX];
    assert_int_equal(tr_wkt_time_wire(out, 0, 0, false), 0);
    assert_int_equal(tr_wkt_time_wire(out, 0, 0, true), 4);
    assert_memory_equal(out, "\x08\x00\x10\x00", 4);
    assert_int_equal(tr_wkt_time_wire(out, 1, 2, false), 4);
    assert_memory_equal(out, "\x08\x01\x10\x02", 4);
    assert_int_equal(tr_wkt_time_wire(out, -1, -1, false), 22);
}

static void field_mask_becomes_snake_case(void **state)
{
    (void)state;
    struct tr_buf out;
    tr_buf_init(&out);
    assert_int_equal(tr_wkt_field_mask(TR_SPAN(""), false, &out, NULL), TR_OK);
    assert_int_equal(out.len, 0);
    assert_int_equal(tr_wkt_field_mask(TR_SPAN("a,bC.dE,*"), false, &out, NULL), TR_OK);
    assert_span_equal(tr_buf_span(&out), "\012\001a\012\007b_c.d_e\012\001*");
    assert_int_equal(tr_wkt_field_mask(TR_SPAN("a_b"), false, &out, NULL), TR_ERR_JSON_WKT);
    tr_buf_clear(&out);
    assert_int_equal(tr_wkt_field_mask(TR_SPAN("a_b"), true, &out, NULL), TR_OK);
    assert_span_equal(tr_buf_span(&out), "\012\003a_b");
    static const char *const bad[] = {",", "a,", ",a", "a b", "a\tb", "a\"b", "a\x7f"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(tr_wkt_field_mask(tr_span_cstr(bad[i]), true, &out, NULL),
                         TR_ERR_JSON_WKT);
    tr_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timestamp_agrees_with_the_calendar_on_every_day),
        cmocka_unit_test(timestamp_refuses_every_cut_and_every_changed_character),
        cmocka_unit_test(duration_keeps_the_sign_in_both_members),
        cmocka_unit_test(time_wire_leaves_out_zeros_unless_told),
        cmocka_unit_test(field_mask_becomes_snake_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
