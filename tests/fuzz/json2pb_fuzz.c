/* The JSON reader: the first byte chooses type and options, the second the cuts, the rest is JSON.
 * What comes out does not depend on the cuts, is well-formed wire of the type, and never touches
 * what stands before it. */
#include "../unit/transcode/json2pb_util.h"
#include "fuzz.h"
#include "transcode/json2pb.h"
#include "transcode/pb2json.h"

struct run {
    enum tr_err err;
    struct tr_status st;
    struct tr_buf out;
    size_t paths;
};

static void on_path(void *ctx, struct tr_span path)
{
    FUZZ_CHECK(path.len > 0);
    *(size_t *)ctx += path.len;
}

static const struct tr_msgtype *type_of(uint8_t choice)
{
    static const char *const names[] = {"j2p.All",
                                        "j2p.Book",
                                        "j2p2.Old",
                                        "j2p2.Wide",
                                        "j2p.Request",
                                        "j2p.Shop",
                                        "google.protobuf.Any",
                                        "google.protobuf.Value"};
    return j2p_type(names[choice % 8]);
}

static void run(struct run *r, uint8_t choice, size_t step, struct tr_span json)
{
    struct tr_arena arena;
    struct tr_buf spill;
    struct tr_json_scan scan;
    size_t at = 0;
    char *chunk = NULL;
    memset(r, 0, sizeof *r);
    struct tr_json2pb_opts opts = {.pool = j2p_pool(),
                                   .ignore_unknown = choice & 8,
                                   .on_path = choice & 16 ? on_path : NULL,
                                   .on_path_ctx = &r->paths,
                                   .max_bytes = choice & 32 ? 500 : 0};
    const struct tr_msgtype *type = type_of(choice);
    const struct tr_field *field =
        choice & 64 && type->field_count ? &type->fields[json.len % type->field_count] : NULL;
    tr_arena_init(&arena, NULL);
    tr_buf_init(&spill);
    FUZZ_CHECK(!tr_buf_append(&r->out, TR_SPAN("head")));
    tr_json_scan_init(&scan, TR_JSON_SINGLE, 100, &spill, SIZE_MAX);
    struct tr_json2pb *j = tr_json2pb_new(&arena, type, field, &opts, &r->out);
    FUZZ_CHECK(j);
    do {
        size_t n = json.len - at < step ? json.len - at : step;
        free(chunk);
        chunk = malloc(n ? n : 1);
        FUZZ_CHECK(chunk);
        if (n)
            memcpy(chunk, json.ptr + at, n);
        at += n;
        tr_json_scan_feed(&scan, tr_span(chunk, n), at == json.len);
        r->err = tr_json2pb_run(j, &scan, &r->st);
    } while (r->err == TR_ERR_AGAIN);
    if (!r->err && opts.max_bytes)
        FUZZ_CHECK(r->out.len <= 4 + opts.max_bytes);
    FUZZ_CHECK(memcmp(r->out.ptr, "head", 4) == 0);
    free(chunk);
    tr_buf_fini(&spill);
    tr_arena_fini(&arena);
}

static enum tr_err print(const struct tr_msgtype *type, struct tr_span wire, struct tr_buf *out)
{
    struct tr_arena arena;
    struct tr_status st;
    struct tr_pb2json_opts opts = {.pool = j2p_pool()};
    tr_arena_init(&arena, NULL);
    enum tr_err err = tr_pb2json(type, wire, &opts, out, &arena, &st);
    tr_arena_fini(&arena);
    return err;
}

/* What was read can be printed, and reading that gives what prints the same. */
static void round_trip(const struct tr_msgtype *type, struct tr_span wire)
{
    struct tr_buf json, again, json_again;
    struct tr_arena arena;
    struct tr_status st;
    struct tr_json2pb_opts opts = {.pool = j2p_pool()};
    tr_buf_init(&json);
    tr_buf_init(&again);
    tr_buf_init(&json_again);
    tr_arena_init(&arena, NULL);
    enum tr_err err = print(type, wire, &json);
    if (err != TR_ERR_PROTO_DEPTH) { /* a Value takes two levels of messages for one of JSON */
        FUZZ_CHECK(!err);
        FUZZ_CHECK(!tr_json2pb(type, &opts, tr_buf_span(&json), &again, &arena, &st));
        FUZZ_CHECK(!print(type, tr_buf_span(&again), &json_again));
        FUZZ_CHECK(tr_span_eq(tr_buf_span(&json), tr_buf_span(&json_again)));
    }
    tr_arena_fini(&arena);
    tr_buf_fini(&json);
    tr_buf_fini(&again);
    tr_buf_fini(&json_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run whole, cut;
    if (size < 2 || size > 20000)
        return 0;
    struct tr_span json = tr_span((const char *)data + 2, size - 2);
    run(&whole, data[0], SIZE_MAX, json);
    run(&cut, data[0], 1 + data[1] % 16, json);
    FUZZ_CHECK(whole.err == cut.err);
    FUZZ_CHECK(whole.paths == cut.paths);
    if (whole.err) {
        FUZZ_CHECK(whole.err == whole.st.err && whole.st.line == cut.st.line &&
                   whole.st.column == cut.st.column);
        FUZZ_CHECK(tr_span_eq(tr_status_text(&whole.st), tr_status_text(&cut.st)));
        FUZZ_CHECK(tr_span_eq(tr_span(whole.st.field, whole.st.field_len),
                              tr_span(cut.st.field, cut.st.field_len)));
    } else {
        struct tr_buf text;
        FUZZ_CHECK(tr_span_eq(tr_buf_span(&whole.out), tr_buf_span(&cut.out)));
        tr_buf_init(&text);
        j2p_text(&text, type_of(data[0]), tr_span_from(tr_buf_span(&whole.out), 4));
        FUZZ_CHECK(!tr_span_ends(tr_buf_span(&text), TR_SPAN("!\n")));
        tr_buf_fini(&text);
        if (!(data[0] & 64))
            round_trip(type_of(data[0]), tr_span_from(tr_buf_span(&whole.out), 4));
    }
    tr_buf_fini(&whole.out);
    tr_buf_fini(&cut.out);
    return 0;
}
