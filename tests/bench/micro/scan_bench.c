/* The scanner on documents like those of an API, UTF-8 validation, base64 decoding and number
 * parsing. */
#include "base/base64.h"
#include "base/buf.h"
#include "base/num.h"
#include "base/utf8.h"
#include "bench.h"
#include "json/scan.h"

#include <stdlib.h>
#include <string.h>

static struct tr_buf spill;
static uint64_t sink; /* what is computed must be used */

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (call)                                                                                  \
            abort();                                                                               \
    } while (0)

struct doc {
    struct tr_span text;
    size_t tokens, chunk;
};

static void scan(void *arg)
{
    struct doc *d = arg;
    struct tr_json_scan s;
    size_t tokens = 0, at = 0;
    enum tr_json_tok tok;
    tr_json_scan_init(&s, TR_JSON_SINGLE, 100, &spill, 1 << 20);
    do {
        struct tr_span part = tr_span_sub(d->text, at, d->chunk);
        at += part.len;
        tr_json_scan_feed(&s, part, at == d->text.len);
        while ((tok = tr_json_scan_next(&s)) > TR_JSON_END) {
            tokens++;
            sink += s.text.len;
        }
    } while (tok == TR_JSON_MORE);
    MUST(tok != TR_JSON_END);
    d->tokens = tokens;
}

static void run_doc(const char *name, struct tr_buf *b, size_t chunk)
{
    struct doc d = {.text = tr_buf_span(b), .chunk = chunk ? chunk : b->len};
    double ns = tr_bench_run(scan, &d);
    tr_bench_print_bytes(name, ns, b->len, d.tokens, "token");
}

static const char item[] = "{\"name\":\"publishers/12/books/%d\",\"title\":\"The Left Hand of "
                           "Darkness\",\"isbn\":\"9780441478125\","
                           "\"pageCount\":%d,\"price\":{\"currencyCode\":\"EUR\",\"units\":\"12\","
                           "\"nanos\":990000000},\"rating\":4.%d,"
                           "\"inStock\":true,\"tags\":[\"sf\",\"classic\",\"award\"],"
                           "\"createTime\":\"2024-05-01T12:34:56.789Z\","
                           "\"labels\":{\"shelf\":\"A3\",\"lang\":\"en\"}}";

static void put_item(struct tr_buf *b, int i)
{
    MUST(tr_buf_printf(b, item, i, 300 + i % 200,
                       i % 10)); /* NOLINT(clang-diagnostic-format-nonliteral) */
}

static void documents(void)
{
    struct tr_buf b;
    tr_buf_init(&b);
    MUST(tr_buf_append(
        &b,
        TR_SPAN("{\"name\":\"shelves/3/books/17\",\"title\":\"Dune\",\"author\":\"Frank Herbert\","
                "\"pageCount\":612,\"inStock\":true,\"price\":9.99,\"tags\":[\"sf\",\"epic\"]}")));
    run_doc("small object", &b, 0);
    tr_buf_clear(&b);
    MUST(tr_buf_push(&b, '['));
    for (int i = 0; i < 3; i++) {
        put_item(&b, i);
        MUST(tr_buf_push(&b, i < 2 ? ',' : ']'));
    }
    run_doc("medium, compact", &b, 0);
    tr_buf_clear(&b);
    MUST(tr_buf_append(&b, TR_SPAN("{\"books\":[")));
    for (int i = 0; i < 160; i++) {
        put_item(&b, i);
        if (i < 159)
            MUST(tr_buf_push(&b, ','));
    }
    MUST(tr_buf_append(&b, TR_SPAN("]}")));
    run_doc("large list, compact", &b, 0);
    run_doc("large list, 1400 B chunks", &b, 1400);
    run_doc("large list, 16 B chunks", &b, 16);

    struct tr_buf pretty;
    tr_buf_init(&pretty);
    unsigned depth = 0;
    for (size_t i = 0; i < b.len; i++) { /* no structural byte stands in a string here but ':' */
        char c = b.ptr[i];
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        if (c == '}' || c == ']')
            MUST(tr_buf_printf(&pretty, "\n%*s", (int)depth * 2, ""));
        MUST(tr_buf_push(&pretty, c));
        if (c == '{' || c == '[' || c == ',')
            MUST(tr_buf_printf(&pretty, "\n%*s", (int)depth * 2, ""));
        if (c == ':' && b.ptr[i - 1] == '"')
            MUST(tr_buf_push(&pretty, ' '));
    }
    run_doc("large list, pretty", &pretty, 0);
    tr_buf_fini(&pretty);
    tr_buf_fini(&b);
}

static void repeated(const char *name, const char *value, size_t bytes)
{
    struct tr_buf b;
    tr_buf_init(&b);
    MUST(tr_buf_push(&b, '['));
    while (b.len < bytes)
        MUST(tr_buf_printf(&b, "%s,", value));
    b.ptr[b.len - 1] = ']';
    run_doc(name, &b, 0);
    tr_buf_fini(&b);
}

static void long_string(const char *name, const char *unit, size_t bytes)
{
    struct tr_buf b;
    tr_buf_init(&b);
    MUST(tr_buf_push(&b, '"'));
    while (b.len < bytes)
        MUST(tr_buf_append(&b, tr_span_cstr(unit)));
    MUST(tr_buf_push(&b, '"'));
    run_doc(name, &b, 0);
    tr_buf_fini(&b);
}

static void utf8(void *arg)
{
    const struct tr_buf *b = arg;
    sink += tr_utf8_valid_prefix(tr_buf_span(b));
}

static void utf8_text(const char *name, const char *unit, size_t bytes)
{
    struct tr_buf b;
    tr_buf_init(&b);
    while (b.len < bytes)
        MUST(tr_buf_append(&b, tr_span_cstr(unit)));
    tr_bench_print_bytes(name, tr_bench_run(utf8, &b), b.len, 0, "");
    tr_buf_fini(&b);
}

static void base64(void *arg)
{
    const struct tr_buf *b = arg;
    static char out[1 << 16];
    size_t n;
    MUST(tr_base64_decode(out, tr_buf_span(b), &n));
    sink += n;
}

static void base64_text(const char *name, size_t bytes)
{
    struct tr_buf b;
    tr_buf_init(&b);
    while (b.len < bytes)
        MUST(tr_buf_append(&b, TR_SPAN("aZ09+/Qx")));
    tr_bench_print_bytes(name, tr_bench_run(base64, &b), b.len, 0, "");
    tr_buf_fini(&b);
}

#define NUMBERS 1024
static struct {
    char text[NUMBERS][40];
    struct tr_span span[NUMBERS];
} numbers;

static void parse_doubles(void *arg)
{
    (void)arg;
    double v, sum = 0;
    for (size_t i = 0; i < NUMBERS; i++) {
        MUST(tr_num_parse_double(numbers.span[i], &v));
        sum += v;
    }
    sink += sum > 1;
}

static void parse_ints(void *arg)
{
    (void)arg;
    int64_t v;
    for (size_t i = 0; i < NUMBERS; i++) {
        MUST(tr_num_parse_i64(numbers.span[i], &v));
        sink += (uint64_t)v;
    }
}

static void number_texts(const char *name, int kind, tr_bench_fn *fn)
{
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < NUMBERS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        int n = 0;
        char *t = numbers.text[i];
        size_t size = sizeof numbers.text[i];
        if (kind == 0)
            n = snprintf(t, size, "%d.%02d", (int)(x % 1000), (int)(x >> 32 & 63));
        else if (kind == 1)
            n = snprintf(t, size, "%.17g", (double)(x >> 11) * 0x1p-53);
        else if (kind == 2)
            n = snprintf(t, size, "%d.%016llue%d", (int)(x % 9), (unsigned long long)(x >> 11),
                         (int)(x % 500) - 250);
        else if (kind == 3)
            n = snprintf(t, size, "%d", (int)(x % 100000));
        else
            n = snprintf(t, size, "%lld", (long long)(x >> 1));
        numbers.span[i] = tr_span(t, (size_t)n);
    }
    double ns = tr_bench_run(fn, NULL);
    printf("%-28s %10.2f ns/number\n", name, ns / NUMBERS);
}

int main(void)
{
    tr_buf_init(&spill);
    documents();
    repeated("short strings", "\"abcdefg\"", 20000);
    repeated("20-byte strings", "\"abcdefghijklmnopqrst\"", 20000);
    repeated("small integers", "123", 20000);
    repeated("doubles", "0.12345678901234567", 20000);
    repeated("escaped strings", "\"line one\\nline two \\\"x\\\"\"", 20000);
    repeated("short latin strings", "\"caf\xC3\xA9 cr\xC3\xA8me\"", 20000);
    long_string("one long ASCII string", "The quick brown fox jumps. ", 50000);
    long_string("one long French string", "Un petit d\xC3\xA9jeuner \xC3\xA0 l'h\xC3\xB4tel. ",
                50000);
    long_string("one long Japanese string", "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE3\x81\xAE",
                50000);
    utf8_text("utf8: ASCII", "plain text ", 50000);
    utf8_text("utf8: French", "d\xC3\xA9j\xC3\xA0 vu et lu ", 50000);
    utf8_text("utf8: Japanese", "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE3\x81\xAE", 50000);
    utf8_text("utf8: Japanese, 24 B", "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE3\x81\xAE", 24);
    base64_text("base64 decode, 32 B", 32);
    base64_text("base64 decode, 16 KiB", 16384);
    number_texts("parse double: prices", 0, parse_doubles);
    number_texts("parse double: 17 digits", 1, parse_doubles);
    number_texts("parse double: any exponent", 2, parse_doubles);
    number_texts("parse i64: 5 digits", 3, parse_ints);
    number_texts("parse i64: 19 digits", 4, parse_ints);
    printf("(%llu)\n", (unsigned long long)sink % 10);
    tr_buf_fini(&spill);
    return 0;
}
