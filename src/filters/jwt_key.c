#include "filters/jwt_key.h"

#include "base/alloc.h"
#include "base/base64.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdatomic.h>

/* ---- algorithms ------------------------------------------------------------------------------ */

enum family { PKCS1, PSS, ECDSA, EDDSA, HMAC_ };

static const struct jwa {
    struct tr_span name;
    enum family family;
    uint16_t coordinate_bytes; /* ECDSA: of each number in a signature */
    const EVP_MD *(*hash)(void);
} jwas[TR_JWA__COUNT] = {
    [TR_JWA_RS256] = {TR_SPAN_INIT("RS256"), PKCS1, 0, EVP_sha256},
    [TR_JWA_RS384] = {TR_SPAN_INIT("RS384"), PKCS1, 0, EVP_sha384},
    [TR_JWA_RS512] = {TR_SPAN_INIT("RS512"), PKCS1, 0, EVP_sha512},
    [TR_JWA_PS256] = {TR_SPAN_INIT("PS256"), PSS, 0, EVP_sha256},
    [TR_JWA_PS384] = {TR_SPAN_INIT("PS384"), PSS, 0, EVP_sha384},
    [TR_JWA_PS512] = {TR_SPAN_INIT("PS512"), PSS, 0, EVP_sha512},
    [TR_JWA_ES256] = {TR_SPAN_INIT("ES256"), ECDSA, 32, EVP_sha256},
    [TR_JWA_ES384] = {TR_SPAN_INIT("ES384"), ECDSA, 48, EVP_sha384},
    [TR_JWA_ES512] = {TR_SPAN_INIT("ES512"), ECDSA, 66, EVP_sha512},
    [TR_JWA_EDDSA] = {TR_SPAN_INIT("EdDSA"), EDDSA, 0, NULL},
    [TR_JWA_HS256] = {TR_SPAN_INIT("HS256"), HMAC_, 0, EVP_sha256},
    [TR_JWA_HS384] = {TR_SPAN_INIT("HS384"), HMAC_, 0, EVP_sha384},
    [TR_JWA_HS512] = {TR_SPAN_INIT("HS512"), HMAC_, 0, EVP_sha512},
};

#define COORDINATE_MAX 66

bool tr_jwa_find(struct tr_span name, enum tr_jwa *ret)
{
    for (int i = 0; i < TR_JWA__COUNT; i++)
        if (tr_span_eq(name, jwas[i].name)) {
            *ret = (enum tr_jwa)i;
            return true;
        }
    return false;
}

struct tr_span tr_jwa_name(enum tr_jwa alg)
{
    return alg < TR_JWA__COUNT ? jwas[alg].name : TR_SPAN("");
}

bool tr_jwt_base64url(char *out, struct tr_span in, size_t *ret_len)
{
    size_t n = 0;
    if (!in.len) {
        *ret_len = 0;
        return true;
    }
    size_t odd = in.len % 4;
    char last = in.ptr[in.len - 1], again[4];
    /* The decoder takes padding and the other alphabet too. */
    if (odd == 1 || memchr(in.ptr, '=', in.len) || memchr(in.ptr, '+', in.len) ||
        memchr(in.ptr, '/', in.len) || tr_base64_decode(out, in, &n))
        return false;
    /* The last character may have bits that no byte gets; two texts must not mean the same. */
    if (odd) {
        size_t len = tr_base64_encode_unpadded(again, tr_span(out + (n - (odd - 1)), odd - 1));
        char want = again[len - 1];
        if (last != (want == '+' ? '-' : want == '/' ? '_' : want))
            return false;
    }
    *ret_len = n;
    return true;
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Contexts of one key and algorithm, used again and again by whoever has taken them: to set them
 * up takes as long as many a signature's hash. */
struct verifier {
    EVP_MD_CTX *digest; /* EdDSA: set up, and copied for each signature */
    EVP_PKEY_CTX *pkey; /* NULL: EdDSA, which has no hash of its own to sign */
};

#define SPARES 16 /* threads that do not meet at one key's contexts */

struct tr_jwt_key {
    EVP_PKEY *pkey; /* NULL: a secret */
    /* By algorithm and thread; taken by an exchange with NULL, as threads may share a place. NULL:
     * a secret. */
    _Atomic(struct verifier *) (*spares)[SPARES];
    uint32_t algorithms;
    uint32_t signature_bytes; /* RSA, EdDSA: what a signature must have */
    size_t secret_len;
    unsigned char secret[];
};

static const struct curve {
    struct tr_span crv;
    const char *group; /* NULL: not of ECDSA */
    int type;          /* EdDSA: EVP_PKEY_* */
    uint16_t bytes;    /* of a coordinate, or of the public key */
    uint16_t signature_bytes;
    uint32_t algorithms;
} curves[] = {
    {TR_SPAN_INIT("P-256"), "P-256", 0, 32, 64, TR_JWA_BIT(TR_JWA_ES256)},
    {TR_SPAN_INIT("P-384"), "P-384", 0, 48, 96, TR_JWA_BIT(TR_JWA_ES384)},
    {TR_SPAN_INIT("P-521"), "P-521", 0, 66, 132, TR_JWA_BIT(TR_JWA_ES512)},
    {TR_SPAN_INIT("Ed25519"), NULL, EVP_PKEY_ED25519, 32, 64, TR_JWA_BIT(TR_JWA_EDDSA)},
    {TR_SPAN_INIT("Ed448"), NULL, EVP_PKEY_ED448, 57, 114, TR_JWA_BIT(TR_JWA_EDDSA)},
};

static const struct curve *find_curve(struct tr_span crv, bool ecdsa)
{
    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++)
        if (tr_span_eq(crv, curves[i].crv) && ecdsa == (curves[i].group != NULL))
            return &curves[i];
    return NULL;
}

/* OpenSSL says with one return value that the input is bad and that memory ran out; what failed for
 * want of memory may be followed by what failed for that. Empties its queue. */
static bool out_of_memory(void)
{
    bool found = false;
    for (unsigned long e = ERR_get_error(); e; e = ERR_get_error())
        found |= ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE;
    return found;
}

static EVP_PKEY *from_data(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *ctx = params ? EVP_PKEY_CTX_new_from_name(NULL, type, NULL) : NULL;
    if (ctx && (EVP_PKEY_fromdata_init(ctx) != 1 ||
                EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1))
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

/* CVE-2017-15361: keys of a library whose primes are known powers of 65537 modulo small primes, so
 * that n is one too. A random n passes all of these with a probability of about 2^-27. */
static bool made_by_roca(const BIGNUM *n)
{
    static const uint8_t primes[] = {11, 13, 17,  19,  37,  53,  61,  71, 73,
                                     79, 97, 103, 107, 109, 127, 151, 157};
    for (size_t i = 0; i < sizeof primes; i++) {
        unsigned p = primes[i], want = (unsigned)BN_mod_word(n, p), power = 1, left = p;
        while (power != want && --left)
            power = power * (65537u % p) % p;
        if (power != want)
            return false;
    }
    return true;
}

/* NULL: a good one. */
static const char *judge_rsa(const BIGNUM *n, const BIGNUM *e, enum tr_jwk_fault *ret_fault)
{
    int bits = BN_num_bits(n);
    *ret_fault = TR_JWK_WEAK;
    if (bits < TR_JWT_RSA_BITS_MIN || bits > TR_JWT_RSA_BITS_MAX)
        return "the modulus has a size that is not allowed";
    if (made_by_roca(n))
        return "the key is of a kind that can be factored (CVE-2017-15361)";
    *ret_fault = TR_JWK_MALFORMED;
    /* 64 bits are what OpenSSL verifies with for large moduli; a longer one only costs time. */
    if (!BN_is_odd(n) || !BN_is_odd(e) || BN_is_one(e) || BN_num_bits(e) > 64)
        return "the modulus or the exponent is not that of an RSA key";
    return NULL;
}

static EVP_PKEY *new_rsa(const struct tr_jwk *jwk, const char **ret_wrong,
                         enum tr_jwk_fault *ret_fault)
{
    EVP_PKEY *pkey = NULL;
    if (!jwk->n.len || !jwk->e.len || jwk->n.len > TR_JWK_MEMBER_MAX ||
        jwk->e.len > TR_JWK_MEMBER_MAX) {
        *ret_wrong = "the modulus or the exponent is missing, or too long";
        return NULL;
    }
    BIGNUM *n = BN_bin2bn((const unsigned char *)jwk->n.ptr, (int)jwk->n.len, NULL);
    BIGNUM *e = BN_bin2bn((const unsigned char *)jwk->e.ptr, (int)jwk->e.len, NULL);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    *ret_wrong = n && e ? judge_rsa(n, e, ret_fault) : NULL;
    if (n && e && bld && !*ret_wrong && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e))
        pkey = from_data("RSA", OSSL_PARAM_BLD_to_param(bld));
    OSSL_PARAM_BLD_free(bld);
    BN_free(n);
    BN_free(e);
    return pkey;
}

static EVP_PKEY *new_ec(const struct curve *c, const struct tr_jwk *jwk)
{
    unsigned char point[1 + 2 * COORDINATE_MAX] = {0x04} /* not compressed: both follow */;
    memcpy(point + 1, jwk->x.ptr, c->bytes);
    memcpy(point + 1 + c->bytes, jwk->y.ptr, c->bytes);
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    if (bld && OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, c->group, 0) &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point,
                                         1 + 2 * (size_t)c->bytes))
        pkey = from_data("EC", OSSL_PARAM_BLD_to_param(bld)); /* refuses what is not on the curve */
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

static void free_verifier(struct verifier *v)
{
    if (!v)
        return;
    EVP_MD_CTX_free(v->digest);
    EVP_PKEY_CTX_free(v->pkey);
    tr_free(v);
}

static bool set_up(struct verifier *v, const struct jwa *a, EVP_PKEY *pkey)
{
    v->digest = EVP_MD_CTX_new();
    if (!v->digest)
        return false;
    if (!a->hash)
        return EVP_DigestVerifyInit(v->digest, NULL, NULL, NULL, pkey) == 1;
    v->pkey = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    if (!v->pkey || EVP_DigestInit_ex2(v->digest, a->hash(), NULL) != 1 ||
        EVP_PKEY_verify_init(v->pkey) != 1)
        return false;
    if (a->family != ECDSA &&
        EVP_PKEY_CTX_set_rsa_padding(v->pkey, a->family == PSS ? RSA_PKCS1_PSS_PADDING
                                                               : RSA_PKCS1_PADDING) != 1)
        return false;
    if (EVP_PKEY_CTX_set_signature_md(v->pkey, a->hash()) != 1)
        return false;
    /* the mask's hash is the message's unless set */
    return a->family != PSS ||
           EVP_PKEY_CTX_set_rsa_pss_saltlen(v->pkey, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static struct verifier *new_verifier(const struct jwa *a, EVP_PKEY *pkey)
{
    struct verifier *v = tr_calloc(1, sizeof *v);
    if (v && set_up(v, a, pkey))
        return v;
    free_verifier(v);
    return NULL;
}

/* The place of this thread among the spares. */
static unsigned my_spare(void)
{
    static atomic_uint threads;
    static _Thread_local unsigned mine; /* + 1; 0: not known yet */
    if (!mine)
        mine = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % SPARES + 1;
    return mine - 1;
}

/* NULL: no memory. */
static struct verifier *take_verifier(const struct tr_jwt_key *key, enum tr_jwa alg)
{
    struct verifier *v = atomic_exchange(&key->spares[alg][my_spare()], NULL);
    return v ? v : new_verifier(&jwas[alg], key->pkey);
}

static void give_verifier(const struct tr_jwt_key *key, enum tr_jwa alg, struct verifier *v)
{
    free_verifier(atomic_exchange(&key->spares[alg][my_spare()], v));
}

/* So that a key that OpenSSL cannot use is refused when it is made. */
static bool try_algorithms(const struct tr_jwt_key *key)
{
    for (int i = 0; i < TR_JWA_PUBLIC_COUNT; i++) {
        if (!(key->algorithms & TR_JWA_BIT(i)))
            continue;
        struct verifier *v = take_verifier(key, (enum tr_jwa)i);
        if (!v)
            return false;
        give_verifier(key, (enum tr_jwa)i, v);
    }
    return true;
}

static enum tr_err faulty(enum tr_jwk_fault *ret_fault, enum tr_jwk_fault fault,
                          struct tr_status *st, const char *text)
{
    if (ret_fault)
        *ret_fault = fault;
    return tr_fail(st, TR_ERR_AUTH_INVALID, "%s", text);
}

enum tr_err tr_jwt_key_new(const struct tr_jwk *jwk, struct tr_jwt_key **ret,
                           enum tr_jwk_fault *ret_fault, struct tr_status *st)
{
    bool rsa = tr_span_eq(jwk->kty, TR_SPAN("RSA")), ec = tr_span_eq(jwk->kty, TR_SPAN("EC"));
    bool okp = tr_span_eq(jwk->kty, TR_SPAN("OKP"));
    if (!rsa && !ec && !okp)
        return faulty(ret_fault, TR_JWK_TYPE, st, "the type of the key is not known");
    const struct curve *curve = rsa ? NULL : find_curve(jwk->crv, ec);
    if (!rsa && !curve)
        return faulty(ret_fault, TR_JWK_TYPE, st, "the curve of the key is not known");
    if (curve && (jwk->x.len != curve->bytes || (ec && jwk->y.len != curve->bytes)))
        return faulty(ret_fault, TR_JWK_MALFORMED, st,
                      "a coordinate does not have its curve's length");
    struct tr_jwt_key *key = tr_calloc(1, sizeof *key);
    if (!key)
        return TR_ERR_NOMEM;
    const char *wrong = NULL;
    enum tr_jwk_fault fault = TR_JWK_MALFORMED;
    if (!curve)
        key->pkey = new_rsa(jwk, &wrong, &fault);
    else if (curve->group)
        key->pkey = new_ec(curve, jwk);
    else
        key->pkey = EVP_PKEY_new_raw_public_key(curve->type, NULL,
                                                (const unsigned char *)jwk->x.ptr, jwk->x.len);
    if (!key->pkey) {
        bool nomem = out_of_memory();
        ERR_clear_error();
        tr_free(key);
        return nomem
                   ? TR_ERR_NOMEM
                   : faulty(ret_fault, fault, st, wrong ? wrong : "the members do not make a key");
    }
    key->algorithms = curve ? curve->algorithms : TR_JWA_RSA;
    key->signature_bytes = curve ? curve->signature_bytes : (uint32_t)EVP_PKEY_get_size(key->pkey);
    key->spares = tr_calloc(TR_JWA_PUBLIC_COUNT, sizeof *key->spares);
    if (!key->spares || !try_algorithms(key)) {
        ERR_clear_error();
        tr_jwt_key_free(key);
        return TR_ERR_NOMEM; /* the key is a good one */
    }
    *ret = key;
    return TR_OK;
}

enum tr_err tr_jwt_key_secret(struct tr_span secret, struct tr_jwt_key **ret, struct tr_status *st)
{
    if (secret.len < TR_JWT_SECRET_MIN || secret.len > TR_JWT_SECRET_MAX)
        return tr_fail(st, TR_ERR_AUTH_INVALID, "the secret must have %d to %d bytes",
                       TR_JWT_SECRET_MIN, TR_JWT_SECRET_MAX);
    struct tr_jwt_key *key = tr_calloc(1, sizeof *key + secret.len);
    if (!key)
        return TR_ERR_NOMEM;
    memcpy(key->secret, secret.ptr, secret.len);
    key->secret_len = secret.len;
    key->algorithms = TR_JWA_BIT(TR_JWA_HS256);
    if (secret.len >= 48)
        key->algorithms |= TR_JWA_BIT(TR_JWA_HS384);
    if (secret.len >= 64)
        key->algorithms |= TR_JWA_BIT(TR_JWA_HS512);
    *ret = key;
    return TR_OK;
}

void tr_jwt_key_free(struct tr_jwt_key *key)
{
    if (!key)
        return;
    for (int i = 0; key->spares && i < TR_JWA_PUBLIC_COUNT; i++)
        for (int k = 0; k < SPARES; k++)
            free_verifier(atomic_load(&key->spares[i][k]));
    tr_free(key->spares);
    EVP_PKEY_free(key->pkey);
    OPENSSL_cleanse(key->secret, key->secret_len);
    tr_free(key);
}

uint32_t tr_jwt_key_algorithms(const struct tr_jwt_key *key)
{
    return key->algorithms;
}

bool tr_jwt_key_equal(const struct tr_jwt_key *a, const struct tr_jwt_key *b)
{
    if (a->algorithms != b->algorithms || a->secret_len != b->secret_len)
        return false;
    if (!a->pkey)
        return CRYPTO_memcmp(a->secret, b->secret, a->secret_len) == 0;
    bool same = EVP_PKEY_eq(a->pkey, b->pkey) == 1;
    ERR_clear_error();
    return same;
}

/* ---- signatures ------------------------------------------------------------------------------ */

/* One INTEGER of DER: the shortest form, with a zero before a first bit that is set. */
static size_t der_integer(unsigned char *out, const unsigned char *number, size_t len)
{
    while (len > 1 && *number == 0) {
        number++;
        len--;
    }
    size_t pad = *number >> 7;
    out[0] = 0x02;
    out[1] = (unsigned char)(len + pad);
    out[2] = 0;
    memcpy(out + 2 + pad, number, len);
    return 2 + pad + len;
}

/* RFC 7518 §3.4 has the two numbers side by side, OpenSSL wants ECDSA-Sig-Value of RFC 3279. */
static size_t der_signature(unsigned char *out, struct tr_span sig)
{
    unsigned char body[2 * (3 + COORDINATE_MAX)];
    const unsigned char *r = (const unsigned char *)sig.ptr;
    size_t half = sig.len / 2, n = der_integer(body, r, half), at = 0;
    n += der_integer(body + n, r + half, half);
    out[at++] = 0x30;
    if (n > 127)
        out[at++] = 0x81;
    out[at++] = (unsigned char)n;
    memcpy(out + at, body, n);
    return at + n;
}

static enum tr_jwt_verdict verify_hmac(const struct tr_jwt_key *key, const struct jwa *a,
                                       struct tr_span input, struct tr_span sig)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!HMAC(a->hash(), key->secret, (int)key->secret_len, (const unsigned char *)input.ptr,
              input.len, mac, &len))
        return TR_JWT_VERDICT_NOMEM;
    bool good = sig.len == len && CRYPTO_memcmp(mac, sig.ptr, len) == 0;
    OPENSSL_cleanse(mac, sizeof mac); /* the right answer for what was sent */
    return good ? TR_JWT_VERDICT_GOOD : TR_JWT_VERDICT_BAD;
}

#define NOT_TRIED (-100)

/* What OpenSSL says: 1 is a good signature. NOT_TRIED: only for want of memory. */
static int verify_eddsa(const struct verifier *v, struct tr_span input, struct tr_span sig)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int r = NOT_TRIED;
    if (ctx && EVP_MD_CTX_copy_ex(ctx, v->digest) == 1)
        r = EVP_DigestVerify(ctx, (const unsigned char *)sig.ptr, sig.len,
                             (const unsigned char *)input.ptr, input.len);
    EVP_MD_CTX_free(ctx);
    return r;
}

static int verify_hashed(const struct verifier *v, enum family family, struct tr_span input,
                         struct tr_span sig)
{
    unsigned char hash[EVP_MAX_MD_SIZE], der[3 + 2 * (3 + COORDINATE_MAX)];
    unsigned len = 0;
    if (EVP_DigestInit_ex2(v->digest, NULL, NULL) != 1 ||
        EVP_DigestUpdate(v->digest, input.ptr, input.len) != 1 ||
        EVP_DigestFinal_ex(v->digest, hash, &len) != 1)
        return NOT_TRIED;
    if (family == ECDSA)
        sig = tr_span((const char *)der, der_signature(der, sig));
    return EVP_PKEY_verify(v->pkey, (const unsigned char *)sig.ptr, sig.len, hash, len);
}

static enum tr_jwt_verdict verify_public(const struct tr_jwt_key *key, enum tr_jwa alg,
                                         struct tr_span input, struct tr_span sig)
{
    struct verifier *v = take_verifier(key, alg);
    if (!v)
        return TR_JWT_VERDICT_NOMEM;
    int r = v->pkey ? verify_hashed(v, jwas[alg].family, input, sig) : verify_eddsa(v, input, sig);
    enum tr_jwt_verdict verdict = r == 1                              ? TR_JWT_VERDICT_GOOD
                                  : r == NOT_TRIED || out_of_memory() ? TR_JWT_VERDICT_NOMEM
                                                                      : TR_JWT_VERDICT_BAD;
    if (verdict == TR_JWT_VERDICT_NOMEM)
        free_verifier(v); /* nobody says what state it was left in */
    else
        give_verifier(key, alg, v);
    return verdict;
}

enum tr_jwt_verdict tr_jwt_key_verify(const struct tr_jwt_key *key, enum tr_jwa alg,
                                      struct tr_span input, struct tr_span signature)
{
    if (alg >= TR_JWA__COUNT || !(key->algorithms & TR_JWA_BIT(alg)))
        return TR_JWT_VERDICT_BAD;
    const struct jwa *a = &jwas[alg];
    if (key->pkey && signature.len != key->signature_bytes)
        return TR_JWT_VERDICT_BAD;
    enum tr_jwt_verdict verdict = key->pkey ? verify_public(key, alg, input, signature)
                                            : verify_hmac(key, a, input, signature);
    if (verdict != TR_JWT_VERDICT_GOOD)
        ERR_clear_error(); /* TLS on this thread reads the same queue */
    return verdict;
}
