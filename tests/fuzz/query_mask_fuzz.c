/* The query of the access log: bounded, and no byte of a value whose name, decoded, is "key". The
 * input's first byte says how long the part before that value is. */
#include "filters/query_mask.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tr_span configured[] = {TR_SPAN_INIT("my_token")};
    static const struct tr_strings names = {configured, 1};
    static const struct tr_span spellings[] = {TR_SPAN_INIT("&key="), TR_SPAN_INIT("&%6Bey="),
                                               TR_SPAN_INIT("&$key="), TR_SPAN_INIT("&MY_token=")};
    char out[TR_QUERY_MASK_MAX];
    if (size < 2)
        return 0;
    struct tr_span name = spellings[data[0] % 4];
    size_t before = data[1] < size - 2 ? data[1] : size - 2, rest = size - 2 - before;
    char *bytes = malloc(size + name.len + 1);
    FUZZ_CHECK(bytes);
    for (size_t i = 0; i < before; i++) /* the secret alone has this byte */
        bytes[i] = data[2 + i] == 'S' ? 's' : (char)data[2 + i];
    memcpy(bytes + before, name.ptr, name.len);
    for (size_t i = 0; i < rest; i++)
        bytes[before + name.len + i] =
            data[2 + before + i] == '&' ? 'S' : (char)data[2 + before + i];
    struct tr_span got = tr_query_mask(out, tr_span(bytes, before + name.len + rest), &names);
    FUZZ_CHECK(got.len <= TR_QUERY_MASK_MAX);
    FUZZ_CHECK(tr_span_find(got, 'S') == got.len);
    if (memchr(bytes, '?', before) && !memchr(bytes, '#', before)) {
        got = tr_query_mask_url(out, tr_span(bytes, before + name.len + rest), &names);
        FUZZ_CHECK(got.len <= TR_QUERY_MASK_MAX);
        FUZZ_CHECK(tr_span_find(got, 'S') == got.len);
    }
    got = tr_query_mask(out, tr_span(bytes, before), &names);
    FUZZ_CHECK(got.len <= TR_QUERY_MASK_MAX);
    free(bytes);
    return 0;
}
