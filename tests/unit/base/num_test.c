#include "num_bits.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

static struct tr_span print_double(char *out, double v)
{
    return tr_span(out, tr_num_double(out, v));
}
static struct tr_span print_float(char *out, float v)
{
    return tr_span(out, tr_num_float(out, v));
}
/* -- integers
 * ------------------------------------------------------------------------------------------ */

static void integers_print_as_printf_does(void **state)
{
    (void)state;
    char out[TR_NUM_MAX], want[32];
    uint64_t seed = tr_test_seed();
    for (int round = 0; round < 100000; round++) {
        uint64_t v = tr_test_rand(&seed) >> (tr_test_rand(&seed) % 64);
        int n = snprintf(want, sizeof want, "%llu", (unsigned long long)v);
        assert_int_equal(tr_num_u64(out, v), n);
        assert_memory_equal(out, want, (size_t)n);
        n = snprintf(want, sizeof want, "%lld", (long long)(int64_t)(0 - v));
        assert_int_equal(tr_num_i64(out, (int64_t)(0 - v)), n);
        assert_memory_equal(out, want, (size_t)n);
    }
}

static void integers_print_at_every_power_of_ten(void **state)
{
    (void)state;
    char out[TR_NUM_MAX], want[32];
    uint64_t p = 1;
    for (int i = 0; i < 20; i++, p *= 10) {
        for (uint64_t v = p - 1; v <= p + 1; v++) {
            int n = snprintf(want, sizeof want, "%llu", (unsigned long long)v);
            assert_int_equal(tr_num_u64(out, v), n);
            assert_memory_equal(out, want, (size_t)n);
        }
    }
    assert_span_equal(tr_span(out, tr_num_u64(out, UINT64_MAX)), "18446744073709551615");
    assert_span_equal(tr_span(out, tr_num_i64(out, INT64_MIN)), "-9223372036854775808");
    assert_span_equal(tr_span(out, tr_num_i64(out, INT64_MAX)), "9223372036854775807");
    assert_span_equal(tr_span(out, tr_num_i64(out, -1)), "-1");
}

struct int_case {
    const char *text;
    enum tr_err err; /* of i64 */
    int64_t i64;
    enum tr_err uerr;
    uint64_t u64;
};

static void integers_parse_exactly_however_written(void **state)
{
    (void)state;
    static const struct int_case cases[] = {
        {"0", TR_OK, 0, TR_OK, 0},
        {"-0", TR_OK, 0, TR_OK, 0},
        {"-0.0e5", TR_OK, 0, TR_OK, 0},
        {"5.0", TR_OK, 5, TR_OK, 5},
        {"50e-1", TR_OK, 5, TR_OK, 5},
        {"1e3", TR_OK, 1000, TR_OK, 1000},
        {"1E+3", TR_OK, 1000, TR_OK, 1000},
        {"1.25e2", TR_OK, 125, TR_OK, 125},
        {"0.00012e5", TR_OK, 12, TR_OK, 12},
        {"-1", TR_OK, -1, TR_ERR_JSON_RANGE, 0},
        {"0e99999999999999999999", TR_OK, 0, TR_OK, 0},
        {"0.000e-99999999999999999999", TR_OK, 0, TR_OK, 0},
        {"9007199254740993", TR_OK, 9007199254740993, TR_OK, 9007199254740993},
        {"9223372036854775807", TR_OK, INT64_MAX, TR_OK, INT64_MAX},
        {"9223372036854775808", TR_ERR_JSON_RANGE, 0, TR_OK, 9223372036854775808u},
        {"-9223372036854775808", TR_OK, INT64_MIN, TR_ERR_JSON_RANGE, 0},
        {"-9223372036854775808.0", TR_OK, INT64_MIN, TR_ERR_JSON_RANGE, 0},
        {"-922337203685477580.8e1", TR_OK, INT64_MIN, TR_ERR_JSON_RANGE, 0},
        {"-9223372036854775809", TR_ERR_JSON_RANGE, 0, TR_ERR_JSON_RANGE, 0},
        {"18446744073709551615", TR_ERR_JSON_RANGE, 0, TR_OK, UINT64_MAX},
        {"18446744073709551615.000", TR_ERR_JSON_RANGE, 0, TR_OK, UINT64_MAX},
        {"1844674407370955161500e-2", TR_ERR_JSON_RANGE, 0, TR_OK, UINT64_MAX},
        {"18446744073709551616", TR_ERR_JSON_RANGE, 0, TR_ERR_JSON_RANGE, 0},
        {"10000000000000000000", TR_ERR_JSON_RANGE, 0, TR_OK, 10000000000000000000u},
        {"1e19", TR_ERR_JSON_RANGE, 0, TR_OK, 10000000000000000000u},
        {"1e20", TR_ERR_JSON_RANGE, 0, TR_ERR_JSON_RANGE, 0},
        {"1e99999999999999999999", TR_ERR_JSON_RANGE, 0, TR_ERR_JSON_RANGE, 0},
        {"99999999999999999999999999", TR_ERR_JSON_RANGE, 0, TR_ERR_JSON_RANGE, 0},
        {"0.5", TR_ERR_JSON_TYPE, 0, TR_ERR_JSON_TYPE, 0},
        {"5e-1", TR_ERR_JSON_TYPE, 0, TR_ERR_JSON_TYPE, 0},
        {"1e-99999999999999999999", TR_ERR_JSON_TYPE, 0, TR_ERR_JSON_TYPE, 0},
        {"1.000000000000000005", TR_ERR_JSON_TYPE, 0, TR_ERR_JSON_TYPE, 0},
        {"123456789012345678901234567890e-28", TR_ERR_JSON_TYPE, 0, TR_ERR_JSON_TYPE, 0},
        {"120000000000000000000000000000e-28", TR_OK, 12, TR_OK, 12},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct int_case *c = &cases[i];
        int64_t v = 77;
        uint64_t u = 77;
        enum tr_err err = tr_num_parse_i64(tr_span_cstr(c->text), &v);
        enum tr_err uerr = tr_num_parse_u64(tr_span_cstr(c->text), &u);
        if (err != c->err || v != (err ? 77 : c->i64) || uerr != c->uerr ||
            u != (uerr ? 77 : c->u64))
            fail_msg("%s: %d %lld, %d %llu", c->text, err, (long long)v, uerr,
                     (unsigned long long)u);
    }
}

static void what_is_no_json_number_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",         "-",   "+1",  "01",    "-01",  "00",    ".5",    "5.",  "1.e5",
        "1e",       "1e+", "1e-", "1.5e",  "0x10", "1 ",    " 1",    "1,",  "NaN",
        "Infinity", "inf", "--1", "1e5.5", "1..5", "1e5e5", "-.5",   "1_0", "\xEF\xBC\x91",
        "1f",       "1d",  "e5",  "-e5",   "1-",   "1+1",   "1.5.5",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tr_span s = tr_span_cstr(bad[i]);
        int64_t v = 7;
        uint64_t u = 7;
        double d = 7;
        float f = 7;
        if (tr_num_parse_i64(s, &v) != TR_ERR_JSON_SYNTAX ||
            tr_num_parse_u64(s, &u) != TR_ERR_JSON_SYNTAX ||
            tr_num_parse_double(s, &d) != TR_ERR_JSON_SYNTAX ||
            tr_num_parse_float(s, &f) != TR_ERR_JSON_SYNTAX || v != 7 || u != 7 || d != 7 || f != 7)
            fail_msg("'%s'", bad[i]);
    }
    double d;
    assert_int_equal(tr_num_parse_double(tr_span(NULL, 0), &d), TR_ERR_JSON_SYNTAX);
    assert_int_equal(tr_num_parse_double(tr_span("1\0", 2), &d), TR_ERR_JSON_SYNTAX);
}

/* -- printing
 * -------------------------------------------------------------------------------------------- */

static void check_text(struct tr_span got, const char *want)
{
    if (!tr_span_eq(got, tr_span_cstr(want)))
        fail_msg("%.*s, not %s", (int)got.len, got.ptr, want);
}

static void doubles_print_in_the_form_of_ecmascript(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *text;
    } cases[] = {
        {0.0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {-1.5, "-1.5"},
        {100, "100"},
        {0.1, "0.1"},
        {0.001, "0.001"},
        {1e-6, "0.000001"},
        {1.5e-6, "0.0000015"},
        {1e-7, "1e-7"},
        {1.5e-7, "1.5e-7"},
        {123456.789, "123456.789"},
        {1e20, "100000000000000000000"},
        {123456789012345680000.0, "123456789012345680000"},
        {1e21, "1e+21"},
        {1.5e300, "1.5e+300"},
        {1e22, "1e+22"},
        {1e23, "1e+23"}, /* even: the ends of its interval belong to it */
        {9007199254740992.0, "9007199254740992"},
        {9007199254740994.0, "9007199254740994"},
        {2251799813685249.5, "2251799813685249.5"},
        {5e-324, "5e-324"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {2.225073858507201e-308, "2.225073858507201e-308"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {-DBL_MAX, "-1.7976931348623157e+308"},
        {1.0 / 3, "0.3333333333333333"},
        {2.0 / 3, "0.6666666666666666"},
        {0x1p-44, "5.684341886080802e-14"},
        {9.5367431640625e-7, "9.5367431640625e-7"},
        {299792458, "299792458"},
        {1.7800590868057611e-307, "1.7800590868057611e-307"},
        {2.0919495182368195e19, "20919495182368195000"},
    };
    char out[TR_NUM_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_text(print_double(out, cases[i].v), cases[i].text);
}

static void floats_print_shortest_as_floats(void **state)
{
    (void)state;
    static const struct {
        float v;
        const char *text;
    } cases[] = {
        {0.0f, "0"},
        {-0.0f, "-0"},
        {0.1f, "0.1"},
        {3.4028235e38f, "3.4028235e+38"},
        {1e-45f, "1e-45"},
        {1.17549435e-38f, "1.1754944e-38"},
        {16777216.0f, "16777216"},
        {16777217.0f, "16777216"},
        {33554432.0f, "33554432"},
        {1e10f, "10000000000"},
        {1.5f, "1.5"},
        {0.33333334f, "0.33333334"},
        {8.5899346e9f, "8589935000"},
        {1e21f, "1e+21"},
        {7.0385307e-26f, "7.038531e-26"},
    };
    char out[TR_NUM_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_text(print_float(out, cases[i].v), cases[i].text);
}

/* Significant digits of a decimal without sign, and the power of ten of the last one. */
static int digits_of(struct tr_span s, char *digits, int *ret_exp)
{
    int n = 0, exp = 0, frac = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == 'e') {
            exp = (int)strtol(s.ptr + i + 1, NULL, 10);
            break;
        }
        if (c == '.')
            frac = 1;
        if (!tr_is_digit(c))
            continue;
        exp -= frac > 0;
        if (n || c != '0')
            digits[n++] = c;
    }
    while (n > 1 && digits[n - 1] == '0') {
        n--;
        exp++;
    }
    digits[n] = '\0';
    *ret_exp = exp;
    return n;
}

/* No shorter decimal reads back as v, and none of that length lies closer: held against printf and
 * strtod. */
static void check_shortest(double v, struct tr_span s, bool is_float)
{
    char text[64], other[64], mine[64], theirs[64];
    int e1, e2;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    if (is_float ? strtof(text, NULL) != (float)v : strtod(text, NULL) != v)
        fail_msg("%s is not %.17g", text, v);
    int n = digits_of(tr_span_cstr(text), mine, &e1);
    if (n > 1) {
        (void)snprintf(other, sizeof other, "%.*e", n - 2, v);
        if (is_float ? strtof(other, NULL) == (float)v : strtod(other, NULL) == v)
            fail_msg("%s for %s", text, other);
    }
    (void)snprintf(other, sizeof other, "%.*e", n - 1, v);
    if (is_float ? strtof(other, NULL) != (float)v : strtod(other, NULL) != v)
        return; /* a power of two: the nearest decimal falls into the narrower gap below */
    (void)digits_of(tr_span_cstr(other), theirs, &e2);
    if (strcmp(mine, theirs) != 0)
        fail_msg("%s for %s", text, other);
}

static double random_double(uint64_t *seed)
{
    for (;;) {
        double v = double_of(tr_test_rand(seed));
        if (isfinite(v))
            return v;
    }
}

static void random_doubles_round_trip(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed();
    char out[TR_NUM_MAX];
    for (int round = 0; round < 1000000; round++) {
        double v = random_double(&seed), back = 0;
        if (round % 3 == 1) /* as they come from people: few digits, moderate sizes */
            v = (double)(int64_t)(tr_test_rand(&seed) % 100000000) / (double)(1 << (round % 20));
        struct tr_span s = print_double(out, v);
        if (s.len > 25 || tr_num_parse_double(s, &back) || bits64(back) != bits64(v))
            fail_msg("%.17g came back as %.17g", v, back);
        if (round % 32 == 0)
            check_shortest(v, s, false);
    }
}

static void random_floats_round_trip(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed();
    char out[TR_NUM_MAX];
    for (int round = 0; round < 1000000; round++) {
        float v = float_of((uint32_t)tr_test_rand(&seed)), back;
        if (!isfinite(v))
            continue;
        struct tr_span s = print_float(out, v);
        if (s.len > 25 || tr_num_parse_float(s, &back) || bits32(back) != bits32(v))
            fail_msg("%.9g", (double)v);
        if (round % 32 == 0)
            check_shortest((double)v, s, true);
    }
}

static void every_power_of_two_and_its_neighbours_round_trip(void **state)
{
    (void)state;
    char out[TR_NUM_MAX];
    for (uint64_t e = 0; e < 2047; e++) {
        for (int d = -1; d <= 1; d++) {
            uint64_t b = (e << 52) + (uint64_t)d;
            double v = double_of(b & (UINT64_MAX >> 1)), back;
            if (!isfinite(v))
                continue;
            struct tr_span s = print_double(out, v);
            assert_int_equal(tr_num_parse_double(s, &back), TR_OK);
            assert_true(bits64(back) == bits64(v));
            if (v != 0)
                check_shortest(v, s, false);
        }
    }
    for (uint32_t e = 0; e < 255; e++) {
        for (int d = -1; d <= 1; d++) {
            float v = float_of(((e << 23) + (uint32_t)d) & (UINT32_MAX >> 1)), back;
            if (!isfinite(v))
                continue;
            struct tr_span s = print_float(out, v);
            assert_int_equal(tr_num_parse_float(s, &back), TR_OK);
            assert_true(bits32(back) == bits32(v));
            if (v != 0)
                check_shortest((double)v, s, true);
        }
    }
}

static void subnormals_round_trip(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed();
    char out[TR_NUM_MAX];
    for (int round = 0; round < 50000; round++) {
        uint64_t r = tr_test_rand(&seed);
        double v = double_of((r >> 12) >> (r % 52)), back;
        float f = float_of((uint32_t)(r >> 41) >> (r % 23)), fback;
        assert_int_equal(tr_num_parse_double(print_double(out, v), &back), TR_OK);
        assert_true(bits64(back) == bits64(v));
        assert_int_equal(tr_num_parse_float(print_float(out, f), &fback), TR_OK);
        assert_true(bits32(fback) == bits32(f));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_print_as_printf_does),
        cmocka_unit_test(integers_print_at_every_power_of_ten),
        cmocka_unit_test(integers_parse_exactly_however_written),
        cmocka_unit_test(what_is_no_json_number_is_refused),
        cmocka_unit_test(doubles_print_in_the_form_of_ecmascript),
        cmocka_unit_test(floats_print_shortest_as_floats),
        cmocka_unit_test(random_doubles_round_trip),
        cmocka_unit_test(random_floats_round_trip),
        cmocka_unit_test(every_power_of_two_and_its_neighbours_round_trip),
        cmocka_unit_test(subnormals_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
