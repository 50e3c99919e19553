/* Connections with TLS, and with too little memory. */
#include "../io/certs.h"
#include "test.h"
#include "upstream_world.h"

static struct world w;

static const char *const files[] = {"ca.crt",   "ca.key",   "other.crt", "other.key", "leaf.crt",
                                    "leaf.key", "user.crt", "user.key",  NULL};

static int make_certs(void **state)
{
    (void)state;
    certs_begin();
    struct authority ca = certs_authority("ca"), other = certs_authority("other");
    certs_leaf(&ca, "leaf", "leaf", "DNS:backend.test,IP:127.0.0.1", 7200);
    certs_leaf(&ca, "user", "user", NULL, 7200);
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

/* One call to a backend with TLS; how it ends. */
static enum tr_err tls_call(const char *ca, const char *server_name, bool client_certificate)
{
    struct tr_tls_certificate leaf = {certs_span("leaf.crt"), certs_span("leaf.key")};
    struct tr_tls_server_params server = {.certificates = &leaf, .certificate_count = 1};
    struct tr_tls_client_params client = {.ca_file = certs_span(ca), .require_h2 = true};
    struct tr_tls_ctx *server_ctx;
    server.client_ca_file = certs_span("ca.crt");
    server.client_certificate = TR_TLS_CLIENT_REQUIRED;
    if (client_certificate) {
        client.certificate_file = certs_span("user.crt");
        client.private_key_file = certs_span("user.key");
    }
    w_init(&w);
    struct backend *b = w_backend(&w, B_ECHO, 1);
    assert_int_equal(tr_tls_server_new(&server, &server_ctx, NULL), TR_OK);
    assert_int_equal(tr_tls_client_new(&client, &w.conf.tls, NULL), TR_OK);
    b->tls = server_ctx;
    w.conf.connect_timeout_ns = 2000000000u;
    w.conf.server_name = tr_span_cstr(server_name);
    w_cluster(&w);
    struct test_call *tc = w_call(&w, "over TLS");
    assert_int_equal(w_until(&w, 1, 4000), 1);
    enum tr_err err = tc->err;
    if (!err)
        assert_span_equal(tr_buf_span(&tc->data), "over TLS");
    struct tr_tls_ctx *client_ctx = w.conf.tls;
    w_fini(&w);
    tr_tls_ctx_unref(client_ctx);
    tr_tls_ctx_unref(server_ctx);
    return err;
}

static void connpool_verifies_backends(void **state)
{
    (void)state;
    assert_int_equal(tls_call("ca.crt", "backend.test", true), TR_OK);
    assert_int_equal(tls_call("ca.crt", "", true), TR_OK); /* the address itself */
    assert_int_equal(tls_call("ca.crt", "other.test", true), TR_ERR_UPSTREAM_TLS);
    assert_int_equal(tls_call("other.crt", "backend.test", true), TR_ERR_UPSTREAM_TLS);
}

static void connpool_shows_its_certificate(void **state)
{
    (void)state;
    /* TLS 1.3: the refusal of a client certificate comes after the handshake, as the end of the
     * connection */
    assert_int_not_equal(tls_call("ca.crt", "backend.test", false), TR_OK);
}

static void connpool_names_a_backend_without_tls(void **state)
{
    (void)state;
    struct tr_tls_client_params client = {.ca_file = certs_span("ca.crt"), .require_h2 = true};
    w_init(&w);
    w_backend(&w, B_ECHO, 1);
    assert_int_equal(tr_tls_client_new(&client, &w.conf.tls, NULL), TR_OK);
    w_cluster(&w);
    struct test_call *tc = w_call(&w, "x");
    assert_int_equal(w_until(&w, 1, 2000), 1);
    assert_int_equal(tc->err, TR_ERR_UPSTREAM_TLS);
    struct tr_tls_ctx *ctx = w.conf.tls;
    w_fini(&w);
    tr_tls_ctx_unref(ctx);
}

/* Each allocation of the cluster failing in turn: a call ends once, or does not start. The
 * backend's memory fails as well, so that its connections come and go. */
static void connpool_survives_each_allocation_failing(void **state)
{
    (void)state;
    unsigned hurt = 0;
    for (uint64_t n = 1; n < 3000; n++) {
        w_init(&w);
        w_backend(&w, B_CLOSE, 1);
        struct backend *b = w_backend(&w, B_RAW, 1);
        f_settings(&b->script, NULL, 0);
        w.conf.connect_timeout_ns = 5000000u;
        w.conf.endpoint_count = 2;
        struct test_call *tc = w_call_prepare(&w, "x");
        tr_alloc_fail_after(n);
        enum tr_err err = tr_cluster_new(&w.worker, NULL, &w.upstream, &w.cluster);
        if (!err)
            err = tr_ucall_start(&tc->call, w.cluster);
        if (!err)
            tr_ucall_commit(&tc->call, true);
        tr_alloc_fail_after(0); /* what follows is the backend's too */
        if (err) {
            tc->ends = 1000;
            hurt++;
        } else {
            w_turns(&w, 10);
            if (tc->ends == 0) {
                tr_ucall_cancel(&tc->call);
                tc->ends = 1;
            }
        }
        if (!w.cluster)
            w.cluster = NULL;
        w_fini(&w);
        if (!err)
            break;
    }
    assert_true(hurt >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connpool_verifies_backends),
        cmocka_unit_test(connpool_shows_its_certificate),
        cmocka_unit_test(connpool_names_a_backend_without_tls),
        cmocka_unit_test(connpool_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
