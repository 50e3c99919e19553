#include "io/tls_ctx.h"

#include "base/alloc.h"
#include "io/tls_int.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>

/* What RFC 9113 §9.2.2 does not forbid: ephemeral key exchange with an AEAD. TLS 1.3 has nothing
 * else. */
#define TLS12_SUITES                                                                               \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

#define PATH_BYTES 4096

/* What OpenSSL says of the commonest mistakes names its own functions' trouble, not the file's. */
static const char *reason_text(unsigned long code)
{
    int lib = ERR_GET_LIB(code), reason = ERR_GET_REASON(code);
    if (ERR_SYSTEM_ERROR(code))
        return strerrordesc_np(reason);
    if ((lib == ERR_LIB_SSL && reason == SSL_R_NO_CERTIFICATE_ASSIGNED) ||
        (lib == ERR_LIB_X509 &&
         (reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH)))
        return "it is not the key of the certificate";
    if (lib == ERR_LIB_PEM && reason == PEM_R_NO_START_LINE)
        return "nothing of this kind is in it as PEM";
    if (reason == ERR_R_UNSUPPORTED)
        return "no key is in it as PEM";
    if (reason == ERR_R_INTERRUPTED_OR_CANCELLED)
        return "it is encrypted; a key must be without a password";
    return ERR_reason_error_string(code);
}

static enum tr_err fail(struct tr_status *st, const char *what, struct tr_span file)
{
    unsigned long code = ERR_peek_error(); /* the first one is the cause, later ones wrap it */
    const char *reason = code ? reason_text(code) : NULL;
    int shown = file.len > 160 ? 160 : (int)file.len;
    (void)tr_fail(st, TR_ERR_CONFIG, "%s%s%.*s: %s", what, shown ? " " : "", shown,
                  shown ? file.ptr : "", reason ? reason : "refused");
    ERR_clear_error();
    return TR_ERR_CONFIG;
}

static bool path_text(struct tr_span file, char *out)
{
    if (file.len == 0 || file.len >= PATH_BYTES || memchr(file.ptr, 0, file.len))
        return false;
    memcpy(out, file.ptr, file.len);
    out[file.len] = 0;
    return true;
}

/* -- common ----------------------------------------------------------------------------------- */
static int no_password(char *buf, int size, int writing, void *arg)
{
    (void)writing, (void)arg;
    if (size > 0)
        buf[0] = 0;
    return -1; /* never ask the terminal */
}

static enum tr_err base_new(const SSL_METHOD *method, SSL_CTX **ret_ssl, struct tr_status *st)
{
    ERR_clear_error();
    SSL_CTX *ssl = SSL_CTX_new(method);
    if (!ssl)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    if (!SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) ||
        !SSL_CTX_set_cipher_list(ssl, TLS12_SUITES)) {
        SSL_CTX_free(ssl);
        return fail(st, "TLS", TR_SPAN(""));
    }
    (void)SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ssl, 1); /* a record's header and body with one system call */
    SSL_CTX_set_default_passwd_cb(ssl, no_password);
    *ret_ssl = ssl;
    return TR_OK;
}

static enum tr_err use_certificate(SSL_CTX *ssl, struct tr_span certificate, struct tr_span key,
                                   struct tr_status *st)
{
    char path[PATH_BYTES];
    if (!path_text(certificate, path))
        return tr_fail(st, TR_ERR_CONFIG, "the certificate's file name is empty or too long");
    if (SSL_CTX_use_certificate_chain_file(ssl, path) != 1)
        return fail(st, "certificate", certificate);
    if (!path_text(key, path))
        return tr_fail(st, TR_ERR_CONFIG, "the private key's file name is empty or too long");
    if (SSL_CTX_use_PrivateKey_file(ssl, path, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ssl) != 1)
        return fail(st, "private key", key);
    return TR_OK;
}

/* -- names of a certificate ------------------------------------------------------------------- */
static bool name_add(struct tr_tls_names *names, const unsigned char *text, int len)
{
    if (len <= 0 || memchr(text, 0, (size_t)len)) /* "good.example\0.evil" is nobody's name */
        return true;
    struct tr_span *list = tr_realloc(names->list, (names->count + 1) * sizeof *list);
    if (!list)
        return false;
    names->list = list;
    char *copy = tr_malloc((size_t)len);
    if (!copy)
        return false;
    for (int i = 0; i < len; i++)
        copy[i] = tr_lower((char)text[i]);
    list[names->count++] = tr_span(copy, (size_t)len);
    return true;
}

static bool names_of(X509 *cert, struct tr_tls_names *names)
{
    bool ok = true, has_dns = false;
    GENERAL_NAMES *sans = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; sans && i < sk_GENERAL_NAME_num(sans) && ok; i++) {
        const GENERAL_NAME *san = sk_GENERAL_NAME_value(sans, i);
        if (san->type != GEN_DNS)
            continue;
        has_dns = true;
        ok = name_add(names, ASN1_STRING_get0_data(san->d.dNSName),
                      ASN1_STRING_length(san->d.dNSName));
    }
    GENERAL_NAMES_free(sans);
    if (ok && !has_dns) { /* old certificates name themselves in the subject only */
        const X509_NAME *subject = X509_get_subject_name(cert);
        int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
        if (at >= 0) {
            const ASN1_STRING *cn = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
            ok = name_add(names, ASN1_STRING_get0_data(cn), ASN1_STRING_length(cn));
        }
    }
    return ok;
}

static bool match_exact(struct tr_span pattern, struct tr_span host)
{
    return tr_span_ieq(pattern, host);
}

/* "*.example.com" stands for exactly one label (RFC 6125 §6.4.3). */
static bool match_wildcard(struct tr_span pattern, struct tr_span host)
{
    size_t dot = tr_span_find(host, '.');
    return tr_span_starts(pattern, TR_SPAN("*.")) && dot > 0 && dot < host.len &&
           tr_span_ieq(tr_span_from(pattern, 1), tr_span_from(host, dot));
}

static SSL_CTX *find(const struct tr_tls_ctx *ctx, struct tr_span host,
                     bool (*match)(struct tr_span pattern, struct tr_span host))
{
    for (size_t i = 0; i < ctx->count; i++)
        for (size_t k = 0; k < ctx->names[i].count; k++)
            if (match(ctx->names[i].list[k], host))
                return ctx->ssl[i];
    return NULL;
}

static int on_server_name(SSL *conn, int *alert, void *arg)
{
    const struct tr_tls_ctx *ctx = arg;
    struct tr_span host = tr_span_cstr(SSL_get_servername(conn, TLSEXT_NAMETYPE_host_name));
    if (host.len && host.ptr[host.len - 1] == '.')
        host.len--;
    if (host.len == 0)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_CTX *ssl = find(ctx, host, match_exact);
    if (!ssl)
        ssl = find(ctx, host, match_wildcard);
    if (!ssl)
        return SSL_TLSEXT_ERR_NOACK; /* the first certificate */
    if (ssl != SSL_get_SSL_CTX(conn) && !SSL_set_SSL_CTX(conn, ssl)) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_OK;
}

/* -- ALPN ------------------------------------------------------------------------------------- */
static int on_alpn(SSL *conn, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
    static const struct tr_span ours[] = {TR_SPAN_INIT("h2"), TR_SPAN_INIT("http/1.1")};
    (void)conn, (void)arg;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        for (unsigned at = 0; at < in_len; at += 1u + in[at]) {
            struct tr_span offered = tr_span((const char *)in + at + 1, in[at]);
            if (at + 1u + in[at] <= in_len && tr_span_eq(offered, ours[i])) {
                *out = in + at + 1;
                *out_len = in[at];
                return SSL_TLSEXT_ERR_OK;
            }
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol (RFC 7301 §3.2) */
}

/* -- client certificates ---------------------------------------------------------------------- */
static bool file_digest(const char *path, unsigned char *out, unsigned *out_len)
{
    char block[4096];
    size_t n;
    FILE *file = fopen(path, "rbe");
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = file && md && EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    while (ok && (n = fread(block, 1, sizeof block, file)) > 0)
        ok = EVP_DigestUpdate(md, block, n);
    ok = ok && !ferror(file) && EVP_DigestFinal_ex(md, out, out_len);
    EVP_MD_CTX_free(md);
    if (file)
        (void)fclose(file);
    return ok;
}

static enum tr_err use_client_ca(SSL_CTX *ssl, const struct tr_tls_server_params *params,
                                 struct tr_status *st)
{
    unsigned char context[EVP_MAX_MD_SIZE] = "no client certificates";
    unsigned len = 22;
    if (params->client_certificate != TR_TLS_CLIENT_NONE) {
        char path[PATH_BYTES];
        if (!path_text(params->client_ca_file, path))
            return tr_fail(st, TR_ERR_CONFIG,
                           "client certificates are asked for, but there is no client CA file");
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
        if (!names)
            return fail(st, "client CA", params->client_ca_file);
        SSL_CTX_set_client_CA_list(ssl, names);
        if (SSL_CTX_load_verify_file(ssl, path) != 1)
            return fail(st, "client CA", params->client_ca_file);
        if (!file_digest(path, context, &len))
            return fail(st, "client CA", params->client_ca_file);
        int mode = SSL_VERIFY_PEER;
        if (params->client_certificate == TR_TLS_CLIENT_REQUIRED)
            mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
        SSL_CTX_set_verify(ssl, mode, NULL);
    }
    /* a session that was agreed on under another client CA must not be resumed */
    if (SSL_CTX_set_session_id_context(
            ssl, context, len > SSL_MAX_SID_CTX_LENGTH ? SSL_MAX_SID_CTX_LENGTH : len) != 1)
        return fail(st, "TLS", TR_SPAN(""));
    return TR_OK;
}

/* -- making ----------------------------------------------------------------------------------- */
static struct tr_tls_ctx *ctx_new(size_t count, bool is_server)
{
    struct tr_tls_ctx *ctx = tr_calloc(1, sizeof *ctx);
    if (!ctx)
        return NULL;
    atomic_init(&ctx->refs, 1);
    ctx->is_server = is_server;
    ctx->ssl = tr_calloc(count, sizeof(SSL_CTX *)); /* NOLINT(bugprone-sizeof-expression) */
    ctx->names = tr_calloc(count, sizeof *ctx->names);
    ctx->count = count;
    if (ctx->ssl && ctx->names)
        return ctx;
    ctx->count = 0;
    tr_tls_ctx_unref(ctx);
    return NULL;
}

static enum tr_err server_one(struct tr_tls_ctx *ctx, size_t i,
                              const struct tr_tls_server_params *params, struct tr_status *st)
{
    enum tr_err err = base_new(TLS_server_method(), &ctx->ssl[i], st);
    if (err)
        return err;
    SSL_CTX *ssl = ctx->ssl[i];
    (void)SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    err = use_certificate(ssl, params->certificates[i].certificate_file,
                          params->certificates[i].private_key_file, st);
    if (err)
        return err;
    if (!names_of(SSL_CTX_get0_certificate(ssl), &ctx->names[i]))
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    err = use_client_ca(ssl, params, st);
    if (err)
        return err;
    SSL_CTX_set_alpn_select_cb(ssl, on_alpn, NULL);
    (void)SSL_CTX_set_tlsext_servername_callback(ssl, on_server_name);
    (void)SSL_CTX_set_tlsext_servername_arg(ssl, ctx);
    (void)SSL_CTX_set_session_cache_mode(
        ssl, SSL_SESS_CACHE_OFF); /* tickets only: no memory here for sessions */
    return TR_OK;
}

enum tr_err tr_tls_server_new(const struct tr_tls_server_params *params,
                              struct tr_tls_ctx **ret_ctx, struct tr_status *st)
{
    if (params->certificate_count == 0)
        return tr_fail(st, TR_ERR_CONFIG, "TLS needs a certificate");
    struct tr_tls_ctx *ctx = ctx_new(params->certificate_count, true);
    if (!ctx)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < ctx->count; i++) {
        enum tr_err err = server_one(ctx, i, params, st);
        if (err) {
            tr_tls_ctx_unref(ctx);
            return err;
        }
    }
    *ret_ctx = ctx;
    return TR_OK;
}

static enum tr_err client_one(struct tr_tls_ctx *ctx, const struct tr_tls_client_params *params,
                              struct tr_status *st)
{
    static const unsigned char h2[] = {2, 'h', '2'};
    static const unsigned char h1[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    enum tr_err err = base_new(TLS_client_method(), &ctx->ssl[0], st);
    if (err)
        return err;
    SSL_CTX *ssl = ctx->ssl[0];
    if (params->ca_file.len) {
        char path[PATH_BYTES];
        if (!path_text(params->ca_file, path) || SSL_CTX_load_verify_file(ssl, path) != 1)
            return fail(st, "CA", params->ca_file);
    } else if (SSL_CTX_set_default_verify_paths(ssl) != 1) {
        return fail(st, "the system's CA roots", TR_SPAN(""));
    }
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    if (params->certificate_file.len || params->private_key_file.len) {
        err = use_certificate(ssl, params->certificate_file, params->private_key_file, st);
        if (err)
            return err;
    }
    ctx->require_h2 = params->require_h2;
    /* returns 0 for success, unlike its neighbours */
    if (SSL_CTX_set_alpn_protos(ssl, params->require_h2 ? h2 : h1,
                                params->require_h2 ? sizeof h2 : sizeof h1) != 0)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    return TR_OK;
}

enum tr_err tr_tls_client_new(const struct tr_tls_client_params *params,
                              struct tr_tls_ctx **ret_ctx, struct tr_status *st)
{
    struct tr_tls_ctx *ctx = ctx_new(1, false);
    if (!ctx)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    enum tr_err err = client_one(ctx, params, st);
    if (err) {
        tr_tls_ctx_unref(ctx);
        return err;
    }
    *ret_ctx = ctx;
    return TR_OK;
}

struct tr_tls_ctx *tr_tls_ctx_ref(struct tr_tls_ctx *ctx)
{
    (void)atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
    return ctx;
}

void tr_tls_ctx_unref(struct tr_tls_ctx *ctx)
{
    if (!ctx || atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < ctx->count; i++) {
        SSL_CTX_free(ctx->ssl[i]);
        for (size_t k = 0; k < ctx->names[i].count; k++) {
            union {
                const char *in;
                void *out;
            } cast = {ctx->names[i].list[k].ptr};
            tr_free(cast.out);
        }
        tr_free(ctx->names[i].list);
    }
    tr_free(ctx->ssl);
    tr_free(ctx->names);
    tr_free(ctx);
}
