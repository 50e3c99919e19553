#include "transcode/plan.h"

static const struct tr_field *top_field(const struct tr_msgtype *type, struct tr_span name)
{
    const struct tr_field *f = tr_msgtype_field_by_name(type, name);
    return f && !(f->flags & TR_FF_EXTENSION) ? f : NULL;
}

static bool is_http_body(const struct tr_msgtype *type)
{
    return type && type->wkt == TR_WKT_HTTP_BODY;
}

/* The message type of a singular message field, else NULL. */
static const struct tr_msgtype *field_message(const struct tr_field *f)
{
    if (f->flags & TR_FF_REPEATED || (f->type != TR_FT_MESSAGE && f->type != TR_FT_GROUP))
        return NULL;
    return f->sub.msg;
}

static enum tr_err compile_body(const struct tr_http_rule *rule, struct tr_span verb,
                                struct tr_plan *plan, struct tr_status *st)
{
    const struct tr_msgtype *in = plan->rpc->input;
    if (rule->body.len == 0) {
        plan->body = TR_BODY_NONE;
        return TR_OK;
    }
    if (tr_span_eq(rule->body, TR_SPAN("*"))) {
        plan->body = TR_BODY_STAR;
        plan->body_is_http_body = is_http_body(in);
        plan->body_http_body = in;
        return TR_OK;
    }
    plan->body = TR_BODY_FIELD;
    plan->body_field = top_field(in, rule->body);
    if (!plan->body_field)
        return tr_fail(st, TR_ERR_CONFIG, "body \"%.*s\" is not a field of %.*s",
                       (int)rule->body.len, rule->body.ptr, (int)in->full_name.len,
                       in->full_name.ptr);
    const struct tr_msgtype *msg = field_message(plan->body_field);
    plan->body_is_http_body = is_http_body(msg);
    plan->body_http_body = msg;
    if (tr_span_eq(verb, TR_SPAN("PATCH")) && msg) {
        const struct tr_field *mask = NULL;
        unsigned masks = 0;
        for (uint32_t i = 0; i < in->field_count; i++) {
            const struct tr_msgtype *m = field_message(&in->fields[i]);
            if (m && m->wkt == TR_WKT_FIELD_MASK && &in->fields[i] != plan->body_field) {
                masks++;
                if (tr_span_eq(in->fields[i].names->proto, TR_SPAN("update_mask")) || !mask)
                    mask = &in->fields[i];
            }
        }
        if (masks == 1 || (mask && tr_span_eq(mask->names->proto, TR_SPAN("update_mask"))))
            plan->mask_field = mask;
    }
    return TR_OK;
}

static enum tr_err compile_response(const struct tr_http_rule *rule, struct tr_plan *plan,
                                    struct tr_status *st)
{
    const struct tr_msgtype *out = plan->rpc->output;
    plan->resp_http_body = out;
    if (rule->response_body.len) {
        plan->resp_field = top_field(out, rule->response_body);
        if (!plan->resp_field)
            return tr_fail(st, TR_ERR_CONFIG, "response_body \"%.*s\" is not a field of %.*s",
                           (int)rule->response_body.len, rule->response_body.ptr,
                           (int)out->full_name.len, out->full_name.ptr);
        plan->resp_http_body = field_message(plan->resp_field);
    }
    plan->resp_is_http_body = is_http_body(plan->resp_http_body);
    return TR_OK;
}

static enum tr_err compile_path(const struct tr_template *tmpl, struct tr_arena *arena,
                                struct tr_plan *plan, struct tr_status *st)
{
    const struct tr_bind_field **binds =
        tr_arena_calloc(arena, (size_t)tmpl->var_count + 1, sizeof *binds);
    if (!binds)
        return TR_ERR_NOMEM;
    for (uint32_t i = 0; i < tmpl->var_count; i++) {
        enum tr_err err =
            tr_bind_path_compile(plan->rpc->input, tmpl->vars[i].field_path, arena, &binds[i], st);
        if (err)
            return err;
        if (plan->body == TR_BODY_FIELD && binds[i]->depth == 1 &&
            binds[i]->leaf == plan->body_field)
            return tr_fail(st, TR_ERR_CONFIG, "the path binds the body's field \"%.*s\"",
                           (int)tmpl->vars[i].field_path.len, tmpl->vars[i].field_path.ptr);
        for (uint32_t k = 0; k < i; k++)
            if (tr_span_eq(binds[k]->path, binds[i]->path))
                return tr_fail(st, TR_ERR_CONFIG, "the path binds \"%.*s\" twice",
                               (int)binds[i]->path.len, binds[i]->path.ptr);
    }
    plan->path_binds = binds;
    return TR_OK;
}

enum tr_err tr_plan_compile(const struct tr_rpc *rpc, struct tr_span verb,
                            const struct tr_template *tmpl, const struct tr_http_rule *rule,
                            struct tr_arena *arena, struct tr_plan *ret_plan, struct tr_status *st)
{
    struct tr_plan plan = {.rpc = rpc};
    enum tr_err err = compile_body(rule, verb, &plan, st);
    if (!err)
        err = compile_response(rule, &plan, st);
    if (!err)
        err = compile_path(tmpl, arena, &plan, st);
    if (!err)
        *ret_plan = plan;
    return err;
}
