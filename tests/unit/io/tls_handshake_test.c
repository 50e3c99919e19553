#include "test.h"
#include "tls_world.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

/* -- handshakes ------------------------------------------------------------------------------- */
static void handshake_agrees_on_h2_and_shows_the_name(void **state)
{
    (void)state;
    pair_up();
    assert_true(tr_stream_is_tls(client.s));
    assert_span_equal(tr_stream_alpn(client.s), "h2");
    assert_span_equal(tr_stream_alpn(server.s), "h2");
    assert_span_equal(tr_stream_sni(server.s), "a.example");
    assert_int_equal(tr_stream_peer_certificate(server.s).len, 0);
    assert_true(tr_stream_peer_certificate(client.s).len > 100);
    assert_int_equal(client.ready, 1);
    assert_int_equal(server.ready, 1);
}

static void bytes_pass_in_both_directions(void **state)
{
    (void)state;
    pair_up();
    client.read_all = server.read_all = true;
    tr_stream_want(client.s, true, false);
    tr_stream_want(server.s, true, false);
    struct tr_span pieces[3] = {TR_SPAN("one "), TR_SPAN(""), TR_SPAN("two")};
    assert_int_equal(tr_stream_writev(client.s, pieces, 3), 7);
    TURN_UNTIL(loop, server.got == 7);
    assert_memory_equal(server.in, "one two", 7);
    assert_int_equal(tr_stream_write(server.s, "three", 5), 5);
    TURN_UNTIL(loop, client.got == 5);
    assert_memory_equal(client.in, "three", 5);
    assert_int_equal(tr_stream_read(client.s, client.in, 10), TR_STREAM_AGAIN);
    assert_int_equal(tr_stream_write(client.s, "", 0), 0);
}

static void expect_refused(const char *name, const char *text)
{
    connect_as(name);
    assert_int_equal(client.err, TR_ERR_UPSTREAM_TLS);
    assert_string_equal(client.error, text);
    assert_int_equal(server.err, TR_ERR_TLS);
    assert_int_equal(tr_stream_write(client.s, "x", 1), TR_STREAM_ERROR);
}

static void wrong_name_is_refused(void **state)
{
    (void)state;
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    trust("ca.crt", NULL, true);
    expect_refused("b.example", "hostname mismatch");
}

static void unknown_authority_is_refused(void **state)
{
    (void)state;
    serve("stranger", TR_TLS_CLIENT_NONE, NULL);
    trust("ca.crt", NULL, true);
    expect_refused("a.example", "unable to get local issuer certificate");
}

static void expired_certificate_is_refused(void **state)
{
    (void)state;
    serve("expired", TR_TLS_CLIENT_NONE, NULL);
    trust("ca.crt", NULL, true);
    expect_refused("a.example", "certificate has expired");
}

static void address_is_verified_and_not_sent_as_name(void **state)
{
    (void)state;
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    trust("ca.crt", NULL, true);
    connect_as("127.0.0.1");
    assert_int_equal(client.err, TR_OK);
    assert_int_equal(tr_stream_sni(server.s).len, 0);
}

static void wrong_address_is_refused(void **state)
{
    (void)state;
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    trust("ca.crt", NULL, true);
    expect_refused("127.0.0.2", "IP address mismatch");
}

static void client_without_a_name_to_verify_is_refused_at_once(void **state)
{
    (void)state;
    trust("ca.crt", NULL, true);
    assert_int_equal(tr_stream_connect(loop, tr_listener_addr(door.l), client_ctx, TR_SPAN(""),
                                       &end_events, &client, &client.s),
                     TR_ERR_CONFIG);
    assert_null(client.s);
}

static void garbage_is_no_handshake(void **state)
{
    (void)state;
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    end_connect(&client, loop, tr_listener_addr(door.l), NULL, "");
    TURN_UNTIL(loop, client.ready);
    assert_int_equal(tr_stream_write(client.s, "GET / HTTP/1.1\r\n\r\n", 18), 18);
    TURN_UNTIL(loop, server.ready);
    assert_int_equal(server.err, TR_ERR_TLS);
    assert_string_equal(server.error, "http request");
}

static void client_that_leaves_fails_the_handshake(void **state)
{
    (void)state;
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    end_connect(&client, loop, tr_listener_addr(door.l), NULL, "");
    TURN_UNTIL(loop, client.ready && server.s);
    end_close(&client, false);
    TURN_UNTIL(loop, server.ready);
    assert_int_equal(server.err, TR_ERR_TLS);
}

/* -- client certificates ---------------------------------------------------------------------- */
static void optional_client_certificate_may_lack(void **state)
{
    (void)state;
    serve("a", TR_TLS_CLIENT_OPTIONAL, "ca.crt");
    trust("ca.crt", NULL, true);
    connect_as("a.example");
    assert_int_equal(server.err, TR_OK);
    assert_int_equal(tr_stream_peer_certificate(server.s).len, 0);
}

static void client_certificate_is_shown_to_the_server(void **state)
{
    (void)state;
    serve("a", TR_TLS_CLIENT_REQUIRED, "ca.crt");
    trust("ca.crt", "user", true);
    connect_as("a.example");
    assert_int_equal(server.err, TR_OK);
    struct tr_span der = tr_stream_peer_certificate(server.s);
    const unsigned char *at = (const unsigned char *)der.ptr;
    X509 *cert = d2i_X509(NULL, &at, (long)der.len);
    assert_non_null(cert);
    char cn[32];
    assert_true(
        X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof cn) > 0);
    assert_string_equal(cn, "user");
    X509_free(cert);
    assert_ptr_equal(tr_stream_peer_certificate(server.s).ptr, der.ptr);
}

/* In TLS 1.3 the client is done before the server has judged: it learns by reading. */
static void expect_server_refuses(void)
{
    connect_as("a.example");
    assert_int_equal(server.err, TR_ERR_TLS);
    if (client.err == TR_OK) {
        client.read_all = true;
        tr_stream_want(client.s, true, false);
        TURN_UNTIL(loop, client.failed);
    }
}

static void required_client_certificate_must_not_lack(void **state)
{
    (void)state;
    serve("a", TR_TLS_CLIENT_REQUIRED, "ca.crt");
    trust("ca.crt", NULL, true);
    expect_server_refuses();
}

static void client_certificate_of_an_unknown_authority_is_refused(void **state)
{
    (void)state;
    serve("a", TR_TLS_CLIENT_OPTIONAL, "ca.crt");
    trust("ca.crt", "stranger", true);
    expect_server_refuses();
}

/* -- several certificates --------------------------------------------------------------------- */
static void expect_certificate(const char *sni, const char *cn)
{
    memset(&client, 0, sizeof client);
    memset(&server, 0, sizeof server);
    end_connect(&client, loop, tr_listener_addr(door.l), client_ctx, sni);
    TURN_UNTIL(loop, client.ready && server.ready);
    /* the name may not fit the certificate on purpose; then the text says so */
    if (!cn) {
        assert_string_equal(client.error, "hostname mismatch");
    } else {
        struct tr_span der = tr_stream_peer_certificate(client.s);
        const unsigned char *at = (const unsigned char *)der.ptr;
        X509 *cert = d2i_X509(NULL, &at, (long)der.len);
        char got[32];
        assert_non_null(cert);
        assert_true(X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, got,
                                              sizeof got) > 0);
        assert_string_equal(got, cn);
        X509_free(cert);
    }
    end_close(&client, false);
    end_close(&server, false);
}

static void certificate_is_chosen_by_name(void **state)
{
    (void)state;
    struct tr_tls_certificate certs[3] = {{certs_span("a.crt"), certs_span("a.key")},
                                          {certs_span("wild.crt"), certs_span("wild.key")},
                                          {certs_span("b.crt"), certs_span("b.key")}};
    struct tr_tls_server_params params = {certs, 3, TR_SPAN(""), TR_TLS_CLIENT_NONE};
    assert_int_equal(tr_tls_server_new(&params, &server_ctx, NULL), TR_OK);
    door.tls = server_ctx;
    trust("ca.crt", NULL, true);
    expect_certificate("a.example", "a");
    expect_certificate("b.example", "b");
    expect_certificate("B.EXAMPLE", "b");
    expect_certificate("x.wild.example", "wild");
    expect_certificate("api.wild.example", "b");  /* exact before wildcard */
    expect_certificate("127.0.0.1", "a");         /* no name: the first */
    expect_certificate("y.x.wild.example", NULL); /* one label only */
    expect_certificate("nobody.example", NULL);
}

/* -- ALPN and versions, with a client of OpenSSL's own ---------------------------------------- */
struct raw {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    int rc; /* 0 under way, 1 done, -1 failed */
};

static void raw_open(struct raw *r, SSL_CTX *ctx)
{
    r->ctx = ctx;
    r->rc = 0;
    r->fd = socket(AF_INET, SOCK_STREAM, 0);
    const struct tr_addr *addr = tr_listener_addr(door.l);
    assert_int_equal(connect(r->fd, (const struct sockaddr *)&addr->ss, addr->len), 0);
    assert_int_equal(fcntl(r->fd, F_SETFL, O_NONBLOCK), 0);
    r->ssl = SSL_new(ctx);
    assert_non_null(r->ssl);
    assert_int_equal(SSL_set_fd(r->ssl, r->fd), 1);
    SSL_set_connect_state(r->ssl);
}

static int raw_step(struct raw *r)
{
    if (r->rc)
        return r->rc;
    ERR_clear_error();
    int rc = SSL_do_handshake(r->ssl);
    int why = SSL_get_error(r->ssl, rc);
    if (rc == 1)
        r->rc = 1;
    else if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
        r->rc = -1;
    return r->rc;
}

static void raw_close(struct raw *r)
{
    SSL_free(r->ssl);
    (void)close(r->fd);
    ERR_clear_error();
}

static void raw_run(struct raw *r, SSL_CTX *ctx)
{
    end_close(&server, false);
    memset(&server, 0, sizeof server);
    raw_open(r, ctx);
    TURN_UNTIL(loop, raw_step(r) && server.ready);
}

static void client_without_alpn_gets_none(void **state)
{
    (void)state;
    struct raw r;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    raw_run(&r, ctx);
    assert_int_equal(r.rc, 1);
    assert_int_equal(server.err, TR_OK);
    assert_int_equal(tr_stream_alpn(server.s).len, 0);
    raw_close(&r);
    SSL_CTX_free(ctx);
}

static void server_prefers_h2_whatever_the_order_offered(void **state)
{
    (void)state;
    struct raw r;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\x8http/1.1\x2h2", 12),
                     0);
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    raw_run(&r, ctx);
    assert_int_equal(r.rc, 1);
    assert_span_equal(tr_stream_alpn(server.s), "h2");
    raw_close(&r);
    assert_int_equal(SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\x4spdy\x8http/1.1", 14),
                     0);
    raw_run(&r, ctx);
    assert_span_equal(tr_stream_alpn(server.s), "http/1.1");
    raw_close(&r);
    SSL_CTX_free(ctx);
}

static void foreign_alpn_is_refused_by_alert(void **state)
{
    (void)state;
    struct raw r;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)"\x4spdy", 5), 0);
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    raw_run(&r, ctx);
    assert_int_equal(r.rc, -1);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
    assert_int_equal(server.err, TR_ERR_TLS);
    raw_close(&r);
    SSL_CTX_free(ctx);
}

static void tls_1_2_needs_an_ephemeral_aead_suite(void **state)
{
    (void)state;
    struct raw r;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    assert_int_equal(SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION), 1);
    raw_run(&r, ctx);
    assert_int_equal(r.rc, 1);
    assert_int_equal(SSL_version(r.ssl), TLS1_2_VERSION);
    assert_string_equal(SSL_get_cipher_name(r.ssl), "ECDHE-ECDSA-AES128-GCM-SHA256");
    /* no renegotiation: the server answers with an alert and goes on */
    assert_int_equal(SSL_renegotiate(r.ssl), 1);
    ERR_clear_error();
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    int rc = -1;
    for (int i = 0; i < 200 && rc <= 0; i++) {
        tr_loop_turn(loop, false);
        rc = SSL_do_handshake(r.ssl);
        if (SSL_get_error(r.ssl, rc) == SSL_ERROR_SSL)
            break;
    }
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    raw_close(&r);
    assert_int_equal(SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES128-SHA"), 1); /* CBC */
    raw_run(&r, ctx);
    assert_int_equal(r.rc, -1);
    assert_int_equal(server.err, TR_ERR_TLS);
    raw_close(&r);
    SSL_CTX_free(ctx);
}

static void tls_1_1_is_refused(void **state)
{
    (void)state;
    struct raw r;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(ctx, 0);
    assert_int_equal(SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION), 1);
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    raw_run(&r, ctx);
    assert_int_equal(r.rc, -1);
    assert_int_equal(server.err, TR_ERR_TLS);
    raw_close(&r);
    SSL_CTX_free(ctx);
}

static SSL_SESSION *session_kept;
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(session_kept);
    session_kept = session;
    return 1;
}

/* One connection that offers session_kept; reads until a new ticket came. */
static bool resumed(SSL_CTX *ctx)
{
    struct raw r;
    char byte;
    end_close(&server, false);
    memset(&server, 0, sizeof server);
    raw_open(&r, ctx);
    SSL_SESSION *offered = session_kept;
    session_kept = NULL;
    if (offered)
        assert_int_equal(SSL_set_session(r.ssl, offered), 1);
    TURN_UNTIL(loop, raw_step(&r) && server.ready);
    assert_int_equal(r.rc, 1);
    bool reused = SSL_session_reused(r.ssl);
    TURN_UNTIL(loop, SSL_read(r.ssl, &byte, 1) < 1 && session_kept);
    SSL_SESSION_free(offered);
    (void)SSL_shutdown(r.ssl);
    raw_close(&r);
    return reused;
}

static void sessions_resume_until_the_client_authority_changes(void **state)
{
    (void)state;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    session_kept = NULL;
    serve("a", TR_TLS_CLIENT_OPTIONAL, "ca.crt");
    assert_false(resumed(ctx));
    assert_true(resumed(ctx));
    end_close(&server, false);
    serve("a", TR_TLS_CLIENT_OPTIONAL, "other.crt");
    assert_false(resumed(ctx));
    SSL_SESSION_free(session_kept);
    SSL_CTX_free(ctx);
}

/* -- a server that does not choose h2 --------------------------------------------------------- */
static void client_requires_h2_from_the_server(void **state)
{
    (void)state;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate_chain_file(ctx, certs_path("a.crt")), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, certs_path("a.key"), SSL_FILETYPE_PEM), 1);
    trust("ca.crt", NULL, true);
    end_connect(&client, loop, tr_listener_addr(door.l), client_ctx, "a.example");
    TURN_UNTIL(loop, server.s);
    /* the plain end of the listener is left alone; OpenSSL speaks on it through memory */
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_set_accept_state(ssl);
    for (int i = 0; i < 2000 && !client.ready; i++) {
        char buf[4096];
        ssize_t n = tr_stream_read(server.s, buf, sizeof buf);
        if (n > 0)
            (void)BIO_write(in, buf, (int)n);
        (void)SSL_do_handshake(ssl);
        int m = BIO_read(out, buf, sizeof buf);
        if (m > 0)
            assert_int_equal(tr_stream_write(server.s, buf, (size_t)m), m);
        tr_loop_turn(loop, false);
    }
    assert_int_equal(client.ready, 1);
    assert_int_equal(client.err, TR_ERR_UPSTREAM_TLS);
    assert_string_equal(client.error, "the peer did not choose h2 by ALPN");
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    ERR_clear_error();
}

static void client_that_does_not_require_h2_speaks_http_1_1(void **state)
{
    (void)state;
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    trust("ca.crt", NULL, false);
    connect_as("a.example");
    assert_int_equal(client.err, TR_OK);
    assert_span_equal(tr_stream_alpn(client.s), "http/1.1");
    assert_span_equal(tr_stream_alpn(server.s), "http/1.1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_TEST(handshake_agrees_on_h2_and_shows_the_name),
        TLS_TEST(bytes_pass_in_both_directions),
        TLS_TEST(wrong_name_is_refused),
        TLS_TEST(unknown_authority_is_refused),
        TLS_TEST(expired_certificate_is_refused),
        TLS_TEST(address_is_verified_and_not_sent_as_name),
        TLS_TEST(wrong_address_is_refused),
        TLS_TEST(client_without_a_name_to_verify_is_refused_at_once),
        TLS_TEST(garbage_is_no_handshake),
        TLS_TEST(client_that_leaves_fails_the_handshake),
        TLS_TEST(optional_client_certificate_may_lack),
        TLS_TEST(client_certificate_is_shown_to_the_server),
        TLS_TEST(required_client_certificate_must_not_lack),
        TLS_TEST(client_certificate_of_an_unknown_authority_is_refused),
        TLS_TEST(certificate_is_chosen_by_name),
        TLS_TEST(client_without_alpn_gets_none),
        TLS_TEST(server_prefers_h2_whatever_the_order_offered),
        TLS_TEST(foreign_alpn_is_refused_by_alert),
        TLS_TEST(tls_1_2_needs_an_ephemeral_aead_suite),
        TLS_TEST(tls_1_1_is_refused),
        TLS_TEST(sessions_resume_until_the_client_authority_changes),
        TLS_TEST(client_requires_h2_from_the_server),
        TLS_TEST(client_that_does_not_require_h2_speaks_http_1_1),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
