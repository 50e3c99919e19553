#include "filters/client_cert.h"

#include "io/tls_cert.h"
#include "test.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>

/* A certificate with this subject (CN, O) and these alternative names, signed by itself. */
static struct tr_span make(const char *cn, int cn_len, const char *organization, const char *sans)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    unsigned char *der = NULL;
    assert_non_null(key);
    assert_non_null(cert);
    X509_NAME *name = X509_get_subject_name(cert);
    if (organization)
        assert_int_equal(X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                                                    (const unsigned char *)organization, -1, -1, 0),
                         1);
    assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                                (const unsigned char *)cn, cn_len, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(cert, name), 1);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    if (sans) {
        X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, sans);
        assert_non_null(ext);
        assert_int_equal(X509_add_ext(cert, ext, -1), 1);
        X509_EXTENSION_free(ext);
    }
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    int len = i2d_X509(cert, &der);
    assert_true(len > 0);
    X509_free(cert);
    EVP_PKEY_free(key);
    return tr_span((const char *)der, (size_t)len);
}

static void let_go(struct tr_span der)
{
    OPENSSL_free((void *)(uintptr_t)der.ptr);
}

static const struct tr_cfg_client_certificate rules[] = {
    {.consumer = TR_SPAN_INIT("both"),
     .subject = TR_SPAN_INIT("CN=one,O=Example"),
     .san = TR_SPAN_INIT("DNS:one.test")},
    {.consumer = TR_SPAN_INIT("subject"), .subject = TR_SPAN_INIT("CN=one,O=Example")},
    {.consumer = TR_SPAN_INIT("uri"), .san = TR_SPAN_INIT("URI:spiffe://a/b")},
    {.consumer = TR_SPAN_INIT("mail"), .san = TR_SPAN_INIT("email:a@b.test")},
    {.consumer = TR_SPAN_INIT("v4"), .san = TR_SPAN_INIT("IP:192.0.2.1")},
    {.consumer = TR_SPAN_INIT("v6"), .san = TR_SPAN_INIT("IP:2001:db8::1")},
    {.consumer = TR_SPAN_INIT("nobody")},
};
#define RULES (uint32_t)(sizeof rules / sizeof rules[0])

static uint32_t who(const char *cn, int cn_len, const char *organization, const char *sans)
{
    struct tr_span der = make(cn, cn_len, organization, sans);
    uint32_t found = tr_client_cert_match(der, rules, RULES);
    let_go(der);
    return found;
}

static void the_first_rule_that_is_met_says_who(void **state)
{
    (void)state;
    assert_int_equal(who("one", -1, "Example", "DNS:other.test,DNS:one.test"), 0);
    assert_int_equal(who("one", -1, "Example", "DNS:two.test"), 1);
    assert_int_equal(who("x", -1, NULL, "URI:spiffe://a/b"), 2);
    assert_int_equal(who("x", -1, NULL, "email:a@b.test"), 3);
    assert_int_equal(who("x", -1, NULL, "IP:192.0.2.1"), 4);
    assert_int_equal(who("x", -1, NULL, "IP:2001:db8::1"), 5);
}

static void what_only_looks_like_it_is_nobody(void **state)
{
    (void)state;
    assert_int_equal(who("one", -1, NULL, "DNS:one.test"), RULES);
    assert_int_equal(who("one\0two", 7, "Example", NULL), RULES);
    assert_int_equal(who("one,O=Example", -1, NULL, NULL), RULES); /* the comma is escaped */
    assert_int_equal(who("ONE", -1, "Example", NULL), RULES);
    assert_int_equal(who("x", -1, NULL, "DNS:spiffe://a/b"), RULES);
    assert_int_equal(who("x", -1, NULL, NULL), RULES);
}

static void ignore_name(void *ctx, enum tr_cert_name kind, struct tr_span text)
{
    (void)ctx;
    (void)kind;
    (void)text;
}

static void garbage_is_no_certificate(void **state)
{
    (void)state;
    struct tr_span der = make("one", -1, "Example", "DNS:one.test");
    assert_int_equal(tr_tls_cert_names(TR_SPAN(""), ignore_name, NULL), TR_ERR_TLS);
    for (size_t cut = 1; cut < der.len; cut += 7) {
        assert_int_equal(tr_tls_cert_names(tr_span(der.ptr, cut), ignore_name, NULL), TR_ERR_TLS);
        assert_int_equal(tr_client_cert_match(tr_span(der.ptr, cut), rules, RULES), RULES);
    }
    let_go(der);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_rule_that_is_met_says_who),
        cmocka_unit_test(what_only_looks_like_it_is_nobody),
        cmocka_unit_test(garbage_is_no_certificate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
