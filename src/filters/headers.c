/* set_headers and remove_headers of a policy: the metadata to the backend, the headers to the
 * client. */
#include "filters/registry.h"
#include "pipeline/exchange.h"

static enum tr_err change(struct tr_exchange *x, struct tr_headers *h,
                          const struct tr_strings *remove, const struct tr_pairs *set)
{
    for (uint32_t i = 0; i < remove->count; i++)
        tr_headers_remove(h, remove->items[i]);
    for (uint32_t i = 0; i < set->count; i++) {
        tr_headers_remove(h, set->names[i]);
        enum tr_err err = tr_headers_add(h, &x->hs->arena, set->names[i], set->values[i],
                                         tr_token_from(set->names[i]));
        if (err)
            return err;
    }
    return TR_OK;
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
