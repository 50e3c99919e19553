/* The pool on the project's own sets: what protoc gives, look-ups, features, defaults, well-known
 * types. */
#include "bookstore_pb.h"
#include "editions_pb.h"
#include "everything_pb.h"
#include "fds.h"
#include "test.h"

#include <stdio.h>

static struct tr_span set_of(const unsigned char *bytes, size_t len)
{
    return tr_span((const char *)bytes, len);
}

static int setup(void **state)
{
    const struct tr_span sets[] = {
        set_of(tr_bookstore_pb, tr_bookstore_pb_bytes),
        set_of(tr_everything_pb, tr_everything_pb_bytes),
        set_of(tr_editions_pb, tr_editions_pb_bytes),
    };
    struct fds_report report;
    struct tr_typepool *pool = fds_pool(sets, 3, &report);
    if (!pool) {
        print_error("%s", report.text);
        return -1;
    }
    struct tr_status st;
    if (tr_typepool_freeze(pool, true, &st) != TR_OK)
        return -1;
    *state = pool;
    return 0;
}

static int teardown(void **state)
{
    tr_typepool_free(*state);
    return 0;
}

static const struct tr_msgtype *message(struct tr_typepool *pool, const char *name)
{
    const struct tr_msgtype *m = tr_typepool_message(pool, tr_span_cstr(name));
    if (!m)
        fail_msg("no message %s", name);
    return m;
}

static const struct tr_field *field(const struct tr_msgtype *m, const char *name)
{
    const struct tr_field *f = tr_msgtype_field_by_name(m, tr_span_cstr(name));
    if (!f)
        fail_msg("no field %s", name);
    return f;
}

static void every_field_is_found_by_number_and_both_names(void **state)
{
    static const char *const names[] = {
        "test.v1.Everything", "bookstore.v1.Book", "test.legacy.Legacy",
        "google.protobuf.FieldDescriptorProto", "test.editions.Defaults"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        const struct tr_msgtype *m = message(*state, names[k]);
        assert_true(m->field_count > 0);
        for (uint32_t i = 0; i < m->field_count; i++) {
            const struct tr_field *f = &m->fields[i];
            assert_int_equal(f->index, i);
            assert_true(i == 0 || f[-1].number < f->number);
            assert_ptr_equal(tr_msgtype_field(m, f->number), f);
            assert_ptr_equal(tr_msgtype_field_by_name(m, f->names->json), f);
            assert_ptr_equal(tr_msgtype_field_by_name(m, f->names->proto), f);
        }
    }
}

static void unknown_numbers_and_names_are_not_found(void **state)
{
    const struct tr_msgtype *m = message(*state, "test.v1.Everything");
    assert_null(tr_msgtype_field(m, 0));
    assert_null(tr_msgtype_field(m, 38));
    assert_null(tr_msgtype_field(m, 536870910));
    assert_null(tr_msgtype_field_by_name(m, TR_SPAN("nothing")));
    assert_null(tr_msgtype_field_by_name(m, TR_SPAN("")));
    assert_null(tr_msgtype_field_by_name(m, TR_SPAN("[test.legacy.ext_int32]")));
    const struct tr_msgtype *empty = message(*state, "google.protobuf.Empty");
    assert_null(tr_msgtype_field(empty, 1));
    assert_null(tr_msgtype_field_by_name(empty, TR_SPAN("x")));
    assert_null(tr_typepool_message(*state, TR_SPAN("test.v1")));
    assert_null(tr_typepool_message(*state, TR_SPAN(".test.v1.Everything")));
    assert_null(tr_typepool_message(*state, TR_SPAN("test.v1.Color")));
    assert_null(tr_typepool_enum(*state, TR_SPAN("test.v1.Everything")));
}

static void json_names_follow_protoc(void **state)
{
    const struct tr_msgtype *m = message(*state, "test.v1.Everything");
    static const struct {
        const char *proto, *json, *key;
    } cases[] = {
        {"fieldname1", "fieldname1", "\"fieldname1\":"},
        {"field_name2", "fieldName2", "\"fieldName2\":"},
        {"_field_name3", "FieldName3", "\"FieldName3\":"},
        {"field__name4_", "fieldName4", "\"fieldName4\":"},
        {"field0name5", "field0name5", "\"field0name5\":"},
        {"field_0_name6", "field0Name6", "\"field0Name6\":"},
        {"fieldName7", "fieldName7", "\"fieldName7\":"},
        {"FieldName8", "FieldName8", "\"FieldName8\":"},
        {"FIELD_NAME9", "FIELDNAME9", "\"FIELDNAME9\":"},
        {"renamed", "@odd \"name\"", "\"@odd \\\"name\\\"\":"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct tr_field *f = field(m, cases[i].proto);
        assert_span_equal(f->names->json, cases[i].json);
        assert_span_equal(f->names->json_key, cases[i].key);
        assert_ptr_equal(field(m, cases[i].json), f);
    }
    assert_span_equal(field(m, "renamed")->names->proto_key, "\"renamed\":");
}

static void check_tag(const struct tr_msgtype *m, const char *name, const char *tag)
{
    const struct tr_field *f = field(m, name);
    assert_int_equal(f->tag_len, strlen(tag));
    assert_memory_equal(f->tag, tag, f->tag_len);
}

static void tags_are_ready_made(void **state)
{
    const struct tr_msgtype *m = message(*state, "test.v1.Everything");
    check_tag(m, "f_double", "\x09");
    check_tag(m, "f_float", "\x15");
    check_tag(m, "f_int32", "\x18");
    check_tag(m, "f_string", "\x72");
    check_tag(m, "f_leaf", "\x92\x01");
    check_tag(m, "r_int32", "\xda\x02");    /* packed */
    check_tag(m, "r_expanded", "\xd0\x03"); /* not */
    check_tag(m, "r_string", "\xb2\x03");
    check_tag(m, "m_int32", "\xea\x03");
    check_tag(m, "far", "\xfa\xff\xff\xff\x0f");
    const struct tr_msgtype *legacy = message(*state, "test.legacy.Legacy");
    check_tag(legacy, "detail", "\x33"); /* a group starts */
    check_tag(legacy, "plain", "\x40");
    check_tag(legacy, "packed", "\x4a");
}

static void proto3_presence_packing_and_utf8(void **state)
{
    const struct tr_msgtype *m = message(*state, "test.v1.Everything");
    assert_int_equal(field(m, "f_int32")->flags, 0);
    assert_int_equal(field(m, "f_string")->flags, TR_FF_UTF8);
    assert_int_equal(field(m, "f_leaf")->flags, TR_FF_PRESENCE);
    assert_int_equal(field(m, "o_int32")->flags, TR_FF_PRESENCE);
    assert_int_equal(field(m, "c_uint32")->flags, TR_FF_PRESENCE);
    assert_int_equal(field(m, "r_int32")->flags, TR_FF_REPEATED | TR_FF_PACKED);
    assert_int_equal(field(m, "r_color")->flags, TR_FF_REPEATED | TR_FF_PACKED);
    assert_int_equal(field(m, "r_string")->flags, TR_FF_REPEATED | TR_FF_UTF8);
    assert_int_equal(field(m, "r_expanded")->flags, TR_FF_REPEATED);
    assert_int_equal(field(m, "m_leaf")->flags, TR_FF_REPEATED | TR_FF_MAP);
    assert_int_equal(field(m, "f_color")->flags, 0);
    assert_int_equal(m->required_count, 0);
    assert_false(m->has_required_below);
}

static void synthetic_oneofs_do_not_count(void **state)
{
    const struct tr_msgtype *m = message(*state, "test.v1.Everything");
    assert_int_equal(m->oneof_count, 2);
    assert_span_equal(m->oneof_names[0], "choice");
    assert_span_equal(m->oneof_names[1], "second");
    assert_int_equal(field(m, "c_uint32")->oneof, 1);
    assert_int_equal(field(m, "c_timestamp")->oneof, 1);
    assert_int_equal(field(m, "s_int32")->oneof, 2);
    assert_int_equal(field(m, "o_int32")->oneof, 0);
    assert_int_equal(field(m, "f_int32")->oneof, 0);
}

static void maps_have_their_entry_type(void **state)
{
    const struct tr_field *f = field(message(*state, "test.v1.Everything"), "m_leaf");
    const struct tr_msgtype *entry = f->sub.msg;
    assert_true(entry->is_map_entry);
    assert_int_equal(entry->field_count, 2);
    assert_int_equal(entry->fields[0].type, TR_FT_STRING);
    assert_int_equal(entry->fields[1].type, TR_FT_MESSAGE);
    assert_ptr_equal(entry->fields[1].sub.msg, message(*state, "test.v1.Leaf"));
}

static void well_known_types_are_marked(void **state)
{
    static const struct {
        const char *name;
        int wkt;
    } cases[] = {
        {"Any", TR_WKT_ANY},
        {"Timestamp", TR_WKT_TIMESTAMP},
        {"Duration", TR_WKT_DURATION},
        {"FieldMask", TR_WKT_FIELD_MASK},
        {"Struct", TR_WKT_STRUCT},
        {"Value", TR_WKT_VALUE},
        {"ListValue", TR_WKT_LIST_VALUE},
        {"Empty", TR_WKT_EMPTY},
        {"BoolValue", TR_WKT_BOOL_VALUE},
        {"UInt64Value", TR_WKT_UINT64_VALUE},
        {"BytesValue", TR_WKT_BYTES_VALUE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "google.protobuf.%s", cases[i].name);
        assert_int_equal(message(*state, name)->wkt, cases[i].wkt);
    }
    assert_int_equal(message(*state, "google.api.HttpBody")->wkt, TR_WKT_HTTP_BODY);
    assert_int_equal(message(*state, "google.rpc.Status")->wkt, TR_WKT_NONE);
    assert_int_equal(message(*state, "test.v1.Leaf")->wkt, TR_WKT_NONE);
    assert_true(tr_typepool_enum(*state, TR_SPAN("google.protobuf.NullValue"))->is_null_value);
    assert_false(tr_typepool_enum(*state, TR_SPAN("test.v1.Color"))->is_null_value);
}

static void enums_by_name_and_number(void **state)
{
    const struct tr_enumtype *en = tr_typepool_enum(*state, TR_SPAN("test.v1.Color"));
    assert_non_null(en);
    assert_int_equal(en->value_count, 6);
    assert_false(en->closed);
    for (uint32_t i = 0; i < en->value_count; i++) {
        assert_ptr_equal(tr_enumtype_by_number(en, en->values[i].number), &en->values[i]);
        assert_ptr_equal(tr_enumtype_by_name(en, en->values[i].name), &en->values[i]);
    }
    assert_span_equal(tr_enumtype_by_number(en, 2)->quoted, "\"GREEN\"");
    assert_span_equal(tr_enumtype_by_number(en, INT32_MAX)->name, "FAR");
    assert_null(tr_enumtype_by_number(en, 4));
    assert_null(tr_enumtype_by_number(en, -2));
    assert_null(tr_enumtype_by_number(en, INT32_MIN));
    assert_null(tr_enumtype_by_name(en, TR_SPAN("green")));
    const struct tr_enumtype *alias = tr_typepool_enum(*state, TR_SPAN("test.v1.Alias"));
    assert_span_equal(tr_enumtype_by_number(alias, 1)->name, "ALIAS_ONE");
    assert_int_equal(tr_enumtype_by_name(alias, TR_SPAN("ALIAS_EINS"))->number, 1);
    assert_true(tr_typepool_enum(*state, TR_SPAN("test.legacy.Mood"))->closed);
}

static void proto2_is_explicit_expanded_and_closed(void **state)
{
    const struct tr_msgtype *m = message(*state, "test.legacy.Legacy");
    assert_int_equal(field(m, "id")->flags, TR_FF_PRESENCE | TR_FF_REQUIRED);
    assert_int_equal(field(m, "count")->flags, TR_FF_PRESENCE);
    assert_int_equal(field(m, "plain")->flags, TR_FF_REPEATED);
    assert_int_equal(field(m, "packed")->flags, TR_FF_REPEATED | TR_FF_PACKED);
    assert_int_equal(field(m, "text")->flags, TR_FF_PRESENCE);
    assert_int_equal(field(m, "mood")->flags, TR_FF_PRESENCE | TR_FF_CLOSED_ENUM);
    assert_int_equal(field(m, "moods")->flags, TR_FF_REPEATED | TR_FF_CLOSED_ENUM);
    assert_int_equal(field(m, "detail")->type, TR_FT_GROUP);
    assert_span_equal(field(m, "detail")->sub.msg->full_name, "test.legacy.Legacy.Detail");
    assert_int_equal(m->required_count, 1);
    assert_int_equal(m->required_bits[0], 1);
    assert_true(message(*state, "test.legacy.Wired")->message_set);
    assert_false(m->message_set);
}

static void required_below_is_known_through_chains_and_cycles(void **state)
{
    assert_true(message(*state, "test.legacy.Legacy")->has_required_below);
    assert_true(message(*state, "test.legacy.Child")->has_required_below);
    assert_true(message(*state, "test.legacy.Holder")->has_required_below);
    assert_false(message(*state, "test.legacy.Extra")->has_required_below);
    assert_false(message(*state, "test.v1.Tree")->has_required_below);
    assert_false(message(*state, "bookstore.v1.Book")->has_required_below);
}

static void defaults_are_json(void **state)
{
    const struct tr_msgtype *m = message(*state, "test.legacy.Legacy");
    static const char *const cases[][2] = {
        {"count", "42"},
        {"mood", "\"BUSY\""},
        {"first_mood", "\"CALM\""},
        {"text", "\"say \\\"hi\\\"\\u000a\303\244\""},
        {"raw", "\"AAH/YVw=\""},
        {"ratio", "2.5"},
        {"infinite", "\"Infinity\""},
        {"not_a_number", "\"NaN\""},
        {"big", "\"-9007199254740993\""},
        {"huge", "\"18446744073709551615\""},
        {"yes", "true"},
        {"small", "1e-7"},
        {"id", ""},
        {"plain", ""},
        {"moods", ""},
        {"detail", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_span_equal(field(m, cases[i][0])->names->default_json, cases[i][1]);
}

static void extensions_follow_the_fields(void **state)
{
    const struct tr_msgtype *m = message(*state, "test.legacy.Legacy");
    assert_int_equal(m->extension_count, 9);
    for (uint32_t i = 0; i < m->extension_count; i++) {
        const struct tr_field *f = m->extensions[i];
        assert_int_equal(f->index, m->field_count + i);
        assert_true(f->flags & TR_FF_EXTENSION);
        assert_true(i == 0 || m->extensions[i - 1]->number < f->number);
        assert_ptr_equal(tr_msgtype_field(m, f->number), f);
        assert_ptr_equal(tr_msgtype_field_by_name(m, f->names->json), f);
    }
    const struct tr_field *f = field(m, "[test.legacy.Extra.extra]");
    assert_int_equal(f->number, 150);
    assert_span_equal(f->names->json_key, "\"[test.legacy.Extra.extra]\":");
    assert_span_equal(f->sub.msg->full_name, "test.legacy.Extra");
    assert_int_equal(field(m, "[test.legacy.ext_packed]")->flags,
                     TR_FF_EXTENSION | TR_FF_REPEATED | TR_FF_PACKED);
    assert_int_equal(field(m, "[test.legacy.ext_int32]")->flags, TR_FF_EXTENSION | TR_FF_PRESENCE);
    assert_int_equal(field(m, "[test.legacy.extgroup]")->type, TR_FT_GROUP);
    assert_span_equal(field(m, "[test.legacy.ext_string]")->names->default_json, "\"none\"");
    assert_null(tr_msgtype_field_by_name(m, TR_SPAN("test.legacy.ext_int32")));
    assert_null(tr_msgtype_field_by_name(m, TR_SPAN("ext_int32")));
    assert_null(tr_msgtype_field(m, 107));
}

struct want {
    const char *name;
    int type, flags;
};

static void check_fields(struct tr_typepool *pool, const char *type, const struct want *want,
                         size_t count)
{
    const struct tr_msgtype *m = message(pool, type);
    for (size_t i = 0; i < count; i++) {
        const struct tr_field *f = field(m, want[i].name);
        if (f->type != want[i].type || f->flags != want[i].flags)
            fail_msg("%s.%s: type %d flags %#x, wanted %d %#x", type, want[i].name, f->type,
                     (unsigned)f->flags, want[i].type, (unsigned)want[i].flags);
    }
}
#define CHECK_FIELDS(pool, type, want)                                                             \
    check_fields((pool), (type), (want), sizeof(want) / sizeof *(want))

static void edition_2023_defaults_and_field_features(void **state)
{
    static const struct want want[] = {
        {"explicit", TR_FT_INT32, TR_FF_PRESENCE},
        {"implicit", TR_FT_INT32, 0},
        {"required", TR_FT_STRING, TR_FF_PRESENCE | TR_FF_REQUIRED | TR_FF_UTF8},
        {"packed", TR_FT_INT32, TR_FF_REPEATED | TR_FF_PACKED},
        {"expanded", TR_FT_INT32, TR_FF_REPEATED},
        {"verified", TR_FT_STRING, TR_FF_PRESENCE | TR_FF_UTF8},
        {"unverified", TR_FT_STRING, TR_FF_PRESENCE},
        {"prefixed", TR_FT_MESSAGE, TR_FF_PRESENCE},
        {"delimited", TR_FT_GROUP, TR_FF_PRESENCE},
        {"delimited_list", TR_FT_GROUP, TR_FF_REPEATED},
        {"open", TR_FT_ENUM, TR_FF_PRESENCE},
        {"closed", TR_FT_ENUM, TR_FF_PRESENCE | TR_FF_CLOSED_ENUM},
        {"choice_text", TR_FT_STRING, TR_FF_PRESENCE | TR_FF_UTF8},
        {"implicit_text", TR_FT_STRING, TR_FF_UTF8},
        {"counts", TR_FT_MESSAGE, TR_FF_REPEATED | TR_FF_MAP},
    };
    CHECK_FIELDS(*state, "test.editions.Defaults", want);
    const struct tr_msgtype *m = message(*state, "test.editions.Defaults");
    assert_int_equal(m->required_count, 1);
    assert_span_equal(field(m, "with_default")->names->default_json, "7");
    assert_span_equal(field(m, "closed")->names->default_json, "\"CLOSED_ONE\"");
}

static void features_are_inherited_from_file_and_message(void **state)
{
    static const struct want by_file[] = {
        {"number", TR_FT_INT32, 0},
        {"text", TR_FT_STRING, 0},
        {"list", TR_FT_INT32, TR_FF_REPEATED},
        {"child", TR_FT_GROUP, TR_FF_PRESENCE},
        {"prefixed_again", TR_FT_MESSAGE, TR_FF_PRESENCE},
        {"closed", TR_FT_ENUM, TR_FF_PRESENCE | TR_FF_CLOSED_ENUM},
        {"reopened", TR_FT_ENUM, 0},
        {"children", TR_FT_MESSAGE, TR_FF_REPEATED | TR_FF_MAP},
    };
    CHECK_FIELDS(*state, "test.editions.FileLevel", by_file);
    static const struct want by_message[] = {
        {"number", TR_FT_INT32, TR_FF_PRESENCE},
        {"text", TR_FT_STRING, TR_FF_PRESENCE | TR_FF_UTF8},
        {"list", TR_FT_INT32, TR_FF_REPEATED | TR_FF_PACKED},
        {"child", TR_FT_MESSAGE, TR_FF_PRESENCE},
    };
    CHECK_FIELDS(*state, "test.editions.MessageLevel", by_message);
    static const struct want nested[] = {{"text", TR_FT_STRING, TR_FF_PRESENCE | TR_FF_UTF8}};
    CHECK_FIELDS(*state, "test.editions.MessageLevel.Inner", nested);
    /* neither key nor value of a map is ever delimited */
    static const struct want entry[] = {{"key", TR_FT_STRING, 0},
                                        {"value", TR_FT_MESSAGE, TR_FF_PRESENCE}};
    CHECK_FIELDS(*state, "test.editions.FileLevel.ChildrenEntry", entry);
    assert_true(tr_typepool_enum(*state, TR_SPAN("test.editions.FileClosed"))->closed);
    assert_false(tr_typepool_enum(*state, TR_SPAN("test.editions.Reopened"))->closed);
}

static const struct tr_rpc *rpc(const struct tr_service *s, const char *name)
{
    for (uint32_t i = 0; i < s->rpc_count; i++)
        if (tr_span_eq(s->rpcs[i].name, tr_span_cstr(name)))
            return &s->rpcs[i];
    fail_msg("no method %s", name);
    return NULL;
}

static void services_come_in_order_with_their_methods(void **state)
{
    (void)state;
    const struct tr_span sets[] = {set_of(tr_bookstore_pb, tr_bookstore_pb_bytes),
                                   set_of(tr_everything_pb, tr_everything_pb_bytes)};
    struct fds_report report;
    struct tr_typepool *pool = fds_pool(sets, 2, &report);
    assert_non_null(pool);
    assert_int_equal(tr_typepool_service_count(pool), 2);
    assert_span_equal(tr_typepool_service_name(pool, 0), "bookstore.v1.Bookstore");
    assert_span_equal(tr_typepool_service_name(pool, 1), "test.v1.EverythingService");
    const struct tr_service *s = tr_typepool_service(pool, TR_SPAN("bookstore.v1.Bookstore"));
    assert_non_null(s);
    assert_ptr_equal(tr_typepool_service(pool, TR_SPAN("bookstore.v1.Bookstore")), s);
    assert_null(tr_typepool_service(pool, TR_SPAN("bookstore.v1.Book")));
    const struct tr_rpc *get = rpc(s, "GetBook");
    assert_ptr_equal(get, &s->rpcs[0]);
    assert_span_equal(get->full_name, "bookstore.v1.Bookstore.GetBook");
    assert_span_equal(get->path, "/bookstore.v1.Bookstore/GetBook");
    assert_ptr_equal(get->service, s);
    assert_span_equal(get->input->full_name, "bookstore.v1.GetBookRequest");
    assert_span_equal(get->output->full_name, "bookstore.v1.Book");
    assert_int_equal(get->idempotency, TR_NO_SIDE_EFFECTS);
    assert_int_equal(rpc(s, "DeleteBook")->idempotency, TR_IDEMPOTENT);
    assert_int_equal(rpc(s, "CreateBook")->idempotency, TR_IDEMPOTENCY_UNKNOWN);
    assert_int_equal(rpc(s, "DeleteBook")->output->wkt, TR_WKT_EMPTY);
    assert_false(get->client_streaming || get->server_streaming);
    assert_true(rpc(s, "StreamBooks")->server_streaming &&
                !rpc(s, "StreamBooks")->client_streaming);
    assert_true(rpc(s, "ImportBooks")->client_streaming &&
                !rpc(s, "ImportBooks")->server_streaming);
    assert_true(rpc(s, "Chat")->client_streaming && rpc(s, "Chat")->server_streaming);
    /* only what was asked for is compiled, and its fields reach what they must */
    assert_null(tr_typepool_find(pool, TR_SPAN("test.v1.Everything")));
    assert_non_null(tr_typepool_find(pool, TR_SPAN("bookstore.v1.Author")));
    struct tr_status st;
    assert_int_equal(tr_typepool_freeze(pool, false, &st), TR_OK);
    assert_null(tr_typepool_message(pool, TR_SPAN("test.v1.Everything")));
    assert_null(tr_typepool_service(pool, TR_SPAN("test.v1.EverythingService")));
    assert_non_null(tr_typepool_message(pool, TR_SPAN("google.rpc.BadRequest")));
    assert_int_equal(tr_typepool_freeze(pool, false, &st), TR_ERR_DESCRIPTOR);
    tr_typepool_free(pool);
}

static void rules_are_read_from_annotations(void **state)
{
    (void)state;
    const struct tr_span set = set_of(tr_bookstore_pb, tr_bookstore_pb_bytes);
    struct fds_report report;
    struct tr_typepool *pool = fds_pool(&set, 1, &report);
    assert_non_null(pool);
    const struct tr_service *s = tr_typepool_service(pool, TR_SPAN("bookstore.v1.Bookstore"));
    const struct tr_http_rule *r = rpc(s, "GetBook")->rule;
    assert_span_equal(r->verb, "GET");
    assert_span_equal(r->template_text, "/v1/{name=shelves/*/books/*}");
    assert_span_equal(r->body, "");
    assert_span_equal(r->response_body, "");
    assert_int_equal(r->additional_count, 1);
    assert_span_equal(r->additional[0].template_text, "/v1/books/{isbn}");
    assert_false(r->nested_additional);
    r = rpc(s, "MoveBook")->rule;
    assert_span_equal(r->verb, "POST");
    assert_span_equal(r->body, "*");
    assert_span_equal(r->template_text, "/v1/{name=shelves/*/books/*}:move");
    assert_span_equal(rpc(s, "UpdateBook")->rule->verb, "PATCH");
    assert_span_equal(rpc(s, "UpdateBook")->rule->additional[0].verb, "PUT");
    assert_span_equal(rpc(s, "DeleteBook")->rule->verb, "DELETE");
    assert_span_equal(rpc(s, "ListAuthors")->rule->response_body, "authors");
    tr_typepool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_found_by_number_and_both_names),
        cmocka_unit_test(unknown_numbers_and_names_are_not_found),
        cmocka_unit_test(json_names_follow_protoc),
        cmocka_unit_test(tags_are_ready_made),
        cmocka_unit_test(proto3_presence_packing_and_utf8),
        cmocka_unit_test(synthetic_oneofs_do_not_count),
        cmocka_unit_test(maps_have_their_entry_type),
        cmocka_unit_test(well_known_types_are_marked),
        cmocka_unit_test(enums_by_name_and_number),
        cmocka_unit_test(proto2_is_explicit_expanded_and_closed),
        cmocka_unit_test(required_below_is_known_through_chains_and_cycles),
        cmocka_unit_test(defaults_are_json),
        cmocka_unit_test(extensions_follow_the_fields),
        cmocka_unit_test(edition_2023_defaults_and_field_features),
        cmocka_unit_test(features_are_inherited_from_file_and_message),
        cmocka_unit_test(services_come_in_order_with_their_methods),
        cmocka_unit_test(rules_are_read_from_annotations),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
