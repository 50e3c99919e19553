#include "base/num.h"

#include "test.h"

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
static double to_double(const char *text)
{
    double v = 0;
    if (tr_num_parse_double(tr_span_cstr(text), &v))
        fail_msg("refused: %s", text);
    return v;
}
static float to_float(const char *text)
{
    float v = 0;
    if (tr_num_parse_float(tr_span_cstr(text), &v))
        fail_msg("refused: %s", text);
    return v;
}
static uint64_t bits64(double v)
{
    uint64_t b;
    memcpy(&b, &v, sizeof b);
    return b;
}
static uint32_t bits32(float v)
{
    uint32_t b;
    memcpy(&b, &v, sizeof b);
    return b;
}
static double double_of(uint64_t b)
{
    double v;
    memcpy(&v, &b, sizeof v);
    return v;
}
static float float_of(uint32_t b)
{
    float v;
    memcpy(&v, &b, sizeof v);
    return v;
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
        cmocka_unit_test(hard_cases_parse_to_the_nearest),
        cmocka_unit_test(a_float_is_rounded_once),
        cmocka_unit_test(overflow_is_a_range_error_and_underflow_is_not),
        cmocka_unit_test(exact_middles_and_their_neighbours_parse_right),
        cmocka_unit_test(random_decimals_agree_with_strtod),
        cmocka_unit_test(long_digit_strings_are_read_to_the_last_digit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
