/* What a cluster makes of backends that misbehave. */
#include "test.h"
#include "upstream_world.h"

static struct world w;
static struct backend *b;
static struct tr_buf out;

/* The frames that came behind the preface. */
static struct tr_buf frames_in(void)
{
    const size_t preface = sizeof F_PREFACE - 1;
    return b->rx.len < preface
               ? (struct tr_buf){NULL, 0, 0}
               : (struct tr_buf){b->rx.ptr + preface, b->rx.len - preface, b->rx.len - preface};
}

static bool came(unsigned type, uint32_t id, struct frame *ret)
{
    struct tr_buf in = frames_in();
    return f_find(&in, type, id, ret);
}

static bool await(unsigned type, uint32_t id)
{
    struct frame f = F_NONE;
    for (int i = 0; i < 500; i++) {
        if (came(type, id, &f))
            return true;
        w_step(&w);
    }
    return false;
}

static void begin(void)
{
    w_init(&w);
    b = w_backend(&w, B_RAW, 1);
    w.conf.max_header_bytes = 4000;
    f_settings(&b->script, NULL, 0);
    w_cluster(&w);
    tr_buf_clear(&out);
}

/* A call whose request has arrived as stream 1. */
static struct test_call *called(void)
{
    begin();
    struct test_call *tc = w_call(&w, "request");
    assert_true(await(F_DATA, 1));
    return tc;
}

static void finish(void)
{
    w_fini(&w);
    tr_buf_fini(&out);
}

static void reply(void)
{
    raw_send(b, &out);
    tr_buf_clear(&out);
}

static void put_headers(uint32_t id, bool end, const char *const *fields)
{
    struct tr_buf block = {NULL, 0, 0};
    for (; *fields; fields += 2)
        f_field(&block, fields[0], fields[1]);
    f_frame(&out, F_HEADERS, F_END_HEADERS | (end ? F_END_STREAM : 0), id, block.ptr, block.len);
    tr_buf_fini(&block);
}

static const char *const head_ok[] = {":status", "200", "content-type", "application/grpc", NULL};
static const char *const trailers_ok[] = {"grpc-status", "0", NULL};
static const char *const trailers_only[] = {":status", "200", "grpc-status", "5", NULL};

static void ends_with(struct test_call *tc, enum tr_err err)
{
    assert_int_equal(w_until(&w, 1, 2000), 1);
    assert_int_equal(tc->err, err);
    assert_int_equal(tc->ends, 1);
}

static void backend_answers_in_order(void **state)
{
    (void)state;
    const char *const early[] = {":status", "103", "link", "x", NULL};
    struct test_call *tc = called();
    put_headers(1, false, early);
    put_headers(1, false, head_ok);
    f_frame(&out, F_DATA, 0, 1, "data", 4);
    put_headers(1, true, trailers_ok);
    reply();
    ends_with(tc, TR_OK);
    assert_int_equal(tc->heads, 1);
    assert_int_equal(tc->status, 200);
    assert_string_equal(tc->grpc_status, "0");
    assert_span_equal(tr_buf_span(&tc->data), "data");
    finish();
}

static void backend_answers_with_trailers_only(void **state)
{
    (void)state;
    struct test_call *tc = called();
    put_headers(1, true, trailers_only);
    reply();
    ends_with(tc, TR_OK);
    assert_true(tc->head_end);
    assert_string_equal(tc->grpc_status, "5");
    finish();
}

static void backend_ends_without_trailers(void **state)
{
    (void)state;
    struct test_call *tc = called();
    put_headers(1, false, head_ok);
    f_frame(&out, F_DATA, F_END_STREAM, 1, "data", 4);
    reply();
    ends_with(tc, TR_OK);
    assert_string_equal(tc->grpc_status, "");
    finish();
}

static void backend_answers_early(void **state)
{
    (void)state;
    struct frame f = F_NONE;
    begin();
    struct test_call *tc = w_call_prepare(&w, "first part");
    assert_int_equal(tr_ucall_start(&tc->call, w.cluster), TR_OK);
    tr_ucall_commit(&tc->call, false);
    assert_true(await(F_DATA, 1));
    put_headers(1, true, trailers_only);
    reply();
    ends_with(tc, TR_OK);
    assert_true(await(F_RST, 1));
    assert_true(came(F_RST, 1, &f));
    assert_int_equal(f_read_u32(f.payload), 8);
    tr_ucall_commit(&tc->call, true); /* harmless */
    finish();
}

static void resets(bool head, bool data, uint32_t code, enum tr_err want)
{
    struct test_call *tc = called();
    if (head)
        put_headers(1, false, head_ok);
    if (data)
        f_frame(&out, F_DATA, 0, 1, "data", 4);
    f_code(&out, F_RST, 1, code);
    reply();
    ends_with(tc, want);
    assert_int_equal(tc->h2_code, code);
    assert_int_equal(tc->call.progress, head ? TR_PROGRESS_ANSWERED : TR_PROGRESS_SENT);
    assert_int_equal(tr_cluster_stats(w.cluster)->connections, 1); /* the connection stays */
    finish();
}

static void backend_resets_at_each_point(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 14; code++)
        resets(false, false, code, code == 7 ? TR_ERR_UPSTREAM_REFUSED : TR_ERR_UPSTREAM_RESET);
    resets(true, false, 2, TR_ERR_UPSTREAM_RESET);
    resets(true, true, 8, TR_ERR_UPSTREAM_RESET);
}

static void goaway_unprocessed(void)
{
    f_head(&out, 8, F_GOAWAY, 0, 0);
    f_u32(&out, 0);
    f_u32(&out, 0);
}

/* It has answered, so it has read: whatever it says, that was not refused unread. */
static void backend_refuses_what_it_has_answered(void **state)
{
    (void)state;
    resets(true, false, 7, TR_ERR_UPSTREAM_RESET);
    struct test_call *tc = called();
    put_headers(1, false, head_ok);
    goaway_unprocessed();
    reply();
    ends_with(tc, TR_ERR_UPSTREAM_CLOSED);
    finish();
}

/* Some servers enforce grpc-timeout by RST_STREAM(CANCEL). */
static void backend_cancels_when_the_deadline_has_come(void **state)
{
    (void)state;
    static const struct {
        int64_t left_ms;
        uint32_t code;
        enum tr_err want;
    } cases[] = {{10, 8, TR_ERR_DEADLINE},
                 {-10, 8, TR_ERR_DEADLINE},
                 {60000, 8, TR_ERR_UPSTREAM_RESET},
                 {10, 2, TR_ERR_UPSTREAM_RESET}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct test_call *tc = called();
        tc->call.deadline_ns = tr_loop_now_ns(w.loop) + (uint64_t)(cases[i].left_ms * 1000000);
        f_code(&out, F_RST, 1, cases[i].code);
        reply();
        ends_with(tc, cases[i].want);
        finish();
    }
}

static void malformed(void (*make)(void), enum tr_err want)
{
    struct test_call *tc = called();
    make();
    reply();
    ends_with(tc, want);
    w_turns(&w, 10);
    finish();
}

static void no_status(void)
{
    put_headers(1, false, trailers_ok);
}

static void data_first(void)
{
    f_frame(&out, F_DATA, 0, 1, "data", 4);
}

static void upper_case(void)
{
    const char *const fields[] = {":status", "200", "Upper", "x", NULL};
    put_headers(1, false, fields);
}

static void control_in_value(void)
{
    const char *const fields[] = {":status", "200", "x", "a\001b", NULL};
    put_headers(1, false, fields);
}

static void wrong_length(void)
{
    const char *const fields[] = {":status", "200", "content-length", "10", NULL};
    put_headers(1, false, fields);
    f_frame(&out, F_DATA, F_END_STREAM, 1, "four", 4);
}

static void push(void)
{
    f_frame(&out, F_PUSH, F_END_HEADERS, 1, "\0\0\0\2", 4);
}

static void garbage(void)
{
    f_bytes(&out, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
}

static void put_large(bool with_status)
{
    char value[4001];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    const char *const fields[] = {":status", "200", "x", value, NULL};
    put_headers(1, !with_status, with_status ? fields : fields + 2);
}

static void too_large(void)
{
    put_large(true);
}

static void trailers_too_large(void)
{
    put_headers(1, false, head_ok);
    put_large(false);
}

static void idle_stream(void)
{
    put_headers(7, false, head_ok);
}

static void pings(void)
{
    for (int i = 0; i < 5000; i++)
        f_frame(&out, F_PING, 0, 0, "12345678", 8);
}

static void backend_sends_what_is_malformed(void **state)
{
    (void)state;
    malformed(no_status, TR_ERR_UPSTREAM_PROTOCOL);
    malformed(data_first, TR_ERR_UPSTREAM_PROTOCOL);
    malformed(upper_case, TR_ERR_UPSTREAM_PROTOCOL);
    malformed(control_in_value, TR_ERR_UPSTREAM_PROTOCOL);
    malformed(wrong_length, TR_ERR_UPSTREAM_PROTOCOL);
    malformed(push, TR_ERR_UPSTREAM_PROTOCOL);
    malformed(garbage, TR_ERR_UPSTREAM_PROTOCOL);
    malformed(idle_stream, TR_ERR_UPSTREAM_PROTOCOL);
    malformed(too_large, TR_ERR_UPSTREAM_HEADERS);
    malformed(trailers_too_large, TR_ERR_UPSTREAM_HEADERS);
    malformed(goaway_unprocessed, TR_ERR_UPSTREAM_GOAWAY);
}

static void backend_floods(void **state)
{
    (void)state;
    malformed(pings, TR_ERR_UPSTREAM_PROTOCOL);
}

static void backend_that_is_no_http2_server(void **state)
{
    (void)state;
    w_init(&w);
    b = w_backend(&w, B_RAW, 1);
    f_bytes(&b->script, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", 47);
    w_cluster(&w);
    struct test_call *tc = w_call(&w, "x");
    ends_with(tc, TR_ERR_UPSTREAM_PROTOCOL);
    assert_int_equal(tc->call.progress, TR_PROGRESS_NOT_SENT);
    w_fini(&w);
}

static void backend_goes_away_in_good_order(void **state)
{
    (void)state;
    struct test_call *tc = called();
    f_head(&out, 8, F_GOAWAY, 0, 0);
    f_u32(&out, 1);
    f_u32(&out, 0);
    reply();
    w_turns(&w, 10);
    assert_int_equal(tc->ends, 0);
    /* new calls take a new connection; the old one is kept until its call has ended */
    struct tr_stream *old = b->raw;
    b->raw = NULL;
    b->kind = B_ECHO;
    struct test_call *next = w_call(&w, "y");
    for (int i = 0; i < 200 && next->ends == 0; i++)
        w_step(&w);
    assert_int_equal(next->err, TR_OK);
    assert_int_equal(b->accepted, 2);
    b->raw = old;
    put_headers(1, false, head_ok);
    put_headers(1, true, trailers_ok);
    reply();
    assert_int_equal(w_until(&w, 2, 1000), 2);
    assert_int_equal(tc->err, TR_OK);
    w_turns(&w, 20);
    assert_int_equal(tr_cluster_stats(w.cluster)->connections, 1);
    finish();
}

static void call_another(struct test_call *tc)
{
    (void)tc;
    struct test_call *next = w_call(&w, "y");
    assert_ptr_equal(next->call.conn, tc->call.conn);
}

/* A call has its stream when the backend says goodbye, but nothing of it has been written: nghttp2
 * writes nothing any more. It goes to another connection, whatever the goodbye covers. */
static void backend_goes_away_before_a_call_is_written(void **state)
{
    (void)state;
    static const uint32_t last[] = {0x7FFFFFFF, 3, 1};
    for (size_t i = 0; i < sizeof last / sizeof last[0]; i++) {
        struct test_call *tc = called(), *next = &w.calls[1];
        tc->at_head = call_another;
        put_headers(1, false, head_ok);
        f_head(&out, 8, F_GOAWAY, 0, 0);
        f_u32(&out, last[i]);
        f_u32(&out, 0);
        put_headers(1, true, trailers_ok);
        reply();
        tr_stream_want(b->raw, false, false);
        struct tr_stream *old = b->raw;
        b->raw = NULL;
        b->kind = B_ECHO;
        assert_int_equal(w_until(&w, 2, 3000), 2);
        assert_int_equal(next->err, TR_OK);
        assert_int_equal(tc->err, TR_OK);
        assert_int_equal(b->accepted, 2);
        b->raw = old;
        finish();
    }
}

/* The answer, cut at each of its bytes by the end of the connection: one truthful end, whatever had
 * come. */
static void backend_cuts_at_each_byte(void **state)
{
    (void)state;
    size_t total = 1;
    for (size_t cut = 0; cut <= total; cut++) {
        struct test_call *tc = called();
        put_headers(1, false, head_ok);
        f_frame(&out, F_DATA, 0, 1, "data", 4);
        put_headers(1, true, trailers_ok);
        total = out.len;
        out.len = cut;
        reply();
        tr_stream_close(b->raw, false);
        b->raw = NULL;
        ends_with(tc, cut == total ? TR_OK : TR_ERR_UPSTREAM_CLOSED);
        finish();
    }
}

static void backend_storms_with_goaway(void **state)
{
    (void)state;
    w_init(&w);
    b = w_backend(&w, B_RAW, 1);
    f_settings(&b->script, NULL, 0);
    f_head(&b->script, 8, F_GOAWAY, 0, 0);
    f_u32(&b->script, 0);
    f_u32(&b->script, 0);
    w_cluster(&w);
    struct test_call *tc = w_call(&w, "x");
    assert_int_equal(w_until(&w, 1, 3000), 1);
    assert_int_not_equal(tc->err, TR_OK);
    assert_true(b->accepted < 100);
    w_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backend_answers_in_order),
        cmocka_unit_test(backend_answers_with_trailers_only),
        cmocka_unit_test(backend_ends_without_trailers),
        cmocka_unit_test(backend_answers_early),
        cmocka_unit_test(backend_resets_at_each_point),
        cmocka_unit_test(backend_refuses_what_it_has_answered),
        cmocka_unit_test(backend_cancels_when_the_deadline_has_come),
        cmocka_unit_test(backend_sends_what_is_malformed),
        cmocka_unit_test(backend_floods),
        cmocka_unit_test(backend_that_is_no_http2_server),
        cmocka_unit_test(backend_goes_away_in_good_order),
        cmocka_unit_test(backend_goes_away_before_a_call_is_written),
        cmocka_unit_test(backend_cuts_at_each_byte),
        cmocka_unit_test(backend_storms_with_goaway),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
