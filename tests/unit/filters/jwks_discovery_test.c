/* OpenID Connect discovery, as the refresh does it: over https, the document and then the keys. */
#include "base/log.h"
#include "filters/jwks_refresh.h"
#include "jwks_world.h"
#include "test.h"

static char issuer_url[128], ca_path[128], document[1024];

static int make_certs(void **state)
{
    (void)state;
    tr_log_set_level(TR_LOG_ERROR);
    certs_begin();
    struct authority ca = certs_authority("ca");
    certs_leaf(&ca, "issuer", "issuer", "IP:127.0.0.1", 7200);
    certs_authority_free(&ca);
    (void)snprintf(ca_path, sizeof ca_path, "%s", certs_path("ca.crt"));
    return 0;
}

static int remove_certs(void **state)
{
    static const char *const files[] = {"ca.crt", "ca.key", "issuer.crt", "issuer.key", NULL};
    (void)state;
    certs_end(files);
    return 0;
}

static int open_https(void **state)
{
    if (world_open(state))
        return -1;
    peer_secure(&issuer, "issuer");
    (void)snprintf(issuer_url, sizeof issuer_url, "https://127.0.0.1:%d/tenant", issuer.port);
    source.uri = TR_SPAN("");
    source.issuer = tr_span_cstr(issuer_url);
    source.ca_file = tr_span_cstr(ca_path);
    return 0;
}

/* scheme and path of the keys on the same server. */
static void say(const char *says_issuer, const char *scheme, const char *path)
{
    (void)snprintf(document, sizeof document,
                   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
                   "{\"issuer\":\"%s\",\"jwks_uri\":\"%s://127.0.0.1:%d%s\"}",
                   says_issuer, scheme, issuer.port, path);
    document_answer = document;
}

static void wait_for_failure(void)
{
    TURN_UNTIL(loop, tr_jwks_refresh_stats(refresh).failures == 1);
    turn_idle(loop);
    assert_null(views[0].set);
}

static void document_leads_to_the_keys(void **state)
{
    (void)state;
    say(issuer_url, "https", "/the/keys");
    world_begin();
    TURN_UNTIL(loop, views[0].set);
    assert_true(knows(&views[0], "a"));
    assert_int_equal(document_requests, 1);
    assert_non_null(strstr(issuer.last, "GET /the/keys HTTP/1.1\r\n"));
    assert_int_equal(tr_jwks_refresh_stats(refresh).fetches, 1);
}

static void document_is_below_the_issuer(void **state)
{
    (void)state;
    static const char *const ends[] = {"", "/"};
    for (size_t i = 0; i < 2; i++) {
        struct tr_jwks_refresh *r = NULL;
        static char with[160]; /* the source keeps a view of it */
        (void)snprintf(with, sizeof with, "%s%s", issuer_url, ends[i]);
        source.issuer = tr_span_cstr(with);
        document_requests = 0;
        document_answer = WORLD_BROKEN;
        assert_int_equal(tr_jwks_refresh_new(&control, &source, &r, NULL), TR_OK);
        TURN_UNTIL(loop, document_requests == 1);
        assert_non_null(
            strstr(issuer.last, "GET /tenant/.well-known/openid-configuration HTTP/1.1\r\n"));
        tr_jwks_refresh_free(r);
    }
    world_begin();
}

static void document_is_believed_for_the_next_fetches(void **state)
{
    (void)state;
    source.schedule.refresh_interval_ns = SECOND / 10;
    say(issuer_url, "https", "/keys");
    world_begin();
    TURN_UNTIL(loop, tr_jwks_refresh_stats(refresh).fetches >= 3);
    assert_int_equal(document_requests, 1);
}

static void document_of_another_issuer_is_refused(void **state)
{
    (void)state;
    say("https://other.example", "https", "/keys");
    world_begin();
    wait_for_failure();
    assert_int_equal(keys_requests, 0);
}

static void issuer_is_compared_byte_for_byte(void **state)
{
    (void)state;
    char with[160];
    (void)snprintf(with, sizeof with, "%s/", issuer_url);
    say(with, "https", "/keys");
    world_begin();
    wait_for_failure();
    assert_int_equal(keys_requests, 0);
}

static void keys_over_http_are_refused(void **state)
{
    (void)state;
    say(issuer_url, "http", "/keys");
    world_begin();
    wait_for_failure();
    assert_int_equal(keys_requests, 0);
}

static void document_that_is_none_is_a_failure(void **state)
{
    (void)state;
    document_answer = "HTTP/1.1 200 OK\r\n\r\n<html></html>";
    world_begin();
    wait_for_failure();
}

static void redirected_document_is_a_failure(void **state)
{
    (void)state;
    document_answer = "HTTP/1.1 302 Found\r\nLocation: /keys\r\nContent-Length: 0\r\n\r\n";
    world_begin();
    wait_for_failure();
    assert_int_equal(keys_requests, 0);
}

static void document_is_fetched_again_after_its_keys_failed(void **state)
{
    (void)state;
    struct asker a = {.woken = 0};
    source.schedule.unknown_kid_interval_ns = MS;
    say(issuer_url, "https", "/keys");
    world_begin();
    TURN_UNTIL(loop, views[0].set);
    keys_answer = WORLD_BROKEN;
    assert_int_equal(ask_by(&a, 0, TR_JWKS_ASK_KID), TR_JWKS_WAIT);
    TURN_UNTIL(loop, a.woken);
    assert_true(knows(&views[0], "a"));
    assert_int_equal(document_requests, 1);
    keys_answer = WORLD_KEYS("b");
    say(issuer_url, "https", "/moved");
    TURN_UNTIL(loop, knows(&views[0], "b"));
    assert_int_equal(document_requests, 2);
    assert_non_null(strstr(issuer.last, "GET /moved HTTP/1.1\r\n"));
}

static void certificate_of_the_issuer_is_verified(void **state)
{
    (void)state;
    source.ca_file = TR_SPAN("");
    say(issuer_url, "https", "/keys");
    world_begin();
    wait_for_failure();
    assert_int_equal(document_requests, 0);
}

#define DISCOVERY_TEST(f) cmocka_unit_test_setup_teardown(f, open_https, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISCOVERY_TEST(document_leads_to_the_keys),
        DISCOVERY_TEST(document_is_below_the_issuer),
        DISCOVERY_TEST(document_is_believed_for_the_next_fetches),
        DISCOVERY_TEST(document_of_another_issuer_is_refused),
        DISCOVERY_TEST(issuer_is_compared_byte_for_byte),
        DISCOVERY_TEST(keys_over_http_are_refused),
        DISCOVERY_TEST(document_that_is_none_is_a_failure),
        DISCOVERY_TEST(redirected_document_is_a_failure),
        DISCOVERY_TEST(document_is_fetched_again_after_its_keys_failed),
        DISCOVERY_TEST(certificate_of_the_issuer_is_verified),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
