#include "transcode/query.h"

#include "json2pb_util.h"
#include "test.h"

static struct tr_arena arena;
static struct tr_buf out;
static struct tr_status st;
static struct tr_query_result res;

static int setup(void **state)
{
    (void)state;
    tr_arena_init(&arena, NULL);
    tr_buf_init(&out);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    tr_arena_fini(&arena);
    tr_buf_fini(&out);
    return 0;
}

static enum tr_err query(const char *raw, const struct tr_query_opts *opts)
{
    static const struct tr_query_opts none;
    tr_buf_clear(&out);
    return tr_query_bind(j2p_type("j2p.Request"), tr_span_cstr(raw), opts ? opts : &none, &arena,
                         &out, &res, &st);
}

static void assert_binds(const char *raw, const char *want)
{
    struct tr_buf text;
    if (query(raw, NULL))
        fail_msg("%s: %.*s", raw, (int)st.text_len, st.text);
    tr_buf_init(&text);
    j2p_text(&text, j2p_type("j2p.Request"), tr_buf_span(&out));
    assert_span_equal(tr_buf_span(&text), want);
    tr_buf_fini(&text);
}

static void assert_refuses(const char *raw, const struct tr_query_opts *opts, enum tr_err err,
                           const char *field, const char *text)
{
    assert_int_equal(query(raw, opts), err);
    assert_int_equal(st.err, err);
    assert_span_equal(tr_span(st.field, st.field_len), field);
    assert_span_equal(tr_status_text(&st), text);
    assert_int_equal(out.len, 0);
}

static void query_binds_fields_by_either_name(void **state)
{
    (void)state;
    assert_binds("", "");
    assert_binds("&&", "");
    assert_binds("name=a&page_size=5", "name: \"a\"\npage_size: 5\n");
    assert_binds("pageSize=5", "page_size: 5\n");
    assert_binds("book.editor.bornYear=1960&book.name=x",
                 "book {\n  editor {\n    born_year: 1960\n  }\n}\nbook {\n  name: \"x\"\n}\n");
    assert_binds("tags=a&tags=b&tags=", "tags: \"a\"\ntags: \"b\"\ntags: \"\"\n");
    assert_binds("ids=1&ids=-2", "ids: [1]\nids: [-2]\n");
    assert_binds("flag=True&color=RED&data=AQ", "flag: true\ncolor: 1\ndata: \"\\001\"\n");
    assert_binds("color=2", "color: 2\n");
    assert_binds("ttl=1.5s&limit=0",
                 "ttl {\n  seconds: 1\n  nanos: 500000000\n}\nlimit {\n  value: 0\n}\n");
    assert_binds("updateMask=a,bC,d_e",
                 "update_mask {\n  paths: \"a\"\n  paths: \"b_c\"\n  paths: \"d_e\"\n}\n");
    assert_binds("update_mask.paths=a_b&update_mask.paths=c",
                 "update_mask {\n  paths: \"a_b\"\n}\nupdate_mask {\n  paths: \"c\"\n}\n");
}

static void query_decodes_names_and_values(void **state)
{
    (void)state;
    assert_binds("na%6De=a+b%2Bc%26d%3D", "name: \"a b+c&d=\"\n");
    assert_binds("name", "name: \"\"\n");
    assert_binds("name=a=b", "name: \"a=b\"\n");
    assert_binds("book%2Ename=x", "book {\n  name: \"x\"\n}\n");
    assert_binds("data=+/8=", "data: \"\\373\\377\"\n");
    assert_binds("name=%c3%A9", "name: \"\\303\\251\"\n");
}

static void query_binds_map_entries(void **state)
{
    (void)state;
    assert_binds("counts[a]=1&counts%5Bb.c%5D=2&counts[]=3&counts[a]=4",
                 "counts {\n  key: \"a\"\n  value: 1\n}\ncounts {\n  key: \"b.c\"\n  value: 2\n}\n"
                 "counts {\n  key: \"\"\n  value: 3\n}\ncounts {\n  key: \"a\"\n  value: 4\n}\n");
    assert_binds("book.labels[x]=y",
                 "book {\n  labels {\n    key: \"x\"\n    value: \"y\"\n  }\n}\n");
    assert_binds("all.m_time[5]=1970-01-01T00:00:01Z",
                 "all {\n  m_time {\n    key: 5\n    value {\n      seconds: 1\n      nanos: 0\n   "
                 " }\n  }\n}\n");
    assert_refuses("counts=1", NULL, TR_ERR_QUERY_VALUE, "counts",
                   "a map entry is written name[key]=value");
    assert_refuses("all.m_book[x]=1", NULL, TR_ERR_QUERY_MESSAGE, "all.m_book",
                   "a message cannot come from the query as a whole");
    assert_refuses("all.m_int32[x]=1", NULL, TR_ERR_QUERY_VALUE, "all.m_int32",
                   "expected a number (int32), got \"x\"");
    assert_refuses("name[x]=1", NULL, TR_ERR_QUERY_UNKNOWN, "name[x]", "no such query parameter");
    assert_refuses("counts[x=1", NULL, TR_ERR_QUERY_UNKNOWN, "counts[x", "no such query parameter");
    assert_refuses("counts.x=1", NULL, TR_ERR_QUERY_UNKNOWN, "counts.x", "no such query parameter");
}

static void query_refuses_what_is_malformed(void **state)
{
    (void)state;
    static const char *const syntax[] = {"name=%", "name=%4",  "name=%zz",
                                         "%4x=1",  "name=a%2", "x=%"};
    for (size_t i = 0; i < sizeof syntax / sizeof syntax[0]; i++) {
        assert_int_equal(query(syntax[i], NULL), TR_ERR_QUERY_SYNTAX);
        assert_span_equal(tr_status_text(&st), "'%' must be followed by two hexadecimal digits");
    }
    assert_refuses("name=%ff", NULL, TR_ERR_QUERY_SYNTAX, "name", "the query is not valid UTF-8");
    assert_refuses("%ff=1", NULL, TR_ERR_QUERY_SYNTAX, "%ff", "the query is not valid UTF-8");
}

static void query_refuses_values_that_do_not_fit(void **state)
{
    (void)state;
    assert_refuses("name=a&page_size=x", NULL, TR_ERR_QUERY_VALUE, "page_size",
                   "expected a number (int32), got \"x\"");
    assert_refuses("pageSize=", NULL, TR_ERR_QUERY_VALUE, "page_size",
                   "expected a number (int32), got \"\"");
    assert_refuses("book.editor.born_year=2147483648", NULL, TR_ERR_QUERY_VALUE,
                   "book.editor.born_year", "int32 out of range: 2147483648");
    assert_refuses("flag=1", NULL, TR_ERR_QUERY_VALUE, "flag", "expected true or false");
    assert_refuses("color=PINK", NULL, TR_ERR_QUERY_VALUE, "color",
                   "j2p.Color has no value \"PINK\"");
    assert_refuses("data=*", NULL, TR_ERR_QUERY_VALUE, "data", "the value is not base64");
    assert_refuses("updateMask=a,,b", NULL, TR_ERR_QUERY_VALUE, "update_mask",
                   "a path of the field mask is empty");
}

static void query_refuses_unknown_names_unless_told(void **state)
{
    (void)state;
    static const struct tr_span names[] = {TR_SPAN_INIT("utm"), TR_SPAN_INIT("name")};
    struct tr_query_opts opts = {.ignored = names, .ignored_count = 2};
    assert_refuses("nope=1", NULL, TR_ERR_QUERY_UNKNOWN, "nope", "no such query parameter");
    assert_refuses("book.nope=1", NULL, TR_ERR_QUERY_UNKNOWN, "book.nope",
                   "no such query parameter");
    assert_refuses("name.x=1", NULL, TR_ERR_QUERY_UNKNOWN, "name.x", "no such query parameter");
    assert_refuses("=1", NULL, TR_ERR_QUERY_UNKNOWN, "", "no such query parameter");
    assert_refuses("utm2=1", &opts, TR_ERR_QUERY_UNKNOWN, "utm2", "no such query parameter");
    assert_int_equal(query("utm=1&utm=2&name=3", &opts), TR_OK);
    assert_int_equal(out.len, 0);
    opts.ignore_unknown = true;
    assert_int_equal(query("nope=1&a.b[c]=2&page_size=3", &opts), TR_OK);
    assert_span_equal(tr_buf_span(&out), "\x20\x03");
}

static void query_refuses_a_scalar_twice(void **state)
{
    (void)state;
    assert_refuses("page_size=1&pageSize=1", NULL, TR_ERR_QUERY_DUPLICATE, "page_size",
                   "the query parameter is given twice");
    assert_refuses("book.name=1&book.page_count=5&book.name=1", NULL, TR_ERR_QUERY_DUPLICATE,
                   "book.name", "the query parameter is given twice");
    assert_refuses("ttl=1s&ttl=1s", NULL, TR_ERR_QUERY_DUPLICATE, "ttl",
                   "the query parameter is given twice");
    assert_binds(
        "book.name=a&book.editor.name=a&name=a",
        "book {\n  name: \"a\"\n}\nbook {\n  editor {\n    name: \"a\"\n  }\n}\nname: \"a\"\n");
}

static void query_refuses_two_members_of_a_oneof(void **state)
{
    (void)state;
    assert_refuses("left=a&right=1", NULL, TR_ERR_QUERY_ONEOF, "right",
                   "another member of its oneof is given too");
    assert_refuses("person.name=a&left=1", NULL, TR_ERR_QUERY_ONEOF, "left",
                   "another member of its oneof is given too");
    assert_refuses("book.paper=a&book.audio.name=1", NULL, TR_ERR_QUERY_ONEOF, "book.audio.name",
                   "another member of its oneof is given too");
    assert_binds(
        "person.name=a&person.born_year=1&book.paper=x",
        "person {\n  name: \"a\"\n}\nperson {\n  born_year: 1\n}\nbook {\n  paper: \"x\"\n}\n");
}

static void query_refuses_another_member_than_path_or_body_give(void **state)
{
    (void)state;
    const struct tr_msgtype *type = j2p_type("j2p.Request");
    const struct tr_bind_field *binds[1];
    assert_int_equal(tr_bind_path_compile(type, TR_SPAN("book.audio.name"), &arena, &binds[0], &st),
                     TR_OK);
    struct tr_query_opts opts = {.path_binds = binds,
                                 .path_bind_count = 1,
                                 .body_field = tr_msgtype_field_by_name(type, TR_SPAN("person"))};
    assert_refuses("book.paper=a", &opts, TR_ERR_QUERY_ONEOF, "book.paper",
                   "another member of its oneof is given too");
    assert_refuses("left=a", &opts, TR_ERR_QUERY_ONEOF, "left",
                   "another member of its oneof is given too");
    assert_int_equal(query("book.audio.bornYear=1&book.name=x", &opts), TR_OK);
}

static void query_refuses_what_path_or_body_bind(void **state)
{
    (void)state;
    const struct tr_msgtype *type = j2p_type("j2p.Request");
    const struct tr_bind_field *binds[2];
    assert_int_equal(tr_bind_path_compile(type, TR_SPAN("book.name"), &arena, &binds[0], &st),
                     TR_OK);
    assert_int_equal(tr_bind_path_compile(type, TR_SPAN("ttl"), &arena, &binds[1], &st), TR_OK);
    struct tr_query_opts opts = {.path_binds = binds, .path_bind_count = 2};
    assert_refuses("book.name=a", &opts, TR_ERR_QUERY_BOUND, "book.name",
                   "the field is bound by the path");
    assert_refuses("ttl=1s", &opts, TR_ERR_QUERY_BOUND, "ttl", "the field is bound by the path");
    assert_refuses("ttl.seconds=1", &opts, TR_ERR_QUERY_BOUND, "ttl.seconds",
                   "the field is bound by the path");
    assert_int_equal(query("book.page_count=1&name=x", &opts), TR_OK);
    opts.body_field = tr_msgtype_field_by_name(type, TR_SPAN("book"));
    assert_refuses("book.page_count=1", &opts, TR_ERR_QUERY_BOUND, "book.page_count",
                   "the field is bound by the body");
    opts.body_star = true;
    assert_refuses("name=1", &opts, TR_ERR_QUERY_BOUND, "name", "the field is bound by the body");
    assert_refuses("nope=1", &opts, TR_ERR_QUERY_UNKNOWN, "nope", "no such query parameter");
    assert_int_equal(query("alt=json", &opts), TR_OK);
}

static void query_refuses_messages(void **state)
{
    (void)state;
    assert_refuses("book=1", NULL, TR_ERR_QUERY_MESSAGE, "book",
                   "a message cannot come from the query as a whole");
    assert_refuses("books=1", NULL, TR_ERR_QUERY_MESSAGE, "books",
                   "a repeated message cannot come from the query");
    assert_refuses("books.name=1", NULL, TR_ERR_QUERY_MESSAGE, "books",
                   "a repeated message cannot come from the query");
    assert_refuses("all.struct=1", NULL, TR_ERR_QUERY_MESSAGE, "all.struct",
                   "a message cannot come from the query as a whole");
    assert_refuses("all.r_duration=1s", NULL, TR_ERR_QUERY_MESSAGE, "all.r_duration",
                   "a repeated message cannot come from the query");
}

static void query_reads_system_parameters(void **state)
{
    (void)state;
    assert_int_equal(query("name=a", NULL), TR_OK);
    assert_int_equal(res.sys.alt, TR_ALT_UNSET);
    assert_int_equal(res.sys.pretty, -1);
    assert_null(res.sys.fields.ptr);
    assert_int_equal(query("alt=proto&prettyPrint=TRUE&$fields=a,b(c)&key=k1&access_token=t+x&"
                           "quotaUser=u&$.xgafv=2"
                           "&$apiVersion=v1&page_size=1",
                           NULL),
                     TR_OK);
    assert_int_equal(res.sys.alt, TR_ALT_PROTO);
    assert_int_equal(res.sys.pretty, 1);
    assert_span_equal(res.sys.fields, "a,b(c)");
    assert_span_equal(res.sys.key, "k1");
    assert_span_equal(res.sys.access_token, "t x");
    assert_span_equal(res.sys.quota_user, "u");
    assert_span_equal(res.sys.xgafv, "2");
    assert_span_equal(res.sys.api_version, "v1");
    assert_span_equal(tr_buf_span(&out), "\x20\x01");
    assert_int_equal(query("$alt=json%3Benum-encoding%3Dint&$prettyPrint=false", NULL), TR_OK);
    assert_int_equal(res.sys.alt, TR_ALT_JSON_INT_ENUMS);
    assert_int_equal(res.sys.pretty, 0);
    assert_int_equal(query("alt=json", NULL), TR_OK);
    assert_int_equal(res.sys.alt, TR_ALT_JSON);
    /* the request has a field of this name */
    assert_int_equal(query("fields=x", NULL), TR_OK);
    assert_null(res.sys.fields.ptr);
    assert_span_equal(tr_buf_span(&out), "\x2a\x01x");
    assert_refuses("alt=xml", NULL, TR_ERR_SYSTEM_PARAMETER, "alt",
                   "expected json, proto or json;enum-encoding=int");
    assert_refuses("prettyPrint=yes", NULL, TR_ERR_SYSTEM_PARAMETER, "prettyPrint",
                   "expected true or false");
    assert_refuses("$.xgafv=3", NULL, TR_ERR_SYSTEM_PARAMETER, "$.xgafv", "expected 1 or 2");
    assert_refuses("alt=json&$alt=json", NULL, TR_ERR_QUERY_DUPLICATE, "$alt",
                   "the system parameter is given twice");
    assert_refuses("key=a&key=a", NULL, TR_ERR_QUERY_DUPLICATE, "key",
                   "the system parameter is given twice");
    assert_refuses("apiVersion=1", NULL, TR_ERR_QUERY_UNKNOWN, "apiVersion",
                   "no such query parameter");
    assert_refuses("$nope=1", NULL, TR_ERR_QUERY_UNKNOWN, "$nope", "no such query parameter");
}

static void query_tells_whether_the_mask_was_set(void **state)
{
    (void)state;
    struct tr_query_opts opts = {
        .mask_field = tr_msgtype_field_by_name(j2p_type("j2p.Request"), TR_SPAN("update_mask"))};
    assert_int_equal(query("name=a", &opts), TR_OK);
    assert_false(res.mask_set);
    assert_int_equal(query("updateMask=name", &opts), TR_OK);
    assert_true(res.mask_set);
    assert_int_equal(query("update_mask.paths=name", &opts), TR_OK);
    assert_true(res.mask_set);
}

static void query_stays_linear_with_many_parameters(void **state)
{
    (void)state;
    struct tr_buf raw;
    tr_buf_init(&raw);
    for (int i = 0; i < 20000; i++)
        (void)tr_buf_printf(&raw, "all.self.r_int32=%d&", i);
    assert_int_equal(tr_buf_push(&raw, '\0'), TR_OK);
    assert_int_equal(query(raw.ptr, NULL), TR_OK);
    (void)tr_buf_printf(&raw, "all");
    raw.len = 0;
    (void)tr_buf_printf(&raw, "all");
    for (int i = 0; i < 40; i++)
        (void)tr_buf_printf(&raw, ".self");
    (void)tr_buf_printf(&raw, "=1%c", 0);
    assert_int_equal(query(raw.ptr, NULL), TR_ERR_QUERY_SYNTAX);
    tr_buf_fini(&raw);
}

static void query_survives_missing_memory(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        assert_true(n < 100);
        teardown(NULL);
        setup(NULL);
        tr_alloc_fail_after(n);
        enum tr_err err =
            query("name=a&book.name=b&counts[a]=1&data=+/8=&alt=json&$fields=x", NULL);
        tr_alloc_fail_after(0);
        if (!err)
            return;
        assert_int_equal(err, TR_ERR_NOMEM);
        assert_int_equal(out.len, 0);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(query_binds_fields_by_either_name),
        T(query_decodes_names_and_values),
        T(query_binds_map_entries),
        T(query_refuses_what_is_malformed),
        T(query_refuses_values_that_do_not_fit),
        T(query_refuses_unknown_names_unless_told),
        T(query_refuses_a_scalar_twice),
        T(query_refuses_two_members_of_a_oneof),
        T(query_refuses_another_member_than_path_or_body_give),
        T(query_refuses_what_path_or_body_bind),
        T(query_refuses_messages),
        T(query_reads_system_parameters),
        T(query_tells_whether_the_mask_was_set),
        T(query_stays_linear_with_many_parameters),
        T(query_survives_missing_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
