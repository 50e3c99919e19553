/* Tokens judged in tests: a payload or a header, signed by a key of the world. */
#ifndef TR_TESTS_JWT_JUDGE_H
#define TR_TESTS_JWT_JUDGE_H

#include "jwt_world.h"

#define NOW INT64_C(1700000000)

static const struct tr_span books[] = {TR_SPAN_INIT("books"), TR_SPAN_INIT("films")};
static const struct tr_jwt_rules plain = {.issuer = TR_SPAN_INIT("i"),
                                          .audiences = books,
                                          .audience_count = 2,
                                          .algorithms = UINT32_MAX,
                                          .clock_skew_s = 60};
static const struct tr_jwt_rules any = {.issuer = TR_SPAN_INIT("i"),
                                        .any_audience = true,
                                        .algorithms = UINT32_MAX,
                                        .clock_skew_s = 60};
static struct tr_jwks *secret;

static inline int judge_begin(void **state)
{
    (void)state;
    secret = world_set(W_SECRET, "");
    return 0;
}

static inline int judge_end(void **state)
{
    (void)state;
    tr_jwks_unref(secret);
    return world_end(state);
}

static inline enum tr_jwt_result verify(struct tr_span token, const struct tr_jwt_rules *rules,
                                        const struct tr_jwks *keys, int64_t now,
                                        struct tr_jwt **ret)
{
    /* exactly its bytes, so that ASan sees who reads on */
    char *copy = malloc(token.len ? token.len : 1);
    if (token.len)
        memcpy(copy, token.ptr, token.len);
    struct tr_jwt *jwt = NULL;
    enum tr_jwt_result result = tr_jwt_verify(tr_span(copy, token.len), rules, keys, now, &jwt);
    free(copy);
    assert_int_equal(result == TR_JWT_OK, jwt != NULL);
    assert_int_equal(ERR_peek_error(), 0);
    if (ret)
        *ret = jwt;
    else
        tr_jwt_unref(jwt);
    return result;
}

#define expect(result, want)                                                                       \
    do {                                                                                           \
        enum tr_jwt_result got_ = (result);                                                        \
        if (got_ != (want))                                                                        \
            fail_msg("%s, not %s", tr_jwt_result_name(got_), tr_jwt_result_name(want));            \
    } while (0)

/* A payload signed with the secret. */
static inline enum tr_jwt_result judge_at(const char *payload, const struct tr_jwt_rules *rules,
                                          int64_t now, struct tr_jwt **ret)
{
    struct tr_buf b;
    tr_buf_init(&b);
    put_hs(&b, payload);
    enum tr_jwt_result result = verify(tr_buf_span(&b), rules, secret, now, ret);
    tr_buf_fini(&b);
    return result;
}

/* The same with `more` between what every token needs. */
static inline enum tr_jwt_result judge(const char *more, const struct tr_jwt_rules *rules,
                                       struct tr_jwt **ret)
{
    struct tr_buf b;
    tr_buf_init(&b);
    assert_int_equal(tr_buf_printf(&b, "{\"iss\":\"i\",\"exp\":%lld%s%s}", (long long)NOW + 100,
                                   *more ? "," : "", more),
                     0);
    assert_int_equal(tr_buf_push(&b, 0), 0);
    enum tr_jwt_result result = judge_at(b.ptr, rules, NOW, ret);
    tr_buf_fini(&b);
    return result;
}

/* A header on a good payload, signed by the world's key as if by `alg`. */
static inline enum tr_jwt_result judge_header(const char *header, enum world_kind kind,
                                              enum tr_jwa alg, const struct tr_jwks *keys)
{
    struct tr_buf b;
    tr_buf_init(&b);
    put_token(&b, kind, alg, header, TR_SPAN("{\"iss\":\"i\",\"exp\":1700000100,\"sub\":\"me\"}"));
    enum tr_jwt_result result = verify(tr_buf_span(&b), &any, keys, NOW, NULL);
    tr_buf_fini(&b);
    return result;
}

#endif
