#include "base/utf8.h"

#include "test.h"

/* The textbook definition, one code point at a time: decodes, then judges the number. */
static size_t reference(struct tr_span s)
{
    size_t i = 0;
    while (i < s.len) {
        unsigned char b = (unsigned char)s.ptr[i];
        size_t n = b < 0x80             ? 1
                   : (b & 0xE0) == 0xC0 ? 2
                   : (b & 0xF0) == 0xE0 ? 3
                   : (b & 0xF8) == 0xF0 ? 4
                                        : 0;
        if (n == 0 || i + n > s.len)
            return i;
        uint32_t cp = n == 1 ? b : b & (0x7Fu >> n);
        for (size_t j = 1; j < n; j++) {
            if (((unsigned char)s.ptr[i + j] & 0xC0) != 0x80)
                return i;
            cp = cp << 6 | ((unsigned char)s.ptr[i + j] & 0x3F);
        }
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        if (cp < least[n] || cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
            return i;
        i += n;
    }
    return i;
}

static void every_code_point_round_trips(void **state)
{
    (void)state;
    char out[4];
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        if (cp == 0xD800)
            cp = 0xE000;
        size_t n = tr_utf8_put(out, cp);
        struct tr_span s = tr_span(out, n);
        if (reference(s) != n || !tr_utf8_valid(s) || tr_utf8_seq(s) != (int)n)
            fail_msg("U+%04X", cp);
        for (size_t cut = 1; cut < n; cut++)
            if (tr_utf8_seq(tr_span(out, cut)) != 0 || tr_utf8_valid(tr_span(out, cut)))
                fail_msg("U+%04X cut at %zu", cp, cut);
    }
}

static void ill_formed_sequences_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int subpart; /* length of the maximal subpart */
    } bad[] = {
        {"\x80", 1},
        {"\xBF", 1},
        {"\xC0\x80", 1},
        {"\xC1\xBF", 1},
        {"\xC3(", 1},
        {"\xE0\x9F\xBF", 1},
        {"\xE2\x82(", 2},
        {"\xE2(\xA1", 1},
        {"\xED\xA0\x80", 1},
        {"\xED\xBF\xBF", 1},
        {"\xF0\x8F\xBF\xBF", 1},
        {"\xF0\x90\x80(", 3},
        {"\xF0\x90(", 2},
        {"\xF0(", 1},
        {"\xF4\x90\x80\x80", 1},
        {"\xF5\x80\x80\x80", 1},
        {"\xF8\x88\x80", 1},
        {"\xFE", 1},
        {"\xFF", 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tr_span s = tr_span_cstr(bad[i].text);
        assert_int_equal(tr_utf8_valid_prefix(s), 0);
        assert_int_equal(tr_utf8_seq(s), -bad[i].subpart);
    }
}

static void errors_are_found_at_any_place(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    uint64_t seed = tr_test_seed();
    char text[400];
    for (int round = 0; round < 40000; round++) {
        size_t len = 0, want = tr_test_rand(&seed) % 200;
        unsigned kinds = 1 + (unsigned)(tr_test_rand(&seed) % 4);
        while (len < want) {
            const char *g = good[tr_test_rand(&seed) % kinds];
            memcpy(text + len, g, strlen(g));
            len += strlen(g);
        }
        if (len && round % 4) { /* one wrong byte, or one byte short */
            if (round % 4 == 1)
                len--;
            else
                text[tr_test_rand(&seed) % len] = (char)tr_test_rand(&seed);
        }
        char *copy = malloc(len ? len : 1); /* exact size: ASan sees a byte too far */
        memcpy(copy, text, len);
        size_t got = tr_utf8_valid_prefix(tr_span(copy, len));
        free(copy);
        if (got != reference(tr_span(text, len)))
            fail_msg("seed %llu round %d", (unsigned long long)tr_test_seed(), round);
    }
}

static void random_bytes_agree_with_the_reference(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed();
    char text[96];
    for (int round = 0; round < 100000; round++) {
        size_t len = tr_test_rand(&seed) % sizeof text;
        size_t ascii = tr_test_rand(&seed) % sizeof text;
        for (size_t i = 0; i < len; i++)
            text[i] = i < ascii ? 'a' : (char)(tr_test_rand(&seed) >> 11);
        struct tr_span s = tr_span(text, len);
        if (tr_utf8_valid_prefix(s) != reference(s))
            fail_msg("seed %llu round %d", (unsigned long long)tr_test_seed(), round);
    }
}

static void empty_is_valid(void **state)
{
    (void)state;
    assert_true(tr_utf8_valid(tr_span(NULL, 0)));
    assert_true(tr_utf8_valid(TR_SPAN("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_round_trips),
        cmocka_unit_test(ill_formed_sequences_are_refused),
        cmocka_unit_test(errors_are_found_at_any_place),
        cmocka_unit_test(random_bytes_agree_with_the_reference),
        cmocka_unit_test(empty_is_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
