/* What a hostile or broken client may not do to a server connection. */
#include "h2_world.h"
#include "test.h"

static struct world w;

#define CALM 11 /* ENHANCE_YOUR_CALM */

static void begin(enum script script)
{
    w_base(&w, script);
}

static void open_raw(void)
{
    w_raw(&w, 1 << 20);
    w_preface(&w);
    w_send(&w, 0);
}

static uint32_t goaway_code(void)
{
    struct frame f = F_NONE;
    uint32_t code = ~0u;
    for (size_t pos = 0; f_next(&w.rx, &pos, &f);) {
        if (f.type == F_GOAWAY)
            code = f_read_u32(f.payload + 4);
    }
    return code;
}

/* The connection is ended with the code, and the error is counted once. */
static void assert_ended(uint32_t code, enum tr_err counted)
{
    assert_int_equal(goaway_code(), code);
    assert_true(w.rx_end);
    assert_int_equal(w.errors[counted], 1);
    tr_stream_close(w.peer, false);
    w.peer = NULL;
    w_run(&w, 8);
    assert_null(w.conn);
}

static void h2_limits_rapid_reset(void **state)
{
    (void)state;
    begin(MANUAL);
    w.limits.max_resets = 50;
    open_raw();
    for (uint32_t i = 0; i < 60 && !w.rx_end; i++) {
        f_request(&w.tx, 2 * i + 1, "GET", "/", NULL, NULL, true);
        f_code(&w.tx, F_RST, 2 * i + 1, 8);
    }
    w_send(&w, 0);
    assert_ended(CALM, TR_ERR_H2_RESETS);
    assert_true(w.call_count <= 51);
    w_fini(&w);
}

/* The client makes us reset its streams (CVE-2025-8671): WINDOW_UPDATE beyond the largest window.
 */
static void h2_limits_streams_that_we_must_reset(void **state)
{
    (void)state;
    begin(MANUAL);
    w.limits.max_resets = 50;
    open_raw();
    for (uint32_t i = 0; i < 60 && !w.rx_end; i++) {
        f_request(&w.tx, 2 * i + 1, "GET", "/", NULL, NULL, true);
        f_code(&w.tx, F_WINDOW, 2 * i + 1, 0x7fffffff);
        w_send(&w, 0);
    }
    assert_ended(CALM, TR_ERR_H2_RESETS);
    w_fini(&w);
}

static void flood(void (*frame)(void))
{
    begin(MANUAL);
    open_raw();
    f_request(&w.tx, 1, "POST", "/", NULL, NULL, false);
    w_send(&w, 0);
    for (int i = 0; i < 60 && !w.rx_end; i++) {
        for (int k = 0; k < 100; k++)
            frame();
        w_send(&w, 0);
    }
    assert_ended(CALM, TR_ERR_H2_FLOOD);
    w_fini(&w);
}

static void one_ping(void)
{
    f_frame(&w.tx, F_PING, 0, 0, "12345678", 8);
}

static void one_settings(void)
{
    f_settings(&w.tx, NULL, 0);
}

static void one_empty_data(void)
{
    f_head(&w.tx, 0, F_DATA, 0, 1);
}

static void one_padded_data(void)
{
    static const char padding[11] = {10};
    f_frame(&w.tx, F_DATA, 0x8, 1, padding, sizeof padding);
}

static void one_window_update(void)
{
    f_code(&w.tx, F_WINDOW, 0, 1);
}

static void one_priority(void)
{
    f_frame(&w.tx, F_PRIORITY, 0, 3, "\0\0\0\0\1", 5);
}

static void one_unknown(void)
{
    f_frame(&w.tx, 77, 0, 1, "what?", 5);
}

/* Of a stream that is closed: the first one resets it. */
static void one_late_update(void)
{
    if (w.call_count && !w.calls[0].gone)
        f_code(&w.tx, F_RST, 1, 8);
    f_code(&w.tx, F_WINDOW, 1, 1);
}

static void h2_limits_frames_that_carry_nothing(void **state)
{
    (void)state;
    flood(one_ping);
    flood(one_settings);
    flood(one_empty_data);
    flood(one_padded_data);
    flood(one_window_update);
    flood(one_priority);
    flood(one_unknown);
    flood(one_late_update);
}

static void h2_limits_lets_an_honest_stream_of_updates_pass(void **state)
{
    (void)state;
    static char big[4000];
    begin(MANUAL);
    open_raw();
    f_request(&w.tx, 1, "GET", "/", NULL, NULL, true);
    w_send(&w, 0);
    struct call *call = &w.calls[0];
    struct tr_resp_head head = {.status = 200, .content_length = -1};
    assert_int_equal(call->hs->ops->send_head(call->hs, &head, false), TR_OK);
    for (int i = 0; i < 3000; i++) { /* one update of each window for each frame */
        assert_int_equal(tr_buf_append(&call->hs->out, tr_span(big, sizeof big)), TR_OK);
        call->hs->ops->commit(call->hs, false);
        f_code(&w.tx, F_WINDOW, 0, sizeof big);
        f_code(&w.tx, F_WINDOW, 1, sizeof big);
        one_ping();
        w_send(&w, 0);
        tr_buf_clear(&w.rx);
    }
    assert_false(w.rx_end);
    assert_int_equal(w.errors[TR_ERR_H2_FLOOD], 0);
    w_fini(&w);
}

static void h2_limits_continuations(void **state)
{
    (void)state;
    begin(MANUAL);
    open_raw();
    struct tr_buf block = {NULL, 0, 0};
    f_request_block(&block, "GET", "/");
    f_frame(&w.tx, F_HEADERS, F_END_STREAM, 1, block.ptr, block.len);
    for (int i = 0; i < 1000; i++)
        f_head(&w.tx, 0, F_CONTINUATION, 0, 1);
    tr_buf_fini(&block);
    w_send(&w, 0);
    assert_int_not_equal(goaway_code(), ~0u);
    assert_true(w.rx_end);
    assert_int_equal(w.call_count, 0);
    assert_int_equal(w.errors[TR_ERR_H2_PROTOCOL] + w.errors[TR_ERR_H2_FLOOD], 1);
    w_fini(&w);
}

/* Many fields out of few bytes: a large entry of the table, named again and again. */
static void h2_limits_hpack_bombs(void **state)
{
    (void)state;
    char value[3900];
    memset(value, 'v', sizeof value);
    begin(AT_ONCE);
    open_raw();
    struct tr_buf block = {NULL, 0, 0};
    f_request_block(&block, "GET", "/");
    assert_int_equal(tr_buf_push(&block, 0x40), TR_OK); /* with indexing */
    f_string(&block, "x-bomb", 6);
    f_string(&block, value, sizeof value);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(tr_buf_push(&block, (char)0xbe), TR_OK); /* index 62 */
    f_frame(&w.tx, F_HEADERS, F_END_HEADERS | F_END_STREAM, 1, block.ptr, block.len);
    tr_buf_fini(&block);
    w_send(&w, 0);
    assert_ended(CALM, TR_ERR_H2_FLOOD);
    w_fini(&w);
}

static void h2_limits_header_time(void **state)
{
    (void)state;
    begin(MANUAL);
    w.limits.header_timeout_ns = 50000000;
    open_raw();
    struct tr_buf block = {NULL, 0, 0};
    f_request_block(&block, "GET", "/");
    f_frame(&w.tx, F_HEADERS, F_END_STREAM, 1, block.ptr, block.len); /* CONTINUATION never comes */
    tr_buf_fini(&block);
    w_send(&w, 0);
    w_wait(&w, 120);
    assert_ended(CALM, TR_ERR_HEADER_TIMEOUT);
    w_fini(&w);
}

static void h2_limits_the_time_of_the_preface(void **state)
{
    (void)state;
    begin(MANUAL);
    w.limits.header_timeout_ns = 50000000;
    w_raw(&w, 65536);
    f_bytes(&w.tx, F_PREFACE, 10);
    w_send(&w, 0);
    w_wait(&w, 120);
    assert_ended(CALM, TR_ERR_HEADER_TIMEOUT);
    w_fini(&w);
}

static void h2_limits_idle_connections(void **state)
{
    (void)state;
    begin(AT_ONCE);
    w.limits.keepalive_timeout_ns = 80000000;
    open_raw();
    for (uint32_t id = 1; id < 9; id += 2) {
        f_request(&w.tx, id, "GET", "/", NULL, NULL, true);
        w_send(&w, 0);
        w_wait(&w, 30);
    }
    assert_false(w.rx_end);
    w_wait(&w, 150);
    assert_true(w.rx_end);
    assert_int_equal(goaway_code(), 0);
    w_fini(&w);
}

static void h2_limits_late_bodies(void **state)
{
    (void)state;
    bool end;
    begin(MANUAL);
    w.limits.body_idle_timeout_ns = 60000000;
    open_raw();
    f_request(&w.tx, 1, "POST", "/late", NULL, NULL, false);
    f_request(&w.tx, 3, "POST", "/grpc", "content-type", "application/grpc+proto", false);
    w_send(&w, 0);
    for (int i = 0; i < 4; i++) {
        w_wait(&w, 25);
        f_frame(&w.tx, F_DATA, 0, 1, "x", 1);
        w_send(&w, 0);
    }
    assert_int_equal(w.calls[0].body_error, TR_OK);
    w_wait(&w, 120);
    assert_int_equal(w.calls[0].body_error, TR_ERR_BODY_TIMEOUT);
    assert_int_equal(f_data(&w.rx, 1, &end), 4);
    assert_true(end);
    assert_int_equal(w.calls[1].body_error, TR_OK); /* the pipeline's time counts for gRPC */
    w_fini(&w);
}

/* Windows that never open, with answers waiting behind them. */
static void h2_limits_stalled_windows(void **state)
{
    (void)state;
    const uint32_t zero[] = {4, 0};
    begin(AT_ONCE);
    w.limits.write_timeout_ns = 60000000;
    w_raw(&w, 65536);
    f_bytes(&w.tx, F_PREFACE, sizeof F_PREFACE - 1);
    f_settings(&w.tx, zero, 1);
    for (uint32_t i = 0; i < 20; i++)
        f_request(&w.tx, 2 * i + 1, "GET", "/", NULL, NULL, true);
    w_send(&w, 0);
    w_wait(&w, 150);
    assert_ended(CALM, TR_ERR_CLIENT_STALLED);
    w_fini(&w);
}

static void h2_limits_resets_one_stalled_stream_among_moving_ones(void **state)
{
    (void)state;
    const uint32_t small[] = {4, 10};
    struct frame f = F_NONE;
    begin(MANUAL);
    w.limits.write_timeout_ns = 60000000;
    w_raw(&w, 65536);
    f_bytes(&w.tx, F_PREFACE, sizeof F_PREFACE - 1);
    f_settings(&w.tx, small, 1);
    f_request(&w.tx, 1, "GET", "/", NULL, NULL, true);
    f_request(&w.tx, 3, "GET", "/", NULL, NULL, true);
    w_send(&w, 0);
    struct tr_resp_head head = {.status = 200, .content_length = -1};
    for (int i = 0; i < 2; i++) {
        struct tr_hstream *hs = w.calls[i].hs;
        assert_int_equal(hs->ops->send_head(hs, &head, false), TR_OK);
        assert_int_equal(tr_buf_append(&hs->out, TR_SPAN("0123456789abcdefghijklmnopqrstuvwxyz")),
                         TR_OK);
        hs->ops->commit(hs, false);
    }
    for (int i = 0; i < 12; i++) { /* the second one is read, slowly */
        w_wait(&w, 15);
        f_code(&w.tx, F_WINDOW, 3, 1);
        w_send(&w, 0);
    }
    assert_int_equal(w.calls[0].gone, TR_ERR_CLIENT_STALLED);
    assert_true(f_find(&w.rx, F_RST, 1, &f));
    assert_int_equal(w.calls[1].gone, TR_OK);
    assert_int_equal(goaway_code(), ~0u);
    w_fini(&w);
}

/* A peer that takes no bytes at all. */
static void h2_limits_a_transport_that_is_stuck(void **state)
{
    (void)state;
    static char big[100000];
    begin(MANUAL);
    w.limits.write_timeout_ns = 60000000;
    w_raw(&w, 4096);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", "/", NULL, NULL, true);
    w_send(&w, 50);
    tr_stream_want(w.peer, false, false);
    w_answer(&w.calls[0], 200, tr_span(big, 60000), false);
    w_release(&w.calls[0]);
    w_wait(&w, 180);
    assert_null(w.conn);
    assert_int_equal(w.errors[TR_ERR_CLIENT_STALLED], 1);
    w_fini(&w);
}

/* The GOAWAY waits behind an answer that the peer does not read; what the peer goes on sending is
 * thrown away, but not for as long as the answer may take. */
static void h2_limits_input_after_a_goaway_that_cannot_leave(void **state)
{
    (void)state;
    static char big[100000];
    begin(MANUAL);
    w.limits.max_resets = 5;
    w_raw(&w, 4096);
    w_preface(&w);
    f_request(&w.tx, 1, "GET", "/", NULL, NULL, true);
    w_send(&w, 50);
    tr_stream_want(w.peer, false, false);
    w_answer(&w.calls[0], 200, tr_span(big, 60000), false);
    w_release(&w.calls[0]);
    w_wait(&w, 20);
    for (uint32_t i = 1; i < 10; i++) {
        f_request(&w.tx, 2 * i + 1, "GET", "/", NULL, NULL, true);
        f_code(&w.tx, F_RST, 2 * i + 1, 8);
    }
    w_send(&w, 0);
    assert_int_equal(w.errors[TR_ERR_H2_RESETS], 1);
    assert_non_null(w.conn); /* there may be room for the GOAWAY yet */
    for (int i = 0; i < 40 && w.conn; i++) {
        for (int k = 0; k < 2048; k++)
            one_ping();
        w_send(&w, 0);
    }
    assert_null(w.conn);
    assert_int_equal(w.errors[TR_ERR_H2_RESETS], 1);
    assert_int_equal(w.errors[TR_ERR_CLIENT_STALLED], 0);
    w_fini(&w);
}

/* Above the connection's bound every sink is told to wait, and goes on when there is room again. */
static void h2_limits_buffered_bytes_of_a_connection(void **state)
{
    (void)state;
    static char part[20000];
    const uint32_t zero[] = {4, 0};
    begin(MANUAL);
    w.limits.max_buffered_bytes = 50000;
    w_raw(&w, 1 << 20);
    f_bytes(&w.tx, F_PREFACE, sizeof F_PREFACE - 1);
    f_settings(&w.tx, zero, 1);
    for (uint32_t i = 0; i < 3; i++)
        f_request(&w.tx, 2 * i + 1, "GET", "/", NULL, NULL, true);
    w_send(&w, 0);
    struct tr_resp_head head = {.status = 200, .content_length = -1};
    for (int i = 0; i < 3; i++) {
        struct tr_hstream *hs = w.calls[i].hs;
        assert_int_equal(hs->ops->send_head(hs, &head, false), TR_OK);
        assert_int_equal(tr_buf_append(&hs->out, tr_span(part, sizeof part)), TR_OK);
        hs->ops->commit(hs, false);
        size_t queued = hs->ops->queued(hs);
        assert_true(i < 2 ? queued == sizeof part : queued >= TR_OUT_HIGH_BYTES);
    }
    w_run(&w, 4);
    assert_int_equal(w.calls[2].writable_count, 0);
    f_code(&w.tx, F_WINDOW, 1, 100000);
    f_code(&w.tx, F_WINDOW, 3, 100000);
    w_send(&w, 0);
    assert_true(w.calls[2].writable_count > 0);
    assert_int_equal(w.calls[2].hs->ops->queued(w.calls[2].hs), sizeof part);
    w_fini(&w);
}

static void h2_limits_concurrent_streams(void **state)
{
    (void)state;
    struct frame f = F_NONE;
    begin(MANUAL);
    w.limits.max_concurrent_streams = 4;
    open_raw();
    for (uint32_t i = 0; i < 6; i++) {
        f_request(&w.tx, 2 * i + 1, "POST", "/", NULL, NULL, false);
        f_frame(&w.tx, F_DATA, 0, 2 * i + 1, "x", 1);
    }
    w_send(&w, 0);
    assert_int_equal(w.call_count, 4);
    assert_true(f_find(&w.rx, F_RST, 9, &f));
    assert_int_equal(f_read_u32(f.payload), 7);
    assert_int_equal(goaway_code(), ~0u);
    w_fini(&w);
}

/* Sinks that do not let go of streams that the client has reset hold memory: more are refused. */
static void h2_limits_streams_that_sinks_hold(void **state)
{
    (void)state;
    begin(MANUAL);
    w.limits.max_concurrent_streams = 4;
    open_raw();
    for (uint32_t i = 0; i < 20; i++) {
        f_request(&w.tx, 2 * i + 1, "GET", "/", NULL, NULL, true);
        w_send(&w, 0);
        if (w.call_count > i) /* closed, not released */
            w_answer(&w.calls[i], 200, TR_SPAN("x"), false);
    }
    assert_int_equal(w.call_count, 8);
    w_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(h2_limits_rapid_reset),
        cmocka_unit_test(h2_limits_streams_that_we_must_reset),
        cmocka_unit_test(h2_limits_frames_that_carry_nothing),
        cmocka_unit_test(h2_limits_lets_an_honest_stream_of_updates_pass),
        cmocka_unit_test(h2_limits_continuations),
        cmocka_unit_test(h2_limits_hpack_bombs),
        cmocka_unit_test(h2_limits_header_time),
        cmocka_unit_test(h2_limits_the_time_of_the_preface),
        cmocka_unit_test(h2_limits_idle_connections),
        cmocka_unit_test(h2_limits_late_bodies),
        cmocka_unit_test(h2_limits_stalled_windows),
        cmocka_unit_test(h2_limits_resets_one_stalled_stream_among_moving_ones),
        cmocka_unit_test(h2_limits_a_transport_that_is_stuck),
        cmocka_unit_test(h2_limits_input_after_a_goaway_that_cannot_leave),
        cmocka_unit_test(h2_limits_buffered_bytes_of_a_connection),
        cmocka_unit_test(h2_limits_concurrent_streams),
        cmocka_unit_test(h2_limits_streams_that_sinks_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
