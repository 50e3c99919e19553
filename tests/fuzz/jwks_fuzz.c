/* Key sets: any bytes. A set that is accepted has usable keys, equals itself read again, and no
 * look-up gives more keys than may be tried, or one that the algorithm does not fit. */
#include "filters/jwks.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_find(const struct tr_jwks *set, bool has_kid, struct tr_span kid)
{
    const struct tr_jwt_key *keys[TR_JWKS_TRIES_MAX];
    bool known;
    for (int alg = 0; alg < TR_JWA__COUNT; alg++) {
        uint32_t n = tr_jwks_find(set, has_kid, kid, (enum tr_jwa)alg, keys, &known);
        FUZZ_CHECK(n <= TR_JWKS_TRIES_MAX && n <= tr_jwks_count(set));
        FUZZ_CHECK(has_kid || known);
        FUZZ_CHECK(has_kid || (n > 0) == (tr_jwks_algorithms(set) >> alg & 1));
        for (uint32_t i = 0; i < n; i++) {
            FUZZ_CHECK(tr_jwt_key_algorithms(keys[i]) >> alg & 1);
            FUZZ_CHECK(tr_jwt_key_verify(keys[i], (enum tr_jwa)alg, TR_SPAN("x"), kid) ==
                       TR_JWT_VERDICT_BAD);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size ? size : 1), uri[64];
    struct tr_jwks *set = NULL, *again = NULL;
    size_t len = 0;
    FUZZ_CHECK(copy);
    if (size)
        memcpy(copy, data, size);
    struct tr_span json = tr_span(copy, size);
    if (!tr_jwks_discovery(json, TR_SPAN("https://a.example"), uri, sizeof uri, &len, NULL))
        FUZZ_CHECK(len > 0 && len <= sizeof uri);
    if (!tr_jwks_parse(json, &set, NULL)) {
        uint32_t all = tr_jwks_count(set);
        FUZZ_CHECK(all > 0 && tr_jwks_algorithms(set) && !tr_jwks_is_secret(set));
        FUZZ_CHECK(!(tr_jwks_algorithms(set) & TR_JWA_HMAC));
        for (int i = 0; i < TR_JWKS_SKIP__COUNT; i++)
            all += tr_jwks_skipped(set, (enum tr_jwks_skip)i);
        FUZZ_CHECK(all <= TR_JWKS_KEYS_MAX);
        FUZZ_CHECK(!tr_jwks_parse(json, &again, NULL) && tr_jwks_equal(set, again));
        FUZZ_CHECK(tr_jwks_generation(set) != tr_jwks_generation(again));
        check_find(set, false, TR_SPAN(""));
        check_find(set, true, tr_span_sub(json, size / 2, 8));
        tr_jwks_unref(again);
    }
    tr_jwks_unref(set);
    free(copy);
    return 0;
}
