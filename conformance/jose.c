/* The gateway's tokens for conformance/jose.py: one case a line, one verdict a line.
 *
 * In:  KIND <TAB> KEY <TAB> ALGORITHMS <TAB> TOKEN
 *      KIND `jwks`: KEY is a key set as JSON; `secret`: a shared secret in base64url
 *      ALGORITHMS: names between commas, or `*` for all that the kind can have
 * Out: the name of tr_jws_verify's result, `no_keys` where there is no usable key, then the number
 * of keys: "ok 1". */
#include "base/alloc.h"
#include "base/base64.h"
#include "base/buf.h"
#include "filters/jwt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t mask_of(struct tr_span names)
{
    uint32_t mask = 0;
    enum tr_jwa alg;
    if (tr_span_eq(names, TR_SPAN("*")))
        return UINT32_MAX;
    while (names.ptr)
        if (tr_jwa_find(tr_span_cut(&names, ','), &alg))
            mask |= TR_JWA_BIT(alg);
    return mask;
}

static struct tr_jwks *keys_of(struct tr_span kind, struct tr_span key)
{
    struct tr_jwks *set = NULL;
    if (tr_span_eq(kind, TR_SPAN("jwks")))
        return tr_jwks_parse(key, &set, NULL) ? NULL : set;
    size_t len;
    char *secret = tr_malloc(tr_base64_decoded_max(key.len));
    if (secret && tr_jwt_base64url(secret, key, &len) &&
        tr_jwks_from_secret(tr_span(secret, len), &set, NULL))
        set = NULL;
    tr_free(secret);
    return set;
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        struct tr_span rest = tr_span(line, (size_t)n - (line[n - 1] == '\n'));
        struct tr_span kind = tr_span_cut(&rest, '\t'), key = tr_span_cut(&rest, '\t');
        struct tr_span algorithms = tr_span_cut(&rest, '\t');
        struct tr_jwks *set = rest.ptr ? keys_of(kind, key) : NULL;
        if (!rest.ptr)
            printf("four fields are wanted\n");
        else if (!set)
            printf("no_keys 0\n");
        else
            printf("%s %u\n",
                   tr_jwt_result_name(
                       tr_jws_verify(rest, mask_of(algorithms) & tr_jwks_algorithms(set), set)),
                   tr_jwks_count(set));
        tr_jwks_unref(set);
    }
    free(line); /* NOLINT: getline's */
    return fflush(stdout) == 0 ? 0 : 1;
}
