/* Any bytes as a message of some type: the check agrees with itself, and what it lets pass is never
 * malformed to the reader that prints JSON. The first byte chooses the type. */
#include "../unit/transcode/pool.h"
#include "fuzz.h"
#include "transcode/pb2json.h"
#include "transcode/wirecheck.h"

static struct tr_typepool *pool;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* none of them reaches an Any, whose bytes only the printer looks into */
    static const struct tr_span names[] = {TR_SPAN_INIT("j2p2.Old"),
                                           TR_SPAN_INIT("google.protobuf.Struct"),
                                           TR_SPAN_INIT("google.protobuf.FieldMask")};
    struct tr_arena arena;
    struct tr_buf json;
    struct tr_status st;
    if (!pool)
        pool = pool_load(TR_TEST_SET);
    if (size == 0)
        return 0;
    const struct tr_msgtype *type = tr_typepool_message(pool, names[data[0] % 3]);
    struct tr_span wire = tr_span((const char *)data + 1, size - 1);
    tr_status_clear(&st);
    enum tr_err err = tr_wire_check(type, wire, &st);
    FUZZ_CHECK(tr_wire_check(type, wire, NULL) == err);
    FUZZ_CHECK(st.err == err);
    tr_arena_init(&arena, NULL);
    tr_buf_init(&json);
    const struct tr_pb2json_opts opts = {.pool = pool};
    enum tr_err printed = tr_pb2json(type, wire, &opts, &json, &arena, &st);
    /* not the other way: the printer passes over what a later member of a oneof replaces */
    FUZZ_CHECK(err || printed != TR_ERR_PROTO_MALFORMED);
    tr_buf_fini(&json);
    tr_arena_fini(&arena);
    return 0;
}
