#include "filters/jwt_key.h"

#include "jwt_world.h"
#include "test.h"

#include <pthread.h>

struct fit {
    enum world_kind kind;
    enum tr_jwa alg;
};
static const struct fit fits[] = {
    {W_RSA, TR_JWA_RS256},     {W_RSA, TR_JWA_RS384},    {W_RSA, TR_JWA_RS512},
    {W_RSA, TR_JWA_PS256},     {W_RSA, TR_JWA_PS384},    {W_RSA, TR_JWA_PS512},
    {W_P256, TR_JWA_ES256},    {W_P384, TR_JWA_ES384},   {W_P521, TR_JWA_ES512},
    {W_ED25519, TR_JWA_EDDSA}, {W_ED448, TR_JWA_EDDSA},  {W_SECRET, TR_JWA_HS256},
    {W_SECRET, TR_JWA_HS384},  {W_SECRET, TR_JWA_HS512},
};
#define FITS (sizeof fits / sizeof fits[0])

static bool fits_together(enum world_kind kind, enum tr_jwa alg)
{
    for (size_t i = 0; i < FITS; i++)
        if (fits[i].kind == kind && fits[i].alg == alg)
            return true;
    return false;
}

struct bytes {
    char ptr[2048];
    size_t len;
};

static struct tr_span number(EVP_PKEY *key, const char *param, int size, struct bytes *room)
{
    BIGNUM *n = NULL;
    assert_int_equal(EVP_PKEY_get_bn_param(key, param, &n), 1);
    room->len = (size_t)(size ? size : BN_num_bytes(n));
    assert_int_equal(BN_bn2binpad(n, (unsigned char *)room->ptr, (int)room->len), (int)room->len);
    BN_free(n);
    return tr_span(room->ptr, room->len);
}

static struct tr_jwk parts_of(enum world_kind kind, EVP_PKEY *key, struct bytes room[2])
{
    static const int sizes[] = {0, 32, 48, 66};
    struct tr_jwk jwk = {.crv = tr_span_cstr(world_names[kind])};
    if (kind == W_RSA) {
        jwk.kty = TR_SPAN("RSA");
        jwk.n = number(key, OSSL_PKEY_PARAM_RSA_N, 0, &room[0]);
        jwk.e = number(key, OSSL_PKEY_PARAM_RSA_E, 0, &room[1]);
    } else if (kind <= W_P521) {
        jwk.kty = TR_SPAN("EC");
        jwk.x = number(key, OSSL_PKEY_PARAM_EC_PUB_X, sizes[kind], &room[0]);
        jwk.y = number(key, OSSL_PKEY_PARAM_EC_PUB_Y, sizes[kind], &room[1]);
    } else {
        jwk.kty = TR_SPAN("OKP");
        room->len = sizeof room->ptr;
        assert_int_equal(EVP_PKEY_get_raw_public_key(key, (unsigned char *)room->ptr, &room->len),
                         1);
        jwk.x = tr_span(room->ptr, room->len);
    }
    return jwk;
}

static struct tr_jwt_key *key_of(enum world_kind kind)
{
    struct bytes room[2];
    struct tr_jwt_key *key = NULL;
    if (kind == W_SECRET) {
        assert_int_equal(tr_jwt_key_secret(TR_SPAN(WORLD_SECRET), &key, NULL), 0);
    } else {
        struct tr_jwk jwk = parts_of(kind, world_key(kind), room);
        assert_int_equal(tr_jwt_key_new(&jwk, &key, NULL, NULL), 0);
    }
    return key;
}

static struct tr_span signature_of(enum world_kind kind, enum tr_jwa alg, struct tr_span input,
                                   struct bytes *room)
{
    struct tr_buf b;
    tr_buf_init(&b);
    put_signature(&b, kind == W_SECRET ? NULL : world_key(kind), TR_SPAN(WORLD_SECRET), alg, input);
    assert_true(tr_jwt_base64url(room->ptr, tr_buf_span(&b), &room->len));
    tr_buf_fini(&b);
    return tr_span(room->ptr, room->len);
}

static void names_are_those_of_rfc_7518_and_8037(void **state)
{
    (void)state;
    enum tr_jwa alg;
    for (int i = 0; i < TR_JWA__COUNT; i++) {
        assert_true(tr_jwa_find(tr_jwa_name((enum tr_jwa)i), &alg));
        assert_int_equal(alg, i);
    }
    static const char *const others[] = {"none",  "None",  "NONE", "",       "RS1",
                                         "rs256", "ES521", "RSA",  "ES256K", "RS256 "};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(tr_jwa_find(tr_span_cstr(others[i]), &alg));
    assert_int_equal(TR_JWA_ASYMMETRIC | TR_JWA_HMAC, TR_JWA_BIT(TR_JWA__COUNT) - 1);
    assert_int_equal(TR_JWA_RSA, 0x3F);
}

static void each_key_verifies_what_it_signed_and_nothing_else(void **state)
{
    (void)state;
    struct tr_span input = TR_SPAN("header.payload");
    for (int kind = 0; kind < W__COUNT; kind++) {
        struct tr_jwt_key *key = key_of((enum world_kind)kind);
        for (int alg = 0; alg < TR_JWA__COUNT; alg++) {
            bool fit = fits_together((enum world_kind)kind, (enum tr_jwa)alg);
            assert_int_equal((tr_jwt_key_algorithms(key) >> alg) & 1, fit);
            if (!fit)
                continue;
            struct bytes room;
            struct tr_span sig =
                signature_of((enum world_kind)kind, (enum tr_jwa)alg, input, &room);
            assert_int_equal(tr_jwt_key_verify(key, (enum tr_jwa)alg, input, sig),
                             TR_JWT_VERDICT_GOOD);
            /* under any other name of an algorithm the same bytes are worth nothing */
            for (int other = 0; other < TR_JWA__COUNT; other++)
                if (other != alg)
                    assert_int_equal(tr_jwt_key_verify(key, (enum tr_jwa)other, input, sig),
                                     TR_JWT_VERDICT_BAD);
            assert_int_equal(
                tr_jwt_key_verify(key, (enum tr_jwa)alg, TR_SPAN("header.payloae"), sig),
                TR_JWT_VERDICT_BAD);
            for (size_t i = 0; i < sig.len; i += sig.len / 8) {
                room.ptr[i] ^= 1;
                assert_int_equal(tr_jwt_key_verify(key, (enum tr_jwa)alg, input, sig),
                                 TR_JWT_VERDICT_BAD);
                room.ptr[i] ^= 1;
            }
            for (size_t n = 0; n < sig.len; n += n + 7 < sig.len ? 7 : 1)
                assert_int_equal(
                    tr_jwt_key_verify(key, (enum tr_jwa)alg, input, tr_span(sig.ptr, n)),
                    TR_JWT_VERDICT_BAD);
            room.ptr[sig.len] = 0;
            assert_int_equal(
                tr_jwt_key_verify(key, (enum tr_jwa)alg, input, tr_span(sig.ptr, sig.len + 1)),
                TR_JWT_VERDICT_BAD);
            assert_int_equal(ERR_peek_error(), 0);
        }
        tr_jwt_key_free(key);
    }
}

static void ecdsa_of_zero_and_of_the_order_is_bad(void **state)
{
    (void)state;
    static const unsigned char order[] = {0xFF, 0xFF, 0xFF, 0xFF, 0,    0,    0,    0,
                                          0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                          0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84,
                                          0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51};
    char sig[64] = {0};
    struct tr_jwt_key *key = key_of(W_P256);
    assert_int_equal(tr_jwt_key_verify(key, TR_JWA_ES256, TR_SPAN("x"), tr_span(sig, 64)),
                     TR_JWT_VERDICT_BAD); /* CVE-2022-21449 */
    memcpy(sig, order, 32);
    memcpy(sig + 32, order, 32);
    assert_int_equal(tr_jwt_key_verify(key, TR_JWA_ES256, TR_SPAN("x"), tr_span(sig, 64)),
                     TR_JWT_VERDICT_BAD);
    memset(sig, 0xFF, 64);
    assert_int_equal(tr_jwt_key_verify(key, TR_JWA_ES256, TR_SPAN("x"), tr_span(sig, 64)),
                     TR_JWT_VERDICT_BAD);
    tr_jwt_key_free(key);
}

/* A signature whose r or s has leading zero bytes, which DER drops. */
static void ecdsa_with_short_numbers_is_good(void **state)
{
    (void)state;
    struct tr_jwt_key *key = key_of(W_P256);
    bool zero = false;
    char input[16];
    for (int i = 0; i < 4000 && !zero; i++) {
        struct bytes room;
        int n = snprintf(input, sizeof input, "%d", i);
        struct tr_span in = tr_span(input, (size_t)n);
        struct tr_span sig = signature_of(W_P256, TR_JWA_ES256, in, &room);
        zero = sig.ptr[0] == 0 || sig.ptr[32] == 0;
        if (zero)
            assert_int_equal(tr_jwt_key_verify(key, TR_JWA_ES256, in, sig), TR_JWT_VERDICT_GOOD);
    }
    assert_true(zero);
    tr_jwt_key_free(key);
}

static void pss_wants_the_salt_of_rfc_7518(void **state)
{
    (void)state;
    struct tr_jwt_key *key = key_of(W_RSA);
    struct tr_span input = TR_SPAN("header.payload");
    static const int salts[] = {0, 20, 31, 33, RSA_PSS_SALTLEN_MAX};
    for (size_t i = 0; i < sizeof salts / sizeof salts[0]; i++) {
        unsigned char sig[256];
        size_t len = sizeof sig;
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_PKEY_CTX *pctx = NULL;
        assert_int_equal(EVP_DigestSignInit(ctx, &pctx, EVP_sha256(), NULL, world_key(W_RSA)), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, salts[i]), 1);
        assert_int_equal(
            EVP_DigestSign(ctx, sig, &len, (const unsigned char *)input.ptr, input.len), 1);
        EVP_MD_CTX_free(ctx);
        assert_int_equal(
            tr_jwt_key_verify(key, TR_JWA_PS256, input, tr_span((const char *)sig, len)),
            TR_JWT_VERDICT_BAD);
    }
    tr_jwt_key_free(key);
}

static void refused(const struct tr_jwk *jwk, enum tr_jwk_fault want)
{
    struct tr_jwt_key *key = NULL;
    struct tr_status st;
    enum tr_jwk_fault fault = TR_JWK_TYPE;
    tr_status_clear(&st);
    assert_int_equal(tr_jwt_key_new(jwk, &key, &fault, &st), TR_ERR_AUTH_INVALID);
    assert_int_equal(fault, want);
    assert_true(st.text_len > 0);
    assert_null(key);
    assert_int_equal(ERR_peek_error(), 0);
}

static void unknown_types_and_curves_are_refused(void **state)
{
    (void)state;
    struct bytes room[2];
    struct tr_jwk jwk = parts_of(W_P256, world_key(W_P256), room);
    static const char *const types[] = {"oct", "ec", "", "OKP", "DSA"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct tr_jwk bad = jwk;
        bad.kty = tr_span_cstr(types[i]);
        refused(&bad, TR_JWK_TYPE);
    }
    static const char *const curves[] = {"", "P256", "secp256k1", "Ed25519", "X25519", "p-256"};
    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++) {
        struct tr_jwk bad = jwk;
        bad.crv = tr_span_cstr(curves[i]);
        refused(&bad, TR_JWK_TYPE);
    }
}

static void points_off_their_curve_are_refused(void **state)
{
    (void)state;
    for (int kind = W_P256; kind <= W_P521; kind++) {
        struct bytes room[2];
        struct tr_jwk jwk = parts_of((enum world_kind)kind, world_key((enum world_kind)kind), room);
        room[1].ptr[room[1].len - 1] ^= 1;
        refused(&jwk, TR_JWK_MALFORMED);
        room[1].ptr[room[1].len - 1] ^= 1;
        struct tr_jwk bad = jwk;
        bad.x.len--;
        refused(&bad, TR_JWK_MALFORMED);
        bad = jwk;
        bad.y.len--;
        refused(&bad, TR_JWK_MALFORMED);
        bad = jwk;
        memset(room[0].ptr, 0, sizeof room[0].ptr);
        memset(room[1].ptr, 0, sizeof room[1].ptr);
        refused(&bad, TR_JWK_MALFORMED); /* the point at infinity has no coordinates */
    }
    struct bytes room[2];
    struct tr_jwk jwk = parts_of(W_ED25519, world_key(W_ED25519), room);
    jwk.x.len--;
    refused(&jwk, TR_JWK_MALFORMED);
}

static void weak_rsa_is_refused(void **state)
{
    (void)state;
    struct bytes room[2];
    EVP_PKEY *small = EVP_RSA_gen(1024);
    struct tr_jwk jwk = parts_of(W_RSA, small, room);
    refused(&jwk, TR_JWK_WEAK);
    EVP_PKEY_free(small);
    jwk = parts_of(W_RSA, world_key(W_RSA), room);
    struct tr_jwk bad = jwk;
    bad.n = tr_span_sub(jwk.n, 0, 255);
    refused(&bad, TR_JWK_WEAK); /* 2040 bits */
    memset(room[0].ptr, 0x81, 1025);
    bad.n = tr_span(room[0].ptr, 1025);
    refused(&bad, TR_JWK_WEAK); /* 8200 bits */
    bad.n = tr_span("", 0);
    refused(&bad, TR_JWK_MALFORMED);
    /* a leading zero byte does not make a key longer, nor does it harm */
    jwk = parts_of(W_RSA, world_key(W_RSA), room);
    memmove(room[0].ptr + 1, room[0].ptr, room[0].len);
    room[0].ptr[0] = 0;
    jwk.n.len++;
    struct tr_jwt_key *key = NULL;
    assert_int_equal(tr_jwt_key_new(&jwk, &key, NULL, NULL), 0);
    tr_jwt_key_free(key);
}

/* CVE-2017-15361: a modulus that is a power of 65537 modulo each of the small primes. */
static void keys_that_can_be_factored_are_refused(void **state)
{
    (void)state;
    static const BN_ULONG primes[] = {11, 13, 17,  19,  37,  53,  61,  71, 73,
                                      79, 97, 103, 107, 109, 127, 151, 157};
    struct bytes room[2];
    struct tr_jwk jwk = parts_of(W_RSA, world_key(W_RSA), room);
    BIGNUM *n = BN_new(), *product = BN_new(), *high = BN_new(), *power = BN_new();
    BN_CTX *ctx = BN_CTX_new();
    BN_one(product);
    for (size_t i = 0; i < sizeof primes / sizeof primes[0]; i++)
        BN_mul_word(product, primes[i]);
    BN_set_word(power, 65537);
    BN_set_word(high, 777);
    BN_mod_exp(power, power, high, product, ctx);
    BN_zero(high);
    BN_set_bit(high, 2047 - BN_num_bits(product) + 1);
    BN_mul(n, product, high, ctx);
    BN_add(n, n, power);
    if (!BN_is_odd(n))
        BN_add(n, n, product);
    for (int good = 0; good < 2; good++) {
        struct tr_jwt_key *key = NULL;
        assert_int_equal(BN_num_bits(n), 2048);
        assert_int_equal(BN_bn2binpad(n, (unsigned char *)room[0].ptr, 256), 256);
        jwk.n = tr_span(room[0].ptr, 256);
        if (!good)
            refused(&jwk, TR_JWK_WEAK);
        else
            assert_int_equal(tr_jwt_key_new(&jwk, &key, NULL, NULL), 0);
        tr_jwt_key_free(key);
        BN_add_word(n, 2);
    }
    BN_free(n);
    BN_free(product);
    BN_free(high);
    BN_free(power);
    BN_CTX_free(ctx);
}

static void exponents_that_sign_nothing_are_refused(void **state)
{
    (void)state;
    struct bytes room[2];
    struct tr_jwk jwk = parts_of(W_RSA, world_key(W_RSA), room);
    static const struct tr_span exponents[] = {TR_SPAN_INIT("\1"), TR_SPAN_INIT("\0"),
                                               TR_SPAN_INIT("\2"), TR_SPAN_INIT("\1\0\0"),
                                               TR_SPAN_INIT("\1\0\0\0\0\0\0\0\1")};
    for (size_t i = 0; i < sizeof exponents / sizeof exponents[0]; i++) {
        jwk.e = exponents[i];
        refused(&jwk, TR_JWK_MALFORMED);
    }
    jwk.e = tr_span("", 0);
    refused(&jwk, TR_JWK_MALFORMED);
    jwk.e = TR_SPAN("\1\0\1");
    room[0].ptr[room[0].len - 1] &= (char)0xFE;
    refused(&jwk, TR_JWK_MALFORMED); /* an even modulus */
}

static void secrets_have_the_length_of_their_hash(void **state)
{
    (void)state;
    char bytes[TR_JWT_SECRET_MAX + 1];
    memset(bytes, 'k', sizeof bytes);
    static const struct {
        size_t len;
        uint32_t mask;
    } cases[] = {
        {32, TR_JWA_BIT(TR_JWA_HS256)},
        {47, TR_JWA_BIT(TR_JWA_HS256)},
        {48, TR_JWA_BIT(TR_JWA_HS256) | TR_JWA_BIT(TR_JWA_HS384)},
        {63, TR_JWA_BIT(TR_JWA_HS256) | TR_JWA_BIT(TR_JWA_HS384)},
        {64, TR_JWA_HMAC},
        {TR_JWT_SECRET_MAX, TR_JWA_HMAC},
    };
    struct tr_jwt_key *key = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(tr_jwt_key_secret(tr_span(bytes, cases[i].len), &key, NULL), 0);
        assert_int_equal(tr_jwt_key_algorithms(key), cases[i].mask);
        tr_jwt_key_free(key);
    }
    struct tr_status st;
    static const size_t lengths[] = {0, 1, 31, TR_JWT_SECRET_MAX + 1};
    for (size_t i = 0; i < 4; i++) {
        key = NULL;
        tr_status_clear(&st);
        assert_int_equal(tr_jwt_key_secret(tr_span(bytes, lengths[i]), &key, &st),
                         TR_ERR_AUTH_INVALID);
        assert_true(st.text_len > 0);
        assert_null(key);
    }
}

static void keys_are_equal_by_value(void **state)
{
    (void)state;
    for (int a = 0; a < W__COUNT; a++)
        for (int b = 0; b < W__COUNT; b++) {
            struct tr_jwt_key *x = key_of((enum world_kind)a), *y = key_of((enum world_kind)b);
            assert_int_equal(tr_jwt_key_equal(x, y), a == b);
            tr_jwt_key_free(x);
            tr_jwt_key_free(y);
        }
    struct tr_jwt_key *x = key_of(W_P256), *y = NULL;
    struct bytes room[2];
    EVP_PKEY *other = EVP_EC_gen("P-256");
    struct tr_jwk jwk = parts_of(W_P256, other, room);
    assert_int_equal(tr_jwt_key_new(&jwk, &y, NULL, NULL), 0);
    assert_false(tr_jwt_key_equal(x, y));
    EVP_PKEY_free(other);
    tr_jwt_key_free(x);
    tr_jwt_key_free(y);
}

static void out_of_memory_is_told(void **state)
{
    (void)state;
    struct bytes room[2];
    struct tr_jwk jwk = parts_of(W_P256, world_key(W_P256), room);
    struct tr_jwt_key *key = NULL;
    tr_alloc_fail_after(1);
    assert_int_equal(tr_jwt_key_new(&jwk, &key, NULL, NULL), TR_ERR_NOMEM);
    assert_int_equal(tr_jwt_key_secret(TR_SPAN(WORLD_SECRET), &key, NULL), TR_ERR_NOMEM);
    tr_alloc_fail_after(0);
    assert_null(key);
}

static void base64url_is_strict(void **state)
{
    (void)state;
    static const struct {
        const char *text, *bytes;
    } good[] = {{"", ""},           {"Zg", "f"},         {"Zm8", "fo"},      {"Zm9v", "foo"},
                {"Zm9vYg", "foob"}, {"_-8", "\xff\xef"}, {"-_8", "\xfb\xff"}};
    char out[64];
    size_t n = 99;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(tr_jwt_base64url(out, tr_span_cstr(good[i].text), &n));
        assert_int_equal(n, strlen(good[i].bytes));
        assert_memory_equal(out, good[i].bytes, n);
    }
    static const char *const bad[] = {"Z",    "Zg==", "Zm8=", "Zm9vZ", "Zh",    "Zm9",  "Zm9v\n",
                                      "Zm+v", "Zm/v", "Zm v", " Zm9v", "Zm9v=", "====", "Zm9\xff"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tr_jwt_base64url(out, tr_span_cstr(bad[i]), &n));
    assert_false(tr_jwt_base64url(out, tr_span("Zm9\0", 4), &n));
    /* each text of up to three characters has its bytes to itself */
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned two = 0, three = 0;
    for (int a = 0; a < 64; a++)
        for (int b = 0; b < 64; b++) {
            char text[3] = {alphabet[a], alphabet[b], alphabet[(a * 7 + b * 3) % 64]};
            two += tr_jwt_base64url(out, tr_span(text, 2), &n);
            three += tr_jwt_base64url(out, tr_span(text, 3), &n);
        }
    assert_int_equal(two, 256);
    assert_true(three > 0 && three < 4096 / 3);
}

struct share {
    const struct tr_jwt_key *key;
    enum tr_jwa alg;
    struct tr_span input, good;
    int wrong; /* answers */
};

static void *verify_often(void *arg)
{
    struct share *s = arg;
    char bad[1024];
    memcpy(bad, s->good.ptr, s->good.len);
    bad[s->good.len / 2] ^= 1;
    for (int i = 0; i < 20; i++) {
        s->wrong += tr_jwt_key_verify(s->key, s->alg, s->input, s->good) != TR_JWT_VERDICT_GOOD;
        s->wrong += tr_jwt_key_verify(s->key, s->alg, s->input, tr_span(bad, s->good.len)) !=
                    TR_JWT_VERDICT_BAD;
    }
    return NULL;
}

/* More of them than a key keeps contexts for. */
static void many_threads_verify_with_one_key(void **state)
{
    (void)state;
    static const struct fit some[] = {
        {W_RSA, TR_JWA_PS256}, {W_P256, TR_JWA_ES256}, {W_ED25519, TR_JWA_EDDSA}};
    for (size_t k = 0; k < sizeof some / sizeof some[0]; k++) {
        struct bytes room;
        struct tr_span input = TR_SPAN("header.payload");
        struct tr_jwt_key *key = key_of(some[k].kind);
        struct tr_span good = signature_of(some[k].kind, some[k].alg, input, &room);
        struct share shares[24];
        pthread_t threads[24];
        for (int i = 0; i < 24; i++) {
            shares[i] = (struct share){key, some[k].alg, input, good, 0};
            assert_int_equal(pthread_create(&threads[i], NULL, verify_often, &shares[i]), 0);
        }
        for (int i = 0; i < 24; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(shares[i].wrong, 0);
        }
        tr_jwt_key_free(key);
    }
}

/* ---- no memory ------------------------------------------------------------------------------- */

static _Thread_local int fail_at; /* the allocation of OpenSSL that fails, counted down; 0: none */

static bool fails(void)
{
    return fail_at > 0 && --fail_at == 0;
}

static void *ossl_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails() ? NULL : malloc(n);
}

static void *ossl_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    return fails() ? NULL : realloc(p, n);
}

static void ossl_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

/* Whichever allocation fails, new contexts or used ones: a wrong signature is never good, and what
 * comes after is judged as ever. (OpenSSL does not always say why it failed: then a good one is
 * bad.) */
static void an_allocation_of_openssl_may_fail(void **state)
{
    (void)state;
    struct tr_span input = TR_SPAN("header.payload");
    for (size_t f = 0; f < sizeof fits / sizeof fits[0]; f++) {
        struct bytes room, wrong;
        struct tr_span good = signature_of(fits[f].kind, fits[f].alg, input, &room);
        memcpy(wrong.ptr, good.ptr, good.len);
        wrong.ptr[good.len / 2] ^= 1;
        struct tr_span bad = tr_span(wrong.ptr, good.len);
        struct tr_jwt_key *key = key_of(fits[f].kind);
        bool failed = true, told = false;
        for (int n = 1; failed && n < 400; n++) {
            fail_at = n;
            enum tr_jwt_verdict v = tr_jwt_key_verify(key, fits[f].alg, input, good);
            failed = fail_at == 0;
            fail_at = 0;
            told |= v == TR_JWT_VERDICT_NOMEM;
            assert_true(failed || v == TR_JWT_VERDICT_GOOD);
            fail_at = n;
            assert_int_not_equal(tr_jwt_key_verify(key, fits[f].alg, input, bad),
                                 TR_JWT_VERDICT_GOOD);
            fail_at = 0;
            assert_int_equal(ERR_peek_error(), 0);
            assert_int_equal(tr_jwt_key_verify(key, fits[f].alg, input, good), TR_JWT_VERDICT_GOOD);
            assert_int_equal(tr_jwt_key_verify(key, fits[f].alg, input, bad), TR_JWT_VERDICT_BAD);
        }
        assert_true(told && !failed);
        tr_jwt_key_free(key);
    }
}

int main(void)
{
    if (CRYPTO_set_mem_functions(ossl_malloc, ossl_realloc, ossl_free) != 1)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_those_of_rfc_7518_and_8037),
        cmocka_unit_test(each_key_verifies_what_it_signed_and_nothing_else),
        cmocka_unit_test(ecdsa_of_zero_and_of_the_order_is_bad),
        cmocka_unit_test(ecdsa_with_short_numbers_is_good),
        cmocka_unit_test(pss_wants_the_salt_of_rfc_7518),
        cmocka_unit_test(unknown_types_and_curves_are_refused),
        cmocka_unit_test(points_off_their_curve_are_refused),
        cmocka_unit_test(weak_rsa_is_refused),
        cmocka_unit_test(keys_that_can_be_factored_are_refused),
        cmocka_unit_test(exponents_that_sign_nothing_are_refused),
        cmocka_unit_test(secrets_have_the_length_of_their_hash),
        cmocka_unit_test(keys_are_equal_by_value),
        cmocka_unit_test(out_of_memory_is_told),
        cmocka_unit_test(base64url_is_strict),
        cmocka_unit_test(many_threads_verify_with_one_key),
        cmocka_unit_test(an_allocation_of_openssl_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, world_end);
}
