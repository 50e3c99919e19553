#include "pipeline/hash_key.h"

#include "../transcode/pool.h"
#include "test.h"

/* ---- header and claim ------------------------------------------------------------------------ */

static struct tr_upstream_conf conf;
static struct tr_upstream upstream = {&conf, NULL, 0};
static struct tr_route route = {.upstream = &upstream};
static struct tr_hstream hs;
static struct tr_exchange x;
static struct tr_header header = {TR_SPAN_INIT("x-user"), TR_SPAN_INIT("emma"), TR_TOKEN_NONE};

static int setup(void **state)
{
    (void)state;
    memset(&x, 0, sizeof x);
    memset(&hs, 0, sizeof hs);
    memset(&conf, 0, sizeof conf);
    x.hs = &hs;
    x.route = &route;
    hs.head.headers = (struct tr_headers){&header, 1, 1};
    return 0;
}

static void hash_key_is_none_where_nothing_is_configured(void **state)
{
    (void)state;
    uint64_t hash = 7;
    assert_false(tr_hash_key(&x, &hash));
    assert_int_equal(hash, 7);
}

static void hash_key_of_a_header(void **state)
{
    (void)state;
    uint64_t a, b, c;
    conf.hash_on = TR_HASH_ON_HEADER;
    conf.hash_name = TR_SPAN("x-user");
    assert_true(tr_hash_key(&x, &a));
    assert_true(tr_hash_key(&x, &b));
    assert_true(a == b);
    header.value = TR_SPAN("jane");
    assert_true(tr_hash_key(&x, &c));
    assert_true(a != c);
    header.value = TR_SPAN("emma");
    conf.hash_name = TR_SPAN("x-other");
    assert_false(tr_hash_key(&x, &a));
}

static void hash_key_of_a_claim(void **state)
{
    (void)state;
    const struct tr_span values[] = {TR_SPAN_INIT("emma"), TR_SPAN_INIT("jane")};
    const struct tr_claim items[] = {{TR_SPAN_INIT("sub"), values, 2},
                                     {TR_SPAN_INIT("empty"), values, 0}};
    const struct tr_claims claims = {items, 2};
    const struct tr_identity identity = {.items = {{.claims = &claims}}, .count = 1};
    uint64_t claim, like_header;
    conf.hash_on = TR_HASH_ON_CLAIM;
    conf.hash_name = TR_SPAN("sub");
    assert_false(tr_hash_key(&x, &claim)); /* anonymous */
    x.identity = &identity;
    assert_true(tr_hash_key(&x, &claim));
    conf.hash_name = TR_SPAN("empty");
    assert_false(tr_hash_key(&x, &like_header));
    conf.hash_on = TR_HASH_ON_HEADER;
    conf.hash_name = TR_SPAN("x-user");
    assert_true(tr_hash_key(&x, &like_header));
    assert_true(claim == like_header); /* the first value, and nothing but it */
}

/* ---- fields ---------------------------------------------------------------------------------- */

static struct tr_typepool *pool;
static const struct tr_msgtype *everything;

static int load(void **state)
{
    (void)state;
    pool = pool_load(TR_TEST_SET);
    everything = tr_typepool_message(pool, TR_SPAN("test.v1.Everything"));
    return everything ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    tr_typepool_free(pool);
    return 0;
}

/* f_string = 14, f_int64 = 4, f_nested = 17 {id = 1, leaf = 2 {text = 1}}, r_string = 48. */
#define F_STRING "\x72"
#define F_INT64  "\x20"
#define F_NESTED "\x8a\x01"

#define assert_field(wire, path, want)                                                             \
    do {                                                                                           \
        struct tr_span value_ = {NULL, 0};                                                         \
        assert_true(tr_hash_field(everything, TR_SPAN(wire), TR_SPAN(path), &value_));             \
        assert_int_equal(value_.len, sizeof(want) - 1);                                            \
        assert_memory_equal(value_.ptr, want, sizeof(want) - 1);                                   \
    } while (0)
#define assert_no_field(wire, path)                                                                \
    do {                                                                                           \
        struct tr_span value_ = {NULL, 0};                                                         \
        assert_false(tr_hash_field(everything, TR_SPAN(wire), TR_SPAN(path), &value_));            \
    } while (0)

static void hash_field_is_found_by_proto_and_json_name(void **state)
{
    (void)state;
    assert_field(F_STRING "\4emma", "f_string", "emma");
    assert_field(F_STRING "\4emma", "fString", "emma");
    assert_field(F_INT64 "\x96\1" F_STRING "\4emma", "f_string", "emma");
    assert_field(F_INT64 "\x96\1" F_STRING "\4emma", "f_int64", "\x96\1");
    assert_field(F_STRING "\0", "f_string", "");
    assert_no_field(F_INT64 "\1", "f_string"); /* left out */
    assert_no_field("", "f_string");
}

static void hash_field_is_the_last_one(void **state)
{
    (void)state;
    assert_field(F_STRING "\4emma" F_INT64 "\1" F_STRING "\4jane", "f_string", "jane");
}

static void hash_field_goes_through_messages_and_merges_them(void **state)
{
    (void)state;
    assert_field(F_NESTED "\6\12\4emma", "f_nested.id", "emma");
    assert_field(F_NESTED "\10\22\6\12\4leaf", "f_nested.leaf.text", "leaf");
    /* the parts of one message, as a body and a path give them */
    assert_field(F_NESTED "\6\12\4emma" F_NESTED "\10\22\6\12\4leaf", "f_nested.id", "emma");
    assert_field(F_NESTED "\6\12\4emma" F_NESTED "\10\22\6\12\4leaf", "f_nested.leaf.text", "leaf");
    assert_field(F_NESTED "\6\12\4emma" F_NESTED "\6\12\4jane", "f_nested.id", "jane");
    assert_no_field(F_NESTED "\0", "f_nested.id");
}

static void hash_field_must_be_a_singular_scalar(void **state)
{
    (void)state;
    assert_no_field(F_NESTED "\6\12\4emma", "f_nested");
    assert_no_field(F_STRING "\4emma", "f_string.id");
    assert_no_field(F_STRING "\4emma", "r_string");
    assert_no_field(F_STRING "\4emma", "m_string");
    assert_no_field(F_STRING "\4emma", "nobody");
    assert_no_field(F_STRING "\4emma", "");
    assert_no_field(F_STRING "\4emma", ".");
    assert_no_field(F_STRING "\4emma", "f_string.");
    assert_no_field(F_STRING "\4emma",
                    "f_self.f_self.f_self.f_self.f_self.f_self.f_self.f_self.f_self."
                    "f_self.f_self.f_self.f_self.f_self.f_self.f_self.f_string");
}

/* Whatever the bytes: nothing is read that is not there. */
static void hash_field_survives_any_bytes(void **state)
{
    (void)state;
    const struct tr_span whole = TR_SPAN(F_INT64 "\x96\1" F_NESTED "\6\12\4emma" F_NESTED
                                                 "\10\22\6\12\4leaf" F_STRING "\2ab");
    const struct tr_span path = TR_SPAN("f_nested.leaf.text");
    uint64_t seed = tr_test_seed();
    struct tr_span value;
    for (size_t cut = 0; cut < whole.len; cut++) {
        char *part = tr_malloc(cut ? cut : 1); /* of that size, for sanitizers */
        memcpy(part, whole.ptr, cut);
        if (tr_hash_field(everything, tr_span(part, cut), path, &value))
            assert_true(value.ptr >= part && value.ptr + value.len <= part + cut);
        tr_free(part);
    }
    for (int round = 0; round < 20000; round++) {
        char *bytes = tr_malloc(whole.len);
        memcpy(bytes, whole.ptr, whole.len);
        for (int i = 0; i < 3; i++)
            bytes[tr_test_rand(&seed) % whole.len] = (char)tr_test_rand(&seed);
        if (tr_hash_field(everything, tr_span(bytes, whole.len), path, &value))
            assert_true(value.ptr >= bytes && value.ptr + value.len <= bytes + whole.len);
        tr_free(bytes);
    }
}

static void hash_key_of_a_field_reads_one_frame(void **state)
{
    (void)state;
    const struct tr_rpc rpc = {.input = everything};
    uint64_t a, b;
    setup(NULL);
    route.rpc = &rpc;
    conf.hash_on = TR_HASH_ON_FIELD;
    conf.hash_name = TR_SPAN("f_string");
    assert_false(tr_hash_key(&x, &a)); /* not there yet */
    assert_int_equal(tr_buf_append(&x.req, TR_SPAN("\0\0\0\0\6" F_STRING "\4emma")), TR_OK);
    assert_true(tr_hash_key(&x, &a));
    conf.hash_on = TR_HASH_ON_HEADER;
    conf.hash_name = TR_SPAN("x-user");
    assert_true(tr_hash_key(&x, &b));
    assert_true(a == b);
    conf.hash_on = TR_HASH_ON_FIELD;
    conf.hash_name = TR_SPAN("f_string");
    x.req.len--; /* half of it */
    assert_false(tr_hash_key(&x, &a));
    x.req.len++;
    x.req_open = true; /* it is being written */
    assert_false(tr_hash_key(&x, &a));
    x.req_open = false;
    x.req.ptr[0] = 1; /* compressed */
    assert_false(tr_hash_key(&x, &a));
    tr_buf_fini(&x.req);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(hash_key_is_none_where_nothing_is_configured, setup),
        cmocka_unit_test_setup(hash_key_of_a_header, setup),
        cmocka_unit_test_setup(hash_key_of_a_claim, setup),
        cmocka_unit_test(hash_field_is_found_by_proto_and_json_name),
        cmocka_unit_test(hash_field_is_the_last_one),
        cmocka_unit_test(hash_field_goes_through_messages_and_merges_them),
        cmocka_unit_test(hash_field_must_be_a_singular_scalar),
        cmocka_unit_test(hash_field_survives_any_bytes),
        cmocka_unit_test(hash_key_of_a_field_reads_one_frame),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
