#include "num_bits.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

/* -- parsing
 * ------------------------------------------------------------------------------------------------
 */

static void hard_cases_parse_to_the_nearest(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "9007199254740993",
        "9007199254740993.0000000000000000000000000000001",
        "9007199254740992.9999999999999999999999999999999",
        "9007199254740995",
        "1e23",
        "8.5e22",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "4.9406564584124654e-324",
        "2.4703282292062328e-324",
        "2.4703282292062327e-324",
        "1e-400",
        "2.2250738585072011e-308",
        "2.2250738585072012e-308",
        "6.631236846766476e-316",
        "3.237883913302901e-319",
        "6953558075864739e-300",
        "0.500000000000000166533453693773481063544750213623046875",
        "3.518437208883201171875e13",
        "62.5364939768271845828",
        "8.10109172351e-10",
        "1.50000000000000011102230246251565",
        "9214843084008499",
        "30078505129381147446200",
        "1777820000000000000001",
        "0.000000000000000000000000000000000000000000000000000000000000000000000000000001",
        "10000000000000000000000000000000000000000000000000000000000000000000000000000000000",
        "123456789012345678901234567890123456789e-38",
        "7.8459735791271921e65",
        "3.571e266",
        "1448997445238699",
        "9.5367431640625e-7",
        "45035996273704985.0e-1",
        "45035996273704995e-1",
        "1090544144181609348671888949248",
        "1090544144181609348835077142190",
        "104308485241983990666713401708072175773165034278685682097536e-100",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double want = strtod(cases[i], NULL);
        if (bits64(to_double(cases[i])) != bits64(want))
            fail_msg("%s: %.17g, not %.17g", cases[i], to_double(cases[i]), want);
    }
    static const char *const floats[] = {
        "16777217",
        "16777219",
        "16777217.0000001",
        "1.00000017881393421514957253748434595763683319091796875001",
        "1.00000017881393432617187499",
        "1.00000017881393432617187500",
        "1.00000017881393432617187501",
        "3.4028235e38",
        "3.4028235677973366163753939545814e38",
        "1.1754943508e-38",
        "7.0064923216240853e-46",
        "7.0064923216240854e-46",
        "7.0064923216240862e-46",
        "1e-45",
        "0.1",
        "8388609.5",
        "8388608.5",
        "1e-60",
        "1."
        "401298464324817070923729583289916131280261941876515771757068283889791082685860601486638188"
        "36212158203125e-45",
    };
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        float want = strtof(floats[i], NULL);
        if (bits32(to_float(floats[i])) != bits32(want))
            fail_msg("%s: %.9g, not %.9g", floats[i], (double)to_float(floats[i]), (double)want);
    }
}

static void a_float_is_rounded_once(void **state)
{
    (void)state;
    /* just above the middle of two floats, but the middle itself to the nearest double */
    assert_true(to_float("1.00000005960464477540") == 1.00000011920928955078125f);
    assert_true((float)to_double("1.00000005960464477540") == 1.0f);
}

static void overflow_is_a_range_error_and_underflow_is_not(void **state)
{
    (void)state;
    static const char *const over[] = {
        "1.7976931348623159e308", "1e309", "-1e309", "1e999999999999999999999",
        "17976931348623158079372897140530341507993413271003782693617377898044"
        "49682927647509466490179775872070963302864166928879109465555478519404"
        "02630657488671505820681908902000708383676273854845817711531764475730"
        "27006985557136695962284291481986083493647529271907416844436551070434"
        "2711559699508093042880177904174497792"};
    double d = 7;
    for (size_t i = 0; i < sizeof over / sizeof over[0]; i++)
        if (tr_num_parse_double(tr_span_cstr(over[i]), &d) != TR_ERR_JSON_RANGE || d != 7)
            fail_msg("%s", over[i]);
    assert_true(to_double("1.7976931348623158e308") == DBL_MAX);
    float f = 7;
    assert_int_equal(tr_num_parse_float(TR_SPAN("3.4028235678e38"), &f), TR_ERR_JSON_RANGE);
    assert_int_equal(tr_num_parse_float(TR_SPAN("1e39"), &f), TR_ERR_JSON_RANGE);
    assert_true(f == 7);
    assert_true(to_float("3.40282356779e38") == FLT_MAX);
    assert_true(bits64(to_double("-1e-999999999999999999")) == bits64(-0.0));
    assert_true(bits64(to_double("-0")) == bits64(-0.0));
    assert_true(bits32(to_float("-0.0")) == bits32(-0.0f));
    assert_true(to_double("0e999999999999999999999999") == 0);
    assert_true(to_double("1e-323") == 1e-323);
}

/* The decimal expansion of the middle between two doubles, exact, then pushed up and down in a far
 * digit. */
static void exact_middles_and_their_neighbours_parse_right(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed();
    char text[1200];
    for (int round = 0; round < 3000; round++) {
        uint64_t b = tr_test_rand(&seed) & (UINT64_MAX >> 1);
        if (round % 4 == 0)
            b = b % ((uint64_t)1 << 54); /* subnormal, or just above */
        double v = double_of(b), up = double_of(b + 1);
        if (!isfinite(v) || !isfinite(up))
            continue;
        /* long double has 64 bits of mantissa and a wider exponent: the middle is exact there */
        long double mid = ((long double)v + (long double)up) / 2;
        int n = snprintf(text, sizeof text, "%.1100Lg", mid);
        char *e = strchr(text, 'e');
        char exp[16] = "";
        if (e) {
            (void)snprintf(exp, sizeof exp, "%s", e);
            *e = '\0';
            n = (int)(e - text);
        }
        double even = b & 1 ? up : v;
        char whole[1300];
        (void)snprintf(whole, sizeof whole, "%s%s", text, exp);
        if (to_double(whole) != even)
            fail_msg("middle above %.17g", v);
        (void)snprintf(whole, sizeof whole, "%s%s%s", text, strchr(text, '.') ? "0001" : ".0001",
                       exp);
        if (to_double(whole) != up)
            fail_msg("just above the middle above %.17g", v);
        if (text[n - 1] > '0') {
            text[n - 1]--;
            (void)snprintf(whole, sizeof whole, "%s%s%s", text,
                           strchr(text, '.') ? "9999" : ".9999", exp);
            if (to_double(whole) != v)
                fail_msg("just below the middle above %.17g", v);
        }
    }
}

static void random_decimals_agree_with_strtod(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed();
    char text[64];
    for (int round = 0; round < 100000; round++) {
        size_t n = 0, digits = 1 + tr_test_rand(&seed) % 30, point = tr_test_rand(&seed) % 30;
        text[n++] = (char)('1' + tr_test_rand(&seed) % 9);
        for (size_t i = 1; i < digits; i++) {
            if (i == point + 1)
                text[n++] = '.';
            text[n++] = (char)('0' + tr_test_rand(&seed) % 10);
        }
        int e = (int)(tr_test_rand(&seed) % 640) - 340;
        if (round % 2)
            e = (int)(tr_test_rand(&seed) % 90) - 55;
        if (round % 3)
            (void)snprintf(text + n, sizeof text - n, "e%d", e);
        else
            text[n] = '\0';
        double want = strtod(text, NULL), got = 0;
        enum tr_err err = tr_num_parse_double(tr_span_cstr(text), &got);
        if (isinf(want) ? err != TR_ERR_JSON_RANGE : err || bits64(got) != bits64(want))
            fail_msg("%s", text);
        float fwant = strtof(text, NULL), fgot = 0;
        err = tr_num_parse_float(tr_span_cstr(text), &fgot);
        if (isinf(fwant) ? err != TR_ERR_JSON_RANGE : err || bits32(fgot) != bits32(fwant))
            fail_msg("%s as float", text);
    }
}

static void long_digit_strings_are_read_to_the_last_digit(void **state)
{
    (void)state;
    size_t len = 100000;
    char *text = malloc(len);
    memset(text, '0', len);
    /* 2^53 + 1 is a middle; a digit far behind decides */
    memcpy(text, "9007199254740993.", 17);
    double v;
    assert_int_equal(tr_num_parse_double(tr_span(text, len), &v), TR_OK);
    assert_true(v == 9007199254740992.0);
    text[len - 1] = '1';
    assert_int_equal(tr_num_parse_double(tr_span(text, len), &v), TR_OK);
    assert_true(v == 9007199254740994.0);
    /* 0.000...1 and 1000... */
    memset(text, '0', len);
    text[1] = '.';
    text[len - 1] = '1';
    assert_int_equal(tr_num_parse_double(tr_span(text, len), &v), TR_OK);
    assert_true(v == 0);
    memcpy(text + len - 7, "1e99991", 7);
    assert_int_equal(tr_num_parse_double(tr_span(text, len), &v), TR_OK);
    assert_true(v == 0.1);
    memset(text, '9', len);
    assert_int_equal(tr_num_parse_double(tr_span(text, len), &v), TR_ERR_JSON_RANGE);
    memcpy(text + len - 7, "e-99993", 7);
    assert_int_equal(tr_num_parse_double(tr_span(text, len), &v), TR_OK);
    assert_true(v == 1);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hard_cases_parse_to_the_nearest),
        cmocka_unit_test(a_float_is_rounded_once),
        cmocka_unit_test(overflow_is_a_range_error_and_underflow_is_not),
        cmocka_unit_test(exact_middles_and_their_neighbours_parse_right),
        cmocka_unit_test(random_decimals_agree_with_strtod),
        cmocka_unit_test(long_digit_strings_are_read_to_the_last_digit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
