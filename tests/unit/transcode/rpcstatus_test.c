#include "transcode/rpcstatus.h"

#include "base/base64.h"
#include "pool.h"
#include "test.h"
#include "wire_text.h"

static struct tr_typepool *pool;

struct rig {
    struct tr_arena arena;
    struct tr_buf status, out;
    struct tr_rpcstatus_json_opts opts;
};

static void rig_init(struct rig *r)
{
    memset(r, 0, sizeof *r);
    tr_arena_init(&r->arena, NULL);
    r->opts.pool = pool;
    r->opts.http_status = 400;
    r->opts.http_title = TR_SPAN("Bad Request");
}

static void rig_fini(struct rig *r)
{
    tr_buf_fini(&r->status);
    tr_buf_fini(&r->out);
    tr_arena_fini(&r->arena);
}

static void expect_json(struct rig *r, const char *want)
{
    tr_buf_clear(&r->out);
    assert_int_equal(tr_rpcstatus_json(&r->out, tr_buf_span(&r->status), &r->opts, &r->arena),
                     TR_OK);
    assert_span_equal(tr_buf_span(&r->out), want);
}

static void own_errors_carry_their_details(void **state)
{
    (void)state;
    struct rig r;
    struct tr_status st = {0};
    rig_init(&r);
    (void)tr_fail(&st, TR_ERR_JSON_TYPE, "expected a string");
    tr_status_set_field(&st, TR_SPAN("book.title"));
    st.line = 3;
    st.column = 14;
    assert_int_equal(tr_rpcstatus_build(&r.status, &st, 3, -1), TR_OK);
    expect_json(
        &r,
        "{\"code\":3,\"message\":\"expected a string (line 3, column 14)\",\"details\":["
        "{\"@type\":\"type.googleapis.com/"
        "google.rpc.ErrorInfo\",\"reason\":\"JSON_TYPE\",\"domain\":\"transom\"},"
        "{\"@type\":\"type.googleapis.com/"
        "google.rpc.BadRequest\",\"fieldViolations\":[{\"field\":\"book.title\","
        "\"description\":\"expected a string (line 3, column 14)\",\"reason\":\"JSON_TYPE\"}]}]}");
    rig_fini(&r);
}

static void own_errors_tell_when_to_come_again(void **state)
{
    (void)state;
    struct rig r;
    struct tr_status st = {.err = TR_ERR_OVERLOADED};
    rig_init(&r);
    assert_int_equal(tr_rpcstatus_build(&r.status, &st, 14, 1500), TR_OK);
    expect_json(
        &r, "{\"code\":14,\"message\":\"the gateway is overloaded\",\"details\":["
            "{\"@type\":\"type.googleapis.com/"
            "google.rpc.ErrorInfo\",\"reason\":\"OVERLOADED\",\"domain\":\"transom\"},"
            "{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"1.500s\"}]}");
    assert_int_equal(tr_rpcstatus_retry_after(tr_buf_span(&r.status)), 2);
    rig_fini(&r);
}

static void formats_frame_the_same_details(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    wire_text(
        &r.status,
        TR_SPAN("08 05 12 {\"no \" c3a9} 1a {0a {\"x/google.rpc.RequestInfo\"} 12 {0a {\"r1\"}}}"));
    r.opts.http_status = 404;
    r.opts.http_title = TR_SPAN("Not Found");
    expect_json(&r, "{\"code\":5,\"message\":\"no "
                    "\xC3\xA9\",\"details\":[{\"@type\":\"x/google.rpc.RequestInfo\","
                    "\"requestId\":\"r1\"}]}");
    r.opts.format = TR_ERROR_FORMAT_AIP193;
    expect_json(&r, "{\"error\":{\"code\":404,\"message\":\"no "
                    "\xC3\xA9\",\"status\":\"NOT_FOUND\",\"details\":["
                    "{\"@type\":\"x/google.rpc.RequestInfo\",\"requestId\":\"r1\"}]}}");
    r.opts.format = TR_ERROR_FORMAT_PROBLEM;
    expect_json(
        &r,
        "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\"detail\":\"no "
        "\xC3\xA9\","
        "\"code\":5,\"details\":[{\"@type\":\"x/google.rpc.RequestInfo\",\"requestId\":\"r1\"}]}");
    r.opts.format = TR_ERROR_FORMAT_AIP193;
    r.opts.pretty = true;
    r.opts.proto_names = true;
    expect_json(&r,
                "{\n  \"error\": {\n    \"code\": 404,\n    \"message\": \"no \xC3\xA9\",\n    "
                "\"status\": \"NOT_FOUND\",\n"
                "    \"details\": [\n      {\n        \"@type\": \"x/google.rpc.RequestInfo\",\n"
                "        \"request_id\": \"r1\"\n      }\n    ]\n  }\n}");
    rig_fini(&r);
}

static void details_that_cannot_be_printed_are_kept_as_bytes(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    wire_text(&r.status, TR_SPAN("08 02 12 {\"m\"} 1a {0a {\"x/un.Known\"} 12 {\"abc\"}}"
                                 "1a {0a {\"x/google.rpc.RequestInfo\"} 12 {0a 05}}" /* broken */
                                 "1a {12 {\"abc\"}} 1a {}"));
    expect_json(
        &r,
        "{\"code\":2,\"message\":\"m\",\"details\":[{\"@type\":\"x/un.Known\",\"value\":\"YWJj\"},"
        "{\"@type\":\"x/"
        "google.rpc.RequestInfo\",\"value\":\"CgU=\"},{\"@type\":\"\",\"value\":\"YWJj\"},{}]}");
    r.opts.pool = NULL;
    expect_json(
        &r,
        "{\"code\":2,\"message\":\"m\",\"details\":[{\"@type\":\"x/un.Known\",\"value\":\"YWJj\"},"
        "{\"@type\":\"x/"
        "google.rpc.RequestInfo\",\"value\":\"CgU=\"},{\"@type\":\"\",\"value\":\"YWJj\"},"
        "{\"@type\":\"\",\"value\":\"\"}]}");
    rig_fini(&r);
}

static void debug_info_is_dropped_unless_allowed(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    wire_text(&r.status,
              TR_SPAN("08 0d 1a {0a {\"x/google.rpc.DebugInfo\"} 12 {12 {\"secret\"}}}"));
    expect_json(&r, "{\"code\":13,\"message\":\"\"}");
    assert_int_equal(tr_rpcstatus_filter(&r.out, tr_buf_span(&r.status), false), TR_OK);
    assert_memory_equal(tr_buf_end(&r.out) - 2, "\x08\x0d", 2);
    r.opts.allow_debug_info = true;
    expect_json(&r, "{\"code\":13,\"message\":\"\",\"details\":[{\"@type\":\"x/"
                    "google.rpc.DebugInfo\",\"detail\":\"secret\"}]}");
    rig_fini(&r);
}

/* details_bin: wire text, in base64 as gRPC sends it. */
static void from_trailers(struct rig *r, unsigned code, const char *message, const char *details,
                          bool padded)
{
    struct tr_buf wire;
    tr_buf_init(&wire);
    wire_text(&wire, tr_span_cstr(details));
    char base64[1024];
    assert_true(tr_base64_encoded_len(wire.len) <= sizeof base64);
    size_t n = padded ? tr_base64_encode(base64, tr_buf_span(&wire))
                      : tr_base64_encode_unpadded(base64, tr_buf_span(&wire));
    tr_buf_clear(&r->status);
    assert_int_equal(tr_rpcstatus_from_trailers(&r->status, code, tr_span_cstr(message),
                                                tr_span(base64, n), &r->arena),
                     TR_OK);
    tr_buf_fini(&wire);
}

static void trailers_become_a_status(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    for (int padded = 0; padded < 2; padded++) {
        from_trailers(&r, 5, "no%20book %C3%A9", "08 05 12 {\"no book\"} 1a {0a {\"x/u.V\"}}",
                      padded);
        expect_json(&r, "{\"code\":5,\"message\":\"no book "
                        "\xC3\xA9\",\"details\":[{\"@type\":\"x/u.V\",\"value\":\"\"}]}");
    }
    /* they disagree: the trailers win */
    from_trailers(&r, 7, "mine", "08 05 12 {\"theirs\"} 1a {0a {\"x/u.V\"}}", false);
    expect_json(
        &r, "{\"code\":7,\"message\":\"mine\",\"details\":[{\"@type\":\"x/u.V\",\"value\":\"\"}]}");
    from_trailers(&r, 7, "", "08 05 12 {\"theirs\"}", false);
    expect_json(&r, "{\"code\":7,\"message\":\"theirs\"}");
    rig_fini(&r);
}

static void broken_details_are_left_out(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    assert_int_equal(
        tr_rpcstatus_from_trailers(&r.status, 3, TR_SPAN("m"), TR_SPAN("!!!"), &r.arena), TR_OK);
    expect_json(&r, "{\"code\":3,\"message\":\"m\"}");
    from_trailers(&r, 3, "m", "1a {0a {\"x/u.V\"}} 1a ff", false);
    expect_json(
        &r, "{\"code\":3,\"message\":\"m\",\"details\":[{\"@type\":\"x/u.V\",\"value\":\"\"}]}");
    rig_fini(&r);
}

static void expect_decoded(const char *from, const char *to)
{
    struct tr_buf out;
    tr_buf_init(&out);
    assert_int_equal(tr_rpcstatus_decode_message(&out, tr_span_cstr(from)), TR_OK);
    assert_span_equal(tr_buf_span(&out), to);
    tr_buf_fini(&out);
}

static void messages_are_percent_decoded(void **state)
{
    (void)state;
    expect_decoded("", "");
    expect_decoded("plain", "plain");
    expect_decoded("a%20b%25c%0a", "a b%c\n");
    expect_decoded("%E2%82%AC", "\xE2\x82\xAC");
    expect_decoded("bad %2 %zz %", "bad %2 %zz %");
    expect_decoded("%ff%E2%82", "\xEF\xBF\xBD\xEF\xBF\xBD");
    expect_decoded("x\xC3\xA9%C3", "x\xC3\xA9\xEF\xBF\xBD");
    expect_decoded("%F0%9F%98%80", "\xF0\x9F\x98\x80");
}

static void messages_are_percent_encoded(void **state)
{
    (void)state;
    struct tr_buf out;
    tr_buf_init(&out);
    assert_int_equal(tr_rpcstatus_encode_message(&out, TR_SPAN("a b%c~\n\x7f\xC3\xA9")), TR_OK);
    assert_span_equal(tr_buf_span(&out), "a b%25c~%0A%7F%C3%A9");
    tr_buf_clear(&out);
    /* back again, for every byte of ASCII */
    char all[128];
    for (int i = 0; i < 128; i++)
        all[i] = (char)i;
    struct tr_buf back;
    tr_buf_init(&back);
    assert_int_equal(tr_rpcstatus_encode_message(&out, tr_span(all, sizeof all)), TR_OK);
    assert_int_equal(tr_rpcstatus_decode_message(&back, tr_buf_span(&out)), TR_OK);
    assert_int_equal(back.len, sizeof all);
    assert_memory_equal(back.ptr, all, sizeof all);
    tr_buf_fini(&out);
    tr_buf_fini(&back);
}

static void expect_retry(const char *wire, int64_t seconds)
{
    struct tr_buf b;
    tr_buf_init(&b);
    wire_text(&b, tr_span_cstr(wire));
    assert_int_equal(tr_rpcstatus_retry_after(tr_buf_span(&b)), seconds);
    tr_buf_fini(&b);
}

static void retry_after_is_rounded_up(void **state)
{
    (void)state;
    expect_retry("", -1);
    expect_retry("08 08 1a {0a {\"t/google.rpc.RetryInfo\"} 12 {0a {08 05}}}", 5);
    expect_retry("08 08 1a {0a {\"t/google.rpc.RetryInfo\"} 12 {0a {08 05 10 01}}}", 6);
    expect_retry("08 08 1a {0a {\"t/google.rpc.RetryInfo\"} 12 {0a {10 01}}}", 1);
    expect_retry("08 08 1a {0a {\"t/google.rpc.RetryInfo\"}}", 0);
    expect_retry("08 08 1a {0a {\"t/google.rpc.RetryInfo\"} 12 {0a {08 ffffffffffffffffff01}}}",
                 -1);
    expect_retry("08 08 1a {0a {\"t/google.rpc.Other\"} 12 {0a {08 05}}}", -1);
    expect_retry("08 08 1a {0a {\"google.rpc.RetryInfo\"} 12 {0a {08 05}}}", -1);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    enum tr_err err = TR_ERR_NOMEM;
    unsigned n = 0;
    while (err == TR_ERR_NOMEM) {
        struct rig r;
        struct tr_status st = {.err = TR_ERR_JSON_TYPE, .line = 1, .column = 1};
        rig_init(&r);
        tr_alloc_fail_after(++n);
        err = tr_rpcstatus_build(&r.status, &st, 3, 10);
        if (!err)
            err = tr_rpcstatus_json(&r.out, tr_buf_span(&r.status), &r.opts, &r.arena);
        tr_alloc_fail_after(0);
        assert_true(!err || r.out.len == 0);
        rig_fini(&r);
    }
    assert_int_equal(err, TR_OK);
    assert_true(n > 3);
}

static int load(void **state)
{
    (void)state;
    pool = pool_load(TR_TEST_SET);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    tr_typepool_free(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_errors_carry_their_details),
        cmocka_unit_test(own_errors_tell_when_to_come_again),
        cmocka_unit_test(formats_frame_the_same_details),
        cmocka_unit_test(details_that_cannot_be_printed_are_kept_as_bytes),
        cmocka_unit_test(debug_info_is_dropped_unless_allowed),
        cmocka_unit_test(trailers_become_a_status),
        cmocka_unit_test(broken_details_are_left_out),
        cmocka_unit_test(messages_are_percent_decoded),
        cmocka_unit_test(messages_are_percent_encoded),
        cmocka_unit_test(retry_after_is_rounded_up),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
