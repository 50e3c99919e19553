#include "base/base64.h"

#include "test.h"

static void rfc4648_examples_encode(void **state)
{
    (void)state;
    static const char *const pairs[][3] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    };
    char out[16];
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct tr_span in = tr_span_cstr(pairs[i][0]);
        size_t n = tr_base64_encode(out, in);
        assert_int_equal(n, tr_base64_encoded_len(in.len));
        assert_span_equal(tr_span(out, n), pairs[i][1]);
        assert_span_equal(tr_span(out, tr_base64_encode_unpadded(out, in)), pairs[i][2]);
    }
}

static void decodes(const char *text, const char *want)
{
    char out[64];
    size_t n = 99;
    assert_int_equal(tr_base64_decode(out, tr_span_cstr(text), &n), TR_OK);
    assert_span_equal(tr_span(out, n), want);
}

static void both_alphabets_decode_also_mixed(void **state)
{
    (void)state;
    decodes("-_+/", "\xFB\xFF\xBF"); /* 62 63 62 63 */
    decodes("Zm9vYg==", "foob");
    decodes("Zm9vYg", "foob");
    decodes("Zm8=", "fo");
    decodes("Zm8", "fo");
    decodes("", "");
}

static void unused_trailing_bits_may_be_anything(void **state)
{
    (void)state;
    decodes("Zh==", "f");
    decodes("Zm/", "fo");
    decodes("Zv", "f");
}

static void malformed_text_is_refused_and_sets_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Z",       "Zg=",
        "Zg===",   "=",
        "==",      "===",
        "====",    "Z===",
        "Zm9v=",   "Zm9v==",
        "Zm9v Yg", "Zg==Zg==",
        "Z=g=",    "Zm9\n",
        "Zm9v\n",  " Zm9v",
        "Zm9.",    "Z\xC3\xA9g",
        "Zm9vZ",   "Zm9v====",
        "Zm=v",    "Zm9vYm9vYm9vYm9vYm9vYm9v!m9vYm9v",
    };
    char out[64];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t n = 99;
        if (tr_base64_decode(out, tr_span_cstr(bad[i]), &n) != TR_ERR_JSON_BASE64 || n != 99)
            fail_msg("%s", bad[i]);
    }
}

static void every_stray_byte_at_every_place_is_refused(void **state)
{
    (void)state;
    static const char ok[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";
    char text[100], out[80];
    for (int c = 0; c < 256; c++) {
        bool good = c && strchr(ok, c);
        for (size_t at = 0; at < sizeof text; at++) {
            memset(text, 'A', sizeof text);
            text[at] = (char)c;
            size_t n;
            enum tr_err err = tr_base64_decode(out, tr_span(text, sizeof text), &n);
            bool padding = c == '=' && at == sizeof text - 1;
            if ((err == TR_OK) != (good || padding))
                fail_msg("byte %d at %zu", c, at);
        }
    }
}

static void any_bytes_round_trip_also_in_place(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed();
    for (size_t len = 0; len < 300; len++) {
        unsigned char *in = malloc(len + 1);
        for (size_t i = 0; i < len; i++)
            in[i] = (unsigned char)tr_test_rand(&seed);
        struct tr_span bytes = tr_span((const char *)in, len);
        char *text = malloc(tr_base64_encoded_len(len) + 1);
        char *out = malloc(tr_base64_decoded_max(tr_base64_encoded_len(len)));
        size_t n;
        for (int padded = 0; padded < 2; padded++) {
            size_t tn =
                padded ? tr_base64_encode(text, bytes) : tr_base64_encode_unpadded(text, bytes);
            assert_int_equal(tr_base64_decode(out, tr_span(text, tn), &n), TR_OK);
            assert_int_equal(n, len);
            assert_memory_equal(out, in, len);
            assert_int_equal(tr_base64_decode(text, tr_span(text, tn), &n), TR_OK);
            assert_int_equal(n, len);
            assert_memory_equal(text, in, len);
        }
        free(in);
        free(text);
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc4648_examples_encode),
        cmocka_unit_test(both_alphabets_decode_also_mixed),
        cmocka_unit_test(unused_trailing_bits_may_be_anything),
        cmocka_unit_test(malformed_text_is_refused_and_sets_nothing),
        cmocka_unit_test(every_stray_byte_at_every_place_is_refused),
        cmocka_unit_test(any_bytes_round_trip_also_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
