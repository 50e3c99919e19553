/* The program that protobuf's conformance_test_runner drives: requests on stdin, responses on
 * stdout, each after its length (4 bytes, little endian). It holds no transcoder of its own: it
 * links json2pb and pb2json.
 *
 * Usage: protobuf_json_testee SET, a descriptor set of the runner's test messages. */
#include "base/arena.h"
#include "base/buf.h"
#include "proto/typepool.h"
#include "proto/wire.h"
#include "transcode/json2pb.h"
#include "transcode/pb2json.h"

#include <stdio.h>
#include <stdlib.h>

/* conformance.proto */
enum { FORMAT_PROTOBUF = 1, FORMAT_JSON = 2 };
enum { CATEGORY_IGNORE_UNKNOWN = 3 };
enum {
    REQUEST_PROTOBUF = 1,
    REQUEST_JSON = 2,
    REQUEST_OUTPUT = 3,
    REQUEST_TYPE = 4,
    REQUEST_CATEGORY = 5
};
enum {
    RESULT_PARSE_ERROR = 1,
    RESULT_RUNTIME_ERROR = 2,
    RESULT_PROTOBUF = 3,
    RESULT_JSON = 4,
    RESULT_SKIPPED = 5,
    RESULT_SERIALIZE_ERROR = 6,
};

struct request {
    uint32_t input; /* REQUEST_PROTOBUF, REQUEST_JSON, another member of the oneof, 0 */
    struct tr_span payload, type;
    uint64_t output, category;
};

struct testee {
    struct tr_typepool *pool;
    struct tr_arena arena;
    struct tr_buf in, wire, json, out;
};

static void die(const char *what)
{
    (void)fprintf(stderr, "testee: %s\n", what);
    exit(1);
}

static void check(enum tr_err err)
{
    if (err)
        die(tr_err_info(err)->name);
}

static bool read_request(struct tr_span wire, struct request *ret)
{
    const char *p = wire.ptr, *end = wire.ptr + wire.len;
    *ret = (struct request){0};
    while (p < end) {
        uint32_t number, type;
        if (!tr_wire_tag(&p, end, &number, &type))
            return false;
        bool ok;
        if (type == TR_WIRE_LEN && (number <= REQUEST_JSON || number == 7 || number == 8)) {
            ret->input = number;
            ok = tr_wire_len(&p, end, &ret->payload);
        } else if (type == TR_WIRE_LEN && number == REQUEST_TYPE) {
            ok = tr_wire_len(&p, end, &ret->type);
        } else if (type == TR_WIRE_VARINT && number == REQUEST_OUTPUT) {
            ok = tr_wire_varint(&p, end, &ret->output);
        } else if (type == TR_WIRE_VARINT && number == REQUEST_CATEGORY) {
            ok = tr_wire_varint(&p, end, &ret->category);
        } else {
            ok = tr_wire_skip(&p, end, number, type);
        }
        if (!ok)
            return false;
    }
    return true;
}

static void respond(struct testee *t, uint32_t result, struct tr_span value)
{
    tr_buf_clear(&t->out);
    check(tr_buf_reserve(&t->out, 2 * TR_VARINT_MAX));
    t->out.len += tr_wire_put_varint(tr_buf_end(&t->out), result << 3 | TR_WIRE_LEN);
    t->out.len += tr_wire_put_varint(tr_buf_end(&t->out), value.len);
    check(tr_buf_append(&t->out, value));
}

static void respond_error(struct testee *t, uint32_t result, enum tr_err err,
                          const struct tr_status *st)
{
    if (err == TR_ERR_NOMEM || err == TR_ERR_INTERNAL || err == TR_ERR_AGAIN)
        result = RESULT_RUNTIME_ERROR;
    char text[512];
    int n = snprintf(text, sizeof text, "%s: %.*s", tr_err_info(err)->name, (int)st->text_len,
                     st->text);
    respond(t, result, tr_span(text, n > 0 ? (size_t)n : 0));
}

static void answer(struct testee *t, const struct request *r)
{
    struct tr_status st = {0};
    bool to_json = r->output == FORMAT_JSON;
    if (tr_span_eq(r->type, TR_SPAN("conformance.FailureSet"))) {
        respond(t, RESULT_PROTOBUF, tr_span("", 0));
        return;
    }
    if ((r->input != REQUEST_PROTOBUF && r->input != REQUEST_JSON) ||
        (!to_json && r->output != FORMAT_PROTOBUF) || (r->input == REQUEST_PROTOBUF && !to_json)) {
        respond(t, RESULT_SKIPPED, TR_SPAN("no JSON in it"));
        return;
    }
    const struct tr_msgtype *type = tr_typepool_find(t->pool, r->type);
    if (!type) {
        respond(t, RESULT_RUNTIME_ERROR, TR_SPAN("no such type"));
        return;
    }
    struct tr_span wire = r->payload;
    if (r->input == REQUEST_JSON) {
        const struct tr_json2pb_opts opts = {
            .pool = t->pool,
            .ignore_unknown = r->category == CATEGORY_IGNORE_UNKNOWN,
        };
        tr_buf_clear(&t->wire);
        enum tr_err err = tr_json2pb(type, &opts, r->payload, &t->wire, &t->arena, &st);
        if (err) {
            respond_error(t, RESULT_PARSE_ERROR, err, &st);
            return;
        }
        wire = tr_buf_span(&t->wire);
    }
    if (!to_json) {
        respond(t, RESULT_PROTOBUF, wire);
        return;
    }
    const struct tr_pb2json_opts opts = {.pool = t->pool};
    tr_buf_clear(&t->json);
    enum tr_err err = tr_pb2json(type, wire, &opts, &t->json, &t->arena, &st);
    if (err)
        respond_error(t,
                      err == TR_ERR_PROTO_UNPRINTABLE ? RESULT_SERIALIZE_ERROR : RESULT_PARSE_ERROR,
                      err, &st);
    else
        respond(t, RESULT_JSON, tr_buf_span(&t->json));
}

/* False: end of input. */
static bool read_exact(char *to, size_t n)
{
    size_t got = fread(to, 1, n, stdin);
    if (got != n && (got || !feof(stdin)))
        die("the runner's request is cut");
    return got == n;
}

/* One test file is of the edition UNSTABLE (9999), which the gateway refuses: protoc compiles it
 * only when told that it is an experiment. What JSON depends on is in it as in 2024 (1001), whose
 * varint is as long, so it is relabelled in place. */
static void relabel_unstable(struct tr_buf *set)
{
    enum { SET_FILE = 1, FILE_EDITION = 14 };
    const char *p = set->ptr, *end = set->ptr + set->len;
    uint32_t number, type;
    struct tr_span file;
    while (p < end && tr_wire_tag(&p, end, &number, &type) && number == SET_FILE &&
           type == TR_WIRE_LEN && tr_wire_len(&p, end, &file)) {
        const char *q = file.ptr, *file_end = file.ptr + file.len;
        while (q < file_end && tr_wire_tag(&q, file_end, &number, &type)) {
            const char *value = q;
            uint64_t edition;
            if (number != FILE_EDITION || type != TR_WIRE_VARINT) {
                if (!tr_wire_skip(&q, file_end, number, type))
                    break;
            } else if (!tr_wire_varint(&q, file_end, &edition)) {
                break;
            } else if (edition == 9999) {
                (void)tr_wire_put_varint(set->ptr + (value - set->ptr), 1001);
            }
        }
    }
}

static void load(struct testee *t, const char *path)
{
    struct tr_status st = {0};
    FILE *f = fopen(path, "rb");
    if (!f)
        die("cannot open the descriptor set");
    char part[65536];
    size_t n;
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        check(tr_buf_append(&t->in, tr_span(part, n)));
    (void)fclose(f);
    relabel_unstable(&t->in);
    check(tr_typepool_new(&t->pool));
    enum tr_err err = tr_typepool_add(t->pool, tr_buf_span(&t->in), &st);
    if (!err)
        err = tr_typepool_link(t->pool, NULL, NULL, &st);
    if (!err)
        err = tr_typepool_freeze(t->pool, true, &st);
    if (err) {
        (void)fprintf(stderr, "%.*s\n", (int)st.text_len, st.text);
        die("cannot load the descriptor set");
    }
}

int main(int argc, char **argv)
{
    struct testee t = {0};
    if (argc != 2)
        die("usage: protobuf_json_testee SET");
    tr_arena_init(&t.arena, NULL);
    load(&t, argv[1]);
    char head[4];
    while (read_exact(head, sizeof head)) {
        size_t len = (size_t)(uint8_t)head[0] | (size_t)(uint8_t)head[1] << 8 |
                     (size_t)(uint8_t)head[2] << 16 | (size_t)(uint8_t)head[3] << 24;
        tr_buf_clear(&t.in);
        check(tr_buf_reserve(&t.in, len));
        if (len && !read_exact(t.in.ptr, len))
            die("the runner's request is cut");
        t.in.len = len;
        struct request r;
        if (read_request(tr_buf_span(&t.in), &r))
            answer(&t, &r);
        else
            respond(&t, RESULT_RUNTIME_ERROR, TR_SPAN("the request cannot be read"));
        tr_arena_reset(&t.arena);
        for (size_t i = 0; i < sizeof head; i++)
            head[i] = (char)(t.out.len >> 8 * i);
        if (fwrite(head, 1, sizeof head, stdout) != sizeof head ||
            fwrite(t.out.ptr, 1, t.out.len, stdout) != t.out.len || fflush(stdout))
            die("the runner is gone");
    }
    tr_typepool_free(t.pool);
    tr_arena_fini(&t.arena);
    tr_buf_fini(&t.in);
    tr_buf_fini(&t.wire);
    tr_buf_fini(&t.json);
    tr_buf_fini(&t.out);
    return 0;
}
