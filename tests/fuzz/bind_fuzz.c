/* Path values and query strings. The first byte: with its high bit a query and its options, else
 * the field that the rest is bound to. What comes out is well-formed wire, what is refused leaves
 * nothing behind and says why. */
#include "../unit/transcode/json2pb_util.h"
#include "fuzz.h"
#include "transcode/query.h"

static void check(const struct tr_msgtype *type, enum tr_err err, const struct tr_status *st,
                  struct tr_span wire)
{
    struct tr_buf text;
    if (err) {
        FUZZ_CHECK(st->err == err && st->text_len > 0 && wire.len == 4);
        return;
    }
    tr_buf_init(&text);
    j2p_text(&text, type, tr_span_from(wire, 4));
    FUZZ_CHECK(!tr_span_ends(tr_buf_span(&text), TR_SPAN("!\n")));
    tr_buf_fini(&text);
}

static void path(const struct tr_msgtype *type, uint8_t choice, struct tr_span value,
                 struct tr_arena *arena, struct tr_buf *out)
{
    struct tr_status st;
    const struct tr_bind_field *b;
    const struct tr_field *f = &type->fields[choice % type->field_count];
    if (tr_bind_path_compile(type, f->names->proto, arena, &b, &st))
        return;
    enum tr_err err = tr_bind_value(b, value, out, &st);
    FUZZ_CHECK(!err || err == TR_ERR_PATH_VALUE);
    check(type, err, &st, tr_buf_span(out));
}

static void query(uint8_t choice, struct tr_span raw, struct tr_arena *arena, struct tr_buf *out)
{
    static const struct tr_span ignored[] = {TR_SPAN_INIT("utm")};
    struct tr_status st;
    struct tr_query_result res;
    const struct tr_msgtype *type = j2p_type("j2p.Request");
    struct tr_query_opts opts = {.ignore_unknown = choice & 1,
                                 .ignored = ignored,
                                 .ignored_count = choice & 2 ? 1 : 0,
                                 .body_star = choice & 4 && choice & 8,
                                 .body_field = choice & 8 ? &type->fields[1] : NULL,
                                 .mask_field = &type->fields[2]};
    enum tr_err err = tr_query_bind(type, raw, &opts, arena, out, &res, &st);
    check(type, err, &st, tr_buf_span(out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tr_arena arena;
    struct tr_buf out;
    if (size < 1 || size > 20000)
        return 0;
    char *copy = malloc(size);
    FUZZ_CHECK(copy);
    memcpy(copy, data + 1, size - 1);
    tr_arena_init(&arena, NULL);
    tr_buf_init(&out);
    FUZZ_CHECK(!tr_buf_append(&out, TR_SPAN("head")));
    if (data[0] & 0x80)
        query(data[0] & 0x7f, tr_span(copy, size - 1), &arena, &out);
    else
        path(j2p_type("j2p.All"), data[0], tr_span(copy, size - 1), &arena, &out);
    FUZZ_CHECK(memcmp(out.ptr, "head", 4) == 0);
    tr_buf_fini(&out);
    tr_arena_fini(&arena);
    free(copy);
    return 0;
}
