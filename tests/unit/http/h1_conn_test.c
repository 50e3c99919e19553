#include "h1_world.h"

#define GET(path)     "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK(len, body) "HTTP/1.1 200 OK\r\ncontent-length: " len "\r\n\r\n" body
#define OK_CLOSE(len, body)                                                                        \
    "HTTP/1.1 200 OK\r\ncontent-length: " len "\r\nconnection: close\r\n\r\n" body

static void requests_are_answered_one_after_another(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AT_ONCE);
    say(&w, GET("/a"));
    assert_string_equal(heard(&w), OK("2", "/a"));
    say(&w, "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz");
    assert_string_equal(heard(&w), OK("2", "/b"));
    say(&w, GET("/c"));
    assert_string_equal(heard(&w), OK("2", "/c"));
    assert_false(w.rx_end);
    assert_int_equal(w.calls[2].hs->id, 3);
    world_fini(&w);
}

static void every_answer_has_a_date(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AT_ONCE);
    say(&w, GET("/a"));
    assert_int_equal(tr_buf_push(&w.rx, '\0'), TR_OK);
    const char *date = strstr(w.rx.ptr, "\r\ndate: ");
    assert_non_null(date);
    assert_memory_equal(date + 8 + 25, " GMT\r\n", 6);
    world_fini(&w);
}

static void first_bytes_of_a_sniffed_stream_are_served(void **state)
{
    (void)state;
    struct world w;
    world_init_first(&w, AT_ONCE, 4096, TR_SPAN("GET /a HTTP/1.1\r\nHo"));
    say(&w, "st: a\r\n\r\n");
    assert_string_equal(heard(&w), OK("2", "/a"));
    world_fini(&w);
}

static void bodies_reach_the_sink_in_any_cut(void **state)
{
    (void)state;
    static const char text[] = "POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
                               "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                               "chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n"
                               "GET /g HTTP/1.1\r\nHost: a\r\n\r\n";
    for (size_t step = 1; step < sizeof text; step += step < 20 ? 1 : 37) {
        struct world w;
        world_init(&w, AT_END);
        for (size_t at = 0; at < sizeof text - 1; at += step) {
            size_t n = sizeof text - 1 - at;
            n = n < step ? n : step;
            assert_int_equal(tr_stream_write(w.client, text + at, n), n);
            tr_loop_turn(w.loop, false);
            tr_loop_turn(w.loop, false);
        }
        turns(&w);
        assert_string_equal(heard(&w), OK("5", "hello") OK("5", "abcde") OK("2", "/g"));
        assert_int_equal(w.call_count, 3);
        assert_string_equal(w.calls[1].trailers, "a=b;");
        assert_int_equal(w.calls[0].end_count + w.calls[1].end_count, 2);
        assert_int_equal(w.calls[2].end_count, 0);
        world_fini(&w);
    }
}

static void pipelined_requests_share_one_write(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AT_ONCE);
    say(&w,
        GET("/1") GET("/2") "POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" GET("/4"));
    assert_int_equal(w.rx_reads, 1);
    assert_string_equal(heard(&w), OK("2", "/1") OK("2", "/2") OK("2", "/3") OK("2", "/4"));
    world_fini(&w);
}

static void a_pipelined_request_waits_for_the_answer_before_it(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, MANUAL);
    say(&w, GET("/1") GET("/2"));
    assert_int_equal(w.call_count, 1);
    answer(&w.calls[0], 200, "one", true);
    turns(&w);
    assert_int_equal(w.call_count, 1); /* not released yet */
    release(&w.calls[0]);
    turns(&w);
    assert_int_equal(w.call_count, 2);
    assert_string_equal(heard(&w), OK("3", "one"));
    answer(&w.calls[1], 200, "two", true);
    release(&w.calls[1]);
    turns(&w);
    assert_string_equal(heard(&w), OK("3", "two"));
    world_fini(&w);
}

static void pipelined_bytes_are_bounded(void **state)
{
    (void)state;
    struct world w;
    world_init_first(&w, MANUAL, 1 << 20, TR_SPAN(""));
    say(&w, GET("/1"));
    static char junk[400 * 1024];
    memset(junk, 'x', sizeof junk);
    assert_int_equal(tr_stream_write(w.client, junk, sizeof junk), sizeof junk);
    turns(&w);
    struct h1_conn *c = h1_of(w.conn);
    assert_true(c->in.len >= H1_PIPELINE_MAX);
    assert_true(c->in.len <= H1_PIPELINE_MAX + TR_HREAD_BYTES);
    world_fini(&w);
}

static void an_answer_of_unknown_length_is_chunked(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, MANUAL);
    say(&w, GET("/1"));
    struct tr_hstream *hs = w.calls[0].hs;
    struct tr_resp_head head = {.status = 200, .content_length = -1};
    assert_int_equal(hs->ops->send_head(hs, &head, false), TR_OK);
    turns(&w);
    assert_string_equal(heard(&w), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_int_equal(tr_buf_append(&hs->out, TR_SPAN("abc")), TR_OK);
    hs->ops->commit(hs, false);
    assert_int_equal(tr_buf_append(&hs->out, TR_SPAN("defghijklmnop")), TR_OK);
    hs->ops->commit(hs, false);
    turns(&w);
    assert_string_equal(heard(&w),
                        "10\r\nabcdefghijklmnop\r\n"); /* all that is ready is one chunk */
    assert_int_equal(tr_buf_append(&hs->out, TR_SPAN("q")), TR_OK);
    hs->ops->commit(hs, true);
    release(&w.calls[0]);
    turns(&w);
    assert_string_equal(heard(&w), "1\r\nq\r\n0\r\n\r\n");
    say(&w, GET("/2"));
    assert_int_equal(w.call_count, 2);
    world_fini(&w);
}

static void an_answer_complete_before_the_write_gets_its_length(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, MANUAL);
    say(&w, GET("/1"));
    answer(&w.calls[0], 200, "abc", false);
    release(&w.calls[0]);
    turns(&w);
    assert_string_equal(heard(&w), OK("3", "abc"));
    world_fini(&w);
}

static void trailers_go_to_clients_that_take_them(void **state)
{
    (void)state;
    struct tr_header t[] = {{TR_SPAN_INIT("grpc-status"), TR_SPAN_INIT("0"), TR_TOKEN_GRPC_STATUS}};
    struct tr_headers trailers = {t, 1, 1};
    for (int takes = 0; takes < 2; takes++) {
        struct world w;
        world_init(&w, MANUAL);
        say(&w, takes ? "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n" : GET("/"));
        struct tr_hstream *hs = w.calls[0].hs;
        struct tr_resp_head head = {.status = 200, .content_length = -1};
        assert_int_equal(tr_buf_append(&hs->out, TR_SPAN("abc")), TR_OK);
        assert_int_equal(hs->ops->send_head(hs, &head, false), TR_OK);
        hs->ops->commit(hs, false);
        if (!takes)
            turns(&w);
        assert_int_equal(hs->ops->send_trailers(hs, &trailers), TR_OK);
        release(&w.calls[0]);
        turns(&w);
        assert_string_equal(
            heard(&w),
            takes ? "HTTP/1.1 200 OK\r\ntransfer-encoding: "
                    "chunked\r\n\r\n3\r\nabc\r\n0\r\ngrpc-status: 0\r\n\r\n"
                  : "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        say(&w, GET("/2"));
        assert_int_equal(w.call_count, 2);
        world_fini(&w);
    }
}

static void head_and_204_have_no_body(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, MANUAL);
    say(&w, "HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    answer(&w.calls[0], 200, "abc", true);
    release(&w.calls[0]);
    turns(&w);
    assert_string_equal(heard(&w), OK("3", ""));
    say(&w, GET("/2"));
    answer(&w.calls[1], 204, "abc", true);
    release(&w.calls[1]);
    turns(&w);
    assert_string_equal(heard(&w), "HTTP/1.1 204 No Content\r\n\r\n");
    say(&w, "HEAD /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    struct tr_resp_head head = {.status = 200, .content_length = -1};
    assert_int_equal(w.calls[2].hs->ops->send_head(w.calls[2].hs, &head, false), TR_OK);
    turns(&w);
    assert_int_equal(tr_buf_append(&w.calls[2].hs->out, TR_SPAN("abc")), TR_OK);
    w.calls[2].hs->ops->commit(w.calls[2].hs, true);
    release(&w.calls[2]);
    turns(&w);
    assert_string_equal(heard(&w), "HTTP/1.1 200 OK\r\n\r\n");
    say(&w, GET("/4"));
    assert_int_equal(w.call_count, 4);
    world_fini(&w);
}

static void http10_is_closed_after_and_never_chunked(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AT_ONCE);
    say(&w, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_string_equal(heard(&w), OK_CLOSE("2", "/a"));
    assert_true(w.rx_end);
    assert_null(w.conn);
    world_fini(&w);

    world_init(&w, MANUAL);
    say(&w, "GET /a HTTP/1.0\r\n\r\n");
    struct tr_hstream *hs = w.calls[0].hs;
    struct tr_resp_head head = {.status = 200, .content_length = -1};
    assert_int_equal(hs->ops->send_head(hs, &head, false), TR_OK);
    assert_int_equal(tr_buf_append(&hs->out, TR_SPAN("abc")), TR_OK);
    hs->ops->commit(hs, false);
    turns(&w);
    assert_string_equal(heard(&w), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc");
    assert_false(w.rx_end);
    hs->ops->commit(hs, true);
    release(&w.calls[0]);
    turns(&w);
    assert_true(w.rx_end);
    world_fini(&w);
}

static void connection_close_is_honoured(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AT_ONCE);
    say(&w, "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n" GET("/b"));
    assert_string_equal(heard(&w), OK_CLOSE("2", "/a"));
    assert_true(w.rx_end);
    assert_int_equal(w.call_count, 1);
    world_fini(&w);
}

static void a_malformed_head_is_answered_and_ends_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum tr_err err;
    } cases[] = {
        {"GET / HTTP/1.1\r\nA b\r\n\r\n", TR_ERR_BAD_HEADER},
        {"GET / HTTP/1.1\r\n\r\n" GET("/next"), TR_ERR_BAD_HOST},
        {"garbage HTTP/1.1 x\r\n", TR_ERR_BAD_REQUEST_LINE},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", TR_ERR_UPGRADE},
        {"GET / HTTP/3.0\r\n\r\n", TR_ERR_HTTP_VERSION},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: "
         "chunked\r\n\r\n0\r\n\r\n",
         TR_ERR_BAD_FRAMING},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: x\r\n\r\n",
         TR_ERR_EXPECTATION_FAILED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world w;
        world_init(&w, AT_ONCE);
        say(&w, cases[i].text);
        assert_int_equal(w.call_count, 1);
        assert_int_equal(w.calls[0].refused, cases[i].err);
        const char *text = heard(&w);
        assert_non_null(strstr(text, "connection: close\r\n"));
        assert_non_null(strstr(text, tr_err_info(cases[i].err)->name));
        assert_true(w.rx_end);
        assert_non_null(w.conn); /* lingers */
        tr_stream_shutdown(w.client);
        turns(&w);
        assert_null(w.conn);
        world_fini(&w);
    }
}

static void another_protocol_gets_no_answer_and_the_end(void **state)
{
    (void)state;
    static const char *const texts[] = {"garbage\r\n", "INVALID CONNECTION PREFACE\r\n\r\nmore",
                                        "GET /\r\n\r\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct world w;
        world_init(&w, AT_ONCE);
        say(&w, texts[i]);
        assert_int_equal(w.call_count, 0);
        assert_string_equal(heard(&w), "");
        assert_true(w.rx_end);
        tr_stream_shutdown(w.client);
        turns(&w);
        assert_null(w.conn);
        world_fini(&w);
    }
}

static void a_refusal_knows_its_request(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, MANUAL);
    say(&w, "PUT /p HTTP/1.1\r\nA b\r\n\r\n");
    assert_int_equal(w.calls[0].method, TR_METHOD_PUT);
    assert_string_equal(w.calls[0].path, "/p");
    world_fini(&w);
}

static void continue_is_sent_when_the_sink_says_so(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, MANUAL);
    say(&w, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_string_equal(heard(&w), "");
    struct tr_hstream *hs = w.calls[0].hs;
    hs->ops->send_continue(hs);
    hs->ops->send_continue(hs);
    turns(&w);
    assert_string_equal(heard(&w), "HTTP/1.1 100 Continue\r\n\r\n");
    say(&w, "hello");
    assert_span_equal(tr_buf_span(&w.calls[0].body), "hello");
    assert_true(w.calls[0].ended);
    answer(&w.calls[0], 200, "x", true);
    release(&w.calls[0]);
    turns(&w);
    assert_string_equal(heard(&w), OK("1", "x"));
    world_fini(&w);
}

static void a_refused_expectation_closes_without_reading_the_body(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AT_ONCE);
    say(&w, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_string_equal(heard(&w), OK_CLOSE("2", "/a"));
    assert_true(w.rx_end);
    say(&w, "hello" GET("/b"));
    assert_int_equal(w.call_count, 1);
    world_fini(&w);
}

static void a_client_that_does_not_wait_needs_no_continue(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AT_END);
    w.script = MANUAL;
    say(&w,
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello");
    struct tr_hstream *hs = w.calls[0].hs;
    hs->ops->send_continue(hs);
    answer(&w.calls[0], 200, "x", true);
    release(&w.calls[0]);
    turns(&w);
    assert_string_equal(heard(&w), OK("1", "x"));
    world_fini(&w);
}

static void a_short_unwanted_body_is_drained(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AT_ONCE);
    say(&w, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nfour");
    assert_string_equal(heard(&w), OK("2", "/a"));
    say(&w, "more" GET("/b"));
    assert_string_equal(heard(&w), OK("2", "/b"));
    say(&w, "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n");
    assert_string_equal(heard(&w), OK("2", "/c"));
    say(&w, "0\r\n\r\n" GET("/d"));
    assert_string_equal(heard(&w), OK("2", "/d"));
    world_fini(&w);
}

static void a_long_unwanted_body_ends_the_connection(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AT_ONCE);
    say(&w, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\nfour");
    assert_string_equal(heard(&w), OK_CLOSE("2", "/a"));
    assert_true(w.rx_end);
    world_fini(&w);

    world_init(&w, AT_ONCE);
    say(&w, "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_string_equal(heard(&w), OK("2", "/a"));
    static char chunk[70000];
    memset(chunk, 'x', sizeof chunk);
    memcpy(chunk, "20000\r\n", 7);
    assert_int_equal(tr_stream_write(w.client, chunk, sizeof chunk), sizeof chunk);
    turns(&w);
    assert_true(w.rx_end);
    world_fini(&w);
}

static void a_bad_body_is_told_before_the_answer_and_cut_after(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AT_END);
    say(&w,
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n" GET(
            "/b"));
    assert_int_equal(w.calls[0].body_error, TR_ERR_BAD_CHUNK);
    assert_string_equal(
        heard(&w),
        "HTTP/1.1 400 Bad Request\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody");
    assert_int_equal(w.call_count, 1);
    world_fini(&w);

    world_init(&w, MANUAL);
    say(&w, "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    struct tr_resp_head head = {.status = 200, .content_length = -1};
    assert_int_equal(w.calls[0].hs->ops->send_head(w.calls[0].hs, &head, false), TR_OK);
    say(&w, "zz\r\n");
    assert_int_equal(w.calls[0].gone, TR_ERR_BAD_CHUNK);
    assert_true(w.rx_error);
    world_fini(&w);
}

static void a_sink_that_answered_early_hears_of_a_bad_body(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, MANUAL);
    say(&w, "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    answer(&w.calls[0], 200, "early", true);
    say(&w, "zz\r\n");
    assert_int_equal(w.calls[0].gone, TR_ERR_BAD_CHUNK);
    release(&w.calls[0]);
    turns(&w);
    assert_string_equal(heard(&w), OK("5", "early"));
    assert_true(w.rx_end);
    world_fini(&w);
}

static void a_body_goes_on_after_an_early_answer_until_it_is_unwanted(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, MANUAL);
    say(&w, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc");
    answer(&w.calls[0], 200, "early", true);
    say(&w, "def");
    assert_string_equal(heard(&w), OK("5", "early"));
    assert_span_equal(tr_buf_span(&w.calls[0].body), "abcdef");
    w.calls[0].hs->ops->reset(w.calls[0].hs, TR_HRESET_NO_ERROR);
    say(&w, "ghi");
    assert_span_equal(tr_buf_span(&w.calls[0].body), "abcdef");
    assert_false(w.calls[0].ended);
    release(&w.calls[0]);
    say(&w, GET("/b"));
    assert_int_equal(w.call_count, 2);
    world_fini(&w);
}

static void a_sink_may_release_or_abort_anywhere(void **state)
{
    (void)state;
    for (int where = 0; where < 6; where++) {
        struct world w;
        world_init(&w, MANUAL);
        w.act_at = where / 2 + 1;
        w.act_abort = where % 2 != 0;
        say(&w, "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" GET("/b"));
        assert_true(w.calls[0].released || w.calls[0].gone);
        world_fini(&w);
    }
}

static void the_end_of_input_cancels_an_owed_answer(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, MANUAL);
    say(&w, GET("/a") GET("/b"));
    tr_stream_shutdown(w.client);
    turns(&w);
    assert_int_equal(w.calls[0].gone, TR_ERR_CLIENT_GONE);
    assert_int_equal(w.calls[0].gone_count, 1);
    assert_int_equal(w.call_count, 1);
    release(&w.calls[0]);
    turns(&w);
    assert_null(w.conn);
    assert_int_equal(w.call_count, 1);
    world_fini(&w);
}

static void the_end_of_input_lets_complete_answers_out(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AT_ONCE);
    assert_true(tr_stream_write(w.client, GET("/a") GET("/b"), 2 * (sizeof GET("/a") - 1)) > 0);
    tr_stream_shutdown(w.client);
    turns(&w);
    assert_string_equal(heard(&w), OK("2", "/a") OK("2", "/b"));
    assert_true(w.rx_end);
    assert_null(w.conn);
    world_fini(&w);
}

static void a_body_that_ends_early_is_gone(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, MANUAL);
    say(&w, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
    tr_stream_shutdown(w.client);
    turns(&w);
    assert_int_equal(w.calls[0].gone, TR_ERR_CLIENT_GONE);
    assert_false(w.calls[0].ended);
    world_fini(&w);
}

static void an_idle_client_that_leaves_costs_nothing(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AT_ONCE);
    say(&w, GET("/a"));
    tr_stream_shutdown(w.client);
    turns(&w);
    assert_null(w.conn);
    world_fini(&w);
    world_init(&w, AT_ONCE);
    say(&w, "GET /a HTT");
    tr_stream_shutdown(w.client);
    turns(&w);
    assert_null(w.conn);
    assert_int_equal(w.call_count, 0);
    world_fini(&w);
}

static void a_reset_answer_is_never_complete(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, MANUAL);
    say(&w, GET("/a"));
    struct tr_hstream *hs = w.calls[0].hs;
    struct tr_resp_head head = {.status = 200, .content_length = -1};
    assert_int_equal(hs->ops->send_head(hs, &head, false), TR_OK);
    assert_int_equal(tr_buf_append(&hs->out, TR_SPAN("abc")), TR_OK);
    hs->ops->commit(hs, false);
    hs->ops->reset(hs, TR_HRESET_INTERNAL);
    release(&w.calls[0]);
    turns(&w);
    assert_string_equal(heard(&w),
                        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_true(w.rx_end);
    assert_int_equal(w.calls[0].gone_count, 0);
    world_fini(&w);

    world_init(&w, MANUAL); /* HTTP/1.0: only a RST tells it from success */
    say(&w, "GET /a HTTP/1.0\r\n\r\n");
    assert_int_equal(w.calls[0].hs->ops->send_head(w.calls[0].hs, &head, false), TR_OK);
    turns(&w);
    release(&w.calls[0]);
    turns(&w);
    assert_true(w.rx_error);
    world_fini(&w);
}

static void a_release_without_an_answer_closes(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, MANUAL);
    say(&w, GET("/a"));
    release(&w.calls[0]);
    turns(&w);
    assert_string_equal(heard(&w), "");
    assert_null(w.conn);
    world_fini(&w);
}

static void a_wrong_length_is_never_mistaken_for_the_next_answer(void **state)
{
    (void)state;
    for (int64_t length = 2; length <= 4; length += 2) {
        struct world w;
        world_init(&w, MANUAL);
        say(&w, GET("/a"));
        struct tr_hstream *hs = w.calls[0].hs;
        struct tr_resp_head head = {.status = 200, .content_length = length};
        assert_int_equal(tr_buf_append(&hs->out, TR_SPAN("abc")), TR_OK);
        assert_int_equal(hs->ops->send_head(hs, &head, false), TR_OK);
        hs->ops->commit(hs, true);
        release(&w.calls[0]);
        turns(&w);
        assert_string_equal(heard(&w), length == 2 ? OK("2", "ab") : OK("4", "abc"));
        assert_true(w.rx_end);
        world_fini(&w);
    }
}

static void draining_ends_idle_connections_and_marks_answers(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, AT_ONCE);
    say(&w, GET("/a"));
    tr_hconn_drain(w.conn);
    assert_null(w.conn);
    turns(&w);
    assert_true(w.rx_end);
    world_fini(&w);

    world_init(&w, MANUAL);
    say(&w, GET("/a"));
    tr_hconn_drain(w.conn);
    answer(&w.calls[0], 200, "x", true);
    release(&w.calls[0]);
    turns(&w);
    assert_string_equal(heard(&w), OK_CLOSE("1", "x"));
    world_fini(&w);

    world_init(&w, AT_ONCE);
    say(&w, "GET /a HT");
    tr_hconn_drain(w.conn);
    say(&w, "TP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(heard(&w), OK_CLOSE("2", "/a"));
    world_fini(&w);
}

static void aborting_tells_the_sink(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, MANUAL);
    say(&w, GET("/a"));
    tr_hconn_abort(w.conn);
    assert_int_equal(w.calls[0].gone, TR_ERR_DRAINING);
    assert_non_null(w.conn); /* until the release */
    release(&w.calls[0]);
    assert_null(w.conn);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered_one_after_another),
        cmocka_unit_test(every_answer_has_a_date),
        cmocka_unit_test(first_bytes_of_a_sniffed_stream_are_served),
        cmocka_unit_test(bodies_reach_the_sink_in_any_cut),
        cmocka_unit_test(pipelined_requests_share_one_write),
        cmocka_unit_test(a_pipelined_request_waits_for_the_answer_before_it),
        cmocka_unit_test(pipelined_bytes_are_bounded),
        cmocka_unit_test(an_answer_of_unknown_length_is_chunked),
        cmocka_unit_test(an_answer_complete_before_the_write_gets_its_length),
        cmocka_unit_test(trailers_go_to_clients_that_take_them),
        cmocka_unit_test(head_and_204_have_no_body),
        cmocka_unit_test(http10_is_closed_after_and_never_chunked),
        cmocka_unit_test(connection_close_is_honoured),
        cmocka_unit_test(a_malformed_head_is_answered_and_ends_the_connection),
        cmocka_unit_test(another_protocol_gets_no_answer_and_the_end),
        cmocka_unit_test(a_refusal_knows_its_request),
        cmocka_unit_test(continue_is_sent_when_the_sink_says_so),
        cmocka_unit_test(a_refused_expectation_closes_without_reading_the_body),
        cmocka_unit_test(a_client_that_does_not_wait_needs_no_continue),
        cmocka_unit_test(a_short_unwanted_body_is_drained),
        cmocka_unit_test(a_long_unwanted_body_ends_the_connection),
        cmocka_unit_test(a_bad_body_is_told_before_the_answer_and_cut_after),
        cmocka_unit_test(a_sink_that_answered_early_hears_of_a_bad_body),
        cmocka_unit_test(a_body_goes_on_after_an_early_answer_until_it_is_unwanted),
        cmocka_unit_test(a_sink_may_release_or_abort_anywhere),
        cmocka_unit_test(the_end_of_input_cancels_an_owed_answer),
        cmocka_unit_test(the_end_of_input_lets_complete_answers_out),
        cmocka_unit_test(a_body_that_ends_early_is_gone),
        cmocka_unit_test(an_idle_client_that_leaves_costs_nothing),
        cmocka_unit_test(a_reset_answer_is_never_complete),
        cmocka_unit_test(a_release_without_an_answer_closes),
        cmocka_unit_test(a_wrong_length_is_never_mistaken_for_the_next_answer),
        cmocka_unit_test(draining_ends_idle_connections_and_marks_answers),
        cmocka_unit_test(aborting_tells_the_sink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
