/* The client connection against the server connection, both ours, over a stream in memory. */
#include "h2_world.h"
#include "test.h"

static struct world w;

struct got {
    struct tr_h2_req *req;
    struct tr_arena arena;
    struct tr_buf body, data;
    size_t body_pos, consumed;
    unsigned sent, heads, ends, writables, status;
    enum tr_err err;
    uint32_t code;
    bool end_of_head, keep_credit;
    char trailer[16];
};

static struct got gots[64];
static unsigned got_count, settings_count, room_count, goaway_count;

static void on_sent(void *ctx)
{
    ((struct got *)ctx)->sent++;
}

static void on_head(void *ctx, unsigned status, const struct tr_headers *headers, bool end)
{
    struct got *g = ctx;
    assert_int_equal(g->sent, 1);
    g->heads++;
    g->status = status;
    g->end_of_head = end;
    assert_non_null(tr_headers_find(headers, TR_TOKEN_DATE, NULL));
}

static void on_data(void *ctx, struct tr_span data)
{
    struct got *g = ctx;
    assert_int_equal(g->heads, 1);
    assert_int_equal(tr_buf_append(&g->data, data), TR_OK);
    if (!g->keep_credit) {
        g->consumed += data.len;
        tr_h2_req_consume(g->req, data.len);
    }
}

static void on_end(void *ctx, enum tr_err err, uint32_t code, const struct tr_headers *trailers)
{
    struct got *g = ctx;
    const struct tr_header *h = tr_headers_find(trailers, TR_TOKEN_GRPC_STATUS, NULL);
    g->ends++;
    g->err = err;
    g->code = code;
    g->req = NULL;
    if (h)
        (void)snprintf(g->trailer, sizeof g->trailer, "%.*s", (int)h->value.len, h->value.ptr);
}

static void on_writable(void *ctx)
{
    ((struct got *)ctx)->writables++;
}

static const struct tr_h2_req_events req_events = {on_sent, on_head, on_data, on_end, on_writable};

static void on_settings(void *ctx)
{
    (void)ctx;
    settings_count++;
}

static void on_goaway(void *ctx, uint32_t code)
{
    (void)ctx;
    (void)code;
    goaway_count++;
}

static void on_room(void *ctx)
{
    (void)ctx;
    room_count++;
}

static void on_closed(void *ctx, enum tr_err why)
{
    struct world *world = ctx;
    world->client_closed = why;
}

static const struct tr_h2_client_events client_events = {on_settings, on_goaway, on_room,
                                                         on_closed};

static void begin(enum script script, size_t capacity)
{
    w_base(&w, script);
    memset(gots, 0, sizeof gots);
    got_count = settings_count = room_count = goaway_count = 0;
    struct tr_stream *stream = w_connect(&w, capacity, tr_span("", 0));
    assert_int_equal(tr_h2_client_new(&w.worker, stream, 65536, &client_events, &w, &w.client),
                     TR_OK);
    assert_int_equal(tr_h2_client_room(w.client), 0);
    for (int i = 0; i < 1000 && settings_count == 0; i++)
        w_run(&w, 1);
    assert_int_equal(settings_count, 1);
    assert_int_equal(tr_h2_client_room(w.client), w.limits.max_concurrent_streams);
}

static struct got *request(struct tr_span body, bool end)
{
    static const struct tr_headers none = {NULL, 0, 0};
    struct got *g = &gots[got_count++];
    tr_arena_init(&g->arena, &w.blocks);
    assert_int_equal(tr_buf_append(&g->body, body), TR_OK);
    struct tr_h2_req_params p = {.method = TR_SPAN("POST"),
                                 .scheme = TR_SPAN("http"),
                                 .authority = TR_SPAN("a.test"),
                                 .path = TR_SPAN("/path"),
                                 .headers = &none,
                                 .body = &g->body,
                                 .body_pos = &g->body_pos,
                                 .end = end,
                                 .arena = &g->arena,
                                 .events = &req_events,
                                 .ctx = g};
    assert_int_equal(tr_h2_req_new(w.client, &p, &g->req), TR_OK);
    return g;
}

static void finish(void)
{
    tr_h2_client_free(w.client);
    w.client = NULL;
    w_run(&w, 4);
    w_fini(&w);
    for (unsigned i = 0; i < got_count; i++) {
        assert_int_equal(gots[i].ends, 1);
        tr_buf_fini(&gots[i].body);
        tr_buf_fini(&gots[i].data);
        tr_arena_fini(&gots[i].arena);
    }
}

static void echo(size_t capacity, size_t bytes)
{
    begin(ECHO, capacity);
    struct tr_buf body = {NULL, 0, 0};
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(tr_buf_push(&body, (char)(i * 7)), TR_OK);
    for (int i = 0; i < 3; i++)
        (void)request(tr_buf_span(&body), true);
    for (int i = 0; i < 400000 && gots[2].ends + gots[1].ends + gots[0].ends < 3; i++)
        w_run(&w, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(gots[i].err, TR_OK);
        assert_int_equal(gots[i].status, 200);
        assert_string_equal(gots[i].trailer, "0");
        assert_int_equal(gots[i].data.len, bytes);
        if (bytes)
            assert_memory_equal(gots[i].data.ptr, body.ptr, bytes);
    }
    tr_buf_fini(&body);
    finish();
}

static void h2_client_and_server_agree_over_any_transport(void **state)
{
    (void)state;
    echo(1 << 20, 0);
    echo(1 << 20, 10);
    echo(1 << 20, 300000);
    echo(1, 100);
    echo(7, 3000);
    echo(1000, 200000);
}

static void h2_client_streams_a_request_in_parts(void **state)
{
    (void)state;
    begin(ECHO, 65536);
    struct got *g = request(tr_span("", 0), false);
    for (int i = 0; i < 10; i++) {
        w_run(&w, 4);
        assert_int_equal(tr_buf_append(&g->body, TR_SPAN("part")), TR_OK);
        tr_h2_req_commit(g->req, false);
        if (i % 3 == 2) {
            w_run(&w, 4);
            tr_h2_req_compact(g->req);
            assert_int_equal(g->body.len, 0);
        }
    }
    tr_h2_req_commit(g->req, true);
    w_run(&w, 20);
    assert_int_equal(g->ends, 1);
    assert_int_equal(g->data.len, 40);
    finish();
}

static void h2_client_holds_its_owner_on_a_closed_window(void **state)
{
    (void)state;
    static char big[TR_OUT_HIGH_BYTES + 5];
    begin(MANUAL, 1 << 20);
    w.keep_credit = true;
    struct got *g = request(tr_span(big, sizeof big), false);
    w_run(&w, 50);
    assert_int_equal(g->body_pos, 65536); /* the server's stream window */
    assert_int_equal(g->writables, 0);
    w.keep_credit = false;
    w.calls[0].hs->ops->consume(w.calls[0].hs, w.calls[0].body.len);
    w_run(&w, 100);
    assert_int_equal(g->body_pos, sizeof big);
    assert_int_equal(g->writables, 1);
    tr_h2_req_cancel(g->req);
    g->ends = 1;
    w_run(&w, 4);
    assert_int_equal(w.calls[0].gone, TR_ERR_CLIENT_GONE);
    finish();
}

static void h2_client_stalls_no_other_request(void **state)
{
    (void)state;
    static char big[600000];
    begin(MANUAL, 1 << 20);
    struct got *stalled[40];
    for (int i = 0; i < 40; i++) {
        stalled[i] = request(tr_span("", 0), true);
        stalled[i]->keep_credit = true;
    }
    w_run(&w, 10);
    for (int i = 0; i < 40; i++) {
        w_answer(&w.calls[i], 200, tr_span(big, sizeof big), false);
        w_release(&w.calls[i]);
    }
    w_run(&w, 600);
    for (int i = 0; i < 40; i++)
        assert_int_equal(stalled[i]->data.len, 65536);
    struct got *g = request(tr_span("", 0), true);
    w_run(&w, 10);
    w_answer(&w.calls[40], 200, tr_span(big, 100000), false);
    w_release(&w.calls[40]);
    w_run(&w, 100);
    assert_int_equal(g->ends, 1);
    assert_int_equal(g->data.len, 100000);
    for (int i = 0; i < 40; i++) {
        tr_h2_req_cancel(stalled[i]->req);
        stalled[i]->ends = 1;
    }
    finish();
}

/* A transfer that is consumed gets a larger window; those of all streams together have a budget. */
static void h2_client_grows_the_windows_of_fast_transfers(void **state)
{
    (void)state;
    static char big[2000000];
    begin(MANUAL, 1 << 20);
    for (int i = 0; i < 60; i++)
        (void)request(tr_span("", 0), true);
    w_run(&w, 20);
    for (int i = 0; i < 60; i++) {
        w_answer(&w.calls[i], 200, tr_span(big, sizeof big), false);
        w_release(&w.calls[i]);
    }
    for (int i = 0; i < 3000; i++) {
        bool fast = false;
        w_run(&w, 1);
        for (unsigned k = 0; k < got_count; k++) {
            gots[k].keep_credit = gots[k].data.len > 400000;
            fast = fast || !gots[k].keep_credit;
        }
        if (!fast)
            break;
    }
    w_run(&w, 500);
    unsigned large = 0;
    size_t held = 0;
    for (unsigned k = 0; k < got_count; k++) {
        size_t unconsumed = gots[k].data.len - gots[k].consumed;
        assert_true(unconsumed <= 512 * 1024);
        large += unconsumed > 65536;
        held += unconsumed;
    }
    assert_in_range(large, 30, 37);
    assert_true(held <= (size_t)(16 * 1024 + 60 * 64) * 1024);
    for (unsigned k = 0; k < got_count; k++) {
        tr_h2_req_cancel(gots[k].req);
        gots[k].ends = 1;
    }
    finish();
}

static void h2_client_room_follows_the_peer(void **state)
{
    (void)state;
    begin(MANUAL, 65536);
    for (int i = 0; i < 3; i++)
        (void)request(TR_SPAN("x"), true);
    assert_int_equal(tr_h2_client_room(w.client), 97);
    w_run(&w, 10);
    tr_h2_req_cancel(gots[0].req);
    gots[0].ends = 1;
    w_run(&w, 10);
    assert_int_equal(tr_h2_client_room(w.client), 98);
    assert_true(room_count > 0);
    tr_hconn_drain(w.conn);
    w_run(&w, 10);
    assert_int_equal(goaway_count, 1);
    assert_int_equal(tr_h2_client_room(w.client), 0);
    for (int i = 1; i < 3; i++) {
        w_answer(&w.calls[i], 200, TR_SPAN("x"), false);
        w_release(&w.calls[i]);
    }
    tr_hconn_drain(w.conn);
    w_run(&w, 20);
    assert_int_equal(gots[1].err, TR_OK);
    assert_int_equal(gots[2].err, TR_OK);
    assert_int_equal(w.client_closed, TR_ERR_EOF);
    finish();
}

/* nghttp2 counts the pieces of the heads of CONTINUATION frames as if they were frames. */
static void h2_client_takes_continuations_in_any_pieces(void **state)
{
    (void)state;
    for (size_t piece = 0; piece <= 24; piece++) {
        w_base(&w, MANUAL);
        memset(gots, 0, sizeof gots);
        got_count = settings_count = 0;
        struct tr_stream *stream;
        assert_int_equal(tr_stream_mem_pair(w.loop, 65536, &w.peer, &stream), TR_OK);
        tr_stream_set_events(w.peer, &w_peer_events, &w);
        tr_stream_want(w.peer, true, false);
        assert_int_equal(tr_h2_client_new(&w.worker, stream, 65536, &client_events, &w, &w.client),
                         TR_OK);
        f_settings(&w.tx, NULL, 0);
        w_send(&w, piece);
        assert_int_equal(settings_count, 1);
        struct got *g = request(tr_span("", 0), true);
        w_run(&w, 4);
        struct tr_buf block = {NULL, 0, 0};
        f_field(&block, ":status", "200");
        f_field(&block, "date", "now");
        f_field(&block, "grpc-status", "5");
        f_frame(&w.tx, F_HEADERS, F_END_STREAM, 1, block.ptr, 5);
        for (size_t i = 5; i < 10; i++)
            f_frame(&w.tx, F_CONTINUATION, 0, 1, block.ptr + i, 1);
        f_frame(&w.tx, F_CONTINUATION, 0, 1, "", 0);
        f_frame(&w.tx, F_CONTINUATION, F_END_HEADERS, 1, block.ptr + 10, block.len - 10);
        tr_buf_fini(&block);
        w_send(&w, piece);
        assert_int_equal(g->status, 200);
        assert_true(g->end_of_head);
        assert_int_equal(g->ends, 1);
        assert_int_equal(g->err, TR_OK);
        finish();
    }
}

static void h2_client_cancels_before_anything_was_sent(void **state)
{
    (void)state;
    begin(MANUAL, 65536);
    struct got *g = request(TR_SPAN("x"), true);
    tr_h2_req_cancel(g->req);
    g->ends = 1;
    w_run(&w, 10);
    assert_int_equal(g->sent, 0);
    assert_int_equal(w.call_count, 0);
    assert_int_equal(tr_h2_client_open_requests(w.client), 0);
    assert_int_equal(tr_h2_client_room(w.client), 100);
    finish();
}

static void h2_client_finishes_what_is_open(void **state)
{
    (void)state;
    begin(MANUAL, 65536);
    struct got *g = request(TR_SPAN("x"), true);
    w_run(&w, 10);
    tr_h2_client_finish(w.client);
    assert_int_equal(tr_h2_client_room(w.client), 0);
    w_run(&w, 10);
    assert_int_equal(w.client_closed, TR_OK);
    w_answer(&w.calls[0], 200, TR_SPAN("x"), false);
    w_release(&w.calls[0]);
    w_run(&w, 20);
    assert_int_equal(g->err, TR_OK);
    assert_int_equal(w.client_closed, TR_ERR_EOF);
    finish();
}

/* After warm-up neither side allocates for a request. */
static void h2_client_and_server_allocate_nothing_when_warm(void **state)
{
    (void)state;
#ifdef TR_ARENA_EMULATE
    skip(); /* the emulated arena allocates on purpose */
#endif
    begin(ECHO, 1 << 20);
    for (int round = 0; round < 2; round++) {
        uint64_t before = tr_alloc_stats().calls;
        for (int i = 0; i < 20; i++) {
            struct got *g = request(TR_SPAN("body"), true);
            w_run(&w, 8);
            assert_int_equal(g->ends, 1);
            tr_arena_reset(&g->arena);
        }
        /* of the test: the bodies at both ends and what came back */
        if (round)
            assert_int_equal(tr_alloc_stats().calls - before, 3 * 20);
    }
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(h2_client_and_server_agree_over_any_transport),
        cmocka_unit_test(h2_client_streams_a_request_in_parts),
        cmocka_unit_test(h2_client_holds_its_owner_on_a_closed_window),
        cmocka_unit_test(h2_client_stalls_no_other_request),
        cmocka_unit_test(h2_client_grows_the_windows_of_fast_transfers),
        cmocka_unit_test(h2_client_room_follows_the_peer),
        cmocka_unit_test(h2_client_takes_continuations_in_any_pieces),
        cmocka_unit_test(h2_client_cancels_before_anything_was_sent),
        cmocka_unit_test(h2_client_finishes_what_is_open),
        cmocka_unit_test(h2_client_and_server_allocate_nothing_when_warm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
