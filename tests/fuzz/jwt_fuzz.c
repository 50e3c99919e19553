/* Tokens. The first byte chooses: 't': the rest is a token, whole; else the rest is a header, a
 * zero byte and a payload, which are encoded and signed here, so that what comes after the
 * signature is reached. No byte of a good token may change; its claims are text within their
 * bounds; the cache gives it back. */
#include "base/alloc.h"
#include "base/base64.h"
#include "base/utf8.h"
#include "filters/jwt_cache.h"
#include "fuzz.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#define SECRET "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NOW    1700000000

static const struct tr_span audiences[] = {TR_SPAN_INIT("books")};
static const struct tr_jwt_rules rules[2] = {
    {.issuer = TR_SPAN_INIT("i"), .any_audience = true, .algorithms = UINT32_MAX},
    {.issuer = TR_SPAN_INIT("i"),
     .audiences = audiences,
     .audience_count = 1,
     .algorithms = TR_JWA_BIT(TR_JWA_HS256),
     .clock_skew_s = 60},
};

static size_t encode(char *out, struct tr_span s)
{
    size_t n = tr_base64_encode_unpadded(out, s);
    for (size_t i = 0; i < n; i++)
        out[i] = out[i] == '+' ? '-' : (char)(out[i] == '/' ? '_' : out[i]);
    return n;
}

static struct tr_span sign(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t head = zero ? (size_t)(zero - data) : size;
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    char *token = malloc(tr_base64_encoded_len(size) + 200);
    FUZZ_CHECK(token);
    size_t n = encode(token, tr_span((const char *)data, head));
    token[n++] = '.';
    if (zero)
        n += encode(token + n, tr_span((const char *)zero + 1, size - head - 1));
    FUZZ_CHECK(HMAC(EVP_sha256(), SECRET, (int)strlen(SECRET), (const unsigned char *)token, n, mac,
                    &len));
    token[n++] = '.';
    n += encode(token + n, tr_span((const char *)mac, len));
    return tr_span(token, n);
}

static void check_text(const struct tr_jwt *jwt, struct tr_span s)
{
    const char *block = (const char *)jwt;
    FUZZ_CHECK(!s.len || (s.ptr >= block && s.ptr + s.len <= block + jwt->bytes));
    FUZZ_CHECK(tr_utf8_valid(s));
}

static void check_jwt(const struct tr_jwt *jwt, struct tr_span token)
{
    FUZZ_CHECK(tr_span_eq(jwt->token, token) && jwt->refs == 1);
    FUZZ_CHECK(jwt->valid_until_s > NOW && jwt->claims.count <= TR_JWT_CLAIMS_MAX);
    for (uint32_t i = 0; i < jwt->claims.count; i++) {
        const struct tr_claim *c = &jwt->claims.items[i];
        FUZZ_CHECK(tr_claims_find(&jwt->claims, c->name) == c);
        FUZZ_CHECK(c->name.len <= TR_JWT_CLAIM_NAME_MAX);
        check_text(jwt, c->name);
        for (uint32_t k = 0; k < c->count; k++)
            check_text(jwt, c->values[k]);
    }
    for (uint32_t i = 0; i < jwt->scope_count; i++) {
        FUZZ_CHECK(jwt->scopes[i].len > 0 && !memchr(jwt->scopes[i].ptr, ' ', jwt->scopes[i].len));
        check_text(jwt, jwt->scopes[i]);
    }
    check_text(jwt, jwt->subject);
}

static void check_cache(struct tr_jwt *jwt)
{
    struct tr_jwt_cache cache;
    FUZZ_CHECK(!tr_jwt_cache_init(&cache, 4, (size_t)1 << 24, 7));
    tr_jwt_cache_put(&cache, 1, 3, jwt);
    FUZZ_CHECK(tr_jwt_cache_get(&cache, 1, jwt->token, 3, NOW) == jwt);
    tr_jwt_unref(jwt);
    tr_jwt_cache_fini(&cache);
    FUZZ_CHECK(jwt->refs == 1);
}

static void check_change(struct tr_span token, const struct tr_jwks *keys, size_t at)
{
    char *copy = malloc(token.len);
    FUZZ_CHECK(copy);
    memcpy(copy, token.ptr, token.len);
    copy[at % token.len] ^= (char)(1 << at % 7);
    FUZZ_CHECK(tr_jws_verify(tr_span(copy, token.len), UINT32_MAX, keys) != TR_JWT_OK);
    free(copy);
}

static bool same_texts(const struct tr_span *a, const struct tr_span *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!tr_span_eq(a[i], b[i]))
            return false;
    return true;
}

static void check_same(const struct tr_jwt *a, const struct tr_jwt *b)
{
    FUZZ_CHECK(a->bytes == b->bytes && a->valid_until_s == b->valid_until_s);
    FUZZ_CHECK(tr_span_eq(a->issuer, b->issuer) && tr_span_eq(a->subject, b->subject));
    FUZZ_CHECK(a->scope_count == b->scope_count &&
               same_texts(a->scopes, b->scopes, a->scope_count));
    FUZZ_CHECK(a->claims.count == b->claims.count);
    for (uint32_t i = 0; i < a->claims.count; i++) {
        const struct tr_claim *c = &a->claims.items[i], *d = &b->claims.items[i];
        FUZZ_CHECK(tr_span_eq(c->name, d->name) && c->count == d->count);
        FUZZ_CHECK(same_texts(c->values, d->values, c->count));
    }
}

/* In two steps, with what is remembered of the inputs before and of this one, nothing is judged
 * otherwise. */
static void check_steps(struct tr_span token, const struct tr_jwt_rules *r,
                        const struct tr_jwks *keys, enum tr_jwt_result want,
                        const struct tr_jwt *jwt)
{
    static struct tr_jwt_memo memo;
    for (int i = 0; i < 3; i++) {
        struct tr_jwt_opened o;
        struct tr_jwt *got = NULL;
        enum tr_jwt_result opened = tr_jwt_open(token, r, NOW, &memo, &o), result = opened;
        FUZZ_CHECK(memo.len <= sizeof memo.text && memo.header.kid_len <= TR_JWKS_KID_MAX);
        if (opened) {
            FUZZ_CHECK(opened == want && tr_jwt_peek(token, r, NOW) == want);
            continue;
        }
        FUZZ_CHECK((o.after == TR_JWT_OK) == (o.jwt != NULL));
        FUZZ_CHECK(tr_jwt_peek(token, r, NOW) == o.after);
        if (i == 1) { /* given up */
            tr_jwt_drop(&o);
            FUZZ_CHECK(!o.jwt);
            continue;
        }
        result = tr_jwt_close(&o, keys, &got);
        FUZZ_CHECK(result == want && !o.jwt && (got != NULL) == (jwt != NULL));
        if (got)
            check_same(got, jwt);
        tr_jwt_unref(got);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tr_jwks *keys[2];
    if (!keys[0])
        FUZZ_CHECK(!tr_jwks_from_secret(TR_SPAN(SECRET), &keys[0], NULL) &&
                   !tr_jwks_parse(TR_SPAN("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":"
                                          "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}"),
                                  &keys[1], NULL));
    if (!size || size > TR_JWT_TOKEN_MAX)
        return 0;
    struct tr_span token;
    if (data[0] == 't') {
        char *copy = malloc(size);
        FUZZ_CHECK(copy);
        memcpy(copy, data + 1, size - 1);
        token = tr_span(copy, size - 1);
    } else {
        token = sign(data + 1, size - 1);
    }
    for (int i = 0; i < 4; i++) {
        struct tr_jwt *jwt = NULL;
        enum tr_jwt_result whole = tr_jws_verify(token, UINT32_MAX, keys[i & 1]);
        enum tr_jwt_result r = tr_jwt_verify(token, &rules[i / 2], keys[i & 1], NOW, &jwt);
        FUZZ_CHECK(r < TR_JWT__COUNT && r != TR_JWT_NOMEM);
        FUZZ_CHECK((r == TR_JWT_OK) == (jwt != NULL));
        check_steps(token, &rules[i / 2], keys[i & 1], r, jwt);
        if (r)
            continue;
        FUZZ_CHECK(whole == TR_JWT_OK);
        check_jwt(jwt, token);
        check_cache(jwt);
        check_change(token, keys[i & 1], size * 31);
        tr_jwt_unref(jwt);
    }
    free((void *)(uintptr_t)token.ptr);
    return 0;
}
