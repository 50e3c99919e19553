/* What clients show, and the files and certificates that say whose it is. The input's first byte
 * chooses: a header, a query, cookies, the file of API keys, a certificate. */
#include "base/arena.h"
#include "filters/apikey.h"
#include "filters/authn.h"
#include "filters/client_cert.h"
#include "fuzz.h"

#include <stdlib.h>

static const struct tr_span session = TR_SPAN_INIT("s");

static void check_place(struct tr_span text, int where)
{
    struct tr_cfg_provider cfg = {.token_query = where == 1 ? session : TR_SPAN(""),
                                  .token_cookie = where == 2 ? session : TR_SPAN("")};
    struct tr_authn_provider provider = {.cfg = &cfg, .header = TR_SPAN("authorization")};
    struct tr_header item = {where == 2 ? TR_SPAN("cookie") : TR_SPAN("authorization"), text,
                             where == 2 ? TR_TOKEN_COOKIE : TR_TOKEN_AUTHORIZATION};
    struct tr_req_head head = {.query = text};
    struct tr_arena arena;
    tr_arena_init(&arena, NULL);
    head.headers = (struct tr_headers){&item, where == 1 ? 0u : 1u, 1};
    struct tr_span token = tr_authn_token(&provider, &head, &arena);
    FUZZ_CHECK(token.len <= text.len);
    if (where == 2) { /* the token is not among what is left, and nothing else is lost */
        char *out = malloc(2 * text.len + 1);
        FUZZ_CHECK(out);
        struct tr_span left = tr_authn_without_cookie(out, text, session);
        FUZZ_CHECK(left.len <= 2 * text.len);
        item.value = left;
        FUZZ_CHECK(tr_authn_token(&provider, &head, &arena).len == 0);
        char *again = malloc(2 * left.len + 1);
        FUZZ_CHECK(again && tr_span_eq(tr_authn_without_cookie(again, left, session), left));
        free(again);
        free(out);
    }
    tr_arena_fini(&arena);
}

static void check_keys(struct tr_span text)
{
    struct tr_apikey_set *set = NULL;
    struct tr_status st;
    tr_status_clear(&st);
    enum tr_err err = tr_apikey_parse(text, &set, &st);
    FUZZ_CHECK((err == TR_OK) == (set != NULL));
    FUZZ_CHECK(err == TR_OK || tr_status_text(&st).len > 0);
    FUZZ_CHECK(tr_apikey_count(set) <= TR_APIKEY_MAX);
    FUZZ_CHECK(!tr_apikey_find(set, text)); /* no file has its own digest */
    tr_apikey_unref(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tr_cfg_client_certificate rules[] = {
        {.subject = TR_SPAN_INIT("CN=a"), .san = TR_SPAN_INIT("DNS:a")},
        {.subject = TR_SPAN_INIT("CN=a")},
        {.san = TR_SPAN_INIT("DNS:a")}};
    if (!size)
        return 0;
    char *copy = malloc(size);
    FUZZ_CHECK(copy);
    memcpy(copy, data + 1, size - 1);
    struct tr_span text = tr_span(copy, size - 1);
    if (data[0] % 5 < 3)
        check_place(text, data[0] % 5);
    else if (data[0] % 5 == 3)
        check_keys(text);
    else
        FUZZ_CHECK(tr_client_cert_match(text, rules, 3) <= 3);
    free(copy);
    return 0;
}
