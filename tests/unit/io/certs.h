/* Keys and certificates made at test time, in a folder that goes with the test. */
#ifndef TR_TESTS_UNIT_IO_CERTS_H
#define TR_TESTS_UNIT_IO_CERTS_H

#include "test.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <unistd.h>

struct authority {
    EVP_PKEY *key;
    X509 *cert;
};

static char certs_dir[64];

static inline void certs_begin(void)
{
    (void)snprintf(certs_dir, sizeof certs_dir, "/tmp/transom-certs-XXXXXX");
    assert_non_null(mkdtemp(certs_dir));
}

/* The path of a file in the folder; a ring of buffers, so that a call may have several. */
static inline const char *certs_path(const char *name)
{
    static char ring[8][128];
    static unsigned next;
    char *out = ring[next++ % 8];
    (void)snprintf(out, 128, "%s/%s", certs_dir, name);
    return out;
}

static inline struct tr_span certs_span(const char *name)
{
    return tr_span_cstr(certs_path(name));
}

static inline void certs_end(const char *const *names)
{
    for (; *names; names++)
        (void)unlink(certs_path(*names));
    (void)rmdir(certs_dir);
}

static inline void certs_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(ext);
    assert_int_equal(X509_add_ext(cert, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

/* ca NULL: self-signed authority. san may be NULL. valid_s: seconds from now until it expires, may
 * be negative. */
static inline X509 *certs_make(EVP_PKEY *key, const struct authority *ca, const char *cn,
                               const char *san, int valid_s)
{
    static int serial = 1;
    X509 *cert = X509_new();
    assert_non_null(cert);
    assert_int_equal(X509_set_version(cert, 2), 1);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert), -7200);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), valid_s);
    X509_NAME *name = X509_get_subject_name(cert);
    assert_int_equal(
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0),
        1);
    X509 *issuer = ca ? ca->cert : cert;
    assert_int_equal(X509_set_issuer_name(cert, X509_get_subject_name(issuer)), 1);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    certs_extension(cert, issuer, NID_basic_constraints,
                    ca ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (san)
        certs_extension(cert, issuer, NID_subject_alt_name, san);
    assert_true(X509_sign(cert, ca ? ca->key : key, EVP_sha256()) > 0);
    return cert;
}

static inline void certs_write(const char *base, EVP_PKEY *key, X509 *cert)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%s.crt", base);
    FILE *f = fopen(certs_path(name), "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, cert), 1);
    (void)fclose(f);
    (void)snprintf(name, sizeof name, "%s.key", base);
    f = fopen(certs_path(name), "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    (void)fclose(f);
}

/* <base>.crt and <base>.key. */
static inline struct authority certs_authority(const char *base)
{
    struct authority ca;
    ca.key = EVP_EC_gen("P-256");
    assert_non_null(ca.key);
    ca.cert = certs_make(ca.key, NULL, base, NULL, 7200);
    certs_write(base, ca.key, ca.cert);
    return ca;
}

static inline void certs_leaf(const struct authority *ca, const char *base, const char *cn,
                              const char *san, int valid_s)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(key);
    X509 *cert = certs_make(key, ca, cn, san, valid_s);
    certs_write(base, key, cert);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static inline void certs_authority_free(struct authority *ca)
{
    X509_free(ca->cert);
    EVP_PKEY_free(ca->key);
}

#endif
