#include "json/emit.h"

#include "base/utf8.h"
#include "json/scan.h"
#include "test.h"

#include <float.h>
#include <math.h>

static struct tr_buf out;

static int setup(void **state)
{
    (void)state;
    tr_buf_init(&out);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    tr_buf_fini(&out);
    return 0;
}

static void check_string(struct tr_span in, const char *want, uint64_t want_bad)
{
    uint64_t bad = 0;
    tr_buf_clear(&out);
    assert_int_equal(tr_emit_string(&out, in, &bad), TR_OK);
    assert_span_equal(tr_buf_span(&out), want);
    assert_int_equal(bad, want_bad);
}

static void plain_text_is_quoted(void **state)
{
    (void)state;
    check_string(TR_SPAN(""), "\"\"", 0);
    check_string(tr_span(NULL, 0), "\"\"", 0);
    check_string(TR_SPAN("hello"), "\"hello\"", 0);
    check_string(TR_SPAN("a/b<c>&'\x7F"), "\"a/b<c>&'\x7F\"", 0);
    check_string(TR_SPAN("h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 \xE2\x80\xA8"),
                 "\"h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 \xE2\x80\xA8\"", 0);
}

static void what_json_forbids_is_escaped(void **state)
{
    (void)state;
    check_string(TR_SPAN("\"\\\b\f\n\r\t"), "\"\\\"\\\\\\b\\f\\n\\r\\t\"", 0);
    check_string(TR_SPAN("\x01\x0B\x1F\x0E"), "\"\\u0001\\u000b\\u001f\\u000e\"", 0);
    check_string(TR_SPAN("a\0b"), "\"a\\u0000b\"", 0);
}

static void content_has_no_quotes(void **state)
{
    (void)state;
    assert_int_equal(tr_emit_string_content(&out, TR_SPAN("a\"b"), NULL), TR_OK);
    assert_int_equal(tr_emit_string_content(&out, TR_SPAN("\n"), NULL), TR_OK);
    assert_span_equal(tr_buf_span(&out), "a\\\"b\\n");
}

#define FFFD "\xEF\xBF\xBD"

static void each_maximal_ill_formed_subpart_is_replaced_once(void **state)
{
    (void)state;
    check_string(TR_SPAN("a\x80z"), "\"a" FFFD "z\"", 1);
    check_string(TR_SPAN("\xC0\x80"), "\"" FFFD FFFD "\"", 2);
    check_string(TR_SPAN("\xE2\x82"), "\"" FFFD "\"", 1);
    check_string(TR_SPAN("\xE2\x82z"), "\"" FFFD "z\"", 1);
    check_string(TR_SPAN("\xE2\x82\""), "\"" FFFD "\\\"\"", 1);
    check_string(TR_SPAN("\xE2\x82\n"), "\"" FFFD "\\n\"", 1);
    check_string(TR_SPAN("\xED\xA0\x80"), "\"" FFFD FFFD FFFD "\"", 3);
    check_string(TR_SPAN("\xF0\x9F\x98"), "\"" FFFD "\"", 1);
    check_string(TR_SPAN("\xF4\x90\x80\x80"), "\"" FFFD FFFD FFFD FFFD "\"", 4);
    /* the example of Unicode 15, table 3-8 */
    check_string(TR_SPAN("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
                 "\"a" FFFD FFFD FFFD "b" FFFD "c" FFFD FFFD "d\"", 6);
    assert_int_equal(tr_emit_string(&out, TR_SPAN("\xFF"), NULL), TR_OK);
}

/* What one byte after the other gives. */
static size_t reference(char *to, struct tr_span in)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    to[n++] = '"';
    while (in.len) {
        unsigned char c = (unsigned char)in.ptr[0];
        int seq = tr_utf8_seq(in);
        size_t used = seq > 0 ? (size_t)seq : seq < 0 ? (size_t)-seq : in.len;
        const char *esc = c ? strchr("\"\"\\\\\bb\ff\nn\rr\tt", c) : NULL;
        if (seq <= 0) {
            memcpy(to + n, FFFD, 3);
            n += 3;
        } else if (c == '"' || c == '\\' || (c < 0x20 && esc)) {
            to[n++] = '\\';
            to[n++] = esc[1];
        } else if (c < 0x20) {
            memcpy(to + n, "\\u00", 4);
            to[n + 4] = hex[c >> 4];
            to[n + 5] = hex[c & 15];
            n += 6;
        } else {
            memcpy(to + n, in.ptr, used);
            n += used;
        }
        in = tr_span_from(in, used);
    }
    to[n++] = '"';
    return n;
}

static void random_text_of_every_length_agrees_with_the_reference(void **state)
{
    (void)state;
    static const char *const bits[] = {
        "a",    "b",        "0",        "\"",           "\\",
        "\n",   "\x01",     "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
        "\xFF", "\xE2\x82", "\x80"};
    uint64_t seed = tr_test_seed();
    char text[320], want[6 * 320 + 2];
    for (int round = 0; round < 30000; round++) {
        size_t len = 0, target = tr_test_rand(&seed) % 300;
        uint64_t rare = 1 + tr_test_rand(&seed) % 200, few = 1 + tr_test_rand(&seed) % 13;
        while (len < target) {
            const char *b = tr_test_rand(&seed) % rare ? "x" : bits[tr_test_rand(&seed) % few];
            memcpy(text + len, b, strlen(b));
            len += strlen(b);
        }
        char *copy = malloc(len ? len : 1); /* exact size: ASan sees a byte too far */
        memcpy(copy, text, len);
        if (round % 3 == 0) { /* also from an empty buffer: growth on the way */
            tr_buf_fini(&out);
        }
        tr_buf_clear(&out);
        assert_int_equal(tr_emit_string(&out, tr_span(copy, len), NULL), TR_OK);
        free(copy);
        size_t n = reference(want, tr_span(text, len));
        if (!tr_span_eq(tr_buf_span(&out), tr_span(want, n)))
            fail_msg("seed %llu round %d", (unsigned long long)tr_test_seed(), round);
    }
}

static void what_is_emitted_scans_back(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed();
    struct tr_buf spill;
    tr_buf_init(&spill);
    char text[200];
    for (int round = 0; round < 20000; round++) {
        size_t len = tr_test_rand(&seed) % sizeof text;
        for (size_t i = 0; i < len; i++)
            text[i] = (char)(tr_test_rand(&seed) % 128);
        tr_buf_clear(&out);
        assert_int_equal(tr_emit_string(&out, tr_span(text, len), NULL), TR_OK);
        struct tr_json_scan s;
        tr_json_scan_init(&s, TR_JSON_SINGLE, 1, &spill, 1 << 20);
        tr_json_scan_feed(&s, tr_buf_span(&out), true);
        assert_int_equal(tr_json_scan_next(&s), TR_JSON_STRING);
        assert_true(tr_span_eq(s.text, tr_span(text, len)));
        assert_int_equal(tr_json_scan_next(&s), TR_JSON_END);
    }
    tr_buf_fini(&spill);
}

static void numbers_and_base64(void **state)
{
    (void)state;
    enum tr_err err = tr_emit_i64(&out, INT64_MIN);
    err |= tr_buf_push(&out, ' ');
    err |= tr_emit_u64(&out, UINT64_MAX);
    err |= tr_buf_push(&out, ' ');
    err |= tr_emit_double(&out, 0.1);
    err |= tr_buf_push(&out, ' ');
    err |= tr_emit_float(&out, 0.1f);
    err |= tr_buf_push(&out, ' ');
    err |= tr_emit_base64(&out, TR_SPAN("\xFB\xFF\xFE"));
    err |= tr_emit_base64(&out, TR_SPAN("f"));
    err |= tr_emit_base64(&out, TR_SPAN(""));
    assert_int_equal(err, TR_OK);
    assert_span_equal(tr_buf_span(&out),
                      "-9223372036854775808 18446744073709551615 0.1 0.1 \"+//+\"\"Zg==\"\"\"");
}

static void what_is_not_finite_is_a_string(void **state)
{
    (void)state;
    enum tr_err err = tr_emit_double(&out, (double)NAN);
    err |= tr_emit_double(&out, (double)INFINITY);
    err |= tr_emit_double(&out, -(double)INFINITY);
    err |= tr_emit_float(&out, NAN);
    err |= tr_emit_float(&out, INFINITY);
    err |= tr_emit_float(&out, -INFINITY);
    assert_int_equal(err, TR_OK);
    assert_span_equal(tr_buf_span(&out),
                      "\"NaN\"\"Infinity\"\"-Infinity\"\"NaN\"\"Infinity\"\"-Infinity\"");
}

static enum tr_err emit_everything(void)
{
    static const char text[] =
        "0123456789\n\"\\\x01\xFF\xC3\xA9 and so on and so on and so on and so on \t and so on";
    for (int i = 0; i < 40; i++) {
        enum tr_err err = tr_emit_string(&out, tr_span(text, sizeof text - 1), NULL);
        if (!err)
            err = tr_emit_string_content(&out, tr_span(text, sizeof text - 1), NULL);
        if (!err)
            err = tr_emit_base64(&out, tr_span(text, sizeof text - 1));
        if (!err)
            err = tr_emit_double(&out, DBL_MAX);
        if (!err)
            err = tr_emit_float(&out, FLT_MIN);
        if (!err)
            err = tr_emit_i64(&out, i);
        if (!err)
            err = tr_emit_u64(&out, (uint64_t)i);
        if (err)
            return err;
    }
    return TR_OK;
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    enum tr_err err = TR_ERR_NOMEM;
    uint64_t n = 0;
    while (err && n < 100) {
        tr_buf_fini(&out);
        tr_alloc_fail_after(++n);
        err = emit_everything();
        tr_alloc_fail_after(0);
        assert_true(err == TR_OK || err == TR_ERR_NOMEM);
    }
    assert_in_range(n, 4, 99);
    assert_int_equal(err, TR_OK);
}

static void each_printer_reports_a_failed_allocation(void **state)
{
    (void)state;
    tr_alloc_fail_after(1);
    assert_int_equal(tr_emit_string(&out, TR_SPAN("x"), NULL), TR_ERR_NOMEM);
    assert_int_equal(tr_emit_string_content(&out, TR_SPAN("x"), NULL), TR_ERR_NOMEM);
    assert_int_equal(tr_emit_base64(&out, TR_SPAN("x")), TR_ERR_NOMEM);
    assert_int_equal(tr_emit_double(&out, 1), TR_ERR_NOMEM);
    assert_int_equal(tr_emit_double(&out, (double)NAN), TR_ERR_NOMEM);
    assert_int_equal(tr_emit_float(&out, 1), TR_ERR_NOMEM);
    assert_int_equal(tr_emit_float(&out, NAN), TR_ERR_NOMEM);
    assert_int_equal(tr_emit_i64(&out, 1), TR_ERR_NOMEM);
    assert_int_equal(tr_emit_u64(&out, 1), TR_ERR_NOMEM);
    tr_alloc_fail_after(0);
    assert_int_equal(out.len, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(plain_text_is_quoted),
        T(what_json_forbids_is_escaped),
        T(content_has_no_quotes),
        T(each_maximal_ill_formed_subpart_is_replaced_once),
        T(random_text_of_every_length_agrees_with_the_reference),
        T(what_is_emitted_scans_back),
        T(numbers_and_base64),
        T(what_is_not_finite_is_a_string),
        T(every_failed_allocation_is_reported),
        T(each_printer_reports_a_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
