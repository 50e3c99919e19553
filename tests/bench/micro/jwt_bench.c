/* Time of a token: its signature alone, the whole judgement of one that is new, and one that the
 * cache has. Prints only. The token and the keys are those of RFC 7515 A.1 and A.3. */
#include "base/base64.h"
#include "bench.h"
#include "filters/jwt_cache.h"

#include <stdlib.h>

#define PAYLOAD                                                                                    \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnV"  \
    "lfQ"
#define HS256                                                                                      \
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." PAYLOAD                                            \
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define ES256                                                                                      \
    "eyJhbGciOiJFUzI1NiJ9." PAYLOAD                                                                \
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
#define NOW 1300000000

struct bench {
    struct tr_span token, input, signature;
    enum tr_jwa alg;
    struct tr_jwks *keys;
    const struct tr_jwt_key *key;
    struct tr_jwt_cache cache;
    char room[128];
};

static const struct tr_jwt_rules rules = {
    .issuer = TR_SPAN_INIT("joe"), .any_audience = true, .algorithms = UINT32_MAX};

static void must(bool ok)
{
    if (!ok) {
        printf("a token is not good\n");
        exit(1); /* NOLINT(concurrency-mt-unsafe): one thread */
    }
}

static void signature_alone(void *arg)
{
    const struct bench *b = arg;
    must(tr_jwt_key_verify(b->key, b->alg, b->input, b->signature) == TR_JWT_VERDICT_GOOD);
}

static void whole(void *arg)
{
    const struct bench *b = arg;
    struct tr_jwt *jwt = NULL;
    must(tr_jwt_verify(b->token, &rules, b->keys, NOW, &jwt) == TR_JWT_OK);
    tr_jwt_unref(jwt);
}

static void cached(void *arg)
{
    struct bench *b = arg;
    struct tr_jwt *jwt = tr_jwt_cache_get(&b->cache, 0, b->token, 1, NOW);
    must(jwt != NULL);
    tr_jwt_unref(jwt);
}

static void run(struct bench *b, struct tr_span token, enum tr_jwa alg)
{
    const struct tr_jwt_key *keys[TR_JWKS_TRIES_MAX];
    struct tr_jwt *jwt = NULL;
    bool known;
    size_t dot = tr_span_rfind(token, '.'), len;
    b->token = token;
    b->alg = alg;
    b->input = tr_span_sub(token, 0, dot);
    must(tr_jwt_base64url(b->room, tr_span_from(token, dot + 1), &len));
    b->signature = tr_span(b->room, len);
    must(tr_jwks_find(b->keys, false, TR_SPAN(""), alg, keys, &known) == 1);
    b->key = keys[0];
    must(!tr_jwt_cache_init(&b->cache, 64, 1 << 20, 1));
    must(tr_jwt_verify(token, &rules, b->keys, NOW, &jwt) == TR_JWT_OK);
    tr_jwt_cache_put(&b->cache, 0, 1, jwt);
    tr_jwt_unref(jwt);
    double alone = tr_bench_run(signature_alone, b), all = tr_bench_run(whole, b);
    printf("%s, %zu bytes: signature %.0f ns, all %.0f ns, difference %.0f ns; cached %.1f ns\n",
           tr_jwa_name(alg).ptr, token.len, alone, all, all - alone, tr_bench_run(cached, b));
    tr_jwt_cache_fini(&b->cache);
    tr_jwks_unref(b->keys);
}

int main(void)
{
    struct bench b;
    char secret[128];
    size_t len;
    must(tr_jwt_base64url(secret,
                          TR_SPAN("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-"
                                  "1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"),
                          &len));
    must(!tr_jwks_from_secret(tr_span(secret, len), &b.keys, NULL));
    run(&b, TR_SPAN(HS256), TR_JWA_HS256);
    must(!tr_jwks_parse(TR_SPAN("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
                                "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":"
                                "\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}"),
                        &b.keys, NULL));
    run(&b, TR_SPAN(ES256), TR_JWA_ES256);
    return 0;
}
