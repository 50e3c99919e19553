#include "proto/annot.h"

#include "google/api/http.pb-c.h"
#include "proto/pbc_alloc.h"
#include "proto/wire.h"

/* A rule, its additional rules and one more level, so that the mistake can be told. protobuf-c
 * recurses, hence the limit. */
#define RULE_DEPTH_MAX 8

static bool span_copy(struct tr_arena *arena, const char *s, struct tr_span *ret)
{
    *ret = tr_arena_copy(arena, tr_span_cstr(s));
    return ret->ptr != NULL;
}

static bool rule_copy(struct tr_arena *arena, const Google__Api__HttpRule *pb,
                      struct tr_http_rule *ret)
{
    const char *verb = "", *text = "";
    switch ((int)pb->pattern_case) { /* protoc-c adds a value of its own to the enum */
    case GOOGLE__API__HTTP_RULE__PATTERN_GET:
        verb = "GET";
        text = pb->get;
        break;
    case GOOGLE__API__HTTP_RULE__PATTERN_PUT:
        verb = "PUT";
        text = pb->put;
        break;
    case GOOGLE__API__HTTP_RULE__PATTERN_POST:
        verb = "POST";
        text = pb->post;
        break;
    case GOOGLE__API__HTTP_RULE__PATTERN_DELETE:
        verb = "DELETE";
        text = pb->delete_;
        break;
    case GOOGLE__API__HTTP_RULE__PATTERN_PATCH:
        verb = "PATCH";
        text = pb->patch;
        break;
    case GOOGLE__API__HTTP_RULE__PATTERN_CUSTOM:
        verb = pb->custom->kind;
        text = pb->custom->path;
        break;
    default:
        break;
    }
    return span_copy(arena, verb, &ret->verb) && span_copy(arena, text, &ret->template_text) &&
           span_copy(arena, pb->body, &ret->body) &&
           span_copy(arena, pb->response_body, &ret->response_body);
}

static const struct tr_http_rule *rule_build(struct tr_arena *arena,
                                             const Google__Api__HttpRule *pb)
{
    struct tr_http_rule *rule = TR_ARENA_NEW(arena, struct tr_http_rule);
    if (!rule || !rule_copy(arena, pb, rule))
        return NULL;
    if (!pb->n_additional_bindings)
        return rule;
    struct tr_http_rule *more = tr_arena_calloc(arena, pb->n_additional_bindings, sizeof *more);
    if (!more)
        return NULL;
    for (size_t i = 0; i < pb->n_additional_bindings; i++) {
        if (!rule_copy(arena, pb->additional_bindings[i], &more[i]))
            return NULL;
        if (pb->additional_bindings[i]->n_additional_bindings)
            rule->nested_additional = more[i].nested_additional = true;
    }
    rule->additional = more;
    rule->additional_count = (uint32_t)pb->n_additional_bindings;
    return rule;
}

enum tr_err tr_annot_http_rule(struct tr_arena *arena, struct tr_span wire,
                               const struct tr_http_rule **ret_rule, struct tr_status *st)
{
    static const struct tr_pbc_nest nest = {{11}, 1, 11}; /* additional_bindings */
    if (!tr_pbc_depth_ok(wire, &nest, RULE_DEPTH_MAX))
        return tr_fail(st, TR_ERR_DESCRIPTOR, "google.api.http is malformed or nested too deep");
    struct tr_pbc_alloc scratch;
    tr_pbc_alloc_init(&scratch, NULL);
    Google__Api__HttpRule *pb =
        google__api__http_rule__unpack(&scratch.base, wire.len, (const uint8_t *)wire.ptr);
    enum tr_err err = TR_OK;
    if (!pb) {
        err = scratch.failed ? tr_fail(st, TR_ERR_NOMEM, "out of memory")
                             : tr_fail(st, TR_ERR_DESCRIPTOR, "google.api.http is malformed");
    } else {
        const struct tr_http_rule *rule = rule_build(arena, pb);
        if (rule)
            *ret_rule = rule;
        else
            err = tr_fail(st, TR_ERR_NOMEM, "out of memory");
    }
    tr_pbc_alloc_fini(&scratch);
    return err;
}
