/* A TLS server and a client with certificates of their own, for the tests of TLS. */
#ifndef TR_TESTS_UNIT_IO_TLS_WORLD_H
#define TR_TESTS_UNIT_IO_TLS_WORLD_H

#include "certs.h"
#include "io/tls_ctx.h"
#include "test.h"
#include "turn.h"

static struct tr_loop *loop;
static struct door door;
static struct end client, server;
static struct tr_tls_ctx *server_ctx, *client_ctx;

static const char *const files[] = {
    "ca.crt",   "ca.key",   "other.crt",    "other.key",    "a.crt",       "a.key",
    "b.crt",    "b.key",    "wild.crt",     "wild.key",     "expired.crt", "expired.key",
    "user.crt", "user.key", "stranger.crt", "stranger.key", NULL};

static inline int make_certs(void **state)
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

static inline int remove_certs(void **state)
{
    (void)state;
    certs_end(files);
    return 0;
}

static inline int start(void **state)
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

static inline int stop(void **state)
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

static inline void serve(const char *base, enum tr_tls_client_certificate mode,
                         const char *client_ca)
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

static inline void trust(const char *ca, const char *user, bool require_h2)
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

static inline void connect_as(const char *name)
{
    end_connect(&client, loop, tr_listener_addr(door.l), client_ctx, name);
    TURN_UNTIL(loop, client.ready && server.ready);
}

static inline void pair_up(void)
{
    serve("a", TR_TLS_CLIENT_NONE, NULL);
    trust("ca.crt", NULL, true);
    connect_as("a.example");
    assert_int_equal(client.err, TR_OK);
    assert_int_equal(server.err, TR_OK);
}

#define TLS_TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

#endif
