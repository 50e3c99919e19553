#include "fake_redis.h"

#include <time.h>

/* ---- tests ----------------------------------------------------------------------------------- */

static void link_greets_with_what_the_url_says(void **state)
{
    (void)state;
    static const struct {
        const char *user, *path, *log;
    } cases[] = {{"", "", "SCRIPT "},
                 {"", "/0", "SCRIPT "},
                 {"", "/3", "SELECT SCRIPT "},
                 {":pw@", "", "AUTH SCRIPT "},
                 {"u:pw@", "/3", "AUTH SELECT SCRIPT "}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tr_kv_redis_url url;
        struct tr_kv_redis_options o = options(&url, cases[i].user, cases[i].path);
        fake.log[0] = 0;
        assert_int_equal(tr_kv_redis_new(&o, &link), TR_OK);
        UNTIL(up());
        assert_string_equal(fake.log, cases[i].log);
        tr_kv_redis_free(link);
        link = NULL;
    }
}

static void calls_are_refused_while_there_is_no_link(void **state)
{
    (void)state;
    struct ask a = {0};
    open_link();
    assert_int_equal(ask(&a), TR_KV_DOWN);
    fake.greeting_error = "-LOADING Redis is loading the dataset in memory\r\n";
    UNTIL(tr_kv_redis_counters(link)->failed_connects >= 3);
    assert_int_equal(ask(&a), TR_KV_DOWN);
    assert_true(tr_kv_redis_trouble(link).len > 0);
    assert_non_null(memmem(tr_kv_redis_trouble(link).ptr, tr_kv_redis_trouble(link).len,
                           "SCRIPT LOAD was refused", 23));
    fake.greeting_error = NULL;
    UNTIL(up());
    assert_int_equal(tr_kv_redis_trouble(link).len, 0);
    assert_int_equal(ask(&a), TR_KV_OK);
    UNTIL(a.ended);
    assert_int_equal(a.failure, TR_KV_OK);
    assert_int_equal(tr_kv_redis_counters(link)->results[TR_KV_DOWN], 2);
}

struct answer_case {
    const char *bytes;
    enum tr_kv_failure failure;
    uint32_t count;
    int64_t first;
};
static const struct answer_case answers[] = {
    {"*3\r\n:1\r\n:-5\r\n:9007199254740991\r\n", TR_KV_OK, 3, 1},
    {"*0\r\n", TR_KV_OK, 0, 0},
    {"-ERR user_script:1: oh no\r\n", TR_KV_ERROR, 0, 0},
    {"-MOVED 3999 127.0.0.1:6381\r\n", TR_KV_MOVED, 0, 0},
    {"-ASK 3999 127.0.0.1:6381\r\n", TR_KV_MOVED, 0, 0},
    {"-CLUSTERDOWN The cluster is down\r\n", TR_KV_MOVED, 0, 0},
    {"-LOADING Redis is loading the dataset in memory\r\n", TR_KV_LOADING, 0, 0},
    {"-MISCONF Redis is configured to save\r\n", TR_KV_READONLY, 0, 0},
    {"-OOM command not allowed when used memory > 'maxmemory'.\r\n", TR_KV_READONLY, 0, 0},
    {"-NOAUTH Authentication required.\r\n", TR_KV_ERROR, 0, 0},
    {"+OK\r\n", TR_KV_PROTOCOL, 0, 0},
    {":7\r\n", TR_KV_PROTOCOL, 0, 0},
    {"$-1\r\n", TR_KV_PROTOCOL, 0, 0},
    {"*-1\r\n", TR_KV_PROTOCOL, 0, 0},
    {"$5\r\nhello\r\n", TR_KV_PROTOCOL, 0, 0},
    {"*2\r\n:1\r\n$2\r\nxx\r\n", TR_KV_PROTOCOL, 0, 0},
    {"*2\r\n:1\r\n*1\r\n:2\r\n", TR_KV_PROTOCOL, 0, 0},
    {"*2\r\n:1\r\n$-1\r\n", TR_KV_PROTOCOL, 0, 0},
    {"*1\r\n:42\r\n", TR_KV_OK, 1, 42},
};
#define ANSWERS (sizeof answers / sizeof answers[0])

static const char *from_table(struct fake *f, int n, const struct tr_span *argv, int argc)
{
    (void)f;
    assert_int_equal(argc, 5);
    assert_span_equal(argv[1], SHA);
    assert_span_equal(argv[2], "1");
    assert_span_equal(argv[3], "key");
    return answers[(size_t)n % ANSWERS].bytes;
}

/* Whole, one byte at a time, random cuts: the same. */
static void answers_mean_the_same_however_they_are_cut(void **state)
{
    (void)state;
    static const size_t pieces[] = {0, 1, SIZE_MAX};
    fake.answer = from_table;
    open_and_wait();
    for (size_t life = 0; life < 3; life++) {
        struct ask asks[ANSWERS];
        memset(asks, 0, sizeof asks);
        fake.piece = pieces[life];
        for (size_t i = 0; i < ANSWERS; i++)
            assert_int_equal(ask(&asks[i]), TR_KV_OK);
        UNTIL(asks[ANSWERS - 1].ended);
        for (size_t i = 0; i < ANSWERS; i++) {
            assert_int_equal(asks[i].ended, 1);
            assert_int_equal(asks[i].failure, answers[i].failure);
            assert_int_equal(asks[i].count, answers[i].count);
            if (asks[i].count)
                assert_int_equal(asks[i].ints[0], answers[i].first);
        }
        assert_true(up());
    }
    assert_int_equal(tr_kv_redis_counters(link)->connects, 1);
}

static void calls_of_a_turn_leave_in_one_write(void **state)
{
    (void)state;
    struct ask asks[50];
    memset(asks, 0, sizeof asks);
    open_and_wait();
    uint64_t before = tr_kv_redis_counters(link)->writes;
    for (int i = 0; i < 50; i++)
        assert_int_equal(ask(&asks[i]), TR_KV_OK);
    UNTIL(asks[49].ended);
    assert_int_equal(tr_kv_redis_counters(link)->writes, before + 1);
    assert_int_equal(tr_kv_redis_counters(link)->results[TR_KV_OK], 50);
}

static void number_of_unanswered_calls_is_bounded(void **state)
{
    (void)state;
    struct tr_kv_redis_url url;
    struct tr_kv_redis_options o = options(&url, "", "");
    struct ask asks[7];
    memset(asks, 0, sizeof asks);
    o.max_in_flight = 5;
    assert_int_equal(tr_kv_redis_new(&o, &link), TR_OK);
    UNTIL(up());
    for (int i = 0; i < 7; i++)
        assert_int_equal(ask(&asks[i]), i < 5 ? TR_KV_OK : TR_KV_BUSY);
    tr_kv_cancel(&asks[0].call); /* its answer is still to come */
    assert_int_equal(ask(&asks[5]), TR_KV_BUSY);
    UNTIL(asks[4].ended);
    assert_int_equal(ask(&asks[5]), TR_KV_OK);
    UNTIL(asks[5].ended);
}

static const char *echo(struct fake *f, int n, const struct tr_span *argv, int argc)
{
    static char text[64];
    (void)f;
    (void)n;
    assert_int_equal(argc, 5);
    (void)snprintf(text, sizeof text, "*1\r\n:%.*s\r\n", (int)argv[4].len, argv[4].ptr);
    return text;
}

static void late_answer_is_dropped_and_the_next_is_not_mistaken(void **state)
{
    (void)state;
    struct tr_kv_redis_url url;
    struct tr_kv_redis_options o = options(&url, "", "");
    struct ask a = {.arg = 1}, b = {.arg = 2};
    o.timeout_ns = 5 * MS;
    fake.answer = echo;
    assert_int_equal(tr_kv_redis_new(&o, &link), TR_OK);
    UNTIL(up());
    fake.frozen = true;
    assert_int_equal(ask(&a), TR_KV_OK);
    TURN_UNTIL(loop, a.ended);
    assert_int_equal(a.failure, TR_KV_TIMEOUT);
    fake.frozen = false;
    tr_stream_want(fake.s, true, false);
    UNTIL(tr_kv_redis_counters(link)->late == 1);
    for (int i = 0; i < 100; i++) { /* a slow machine may be late */
        b.ended = 0;
        assert_int_equal(ask(&b), TR_KV_OK);
        UNTIL(b.ended);
        if (b.failure == TR_KV_OK)
            break;
        assert_int_equal(b.failure, TR_KV_TIMEOUT);
    }
    assert_int_equal(b.failure, TR_KV_OK);
    assert_int_equal(b.ints[0], 2);
    assert_int_equal(a.ended, 1);
    assert_int_equal(tr_kv_redis_counters(link)->connects, 1);
}

/* A turn that took long is no fault of the store: what it has answered meanwhile counts. */
static void answer_that_is_there_is_not_late(void **state)
{
    (void)state;
    struct tr_kv_redis_url url;
    struct tr_kv_redis_options o = options(&url, "", "");
    o.timeout_ns = o.silence_ns = 200 * MS;
    assert_int_equal(tr_kv_redis_new(&o, &link), TR_OK);
    UNTIL(up());
    struct ask a = {0};
    assert_int_equal(ask(&a), TR_KV_OK);
    for (int i = 0; i < 100 && fake.commands == 0; i++)
        tr_loop_turn(loop, false);
    assert_int_equal(fake.commands, 1);
    assert_int_equal(a.ended, 0);
    (void)nanosleep(&(struct timespec){.tv_nsec = 250000000}, NULL);
    UNTIL(a.ended);
    assert_int_equal(a.failure, TR_KV_OK);
    assert_int_equal(tr_kv_redis_counters(link)->losses, 0);
}

static void silent_store_loses_its_link_and_gets_it_again(void **state)
{
    (void)state;
    struct tr_kv_redis_url url;
    struct tr_kv_redis_options o = options(&url, "", "");
    struct ask a = {0}, b = {0};
    o.timeout_ns = 5 * MS;
    o.silence_ns = 40 * MS;
    o.connect_timeout_ns = 30 * MS;
    assert_int_equal(tr_kv_redis_new(&o, &link), TR_OK);
    UNTIL(up());
    fake.mute = true;
    assert_int_equal(ask(&a), TR_KV_OK);
    UNTIL(!up());
    assert_int_equal(a.failure, TR_KV_TIMEOUT);
    assert_int_equal(tr_kv_redis_counters(link)->losses, 1);
    UNTIL(tr_kv_redis_counters(link)->failed_connects >= 2); /* the greeting is not answered */
    assert_int_equal(ask(&b), TR_KV_DOWN);
    fake.mute = false;
    UNTIL(up());
    assert_int_equal(tr_kv_redis_counters(link)->connects, 2);
}

static void calls_that_wait_fail_when_the_link_is_lost(void **state)
{
    (void)state;
    for (int hard = 0; hard < 2; hard++) {
        struct ask asks[4], more = {0};
        memset(asks, 0, sizeof asks);
        if (!link)
            open_link();
        UNTIL(up());
        fake.mute = true;
        asks[1].then_cancel = &asks[2];
        asks[1].then_start = &more;
        for (int i = 0; i < 4; i++)
            assert_int_equal(ask(&asks[i]), TR_KV_OK);
        UNTIL(strstr(fake.log, "EVALSHA EVALSHA EVALSHA EVALSHA "));
        fake_hang_up(hard);
        UNTIL(asks[3].ended);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(asks[i].ended, i != 2);
            if (i != 2)
                assert_int_equal(asks[i].failure, TR_KV_LOST);
        }
        assert_int_equal(more.started, TR_KV_DOWN);
        assert_int_equal(more.ended, 0);
        fake.mute = false;
        fake.log[0] = 0;
    }
    UNTIL(up());
    assert_int_equal(tr_kv_redis_counters(link)->losses, 2);
}

static void garbage_closes_the_link(void **state)
{
    (void)state;
    static char many[2000], vast[64 * 1024];
    size_t at = (size_t)snprintf(many, sizeof many, "*%d\r\n", TR_KV_INTS_MAX + 1);
    for (int i = 0; i <= TR_KV_INTS_MAX; i++)
        at += (size_t)snprintf(many + at, sizeof many - at, ":1\r\n");
    at = (size_t)snprintf(vast, sizeof vast, "$60000\r\n");
    memset(vast + at, 'x', 50000);
    const char *const bad[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "\r\n",
        ":abc\r\n",
        "*x\r\n",
        "*2147483647\r\n",
        "*-2\r\n",
        "$-2\r\n",
        "$99999999999999999999\r\n",
        "*1\r\n:1\r\n:2\r\n",             /* one answer more than was asked for */
        "*1\r\n:1\r\n*2\r\n:1\r\n:2\r\n", /* the same as a list */
        "*1\r\n:1\r\n-ERR max number of clients reached\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
        many,
        vast,
    };
    open_link();
    for (size_t piece = 0; piece < 2; piece++) {
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
            struct ask a = {0};
            if (piece && bad[i] == vast)
                continue; /* takes a turn for each byte */
            UNTIL(up());
            uint64_t losses = tr_kv_redis_counters(link)->losses;
            fake.piece = piece;
            fake.fixed = bad[i];
            assert_int_equal(ask(&a), TR_KV_OK);
            UNTIL(tr_kv_redis_counters(link)->losses == losses + 1);
            assert_int_equal(a.ended, 1);
            fake.piece = 0;
        }
    }
}

static void answer_before_any_question_closes_the_link(void **state)
{
    (void)state;
    open_and_wait();
    fake_say("*2\r\n:1\r\n:2\r\n");
    UNTIL(tr_kv_redis_counters(link)->losses == 1);
    UNTIL(up());
}

static void strange_greetings_keep_the_link_down(void **state)
{
    (void)state;
    static const char *const bad[] = {"-WRONGPASS invalid username-password pair\r\n",
                                      "+PONG\r\n",
                                      ":1\r\n",
                                      "*1\r\n:1\r\n",
                                      "$3\r\nabc\r\n",
                                      "$-1\r\n",
                                      "x"};
    fake.greeting_error = bad[0];
    open_link();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t before = tr_kv_redis_counters(link)->failed_connects;
        fake.greeting_error = bad[i];
        UNTIL(tr_kv_redis_counters(link)->failed_connects >= before + 2);
        assert_false(up());
    }
    fake.greeting_error = NULL;
    UNTIL(up());
    assert_int_equal(tr_kv_redis_counters(link)->losses, 0);
}

static const char *forgets(struct fake *f, int n, const struct tr_span *argv, int argc)
{
    (void)n;
    (void)argc;
    if (tr_span_eq(argv[0], TR_SPAN("EVAL"))) {
        assert_span_equal(argv[1], "return 1");
        assert_span_equal(argv[3], "key");
        return f->fixed;
    }
    return "-NOSCRIPT No matching script. Please use EVAL.\r\n";
}

static void forgotten_script_is_sent_once(void **state)
{
    (void)state;
    struct ask a = {0}, b = {0};
    fake.answer = forgets;
    open_and_wait();
    assert_int_equal(ask(&a), TR_KV_OK);
    assert_int_equal(ask(&b), TR_KV_OK);
    UNTIL(a.ended && b.ended);
    assert_int_equal(a.failure, TR_KV_OK);
    assert_int_equal(b.failure, TR_KV_OK);
    assert_int_equal(tr_kv_redis_counters(link)->repeated, 2);
    assert_string_equal(fake.log, "SCRIPT EVALSHA EVALSHA EVAL EVAL ");
    fake.fixed = "-NOSCRIPT still not\r\n";
    a.ended = 0;
    assert_int_equal(ask(&a), TR_KV_OK);
    UNTIL(a.ended);
    assert_int_equal(a.failure, TR_KV_ERROR);
    a.ended = 0;
    assert_int_equal(ask(&a), TR_KV_OK); /* cancelled while it is on its way again */
    UNTIL(tr_kv_redis_counters(link)->repeated == 4);
    tr_kv_cancel(&a.call);
    fake.answer = NULL;
    fake.fixed = "*1\r\n:9\r\n";
    b.ended = 0;
    assert_int_equal(ask(&b), TR_KV_OK);
    UNTIL(b.ended);
    assert_int_equal(a.ended, 0);
    assert_int_equal(b.ints[0], 9);
}

static void leaves_a_store_that_says(const char *answer)
{
    struct ask a = {0}, b = {0};
    fake.fixed = answer;
    open_and_wait();
    assert_int_equal(ask(&a), TR_KV_OK);
    assert_int_equal(ask(&b), TR_KV_OK);
    UNTIL(a.ended && b.ended);
    assert_int_equal(a.failure, TR_KV_READONLY);
    assert_int_equal(b.failure, TR_KV_LOST);
    UNTIL(up());
    assert_int_equal(fake.accepted, 2);
}

static void replica_is_left(void **state)
{
    (void)state;
    leaves_a_store_that_says("-READONLY You can't write against a read only replica.\r\n");
}

static void replica_without_its_master_is_left(void **state)
{
    (void)state;
    leaves_a_store_that_says("-MASTERDOWN Link with MASTER is down\r\n");
}

static void cancelled_call_never_ends(void **state)
{
    (void)state;
    struct ask a = {.arg = 1}, b = {.arg = 2}, c = {.arg = 3};
    fake.answer = echo;
    open_and_wait();
    b.then_cancel = &c;
    assert_int_equal(ask(&a), TR_KV_OK);
    assert_int_equal(ask(&b), TR_KV_OK);
    assert_int_equal(ask(&c), TR_KV_OK);
    tr_kv_cancel(&a.call);
    tr_kv_cancel(&a.call); /* not under way any more */
    UNTIL(b.ended);
    turn_idle(loop);
    assert_int_equal(a.ended, 0);
    assert_int_equal(c.ended, 0);
    assert_int_equal(b.ints[0], 2);
    assert_int_equal(ask(&a), TR_KV_OK); /* may be used again */
    UNTIL(a.ended);
    assert_int_equal(a.ints[0], 1);
    assert_int_equal(tr_kv_redis_counters(link)->cancelled, 2);
}

static void link_may_go_while_calls_wait(void **state)
{
    (void)state;
    struct ask a = {0};
    fake.mute = true;
    open_link();
    tr_kv_redis_free(link); /* not connected yet */
    open_link();
    turn_idle(loop);
    tr_kv_redis_free(link); /* somewhere on the way */
    fake.mute = false;
    open_and_wait();
    assert_int_equal(ask(&a), TR_KV_OK);
    tr_kv_redis_free(link);
    link = NULL;
    assert_false(tr_kv_under_way(&a.call));
    tr_kv_cancel(&a.call);
    turn_idle(loop);
    assert_int_equal(a.ended, 0);
}

static void store_that_comes_later_is_found(void **state)
{
    (void)state;
    tr_listener_close(fake.l);
    fake.l = NULL;
    open_link();
    UNTIL(tr_kv_redis_counters(link)->failed_connects >= 3);
    struct tr_addr addr;
    assert_int_equal(tr_addr_parse(tr_span_cstr(where), &addr, NULL), TR_OK);
    assert_int_equal(tr_listener_open(loop, &addr, fake_on_accept, NULL, &fake.l, NULL), TR_OK);
    UNTIL(up());
}

/* The first wait is 2 ms, the longest 50 times that, each shortened by a half at the most. */
static void store_that_is_away_is_tried_ever_less_and_then_at_once_again(void **state)
{
    (void)state;
    uint64_t begin = tr_loop_now_ns(loop), best = UINT64_MAX;
    tr_listener_close(fake.l);
    fake.l = NULL;
    open_link();
    UNTIL(tr_kv_redis_counters(link)->failed_connects >= 10);
    assert_true(tr_loop_now_ns(loop) - begin >= (1 + 2 + 4 + 8 + 16 + 32 + 50 + 50 + 50) * MS);
    struct tr_addr addr;
    assert_int_equal(tr_addr_parse(tr_span_cstr(where), &addr, NULL), TR_OK);
    assert_int_equal(tr_listener_open(loop, &addr, fake_on_accept, NULL, &fake.l, NULL), TR_OK);
    UNTIL(up());
    for (int i = 0; i < 10; i++) { /* the best, since a busy machine may be late */
        fake_hang_up(false);
        UNTIL(!up());
        begin = tr_loop_now_ns(loop);
        UNTIL(up());
        if (tr_loop_now_ns(loop) - begin < best)
            best = tr_loop_now_ns(loop) - begin;
    }
    assert_true(best < 40 * MS);
}

static void names_are_looked_up_by_the_resolver(void **state)
{
    (void)state;
    struct tr_kv_redis_url url;
    struct tr_kv_redis_options o = options(&url, "", "");
    struct tr_dns *dns = NULL;
    memset(&url.addr, 0, sizeof url.addr);
    memcpy(url.host, "localhost", 10);
    assert_int_equal(tr_kv_redis_new(&o, &link), TR_OK);
    UNTIL(tr_kv_redis_counters(link)->failed_connects >= 1); /* without a resolver */
    tr_kv_redis_free(link);
    assert_int_equal(tr_dns_new(loop, NULL, &dns), TR_OK);
    o.dns = dns;
    assert_int_equal(tr_kv_redis_new(&o, &link), TR_OK);
    UNTIL(up());
    tr_kv_redis_free(link);
    memcpy(url.host, "no.such.name.invalid", 21);
    assert_int_equal(tr_kv_redis_new(&o, &link), TR_OK);
    for (int i = 0; i < 3; i++)
        tr_loop_turn(loop, false);
    tr_kv_redis_free(link); /* with a query under way */
    link = NULL;
    tr_dns_free(dns);
}

static void large_calls_leave_in_parts(void **state)
{
    (void)state;
    enum { COUNT = 900 };
    static struct ask asks[COUNT];
    memset(asks, 0, sizeof asks);
    fake.answer = echo;
    fake.frozen = true;
    fake.log[0] = 0;
    open_link();
    fake.frozen = false;
    UNTIL(up());
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            asks[i].arg = (uint64_t)i;
            asks[i].ended = 0;
            assert_int_equal(ask(&asks[i]), TR_KV_OK);
        }
        UNTIL(asks[COUNT - 1].ended);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(asks[i].ints[0], i);
        fake.out_len = fake.out_pos = 0;
        fake.log[0] = 0;
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    struct tr_kv_redis_url url;
    struct tr_kv_redis_options o = options(&url, "", "");
    bool made = false;
    for (uint64_t n = 1; !made; n++) {
        tr_alloc_fail_after(n);
        enum tr_err err = tr_kv_redis_new(&o, &link);
        tr_alloc_fail_after(0);
        made = err == TR_OK;
        if (!made)
            assert_int_equal(err, TR_ERR_NOMEM);
        assert_true(n < 10);
    }
    /* connecting: what fails is tried again */
    for (uint64_t n = 1; n < 8; n++) {
        tr_alloc_fail_after(n);
        for (int i = 0; i < 6; i++)
            tr_loop_turn(loop, false);
        tr_alloc_fail_after(0);
        UNTIL(up());
        fake_hang_up(true);
        UNTIL(!up());
    }
    UNTIL(up());
    /* a call larger than the buffer */
    static struct ask asks[600];
    memset(asks, 0, sizeof asks);
    int refused = 0, under_way = 0;
    tr_alloc_fail_after(1);
    for (int i = 0; i < 600; i++) {
        enum tr_kv_failure failure = ask(&asks[i]);
        refused += failure == TR_KV_NOMEM;
        under_way += failure == TR_KV_OK;
    }
    tr_alloc_fail_after(0);
    assert_true(refused > 0 && under_way > 0);
    assert_int_equal(refused + under_way, 600);
    UNTIL(asks[under_way - 1].ended);
    assert_int_equal(tr_kv_redis_counters(link)->results[TR_KV_OK], under_way);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(link_greets_with_what_the_url_says),
        TEST(calls_are_refused_while_there_is_no_link),
        TEST(answers_mean_the_same_however_they_are_cut),
        TEST(calls_of_a_turn_leave_in_one_write),
        TEST(number_of_unanswered_calls_is_bounded),
        TEST(late_answer_is_dropped_and_the_next_is_not_mistaken),
        TEST(answer_that_is_there_is_not_late),
        TEST(silent_store_loses_its_link_and_gets_it_again),
        TEST(calls_that_wait_fail_when_the_link_is_lost),
        TEST(garbage_closes_the_link),
        TEST(answer_before_any_question_closes_the_link),
        TEST(strange_greetings_keep_the_link_down),
        TEST(forgotten_script_is_sent_once),
        TEST(replica_is_left),
        TEST(replica_without_its_master_is_left),
        TEST(cancelled_call_never_ends),
        TEST(link_may_go_while_calls_wait),
        TEST(store_that_comes_later_is_found),
        TEST(store_that_is_away_is_tried_ever_less_and_then_at_once_again),
        TEST(names_are_looked_up_by_the_resolver),
        TEST(large_calls_leave_in_parts),
        TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
