/* Origins of CORS: a pattern and an origin, separated by a line feed. A whole pattern matches
 * itself alone; what a wildcard matches is a host below its own, with nothing that ends a host
 * in between. Lists of names are tokens. */
#include "filters/cors_origin.h"
#include "fuzz.h"
#include "http/msg.h"

static void check_match(const struct tr_cors_pattern *p, struct tr_span origin)
{
    if (!p->wildcard) {
        FUZZ_CHECK(tr_span_eq(p->rest, origin));
        return;
    }
    FUZZ_CHECK(tr_span_starts(origin, p->scheme) && tr_span_ends(origin, p->rest));
    for (size_t i = p->scheme.len; i < origin.len - p->rest.len; i++)
        FUZZ_CHECK(!memchr("/?#@:\\ \t,", origin.ptr[i], 9));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size + 1);
    FUZZ_CHECK(bytes);
    memcpy(bytes, data, size);
    struct tr_span origin = tr_span(bytes, size), text = tr_span_cut(&origin, '\n');
    struct tr_cors_pattern pattern;
    struct tr_arena arena;
    bool nomem;
    tr_arena_init(&arena, NULL);
    if (tr_cors_pattern_parse(text, &arena, &pattern, &nomem)) {
        if (origin.ptr && tr_cors_pattern_matches(&pattern, origin))
            check_match(&pattern, origin);
        if (!pattern.wildcard)
            FUZZ_CHECK(tr_cors_pattern_matches(&pattern, pattern.rest));
    }
    FUZZ_CHECK(!nomem);
    if (tr_cors_is_name_list(text)) {
        FUZZ_CHECK(text.len <= TR_CORS_HEADERS_MAX_BYTES);
        FUZZ_CHECK(!text.len || !memchr(text.ptr, '"', text.len));
    }
    tr_arena_fini(&arena);
    free(bytes);
    return 0;
}
