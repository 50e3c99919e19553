/* The emitter on strings, numbers and bytes. */
#include "bench.h"
#include "json/emit.h"

#include <stdlib.h>
#include <string.h>

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if (call)                                                                                  \
            abort();                                                                               \
    } while (0)

static struct tr_buf out;

struct text {
    struct tr_span span;
    size_t count;
};

static void strings(void *arg)
{
    const struct text *t = arg;
    tr_buf_clear(&out);
    for (size_t i = 0; i < t->count; i++)
        MUST(tr_emit_string(&out, t->span, NULL));
}

static void run_strings(const char *name, const char *unit, size_t repeat, size_t count)
{
    struct tr_buf b;
    tr_buf_init(&b);
    for (size_t i = 0; i < repeat; i++)
        MUST(tr_buf_append(&b, tr_span_cstr(unit)));
    struct text t = {tr_buf_span(&b), count};
    tr_bench_print_bytes(name, tr_bench_run(strings, &t), b.len * count, count, "string");
    tr_buf_fini(&b);
}

static void base64(void *arg)
{
    const struct text *t = arg;
    tr_buf_clear(&out);
    MUST(tr_emit_base64(&out, t->span));
}

#define NUMBERS 1024
static union {
    double f64[NUMBERS];
    float f32[NUMBERS];
    int64_t i64[NUMBERS];
} numbers;

static void emit_doubles(void *arg)
{
    (void)arg;
    tr_buf_clear(&out);
    for (size_t i = 0; i < NUMBERS; i++)
        MUST(tr_emit_double(&out, numbers.f64[i]));
}
static void emit_floats(void *arg)
{
    (void)arg;
    tr_buf_clear(&out);
    for (size_t i = 0; i < NUMBERS; i++)
        MUST(tr_emit_float(&out, numbers.f32[i]));
}
static void emit_ints(void *arg)
{
    (void)arg;
    tr_buf_clear(&out);
    for (size_t i = 0; i < NUMBERS; i++)
        MUST(tr_emit_i64(&out, numbers.i64[i]));
}

enum kind { PRICES, UNIT, ANY_BITS, WHOLE, FLOATS, INT5, INT19 };

static void run_numbers(const char *name, enum kind kind, tr_bench_fn *fn)
{
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < NUMBERS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        uint64_t bits = x & ~((uint64_t)1 << 62); /* never infinity or NaN */
        switch (kind) {
        case PRICES:
            numbers.f64[i] = (double)(x % 100000) / 100;
            break;
        case UNIT:
            numbers.f64[i] = (double)(x >> 11) * 0x1p-53;
            break;
        case ANY_BITS:
            memcpy(&numbers.f64[i], &bits, 8);
            break;
        case WHOLE:
            numbers.f64[i] = (double)(x % 100000);
            break;
        case FLOATS:
            numbers.f32[i] = (float)(x >> 40) * 0x1p-24f;
            break;
        case INT5:
            numbers.i64[i] = (int64_t)(x % 100000);
            break;
        case INT19:
            numbers.i64[i] = (int64_t)(x >> 1);
            break;
        }
    }
    printf("%-28s %10.2f ns/number\n", name, tr_bench_run(fn, NULL) / NUMBERS);
}

int main(void)
{
    tr_buf_init(&out);
    run_strings("7-byte strings", "abcdefg", 1, 1000);
    run_strings("25-byte strings", "The Left Hand of Darkness", 1, 1000);
    run_strings("100-byte strings", "0123456789", 10, 1000);
    run_strings("short latin strings", "caf\xC3\xA9 cr\xC3\xA8me", 1, 1000);
    run_strings("one escape in 24", "line one\\n line two and x", 1, 1000);
    run_strings("long ASCII", "The quick brown fox jumps. ", 2000, 1);
    run_strings("long French", "Un petit d\xC3\xA9jeuner \xC3\xA0 l'h\xC3\xB4tel. ", 2000, 1);
    run_strings("long Japanese", "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E\xE3\x81\xAE", 4000, 1);
    run_strings("long, an escape in 27", "The quick brown fox jumps.\n", 2000, 1);
    static char bytes[16384];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7);
    struct text t = {tr_span(bytes, 32), 1};
    tr_bench_print_bytes("base64 encode, 32 B", tr_bench_run(base64, &t), 32, 0, "");
    t.span.len = sizeof bytes;
    tr_bench_print_bytes("base64 encode, 16 KiB", tr_bench_run(base64, &t), sizeof bytes, 0, "");
    run_numbers("double: prices", PRICES, emit_doubles);
    run_numbers("double: 17 digits", UNIT, emit_doubles);
    run_numbers("double: any bits", ANY_BITS, emit_doubles);
    run_numbers("double: whole", WHOLE, emit_doubles);
    run_numbers("float", FLOATS, emit_floats);
    run_numbers("i64: 5 digits", INT5, emit_ints);
    run_numbers("i64: 19 digits", INT19, emit_ints);
    tr_buf_fini(&out);
    return 0;
}
