/* google.rpc.Status from a backend: whatever the trailers say, the client gets JSON, and without
 * DebugInfo. The first byte chooses the format; the rest, up to a NUL, is grpc-message, and then
 * the bytes of the status. */
#include "../unit/transcode/pool.h"
#include "base/base64.h"
#include "base/utf8.h"
#include "fuzz.h"
#include "json/scan.h"
#include "transcode/rpcstatus.h"

#include <stdlib.h>

static struct tr_typepool *pool;

static void check_json(struct tr_span text)
{
    struct tr_buf spill;
    struct tr_json_scan s;
    enum tr_json_tok tok;
    tr_buf_init(&spill);
    tr_json_scan_init(&s, TR_JSON_SINGLE, 1000, &spill, SIZE_MAX / 2);
    tr_json_scan_feed(&s, text, true);
    while ((tok = tr_json_scan_next(&s)) > TR_JSON_END)
        ;
    FUZZ_CHECK(tok == TR_JSON_END);
    tr_buf_fini(&spill);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!pool)
        pool = pool_load(TR_TEST_SET);
    if (size < 1)
        return 0;
    struct tr_span in = tr_span((const char *)data + 1, size - 1);
    struct tr_span message = tr_span_cut(&in, '\0');
    struct tr_buf status, json, text;
    struct tr_arena arena;
    tr_buf_init(&status);
    tr_buf_init(&json);
    tr_buf_init(&text);
    tr_arena_init(&arena, NULL);
    const struct tr_rpcstatus_json_opts opts = {
        .pool = pool,
        .format = (enum tr_error_format)(data[0] % 3),
        .http_status = 500,
        .http_title = TR_SPAN("Internal Server Error"),
        .allow_debug_info = data[0] & 4,
        .pretty = data[0] & 8,
    };
    struct tr_span details = {"", 0};
    if (in.ptr) {
        char *base64 = tr_arena_alloc(&arena, tr_base64_encoded_len(in.len));
        FUZZ_CHECK(base64);
        details = tr_span(base64, tr_base64_encode_unpadded(base64, in));
        /* as it is, too */
        FUZZ_CHECK(!tr_rpcstatus_json(&json, in, &opts, &arena));
        check_json(tr_buf_span(&json));
        (void)tr_rpcstatus_retry_after(in);
    }
    FUZZ_CHECK(!tr_rpcstatus_from_trailers(&status, data[0], message, details, &arena));
    tr_buf_clear(&json);
    FUZZ_CHECK(!tr_rpcstatus_json(&json, tr_buf_span(&status), &opts, &arena));
    check_json(tr_buf_span(&json));
    FUZZ_CHECK(tr_rpcstatus_view(tr_buf_span(&status)).code == data[0]);
    /* what is encoded decodes to the same */
    if (tr_utf8_valid(message)) {
        tr_buf_clear(&json);
        FUZZ_CHECK(!tr_rpcstatus_encode_message(&json, message));
        FUZZ_CHECK(!tr_rpcstatus_decode_message(&text, tr_buf_span(&json)));
        FUZZ_CHECK(tr_span_eq(tr_buf_span(&text), message));
    }
    tr_buf_fini(&status);
    tr_buf_fini(&json);
    tr_buf_fini(&text);
    tr_arena_fini(&arena);
    return 0;
}
