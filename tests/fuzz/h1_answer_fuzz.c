/* Answers to a fetch: how the bytes are cut changes nothing, and no cap is passed.
 * Byte 0 seeds the cuts; its bit 0 says whether the connection ends after the input. */
#include "fuzz.h"
#include "http/h1_answer.h"

#include <stdlib.h>
#include <string.h>

#define BODY_MAX ((size_t)512)

static enum tr_err run(struct tr_h1_answer *a, struct tr_span in, uint32_t seed, bool whole,
                       bool end)
{
    enum tr_err err = TR_ERR_AGAIN;
    size_t at = 0;
    tr_h1_answer_init(a, BODY_MAX);
    while (err == TR_ERR_AGAIN && at < in.len) {
        seed = seed * 1664525u + 1013904223u;
        struct tr_span part = tr_span_sub(in, at, whole ? in.len : 1 + (seed >> 24) % 9);
        err = tr_h1_answer_feed(a, part, NULL);
        at += part.len;
    }
    if (err == TR_ERR_AGAIN && end)
        err = tr_h1_answer_end(a, NULL);
    FUZZ_CHECK(a->body.len <= BODY_MAX);
    FUZZ_CHECK(err || a->status == 200);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tr_h1_answer a, b;
    if (size < 1)
        return 0;
    char *exact = malloc(size);
    FUZZ_CHECK(exact);
    memcpy(exact, data + 1, size - 1);
    struct tr_span in = tr_span(exact, size - 1);
    bool end = data[0] & 1;
    enum tr_err whole = run(&a, in, 0, true, end), cut = run(&b, in, data[0], false, end);
    FUZZ_CHECK(whole == cut && a.status == b.status && a.max_age_s == b.max_age_s);
    if (!whole)
        FUZZ_CHECK(tr_span_eq(tr_h1_answer_body(&a), tr_h1_answer_body(&b)));
    tr_h1_answer_fini(&a);
    tr_h1_answer_fini(&b);
    free(exact);
    return 0;
}
