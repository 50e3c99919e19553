/* Keys and tokens of tests, made by OpenSSL at run time, and the examples of RFC 7515 and 8037. */
#ifndef TR_TESTS_JWT_WORLD_H
#define TR_TESTS_JWT_WORLD_H

#include "base/base64.h"
#include "base/buf.h"
#include "filters/jwt.h"
#include "test.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>

/* ---- the examples ---------------------------------------------------------------------------- */

#define RFC7515_PAYLOAD                                                                            \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnV"  \
    "lfQ"
#define RFC7515_EXP 1300819380
#define RFC7515_A1_K                                                                               \
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
#define RFC7515_A1                                                                                 \
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." RFC7515_PAYLOAD                                    \
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define RFC7515_A2_KEY                                                                             \
    "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_"                   \
    "wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_"       \
    "YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-"        \
    "UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_"  \
    "h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\"}"
#define RFC7515_A2                                                                                 \
    "eyJhbGciOiJSUzI1NiJ9." RFC7515_PAYLOAD                                                        \
    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"       \
    "O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_"                                    \
    "nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--"                \
    "xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkW" \
    "ywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
#define RFC7515_A3_KEY                                                                             \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","     \
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"
#define RFC7515_A3                                                                                 \
    "eyJhbGciOiJFUzI1NiJ9." RFC7515_PAYLOAD                                                        \
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define RFC7515_A4_KEY                                                                             \
    "{\"kty\":\"EC\",\"crv\":\"P-521\",\"x\":"                                                     \
    "\"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_"                                   \
    "NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk\",\"y\":"                                                    \
    "\"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-"                                             \
    "x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2\"}"
#define RFC7515_A4                                                                                 \
    "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_"                         \
    "UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_"                                             \
    "7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
#define RFC7515_A5 "eyJhbGciOiJub25lIn0." RFC7515_PAYLOAD "."
#define RFC8037_A4_KEY                                                                             \
    "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}"
#define RFC8037_A4                                                                                 \
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-"        \
    "09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

/* ---- making ---------------------------------------------------------------------------------- */

#define WORLD_SECRET "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

enum world_kind { W_RSA, W_P256, W_P384, W_P521, W_ED25519, W_ED448, W_SECRET, W__COUNT };
static const char *const world_names[W__COUNT] = {"RSA",     "P-256", "P-384", "P-521",
                                                  "Ed25519", "Ed448", "oct"};
static EVP_PKEY *world_keys[W__COUNT];

static inline EVP_PKEY *world_key(enum world_kind kind)
{
    if (!world_keys[kind]) {
        world_keys[kind] = kind == W_RSA       ? EVP_RSA_gen(2048)
                           : kind <= W_P521    ? EVP_EC_gen(world_names[kind])
                           : kind == W_ED25519 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                                               : EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
        assert_non_null(world_keys[kind]);
    }
    return world_keys[kind];
}

static inline int world_end(void **state)
{
    (void)state;
    for (int i = 0; i < W__COUNT; i++)
        EVP_PKEY_free(world_keys[i]);
    memset(world_keys, 0, sizeof world_keys);
    return 0;
}

static inline void put_text(struct tr_buf *b, const char *s)
{
    assert_int_equal(tr_buf_append(b, tr_span_cstr(s)), 0);
}

static inline void put_b64(struct tr_buf *b, struct tr_span s)
{
    assert_int_equal(tr_buf_reserve(b, tr_base64_encoded_len(s.len) + 64), 0);
    char *at = tr_buf_end(b);
    size_t n = tr_base64_encode_unpadded(at, s);
    for (size_t i = 0; i < n; i++)
        at[i] = at[i] == '+' ? '-' : (char)(at[i] == '/' ? '_' : at[i]);
    b->len += n;
}

static inline void put_member(struct tr_buf *b, const char *name, const void *bytes, size_t len)
{
    assert_int_equal(tr_buf_printf(b, ",\"%s\":\"", name), 0);
    put_b64(b, tr_span(bytes, len));
    put_text(b, "\"");
}

static inline void put_number(struct tr_buf *b, const char *name, EVP_PKEY *key, const char *param,
                              size_t size)
{
    unsigned char bytes[1100];
    BIGNUM *n = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(key, param, &n), 1);
    if (!size)
        size = (size_t)BN_num_bytes(n);
    assert_int_equal(BN_bn2binpad(n, bytes, (int)size), (int)size);
    put_member(b, name, bytes, size);
    BN_free(n);
}

/* A public JWK; `more` is of the form ",\"kid\":\"a\"" or empty. */
static inline void put_jwk_of(struct tr_buf *b, EVP_PKEY *key, enum world_kind kind,
                              const char *more)
{
    static const size_t sizes[] = {0, 32, 48, 66};
    bool rsa = kind == W_RSA, ec = kind >= W_P256 && kind <= W_P521;
    assert_int_equal(tr_buf_printf(b, "{\"kty\":\"%s\"", rsa ? "RSA" : ec ? "EC" : "OKP"), 0);
    if (!rsa)
        assert_int_equal(tr_buf_printf(b, ",\"crv\":\"%s\"", world_names[kind]), 0);
    if (rsa) {
        put_number(b, "n", key, OSSL_PKEY_PARAM_RSA_N, 0);
        put_number(b, "e", key, OSSL_PKEY_PARAM_RSA_E, 0);
    } else if (ec) {
        put_number(b, "x", key, OSSL_PKEY_PARAM_EC_PUB_X, sizes[kind]);
        put_number(b, "y", key, OSSL_PKEY_PARAM_EC_PUB_Y, sizes[kind]);
    } else {
        unsigned char bytes[64];
        size_t len = sizeof bytes;
        assert_int_equal(EVP_PKEY_get_raw_public_key(key, bytes, &len), 1);
        put_member(b, "x", bytes, len);
    }
    put_text(b, more);
    put_text(b, "}");
}

static inline void put_jwk(struct tr_buf *b, enum world_kind kind, const char *more)
{
    put_jwk_of(b, world_key(kind), kind, more);
}

static inline struct tr_jwks *parse_set(const char *json)
{
    struct tr_jwks *set = NULL;
    struct tr_status st;
    tr_status_clear(&st);
    if (tr_jwks_parse(tr_span_cstr(json), &set, &st))
        fail_msg("%.*s", (int)st.text_len, st.text);
    return set;
}

/* One key in a set. */
static inline struct tr_jwks *world_set(enum world_kind kind, const char *more)
{
    struct tr_jwks *set = NULL;
    if (kind == W_SECRET) {
        assert_int_equal(tr_jwks_from_secret(TR_SPAN(WORLD_SECRET), &set, NULL), 0);
        return set;
    }
    struct tr_buf b;
    tr_buf_init(&b);
    put_text(&b, "{\"keys\":[");
    put_jwk(&b, kind, more);
    assert_int_equal(tr_buf_append(&b, TR_SPAN("]}\0")), 0);
    set = parse_set(b.ptr);
    tr_buf_fini(&b);
    return set;
}

static inline const EVP_MD *hash_of(enum tr_jwa alg)
{
    return alg == TR_JWA_EDDSA ? NULL
           : alg % 3 == (alg > TR_JWA_EDDSA) /* HS256 is one after a multiple of three */
               ? EVP_sha256()
               : alg % 3 == 1 + (alg > TR_JWA_EDDSA) ? EVP_sha384() : EVP_sha512();
}

static inline void put_signature(struct tr_buf *b, EVP_PKEY *key, struct tr_span secret,
                                 enum tr_jwa alg, struct tr_span input)
{
    unsigned char sig[1100];
    size_t len = sizeof sig;
    if (alg >= TR_JWA_HS256) {
        unsigned n = 0;
        assert_non_null(HMAC(hash_of(alg), secret.ptr, (int)secret.len,
                             (const unsigned char *)input.ptr, input.len, sig, &n));
        put_b64(b, tr_span((const char *)sig, n));
        return;
    }
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    assert_int_equal(EVP_DigestSignInit(ctx, &pctx, hash_of(alg), NULL, key), 1);
    if (alg >= TR_JWA_PS256 && alg <= TR_JWA_PS512) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST), 1);
    }
    assert_int_equal(EVP_DigestSign(ctx, sig, &len, (const unsigned char *)input.ptr, input.len),
                     1);
    EVP_MD_CTX_free(ctx);
    if (alg >= TR_JWA_ES256 && alg <= TR_JWA_ES512) {
        static const int sizes[] = {32, 48, 66};
        int half = sizes[alg - TR_JWA_ES256];
        const unsigned char *at = sig;
        ECDSA_SIG *ec = d2i_ECDSA_SIG(NULL, &at, (long)len);
        assert_non_null(ec);
        assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(ec), sig, half), half);
        assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(ec), sig + half, half), half);
        ECDSA_SIG_free(ec);
        len = 2 * (size_t)half;
    }
    put_b64(b, tr_span((const char *)sig, len));
}

/* A token with this header and payload, signed by the world's key of this kind. NUL follows. */
static inline void put_token(struct tr_buf *b, enum world_kind kind, enum tr_jwa alg,
                             const char *header, struct tr_span payload)
{
    tr_buf_clear(b);
    put_b64(b, tr_span_cstr(header));
    put_text(b, ".");
    put_b64(b, payload);
    struct tr_buf sig;
    tr_buf_init(&sig);
    put_signature(&sig, kind == W_SECRET ? NULL : world_key(kind), TR_SPAN(WORLD_SECRET), alg,
                  tr_buf_span(b));
    put_text(b, ".");
    assert_int_equal(tr_buf_append(b, tr_buf_span(&sig)), 0);
    assert_int_equal(tr_buf_push(b, 0), 0);
    b->len--;
    tr_buf_fini(&sig);
}

/* Of HS256 by the world's secret. */
static inline void put_hs(struct tr_buf *b, const char *payload)
{
    put_token(b, W_SECRET, TR_JWA_HS256, "{\"alg\":\"HS256\"}", tr_span_cstr(payload));
}

#endif
