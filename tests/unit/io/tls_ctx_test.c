#include "io/tls_ctx.h"

#include "certs.h"
#include "test.h"

#include <stdio.h>

static const char *const files[] = {"ca.crt", "ca.key",   "a.crt",      "a.key", "b.crt",
                                    "b.key",  "junk.pem", "locked.key", NULL};

static int make_certs(void **state)
{
    (void)state;
    certs_begin();
    struct authority ca = certs_authority("ca");
    certs_leaf(&ca, "a", "a", "DNS:a.example,DNS:*.a.example", 7200);
    certs_leaf(&ca, "b", "b.example", NULL, 7200);
    FILE *f = fopen(certs_path("junk.pem"), "w");
    assert_non_null(f);
    (void)fputs("this is no certificate\n", f);
    (void)fclose(f);
    f = fopen(certs_path("locked.key"), "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, ca.key, EVP_aes_128_cbc(),
                                          (const unsigned char *)"secret", 6, NULL, NULL),
                     1);
    (void)fclose(f);
    certs_authority_free(&ca);
    return 0;
}

static int remove_certs(void **state)
{
    (void)state;
    certs_end(files);
    return 0;
}

static enum tr_err server_of(const char *crt, const char *key, const char *client_ca,
                             enum tr_tls_client_certificate mode, struct tr_status *st)
{
    struct tr_tls_certificate cert = {certs_span(crt), certs_span(key)};
    struct tr_tls_server_params params = {&cert, 1, client_ca ? certs_span(client_ca) : TR_SPAN(""),
                                          mode};
    struct tr_tls_ctx *ctx = NULL;
    tr_status_clear(st);
    enum tr_err err = tr_tls_server_new(&params, &ctx, st);
    tr_tls_ctx_unref(ctx);
    return err;
}

static bool says(const struct tr_status *st, const char *what)
{
    char text[TR_STATUS_TEXT_MAX + 1];
    struct tr_span t = tr_status_text(st);
    memcpy(text, t.ptr, t.len);
    text[t.len] = 0;
    return strstr(text, what) != NULL;
}

static void server_context_is_made_and_counted(void **state)
{
    (void)state;
    struct tr_status st;
    assert_int_equal(server_of("a.crt", "a.key", NULL, TR_TLS_CLIENT_NONE, &st), TR_OK);
    assert_int_equal(server_of("b.crt", "b.key", "ca.crt", TR_TLS_CLIENT_REQUIRED, &st), TR_OK);
    struct tr_tls_certificate cert = {certs_span("a.crt"), certs_span("a.key")};
    struct tr_tls_server_params params = {&cert, 1, TR_SPAN(""), TR_TLS_CLIENT_NONE};
    struct tr_tls_ctx *ctx;
    assert_int_equal(tr_tls_server_new(&params, &ctx, NULL), TR_OK);
    assert_ptr_equal(tr_tls_ctx_ref(ctx), ctx);
    tr_tls_ctx_unref(ctx);
    tr_tls_ctx_unref(ctx);
    tr_tls_ctx_unref(NULL);
}

static void files_that_cannot_serve_are_refused_with_the_reason(void **state)
{
    (void)state;
    struct tr_status st;
    assert_int_equal(server_of("absent.crt", "a.key", NULL, TR_TLS_CLIENT_NONE, &st),
                     TR_ERR_CONFIG);
    assert_true(says(&st, "absent.crt"));
    assert_true(says(&st, "No such file"));
    assert_int_equal(server_of("junk.pem", "a.key", NULL, TR_TLS_CLIENT_NONE, &st), TR_ERR_CONFIG);
    assert_true(says(&st, "nothing of this kind is in it as PEM"));
    assert_int_equal(server_of("a.crt", "absent.key", NULL, TR_TLS_CLIENT_NONE, &st),
                     TR_ERR_CONFIG);
    assert_true(says(&st, "absent.key"));
    assert_int_equal(server_of("a.crt", "b.key", NULL, TR_TLS_CLIENT_NONE, &st), TR_ERR_CONFIG);
    assert_true(says(&st, "not the key of the certificate"));
    assert_int_equal(server_of("a.crt", "locked.key", NULL, TR_TLS_CLIENT_NONE, &st),
                     TR_ERR_CONFIG);
    assert_true(says(&st, "it is encrypted"));
    assert_int_equal(server_of("a.crt", "junk.pem", NULL, TR_TLS_CLIENT_NONE, &st), TR_ERR_CONFIG);
    assert_true(says(&st, "no key is in it as PEM"));
    assert_int_equal(server_of("a.crt", "a.key", "absent.crt", TR_TLS_CLIENT_OPTIONAL, &st),
                     TR_ERR_CONFIG);
    assert_true(says(&st, "absent.crt"));
    assert_int_equal(server_of("a.crt", "a.key", "junk.pem", TR_TLS_CLIENT_REQUIRED, &st),
                     TR_ERR_CONFIG);
    assert_int_equal(server_of("a.crt", "a.key", NULL, TR_TLS_CLIENT_REQUIRED, &st), TR_ERR_CONFIG);
    assert_true(says(&st, "no client CA"));
    struct tr_tls_server_params none = {NULL, 0, TR_SPAN(""), TR_TLS_CLIENT_NONE};
    struct tr_tls_ctx *ctx = NULL;
    assert_int_equal(tr_tls_server_new(&none, &ctx, NULL), TR_ERR_CONFIG);
    assert_null(ctx);
}

static void client_context_needs_usable_files(void **state)
{
    (void)state;
    struct tr_tls_ctx *ctx = NULL;
    struct tr_status st;
    struct tr_tls_client_params params = {.ca_file = TR_SPAN("")}; /* the system's roots */
    assert_int_equal(tr_tls_client_new(&params, &ctx, NULL), TR_OK);
    tr_tls_ctx_unref(ctx);
    params.ca_file = certs_span("absent.crt");
    tr_status_clear(&st);
    assert_int_equal(tr_tls_client_new(&params, &ctx, &st), TR_ERR_CONFIG);
    assert_true(says(&st, "absent.crt"));
    params.ca_file = certs_span("ca.crt");
    params.certificate_file = certs_span("a.crt"); /* and no key */
    assert_int_equal(tr_tls_client_new(&params, &ctx, NULL), TR_ERR_CONFIG);
    params.private_key_file = certs_span("a.key");
    assert_int_equal(tr_tls_client_new(&params, &ctx, NULL), TR_OK);
    tr_tls_ctx_unref(ctx);
}

static void making_contexts_survives_each_failing_allocation(void **state)
{
    (void)state;
    struct tr_tls_certificate certs[2] = {{certs_span("a.crt"), certs_span("a.key")},
                                          {certs_span("b.crt"), certs_span("b.key")}};
    struct tr_tls_server_params params = {certs, 2, certs_span("ca.crt"), TR_TLS_CLIENT_OPTIONAL};
    for (uint64_t n = 1; n < 100; n++) {
        struct tr_tls_ctx *ctx = NULL;
        tr_alloc_fail_after(n);
        enum tr_err err = tr_tls_server_new(&params, &ctx, NULL);
        tr_alloc_fail_after(0);
        tr_tls_ctx_unref(ctx);
        if (!err)
            return;
        assert_int_equal(err, TR_ERR_NOMEM);
        assert_null(ctx);
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_context_is_made_and_counted),
        cmocka_unit_test(files_that_cannot_serve_are_refused_with_the_reason),
        cmocka_unit_test(client_context_needs_usable_files),
        cmocka_unit_test(making_contexts_survives_each_failing_allocation),
    };
    return cmocka_run_group_tests(tests, make_certs, remove_certs);
}
