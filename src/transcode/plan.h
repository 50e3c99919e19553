/* A plan: what one binding (method and rule) means for its requests and answers, compiled at load.
 */
#ifndef TR_TRANSCODE_PLAN_H
#define TR_TRANSCODE_PLAN_H

#include "proto/types.h"
#include "route/template.h"
#include "transcode/bind.h"

enum tr_body_kind { TR_BODY_NONE, TR_BODY_STAR, TR_BODY_FIELD };

struct tr_plan {
    const struct tr_rpc *rpc;
    uint8_t body;                      /* enum tr_body_kind */
    const struct tr_field *body_field; /* FIELD */
    const struct tr_field *resp_field; /* response_body; NULL: the whole message */
    bool body_is_http_body;            /* what the body maps to is a google.api.HttpBody */
    bool resp_is_http_body;
    const struct tr_msgtype *body_http_body, *resp_http_body; /* that type */
    const struct tr_field
        *mask_field; /* PATCH with a body field: the update_mask to derive; else NULL */
    const struct tr_bind_field *const *path_binds; /* one for each variable of the template */
};

/* In the arena. TR_ERR_CONFIG with the reason: no such field, a variable that cannot be bound, body
 * bound by the path ... */
enum tr_err tr_plan_compile(const struct tr_rpc *rpc, struct tr_span verb,
                            const struct tr_template *tmpl, const struct tr_http_rule *rule,
                            struct tr_arena *arena, struct tr_plan *ret_plan,
                            struct tr_status *st) TR_MUST_USE;

#endif
