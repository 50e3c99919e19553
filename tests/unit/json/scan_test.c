#include "json/scan.h"

#include "test.h"

#include <stdio.h>

#define SPILL_MAX ((size_t)1 << 20)

/* Everything that a caller can see of a scan, as one line of text a token. */
static void trace_token(struct tr_buf *out, const struct tr_json_scan *s, enum tr_json_tok tok)
{
    static const char *const names[] = {"MORE", "ERROR", "END",    "{",    "}",     "[",   "]",
                                        "KEY",  "STR",   "NUMBER", "TRUE", "FALSE", "NULL"};
    enum tr_err err = tr_buf_printf(out, "%s", names[tok]);
    if (tok == TR_JSON_ERROR)
        err |= tr_buf_printf(out, " %s %u:%u +%zu", tr_err_info(s->st.err)->name, s->st.line,
                             s->st.column, s->st.offset);
    else if (tok != TR_JSON_END)
        err |= tr_buf_printf(out, " %u:%u +%zu d%u", s->tok_line, s->tok_column, s->tok_offset,
                             s->depth);
    if (tok == TR_JSON_KEY || tok == TR_JSON_STRING || tok == TR_JSON_NUMBER) {
        err |= tr_buf_push(out, ' ');
        err |= tr_buf_append(out, s->text);
    }
    err |= tr_buf_push(out, '\n');
    assert_int_equal(err, 0);
}

enum life { WHOLE, BYTES, RANDOM, CUT_AT };

struct input {
    struct tr_span text;
    enum tr_json_scan_mode mode;
    uint32_t max_depth;
};

static size_t chunk_len(enum life life, uint64_t *seed, size_t at, size_t len)
{
    size_t n = len - at;
    if (life == BYTES)
        n = 1;
    else if (life == RANDOM)
        n = tr_test_rand(seed) % 20;
    else if (life == CUT_AT && at < *seed)
        n = (size_t)*seed - at;
    return n < len - at ? n : len - at;
}

/* Each chunk is a heap block of exact size that is gone after MORE, so that ASan sees a view that
 * outlives it. For CUT_AT, seed is the place of the only cut. */
static void trace(struct tr_buf *out, const struct input *in, enum life life, uint64_t seed)
{
    struct tr_buf spill;
    struct tr_json_scan s;
    tr_buf_init(&spill);
    tr_buf_clear(out);
    tr_json_scan_init(&s, in->mode, in->max_depth, &spill, SPILL_MAX);
    size_t at = 0;
    enum tr_json_tok tok;
    do {
        size_t n = chunk_len(life, &seed, at, in->text.len);
        char *chunk = malloc(n ? n : 1);
        if (n)
            memcpy(chunk, in->text.ptr + at, n);
        at += n;
        /* a last chunk may also come empty */
        bool last = at == in->text.len && (life == WHOLE || life == CUT_AT || n == 0);
        tr_json_scan_feed(&s, tr_span(chunk, n), last);
        while ((tok = tr_json_scan_next(&s)) > TR_JSON_END) {
            trace_token(out, &s, tok);
            if (tok == TR_JSON_KEY || tok == TR_JSON_STRING || tok == TR_JSON_NUMBER) {
                bool inside = s.text.ptr >= chunk && s.text.ptr + s.text.len <= chunk + n;
                assert_int_equal(s.text_is_view, inside);
            }
        }
        free(chunk);
    } while (tok == TR_JSON_MORE);
    trace_token(out, &s, tok);
    assert_int_equal(tr_json_scan_next(&s), tok); /* the end and an error stay */
    tr_buf_fini(&spill);
}

static void assert_same(const struct tr_buf *a, const struct tr_buf *b, const char *life)
{
    if (!tr_span_eq(tr_buf_span(a), tr_buf_span(b)))
        fail_msg("%s, seed %llu\nwhole:\n%.*s\nthen:\n%.*s", life,
                 (unsigned long long)tr_test_seed(), (int)a->len, a->ptr, (int)b->len, b->ptr);
}

/* The trace of the whole input in *whole, after all other lives gave the same. */
static void trace_all(struct tr_buf *whole, const struct input *in)
{
    struct tr_buf other;
    tr_buf_init(&other);
    trace(whole, in, WHOLE, 0);
    trace(&other, in, BYTES, 0);
    assert_same(whole, &other, "byte by byte");
    for (uint64_t i = 0; i < 5; i++) {
        trace(&other, in, RANDOM, tr_test_seed() + i);
        assert_same(whole, &other, "random cuts");
    }
    for (size_t cut = 0; cut <= in->text.len && in->text.len < 300; cut++) {
        trace(&other, in, CUT_AT, cut);
        assert_same(whole, &other, "one cut");
    }
    tr_buf_fini(&other);
}

static void check_mode(enum tr_json_scan_mode mode, const char *text, const char *want)
{
    struct tr_buf got;
    tr_buf_init(&got);
    struct input in = {tr_span_cstr(text), mode, 100};
    trace_all(&got, &in);
    if (!tr_span_eq(tr_buf_span(&got), tr_span_cstr(want)))
        fail_msg("%s\ngives:\n%.*s\nnot:\n%s", text, (int)got.len, got.ptr, want);
    tr_buf_fini(&got);
}

static void check(const char *text, const char *want)
{
    check_mode(TR_JSON_SINGLE, text, want);
}

static void tokens_come_in_grammatical_order_with_places(void **state)
{
    (void)state;
    check("{\"a\": [1, -2.5e+3,true ,false],\n \"b\":null, \"\" : {} }\r\n",
          "{ 1:1 +0 d1\n"
          "KEY 1:2 +1 d1 a\n"
          "[ 1:7 +6 d2\n"
          "NUMBER 1:8 +7 d2 1\n"
          "NUMBER 1:11 +10 d2 -2.5e+3\n"
          "TRUE 1:19 +18 d2\n"
          "FALSE 1:25 +24 d2\n"
          "] 1:30 +29 d1\n"
          "KEY 2:2 +33 d1 b\n"
          "NULL 2:6 +37 d1\n"
          "KEY 2:12 +43 d1 \n"
          "{ 2:17 +48 d2\n"
          "} 2:18 +49 d1\n"
          "} 2:20 +51 d0\n"
          "END\n");
    check("[]", "[ 1:1 +0 d1\n] 1:2 +1 d0\nEND\n");
    check("{}", "{ 1:1 +0 d1\n} 1:2 +1 d0\nEND\n");
    check("[[],[[]]]",
          "[ 1:1 +0 d1\n[ 1:2 +1 d2\n] 1:3 +2 d1\n[ 1:5 +4 d2\n[ 1:6 +5 d3\n] 1:7 +6 d2\n] "
          "1:8 +7 d1\n] 1:9 +8 d0\nEND\n");
    check(" \"x\" ", "STR 1:2 +1 d0 x\nEND\n");
    check("0", "NUMBER 1:1 +0 d0 0\nEND\n");
    check("-0.10E-7", "NUMBER 1:1 +0 d0 -0.10E-7\nEND\n");
    check("\n\n true", "TRUE 3:2 +3 d0\nEND\n");
}

static void multi_takes_any_number_of_values(void **state)
{
    (void)state;
    check_mode(TR_JSON_MULTI, "", "END\n");
    check_mode(TR_JSON_MULTI, " \n\t ", "END\n");
    check_mode(TR_JSON_MULTI, "{}{}", "{ 1:1 +0 d1\n} 1:2 +1 d0\n{ 1:3 +2 d1\n} 1:4 +3 d0\nEND\n");
    check_mode(TR_JSON_MULTI, "1 2\n\"a\"\"b\"[]",
               "NUMBER 1:1 +0 d0 1\nNUMBER 1:3 +2 d0 2\nSTR 2:1 +4 d0 a\nSTR 2:4 +7 d0 b\n[ 2:7 "
               "+10 d1\n] 2:8 "
               "+11 d0\nEND\n");
    check_mode(TR_JSON_MULTI, "1,2", "NUMBER 1:1 +0 d0 1\nERROR JSON_SYNTAX 1:2 +1\n");
    check_mode(TR_JSON_MULTI, "{} ]", "{ 1:1 +0 d1\n} 1:2 +1 d0\nERROR JSON_SYNTAX 1:4 +3\n");
    check_mode(TR_JSON_MULTI, "{}\n{\"a\"",
               "{ 1:1 +0 d1\n} 1:2 +1 d0\n{ 2:1 +3 d1\nKEY 2:2 +4 d1 a\nERROR "
               "JSON_TRUNCATED 2:5 +7\n");
}

static void escapes_are_decoded(void **state)
{
    (void)state;
    check("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "STR 1:1 +0 d0 \"\\/\b\f\n\r\t\nEND\n");
    check("\"a\\u00e9b\\u20AC\\ud83d\\uDE00c\"", "STR 1:1 +0 d0 a\xC3\xA9"
                                                 "b\xE2\x82\xAC\xF0\x9F\x98\x80"
                                                 "c\nEND\n");
    check("{\"\\u0061\\t\":1}",
          "{ 1:1 +0 d1\nKEY 1:2 +1 d1 a\t\nNUMBER 1:13 +12 d1 1\n} 1:14 +13 d0\nEND\n");
    check("\"\\uD800\\uDC00\\uDBFF\\uDFFF\"",
          "STR 1:1 +0 d0 \xF0\x90\x80\x80\xF4\x8F\xBF\xBF\nEND\n");
    check("\"0123456789abcdef0123456789abcdef\\n0123456789abcdef0123456789abcdef0123456789abcdef\\"
          "\"\"",
          "STR 1:1 +0 d0 "
          "0123456789abcdef0123456789abcdef\n0123456789abcdef0123456789abcdef0123456789abcdef\""
          "\nEND\n");
}

static void an_escaped_nul_is_a_character(void **state)
{
    (void)state;
    struct tr_buf got;
    tr_buf_init(&got);
    struct input in = {TR_SPAN("\"a\\u0000b\""), TR_JSON_SINGLE, 100};
    trace_all(&got, &in);
    static const char want[] = "STR 1:1 +0 d0 a\0b\nEND\n";
    assert_int_equal(got.len, sizeof want - 1);
    assert_memory_equal(got.ptr, want, got.len);
    tr_buf_fini(&got);
}

static void utf8_passes_unchanged(void **state)
{
    (void)state;
    check("[\"h\xC3\xA9llo \xE2\x82\xAC "
          "\xF0\x9F\x98\x80\",\"\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF\"]",
          "[ 1:1 +0 d1\nSTR 1:2 +1 d1 h\xC3\xA9llo \xE2\x82\xAC \xF0\x9F\x98\x80\n"
          "STR 1:20 +19 d1 \xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF\n] 1:32 +31 d0\nEND\n");
    check("\"\x7F\"", "STR 1:1 +0 d0 \x7F\nEND\n");
}

struct bad {
    const char *text, *error; /* name, line:column, offset: the last line of the trace */
};

static void check_bad(const struct bad *cases, size_t n)
{
    struct tr_buf got;
    tr_buf_init(&got);
    for (size_t i = 0; i < n; i++) {
        struct input in = {tr_span_cstr(cases[i].text), TR_JSON_SINGLE, 100};
        trace_all(&got, &in);
        char want[64];
        int len = snprintf(want, sizeof want, "ERROR %s\n", cases[i].error);
        if (!tr_span_ends(tr_buf_span(&got), tr_span(want, (size_t)len)))
            fail_msg("%s gives\n%.*s", cases[i].text, (int)got.len, got.ptr);
    }
    tr_buf_fini(&got);
}

static void bad_structure_is_refused_where_it_is(void **state)
{
    (void)state;
    static const struct bad cases[] = {
        {"", "JSON_TRUNCATED 1:1 +0"},        {" \n ", "JSON_TRUNCATED 2:2 +3"},
        {"[", "JSON_TRUNCATED 1:2 +1"},       {"[1", "JSON_TRUNCATED 1:3 +2"},
        {"[1,", "JSON_TRUNCATED 1:4 +3"},     {"{\"a\"", "JSON_TRUNCATED 1:5 +4"},
        {"{\"a\":", "JSON_TRUNCATED 1:6 +5"}, {"{\"a\":1,", "JSON_TRUNCATED 1:8 +7"},
        {"[1,]", "JSON_SYNTAX 1:4 +3"},       {"[,1]", "JSON_SYNTAX 1:2 +1"},
        {"[1,,2]", "JSON_SYNTAX 1:4 +3"},     {"[1 2]", "JSON_SYNTAX 1:4 +3"},
        {"[1}", "JSON_SYNTAX 1:3 +2"},        {"{]", "JSON_SYNTAX 1:2 +1"},
        {"{\"a\":1]", "JSON_SYNTAX 1:7 +6"},  {"{\"a\":1,}", "JSON_SYNTAX 1:8 +7"},
        {"{,}", "JSON_SYNTAX 1:2 +1"},        {"{\"a\" 1}", "JSON_SYNTAX 1:6 +5"},
        {"{\"a\"::1}", "JSON_SYNTAX 1:6 +5"}, {"{\"a\":}", "JSON_SYNTAX 1:6 +5"},
        {"{\"a\"}", "JSON_SYNTAX 1:5 +4"},    {"{1:2}", "JSON_SYNTAX 1:2 +1"},
        {"{a:2}", "JSON_SYNTAX 1:2 +1"},      {"[\n1\n\n x]", "JSON_SYNTAX 4:2 +6"},
        {"1 2", "JSON_SYNTAX 1:3 +2"},        {"{} x", "JSON_SYNTAX 1:4 +3"},
        {"{},", "JSON_SYNTAX 1:3 +2"},        {"]", "JSON_SYNTAX 1:1 +0"},
        {"// c\n1", "JSON_SYNTAX 1:1 +0"},    {"\xEF\xBB\xBF{}", "JSON_SYNTAX 1:1 +0"},
        {"\v1", "JSON_SYNTAX 1:1 +0"},        {"\xC2\xA0", "JSON_SYNTAX 1:1 +0"},
        {"'a'", "JSON_SYNTAX 1:1 +0"},
    };
    check_bad(cases, sizeof cases / sizeof cases[0]);
}

static void bad_strings_are_refused_where_they_are(void **state)
{
    (void)state;
    static const struct bad cases[] = {
        {"\"", "JSON_TRUNCATED 1:2 +1"},
        {"\"abc", "JSON_TRUNCATED 1:5 +4"},
        {"\"abc\\", "JSON_TRUNCATED 1:6 +5"},
        {"\"abc\\\"", "JSON_TRUNCATED 1:7 +6"},
        {"\"\\u12", "JSON_TRUNCATED 1:6 +5"},
        {"\"\\ud800", "JSON_TRUNCATED 1:8 +7"},
        {"\"\xE2\x82", "JSON_TRUNCATED 1:4 +3"},
        {"\"a\nb\"", "JSON_SYNTAX 1:3 +2"},
        {"\"a\tb\"", "JSON_SYNTAX 1:3 +2"},
        {"\"a\x1F\"", "JSON_SYNTAX 1:3 +2"},
        {"\"abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789\x01\"",
         "JSON_SYNTAX 1:74 +73"},
        {"\"\\x\"", "JSON_SYNTAX 1:3 +2"},
        {"\"\\a\"", "JSON_SYNTAX 1:3 +2"},
        {"\"\\0\"", "JSON_SYNTAX 1:3 +2"},
        {"\"\\\xC3\xA9\"", "JSON_SYNTAX 1:3 +2"},
        {"\"\\U0041\"", "JSON_SYNTAX 1:3 +2"},
        {"\"\\u00g1\"", "JSON_SYNTAX 1:6 +5"},
        {"\"\\u00\"", "JSON_SYNTAX 1:6 +5"},
        {"\"\\u 041\"", "JSON_SYNTAX 1:4 +3"},
        {"\"x\\uD800\"", "JSON_UTF8 1:3 +2"},
        {"\"x\\uD800y\"", "JSON_UTF8 1:3 +2"},
        {"\"x\\uD800\\n\"", "JSON_UTF8 1:3 +2"},
        {"\"x\\uD800\\u0041\"", "JSON_UTF8 1:3 +2"},
        {"\"x\\uD800\\uD800\"", "JSON_UTF8 1:3 +2"},
        {"\"x\\uDC00\"", "JSON_UTF8 1:3 +2"},
        {"\"x\\uDC00\\uD800\"", "JSON_UTF8 1:3 +2"},
        {"\"x\\uD83D\\uDE0G\"", "JSON_SYNTAX 1:14 +13"},
        {"\"ab\x80\"", "JSON_UTF8 1:4 +3"},
        {"\"ab\xC0\x80\"", "JSON_UTF8 1:4 +3"},
        {"\"ab\xE2\x82\"", "JSON_UTF8 1:4 +3"},
        {"\"ab\xE2\x82\\n\"", "JSON_UTF8 1:4 +3"},
        {"\"ab\xE2\x82\n\"", "JSON_UTF8 1:4 +3"},
        {"\"ab\xED\xA0\x80\"", "JSON_UTF8 1:4 +3"},
        {"\"ab\xF4\x90\x80\x80\"", "JSON_UTF8 1:4 +3"},
        {"\"ab\xF5\"", "JSON_UTF8 1:4 +3"},
        {"\"\xC3\xA9\xFF\n\"", "JSON_UTF8 1:4 +3"},
        {"{\"\xFF\":1}", "JSON_UTF8 1:3 +2"},
        {"\"\\n0123456789abcdef0123456789abcdef0123456789abcdef\xC3\xA9\xC3(\"",
         "JSON_UTF8 1:54 +53"},
    };
    check_bad(cases, sizeof cases / sizeof cases[0]);
}

static void bad_numbers_and_literals_are_refused_where_they_are(void **state)
{
    (void)state;
    static const struct bad cases[] = {
        {"-", "JSON_TRUNCATED 1:2 +1"},     {"1.", "JSON_TRUNCATED 1:3 +2"},
        {"1e", "JSON_TRUNCATED 1:3 +2"},    {"1e+", "JSON_TRUNCATED 1:4 +3"},
        {"[-]", "JSON_SYNTAX 1:3 +2"},      {"[1.]", "JSON_SYNTAX 1:4 +3"},
        {"[1.e5]", "JSON_SYNTAX 1:4 +3"},   {"[1e]", "JSON_SYNTAX 1:4 +3"},
        {"[1e+]", "JSON_SYNTAX 1:5 +4"},    {"[01]", "JSON_SYNTAX 1:3 +2"},
        {"[-01]", "JSON_SYNTAX 1:4 +3"},    {"[00]", "JSON_SYNTAX 1:3 +2"},
        {"[+1]", "JSON_SYNTAX 1:2 +1"},     {"[.5]", "JSON_SYNTAX 1:2 +1"},
        {"[1.5.5]", "JSON_SYNTAX 1:5 +4"},  {"[1e5e5]", "JSON_SYNTAX 1:5 +4"},
        {"[1-1]", "JSON_SYNTAX 1:3 +2"},    {"[0x10]", "JSON_SYNTAX 1:3 +2"},
        {"[1a]", "JSON_SYNTAX 1:3 +2"},     {"[-Infinity]", "JSON_SYNTAX 1:3 +2"},
        {"NaN", "JSON_SYNTAX 1:1 +0"},      {"01", "JSON_SYNTAX 1:2 +1"},
        {"tru", "JSON_TRUNCATED 1:4 +3"},   {"trua", "JSON_SYNTAX 1:4 +3"},
        {"[tRue]", "JSON_SYNTAX 1:3 +2"},   {"[fals]", "JSON_SYNTAX 1:6 +5"},
        {"[nul,1]", "JSON_SYNTAX 1:5 +4"},  {"[nall,1]", "JSON_SYNTAX 1:3 +2"},
        {"[frlse]", "JSON_SYNTAX 1:3 +2"},  {"truex", "JSON_SYNTAX 1:5 +4"},
        {"nullnull", "JSON_SYNTAX 1:5 +4"}, {"True", "JSON_SYNTAX 1:1 +0"},
    };
    check_bad(cases, sizeof cases / sizeof cases[0]);
}

static void depth_is_bounded(void **state)
{
    (void)state;
    static const uint32_t limits[] = {1, 2, 63, 64, 65, 100, 128, 256, 1000};
    char text[600];
    struct tr_buf got;
    tr_buf_init(&got);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        size_t max = limits[i] < TR_JSON_DEPTH_MAX ? limits[i] : TR_JSON_DEPTH_MAX;
        for (size_t d = 0; d < max; d++) {
            text[d] = '[';
            text[2 * max - 1 - d] = ']';
        }
        struct input in = {tr_span(text, 2 * max), TR_JSON_SINGLE, limits[i]};
        trace_all(&got, &in);
        assert_true(tr_span_ends(tr_buf_span(&got), TR_SPAN("d0\nEND\n")));
        memset(text, '[', max + 1);
        in.text.len = max + 1;
        trace_all(&got, &in);
        char want[64];
        int n = snprintf(want, sizeof want, "ERROR JSON_DEPTH 1:%zu +%zu\n", max + 1, max);
        assert_true(tr_span_ends(tr_buf_span(&got), tr_span(want, (size_t)n)));
    }
    tr_buf_fini(&got);
}

static void kinds_of_containers_are_kept_at_every_depth(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed();
    char text[2000], close[256];
    struct tr_buf got;
    tr_buf_init(&got);
    for (int round = 0; round < 50; round++) {
        size_t len = 0, depth = 1 + tr_test_rand(&seed) % 256;
        for (size_t d = 0; d < depth; d++) {
            bool obj = tr_test_rand(&seed) & 1;
            len += (size_t)snprintf(text + len, sizeof text - len, obj ? "{\"k\":" : "[");
            close[d] = obj ? '}' : ']';
        }
        text[len++] = '1';
        for (size_t d = depth; d-- > 0;)
            text[len++] = close[d];
        struct input in = {tr_span(text, len), TR_JSON_SINGLE, 256};
        trace_all(&got, &in);
        assert_true(tr_span_ends(tr_buf_span(&got), TR_SPAN("d0\nEND\n")));
        size_t at = len - 1 - tr_test_rand(&seed) % depth;
        text[at] = text[at] == '}' ? ']' : '}';
        trace_all(&got, &in);
        char want[64];
        int n = snprintf(want, sizeof want, "ERROR JSON_SYNTAX 1:%zu +%zu\n", at + 1, at);
        assert_true(tr_span_ends(tr_buf_span(&got), tr_span(want, (size_t)n)));
    }
    tr_buf_fini(&got);
}

static size_t gen_value(char *out, uint64_t *seed)
{
    static const char *const scalars[] = {
        "true",
        "false",
        "null",
        "0",
        "-1.5e10",
        "123456789012345678901234567890",
        "\"\"",
        "\"short\"",
        "\"a somewhat longer text of more than thirty-two bytes in all\"",
        "\"\\\"\\u00e9\\ud83d\\ude00\"",
        "\"\xC3\xA9t\xC3\xA9 \xE2\x82\xAC\xF0\x9F\x98\x80\"",
        "\"tab\\tand \xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E text\"",
    };
    const char *s = scalars[tr_test_rand(seed) % (sizeof scalars / sizeof scalars[0])];
    memcpy(out, s, strlen(s));
    return strlen(s);
}

/* A random document, now and then damaged. */
static size_t gen_document(char *out, uint64_t *seed)
{
    static const char *const spaces[] = {"", "", " ", "\n", "\r\n\t", "    "};
    size_t n = 0;
    unsigned kinds = 0, depth = 0; /* bit: object */
    for (int steps = (int)(tr_test_rand(seed) % 40); steps >= 0; steps--) {
        bool open = depth < 10 && tr_test_rand(seed) % 4 == 0;
        const char *space = spaces[tr_test_rand(seed) % 6];
        memcpy(out + n, space, strlen(space));
        n += strlen(space);
        if (depth && (kinds & 1)) {
            memcpy(out + n, "\"key\" : ", 8);
            n += 8;
        }
        if (open) {
            kinds = kinds << 1 | (unsigned)(tr_test_rand(seed) & 1);
            depth++;
            out[n++] = kinds & 1 ? '{' : '[';
            if (steps)
                continue;
        } else {
            n += gen_value(out + n, seed);
        }
        while (depth && (steps == 0 || tr_test_rand(seed) % 4 == 0)) {
            out[n++] = kinds & 1 ? '}' : ']';
            kinds >>= 1;
            depth--;
        }
        if (depth == 0)
            break;
        out[n++] = ',';
    }
    if (tr_test_rand(seed) % 2)
        out[tr_test_rand(seed) % n] = (char)tr_test_rand(seed);
    return n;
}

static void random_documents_do_not_depend_on_the_cuts(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed();
    struct tr_buf got;
    tr_buf_init(&got);
    char text[8192];
    int good = 0, total = 1500;
    for (int round = 0; round < total; round++) {
        struct input in = {tr_span(text, gen_document(text, &seed)),
                           round % 2 ? TR_JSON_SINGLE : TR_JSON_MULTI, 8};
        trace_all(&got, &in);
        good += tr_span_ends(tr_buf_span(&got), TR_SPAN("\nEND\n"));
    }
    assert_in_range(good, total / 5, total - total / 5); /* both kinds were met */
    tr_buf_fini(&got);
}

static void specials_are_found_at_every_place(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out; /* out NULL: an error at its first byte */
    } specials[] = {
        {"\\n", "\n"}, {"\x1f", NULL}, {"\xC3\xA9", "\xC3\xA9"}, {"\xFF", NULL}, {"", ""}};
    struct tr_buf spill;
    tr_buf_init(&spill);
    for (size_t len = 0; len < 150; len++) {
        for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++) {
            for (size_t at = 0; at <= len; at += 1 + len / 40) {
                char *text = malloc(len + 8); /* exact size, so that ASan sees a load too far */
                size_t sn = strlen(specials[i].in), n = 0;
                text[n++] = '"';
                memset(text + n, 'x', at);
                memcpy(text + n + at, specials[i].in, sn);
                memset(text + n + at + sn, 'y', len - at);
                n += len + sn;
                text[n++] = '"';
                text = realloc(text, n);
                struct tr_json_scan s;
                tr_json_scan_init(&s, TR_JSON_SINGLE, 1, &spill, SPILL_MAX);
                tr_json_scan_feed(&s, tr_span(text, n), true);
                enum tr_json_tok tok = tr_json_scan_next(&s);
                if (specials[i].out) {
                    size_t on = strlen(specials[i].out);
                    assert_int_equal(tok, TR_JSON_STRING);
                    assert_int_equal(s.text.len, len + on);
                    assert_memory_equal(s.text.ptr + at, specials[i].out, on);
                } else {
                    assert_int_equal(tok, TR_JSON_ERROR);
                    assert_int_equal(s.st.offset, 1 + at);
                }
                free(text);
            }
        }
    }
    tr_buf_fini(&spill);
}

static void views_need_no_spill(void **state)
{
    (void)state;
    struct tr_buf spill;
    tr_buf_init(&spill);
    struct tr_json_scan s;
    uint64_t before = tr_alloc_stats().calls;
    tr_json_scan_init(&s, TR_JSON_SINGLE, 100, &spill, 0);
    tr_json_scan_feed(
        &s, TR_SPAN("{\"key\":\"a long text that has no escapes but \xC3\xA9\",\"n\":12345}"),
        true);
    while (tr_json_scan_next(&s) > TR_JSON_END) {
    }
    assert_int_equal(s.st.err, TR_OK);
    assert_int_equal(tr_alloc_stats().calls, before);
    tr_buf_fini(&spill);
}

static void spill_is_bounded(void **state)
{
    (void)state;
    struct tr_buf spill;
    tr_buf_init(&spill);
    static const struct {
        const char *a, *b;
    } cases[] = {{"\"0123456789", "abcdef\""},
                 {"\"0123456789\\n", "abcdef\""},
                 {"12345678901", "23456,"},
                 {"\"", "0123456789abcdefg\""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int enough = 0; enough < 2; enough++) {
            struct tr_json_scan s;
            tr_json_scan_init(&s, TR_JSON_MULTI, 100, &spill, enough ? 17 : 15);
            tr_json_scan_feed(&s, tr_span_cstr(cases[i].a), false);
            assert_int_equal(tr_json_scan_next(&s), TR_JSON_MORE);
            tr_json_scan_feed(&s, tr_span_cstr(cases[i].b), false);
            enum tr_json_tok tok = tr_json_scan_next(&s);
            if (enough) {
                assert_in_range(tok, TR_JSON_STRING, TR_JSON_NUMBER);
                continue;
            }
            assert_int_equal(tok, TR_JSON_ERROR);
            assert_int_equal(s.st.err, TR_ERR_BODY_TOO_LARGE);
            assert_int_equal(s.st.offset, 0);
        }
    }
    tr_buf_fini(&spill);
}

static void unread_gives_the_token_again(void **state)
{
    (void)state;
    struct tr_buf spill, want, got;
    tr_buf_init(&spill);
    tr_buf_init(&want);
    tr_buf_init(&got);
    struct input in = {TR_SPAN("{\"a\\n\":[1,true,\"x\"],\"b\":{}}"), TR_JSON_SINGLE, 100};
    trace(&want, &in, WHOLE, 0);
    struct tr_json_scan s;
    tr_json_scan_init(&s, TR_JSON_SINGLE, 100, &spill, SPILL_MAX);
    tr_json_scan_feed(&s, in.text, true);
    enum tr_json_tok tok;
    do {
        tok = tr_json_scan_next(&s);
        if (tok > TR_JSON_END) {
            tr_json_scan_unread(&s);
            assert_int_equal(tr_json_scan_next(&s), tok);
        }
        trace_token(&got, &s, tok);
    } while (tok > TR_JSON_END);
    assert_same(&want, &got, "unread");
    tr_buf_fini(&spill);
    tr_buf_fini(&want);
    tr_buf_fini(&got);
}

static void a_failed_allocation_is_an_error_that_stays(void **state)
{
    (void)state;
    struct tr_buf spill;
    static const char text[] = "{\"a\\n\":\"b\\tccccccccccccccccccccccccccc\", \"n\":12345}";
    for (uint64_t fail = 1; fail <= 2; fail++) {
        tr_buf_init(&spill);
        struct tr_json_scan s;
        tr_json_scan_init(&s, TR_JSON_SINGLE, 100, &spill, SPILL_MAX);
        tr_alloc_fail_after(fail);
        enum tr_json_tok tok = TR_JSON_MORE;
        for (size_t at = 0; at < sizeof text - 1 && tok == TR_JSON_MORE; at += 5) {
            tr_json_scan_feed(&s, tr_span_sub(tr_span(text, sizeof text - 1), at, 5),
                              at + 5 >= sizeof text - 1);
            do
                tok = tr_json_scan_next(&s);
            while (tok > TR_JSON_END);
        }
        tr_alloc_fail_after(0);
        /* the first block serves all of this text */
        assert_int_equal(tok, fail == 1 ? TR_JSON_ERROR : TR_JSON_END);
        assert_int_equal(s.st.err, fail == 1 ? TR_ERR_NOMEM : TR_OK);
        assert_int_equal(tr_json_scan_next(&s), tok);
        tr_buf_fini(&spill);
    }
}

static void the_error_has_a_text(void **state)
{
    (void)state;
    struct tr_buf spill;
    tr_buf_init(&spill);
    struct tr_json_scan s;
    tr_json_scan_init(&s, TR_JSON_SINGLE, 100, &spill, SPILL_MAX);
    tr_json_scan_feed(&s, TR_SPAN("{\"a\":1 \"b\""), true);
    while (tr_json_scan_next(&s) > TR_JSON_END) {
    }
    assert_span_equal(tr_status_text(&s.st), "expected a comma or }");
    tr_buf_fini(&spill);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_come_in_grammatical_order_with_places),
        cmocka_unit_test(multi_takes_any_number_of_values),
        cmocka_unit_test(escapes_are_decoded),
        cmocka_unit_test(an_escaped_nul_is_a_character),
        cmocka_unit_test(utf8_passes_unchanged),
        cmocka_unit_test(bad_structure_is_refused_where_it_is),
        cmocka_unit_test(bad_strings_are_refused_where_they_are),
        cmocka_unit_test(bad_numbers_and_literals_are_refused_where_they_are),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(kinds_of_containers_are_kept_at_every_depth),
        cmocka_unit_test(random_documents_do_not_depend_on_the_cuts),
        cmocka_unit_test(specials_are_found_at_every_place),
        cmocka_unit_test(views_need_no_spill),
        cmocka_unit_test(spill_is_bounded),
        cmocka_unit_test(unread_gives_the_token_again),
        cmocka_unit_test(a_failed_allocation_is_an_error_that_stays),
        cmocka_unit_test(the_error_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
