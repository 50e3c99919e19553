/* Base64: any bytes come back from either encoding; text that decodes has a canonical form that
 * decodes to the same. */
#include "base/base64.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tr_span in = tr_span((const char *)data, size);
    char *text = malloc(tr_base64_encoded_len(size) + 1);
    char *back = malloc(tr_base64_decoded_max(tr_base64_encoded_len(size)));
    char *plain = malloc(tr_base64_decoded_max(size));
    FUZZ_CHECK(text && back && plain);
    size_t n;
    for (int padded = 0; padded < 2; padded++) {
        size_t len = padded ? tr_base64_encode(text, in) : tr_base64_encode_unpadded(text, in);
        FUZZ_CHECK(!tr_base64_decode(back, tr_span(text, len), &n));
        FUZZ_CHECK(n == size && (n == 0 || memcmp(back, data, n) == 0));
        FUZZ_CHECK(!tr_base64_decode(text, tr_span(text, len), &n)); /* in place */
        FUZZ_CHECK(n == size && (n == 0 || memcmp(text, data, n) == 0));
    }
    size_t m;
    if (!tr_base64_decode(plain, in, &n)) {
        FUZZ_CHECK(n <= size / 4 * 3 + 2);
        size_t len = tr_base64_encode(text, tr_span(plain, n));
        FUZZ_CHECK(!tr_base64_decode(back, tr_span(text, len), &m));
        FUZZ_CHECK(m == n && (n == 0 || memcmp(back, plain, n) == 0));
    }
    free(text);
    free(back);
    free(plain);
    return 0;
}
