#include "http/h1_fetch.h"

#include "peer.h"
#include "test.h"

static struct tr_loop *loop;
static struct tr_dns *dns;
static struct tr_tls_ctx *trust;
static struct peer peer;
static struct tr_h1_fetch *fetch;

static struct {
    int calls;
    enum tr_err err;
    uint16_t http_status;
    int64_t max_age_s;
    size_t len;
    char body[4096], why[TR_STATUS_TEXT_MAX + 1];
} got;

static const char *script; /* what the peer answers */

static const char *answer_script(struct peer *p, const char *target)
{
    (void)p, (void)target;
    return script;
}

static void on_result(void *ctx, const struct tr_h1_fetch_result *r)
{
    assert_ptr_equal(ctx, &got);
    got.calls++;
    got.err = r->err;
    got.http_status = r->http_status;
    got.max_age_s = r->max_age_s;
    got.len = r->body.len;
    if (r->body.len)
        memcpy(got.body, r->body.ptr, r->body.len < sizeof got.body ? r->body.len : 4096);
    struct tr_span why = r->err ? tr_status_text(r->st) : TR_SPAN("");
    (void)snprintf(got.why, sizeof got.why, "%.*s", (int)why.len, why.ptr);
    fetch = NULL;
}

static enum tr_err begin(const char *url, size_t cap, uint64_t timeout_ns)
{
    struct tr_h1_fetch_params params = {.loop = loop,
                                        .dns = dns,
                                        .tls = trust,
                                        .url = tr_span_cstr(url),
                                        .accept = TR_SPAN("application/json"),
                                        .max_body = cap,
                                        .timeout_ns = timeout_ns};
    memset(&got, 0, sizeof got);
    enum tr_err err = tr_h1_fetch_start(&params, on_result, &got, &fetch, NULL);
    assert_int_equal(got.calls, 0);
    return err;
}

static void get_from(const char *scheme, const char *host, size_t cap)
{
    char url[256];
    (void)snprintf(url, sizeof url, "%s://%s:%d/keys?a=b", scheme, host, peer.port);
    assert_int_equal(begin(url, cap, 10000 * MS), TR_OK);
    TURN_UNTIL(loop, got.calls);
    assert_int_equal(got.calls, 1);
}

static void get(void)
{
    get_from("http", "127.0.0.1", 4096);
}

static int start(void **state)
{
    (void)state;
    fetch = NULL;
    trust = NULL;
    if (tr_loop_new(&loop) != TR_OK || tr_dns_new(loop, "127.0.0.1:1", &dns) != TR_OK)
        return -1;
    peer_open(&peer, loop, 0, answer_script);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    tr_h1_fetch_cancel(fetch);
    peer_close(&peer);
    tr_tls_ctx_unref(trust);
    tr_dns_free(dns);
    tr_loop_free(loop);
    return 0;
}

static int make_certs(void **state)
{
    (void)state;
    certs_begin();
    struct authority ca = certs_authority("ca"), other = certs_authority("other");
    certs_leaf(&ca, "good", "good", "DNS:localhost,IP:127.0.0.1", 7200);
    certs_leaf(&ca, "elsewhere", "elsewhere", "DNS:elsewhere.example,IP:127.0.0.2", 7200);
    certs_leaf(&ca, "expired", "expired", "IP:127.0.0.1", -3600);
    certs_leaf(&other, "stranger", "stranger", "IP:127.0.0.1", 7200);
    certs_authority_free(&ca);
    certs_authority_free(&other);
    return 0;
}

static int remove_certs(void **state)
{
    static const char *const files[] = {
        "ca.crt",      "ca.key",      "other.crt",     "other.key",
        "good.crt",    "good.key",    "elsewhere.crt", "elsewhere.key",
        "expired.crt", "expired.key", "stranger.crt",  "stranger.key",
        NULL};
    (void)state;
    certs_end(files);
    return 0;
}

/* -- URLs ------------------------------------------------------------------------------------- */

static void url_is_taken_apart(void **state)
{
    (void)state;
    struct tr_h1_url u;
    assert_int_equal(tr_h1_url_parse(TR_SPAN("https://Keys.example/a/b?c=d"), &u, NULL), TR_OK);
    assert_true(u.https);
    assert_int_equal(u.port, 443);
    assert_span_equal(u.host, "Keys.example");
    assert_span_equal(u.authority, "Keys.example");
    assert_span_equal(u.path, "/a/b");
    assert_span_equal(u.query, "c=d");
    assert_int_equal(tr_h1_url_parse(TR_SPAN("HTTP://[::1]:8080"), &u, NULL), TR_OK);
    assert_false(u.https);
    assert_int_equal(u.port, 8080);
    assert_span_equal(u.host, "::1");
    assert_span_equal(u.authority, "[::1]:8080");
    assert_span_equal(u.path, "");
    assert_null(u.query.ptr);
    assert_int_equal(tr_h1_url_parse(TR_SPAN("http://h:/"), &u, NULL), TR_OK);
    assert_int_equal(u.port, 80);
    assert_span_equal(u.authority, "h");
}

static void bad_url_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "/keys",
                                      "ftp://h/",
                                      "https://",
                                      "https:///keys",
                                      "https://user@h/",
                                      "https://user:pass@h/",
                                      "https://h:0/",
                                      "https://h:65536/",
                                      "https://h:x/",
                                      "https://[::1/",
                                      "https://[v1.x]/",
                                      "https://h/a b",
                                      "https://h/\r\nX: y",
                                      "https://h/#f",
                                      "https://h/?a#f",
                                      "https://a%41/"};
    struct tr_h1_url u;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(tr_h1_url_parse(tr_span_cstr(bad[i]), &u, NULL), TR_ERR_CONFIG);
    static char longer[TR_H1_FETCH_URL_MAX + 16] = "https://h/";
    memset(longer + 10, 'a', sizeof longer - 11);
    assert_int_equal(tr_h1_url_parse(tr_span_cstr(longer), &u, NULL), TR_ERR_CONFIG);
}

/* -- the whole way ---------------------------------------------------------------------------- */

static void request_says_what_is_wanted(void **state)
{
    (void)state;
    char want[512];
    script = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\n\r\n{}";
    get();
    assert_int_equal(got.err, TR_OK);
    assert_int_equal(got.http_status, 200);
    assert_int_equal(got.max_age_s, 60);
    assert_span_equal(tr_span(got.body, got.len), "{}");
    (void)snprintf(want, sizeof want,
                   "GET /keys?a=b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: application/json\r\n"
                   "Accept-Encoding: identity\r\nUser-Agent: transom\r\nConnection: close\r\n\r\n",
                   peer.port);
    assert_string_equal(peer.last, want);
}

static void three_lives_bring_the_same_body(void **state)
{
    (void)state;
    static const char chunked[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n";
    static const char *const scripts[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world", chunked,
        "HTTP/1.1 200 OK\r\n\r\nhello world"};
    static const size_t steps[] = {SIZE_MAX, 1, 0, 0, 0};
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < sizeof steps / sizeof steps[0]; k++) {
            script = scripts[i];
            peer.step = steps[k];
            get();
            assert_int_equal(got.err, TR_OK);
            assert_span_equal(tr_span(got.body, got.len), "hello world");
        }
    }
}

static void name_is_resolved_and_its_addresses_tried(void **state)
{
    (void)state; /* localhost may be ::1 first, where nobody listens */
    script = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    get_from("http", "localhost", 4096);
    assert_int_equal(got.err, TR_OK);
    assert_non_null(strstr(peer.last, "Host: localhost:"));
}

static void redirect_is_a_failure(void **state)
{
    (void)state;
    script = "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n";
    get();
    assert_int_equal(got.err, TR_ERR_IO);
    assert_int_equal(got.http_status, 302);
    assert_string_equal(got.why, "the server answered 302");
    assert_int_equal(peer.requests, 1);
}

static void answer_larger_than_the_cap_is_cut_at_once(void **state)
{
    (void)state;
    script = "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n";
    peer.endless = true;
    get();
    assert_int_equal(got.err, TR_ERR_UPSTREAM_OVERSIZED);
    script = "HTTP/1.1 200 OK\r\n\r\n";
    get_from("http", "127.0.0.1", 1 << 20);
    assert_int_equal(got.err, TR_ERR_UPSTREAM_OVERSIZED);
    TURN_UNTIL(loop, tr_list_empty(&peer.conns)); /* it notices that we left */
    assert_true(peer.sent < UINT64_C(64) << 20);
}

static void head_larger_than_the_cap_is_cut(void **state)
{
    (void)state;
    script = "HTTP/1.1 200 OK\r\nX: ";
    peer.endless = true;
    get();
    assert_int_equal(got.err, TR_ERR_UPSTREAM_HEADERS);
    TURN_UNTIL(loop, tr_list_empty(&peer.conns));
}

static void wrong_length_is_a_failure(void **state)
{
    (void)state;
    script = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok";
    get();
    assert_int_equal(got.err, TR_ERR_UPSTREAM_CLOSED);
    assert_string_equal(got.why, "the connection ended within the answer's body");
    script = "";
    get();
    assert_int_equal(got.err, TR_ERR_UPSTREAM_CLOSED);
}

static void complete_answer_need_not_be_followed_by_the_end(void **state)
{
    (void)state;
    script = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    peer.stay = true;
    get();
    assert_int_equal(got.err, TR_OK);
}

static void slow_server_runs_out_of_time(void **state)
{
    (void)state;
    static const char *const scripts[] = {NULL, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"};
    char url[128];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/", peer.port);
    for (int i = 0; i < 2; i++) {
        script = scripts[i];
        peer.stay = true;
        assert_int_equal(begin(url, 4096, 50 * MS), TR_OK);
        TURN_UNTIL(loop, got.calls);
        assert_int_equal(got.err, TR_ERR_DEADLINE);
        assert_non_null(strstr(got.why, "time ran out"));
    }
}

static void nobody_there_is_a_failure(void **state)
{
    (void)state;
    tr_listener_close(peer.l);
    peer.l = NULL;
    get();
    assert_int_equal(got.err, TR_ERR_UPSTREAM_CONNECT);
    get_from("http", "no.such.name.invalid", 4096); /* the name server does not exist */
    assert_int_equal(got.err, TR_ERR_UPSTREAM_DNS);
}

static void cancelled_fetch_is_silent_at_every_moment(void **state)
{
    (void)state;
    char url[128];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/", peer.port);
    script = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
    peer.step = 1;
    for (int turns = 0; turns < 40; turns++) {
        assert_int_equal(begin(url, 4096, 10000 * MS), TR_OK);
        for (int i = 0; i < turns && fetch; i++)
            tr_loop_turn(loop, false);
        int calls = got.calls;
        tr_h1_fetch_cancel(fetch);
        fetch = NULL;
        turn_idle(loop);
        assert_int_equal(got.calls, calls);
    }
}

/* -- TLS -------------------------------------------------------------------------------------- */

static void secure(const char *base, const char *ca)
{
    struct tr_tls_client_params params = {.ca_file = ca ? certs_span(ca) : TR_SPAN("")};
    tr_tls_ctx_unref(trust);
    tr_tls_ctx_unref(peer.tls);
    trust = peer.tls = NULL;
    assert_int_equal(tr_tls_client_new(&params, &trust, NULL), TR_OK);
    peer_secure(&peer, base);
    script = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
}

static void https_brings_the_body(void **state)
{
    (void)state;
    static const size_t steps[] = {SIZE_MAX, 1, 0};
    secure("good", "ca.crt");
    for (size_t i = 0; i < 3; i++) {
        peer.step = steps[i];
        get_from("https", "127.0.0.1", 4096);
        assert_int_equal(got.err, TR_OK);
        assert_span_equal(tr_span(got.body, got.len), "ok");
        get_from("https", "localhost", 4096);
        assert_int_equal(got.err, TR_OK);
    }
}

static void https_refused(const char *base, const char *ca, const char *why)
{
    secure(base, ca);
    get_from("https", "127.0.0.1", 4096);
    assert_int_equal(got.err, TR_ERR_UPSTREAM_TLS);
    if (!strstr(got.why, why))
        fail_msg("\"%s\" does not say \"%s\"", got.why, why);
    assert_int_equal(peer.requests, 0);
}

static void certificate_must_be_for_the_host(void **state)
{
    (void)state;
    https_refused("elsewhere", "ca.crt", "mismatch");
}

static void certificate_must_be_of_a_trusted_authority(void **state)
{
    (void)state;
    https_refused("stranger", "ca.crt", "certificate");
    https_refused("good", NULL, "certificate"); /* the system's roots do not know it */
}

static void certificate_must_not_have_expired(void **state)
{
    (void)state;
    https_refused("expired", "ca.crt", "expired");
}

static void plain_server_is_no_https(void **state)
{
    (void)state;
    struct tr_tls_client_params params = {.ca_file = certs_span("ca.crt")};
    assert_int_equal(tr_tls_client_new(&params, &trust, NULL), TR_OK);
    script = "HTTP/1.1 400 Bad Request\r\n\r\n";
    char url[128];
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%d/", peer.port);
    assert_int_equal(begin(url, 4096, 200 * MS), TR_OK); /* it may wait for more of our hello */
    TURN_UNTIL(loop, got.calls);
    assert_true(got.err == TR_ERR_UPSTREAM_TLS || got.err == TR_ERR_DEADLINE);
}

static void body_until_close_must_end_in_close_notify(void **state)
{
    (void)state; /* anybody on the way can end a TCP connection */
    secure("good", "ca.crt");
    script = "HTTP/1.1 200 OK\r\n\r\n{\"keys\":[";
    peer.stay = true;
    char url[128];
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%d/", peer.port);
    assert_int_equal(begin(url, 4096, 10000 * MS), TR_OK);
    TURN_UNTIL(loop, peer.sent == strlen(script));
    turn_idle(loop);
    assert_int_equal(got.calls, 0);
    peer_conn_close(tr_container_of(peer.conns.next, struct peer_conn, node), true);
    TURN_UNTIL(loop, got.calls);
    assert_int_equal(got.err, TR_ERR_UPSTREAM_CLOSED);
}

static void https_needs_someone_to_trust(void **state)
{
    (void)state;
    assert_int_equal(begin("https://127.0.0.1/", 4096, MS), TR_ERR_CONFIG);
    assert_int_equal(begin("nonsense", 4096, MS), TR_ERR_CONFIG);
}

/* -- memory ----------------------------------------------------------------------------------- */

static void memory_that_lacks_is_an_error_and_no_leak(void **state)
{
    (void)state;
    char url[128];
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%d/", peer.port);
    script = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    bool good = false;
    for (uint64_t n = 1; !good; n++) {
        assert_true(n < 200);
        memset(&got, 0, sizeof got);
        tr_alloc_fail_after(n);
        enum tr_err err = begin(url, 4096, 300 * MS);
        while (!err && !got.calls)
            tr_loop_turn(loop, true);
        tr_alloc_fail_after(0);
        if (!err)
            err = got.err;
        good = err == TR_OK;
        assert_true(good || err == TR_ERR_NOMEM || err == TR_ERR_UPSTREAM_CLOSED ||
                    err == TR_ERR_DEADLINE || err == TR_ERR_UPSTREAM_CONNECT);
        while (!tr_list_empty(&peer.conns))
            peer_conn_close(tr_container_of(peer.conns.next, struct peer_conn, node), true);
    }
}

#define FETCH_TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(url_is_taken_apart),
        cmocka_unit_test(bad_url_is_refused),
        FETCH_TEST(request_says_what_is_wanted),
        FETCH_TEST(three_lives_bring_the_same_body),
        FETCH_TEST(name_is_resolved_and_its_addresses_tried),
        FETCH_TEST(redirect_is_a_failure),
        FETCH_TEST(answer_larger_than_the_cap_is_cut_at_once),
        FETCH_TEST(head_larger_than_the_cap_is_cut),
        FETCH_TEST(wrong_length_is_a_failure),
        FETCH_TEST(complete_answer_need_not_be_followed_by_the_end),
        FETCH_TEST(slow_server_runs_out_of_time),
        FETCH_TEST(nobody_there_is_a_failure),
        FETCH_TEST(cancelled_fetch_is_silent_at_every_moment),
        FETCH_TEST(https_brings_the_body),
        FETCH_TEST(certificate_must_be_for_the_host),
        FETCH_TEST(certificate_must_be_of_a_trusted_authority),
        FETCH_TEST(certificate_must_not_have_expired),
        FETCH_TEST(plain_server_is_no_https),
        FETCH_TEST(body_until_close_must_end_in_close_notify),
        FETCH_TEST(https_needs_someone_to_trust),
        FETCH_TEST(memory_that_lacks_is_an_error_and_no_leak),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
