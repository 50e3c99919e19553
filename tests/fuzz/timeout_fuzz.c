/* Times that peers write: grpc-timeout, x-request-timeout, grpc-retry-pushback-ms. What is read as
 * a timeout is sent on as one that is no longer, and never nothing; seconds with more digits behind
 * the point are no shorter, and not longer by a nanosecond. */
#include "fuzz.h"
#include "http/grpc_timeout.h"
#include "upstream/retry.h"

#define NS_MAX 999999999999999999u /* of x-request-timeout */

static void check_sent(uint64_t ns)
{
    char text[16];
    uint64_t again;
    struct tr_span sent = tr_grpc_timeout_print(text, ns);
    FUZZ_CHECK(sent.len >= 2 && sent.len <= 9);
    FUZZ_CHECK(tr_grpc_timeout_parse(sent, &again) == TR_OK);
    FUZZ_CHECK(again > 0 && again <= (ns ? ns : 1));
    FUZZ_CHECK(again >= ns - ns / 100); /* rounded, not cut */
}

static void check_seconds(struct tr_span text, uint64_t ns)
{
    char longer[256];
    uint64_t more;
    FUZZ_CHECK(ns <= NS_MAX);
    if (tr_span_find(text, '.') == text.len || text.len + 3 > sizeof longer)
        return;
    memcpy(longer, text.ptr, text.len);
    memcpy(longer + text.len, "999", 3);
    FUZZ_CHECK(tr_request_timeout_parse(tr_span(longer, text.len + 3), &more) == TR_OK);
    FUZZ_CHECK(more >= ns && more - ns < 1000000000u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size + 1);
    FUZZ_CHECK(bytes);
    memcpy(bytes, data, size);
    struct tr_span text = tr_span(bytes, size);
    uint64_t ns;
    if (tr_grpc_timeout_parse(text, &ns) == TR_OK) {
        FUZZ_CHECK(ns <= INT64_MAX);
        check_sent(ns);
    }
    if (tr_request_timeout_parse(text, &ns) == TR_OK) {
        check_sent(ns);
        check_seconds(text, ns);
    }
    if (tr_retry_pushback(text, &ns) == TR_PUSHBACK_AFTER)
        FUZZ_CHECK(size > 0 && ns % 1000000u == 0);
    free(bytes);
    return 0;
}
