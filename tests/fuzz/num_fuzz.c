/* Numbers: parsing agrees with the C library, printing reads back, integers agree with each other.
 */
#include "base/num.h"
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void check_bits(uint64_t bits)
{
    char out[TR_NUM_MAX];
    double d, back;
    memcpy(&d, &bits, sizeof d);
    if (isfinite(d)) {
        FUZZ_CHECK(tr_num_parse_double(tr_span(out, tr_num_double(out, d)), &back) == TR_OK);
        FUZZ_CHECK(memcmp(&back, &d, sizeof d) == 0);
    }
    float f, fback;
    memcpy(&f, &bits, sizeof f);
    if (isfinite(f)) {
        FUZZ_CHECK(tr_num_parse_float(tr_span(out, tr_num_float(out, f)), &fback) == TR_OK);
        FUZZ_CHECK(memcmp(&fback, &f, sizeof f) == 0);
    }
    uint64_t u;
    FUZZ_CHECK(tr_num_parse_u64(tr_span(out, tr_num_u64(out, bits)), &u) == TR_OK && u == bits);
    int64_t i;
    FUZZ_CHECK(tr_num_parse_i64(tr_span(out, tr_num_i64(out, (int64_t)bits)), &i) == TR_OK);
    FUZZ_CHECK(i == (int64_t)bits);
}

static void check_text(const char *text, size_t len)
{
    struct tr_span s = tr_span(text, len);
    double d = 0;
    float f = 0;
    int64_t i = 0;
    uint64_t u = 0;
    enum tr_err derr = tr_num_parse_double(s, &d), ferr = tr_num_parse_float(s, &f);
    enum tr_err ierr = tr_num_parse_i64(s, &i), uerr = tr_num_parse_u64(s, &u);
    if (derr == TR_ERR_JSON_SYNTAX) {
        FUZZ_CHECK(ferr == derr && ierr == derr && uerr == derr);
        return;
    }
    double want = strtod(text, NULL);
    FUZZ_CHECK(isinf(want) ? derr == TR_ERR_JSON_RANGE : !derr && memcmp(&want, &d, sizeof d) == 0);
    float fwant = strtof(text, NULL);
    FUZZ_CHECK(isinf(fwant) ? ferr == TR_ERR_JSON_RANGE
                            : !ferr && memcmp(&fwant, &f, sizeof f) == 0);
    FUZZ_CHECK((ierr == TR_ERR_JSON_TYPE) == (uerr == TR_ERR_JSON_TYPE));
    if (!ierr) {
        FUZZ_CHECK(!derr && d == (double)i);
        FUZZ_CHECK(i < 0 ? uerr == TR_ERR_JSON_RANGE : !uerr && u == (uint64_t)i);
    } else if (!uerr) {
        FUZZ_CHECK(u > INT64_MAX && d == (double)u);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t bits = 0;
    memcpy(&bits, data, size < 8 ? size : 8);
    check_bits(bits);
    char *text = malloc(size + 1);
    FUZZ_CHECK(text);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    check_text(text, size);
    free(text);
    return 0;
}
