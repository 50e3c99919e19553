/* "http_rules": google.api.HttpRule objects as JSON (both spellings of names, as ProtoJSON reads
 * them). */
#include "config/build.h"

#include <jansson.h>

static struct tr_span text_of(struct tr_build *b, const json_t *v)
{
    return tr_arena_copy(&b->snap->arena, tr_span(json_string_value(v), json_string_length(v)));
}

static bool upper_verb(struct tr_build *b, const char *name, struct tr_span *ret)
{
    static const char *const names[] = {"get", "put", "post", "delete", "patch"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) != 0)
            continue;
        struct tr_span s = tr_arena_copy(&b->snap->arena, tr_span_cstr(name));
        char *p = s.len ? tr_arena_alloc(&b->snap->arena, s.len) : NULL;
        for (size_t k = 0; p && k < s.len; k++)
            p[k] = (char)(s.ptr[k] - 32);
        *ret = tr_span(p, p ? s.len : 0);
        return true;
    }
    return false;
}

static void set_pattern(struct tr_build *b, struct tr_http_rule *rule, struct tr_span verb,
                        const json_t *path, struct tr_span where)
{
    if (rule->verb.ptr)
        tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, where, "two patterns in one rule");
    if (!json_is_string(path)) {
        tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, where, "expected a path template");
        return;
    }
    rule->verb = verb;
    rule->template_text = text_of(b, path);
}

static void custom(struct tr_build *b, const json_t *v, struct tr_http_rule *rule,
                   struct tr_span where)
{
    const json_t *kind = json_object_get(v, "kind"), *path = json_object_get(v, "path");
    if (!json_is_string(kind)) {
        tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, where,
                   "custom needs \"kind\" and \"path\"");
        return;
    }
    set_pattern(b, rule, text_of(b, kind), path, where);
}

/* One rule without its additional bindings. */
static void rule_keys(struct tr_build *b, const json_t *obj, struct tr_http_rule *rule,
                      struct tr_span where, bool nested)
{
    const char *name;
    json_t *v;
    if (!json_is_object(obj)) {
        tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, where, "expected an object");
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)obj, name, v)
    {
        struct tr_span verb;
        if (upper_verb(b, name, &verb))
            set_pattern(b, rule, verb, v, where);
        else if (strcmp(name, "custom") == 0)
            custom(b, v, rule, where);
        else if (strcmp(name, "body") == 0 && json_is_string(v))
            rule->body = text_of(b, v);
        else if ((strcmp(name, "response_body") == 0 || strcmp(name, "responseBody") == 0) &&
                 json_is_string(v))
            rule->response_body = text_of(b, v);
        else if (!nested && ((strcmp(name, "selector") == 0 && json_is_string(v)) ||
                             strcmp(name, "additional_bindings") == 0 ||
                             strcmp(name, "additionalBindings") == 0))
            continue;
        else
            tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, where,
                       "unknown or misplaced key \"%s\"", name);
    }
    const char *selector = json_string_value(json_object_get(obj, "selector"));
    if (!rule->verb.ptr)
        tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, where,
                   "%s%sa rule needs one of get, put, post, delete, patch, custom",
                   selector ? selector : "", selector ? ": " : "");
}

static void one_rule(struct tr_build *b, const json_t *obj, struct tr_rule_override *o)
{
    const json_t *selector = json_object_get(obj, "selector");
    const json_t *more = json_object_get(obj, "additional_bindings");
    if (!more)
        more = json_object_get(obj, "additionalBindings");
    rule_keys(b, obj, &o->rule, o->where, false);
    if (!json_is_string(selector) || json_string_length(selector) == 0)
        tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, o->where, "a rule needs a selector");
    else
        o->selector = text_of(b, selector);
    if (!more)
        return;
    size_t n = json_array_size(more);
    struct tr_http_rule *extra = tr_arena_calloc(&b->snap->arena, n + 1, sizeof *extra);
    if (!json_is_array(more) || !extra) {
        tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, o->where,
                   "additional_bindings must be an array");
        return;
    }
    for (size_t i = 0; i < n; i++)
        rule_keys(
            b, json_array_get(more, i), &extra[i],
            tr_build_where(b, "%.*s/additional_bindings/%zu", (int)o->where.len, o->where.ptr, i),
            true);
    o->rule.additional = extra;
    o->rule.additional_count = (uint32_t)n;
}

void tr_build_http_rules(struct tr_build *b, struct tr_rule_overrides *ret_overrides)
{
    const json_t *rules = b->snap->config.http_rules;
    *ret_overrides = (struct tr_rule_overrides){NULL, 0};
    if (!rules)
        return;
    if (!json_is_array(rules)) {
        tr_problem(&b->snap->problems, TR_PROBLEM_ERROR, TR_SPAN("/http_rules"),
                   "expected an array");
        return;
    }
    size_t n = json_array_size(rules);
    struct tr_rule_override *items = tr_arena_calloc(&b->snap->arena, n + 1, sizeof *items);
    if (!items)
        return;
    for (size_t i = 0; i < n; i++) {
        items[i].where = tr_build_where(b, "/http_rules/%zu", i);
        one_rule(b, json_array_get(rules, i), &items[i]);
    }
    *ret_overrides = (struct tr_rule_overrides){items, (uint32_t)n};
}
