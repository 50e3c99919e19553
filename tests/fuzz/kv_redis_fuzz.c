/* What a store may send, and what an operator may write: answers are the same however they are cut;
 * a URL that is accepted is whole. */
#include "fuzz.h"
#include "io/kv_redis.h"
#include "io/kv_redis_answer.h"

#include <stdlib.h>
#include <string.h>

/* A number for each answer, and for how it ended. */
static uint64_t read_all(struct tr_span in, size_t piece)
{
    struct tr_kv_reader r = {0};
    uint64_t sum = 0;
    enum tr_err err = TR_ERR_AGAIN;
    if (tr_kv_reader_open(&r) != TR_OK)
        return 0;
    for (size_t at = 0; at < in.len && err == TR_ERR_AGAIN; at += piece) {
        if (tr_kv_reader_feed(&r, tr_span_sub(in, at, piece)) != TR_OK)
            break;
        while ((err = tr_kv_reader_next(&r)) == TR_OK) {
            const struct tr_kv_answer *a = &r.answer;
            FUZZ_CHECK(a->type != TR_KV_ANSWER_NONE);
            FUZZ_CHECK(a->count <= TR_KV_INTS_MAX && a->text_len <= sizeof a->text);
            sum = tr_span_hash(tr_kv_answer_text(a), sum + (uint64_t)a->type * 2 + a->strange);
            if (!a->strange)
                sum =
                    tr_span_hash(tr_span((const char *)a->ints, a->count * sizeof a->ints[0]), sum);
            FUZZ_CHECK(tr_kv_answer_failure(a) != TR_KV_OK || a->type == TR_KV_ANSWER_LIST);
        }
    }
    if (err == TR_ERR_IO)
        FUZZ_CHECK(tr_kv_reader_error(&r).len > 0);
    tr_kv_reader_close(&r);
    return sum + (err == TR_ERR_IO);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > TR_KV_ANSWER_MAX)
        return 0;
    char *exact = malloc(size ? size : 1);
    FUZZ_CHECK(exact);
    if (size)
        memcpy(exact, data, size);
    struct tr_span in = tr_span(exact, size);
    uint64_t whole = read_all(in, size ? size : 1);
    FUZZ_CHECK(read_all(in, 1) == whole);
    FUZZ_CHECK(read_all(in, 3) == whole);

    struct tr_kv_redis_url url;
    struct tr_status st;
    tr_status_clear(&st);
    if (tr_kv_redis_parse(in, &url, &st) == TR_OK) {
        FUZZ_CHECK(url.host[0] && memchr(url.host, 0, sizeof url.host));
        FUZZ_CHECK(url.user_len <= sizeof url.user && url.password_len <= sizeof url.password);
        FUZZ_CHECK(url.port != 0 || url.addr.len != 0);
    } else {
        FUZZ_CHECK(st.text_len > 0);
    }
    free(exact);
    return 0;
}
