#include "transcode/scalar.h"

#include "json2pb_util.h"
#include "test.h"

static uint64_t raw;
static struct tr_status st;

static enum tr_err number(uint8_t type, const char *text, bool quoted)
{
    return tr_scalar_number(type, tr_span_cstr(text), quoted, &raw, &st);
}

static void scalar_numbers_become_what_goes_on_the_wire(void **state)
{
    (void)state;
    assert_int_equal(number(TR_FT_INT32, "-1", false), TR_OK);
    assert_true(raw == UINT64_MAX); /* sign-extended: ten bytes */
    assert_int_equal(number(TR_FT_SINT32, "-1", false), TR_OK);
    assert_true(raw == 1);
    assert_int_equal(number(TR_FT_SINT64, "-9223372036854775808", true), TR_OK);
    assert_true(raw == UINT64_MAX);
    assert_int_equal(number(TR_FT_FLOAT, "1.5", false), TR_OK);
    assert_true(raw == 0x3FC00000u);
    assert_int_equal(number(TR_FT_DOUBLE, "-0", false), TR_OK);
    assert_true(raw == 0x8000000000000000u);
    assert_int_equal(number(TR_FT_DOUBLE, "Infinity", true), TR_OK);
    assert_true(raw == 0x7FF0000000000000u);
    assert_int_equal(number(TR_FT_FLOAT, "-Infinity", true), TR_OK);
    assert_true(raw == 0xFF800000u);
    assert_int_equal(number(TR_FT_FIXED64, "18446744073709551615", false), TR_OK);
    assert_true(raw == UINT64_MAX);
}

static void scalar_numbers_tell_why_they_are_refused(void **state)
{
    (void)state;
    assert_int_equal(number(TR_FT_DOUBLE, "Infinity", false), TR_ERR_JSON_TYPE);
    assert_int_equal(number(TR_FT_UINT32, "4294967296", false), TR_ERR_JSON_RANGE);
    assert_span_equal(tr_status_text(&st), "uint32 out of range: 4294967296");
    assert_int_equal(number(TR_FT_SFIXED32, "1.25", false), TR_ERR_JSON_TYPE);
    assert_span_equal(tr_status_text(&st), "expected an integer (sfixed32), got 1.25");
    assert_int_equal(number(TR_FT_INT64, "9223372036854775808", true), TR_ERR_JSON_RANGE);
    assert_int_equal(number(TR_FT_FLOAT, "1e39", true), TR_ERR_JSON_RANGE);
    assert_int_equal(number(TR_FT_INT32, "", true), TR_ERR_JSON_TYPE);
    char text[200];
    memset(text, 'x', sizeof text);
    assert_int_equal(tr_scalar_number(TR_FT_INT32, tr_span(text, sizeof text), true, &raw, NULL),
                     TR_ERR_JSON_TYPE);
    assert_int_equal(tr_scalar_number(TR_FT_INT32, tr_span(text, sizeof text), true, &raw, &st),
                     TR_ERR_JSON_TYPE);
    assert_true(st.text_len < 100); /* no more of it than helps is told */
}

static void scalar_enums_are_open_or_closed(void **state)
{
    (void)state;
    int32_t v = 0;
    const struct tr_field *open = tr_msgtype_field_by_name(j2p_type("j2p.All"), TR_SPAN("f_color"));
    const struct tr_field *closed =
        tr_msgtype_field_by_name(j2p_type("j2p2.Old"), TR_SPAN("closed"));
    assert_int_equal(tr_scalar_enum_number(open, TR_SPAN("77"), &v, &st), TR_OK);
    assert_int_equal(v, 77);
    assert_int_equal(tr_scalar_enum_number(closed, TR_SPAN("77"), &v, &st), TR_ERR_JSON_ENUM);
    assert_span_equal(tr_status_text(&st), "j2p2.Closed has no value 77");
    assert_int_equal(tr_scalar_enum_number(closed, TR_SPAN("2.0"), &v, &st), TR_OK);
    assert_int_equal(v, 2);
    assert_int_equal(tr_scalar_enum_name(open->sub.en, TR_SPAN("LIME"), &v, &st), TR_OK);
    assert_int_equal(v, 2);
    assert_int_equal(tr_scalar_enum_name(open->sub.en, TR_SPAN("lime"), &v, &st), TR_ERR_JSON_ENUM);
}

/* The length goes first, so it must be right for every number of digits, padded or not. */
static void scalar_bytes_know_their_length_beforehand(void **state)
{
    (void)state;
    struct tr_buf out;
    tr_buf_init(&out);
    for (size_t n = 0; n < 300; n++) {
        char bytes[300], text[404], *end;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)(i * 37 + n);
        static const char digits[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        end = text;
        for (size_t i = 0; i < n; i += 3) {
            unsigned a = (unsigned char)bytes[i], b = i + 1 < n ? (unsigned char)bytes[i + 1] : 0,
                     c = i + 2 < n ? (unsigned char)bytes[i + 2] : 0;
            *end++ = digits[a >> 2];
            *end++ = digits[(a & 3) << 4 | b >> 4];
            if (i + 1 < n)
                *end++ = digits[(b & 15) << 2 | c >> 6];
            if (i + 2 < n)
                *end++ = digits[c & 63];
        }
        for (int pad = 0; pad < 2; pad++) {
            while (pad && (end - text) % 4)
                *end++ = '=';
            tr_buf_clear(&out);
            assert_int_equal(tr_scalar_put_bytes(&out, tr_span(text, (size_t)(end - text)), &st),
                             TR_OK);
            char head[TR_VARINT_MAX];
            size_t h = tr_wire_put_varint(head, n);
            assert_int_equal(out.len, h + n);
            assert_memory_equal(out.ptr, head, h);
            if (n)
                assert_memory_equal(out.ptr + h, bytes, n);
        }
    }
    size_t len = out.len;
    assert_int_equal(tr_scalar_put_bytes(&out, TR_SPAN("A"), &st), TR_ERR_JSON_BASE64);
    assert_int_equal(tr_scalar_put_bytes(&out, TR_SPAN("===="), &st), TR_ERR_JSON_BASE64);
    assert_int_equal(out.len, len);
    tr_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalar_numbers_become_what_goes_on_the_wire),
        cmocka_unit_test(scalar_numbers_tell_why_they_are_refused),
        cmocka_unit_test(scalar_enums_are_open_or_closed),
        cmocka_unit_test(scalar_bytes_know_their_length_beforehand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
