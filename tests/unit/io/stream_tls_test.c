#include "certs.h"
#include "io/tls_ctx.h"
#include "test.h"
#include "turn.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

static struct tr_loop *loop;
static struct door door;
static struct end client, server;
static struct tr_tls_ctx *server_ctx, *client_ctx;

/* -- the world -------------------------------------------------------------------------------- */
static const char *const files[] = {
    "ca.crt",   "ca.key",   "other.crt",    "other.key",    "a.crt",       "a.key",
    "b.crt",    "b.key",    "wild.crt",     "wild.key",     "expired.crt", "expired.key",
    "user.crt", "user.key", "stranger.crt", "stranger.key", NULL};

static int make_certs(void **state)
{
    (void)state;
    certs_begin();
    struct authority ca = certs_authority("ca"), other = certs_authority("other");
    certs_leaf(&ca, "a", "a", "DNS:a.example,DNS:localhost,IP:127.0.0.1", 7200);
    certs_leaf(&ca, "b", "b", "DNS:b.example,DNS:api.wild.example", 7200);
    certs_leaf(&ca, "wild", "wild", "DNS:*.wild.example", 7200);
    certs_leaf(&ca, "expired", "expired", "DNS:a.example", -3600);
    certs_leaf(&ca, "user", "user", NULL, 7200);
    certs_leaf(&other, "stranger", "stranger", "DNS:a.example", 7200);
    certs_authority_free(&ca);
    certs_authority_free(&other);
    return 0;
}

static int remove_certs(void **state)
{
    (void)state;
    certs_end(files);
    return 0;
}

static int start(void **state)
{
    (void)state;
    memset(&client, 0, sizeof client);
    memset(&server, 0, sizeof server);
    server_ctx = client_ctx = NULL;
    if (tr_loop_new(&loop) != TR_OK)
        return -1;
    door_open(&door, loop, "127.0.0.1:0", &server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    end_close(&client, false);
    end_close(&server, false);
    tr_listener_close(door.l);
    tr_tls_ctx_unref(server_ctx);
    tr_tls_ctx_unref(client_ctx);
    tr_loop_free(loop);
    return 0;
}

static void serve(const char *base, enum tr_tls_client_certificate mode, const char *client_ca)
{
    char crt[32], key[32];
    struct tr_status st;
    tr_status_clear(&st);
    (void)snprintf(crt, sizeof crt, "%s.crt", base);
    (void)snprintf(key, sizeof key, "%s.key", base);
    struct tr_tls_certificate cert = {certs_span(crt), certs_span(key)};
    struct tr_tls_server_params params = {&cert, 1, client_ca ? certs_span(client_ca) : TR_SPAN(""),
                                          mode};
    tr_tls_ctx_unref(server_ctx);
    server_ctx = NULL;
    assert_int_equal(tr_tls_server_new(&params, &server_ctx, &st), TR_OK);
    door.tls = server_ctx;
}

static void trust(const char *ca, const char *user, bool require_h2)
{
    char crt[32], key[32];
    struct tr_tls_client_params params = {.ca_file = certs_span(ca), .require_h2 = require_h2};
    if (user) {
        (void)snprintf(crt, sizeof crt, "%s.crt", user);
        (void)snprintf(key, sizeof key, "%s.key", user);
        params.certificate_file = certs_span(crt);
        params.private_key_file = certs_span(key);
    }
    tr_tls_ctx_unref(client_ctx);
    client_ctx = NULL;
    assert_int_equal(tr_tls_client_new(&params, &client_ctx, NULL), TR_OK);
}

static void connect_as(const char *name)
{
    end_connect(&client, loop, tr_listener_addr(door.l), client_ctx, name);
    TURN_UNTIL(loop, client.ready && server.ready);
}

static void pair_up(void)
{
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    trust("ca.crt", NULL, true);
    connect_as("a.example");
    assert_int_equal(client.err, TR_OK);
    assert_int_equal(server.err, TR_OK);
}

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

/* -- bytes ------------------------------------------------------------------------------------ */
static char block[1 << 18];

static void fill_block(void)
{
    uint64_t seed = tr_test_seed();
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)tr_test_rand(&seed);
}

static size_t write_until_full(struct tr_stream *s)
{
    size_t sent = 0;
    for (;;) {
        size_t at = sent % sizeof block;
        ssize_t n = tr_stream_write(s, block + at, sizeof block - at);
        assert_true(n >= 0);
        if (n == 0)
            return sent;
        sent += (size_t)n;
        assert_true(sent < (size_t)256 << 20);
    }
}

static void write_fills_up_and_becomes_writable_again(void **state)
{
    (void)state;
    fill_block();
    pair_up();
    size_t sent = write_until_full(client.s);
    tr_stream_want(client.s, false, true);
    turn_idle(loop);
    assert_int_equal(client.writable, 0);
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    TURN_UNTIL(loop, client.writable == 1);
    TURN_UNTIL(loop, server.got == sent);
    assert_memory_equal(server.in, block, sizeof server.in);
    assert_int_equal(tr_stream_write(client.s, "next", 4),
                     4); /* another text than what was not taken */
    TURN_UNTIL(loop, server.got == sent + 4);
}

static void last_record_is_flushed_without_being_wanted_and_after_close(void **state)
{
    (void)state;
    fill_block();
    pair_up();
    size_t sent = write_until_full(client.s);
    end_close(&client, false); /* a record is left inside, and the end of the stream behind it */
    turn_idle(loop);
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    TURN_UNTIL(loop, server.ended || server.failed);
    assert_true(server.ended);
    assert_int_equal(server.got, sent);
}

static void lingering_stream_goes_with_the_loop(void **state)
{
    (void)state;
    fill_block();
    pair_up();
    (void)write_until_full(client.s);
    end_close(&client, false);
    turn_idle(loop);
}

static void lingering_stream_ends_with_the_peer(void **state)
{
    (void)state;
    fill_block();
    pair_up();
    (void)write_until_full(client.s);
    end_close(&client, false);
    end_close(&server, true);
    turn_idle(loop);
}

static void shutdown_sends_the_rest_then_the_end(void **state)
{
    (void)state;
    fill_block();
    pair_up();
    size_t sent = write_until_full(client.s);
    tr_stream_shutdown(client.s);
    assert_int_equal(tr_stream_write(client.s, "x", 1), TR_STREAM_ERROR);
    server.read_all = client.read_all = true;
    tr_stream_want(server.s, true, false);
    tr_stream_want(client.s, true, false);
    TURN_UNTIL(loop, server.ended);
    assert_int_equal(server.got, sent);
    assert_int_equal(tr_stream_write(server.s, "still", 5), 5);
    TURN_UNTIL(loop, client.got == 5);
    assert_false(client.ended || client.failed);
}

static void cut_connection_is_an_error_not_the_end(void **state)
{
    (void)state;
    pair_up();
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    end_close(&client, true);
    TURN_UNTIL(loop, server.failed || server.ended);
    assert_true(server.failed);
}

static void on_one_byte(void *ctx)
{
    struct end *e = ctx;
    char c;
    e->readable++;
    ssize_t n = tr_stream_read(e->s, &c, 1);
    if (n == 1) {
        if (e->got < sizeof e->in)
            e->in[e->got] = c;
        e->got++;
    } else if (n != TR_STREAM_AGAIN) {
        e->ended = n == 0;
        tr_stream_want(e->s, false, false);
    }
}

static void decrypted_bytes_inside_are_announced(void **state)
{
    (void)state;
    static const struct tr_stream_events slow = {end_on_ready, on_one_byte, end_on_writable};
    fill_block();
    pair_up();
    tr_stream_set_events(server.s, &slow, &server);
    tr_stream_want(server.s, true, false);
    assert_int_equal(tr_stream_write(client.s, block, 3000), 3000);
    end_close(&client, false);
    TURN_UNTIL(loop, server.got == 100);
    tr_stream_want(server.s, false, false);
    turn_idle(loop);
    assert_int_equal(server.got, 100);
    tr_stream_want(server.s, true, false);
    TURN_UNTIL(loop, server.ended);
    assert_int_equal(server.got, 3000);
    assert_memory_equal(server.in, block, 3000);
}

static void pieces_of_all_sizes_are_gathered_in_order(void **state)
{
    (void)state;
    fill_block();
    pair_up();
    server.read_all = true;
    tr_stream_want(server.s, true, false);
    uint64_t seed = tr_test_seed();
    size_t sent = 0;
    while (sent < 60000) {
        struct tr_span pieces[16];
        size_t at = sent;
        int count = (int)(tr_test_rand(&seed) % 16 + 1);
        for (int i = 0; i < count; i++) {
            size_t len = tr_test_rand(&seed) % (i % 5 == 4 ? 20000 : 200);
            if (at + len > sizeof block)
                len = 0;
            pieces[i] = tr_span(block + at, len);
            at += len;
        }
        ssize_t n = tr_stream_writev(client.s, pieces, count);
        assert_true(n >= 0 && (size_t)n <= at - sent);
        sent += (size_t)n;
        tr_loop_turn(loop, false);
    }
    TURN_UNTIL(loop, server.got == sent);
    assert_memory_equal(server.in, block, sent < sizeof server.in ? sent : sizeof server.in);
}

static void close_inside_callbacks_is_safe(void **state)
{
    (void)state;
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    trust("ca.crt", NULL, true);
    client.close_on_ready = true;
    end_connect(&client, loop, tr_listener_addr(door.l), client_ctx, "a.example");
    TURN_UNTIL(loop, client.ready && server.ready);
    server.close_on_read = server.close_on_write = true;
    tr_stream_want(server.s, true, true);
    TURN_UNTIL(loop, !server.s);
    turn_idle(loop);
    assert_int_equal(server.readable + server.writable, 1);
}

static void making_streams_survives_each_failing_allocation(void **state)
{
    (void)state;
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    trust("ca.crt", NULL, true);
    for (uint64_t n = 1;; n++) {
        tr_alloc_fail_after(n);
        enum tr_err err = tr_stream_connect(loop, tr_listener_addr(door.l), client_ctx,
                                            TR_SPAN("a.example"), &end_events, &client, &client.s);
        tr_alloc_fail_after(0);
        if (!err)
            break;
        assert_int_equal(err, TR_ERR_NOMEM);
        assert_true(n < 100);
    }
    TURN_UNTIL(loop, client.ready);
}

#define TLS_TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

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
        TLS_TEST(write_fills_up_and_becomes_writable_again),
        TLS_TEST(last_record_is_flushed_without_being_wanted_and_after_close),
        TLS_TEST(lingering_stream_goes_with_the_loop),
        TLS_TEST(lingering_stream_ends_with_the_peer),
        TLS_TEST(shutdown_sends_the_rest_then_the_end),
        TLS_TEST(cut_connection_is_an_error_not_the_end),
        TLS_TEST(decrypted_bytes_inside_are_announced),
        TLS_TEST(pieces_of_all_sizes_are_gathered_in_order),
        TLS_TEST(close_inside_callbacks_is_safe),
        TLS_TEST(making_streams_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
