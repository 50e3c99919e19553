#include "h2_world.h"
#include "test.h"

static struct world w;

static bool goaway_code(uint32_t *ret_code)
{
    struct frame f = F_NONE;
    bool found = false;
    for (size_t pos = 0; f_next(&w.rx, &pos, &f);) {
        if (f.type == F_GOAWAY) {
            *ret_code = f_read_u32(f.payload + 4);
            found = true;
        }
    }
    return found;
}

static void assert_goaway(uint32_t code)
{
    uint32_t got = ~0u;
    assert_true(goaway_code(&got));
    assert_int_equal(got, code);
}

static void assert_rst(uint32_t id, uint32_t code)
{
    struct frame f = F_NONE;
    assert_true(f_find(&w.rx, F_RST, id, &f));
    assert_int_equal(f_read_u32(f.payload), code);
}

/* ---- ordinary life -----------------------------------------------------------------------------
 */

static void h2_conn_answers_a_request(void **state)
{
    (void)state;
    bool end;
    w_base(&w, AT_ONCE);
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", "/a?b=c", "x-y", "z", true);
    w_send(&w, 0);
    assert_int_equal(w.call_count, 1);
    assert_string_equal(w.calls[0].path, "/a");
    assert_int_equal(f_data(&w.rx, 1, &end), 2);
    assert_true(end);
    assert_int_equal(f_count(&w.rx, F_RST), 0);
    w_fini(&w);
}

static void echo_in_pieces(size_t piece)
{
    bool end;
    w_base(&w, ECHO);
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "POST", "/one", NULL, NULL, false);
    f_request(&w.tx, 3, "POST", "/two", "content-length", "5", false);
    f_frame(&w.tx, F_DATA, 0, 1, "hello, ", 7);
    f_frame(&w.tx, F_DATA, F_END_STREAM, 3, "world", 5);
    f_frame(&w.tx, F_DATA, 0, 1, "you", 3);
    struct tr_buf block = {NULL, 0, 0};
    f_field(&block, "x-sum", "1");
    f_frame(&w.tx, F_HEADERS, F_END_HEADERS | F_END_STREAM, 1, block.ptr, block.len);
    tr_buf_fini(&block);
    f_frame(&w.tx, F_PING, 0, 0, "12345678", 8);
    w_send(&w, piece);
    assert_int_equal(w.call_count, 2);
    assert_string_equal(w.calls[0].trailers, "x-sum=1;");
    assert_int_equal(f_data(&w.rx, 1, &end), 10);
    assert_true(end);
    assert_int_equal(f_data(&w.rx, 3, &end), 5);
    assert_true(end);
    assert_int_equal(f_count(&w.rx, F_PING), 1);
    assert_int_equal(f_count(&w.rx, F_RST), 0);
    assert_int_equal(f_count(&w.rx, F_GOAWAY), 0);
    w_fini(&w);
}

static void h2_conn_takes_input_in_any_pieces(void **state)
{
    (void)state;
    echo_in_pieces(0);
    echo_in_pieces(1);
    uint64_t seed = tr_test_seed();
    for (int i = 0; i < 8; i++)
        echo_in_pieces(2 + tr_test_rand(&seed) % 40);
}

static void h2_conn_takes_first_bytes_read_by_others(void **state)
{
    (void)state;
    w_base(&w, AT_ONCE);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", "/first", NULL, NULL, true);
    w.peer = w_connect(&w, 65536, tr_buf_span(&w.tx));
    tr_stream_set_events(w.peer, &w_peer_events, &w);
    tr_stream_want(w.peer, true, false);
    assert_int_equal(w.call_count, 0); /* never from inside tr_h2_conn_new */
    tr_buf_clear(&w.tx);
    w_run(&w, 8);
    assert_int_equal(w.call_count, 1);
    assert_string_equal(w.calls[0].path, "/first");
    w_fini(&w);
}

/* An answer that is far larger than what the transport takes at once arrives whole. */
static void h2_conn_survives_short_writes(void **state)
{
    (void)state;
    bool end;
    static char big[300000];
    memset(big, 'x', sizeof big);
    w_base(&w, MANUAL);
    w_raw(&w, 1000);
    w_preface(&w);
    f_head(&w.tx, 4, F_WINDOW, 0, 0);
    f_u32(&w.tx, 1 << 20);
    uint32_t window[] = {4, 1 << 20};
    f_settings(&w.tx, window, 1);
    f_request(&w.tx, 1, "GET", "/", NULL, NULL, true);
    w_send(&w, 100);
    assert_int_equal(w.call_count, 1);
    w_answer(&w.calls[0], 200, tr_span(big, sizeof big), false);
    w_release(&w.calls[0]);
    w_run(&w, 1500);
    assert_int_equal(f_data(&w.rx, 1, &end), sizeof big);
    assert_true(end);
    w_fini(&w);
}

static void h2_conn_holds_the_sink_of_a_slow_reader(void **state)
{
    (void)state;
    static char big[TR_OUT_HIGH_BYTES + 1000];
    w_base(&w, MANUAL);
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", "/", NULL, NULL, true);
    w_send(&w, 0);
    struct call *call = &w.calls[0];
    struct tr_resp_head head = {.status = 200, .content_length = -1};
    assert_int_equal(call->hs->ops->send_head(call->hs, &head, false), TR_OK);
    assert_int_equal(tr_buf_append(&call->hs->out, tr_span(big, sizeof big)), TR_OK);
    call->hs->ops->commit(call->hs, false);
    assert_true(call->hs->ops->queued(call->hs) >= TR_OUT_HIGH_BYTES);
    w_run(&w, 100);
    /* the peer's window is 65535 */
    assert_int_equal(call->hs->ops->queued(call->hs), sizeof big - 65535);
    assert_int_equal(call->writable_count, 0);
    f_head(&w.tx, 4, F_WINDOW, 0, 0);
    f_u32(&w.tx, 1 << 20);
    f_head(&w.tx, 4, F_WINDOW, 0, 1);
    f_u32(&w.tx, 1 << 20);
    w_send(&w, 0);
    w_run(&w, 100);
    assert_int_equal(call->hs->ops->queued(call->hs), 0);
    assert_int_equal(call->writable_count, 1);
    call->hs->ops->commit(call->hs, true);
    w_release(call);
    w_fini(&w);
}

static void h2_conn_gives_credit_only_for_what_is_consumed(void **state)
{
    (void)state;
    static char bytes[16000];
    struct frame f = F_NONE;
    w_base(&w, MANUAL);
    w.keep_credit = true;
    w_raw(&w, 131072);
    w_preface(&w);
    f_request(&w.tx, 1, "POST", "/", NULL, NULL, false);
    for (int i = 0; i < 4; i++)
        f_frame(&w.tx, F_DATA, 0, 1, bytes, sizeof bytes);
    w_send(&w, 0);
    assert_int_equal(w.calls[0].body.len, 64000);
    assert_false(f_find(&w.rx, F_WINDOW, 1, &f));
    w.calls[0].hs->ops->consume(w.calls[0].hs, 64000);
    w_run(&w, 4);
    assert_true(f_find(&w.rx, F_WINDOW, 1, &f));
    assert_int_equal(f_read_u32(f.payload), 64000);
    w_fini(&w);
}

static void h2_conn_sends_100_only_when_expected(void **state)
{
    (void)state;
    w_base(&w, ECHO);
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "POST", "/", "expect", "100-continue", false);
    w_send(&w, 0);
    assert_int_equal(f_count(&w.rx, F_HEADERS), 1);
    f_request(&w.tx, 3, "POST", "/", NULL, NULL, false);
    w_send(&w, 0);
    assert_int_equal(f_count(&w.rx, F_HEADERS), 1);
    w_fini(&w);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void h2_conn_resets_with_no_error_after_an_early_answer(void **state)
{
    (void)state;
    bool end;
    w_base(&w, AT_ONCE);
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "POST", "/early", NULL, NULL, false);
    w_send(&w, 0);
    assert_int_equal(f_data(&w.rx, 1, &end), 6);
    assert_true(end);
    assert_rst(1, 0);
    /* what was on its way is ignored */
    f_frame(&w.tx, F_DATA, F_END_STREAM, 1, "x", 1);
    f_request(&w.tx, 3, "GET", "/", NULL, NULL, true);
    w_send(&w, 0);
    assert_int_equal(f_count(&w.rx, F_GOAWAY), 0);
    assert_int_equal(w.call_count, 2);
    w_fini(&w);
}

static void h2_conn_resets_with_the_code_of_the_reason(void **state)
{
    (void)state;
    static const struct {
        enum tr_hreset why;
        uint32_t code;
    } cases[] = {{TR_HRESET_INTERNAL, 2}, {TR_HRESET_CANCEL, 8}, {TR_HRESET_REFUSED, 7}};
    w_base(&w, MANUAL);
    w_raw(&w, 65536);
    w_preface(&w);
    for (uint32_t i = 0; i < 4; i++)
        f_request(&w.tx, 2 * i + 1, "GET", "/", NULL, NULL, true);
    w_send(&w, 0);
    for (uint32_t i = 0; i < 3; i++)
        w.calls[i].hs->ops->reset(w.calls[i].hs, cases[i].why);
    for (uint32_t i = 0; i < 4; i++)
        w_release(&w.calls[i]); /* the last one without an answer */
    w_run(&w, 4);
    for (uint32_t i = 0; i < 3; i++)
        assert_rst(2 * i + 1, cases[i].code);
    assert_rst(7, 2);
    w_fini(&w);
}

static void h2_conn_tells_the_sink_of_a_reset(void **state)
{
    (void)state;
    w_base(&w, MANUAL);
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", "/", NULL, NULL, true);
    f_code(&w.tx, F_RST, 1, 8);
    w_send(&w, 0);
    assert_int_equal(w.call_count, 1);
    assert_int_equal(w.calls[0].gone, TR_ERR_CLIENT_GONE);
    w_fini(&w);
}

static void h2_conn_tells_all_sinks_when_the_peer_closes(void **state)
{
    (void)state;
    w_base(&w, MANUAL);
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", "/", NULL, NULL, true);
    f_request(&w.tx, 3, "POST", "/", NULL, NULL, false);
    w_send(&w, 0);
    tr_stream_close(w.peer, false);
    w.peer = NULL;
    w_run(&w, 4);
    assert_int_equal(w.calls[0].gone, TR_ERR_CLIENT_GONE);
    assert_int_equal(w.calls[1].gone, TR_ERR_CLIENT_GONE);
    assert_null(w.conn);
    w_fini(&w);
}

static void h2_conn_keeps_its_memory_for_a_sink_that_releases_late(void **state)
{
    (void)state;
    w_base(&w, MANUAL);
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", "/", NULL, NULL, true);
    w_send(&w, 0);
    struct call *call = &w.calls[0];
    w_answer(call, 200, TR_SPAN("x"), false);
    w_run(&w, 4); /* the stream is closed, the sink holds on */
    tr_stream_close(w.peer, false);
    w.peer = NULL;
    w_run(&w, 4);
    assert_non_null(w.conn);
    assert_int_equal(call->gone, TR_OK);
    call->hs->ops->commit(call->hs, true); /* harmless */
    assert_int_equal(call->hs->ops->queued(call->hs), 0);
    w_release(call);
    assert_null(w.conn);
    w_fini(&w);
}

static void h2_conn_drains_in_two_steps(void **state)
{
    (void)state;
    struct frame f = F_NONE;
    w_base(&w, MANUAL);
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", "/", NULL, NULL, true);
    w_send(&w, 0);
    tr_hconn_drain(w.conn);
    w_run(&w, 4);
    assert_true(f_find(&w.rx, F_GOAWAY, ~0u, &f));
    assert_int_equal(f_read_u32(f.payload), 0x7fffffff);
    f_request(&w.tx, 3, "GET", "/late", NULL, NULL, true); /* still served */
    w_send(&w, 0);
    assert_int_equal(w.call_count, 2);
    tr_hconn_drain(w.conn);
    w_run(&w, 4);
    assert_int_equal(f_count(&w.rx, F_GOAWAY), 2);
    f_request(&w.tx, 5, "GET", "/too-late", NULL, NULL, true);
    w_send(&w, 0);
    assert_int_equal(w.call_count, 2);
    for (int i = 0; i < 2; i++) {
        w_answer(&w.calls[i], 200, TR_SPAN("x"), false);
        w_release(&w.calls[i]);
    }
    w_run(&w, 8);
    assert_true(w.rx_end);
    assert_goaway(0);
    w_fini(&w);
}

static void h2_conn_aborts_at_once(void **state)
{
    (void)state;
    w_base(&w, MANUAL);
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", "/", NULL, NULL, true);
    w_send(&w, 0);
    tr_hconn_abort(w.conn);
    assert_int_equal(w.calls[0].gone, TR_ERR_DRAINING);
    assert_null(w.conn);
    w_run(&w, 4);
    assert_true(w.rx_end || w.rx_error);
    w_fini(&w);
}

/* A sink that ends the connection that is telling it of a request: the other streams hear of it
 * after. */
static void h2_conn_aborts_from_inside_on_request(void **state)
{
    (void)state;
    w_base(&w, ABORT);
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", "/", NULL, NULL, true);
    f_request(&w.tx, 3, "GET", "/", NULL, NULL, true);
    w_send(&w, 0);
    assert_int_equal(w.calls[0].gone, TR_ERR_DRAINING);
    assert_null(w.conn);
    assert_true(w.rx_end || w.rx_error);
    w_fini(&w);
}

/* nghttp2 counts the pieces of the heads of CONTINUATION frames as if they were frames. */
static void h2_conn_takes_continuations_in_any_pieces(void **state)
{
    (void)state;
    for (size_t piece = 0; piece <= 24; piece++) {
        w_base(&w, MANUAL);
        w_raw(&w, 65536);
        w_preface(&w);
        struct tr_buf block = {NULL, 0, 0};
        f_request_block(&block, "GET", "/split");
        f_frame(&w.tx, F_HEADERS, F_END_STREAM, 1, block.ptr, 5);
        for (size_t i = 5; i < 10; i++)
            f_frame(&w.tx, F_CONTINUATION, 0, 1, block.ptr + i, 1);
        f_frame(&w.tx, F_CONTINUATION, 0, 1, "", 0);
        f_frame(&w.tx, F_CONTINUATION, F_END_HEADERS, 1, block.ptr + 10, block.len - 10);
        tr_buf_fini(&block);
        f_request(&w.tx, 3, "GET", "/next", NULL, NULL, true);
        w_send(&w, piece);
        assert_int_equal(w.call_count, 2);
        assert_int_equal(w.calls[0].refused, TR_OK);
        assert_string_equal(w.calls[0].path, "/split");
        assert_string_equal(w.calls[1].path, "/next");
        w_fini(&w);
    }
}

/* ---- bad heads ------------------------------------------------------------------------------- */

static void refused_head(const char *name, const char *value, enum tr_err want)
{
    bool end;
    w_base(&w, AT_ONCE);
    w_raw(&w, 262144);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", "/", name, value, true);
    w_send(&w, 0);
    assert_int_equal(w.call_count, 1);
    assert_int_equal(w.calls[0].refused, want);
    assert_int_equal(f_data(&w.rx, 1, &end), strlen(tr_err_info(want)->name));
    assert_true(end);
    w_fini(&w);
}

static void h2_conn_lets_the_service_answer_refused_heads(void **state)
{
    (void)state;
    refused_head("host", "other.test", TR_ERR_BAD_HOST);
    refused_head("x-a", "a\001b", TR_ERR_BAD_HEADER);
    refused_head("expect", "the unexpected", TR_ERR_EXPECTATION_FAILED);
}

static void h2_conn_limits_heads(void **state)
{
    (void)state;
    char path[200];
    memset(path, 'p', sizeof path);
    path[0] = '/';
    path[sizeof path - 1] = 0;
    w_base(&w, AT_ONCE);
    w.limits.max_path_bytes = 100;
    w.limits.max_header_bytes = 1000;
    w.limits.max_headers = 10;
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", path, NULL, NULL, true);
    struct tr_buf block = {NULL, 0, 0};
    f_request_block(&block, "GET", "/");
    for (int i = 0; i < 11; i++) /* pseudo-header fields do not count */
        f_field(&block, "a", "b");
    f_frame(&w.tx, F_HEADERS, F_END_HEADERS | F_END_STREAM, 3, block.ptr, block.len);
    tr_buf_clear(&block);
    f_request_block(&block, "GET", "/");
    for (int i = 0; i < 5; i++)
        f_field(&block, "a", path);
    f_frame(&w.tx, F_HEADERS, F_END_HEADERS | F_END_STREAM, 5, block.ptr, block.len);
    tr_buf_fini(&block);
    w_send(&w, 0);
    assert_int_equal(w.call_count, 3);
    assert_int_equal(w.calls[0].refused, TR_ERR_TARGET_TOO_LONG);
    assert_int_equal(w.calls[1].refused, TR_ERR_TOO_MANY_HEADERS);
    assert_int_equal(w.calls[2].refused, TR_ERR_HEADERS_TOO_LARGE);
    w_fini(&w);
}

static void h2_conn_resets_malformed_requests(void **state)
{
    (void)state;
    w_base(&w, AT_ONCE);
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", "/", "Upper", "x", true);
    f_request(&w.tx, 3, "GET", "/", "connection", "close", true);
    f_request(&w.tx, 5, "GET", "/", ":path", "/b", true);
    w_send(&w, 0);
    assert_int_equal(w.call_count, 0);
    for (uint32_t id = 1; id <= 5; id += 2)
        assert_rst(id, 1);
    assert_int_equal(w.errors[TR_ERR_H2_PROTOCOL], 3);
    w_fini(&w);
}

static void h2_conn_checks_content_length(void **state)
{
    (void)state;
    w_base(&w, MANUAL);
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "POST", "/", "content-length", "5", false);
    f_frame(&w.tx, F_DATA, F_END_STREAM, 1, "four", 4);
    w_send(&w, 0);
    assert_int_equal(w.calls[0].gone, TR_ERR_BAD_BODY_LENGTH);
    assert_rst(1, 1);
    w_fini(&w);
}

static void h2_conn_refuses_skipped_and_closed_streams(void **state)
{
    (void)state;
    w_base(&w, AT_ONCE);
    w_raw(&w, 65536);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", "/", NULL, NULL, true);
    f_request(&w.tx, 9, "GET", "/", NULL, NULL, true);
    w_send(&w, 0);
    assert_int_equal(w.call_count, 2);
    f_request(&w.tx, 5, "GET", "/", NULL, NULL, true);
    w_send(&w, 0);
    assert_int_equal(w.call_count, 2);
    assert_goaway(1);
    assert_true(w.rx_end);
    assert_int_equal(w.errors[TR_ERR_H2_PROTOCOL], 1);
    w_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(h2_conn_answers_a_request),
        cmocka_unit_test(h2_conn_takes_input_in_any_pieces),
        cmocka_unit_test(h2_conn_takes_first_bytes_read_by_others),
        cmocka_unit_test(h2_conn_survives_short_writes),
        cmocka_unit_test(h2_conn_holds_the_sink_of_a_slow_reader),
        cmocka_unit_test(h2_conn_gives_credit_only_for_what_is_consumed),
        cmocka_unit_test(h2_conn_sends_100_only_when_expected),
        cmocka_unit_test(h2_conn_resets_with_no_error_after_an_early_answer),
        cmocka_unit_test(h2_conn_resets_with_the_code_of_the_reason),
        cmocka_unit_test(h2_conn_tells_the_sink_of_a_reset),
        cmocka_unit_test(h2_conn_tells_all_sinks_when_the_peer_closes),
        cmocka_unit_test(h2_conn_keeps_its_memory_for_a_sink_that_releases_late),
        cmocka_unit_test(h2_conn_drains_in_two_steps),
        cmocka_unit_test(h2_conn_aborts_at_once),
        cmocka_unit_test(h2_conn_aborts_from_inside_on_request),
        cmocka_unit_test(h2_conn_lets_the_service_answer_refused_heads),
        cmocka_unit_test(h2_conn_takes_continuations_in_any_pieces),
        cmocka_unit_test(h2_conn_limits_heads),
        cmocka_unit_test(h2_conn_resets_malformed_requests),
        cmocka_unit_test(h2_conn_checks_content_length),
        cmocka_unit_test(h2_conn_refuses_skipped_and_closed_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
