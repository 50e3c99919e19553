#include "transcode/wirecheck.h"

#include "pool.h"
#include "test.h"
#include "wire_text.h"

static struct tr_typepool *pool;

/* Checks the wire text; the path of the field that is told goes to `field`. */
static enum tr_err check(const char *type, const char *text, char *field)
{
    struct tr_buf wire;
    struct tr_status st;
    tr_status_clear(&st);
    tr_buf_init(&wire);
    wire_text(&wire, tr_span_cstr(text));
    /* an exact block, so that a sanitizer sees a read behind the end */
    char *copy = wire.len ? malloc(wire.len) : NULL;
    if (copy)
        memcpy(copy, wire.ptr, wire.len);
    const struct tr_msgtype *t = tr_typepool_message(pool, tr_span_cstr(type));
    assert_non_null(t);
    enum tr_err err = tr_wire_check(t, tr_span(copy, wire.len), &st);
    assert_int_equal(tr_wire_check(t, tr_span(copy, wire.len), NULL), err);
    (void)snprintf(field, 128, "%.*s", (int)st.field_len, st.field);
    free(copy);
    tr_buf_fini(&wire);
    return err;
}

struct row {
    const char *text;
    enum tr_err want;
    const char *field;
};

static void run(const char *type, const struct row *rows, size_t count)
{
    char field[128];
    for (size_t i = 0; i < count; i++) {
        enum tr_err err = check(type, rows[i].text, field);
        if (err != rows[i].want || strcmp(field, rows[i].field) != 0)
            print_error("row %zu: %s: \"%s\"\n", i, rows[i].text, field);
        assert_int_equal(err, rows[i].want);
        assert_string_equal(field, rows[i].field);
    }
}
#define RUN(type, rows) run(type, rows, sizeof rows / sizeof rows[0])

static void messages_are_looked_into_at_every_depth(void **state)
{
    static const struct row rows[] = {
        {"", TR_OK, ""},
        {"08", TR_ERR_PROTO_MALFORMED, ""},
        {"00 01", TR_ERR_PROTO_MALFORMED, ""},
        {"FF", TR_ERR_PROTO_MALFORMED, ""},
        {"FA 7F { \"abc\" }", TR_OK, ""},                 /* unknown field 2047 */
        {"FA 7F 05 \"abc\"", TR_ERR_PROTO_MALFORMED, ""}, /* its length is too long */
        {"0F", TR_ERR_PROTO_MALFORMED, ""},
        {"0C", TR_ERR_PROTO_MALFORMED, ""}, /* the end of a group that did not begin */
        {"FB 7F 08 01 FC 7F", TR_OK, ""},
        {"FB 7F 08 01", TR_ERR_PROTO_MALFORMED, ""},
    };
    char field[128];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(check("google.protobuf.Struct", rows[i].text, field), rows[i].want);
    /* Struct {1: map of Value}, Value {3: string, 5: Struct, 6: ListValue {1: Value}} */
    static const struct row nested[] = {
        {"0A { 0A { \"k\" } 12 { 1A { \"v\" } } }", TR_OK, ""},
        {"0A { 0A { \"k\" } 12 { 1A { FF } } }", TR_ERR_PROTO_UTF8, "fields.value.string_value"},
        {"0A { 0A { FF } }", TR_ERR_PROTO_UTF8, "fields.key"},
        {"0A { 12 { 32 { 0A { 1A 05 \"v\" } } } }", TR_ERR_PROTO_MALFORMED,
         "fields.value.list_value.values.string_value"},
        {"0A { 12 { 08 } }", TR_ERR_PROTO_MALFORMED, "fields.value.null_value"},
        {"0A { 12 { 11 00 00 } }", TR_ERR_PROTO_MALFORMED, "fields.value.number_value"},
        {"0A { 12 { 18 01 } }", TR_OK, ""}, /* a string as a varint: unknown */
    };
    RUN("google.protobuf.Struct", nested);
}

static void groups_extensions_and_packed_numbers(void **state)
{
    static const struct row rows[] = {
        {"13 1A { \"t\" } 23 28 01 24 14", TR_OK, ""},
        {"13 1A { FF } 14", TR_OK, ""}, /* proto2 does not look into its strings */
        {"13 1A 05 \"t\" 14", TR_ERR_PROTO_MALFORMED, "data.text"},
        {"13 1A { \"t\" }", TR_ERR_PROTO_MALFORMED, "data"},
        {"13 23 28 01 14 24", TR_ERR_PROTO_MALFORMED, "data.inner"},
        {"14", TR_ERR_PROTO_MALFORMED, ""},
        {"12 { FF }", TR_OK, ""}, /* the group as a length: unknown */
        {"52 { 01 96 01 }", TR_OK, ""},
        {"52 { 01 96 }", TR_ERR_PROTO_MALFORMED, "numbers"},
        {"50 01 50 02", TR_OK, ""},
        {"B2 06 { 08 }", TR_ERR_PROTO_MALFORMED, "[j2p2.ext_old].id"},
    };
    (void)state;
    RUN("j2p2.Old", rows);
}

static void depth_is_bounded(void **state)
{
    struct tr_buf wire;
    struct tr_status st;
    (void)state;
    for (unsigned depth = 99; depth <= 101; depth++) {
        tr_buf_init(&wire);
        /* Value {6: ListValue {1: Value ...}}, from the inside */
        for (unsigned i = 0; i < depth; i++) {
            size_t len = wire.len;
            wire_push(&wire, 0);
            if (len)
                memmove(wire.ptr + 1, wire.ptr, len);
            wire.ptr[0] = (char)((depth - i) % 2 ? 0x32 : 0x0A);
            char head[TR_VARINT_MAX];
            size_t n = tr_wire_put_varint(head, len);
            TR_ASSERT(!tr_buf_reserve(&wire, n));
            memmove(wire.ptr + 1 + n, wire.ptr + 1, len);
            memcpy(wire.ptr + 1, head, n);
            wire.len += n;
        }
        tr_status_clear(&st);
        assert_int_equal(tr_wire_check(tr_typepool_message(pool, TR_SPAN("google.protobuf.Value")),
                                       tr_buf_span(&wire), &st),
                         depth > 100 ? TR_ERR_PROTO_DEPTH : TR_OK);
        tr_buf_fini(&wire);
    }
}

int main(void)
{
    pool = pool_load(TR_TEST_SET);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_looked_into_at_every_depth),
        cmocka_unit_test(groups_extensions_and_packed_numbers),
        cmocka_unit_test(depth_is_bounded),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tr_typepool_free(pool);
    return failed;
}
