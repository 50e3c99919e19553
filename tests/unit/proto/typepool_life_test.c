/* The states of a pool, and that damaged sets and a full machine never do worse than an error. */
#include "bookstore_pb.h"
#include "everything_pb.h"
#include "fds.h"
#include "test.h"

static void the_pool_has_states(void **state)
{
    (void)state;
    struct tr_typepool *pool;
    struct tr_status st;
    struct tr_span set = tr_span((const char *)tr_bookstore_pb, tr_bookstore_pb_bytes);
    assert_int_equal(tr_typepool_new(&pool), TR_OK);
    assert_int_equal(tr_typepool_freeze(pool, true, &st), TR_ERR_DESCRIPTOR);
    assert_null(tr_typepool_message(pool, TR_SPAN("bookstore.v1.Book")));
    assert_int_equal(tr_typepool_add(pool, set, &st), TR_OK);
    assert_int_equal(tr_typepool_add(pool, set, &st), TR_OK); /* files that are here are skipped */
    assert_null(tr_typepool_message(pool, TR_SPAN("bookstore.v1.Book")));
    assert_int_equal(tr_typepool_service_count(pool), 0);
    assert_int_equal(tr_typepool_link(pool, NULL, NULL, &st), TR_OK);
    assert_int_equal(tr_typepool_link(pool, NULL, NULL, &st), TR_ERR_DESCRIPTOR);
    assert_int_equal(tr_typepool_add(pool, set, &st), TR_ERR_DESCRIPTOR);
    assert_non_null(tr_typepool_message(pool, TR_SPAN("bookstore.v1.Book")));
    tr_typepool_free(pool);
    /* without any set there are the built-in types */
    assert_int_equal(tr_typepool_new(&pool), TR_OK);
    assert_int_equal(tr_typepool_link(pool, NULL, NULL, &st), TR_OK);
    assert_int_equal(tr_typepool_freeze(pool, false, &st), TR_OK);
    assert_non_null(tr_typepool_find(pool, TR_SPAN("google.rpc.Status")));
    assert_non_null(tr_typepool_find(pool, TR_SPAN("google.protobuf.Timestamp")));
    assert_null(tr_typepool_find(pool, TR_SPAN("bookstore.v1.Book")));
    tr_typepool_free(pool);
    tr_typepool_free(NULL);
}

static void load_fully(struct tr_span set, bool *ret_ok)
{
    struct fds_report report;
    struct tr_typepool *pool = fds_pool(&set, 1, &report);
    *ret_ok = false;
    if (!pool)
        return;
    for (uint32_t i = 0; i < tr_typepool_service_count(pool); i++)
        (void)tr_typepool_service(pool, tr_typepool_service_name(pool, i));
    struct tr_status st;
    *ret_ok = tr_typepool_freeze(pool, true, &st) == TR_OK;
    tr_typepool_free(pool);
}

static void every_truncation_is_a_result(void **state)
{
    (void)state;
    /* the tail of the set, in which the service stands; a step that is no multiple of anything
     * keeps it short */
    size_t step = 1;
    bool ok = false;
    for (size_t n = 0; n <= tr_bookstore_pb_bytes; n += step) {
        char *copy = tr_malloc(n);
        memcpy(copy, tr_bookstore_pb, n);
        load_fully(tr_span(copy, n), &ok);
        tr_free(copy);
        step = n + 1 == tr_bookstore_pb_bytes ? 1 : 7;
        if (n != tr_bookstore_pb_bytes && n + step > tr_bookstore_pb_bytes)
            step = tr_bookstore_pb_bytes - n;
    }
    assert_true(ok);
}

static void every_flipped_byte_is_a_result(void **state)
{
    (void)state;
    uint64_t seed = tr_test_seed();
    char *copy = tr_malloc(tr_everything_pb_bytes);
    bool ok;
    for (int i = 0; i < 1500; i++) {
        memcpy(copy, tr_everything_pb, tr_everything_pb_bytes);
        for (int k = 0; k < 1 + i % 3; k++)
            copy[tr_test_rand(&seed) % tr_everything_pb_bytes] = (char)tr_test_rand(&seed);
        load_fully(tr_span(copy, tr_everything_pb_bytes), &ok);
    }
    tr_free(copy);
}

static enum tr_err load_once(struct tr_span set)
{
    struct tr_typepool *pool;
    struct tr_status st;
    enum tr_err err = tr_typepool_new(&pool);
    if (err)
        return err;
    err = tr_typepool_add(pool, set, &st);
    if (!err)
        err = tr_typepool_link(pool, NULL, NULL, &st);
    for (uint32_t i = 0; !err && i < tr_typepool_service_count(pool); i++)
        if (!tr_typepool_service(pool, tr_typepool_service_name(pool, i)))
            err = TR_ERR_NOMEM;
    if (!err)
        err = tr_typepool_freeze(pool, true, &st);
    tr_typepool_free(pool);
    return err;
}

static void every_failed_allocation_is_told(void **state)
{
    (void)state;
    struct fds_one o;
    fds_one_begin(&o, NULL);
    fds_field(
        &o.msg, FDS_MSG_FIELD,
        (struct fds_field){
            .name = "some_field", .number = 1, .type = TR_FT_BYTES, .default_value = "\\001"});
    fds_field(
        &o.msg, FDS_MSG_FIELD,
        (struct fds_field){.name = "f", .number = 2, .type = TR_FT_MESSAGE, .type_name = "M"});
    fds_field(
        &o.file, FDS_FILE_EXTENSION,
        (struct fds_field){.name = "x", .number = 5, .type = TR_FT_INT32, .extendee = ".p.M"});
    fds_put_service(&o, ".p.M", ".p.M", TR_SPAN("\x82\xd3\xe4\x93\x02\x04\x22\x02/a"));
    fds_one_end(&o);
    enum tr_err err = TR_ERR_NOMEM;
    uint64_t n = 0;
    while (err) {
        tr_alloc_fail_after(++n);
        err = load_once(tr_buf_span(&o.set));
        tr_alloc_fail_after(0);
        assert_true(err == TR_OK || err == TR_ERR_NOMEM);
        assert_true(n < 100000);
    }
    assert_true(n > 10);
    fds_one_fini(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pool_has_states),
        cmocka_unit_test(every_truncation_is_a_result),
        cmocka_unit_test(every_flipped_byte_is_a_result),
        cmocka_unit_test(every_failed_allocation_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
