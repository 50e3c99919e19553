/* Services to routes: rules from annotations and configuration, plans, the router, the native
 * table. */
#include "base/alloc.h"
#include "config/build.h"

#include <stdio.h>

struct routes {
    struct tr_build *b;
    struct tr_rule_overrides overrides;
    struct tr_span where; /* of the service in the file */
    const struct tr_cfg_service *cfg;
    const struct tr_upstream *upstream;
};

static void problem_status(struct routes *r, struct tr_span what, const struct tr_status *st)
{
    struct tr_span text = tr_status_text(st);
    tr_problem(&r->b->snap->problems, TR_PROBLEM_ERROR, r->where, "%.*s: %.*s", (int)what.len,
               what.ptr, (int)text.len, text.ptr);
}

/* The last rule whose selector names the method, or NULL. */
static const struct tr_rule_override *override_for(struct routes *r, struct tr_span method)
{
    const struct tr_rule_override *found = NULL;
    for (uint32_t i = 0; i < r->overrides.count; i++) {
        struct tr_rule_override *o = &r->overrides.items[i];
        bool hit = tr_span_ends(o->selector, TR_SPAN(".*"))
                       ? tr_span_starts(method, tr_span_sub(o->selector, 0, o->selector.len - 1))
                       : tr_span_eq(o->selector, method);
        if (hit && o->selector.len) {
            o->used = true;
            found = o;
        }
    }
    return found;
}

static struct tr_route *route_new(struct tr_snapshot *snap)
{
    if (snap->route_count == snap->route_cap) {
        uint32_t cap = snap->route_cap ? snap->route_cap * 2 : 64;
        struct tr_route **more = tr_arena_alloc(&snap->arena, cap * sizeof *more);
        if (!more)
            return NULL;
        if (snap->route_count)
            memcpy(more, snap->routes, snap->route_count * sizeof *more);
        snap->routes = more;
        snap->route_cap = cap;
    }
    struct tr_route *route = TR_ARENA_NEW(&snap->arena, struct tr_route);
    if (!route)
        return NULL;
    route->index = snap->route_count;
    snap->routes[snap->route_count++] = route;
    return route;
}

static struct tr_span concat(struct tr_arena *arena, struct tr_span a, struct tr_span b)
{
    char *p = tr_arena_alloc(arena, a.len + b.len + 1);
    if (!p)
        return b;
    if (a.len)
        memcpy(p, a.ptr, a.len);
    if (b.len)
        memcpy(p + a.len, b.ptr, b.len);
    p[a.len + b.len] = '\0';
    return tr_span(p, a.len + b.len);
}

static void conflict(struct routes *r, const struct tr_route *mine, const struct tr_route *other)
{
    bool first =
        r->b->snap->config.on_route_conflict == TR_CONFLICT_FIRST || mine->rpc == other->rpc;
    tr_problem(&r->b->snap->problems, first ? TR_PROBLEM_WARNING : TR_PROBLEM_ERROR, r->where,
               "%.*s %.*s of %.*s is already taken by %.*s %.*s of %.*s%s", (int)mine->verb.len,
               mine->verb.ptr, (int)mine->template_text.len, mine->template_text.ptr,
               (int)mine->rpc->full_name.len, mine->rpc->full_name.ptr, (int)other->verb.len,
               other->verb.ptr, (int)other->template_text.len, other->template_text.ptr,
               (int)other->rpc->full_name.len, other->rpc->full_name.ptr,
               first ? "; the first one serves it" : "");
}

/* RFC 9110 §9.2.2; the other verbs of that list have no rule. */
static bool is_idempotent_verb(struct tr_span verb)
{
    return tr_span_eq(verb, TR_SPAN("GET")) || tr_span_eq(verb, TR_SPAN("PUT")) ||
           tr_span_eq(verb, TR_SPAN("DELETE"));
}

static bool is_idempotent_rule(const struct tr_http_rule *rule)
{
    bool all = is_idempotent_verb(rule->verb);
    for (uint32_t i = 0; all && i < rule->additional_count; i++)
        all = is_idempotent_verb(rule->additional[i].verb);
    return all;
}

static void add_binding(struct routes *r, const struct tr_rpc *rpc, const struct tr_policy *policy,
                        const struct tr_http_rule *rule)
{
    struct tr_snapshot *snap = r->b->snap;
    struct tr_status st;
    struct tr_template *tmpl = TR_ARENA_NEW(&snap->arena, struct tr_template);
    struct tr_plan *plan = TR_ARENA_NEW(&snap->arena, struct tr_plan);
    if (!tmpl || !plan || !rule->verb.ptr) /* a rule without a pattern has been told of */
        return;
    tr_status_clear(&st);
    struct tr_span text = rule->template_text;
    if (r->cfg->path_prefix.len) /* "/" under "/books" is "/books": no template ends with a slash */
        text = concat(&snap->arena, r->cfg->path_prefix,
                      tr_span_eq(text, TR_SPAN("/")) ? TR_SPAN("") : text);
    if (!tr_http_is_token(rule->verb)) {
        tr_problem(&snap->problems, TR_PROBLEM_ERROR, r->where,
                   "%.*s: \"%.*s\" is not an HTTP method", (int)rpc->full_name.len,
                   rpc->full_name.ptr, (int)rule->verb.len, rule->verb.ptr);
        return;
    }
    if (tr_template_parse(text, &snap->arena, tmpl, &st) ||
        tr_plan_compile(rpc, rule->verb, tmpl, rule, &snap->arena, plan, &st)) {
        struct tr_span why = tr_status_text(&st);
        tr_problem(&snap->problems, TR_PROBLEM_ERROR, r->where, "%.*s: %.*s %.*s: %.*s",
                   (int)rpc->full_name.len, rpc->full_name.ptr, (int)rule->verb.len, rule->verb.ptr,
                   (int)text.len, text.ptr, (int)why.len, why.ptr);
        return;
    }
    struct tr_route *route = route_new(snap);
    if (!route)
        return;
    route->rpc = rpc;
    route->policy = policy;
    route->upstream = r->upstream;
    route->verb = rule->verb;
    route->template_text = text;
    route->label = text;
    route->tmpl = tmpl;
    route->plan = plan;
    route->idempotent =
        rpc->idempotency != TR_IDEMPOTENCY_UNKNOWN || is_idempotent_verb(rule->verb);
    void *other = NULL;
    if (tr_router_add(snap->router, rule->verb, tmpl, route, &other))
        return;
    if (other) {
        conflict(r, route, other);
        snap->route_count--;
    }
}

static void add_native(struct routes *r, const struct tr_rpc *rpc, const struct tr_policy *policy,
                       const struct tr_http_rule *rule)
{
    struct tr_route *route = route_new(r->b->snap);
    if (!route)
        return;
    route->rpc = rpc;
    route->policy = policy;
    route->upstream = r->upstream;
    route->verb = TR_SPAN("POST");
    route->template_text = route->label = rpc->path;
    route->native = true;
    route->idempotent = rpc->idempotency != TR_IDEMPOTENCY_UNKNOWN || is_idempotent_rule(rule);
}

static void add_rpc(struct routes *r, const struct tr_rpc *rpc)
{
    struct tr_snapshot *snap = r->b->snap;
    const struct tr_rule_override *own_rule = override_for(r, rpc->full_name);
    const struct tr_http_rule *rule = own_rule ? &own_rule->rule : rpc->rule;
    if (!rule && r->cfg->expose != TR_EXPOSE_ALL)
        return;
    const struct tr_policy *policy = tr_policy_resolve(snap->policies, rpc->full_name);
    if (!policy)
        return;
    if (!rule) {
        struct tr_http_rule *own = TR_ARENA_NEW(&snap->arena, struct tr_http_rule);
        if (!own)
            return;
        own->verb = TR_SPAN("POST");
        own->template_text = rpc->path;
        own->body = TR_SPAN("*");
        rule = own;
    }
    struct tr_span service = r->where;
    if (own_rule) /* what is wrong with it stands there */
        r->where = own_rule->where;
    add_binding(r, rpc, policy, rule);
    for (uint32_t i = 0; i < rule->additional_count; i++)
        add_binding(r, rpc, policy, &rule->additional[i]);
    r->where = service;
    if (rule->nested_additional)
        tr_problem(&snap->problems, TR_PROBLEM_ERROR, r->where,
                   "%.*s: additional_bindings inside additional_bindings", (int)rpc->full_name.len,
                   rpc->full_name.ptr);
    add_native(r, rpc, policy, rule);
}

static const struct tr_upstream *find_upstream(const struct tr_snapshot *snap, struct tr_span name)
{
    for (uint32_t i = 0; i < snap->upstream_count; i++)
        if (snap->upstreams[i].conf && tr_span_eq(snap->upstreams[i].conf->name, name))
            return &snap->upstreams[i];
    return NULL;
}

/* One problem of the prefix, and not one of each route. */
static bool prefix_is_good(struct routes *r)
{
    struct tr_span prefix = r->cfg->path_prefix;
    struct tr_template tmpl;
    struct tr_status st;
    tr_status_clear(&st);
    if (prefix.len == 0)
        return true;
    bool good = prefix.len > 1 &&
                tr_template_parse(prefix, &r->b->snap->arena, &tmpl, &st) == TR_OK &&
                tmpl.verb.len == 0;
    for (uint32_t i = 0; good && i < tmpl.segment_count; i++)
        good = tmpl.segments[i].kind == TR_SEGMENT_LITERAL;
    if (!good)
        tr_problem(&r->b->snap->problems, TR_PROBLEM_ERROR, r->where,
                   "path_prefix must be a path of plain segments: it begins with '/' and does not "
                   "end with it");
    return good;
}

static struct tr_span last_part(struct tr_span name)
{
    size_t dot = tr_span_rfind(name, '.');
    return dot == name.len ? name : tr_span_from(name, dot + 1);
}

/* A few of the services that there are, those with the last part of the name first. */
static void unknown_service(struct routes *r, struct tr_span name)
{
    const struct tr_typepool *pool = r->b->snap->pool;
    uint32_t count = tr_typepool_service_count(pool), shown = 0;
    char text[512];
    size_t len = 0;
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < count && shown < 3; i++) {
            struct tr_span s = tr_typepool_service_name(pool, i);
            bool like = tr_span_eq(last_part(s), last_part(name));
            if (like != (round == 0) || len + s.len + 8 > sizeof text)
                continue;
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s", shown ? ", " : "",
                                    (int)s.len, s.ptr);
            shown++;
        }
    }
    tr_problem(&r->b->snap->problems, TR_PROBLEM_ERROR, r->where,
               "no descriptor set has the service %.*s%s%.*s%s", (int)name.len, name.ptr,
               shown ? (count == 1 ? "; there is " : "; there are ") : "", (int)len, text,
               shown < count ? " and others" : "");
}

static void add_service(struct routes *r)
{
    struct tr_snapshot *snap = r->b->snap;
    struct tr_span name = r->cfg->name;
    if (!name.ptr)
        return;
    const struct tr_service *service = tr_typepool_service(snap->pool, name);
    if (!service)
        unknown_service(r, name);
    r->upstream = find_upstream(snap, r->cfg->upstream);
    if (!r->upstream && r->cfg->upstream.ptr)
        tr_problem(&snap->problems, TR_PROBLEM_ERROR, r->where, "no upstream is named %.*s",
                   (int)r->cfg->upstream.len, r->cfg->upstream.ptr);
    if (!prefix_is_good(r))
        return;
    uint32_t before = snap->route_count, errors = snap->problems.errors;
    for (uint32_t i = 0; service && i < service->rpc_count; i++)
        add_rpc(r, &service->rpcs[i]);
    if (service && snap->route_count == before && snap->problems.errors == errors)
        tr_problem(&snap->problems, TR_PROBLEM_WARNING, r->where,
                   "no method of %.*s is reachable: none has a google.api.http rule, and expose is "
                   "not all",
                   (int)name.len, name.ptr);
}

static void build_native_table(struct tr_snapshot *snap)
{
    uint32_t natives = 0, size = 16;
    for (uint32_t i = 0; i < snap->route_count; i++)
        natives += snap->routes[i]->native;
    while (size < natives * 2)
        size *= 2;
    snap->native = tr_arena_calloc(&snap->arena, size, sizeof *snap->native);
    if (!snap->native)
        return;
    snap->native_mask = size - 1;
    for (uint32_t i = 0; i < snap->route_count; i++) {
        const struct tr_route *route = snap->routes[i];
        if (!route->native)
            continue;
        uint32_t at = (uint32_t)tr_span_hash(route->rpc->path, 0) & snap->native_mask;
        while (snap->native[at])
            at = (at + 1) & snap->native_mask;
        snap->native[at] = route;
    }
}

struct tr_query_opts tr_route_query_opts(const struct tr_route *route)
{
    return (struct tr_query_opts){
        .ignore_unknown = route->policy->unknown_query == TR_UNKNOWN_IGNORE,
        .ignored = route->policy->ignored_query_parameters.items,
        .ignored_count = route->policy->ignored_query_parameters.count,
        .path_binds = route->plan->path_binds,
        .path_bind_count = route->tmpl->var_count,
        .body_star = route->plan->body == TR_BODY_STAR,
        .body_field = route->plan->body_field,
        .mask_field = route->plan->mask_field,
    };
}

const struct tr_route *tr_snapshot_native(const struct tr_snapshot *snap, struct tr_span path)
{
    if (!snap->native)
        return NULL;
    uint32_t at = (uint32_t)tr_span_hash(path, 0) & snap->native_mask;
    while (snap->native[at]) {
        if (tr_span_eq(snap->native[at]->rpc->path, path))
            return snap->native[at];
        at = (at + 1) & snap->native_mask;
    }
    return NULL;
}

static void on_shadowed(void *ctx, void *target, void *by)
{
    struct tr_build *b = ctx;
    const struct tr_route *a = target, *o = by;
    tr_problem(&b->snap->problems, TR_PROBLEM_WARNING, TR_SPAN("/services"),
               "%.*s %.*s of %.*s can never match: %.*s %.*s of %.*s always does", (int)a->verb.len,
               a->verb.ptr, (int)a->template_text.len, a->template_text.ptr,
               (int)a->rpc->full_name.len, a->rpc->full_name.ptr, (int)o->verb.len, o->verb.ptr,
               (int)o->template_text.len, o->template_text.ptr, (int)o->rpc->full_name.len,
               o->rpc->full_name.ptr);
}

/* A field that no method of the upstream has would leave ring_hash without any key, silently. */
static void check_hash_field(struct tr_build *b, const struct tr_upstream *up)
{
    const struct tr_snapshot *snap = b->snap;
    const struct tr_field *fields[TR_FIELD_PATH_MAX];
    const struct tr_upstream_conf *conf = up->conf;
    bool served = false, found = false;
    if (!conf || conf->hash_on != TR_HASH_ON_FIELD)
        return;
    for (uint32_t i = 0; i < snap->route_count && !found; i++) {
        const struct tr_route *route = snap->routes[i];
        if (route->upstream != up)
            continue;
        served = true;
        found = !route->rpc->client_streaming &&
                tr_msgtype_path(route->rpc->input, conf->hash_name, fields) > 0;
    }
    if (served && !found)
        tr_problem(
            &b->snap->problems, TR_PROBLEM_ERROR,
            tr_build_where(b, "/upstreams/%.*s/hash_on", (int)conf->name.len, conf->name.ptr),
            "no method of this upstream, client streams apart, has the field %.*s in its "
            "request; it must be singular and no message",
            (int)conf->hash_name.len, conf->hash_name.ptr);
}

void tr_build_routes(struct tr_build *b)
{
    struct tr_snapshot *snap = b->snap;
    struct routes r = {.b = b};
    const struct tr_cfg_service *services = snap->config.services.items;
    if (!snap->pool || tr_router_new(&snap->router))
        return;
    tr_build_http_rules(b, &r.overrides);
    for (uint32_t i = 0; i < snap->config.services.count; i++) {
        r.cfg = &services[i];
        r.where = tr_build_where(b, "/services/%u", i);
        uint32_t k = 0;
        while (k < i && !(services[i].name.ptr && tr_span_eq(services[k].name, services[i].name)))
            k++;
        if (k < i)
            tr_problem(&snap->problems, TR_PROBLEM_ERROR, r.where, "%.*s is listed twice",
                       (int)services[i].name.len, services[i].name.ptr);
        else
            add_service(&r);
    }
    for (uint32_t i = 0; i < r.overrides.count; i++)
        if (!r.overrides.items[i].used && r.overrides.items[i].selector.len)
            tr_problem(&snap->problems, TR_PROBLEM_WARNING, r.overrides.items[i].where,
                       "this selector names no method that is served");
    tr_policy_report_unused(snap->policies, services, snap->config.services.count);
    struct tr_status st;
    tr_status_clear(&st);
    struct tr_typepool_stats stats = tr_typepool_stats(snap->pool);
    /* a pool that could not be linked has been told of already */
    if (tr_typepool_freeze(snap->pool, stats.messages <= 20000, &st) && snap->problems.errors == 0)
        problem_status(&r, TR_SPAN("descriptors"), &st);
    for (uint32_t i = 0; i < snap->upstream_count && snap->problems.errors == 0; i++)
        check_hash_field(b, &snap->upstreams[i]);
    if (tr_router_freeze(snap->router) == TR_OK && snap->problems.errors == 0)
        tr_router_shadowed(snap->router, on_shadowed, b);
    build_native_table(snap);
}
