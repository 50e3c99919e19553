#include "io/tls_cert.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 1024

typedef void name_fn(void *ctx, enum tr_cert_name kind, struct tr_span text);

static void subject(X509 *cert, name_fn *fn, void *ctx)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (!bio)
        return;
    if (X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0) {
        long len = BIO_get_mem_data(bio, &text);
        if (text && len > 0 && !memchr(text, 0, (size_t)len))
            fn(ctx, TR_CERT_SUBJECT, tr_span(text, (size_t)len));
    }
    BIO_free(bio);
}

static void san_text(const char *kind, const char *text, size_t len, name_fn *fn, void *ctx)
{
    char out[TEXT_MAX];
    size_t kind_len = strlen(kind);
    if (len + kind_len > sizeof out || memchr(text, 0, len))
        return;
    memcpy(out, kind, kind_len);
    memcpy(out + kind_len, text, len);
    fn(ctx, TR_CERT_SAN, tr_span(out, kind_len + len));
}

static void san_string(const char *kind, const ASN1_STRING *s, name_fn *fn, void *ctx)
{
    int len = ASN1_STRING_length(s);
    if (len > 0)
        san_text(kind, (const char *)ASN1_STRING_get0_data(s), (size_t)len, fn, ctx);
}

static void san_address(const ASN1_OCTET_STRING *s, name_fn *fn, void *ctx)
{
    char text[INET6_ADDRSTRLEN];
    int len = ASN1_STRING_length(s), family = len == 4 ? AF_INET : len == 16 ? AF_INET6 : AF_UNSPEC;
    if (family != AF_UNSPEC && inet_ntop(family, ASN1_STRING_get0_data(s), text, sizeof text))
        san_text("IP:", text, strlen(text), fn, ctx);
}

static void sans(X509 *cert, name_fn *fn, void *ctx)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        if (n->type == GEN_DNS)
            san_string("DNS:", n->d.dNSName, fn, ctx);
        else if (n->type == GEN_URI)
            san_string("URI:", n->d.uniformResourceIdentifier, fn, ctx);
        else if (n->type == GEN_EMAIL)
            san_string("email:", n->d.rfc822Name, fn, ctx);
        else if (n->type == GEN_IPADD)
            san_address(n->d.iPAddress, fn, ctx);
    }
    GENERAL_NAMES_free(names);
}

enum tr_err tr_tls_cert_names(struct tr_span der, name_fn *fn, void *ctx)
{
    const unsigned char *p = (const unsigned char *)der.ptr;
    X509 *cert = der.len <= LONG_MAX ? d2i_X509(NULL, &p, (long)der.len) : NULL;
    if (cert) {
        subject(cert, fn, ctx);
        sans(cert, fn, ctx);
        X509_free(cert);
    }
    ERR_clear_error();
    return cert ? TR_OK : TR_ERR_TLS;
}
