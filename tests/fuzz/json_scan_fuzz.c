/* The scanner: what it says must not depend on where the input is cut, and a string that it gave
 * must come back from the emitter and the scanner unchanged. The first byte chooses the mode, the
 * depth and the seed of the cuts. */
#include "base/utf8.h"
#include "fuzz.h"
#include "json/emit.h"
#include "json/scan.h"

#include <stdlib.h>
#include <string.h>

static void put(struct tr_buf *out, const void *p, size_t n)
{
    FUZZ_CHECK(tr_buf_append(out, tr_span(p, n)) == TR_OK);
}

static void put_token(struct tr_buf *out, const struct tr_json_scan *s, enum tr_json_tok tok)
{
    put(out, &tok, sizeof tok);
    if (tok == TR_JSON_ERROR) {
        put(out, &s->st.err, sizeof s->st.err);
        put(out, &s->st.line, sizeof s->st.line);
        put(out, &s->st.column, sizeof s->st.column);
        put(out, &s->st.offset, sizeof s->st.offset);
    }
    if (tok <= TR_JSON_END)
        return;
    put(out, &s->tok_line, sizeof s->tok_line);
    put(out, &s->tok_column, sizeof s->tok_column);
    put(out, &s->tok_offset, sizeof s->tok_offset);
    put(out, &s->depth, sizeof s->depth);
    if (tok == TR_JSON_KEY || tok == TR_JSON_STRING || tok == TR_JSON_NUMBER)
        put(out, s->text.ptr, s->text.len);
}

static void check_string(struct tr_span text)
{
    struct tr_buf out, spill;
    struct tr_json_scan s;
    uint64_t bad = 0;
    tr_buf_init(&out);
    tr_buf_init(&spill);
    FUZZ_CHECK(tr_utf8_valid(text));
    FUZZ_CHECK(tr_emit_string(&out, text, &bad) == TR_OK && bad == 0);
    tr_json_scan_init(&s, TR_JSON_SINGLE, 1, &spill, SIZE_MAX / 2);
    tr_json_scan_feed(&s, tr_buf_span(&out), true);
    FUZZ_CHECK(tr_json_scan_next(&s) == TR_JSON_STRING);
    FUZZ_CHECK(tr_span_eq(s.text, text));
    FUZZ_CHECK(tr_json_scan_next(&s) == TR_JSON_END);
    tr_buf_fini(&out);
    tr_buf_fini(&spill);
}

static void scan(struct tr_buf *out, struct tr_span text, uint8_t how, bool cuts)
{
    struct tr_buf spill;
    struct tr_json_scan s;
    uint32_t rand = how;
    tr_buf_init(&spill);
    tr_json_scan_init(&s, how & 1 ? TR_JSON_MULTI : TR_JSON_SINGLE, 1u << (how >> 1 & 7), &spill,
                      SIZE_MAX / 2);
    enum tr_json_tok tok;
    do {
        rand = rand * 1103515245u + 12345;
        size_t n = cuts ? (rand >> 16) % 8 : text.len;
        n = n < text.len ? n : text.len;
        char *chunk = malloc(n ? n : 1);
        FUZZ_CHECK(chunk);
        if (n)
            memcpy(chunk, text.ptr, n);
        text = tr_span_from(text, n);
        tr_json_scan_feed(&s, tr_span(chunk, n), text.len == 0);
        while ((tok = tr_json_scan_next(&s)) > TR_JSON_END) {
            put_token(out, &s, tok);
            if (tok == TR_JSON_STRING && !cuts)
                check_string(s.text);
        }
        free(chunk);
    } while (tok == TR_JSON_MORE);
    put_token(out, &s, tok);
    tr_buf_fini(&spill);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct tr_buf whole, cut;
    tr_buf_init(&whole);
    tr_buf_init(&cut);
    struct tr_span text = tr_span((const char *)data + 1, size - 1);
    scan(&whole, text, data[0], false);
    scan(&cut, text, data[0], true);
    FUZZ_CHECK(tr_span_eq(tr_buf_span(&whole), tr_buf_span(&cut)));
    tr_buf_fini(&whole);
    tr_buf_fini(&cut);
    return 0;
}
