/* Sets that protoc would not make: what the pool says of them. */
#include "fds.h"
#include "test.h"

#include <stdio.h>

/* Loads and links; the report must be `want` exactly ("" for success). */
static void expect(struct fds_one *o, const char *want)
{
    fds_one_end(o);
    struct tr_span set = tr_buf_span(&o->set);
    struct fds_report report;
    struct tr_typepool *pool = fds_pool(&set, 1, &report);
    assert_string_equal(report.text, want);
    assert_int_equal(pool != NULL, want[0] == '\0');
    tr_typepool_free(pool);
    fds_one_fini(o);
}

static void expect_field(const char *syntax, struct fds_field f, const char *want)
{
    struct fds_one o;
    fds_one_begin(&o, syntax);
    fds_field(&o.msg, FDS_MSG_FIELD, f);
    expect(&o, want);
}

static void field_numbers_have_a_range(void **state)
{
    (void)state;
    static const struct {
        int number;
        bool ok;
    } cases[] = {{1, true},      {536870911, true}, {18999, true},      {20000, true},
                 {0, false},     {-1, false},       {536870912, false}, {19000, false},
                 {19999, false}, {INT32_MAX, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[100];
        (void)snprintf(want, sizeof want, "a.proto: p.M.f: field number %d is out of range\n",
                       cases[i].number);
        expect_field(
            "proto3",
            (struct fds_field){.name = "f", .number = cases[i].number, .type = TR_FT_INT32},
            cases[i].ok ? "" : want);
    }
}

static void types_must_be_known(void **state)
{
    (void)state;
    expect_field("proto3", (struct fds_field){.name = "f", .number = 1, .type = 19},
                 "a.proto: p.M.f: unknown type 19\n");
    expect_field("proto3", (struct fds_field){.name = "f", .number = 1, .type = TR_FT_MESSAGE},
                 "a.proto: p.M.f has no type\n");
    expect_field("proto3", (struct fds_field){.name = "f", .number = 1},
                 "a.proto: p.M.f has no type\n");
    expect_field(
        "proto3",
        (struct fds_field){.name = "f", .number = 1, .type = TR_FT_MESSAGE, .type_name = ".p.Gone"},
        "a.proto: p.M.f: the type \"p.Gone\" is not defined\n");
    expect_field(
        "proto3",
        (struct fds_field){.name = "f", .number = 1, .type = TR_FT_MESSAGE, .type_name = "x.Gone"},
        "a.proto: p.M: the type \"x.Gone\" is not defined\n");
    expect_field(
        "proto3",
        (struct fds_field){.name = "f", .number = 1, .type = TR_FT_ENUM, .type_name = ".p.M"},
        "a.proto: p.M.f: p.M is not an enum\n");
}

static void a_missing_type_is_told_once(void **state)
{
    (void)state;
    struct fds_one o;
    fds_one_begin(&o, "proto3");
    fds_field(&o.msg, FDS_MSG_FIELD,
              (struct fds_field){"a", 1, 0, TR_FT_MESSAGE, ".q.Gone", .json_name = "a"});
    fds_field(&o.msg, FDS_MSG_FIELD,
              (struct fds_field){"b", 2, 0, TR_FT_MESSAGE, ".q.Gone", .json_name = "b"});
    expect(&o, "a.proto: p.M.a: the type \"q.Gone\" is not defined\n");
}

static void relative_names_are_found_from_the_inside_out(void **state)
{
    (void)state;
    static const char *const names[] = {"M", "p.M", "Inner", "M.Inner", ".p.M.Inner"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct fds_one o;
        struct tr_buf inner;
        tr_buf_init(&inner);
        fds_one_begin(&o, "proto3");
        /* also without a type: message or enum is what the name turns out to be */
        fds_field(&o.msg, FDS_MSG_FIELD,
                  (struct fds_field){.name = "f",
                                     .number = 1,
                                     .type = i % 2 ? TR_FT_MESSAGE : 0,
                                     .type_name = names[i]});
        fds_text(&inner, 1, "Inner");
        fds_put(&o.msg, FDS_MSG_NESTED, &inner);
        fds_one_end(&o);
        struct tr_span set = tr_buf_span(&o.set);
        struct fds_report report;
        struct tr_typepool *pool = fds_pool(&set, 1, &report);
        assert_non_null(pool);
        const struct tr_msgtype *m = tr_typepool_message(pool, TR_SPAN("p.M"));
        assert_int_equal(m->fields[0].type, TR_FT_MESSAGE);
        assert_span_equal(m->fields[0].sub.msg->full_name, i < 2 ? "p.M" : "p.M.Inner");
        tr_typepool_free(pool);
        fds_one_fini(&o);
    }
}

static void relative_names_stay_with_their_field_whatever_the_order(void **state)
{
    (void)state;
    static const struct fds_field declared[] = {
        {.name = "c", .number = 17, .type = TR_FT_MESSAGE, .type_name = ".google.protobuf.Any"},
        {.name = "a", .number = 2, .type = TR_FT_MESSAGE, .type_name = "google.protobuf.Value"},
        {.name = "d", .number = 18, .type = 0, .type_name = "M"},
        {.name = "b", .number = 3, .type = TR_FT_INT32}};
    struct fds_one o;
    fds_one_begin(&o, "proto3");
    for (size_t i = 0; i < sizeof declared / sizeof *declared; i++)
        fds_field(&o.msg, FDS_MSG_FIELD, declared[i]);
    fds_one_end(&o);
    struct tr_span set = tr_buf_span(&o.set);
    struct fds_report report;
    struct tr_typepool *pool = fds_pool(&set, 1, &report);
    assert_non_null(pool);
    const struct tr_msgtype *m = tr_typepool_message(pool, TR_SPAN("p.M"));
    assert_non_null(m);
    assert_int_equal(m->field_count, 4);
    static const uint32_t numbers[] = {2, 3, 17, 18};
    static const char *const types[] = {"google.protobuf.Value", NULL, "google.protobuf.Any",
                                        "p.M"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(m->fields[i].number, numbers[i]);
        if (types[i])
            assert_span_equal(m->fields[i].sub.msg->full_name, types[i]);
    }
    tr_typepool_free(pool);
    fds_one_fini(&o);
}

static void two_fields_clash(struct fds_field a, struct fds_field b, const char *syntax,
                             const char *want)
{
    struct fds_one o;
    fds_one_begin(&o, syntax);
    a.type = b.type = TR_FT_INT32;
    fds_field(&o.msg, FDS_MSG_FIELD, a);
    fds_field(&o.msg, FDS_MSG_FIELD, b);
    expect(&o, want);
}

static void numbers_and_names_of_fields_are_unique(void **state)
{
    (void)state;
    two_fields_clash((struct fds_field){.name = "a", .number = 7},
                     (struct fds_field){.name = "b", .number = 7}, "proto2",
                     "a.proto: p.M: a and b have the same number 7\n");
    two_fields_clash((struct fds_field){.name = "a", .number = 1},
                     (struct fds_field){.name = "a", .number = 2}, "proto2",
                     "a.proto: p.M has two fields named a\n");
}

static void json_names_clash_as_protoc_says(void **state)
{
    (void)state;
    struct fds_field a = {.name = "foo_bar", .number = 1}, b = {.name = "fooBar", .number = 2};
    two_fields_clash(a, b, "proto3",
                     "a.proto: p.M: foo_bar and fooBar have the same JSON name fooBar\n");
    two_fields_clash(a, b, NULL, ""); /* proto2: a warning of protoc */
    a.json_name = b.json_name = "same";
    two_fields_clash(a, b, NULL, "a.proto: p.M: foo_bar and fooBar have the same JSON name same\n");
    b.json_name = "other";
    two_fields_clash(a, b, "proto3", "");
}

static void json_name_wins_over_another_fields_proto_name(void **state)
{
    (void)state;
    struct fds_one o;
    fds_one_begin(&o, "proto3");
    fds_field(&o.msg, FDS_MSG_FIELD,
              (struct fds_field){.name = "b", .number = 1, .type = TR_FT_INT32, .json_name = "x"});
    fds_field(&o.msg, FDS_MSG_FIELD,
              (struct fds_field){.name = "a", .number = 2, .type = TR_FT_INT32, .json_name = "b"});
    fds_one_end(&o);
    struct tr_span set = tr_buf_span(&o.set);
    struct fds_report report;
    struct tr_typepool *pool = fds_pool(&set, 1, &report);
    const struct tr_msgtype *m = tr_typepool_message(pool, TR_SPAN("p.M"));
    assert_int_equal(tr_msgtype_field_by_name(m, TR_SPAN("b"))->number, 2);
    assert_int_equal(tr_msgtype_field_by_name(m, TR_SPAN("x"))->number, 1);
    assert_int_equal(tr_msgtype_field_by_name(m, TR_SPAN("a"))->number, 2);
    tr_typepool_free(pool);
    fds_one_fini(&o);
}

static void names_must_be_identifiers(void **state)
{
    (void)state;
    expect_field("proto3", (struct fds_field){.name = "a-b", .number = 1, .type = TR_FT_INT32},
                 "a.proto: a field of p.M has a malformed name\n");
    expect_field("proto3", (struct fds_field){.number = 1, .type = TR_FT_INT32},
                 "a.proto: a field of p.M has a malformed name\n");
    expect_field("proto3", (struct fds_field){.name = "1a", .number = 1, .type = TR_FT_INT32},
                 "a.proto: a field of p.M has a malformed name\n");
}

static void json_names_must_be_utf8(void **state)
{
    (void)state;
    expect_field(
        "proto3",
        (struct fds_field){.name = "a", .number = 1, .type = TR_FT_INT32, .json_name = "\xff"},
        "a.proto: p.M.a: the JSON name is not UTF-8\n");
}

static void oneof_index_must_exist(void **state)
{
    (void)state;
    expect_field(
        "proto3",
        (struct fds_field){.name = "a", .number = 1, .type = TR_FT_INT32, .oneof_index = 1},
        "a.proto: p.M.a: there is no oneof 0\n");
}

static void defaults_must_fit(void **state)
{
    (void)state;
    static const struct {
        int type;
        const char *text;
        bool ok;
    } cases[] = {
        {TR_FT_INT32, "2147483647", true},
        {TR_FT_INT32, "2147483648", false},
        {TR_FT_INT32, "x", false},
        {TR_FT_UINT32, "4294967295", true},
        {TR_FT_UINT32, "-1", false},
        {TR_FT_UINT64, "18446744073709551616", false},
        {TR_FT_SINT64, "-9223372036854775808", true},
        {TR_FT_BOOL, "true", true},
        {TR_FT_BOOL, "1", false},
        {TR_FT_DOUBLE, "-inf", true},
        {TR_FT_DOUBLE, "1e400", false},
        {TR_FT_FLOAT, "1e39", false},
        {TR_FT_FLOAT, "nan", true},
        {TR_FT_BYTES, "\\x41\\101\\n", true},
        {TR_FT_BYTES, "\\q", false},
        {TR_FT_BYTES, "\\", false},
        {TR_FT_STRING, "\\", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char want[200];
        (void)snprintf(want, sizeof want,
                       "a.proto: p.M.f: the default \"%s\" does not fit the type\n", cases[i].text);
        expect_field(
            NULL,
            (struct fds_field){
                .name = "f", .number = 1, .type = cases[i].type, .default_value = cases[i].text},
            cases[i].ok ? "" : want);
    }
    expect_field(NULL,
                 (struct fds_field){.name = "f",
                                    .number = 1,
                                    .label = FDS_REPEATED,
                                    .type = TR_FT_INT32,
                                    .default_value = "1"},
                 "a.proto: p.M.f: the default \"1\" does not fit the type\n");
}

static void map_entries_have_a_shape(void **state)
{
    (void)state;
    struct fds_one o;
    struct tr_buf options;
    tr_buf_init(&options);
    fds_one_begin(&o, "proto3");
    fds_field(&o.msg, FDS_MSG_FIELD,
              (struct fds_field){.name = "key", .number = 1, .type = TR_FT_DOUBLE});
    fds_field(&o.msg, FDS_MSG_FIELD,
              (struct fds_field){.name = "value", .number = 2, .type = TR_FT_INT32});
    fds_varint(&options, 7, 1);
    fds_put(&o.msg, FDS_MSG_OPTIONS, &options);
    expect(&o, "a.proto: p.M is not a map entry\n");
}

static void well_known_types_must_look_so(void **state)
{
    (void)state;
    struct fds_one o;
    memset(&o, 0, sizeof o);
    fds_file_head(&o.file, "mine.proto", "google.protobuf", "proto3");
    fds_text(&o.msg, 1, "Timestamp");
    fds_field(&o.msg, FDS_MSG_FIELD,
              (struct fds_field){.name = "seconds", .number = 1, .type = TR_FT_STRING});
    expect(&o, "mine.proto: google.protobuf.Timestamp has not the fields that it must have\n");
}

static void own_copies_of_built_in_types_are_taken(void **state)
{
    (void)state;
    struct fds_one o;
    memset(&o, 0, sizeof o);
    fds_file_head(&o.file, "mine.proto", "google.protobuf", "proto3");
    fds_text(&o.msg, 1, "Empty");
    expect(&o, "");
}

static void syntax_and_edition_must_be_known(void **state)
{
    (void)state;
    struct fds_one o;
    fds_one_begin(&o, "proto4");
    expect(&o, "a.proto: the syntax \"proto4\" is not known\n");
    fds_one_begin(&o, "editions");
    fds_varint(&o.file, 14, 1001);
    expect(&o, "");
    fds_one_begin(&o, "editions");
    fds_varint(&o.file, 14, 9999);
    expect(&o, "a.proto: edition 9999 is not supported\n");
    fds_one_begin(&o, "editions");
    expect(&o, "a.proto: edition 0 is not supported\n");
}

static void imports_must_be_there(void **state)
{
    (void)state;
    struct fds_one o;
    fds_one_begin(&o, "proto3");
    fds_text(&o.file, FDS_FILE_DEP, "gone.proto");
    fds_text(&o.file, FDS_FILE_DEP, "google/protobuf/any.proto"); /* built in */
    expect(&o, "a.proto: the import \"gone.proto\" is missing\n");
}

static void enums_have_values(void **state)
{
    (void)state;
    struct fds_one o;
    struct tr_buf en, value;
    tr_buf_init(&en);
    tr_buf_init(&value);
    fds_one_begin(&o, "proto3");
    fds_text(&en, 1, "E");
    fds_put(&o.file, FDS_FILE_ENUM, &en);
    expect(&o, "a.proto: p.E has no value\n");
    fds_one_begin(&o, "proto3");
    fds_text(&en, 1, "E");
    fds_text(&value, 1, "ONE");
    fds_varint(&value, 2, 1);
    fds_put(&en, 2, &value);
    fds_put(&o.file, FDS_FILE_ENUM, &en);
    expect(&o, "a.proto: the first value of p.E is not 0\n");
}

static void names_are_declared_once(void **state)
{
    (void)state;
    struct fds_one o;
    struct tr_buf second;
    tr_buf_init(&second);
    fds_one_begin(&o, "proto3");
    fds_file_head(&second, "b.proto", "p", "proto3");
    struct tr_buf m;
    tr_buf_init(&m);
    fds_text(&m, 1, "M");
    fds_put(&second, FDS_FILE_MESSAGE, &m);
    fds_put(&o.set, FDS_SET_FILE, &second);
    expect(&o, "a.proto: p.M is already declared in b.proto\n");
}

static void extensions_need_their_place(void **state)
{
    (void)state;
    struct fds_one o;
    fds_one_begin(&o, NULL);
    fds_field(&o.msg, FDS_MSG_FIELD,
              (struct fds_field){.name = "f", .number = 5, .type = TR_FT_INT32});
    fds_field(
        &o.file, FDS_FILE_EXTENSION,
        (struct fds_field){.name = "x", .number = 5, .type = TR_FT_INT32, .extendee = ".p.M"});
    fds_field(
        &o.file, FDS_FILE_EXTENSION,
        (struct fds_field){.name = "y", .number = 6, .type = TR_FT_INT32, .extendee = ".p.M"});
    fds_field(
        &o.file, FDS_FILE_EXTENSION,
        (struct fds_field){.name = "z", .number = 6, .type = TR_FT_INT32, .extendee = ".p.M"});
    fds_field(
        &o.file, FDS_FILE_EXTENSION,
        (struct fds_field){.name = "w", .number = 7, .type = TR_FT_INT32, .extendee = ".p.Gone"});
    fds_field(&o.file, FDS_FILE_EXTENSION,
              (struct fds_field){.name = "v", .number = 8, .type = TR_FT_INT32});
    expect(&o, "a.proto: an extension in \"p\" extends nothing\n"
               "a.proto: p.x: number 5 of p.M is taken\n"
               "a.proto: p.z: number 6 of p.M is taken\n"
               "a.proto: p.w: the type \"p.Gone\" is not defined\n");
}

static void only_message_sets_have_extensions_beyond_the_tags(void **state)
{
    (void)state;
    struct tr_buf options;
    for (int message_set = 0; message_set < 2; message_set++) {
        struct fds_one o;
        fds_one_begin(&o, NULL);
        tr_buf_init(&options);
        fds_varint(&options, 1, (uint64_t)message_set);
        fds_put(&o.msg, FDS_MSG_OPTIONS, &options);
        fds_field(&o.file, FDS_FILE_EXTENSION,
                  (struct fds_field){.name = "x",
                                     .number = INT32_MAX,
                                     .type = TR_FT_MESSAGE,
                                     .type_name = ".p.M",
                                     .extendee = ".p.M"});
        expect(&o, message_set ? "" : "a.proto: p.x: field number 2147483647 is out of range\n");
    }
}

static void methods_need_messages(void **state)
{
    (void)state;
    struct fds_one o;
    fds_one_begin(&o, "proto3");
    fds_put_service(&o, ".p.M", ".p.Gone", TR_SPAN(""));
    expect(&o, "a.proto: p.S.Call: the type \"p.Gone\" is not defined\n");
    fds_one_begin(&o, "proto3");
    fds_put_service(&o, ".p.M", ".p.S", TR_SPAN(""));
    expect(&o, "a.proto: p.S.Call: p.S is not a message\n");
    fds_one_begin(&o, "proto3");
    fds_put_service(&o, NULL, ".p.M", TR_SPAN(""));
    expect(&o, "a.proto: p.S.Call lacks its request or response type\n");
}

static void a_rule_in_two_records_merges(void **state)
{
    (void)state;
    struct fds_one o;
    struct tr_buf options;
    tr_buf_init(&options);
    fds_one_begin(&o, "proto3");
    fds_bytes(&options, 72295728, TR_SPAN("\x22\x02/a"));
    fds_bytes(&options, 72295728, TR_SPAN("\x3a\x01*"));
    fds_put_service(&o, ".p.M", "M", tr_buf_span(&options));
    tr_buf_fini(&options);
    fds_one_end(&o);
    struct tr_span set = tr_buf_span(&o.set);
    struct fds_report report;
    struct tr_typepool *pool = fds_pool(&set, 1, &report);
    assert_non_null(pool);
    const struct tr_service *s = tr_typepool_service(pool, TR_SPAN("p.S"));
    assert_span_equal(s->rpcs[0].rule->verb, "POST");
    assert_span_equal(s->rpcs[0].rule->template_text, "/a");
    assert_span_equal(s->rpcs[0].rule->body, "*");
    tr_typepool_free(pool);
    fds_one_fini(&o);
}

static void a_malformed_rule_is_told(void **state)
{
    (void)state;
    struct fds_one o;
    struct tr_buf options;
    tr_buf_init(&options);
    fds_one_begin(&o, "proto3");
    fds_bytes(&options, 72295728, TR_SPAN("\x22\x05/a"));
    fds_put_service(&o, ".p.M", ".p.M", tr_buf_span(&options));
    tr_buf_fini(&options);
    expect(&o, "a.proto: p.S.Call: google.api.http is malformed or nested too deep\n");
}

static void nesting_of_messages_is_bounded(void **state)
{
    (void)state;
    for (int depth = 62; depth <= 200; depth += depth < 66 ? 1 : 134) {
        struct fds_one o;
        struct tr_buf inner;
        fds_one_begin(&o, "proto3");
        for (int i = 1; i < depth; i++) {
            inner = o.msg;
            tr_buf_init(&o.msg);
            fds_text(&o.msg, 1, "M");
            fds_put(&o.msg, FDS_MSG_NESTED, &inner);
        }
        expect(&o, depth <= 63 ? "" : "a.proto: malformed, or messages nested more than 63 deep\n");
    }
}

static void what_is_no_set_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct tr_span bytes;
        const char *want;
    } cases[] = {
        {TR_SPAN_INIT(""), "not a FileDescriptorSet: it holds no file\n"},
        {TR_SPAN_INIT("syntax = \"proto3\";"), "not a FileDescriptorSet: malformed at byte 0\n"},
        {TR_SPAN_INIT("\x0a\x00"), "not a FileDescriptorSet: file 1 is malformed or has no name\n"},
        {TR_SPAN_INIT("\x0a\x05\x0a\x01x"), "not a FileDescriptorSet: malformed at byte 0\n"},
        {TR_SPAN_INIT("\x0a\x05\x0a\x03x\x00y"),
         "not a FileDescriptorSet: file 1 is malformed or has no name\n"},
        {TR_SPAN_INIT("\x0a\x07\x0a\x01x\x22\x02\x0a\x04"),
         "x: malformed, or messages nested more than 63 deep\n"},
        {TR_SPAN_INIT("\x0a\x07\x0a\x01x\x2a\x02\x0a\x04"), "x: not a file descriptor\n"},
        {TR_SPAN_INIT("\x0a\x05\x0a\x01x\x10\x05"), "x: not a file descriptor\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fds_report report;
        assert_null(fds_pool(&cases[i].bytes, 1, &report));
        assert_string_equal(report.text, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(field_numbers_have_a_range),
        cmocka_unit_test(types_must_be_known),
        cmocka_unit_test(a_missing_type_is_told_once),
        cmocka_unit_test(relative_names_are_found_from_the_inside_out),
        cmocka_unit_test(relative_names_stay_with_their_field_whatever_the_order),
        cmocka_unit_test(numbers_and_names_of_fields_are_unique),
        cmocka_unit_test(json_names_clash_as_protoc_says),
        cmocka_unit_test(json_name_wins_over_another_fields_proto_name),
        cmocka_unit_test(names_must_be_identifiers),
        cmocka_unit_test(json_names_must_be_utf8),
        cmocka_unit_test(oneof_index_must_exist),
        cmocka_unit_test(defaults_must_fit),
        cmocka_unit_test(map_entries_have_a_shape),
        cmocka_unit_test(well_known_types_must_look_so),
        cmocka_unit_test(own_copies_of_built_in_types_are_taken),
        cmocka_unit_test(syntax_and_edition_must_be_known),
        cmocka_unit_test(imports_must_be_there),
        cmocka_unit_test(enums_have_values),
        cmocka_unit_test(names_are_declared_once),
        cmocka_unit_test(extensions_need_their_place),
        cmocka_unit_test(only_message_sets_have_extensions_beyond_the_tags),
        cmocka_unit_test(methods_need_messages),
        cmocka_unit_test(a_rule_in_two_records_merges),
        cmocka_unit_test(a_malformed_rule_is_told),
        cmocka_unit_test(nesting_of_messages_is_bounded),
        cmocka_unit_test(what_is_no_set_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
