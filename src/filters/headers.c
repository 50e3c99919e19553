/* set_headers and remove_headers of a policy: the metadata to the backend, the headers to the
 * client. */
#include "filters/cors_origin.h"
#include "filters/registry.h"
#include "pipeline/exchange.h"

/* `value` and the words of the Vary that is there: without Origin or Accept a cache would give one
 * client what was made for another (RFC 9110 §12.5.5). */
static enum tr_err joined_vary(struct tr_exchange *x, const struct tr_headers *h,
                               struct tr_span value, struct tr_span *ret_value)
{
    size_t len = value.len, n = value.len;
    for (uint32_t i = 0; i < h->count; i++)
        len += tr_span_eq(h->items[i].name, TR_SPAN("vary")) ? h->items[i].value.len + 2 : 0;
    char *p = tr_arena_alloc(&x->hs->arena, len + 1);
    if (!p)
        return TR_ERR_NOMEM;
    memcpy(p, value.ptr, n);
    for (uint32_t i = 0; i < h->count; i++) {
        struct tr_span words = h->items[i].value;
        while (words.ptr && tr_span_eq(h->items[i].name, TR_SPAN("vary"))) {
            struct tr_span word = tr_span_trim(tr_span_cut(&words, ','));
            if (!word.len || tr_cors_list_has(tr_span(p, n), word))
                continue;
            memcpy(p + n, ", ", 2);
            memcpy(p + n + 2, word.ptr, word.len);
            n += 2 + word.len;
        }
    }
    *ret_value = tr_span(p, n);
    return TR_OK;
}

static enum tr_err set(struct tr_exchange *x, struct tr_headers *h, struct tr_span name,
                       struct tr_span value)
{
    if (h == &x->resp_headers && tr_span_eq(name, TR_SPAN("vary")) && value.len) {
        enum tr_err err = joined_vary(x, h, value, &value);
        if (err)
            return err;
    }
    tr_headers_remove(h, name);
    return tr_headers_add(h, &x->hs->arena, name, value, tr_token_from(name));
}

/* The type of a native gRPC answer is the protocol's: clients take no other. */
static bool is_fixed(const struct tr_exchange *x, struct tr_span name)
{
    return x->dialect == &tr_dialect_grpc && tr_span_eq(name, TR_SPAN("content-type"));
}

static enum tr_err change(struct tr_exchange *x, struct tr_headers *h,
                          const struct tr_strings *remove, const struct tr_pairs *pairs)
{
    enum tr_err err = TR_OK;
    for (uint32_t i = 0; i < remove->count; i++)
        if (!is_fixed(x, remove->items[i]))
            tr_headers_remove(h, remove->items[i]);
    for (uint32_t i = 0; i < pairs->count && !err; i++)
        if (!is_fixed(x, pairs->names[i]))
            err = set(x, h, pairs->names[i], pairs->values[i]);
    return err;
}

static enum tr_verdict on_request(struct tr_exchange *x, void *state)
{
    const struct tr_policy *p = x->policy;
    (void)state;
    if (p->remove_headers.request.count == 0 && p->set_headers.request.count == 0)
        return TR_CONTINUE;
    if (change(x, &x->metadata, &p->remove_headers.request, &p->set_headers.request)) {
        (void)tr_fail(tr_exchange_status(x), TR_ERR_NOMEM, "out of memory");
        return TR_FAIL;
    }
    return TR_CONTINUE;
}

static void on_response(struct tr_exchange *x, void *state)
{
    const struct tr_policy *p = x->policy;
    (void)state;
    if (p->remove_headers.response.count || p->set_headers.response.count)
        (void)change(x, &x->resp_headers, &p->remove_headers.response,
                     &p->set_headers.response); /* out of memory: as it was */
}

const struct tr_filter tr_filter_headers = {
    .name = "headers",
    .phase = TR_PHASE_REWRITE,
    .on_request = on_request,
    .on_response = on_response,
};
