#include "config/policy.h"

#include "base/base64.h"
#include "config/config.h"
#include "http/msg.h"
#include "upstream/retry.h"

#include <jansson.h>

/* The merge keeps, beside the merged DOM, a DOM of the same shape whose leaves are the names of the
 * policies that set them: `explain` prints both, and a problem of the merged policy can name its
 * source. */
struct effective {
    struct effective *next;
    uint32_t *rules; /* indexes into set->rules, general to specific */
    uint32_t rule_count;
    json_t *merged;
    struct tr_policy policy;
};

struct rule {
    struct tr_span key;
    const json_t *value;
    uint32_t rank; /* 0: "*"; prefixes by length; exact names last */
    bool exact;
    bool used;
};

struct tr_policy_set {
    struct tr_keys_ctx ctx;
    struct rule *rules; /* sorted general to specific */
    uint32_t rule_count;
    struct effective *effective;
    uint32_t *scratch;
    struct tr_strings credentials; /* names of query parameters */
};

static bool is_name(struct tr_span s)
{
    bool start = true;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '.') {
            if (start)
                return false;
            start = true;
        } else if (tr_is_alpha(c) || c == '_' || (!start && tr_is_digit(c))) {
            start = false;
        } else {
            return false;
        }
    }
    return !start;
}

/* "/policies/KEY" and, where it is not "", "/MEMBER". */
static struct tr_span member_pointer(struct tr_policy_set *set, struct tr_span key,
                                     const char *member)
{
    static const struct tr_span base = TR_SPAN_INIT("/policies/");
    size_t more = strlen(member), len = base.len;
    char *p = tr_arena_alloc(set->ctx.arena, base.len + 2 * key.len + 1 + more);
    if (!p)
        return base;
    memcpy(p, base.ptr, base.len);
    for (size_t i = 0; i < key.len; i++) { /* RFC 6901, section 3 */
        bool escaped = key.ptr[i] == '/' || key.ptr[i] == '~';
        if (escaped)
            p[len++] = '~';
        p[len++] = !escaped ? key.ptr[i] : key.ptr[i] == '/' ? '1' : '0';
    }
    if (more) {
        p[len++] = '/';
        memcpy(p + len, member, more);
    }
    return tr_span(p, len + more);
}

static struct tr_span policy_pointer(struct tr_policy_set *set, struct tr_span key)
{
    return member_pointer(set, key, "");
}

/* What the gateway sets by itself: towards a backend also everything that describes a body. */
static bool is_own(struct tr_span name, bool request)
{
    return tr_http_is_hop_by_hop(tr_token_from(name)) ||
           tr_span_eq(name, TR_SPAN("content-length")) || tr_span_starts(name, TR_SPAN("grpc-")) ||
           (request ? tr_span_starts(name, TR_SPAN("content-")) || tr_span_eq(name, TR_SPAN("host"))
                    : tr_span_eq(name, TR_SPAN("date")));
}

/* gRPC metadata: %x20-7E, and base64 under a name in -bin. */
static bool is_metadata(struct tr_policy_set *set, struct tr_span name, struct tr_span value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.ptr[i] < 0x20 || (unsigned char)value.ptr[i] > 0x7E)
            return false;
    if (!tr_span_ends(name, TR_SPAN("-bin")))
        return true;
    size_t n;
    char *tmp = tr_arena_alloc(set->ctx.arena, tr_base64_decoded_max(value.len) + 1);
    return tmp && tr_base64_decode(tmp, value, &n) == TR_OK;
}

static void check_name(struct tr_policy_set *set, struct tr_span where, struct tr_span name,
                       bool request)
{
    bool ok = tr_http_is_token(name);
    for (size_t i = 0; ok && i < name.len; i++)
        ok = name.ptr[i] == tr_lower(name.ptr[i]);
    if (!ok)
        tr_problem(set->ctx.problems, TR_PROBLEM_ERROR, where,
                   "\"%.*s\" is not a header name in lower case", (int)name.len, name.ptr);
    else if (is_own(name, request))
        tr_problem(set->ctx.problems, TR_PROBLEM_ERROR, where, "\"%.*s\" is the gateway's own",
                   (int)name.len, name.ptr);
}

static void check_header_names(struct tr_policy_set *set, struct tr_span key,
                               const struct tr_policy *p)
{
    static const char *const places[] = {"request", "response"};
    const struct tr_pairs *sets[] = {&p->set_headers.request, &p->set_headers.response};
    const struct tr_strings *removes[] = {&p->remove_headers.request, &p->remove_headers.response};
    for (size_t i = 0; i < 2; i++) {
        char member[32];
        (void)snprintf(member, sizeof member, "set_headers/%s", places[i]);
        struct tr_span where = member_pointer(set, key, member);
        for (uint32_t k = 0; k < sets[i]->count; k++) {
            check_name(set, where, sets[i]->names[k], i == 0);
            if (!tr_http_is_field_value(sets[i]->values[k]) ||
                (i == 0 && !is_metadata(set, sets[i]->names[k], sets[i]->values[k])))
                tr_problem(set->ctx.problems, TR_PROBLEM_ERROR, where,
                           "the value of \"%.*s\" is not a header value",
                           (int)sets[i]->names[k].len, sets[i]->names[k].ptr);
        }
        (void)snprintf(member, sizeof member, "remove_headers/%s", places[i]);
        where = member_pointer(set, key, member);
        for (uint32_t k = 0; k < removes[i]->count; k++)
            if (removes[i]->items[k].ptr)
                check_name(set, where, removes[i]->items[k], i == 0);
    }
}

/* The codes of retry.on as bits; without any, UNAVAILABLE. */
static void compile_retry(struct tr_policy_set *set, struct tr_span key, struct tr_policy *p,
                          bool report)
{
    struct tr_policy_retry *retry = &p->retry;
    retry->on_codes = retry->on.count ? 0 : tr_retry_code_bit(TR_SPAN("UNAVAILABLE"));
    for (uint32_t i = 0; i < retry->on.count; i++) {
        struct tr_span name = retry->on.items[i];
        uint32_t bit = name.ptr ? tr_retry_code_bit(name) : 0;
        retry->on_codes |= bit;
        if (!bit && name.ptr && report)
            tr_problem(set->ctx.problems, TR_PROBLEM_ERROR, member_pointer(set, key, "retry/on"),
                       "\"%.*s\" is not a gRPC code that a failure has (such as UNAVAILABLE)",
                       (int)name.len, name.ptr);
    }
}

static void add_rule(struct tr_policy_set *set, struct tr_span key, const json_t *value)
{
    struct rule r = {.key = key, .value = value};
    if (tr_span_eq(key, TR_SPAN("*"))) {
        r.rank = 0;
    } else if (tr_span_ends(key, TR_SPAN(".*")) && is_name(tr_span_sub(key, 0, key.len - 2))) {
        r.rank = (uint32_t)key.len;
    } else if (is_name(key)) {
        r.rank = UINT32_MAX;
        r.exact = true;
    } else {
        tr_problem(set->ctx.problems, TR_PROBLEM_ERROR, policy_pointer(set, key),
                   "a policy's key is \"*\", \"pkg.*\", \"pkg.Service.*\" or a full method name");
        return;
    }
    /* Problems of each policy by itself, so that they carry its place in the file. */
    struct tr_policy *checked = TR_ARENA_NEW(set->ctx.arena, struct tr_policy);
    if (!checked)
        return;
    tr_keys_parse(&tr_policy_keys, value, policy_pointer(set, key), &set->ctx, checked);
    if (checked->success_status == 203)
        tr_problem(set->ctx.problems, TR_PROBLEM_ERROR, policy_pointer(set, key),
                   "success_status must be 200, 201, 202 or 204");
    check_header_names(set, key, checked);
    compile_retry(set, key, checked, true);
    uint32_t at = set->rule_count;
    while (at > 0 && set->rules[at - 1].rank > r.rank) {
        set->rules[at] = set->rules[at - 1];
        at--;
    }
    set->rules[at] = r;
    set->rule_count++;
}

struct tr_policy_set *tr_policy_set_new(const struct json_t *policies, struct tr_keys_ctx *ctx)
{
    struct tr_policy_set *set = TR_ARENA_NEW(ctx->arena, struct tr_policy_set);
    if (!set)
        return NULL;
    set->ctx = *ctx;
    if (policies && !json_is_object(policies)) {
        tr_problem(ctx->problems, TR_PROBLEM_ERROR, TR_SPAN("/policies"), "expected an object");
        policies = NULL;
    }
    size_t count = policies ? json_object_size(policies) : 0;
    set->rules = tr_arena_calloc(ctx->arena, count + 1, sizeof *set->rules);
    set->scratch = tr_arena_calloc(ctx->arena, count + 1, sizeof *set->scratch);
    if (!set->rules || !set->scratch)
        return NULL;
    if (policies) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)policies, key, value)
        {
            add_rule(set, tr_arena_copy(ctx->arena, tr_span_cstr(key)), value);
        }
    }
    return set;
}

static bool rule_matches(const struct rule *r, struct tr_span method)
{
    if (r->rank == 0)
        return true;
    if (r->exact)
        return tr_span_eq(r->key, method);
    struct tr_span prefix = tr_span_sub(r->key, 0, r->key.len - 1); /* with the dot */
    return tr_span_starts(method, prefix);
}

static uint32_t matching(struct tr_policy_set *set, struct tr_span method)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < set->rule_count; i++) {
        if (rule_matches(&set->rules[i], method)) {
            set->rules[i].used = true;
            set->scratch[n++] = i;
        }
    }
    return n;
}

static json_t *name_leaf(struct tr_span name)
{
    return json_stringn(name.ptr, name.len);
}

/* into (owned) := into merged with from: objects recursively, others replace, null removes. sources
 * follows the shape. */
/* NOLINTNEXTLINE(misc-no-recursion): as deep as the configuration file, which jansson bounds */
static void merge(json_t *into, json_t *sources, const json_t *from, struct tr_span name)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)from, key, v)
    {
        if (json_is_null(v)) {
            (void)json_object_del(into, key);
            (void)json_object_set_new(sources, key, name_leaf(name));
        } else if (json_is_object(v)) {
            json_t *sub = json_object_get(into, key), *sub_src = json_object_get(sources, key);
            if (!json_is_object(sub)) {
                (void)json_object_set_new(into, key, json_object());
                sub = json_object_get(into, key);
            }
            if (!json_is_object(sub_src)) {
                (void)json_object_set_new(sources, key, json_object());
                sub_src = json_object_get(sources, key);
            }
            if (sub && sub_src)
                merge(sub, sub_src, v, name);
        } else {
            (void)json_object_set_new(into, key, json_deep_copy(v));
            (void)json_object_set_new(sources, key, name_leaf(name));
        }
    }
}

static void merge_rules(struct tr_policy_set *set, const uint32_t *rules, uint32_t count,
                        json_t **ret_merged, json_t **ret_sources)
{
    json_t *merged = json_object(), *sources = json_object();
    for (uint32_t i = 0; i < count && merged && sources; i++) {
        const struct rule *r = &set->rules[rules[i]];
        if (json_is_object(r->value))
            merge(merged, sources, r->value, r->key);
    }
    *ret_merged = merged;
    *ret_sources = sources;
}

void tr_policy_set_credentials(struct tr_policy_set *set, struct tr_strings names)
{
    set->credentials = names;
}

static void ignore_credentials(struct tr_policy_set *set, struct tr_policy *p)
{
    uint32_t own = p->ignored_query_parameters.count, n = set->credentials.count;
    struct tr_span *items = n ? tr_arena_calloc(set->ctx.arena, own + n, sizeof *items) : NULL;
    if (!items)
        return;
    if (own)
        memcpy(items, p->ignored_query_parameters.items, own * sizeof *items);
    memcpy(items + own, set->credentials.items, n * sizeof *items);
    p->ignored_query_parameters = (struct tr_strings){items, own + n};
}

const struct tr_policy *tr_policy_resolve(struct tr_policy_set *set, struct tr_span method)
{
    uint32_t n = matching(set, method);
    for (struct effective *e = set->effective; e; e = e->next)
        if (e->rule_count == n && memcmp(e->rules, set->scratch, n * sizeof *e->rules) == 0)
            return &e->policy;
    struct effective *e = TR_ARENA_NEW(set->ctx.arena, struct effective);
    uint32_t *rules = tr_arena_calloc(set->ctx.arena, n + 1, sizeof *rules);
    if (!e || !rules)
        return NULL;
    if (n)
        memcpy(rules, set->scratch, n * sizeof *rules);
    e->rules = rules;
    e->rule_count = n;
    json_t *merged, *sources;
    merge_rules(set, rules, n, &merged, &sources);
    /* Each policy was checked by itself; the merge of valid ones is valid, so that problems here go
     * nowhere. */
    struct tr_problems quiet;
    tr_problems_init(&quiet, set->ctx.arena);
    struct tr_keys_ctx ctx = {set->ctx.arena, &quiet, set->ctx.folder};
    tr_keys_parse(&tr_policy_keys, merged, TR_SPAN("/policies"), &ctx, &e->policy);
    compile_retry(set, TR_SPAN(""), &e->policy, false);
    ignore_credentials(set, &e->policy);
    e->merged = merged; /* RAW members of the policy point into it */
    json_decref(sources);
    e->next = set->effective;
    set->effective = e;
    return &e->policy;
}

void tr_policy_set_fini(struct tr_policy_set *set)
{
    for (struct effective *e = set ? set->effective : NULL; e; e = e->next)
        json_decref(e->merged);
}

void tr_policy_each(struct tr_policy_set *set, void (*fn)(void *ctx, struct tr_policy *policy),
                    void *ctx)
{
    for (struct effective *e = set->effective; e; e = e->next)
        fn(ctx, &e->policy);
}

struct tr_span tr_policy_where(struct tr_policy_set *set, const struct tr_policy *policy,
                               const char *key)
{
    for (const struct effective *e = set->effective; e; e = e->next) {
        if (&e->policy != policy)
            continue;
        for (uint32_t i = e->rule_count; i-- > 0;) {
            const struct rule *r = &set->rules[e->rules[i]];
            if (!json_object_get(r->value, key))
                continue;
            struct tr_span base = policy_pointer(set, r->key), name = tr_span_cstr(key);
            char *p = tr_arena_alloc(set->ctx.arena, base.len + 1 + name.len);
            if (!p)
                return base;
            memcpy(p, base.ptr, base.len);
            p[base.len] = '/';
            memcpy(p + base.len + 1, name.ptr, name.len);
            return tr_span(p, base.len + 1 + name.len);
        }
    }
    return TR_SPAN("/policies");
}

/* What it should protect would be open to more than it says: no misspelling may do that. */
static bool protects(const json_t *policy)
{
    static const char *const keys[] = {"authentication", "authorization", "ip"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const json_t *v = json_object_get(policy, keys[i]);
        if (json_is_object(v))
            return true;
    }
    return false;
}

void tr_policy_report_unused(struct tr_policy_set *set, const struct tr_cfg_service *services,
                             uint32_t count)
{
    for (uint32_t i = 0; i < set->rule_count; i++) {
        const struct rule *r = &set->rules[i];
        enum tr_problem_level level = protects(r->value) ? TR_PROBLEM_ERROR : TR_PROBLEM_WARNING;
        bool service = false;
        if (r->used || r->rank == 0)
            continue;
        for (uint32_t k = 0; k < count && !service; k++)
            service = services[k].name.ptr && tr_span_eq(services[k].name, r->key);
        if (service)
            tr_problem(set->ctx.problems, level, policy_pointer(set, r->key),
                       "this policy matches no method: for all of the service write \"%.*s.*\"",
                       (int)r->key.len, r->key.ptr);
        else
            tr_problem(set->ctx.problems, level, policy_pointer(set, r->key),
                       "this policy matches no method that is served");
    }
}

struct tr_span tr_policy_source_names(struct tr_policy_set *set, struct tr_span method,
                                      struct tr_arena *arena)
{
    uint32_t n = matching(set, method);
    if (n == 0)
        return TR_SPAN("default");
    size_t len = 0;
    for (uint32_t i = 0; i < n; i++)
        len += set->rules[set->scratch[i]].key.len + 2;
    char *p = tr_arena_alloc(arena, len);
    if (!p)
        return TR_SPAN("default");
    size_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct tr_span key = set->rules[set->scratch[i]].key;
        if (i) {
            p[at++] = ',';
            p[at++] = ' ';
        }
        memcpy(p + at, key.ptr, key.len);
        at += key.len;
    }
    return tr_span(p, at);
}

struct walk {
    void (*fn)(void *ctx, struct tr_span key, struct tr_span value, struct tr_span source);
    void *ctx;
    struct tr_buf path;
};

static void show_leaf(struct walk *w, const json_t *v, const char *default_text, const json_t *src)
{
    struct tr_span source = json_is_string(src)
                                ? tr_span(json_string_value(src), json_string_length(src))
                                : TR_SPAN("default");
    char *text = v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (text)
        w->fn(w->ctx, tr_buf_span(&w->path), tr_span_cstr(text), source);
    else if (default_text && default_text[0])
        w->fn(w->ctx, tr_buf_span(&w->path), tr_span_cstr(default_text), source);
    free(text);
}

/* The members of a string map are leaves of their own: each may come from another policy. */
static void walk_members(struct walk *w, const json_t *map, const json_t *sources)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)map, name, v)
    {
        size_t mark = w->path.len;
        if (tr_buf_printf(&w->path, ".%s", name))
            return;
        show_leaf(w, v, NULL, json_object_get(sources, name));
        w->path.len = mark;
    }
}

/* NOLINTNEXTLINE(misc-no-recursion): the depth is that of the tables */
static void walk_keys(struct walk *w, const struct tr_keys *keys, const json_t *merged,
                      const json_t *sources)
{
    for (uint32_t i = 0; i < keys->count; i++) {
        const struct tr_key *key = &keys->keys[i];
        size_t mark = w->path.len;
        if (tr_buf_printf(&w->path, "%s%s", mark ? "." : "", key->name))
            return;
        const json_t *v = merged ? json_object_get(merged, key->name) : NULL;
        const json_t *src = sources ? json_object_get(sources, key->name) : NULL;
        if (key->type == TR_KEY_OBJECT || (key->type == TR_KEY_OBJECT_OR_NONE && json_is_object(v)))
            walk_keys(w, key->sub, json_is_object(v) ? v : NULL, json_is_object(src) ? src : NULL);
        else if (key->type == TR_KEY_STRING_MAP || key->type == TR_KEY_LISTS)
            walk_members(w, v, src);
        else
            show_leaf(w, v, key->default_text, src);
        w->path.len = mark;
    }
}

void tr_policy_sources(struct tr_policy_set *set, struct tr_span method,
                       void (*fn)(void *ctx, struct tr_span key, struct tr_span value,
                                  struct tr_span source),
                       void *ctx)
{
    uint32_t n = matching(set, method);
    json_t *merged, *sources;
    merge_rules(set, set->scratch, n, &merged, &sources);
    struct walk w = {.fn = fn, .ctx = ctx};
    tr_buf_init(&w.path);
    walk_keys(&w, &tr_policy_keys, merged, sources);
    tr_buf_fini(&w.path);
    json_decref(merged);
    json_decref(sources);
}
