/* HTTP/1.1 heads and chunked bodies: how the bytes are cut changes nothing.
 * Byte 0: bit 0 chooses head (0) or chunked body (1), the rest seeds the cuts. */
#include "base/buf.h"
#include "fuzz.h"
#include "http/h1_chunk.h"
#include "http/h1_parse.h"

#include <stdlib.h>
#include <string.h>

static const struct tr_h1_limits limits = {.max_headers = 16, .max_bytes = 4096, .max_path = 256};

static size_t next_cut(uint32_t *seed, size_t left)
{
    *seed = *seed * 1664525u + 1013904223u;
    size_t n = 1 + (*seed >> 24) % 9;
    return n < left ? n : left;
}

static enum tr_err scan(struct tr_span in, bool whole, uint32_t seed, struct tr_h1_scan *s,
                        size_t *ret_len)
{
    enum tr_err err = TR_ERR_AGAIN;
    size_t have = 0;
    tr_h1_scan_init(s);
    while (err == TR_ERR_AGAIN && have < in.len) {
        have += whole ? in.len : next_cut(&seed, in.len - have);
        err = tr_h1_scan(s, tr_span_sub(in, 0, have), &limits, ret_len, NULL);
    }
    return err;
}

static void fuzz_head(struct tr_span in, uint32_t seed)
{
    struct tr_h1_scan a, b;
    size_t a_len = 0, b_len = 0;
    enum tr_err a_err = scan(in, true, 0, &a, &a_len), b_err = scan(in, false, seed, &b, &b_len);
    FUZZ_CHECK(a_err == b_err && a_len == b_len && a.method_len == b.method_len &&
               a.target_len == b.target_len);
    struct tr_req_head head = {0};
    if (a_err) {
        tr_h1_parse_refused(in, &a, &head);
        return;
    }
    FUZZ_CHECK(a_len <= in.len && a_len <= limits.max_bytes && a.headers <= limits.max_headers);
    struct tr_arena arena;
    tr_arena_init(&arena, NULL);
    char *copy = tr_arena_alloc(&arena, a_len);
    FUZZ_CHECK(copy);
    memcpy(copy, in.ptr, a_len);
    if (tr_h1_parse(copy, a_len, &a, &arena, &head, NULL) == TR_OK) {
        FUZZ_CHECK(head.path.len > 0 &&
                   (head.path.ptr[0] == '/' || tr_span_eq(head.path, TR_SPAN("*"))));
        FUZZ_CHECK(head.authority.len > 0 || head.version == 10);
        FUZZ_CHECK(head.end || head.content_length != 0);
        FUZZ_CHECK(!tr_headers_find(&head.headers, TR_TOKEN_HOST, NULL));
        for (uint32_t i = 0; i < head.headers.count; i++) {
            FUZZ_CHECK(tr_http_is_token(head.headers.items[i].name));
            FUZZ_CHECK(tr_http_is_field_value(head.headers.items[i].value));
        }
    }
    tr_arena_fini(&arena);
}

static enum tr_err chunks(struct tr_span in, bool whole, uint32_t seed, struct tr_buf *out,
                          size_t *ret_used)
{
    struct tr_h1_chunk c;
    enum tr_err err = TR_OK;
    size_t at = 0;
    tr_h1_chunk_init(&c);
    while (at < in.len && !err && !tr_h1_chunk_done(&c)) {
        size_t n = whole ? in.len : next_cut(&seed, in.len - at);
        struct tr_span part = tr_span_sub(in, at, n), data;
        while (part.len && !err && !tr_h1_chunk_done(&c)) {
            err = tr_h1_chunk_next(&c, &limits, &part, &data, NULL);
            if (!err)
                FUZZ_CHECK(tr_buf_append(out, data) == TR_OK);
        }
        at += n - part.len;
    }
    *ret_used = at;
    if (!err && !tr_h1_chunk_done(&c))
        err = TR_ERR_AGAIN;
    if (!err) {
        struct tr_arena arena;
        struct tr_headers trailers;
        tr_arena_init(&arena, NULL);
        err = tr_h1_chunk_trailers(&c, &arena, &trailers, NULL);
        tr_arena_fini(&arena);
    }
    tr_h1_chunk_fini(&c);
    return err;
}

static void fuzz_body(struct tr_span in, uint32_t seed)
{
    struct tr_buf a, b;
    size_t a_used, b_used;
    tr_buf_init(&a);
    tr_buf_init(&b);
    enum tr_err a_err = chunks(in, true, 0, &a, &a_used),
                b_err = chunks(in, false, seed, &b, &b_used);
    FUZZ_CHECK(a_err == b_err);
    if (!a_err)
        FUZZ_CHECK(a_used == b_used);
    FUZZ_CHECK(tr_span_eq(tr_buf_span(&a), tr_buf_span(&b)));
    tr_buf_fini(&a);
    tr_buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    char *exact = malloc(size); /* so that a read beyond the end is seen */
    FUZZ_CHECK(exact);
    memcpy(exact, data + 1, size - 1);
    struct tr_span in = tr_span(exact, size - 1);
    if (data[0] & 1)
        fuzz_body(in, data[0]);
    else
        fuzz_head(in, data[0]);
    free(exact);
    return 0;
}
