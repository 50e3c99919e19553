#include "http/h1_answer.h"

#include "test.h"

#include <stdio.h>

struct outcome {
    enum tr_err err;
    uint16_t status;
    int64_t max_age_s;
    size_t len;
    char body[4096];
};

/* step: bytes at once; 0: random cuts. The end of the connection follows when `end`. */
static struct outcome live(struct tr_span in, size_t cap, size_t step, uint64_t *seed, bool end)
{
    struct tr_h1_answer a;
    struct outcome o = {.err = TR_ERR_AGAIN};
    size_t at = 0;
    tr_h1_answer_init(&a, cap);
    while (o.err == TR_ERR_AGAIN && at < in.len) {
        size_t n = step ? step : 1 + (size_t)(tr_test_rand(seed) % 40);
        if (n > in.len - at)
            n = in.len - at;
        char *exact = malloc(n); /* so that ASan sees a read beyond */
        assert_non_null(exact);
        memcpy(exact, in.ptr + at, n);
        o.err = tr_h1_answer_feed(&a, tr_span(exact, n), NULL);
        free(exact);
        at += n;
    }
    if (o.err == TR_ERR_AGAIN && end)
        o.err = tr_h1_answer_end(&a, NULL);
    o.status = a.status;
    o.max_age_s = a.max_age_s;
    o.len = o.err ? 0 : a.body.len;
    if (o.len)
        memcpy(o.body, a.body.ptr, o.len < sizeof o.body ? o.len : sizeof o.body);
    tr_h1_answer_fini(&a);
    return o;
}

static struct outcome lives_with(struct tr_span in, size_t cap, bool end)
{
    uint64_t seed = tr_test_seed();
    struct outcome whole = live(in, cap, SIZE_MAX, &seed, end);
    for (int i = 0; i < 12; i++) {
        struct outcome o = live(in, cap, i == 0 ? 1 : 0, &seed, end);
        assert_int_equal(o.err, whole.err);
        assert_int_equal(o.status, whole.status);
        assert_int_equal(o.len, whole.len);
        assert_int_equal(o.max_age_s, whole.max_age_s);
        assert_memory_equal(o.body, whole.body, sizeof o.body);
    }
    return whole;
}

static struct outcome lives(const char *text)
{
    return lives_with(tr_span_cstr(text), 1000, true);
}

static void accepts(const char *text, const char *body)
{
    struct outcome o = lives(text);
    assert_int_equal(o.err, TR_OK);
    assert_int_equal(o.status, 200);
    assert_span_equal(tr_span(o.body, o.len), body);
}

static void refuses(const char *text, enum tr_err err)
{
    assert_int_equal(lives(text).err, err);
}

static void body_ends_by_content_length(void **state)
{
    (void)state;
    accepts("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello");
    accepts("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "");
    accepts("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok");
}

static void what_follows_the_body_is_not_looked_at(void **state)
{
    (void)state;
    accepts("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, more than was said", "hello");
    accepts("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 500",
            "ok");
}

static void body_ends_by_chunks(void **state)
{
    (void)state;
    accepts("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;a=b\r\nlo\r\n"
            "0\r\nx: y\r\n\r\n",
            "hello");
    accepts("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n", "");
}

static void body_ends_with_the_connection(void **state)
{
    (void)state;
    accepts("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", "hello");
    accepts("HTTP/1.1 200 \r\n\r\n", "");
    accepts("HTTP/1.1 200\r\n\r\nx", "x");
}

static void interim_answers_are_skipped(void **state)
{
    (void)state;
    accepts("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            "x");
    refuses("HTTP/1.1 101 Switching Protocols\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
}

static void only_200_is_a_success(void **state)
{
    (void)state;
    static const unsigned others[] = {201, 204, 206, 301, 302, 303, 304, 307, 308, 400, 404, 500};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char text[128];
        (void)snprintf(text, sizeof text,
                       "HTTP/1.1 %u X\r\nLocation: https://x/\r\nContent-Length: 2\r\n\r\nok",
                       others[i]);
        struct outcome o = lives(text);
        assert_int_equal(o.err, TR_ERR_IO);
        assert_int_equal(o.status, others[i]);
    }
}

static void status_line_is_strict(void **state)
{
    (void)state;
    refuses("HTTP/2 200 OK\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1  200 OK\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 20 OK\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 2000 OK\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 200OK\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 200 O\rK\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 099 X\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 600 X\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("http/1.1 200 OK\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("SSH-2.0-OpenSSH_9.2\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
}

static void header_lines_are_strict(void **state)
{
    (void)state;
    refuses("HTTP/1.1 200 OK\n\n", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 200 OK\r\nA: b\nContent-Length: 0\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 200 OK\r\nA\r\n\r\n", TR_ERR_UPSTREAM_PROTOCOL);
}

static void framing_is_strict(void **state)
{
    (void)state;
    refuses("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok", TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            TR_ERR_UPSTREAM_PROTOCOL);
    refuses("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nok", TR_ERR_UPSTREAM_PROTOCOL);
    accepts("HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\n\r\nok", "ok");
}

static void early_end_is_no_success(void **state)
{
    (void)state;
    refuses("", TR_ERR_UPSTREAM_CLOSED);
    refuses("HTTP/1.1 200 OK\r\nContent-", TR_ERR_UPSTREAM_CLOSED);
    refuses("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", TR_ERR_UPSTREAM_CLOSED);
    refuses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            TR_ERR_UPSTREAM_CLOSED);
}

static void body_is_capped(void **state)
{
    (void)state;
    char text[3000], body[1002];
    memset(body, 'x', sizeof body);
    body[1001] = 0;
    refuses("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\nxx", TR_ERR_UPSTREAM_OVERSIZED);
    refuses("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", TR_ERR_UPSTREAM_OVERSIZED);
    (void)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n\r\n%s", body);
    refuses(text, TR_ERR_UPSTREAM_OVERSIZED);
    (void)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n\r\n%s", body + 1);
    accepts(text, body + 1);
    (void)snprintf(text, sizeof text,
                   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n%s\r\n0\r\n\r\n",
                   body);
    refuses(text, TR_ERR_UPSTREAM_OVERSIZED);
}

static void head_is_capped(void **state)
{
    (void)state;
    char text[TR_H1_ANSWER_HEAD_MAX + 4096];
    size_t n = (size_t)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nA: ");
    memset(text + n, 'x', sizeof text - n);
    struct outcome o = lives_with(tr_span(text, sizeof text), 1000, false);
    assert_int_equal(o.err, TR_ERR_UPSTREAM_HEADERS);
    /* exactly the limit is fine, one byte more is not */
    for (int more = 0; more < 2; more++) {
        memset(text + n, 'x', sizeof text - n);
        memcpy(text + TR_H1_ANSWER_HEAD_MAX - 4 + more, "\r\n\r\n", 4);
        o = lives_with(tr_span(text, (size_t)TR_H1_ANSWER_HEAD_MAX + (size_t)more), 1000, true);
        assert_int_equal(o.err, more ? TR_ERR_UPSTREAM_HEADERS : TR_OK);
    }
    n = (size_t)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i <= TR_H1_ANSWER_HEADERS_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "a: b\r\n");
    n += (size_t)snprintf(text + n, sizeof text - n, "\r\n");
    assert_int_equal(lives_with(tr_span(text, n), 1000, true).err, TR_ERR_UPSTREAM_HEADERS);
    /* interim answers count too */
    for (n = 0; n + 30 < sizeof text;)
        n += (size_t)snprintf(text + n, sizeof text - n, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_int_equal(lives_with(tr_span(text, n), 1000, false).err, TR_ERR_UPSTREAM_HEADERS);
}

static int64_t age_of(const char *headers)
{
    char text[512];
    (void)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n%s\r\n", headers);
    struct outcome o = lives(text);
    assert_int_equal(o.err, TR_OK);
    return o.max_age_s;
}

static void lifetime_is_what_cache_control_says(void **state)
{
    (void)state;
    assert_int_equal(age_of(""), -1);
    assert_int_equal(age_of("Cache-Control: public\r\n"), -1);
    assert_int_equal(age_of("Cache-Control: max-age=300\r\n"), 300);
    assert_int_equal(age_of("cache-control: public , Max-Age=\"300\", must-revalidate\r\n"), 300);
    assert_int_equal(age_of("Cache-Control: public\r\nCache-Control: max-age=7\r\n"), 7);
    assert_int_equal(age_of("Cache-Control: max-age=9, max-age=7\r\n"), 7);
    assert_int_equal(age_of("Cache-Control: max-age=300\r\nAge: 100\r\n"), 200);
    assert_int_equal(age_of("Cache-Control: max-age=300\r\nAge: 301\r\n"), 0);
    assert_int_equal(age_of("Cache-Control: max-age=300\r\nAge: x\r\n"), 300);
    assert_int_equal(age_of("Cache-Control: no-store, max-age=300\r\n"), 0);
    assert_int_equal(age_of("Cache-Control: max-age=300\r\nCache-Control: no-cache\r\n"), 0);
    assert_int_equal(age_of("Cache-Control: x=\"a, max-age=1\", max-age=300\r\n"), 300);
    assert_int_equal(age_of("Cache-Control: x=\"\\\", max-age=1\", max-age=300\r\n"), 300);
    assert_int_equal(age_of("Cache-Control: max-age=-1\r\n"), 0);
    assert_int_equal(age_of("Cache-Control: max-age=\r\n"), 0);
    assert_int_equal(age_of("Cache-Control: max-age\r\n"), -1);
    assert_int_equal(age_of("Cache-Control: max-age=000000000000000000000005\r\n"), 5);
    assert_int_equal(age_of("Cache-Control: max-age=99999999999999999999999\r\n"), INT64_C(1)
                                                                                       << 31);
    assert_int_equal(age_of("Cache-Control: s-maxage=5\r\n"), -1);
    assert_int_equal(age_of("Cache-Control: ,,\r\n"), -1);
}

static void memory_that_lacks_is_an_error(void **state)
{
    (void)state;
    struct tr_span in =
        TR_SPAN("HTTP/1.1 100 X\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"
                "\r\nA: b\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n");
    uint64_t seed = 1;
    enum tr_err err = TR_ERR_NOMEM;
    for (uint64_t n = 1; err != TR_OK; n++) {
        assert_true(n < 100);
        tr_alloc_fail_after(n);
        err = live(in, 1000, 3, &seed, true).err;
        tr_alloc_fail_after(0);
        assert_true(err == TR_OK || err == TR_ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(body_ends_by_content_length),
        cmocka_unit_test(what_follows_the_body_is_not_looked_at),
        cmocka_unit_test(body_ends_by_chunks),
        cmocka_unit_test(body_ends_with_the_connection),
        cmocka_unit_test(interim_answers_are_skipped),
        cmocka_unit_test(only_200_is_a_success),
        cmocka_unit_test(status_line_is_strict),
        cmocka_unit_test(header_lines_are_strict),
        cmocka_unit_test(framing_is_strict),
        cmocka_unit_test(early_end_is_no_success),
        cmocka_unit_test(body_is_capped),
        cmocka_unit_test(head_is_capped),
        cmocka_unit_test(lifetime_is_what_cache_control_says),
        cmocka_unit_test(memory_that_lacks_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
