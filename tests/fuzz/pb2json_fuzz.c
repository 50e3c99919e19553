/* Wire bytes to JSON: what is printed must be read back by json2pb, and printed again must be the
 * same. The first two bytes choose options and type; with one option the next bytes, up to a NUL,
 * are a $fields text. */
#include "../unit/transcode/pool.h"
#include "fuzz.h"
#include "json/scan.h"
#include "transcode/fields.h"
#include "transcode/json2pb.h"
#include "transcode/pb2json.h"

static struct tr_typepool *pool;

enum {
    EMIT_DEFAULTS = 1,
    PROTO_NAMES = 2,
    ENUMS_AS_NUMBERS = 4,
    PRETTY = 8,
    UNKNOWN_ANY = 16,
    FIELDS = 32,
    ONE_FIELD = 64,
};

static bool is_json(struct tr_span text)
{
    struct tr_buf spill;
    struct tr_json_scan s;
    enum tr_json_tok tok;
    tr_buf_init(&spill);
    tr_json_scan_init(&s, TR_JSON_SINGLE, 1000, &spill, SIZE_MAX / 2);
    tr_json_scan_feed(&s, text, true);
    while ((tok = tr_json_scan_next(&s)) > TR_JSON_END)
        ;
    tr_buf_fini(&spill);
    return tok == TR_JSON_END;
}

static void check_again(const struct tr_msgtype *type, struct tr_span json,
                        const struct tr_pb2json_opts *opts, struct tr_arena *arena)
{
    struct tr_buf wire, again;
    struct tr_status st = {0};
    tr_buf_init(&wire);
    tr_buf_init(&again);
    const struct tr_json2pb_opts read = {.pool = pool};
    enum tr_err err = tr_json2pb(type, &read, json, &wire, arena, &st);
    /* lists count as nesting in JSON and not on the wire; a comma in a FieldMask path divides it */
    FUZZ_CHECK(!err || err == TR_ERR_JSON_DEPTH || err == TR_ERR_JSON_WKT);
    if (!err) {
        err = tr_pb2json(type, tr_buf_span(&wire), opts, &again, arena, &st);
        FUZZ_CHECK(!err);
        FUZZ_CHECK(tr_span_eq(tr_buf_span(&again), json));
    }
    tr_buf_fini(&wire);
    tr_buf_fini(&again);
}

/* A selection of everything takes the long way, record by record: it must print the same as the
 * loop for the common case. */
static void check_long_way(const struct tr_msgtype *type, struct tr_span in, struct tr_span json,
                           const struct tr_pb2json_opts *opts, struct tr_arena *arena)
{
    struct tr_buf text, again;
    struct tr_status st = {0};
    struct tr_pb2json_opts all = *opts;
    tr_buf_init(&text);
    tr_buf_init(&again);
    FUZZ_CHECK(!tr_buf_append(&text, TR_SPAN("*,")));
    FUZZ_CHECK(!tr_buf_append(&text, type->fields[0].names->proto));
    FUZZ_CHECK(!tr_field_tree_compile(arena, type, NULL, tr_buf_span(&text), &all.fields, &st));
    FUZZ_CHECK(all.fields);
    FUZZ_CHECK(!tr_pb2json(type, in, &all, &again, arena, &st));
    FUZZ_CHECK(tr_span_eq(tr_buf_span(&again), json));
    tr_buf_fini(&text);
    tr_buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!pool)
        pool = pool_load(TR_TEST_SET);
    if (size < 2)
        return 0;
    uint8_t how = data[0];
    const struct tr_msgtype *type =
        tr_typepool_find(pool, data[1] & 1 ? TR_SPAN("shapes.old.Old") : TR_SPAN("shapes.All"));
    uint64_t bad_utf8 = 0;
    struct tr_pb2json_opts opts = {
        .pool = pool,
        .emit_defaults = how & EMIT_DEFAULTS,
        .proto_names = how & PROTO_NAMES,
        .enums_as_numbers = how & ENUMS_AS_NUMBERS,
        .pretty = how & PRETTY,
        .unknown_any_as_base64 = how & UNKNOWN_ANY,
        .bad_utf8 = &bad_utf8,
        .max_bytes = 1 << 20,
    };
    struct tr_arena arena;
    struct tr_status st = {0};
    struct tr_buf out;
    tr_buf_init(&out);
    tr_arena_init(&arena, NULL);
    struct tr_span in = tr_span((const char *)data + 2, size - 2);
    const struct tr_field *field = NULL;
    if (how & ONE_FIELD)
        field = &type->fields[(data[1] >> 1) % type->field_count];
    if (how & FIELDS) {
        struct tr_span text = tr_span_cut(&in, '\0');
        if (tr_field_tree_compile(&arena, type, field, text, &opts.fields, &st))
            opts.fields = NULL;
        if (!in.ptr)
            in = tr_span("", 0);
    }
    /* a block of exactly its size, so that a read beyond is found */
    struct tr_span exact = tr_arena_copy(&arena, in);
    enum tr_err err = field ? tr_pb2json_field(type, field, exact, &opts, &out, &arena, &st)
                            : tr_pb2json(type, exact, &opts, &out, &arena, &st);
    if (err) {
        FUZZ_CHECK(out.len == 0);
    } else {
        FUZZ_CHECK(is_json(tr_buf_span(&out)));
        if (!field && !opts.fields)
            check_long_way(type, exact, tr_buf_span(&out), &opts, &arena);
        if (!bad_utf8 && !field && !opts.fields && !opts.emit_defaults &&
            !opts.unknown_any_as_base64)
            check_again(type, tr_buf_span(&out), &opts, &arena);
    }
    tr_buf_fini(&out);
    tr_arena_fini(&arena);
    return 0;
}
