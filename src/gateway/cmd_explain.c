/* `transom explain`: what the gateway would do with one request, without sending anything. */
#include <string.h>

#include "gateway/args.h"
#include "gateway/cmd.h"
#include "pipeline/deadline.h"
#include "pipeline/relay.h"
#include "transcode/json2pb.h"
#include "transcode/mask.h"
#include "transcode/pb2json.h"
#include "transcode/query.h"

struct explain {
    struct tr_snapshot *snap;
    struct tr_arena arena;
    struct tr_req_head head;
    const struct tr_route *route;
    struct tr_route_match match;
    struct tr_buf wire;
    struct tr_status st;
};

static void print_span(const char *label, struct tr_span s)
{
    (void)printf("%s%.*s", label, (int)s.len, s.ptr);
}

static int refused(struct explain *e, enum tr_err err)
{
    const struct tr_err_info *info = tr_err_info(err);
    e->st.err = err;
    struct tr_span text = tr_status_text(&e->st);
    (void)printf("refused: %u %s: %.*s\n", info->http_status, info->name, (int)text.len, text.ptr);
    if (e->st.field_len)
        (void)printf("  field: %.*s\n", (int)e->st.field_len, e->st.field);
    if (e->st.line)
        (void)printf("  at line %u, column %u of the body\n", e->st.line, e->st.column);
    return 1;
}

static void near_miss(void *ctx, void *target, struct tr_span reason)
{
    const struct tr_route *r = target;
    (void)ctx;
    (void)printf("  %.*s %.*s (%.*s): %.*s\n", (int)r->verb.len, r->verb.ptr, (int)r->template_text.len, r->template_text.ptr,
                 (int)r->rpc->full_name.len, r->rpc->full_name.ptr, (int)reason.len, reason.ptr);
}

static enum tr_err add_header(struct explain *e, const char *text)
{
    struct tr_span all = tr_span_cstr(text);
    size_t colon = tr_span_find(all, ':');
    if (colon == all.len || colon == 0)
        return TR_ERR_BAD_HEADER;
    struct tr_span name = tr_arena_copy(&e->arena, tr_span(all.ptr, colon));
    char *lower = tr_arena_alloc(&e->arena, name.len);
    if (!lower || !name.ptr)
        return TR_ERR_NOMEM;
    for (size_t i = 0; i < name.len; i++)
        lower[i] = tr_lower(name.ptr[i]);
    name = tr_span(lower, name.len);
    struct tr_span value = tr_arena_copy(&e->arena, tr_span_trim(tr_span_from(all, colon + 1)));
    if (!tr_http_is_token(name) || !tr_http_is_field_value(value))
        return TR_ERR_BAD_HEADER;
    return tr_headers_add(&e->head.headers, &e->arena, name, value, tr_token_from(name));
}

/* The path and query of an absolute URL, or the text itself. */
static struct tr_span target_of(struct tr_span url)
{
    for (size_t i = 0; i + 2 < url.len; i++) {
        if (url.ptr[i] == '/')
            break;
        if (url.ptr[i] == ':' && url.ptr[i + 1] == '/' && url.ptr[i + 2] == '/') {
            struct tr_span rest = tr_span_from(url, i + 3);
            size_t slash = tr_span_find(rest, '/');
            return slash == rest.len ? TR_SPAN("/") : tr_span_from(rest, slash);
        }
    }
    return url;
}

static int find_route(struct explain *e)
{
    const struct tr_header *type = tr_headers_find(&e->head.headers, TR_TOKEN_CONTENT_TYPE, NULL);
    if (type && tr_is_grpc_type(type->value)) {
        e->route = tr_snapshot_native(e->snap, e->head.path);
        return e->route && e->head.method == TR_METHOD_POST ? 0 : refused(e, TR_ERR_METHOD_UNIMPLEMENTED);
    }
    enum tr_err err = tr_path_check(e->head.path, &e->st);
    if (err)
        return refused(e, err);
    tr_router_match(e->snap->router, e->head.method, e->head.method_text, e->head.path, &e->match);
    if (e->match.result == TR_MATCH_FOUND) {
        e->route = e->match.target;
        return 0;
    }
    if (e->match.result == TR_MATCH_METHOD)
        print_span("the path is known for: ", tr_router_allow(e->snap->router, e->head.path, &e->arena));
    else
        (void)printf("no route matches");
    (void)printf("\nnear misses:\n");
    tr_router_near_misses(e->snap->router, e->head.method, e->head.method_text, e->head.path, near_miss, e);
    return refused(e, e->match.result == TR_MATCH_METHOD ? TR_ERR_METHOD_NOT_ALLOWED : TR_ERR_ROUTE_NOT_FOUND);
}

static enum tr_err bind_path(struct explain *e)
{
    const struct tr_plan *plan = e->route->plan;
    for (uint32_t i = 0; i < e->match.capture_count; i++) {
        struct tr_span value;
        const struct tr_capture *c = &e->match.captures[i];
        size_t var = (size_t)(c->var - e->match.tmpl->vars);
        enum tr_err err = tr_capture_decode(c, (enum tr_path_unescape)e->route->policy->path_unescape, &e->arena, &value);
        if (err)
            return err;
        (void)printf("  %.*s = \"%.*s\"\n", (int)c->var->field_path.len, c->var->field_path.ptr, (int)value.len, value.ptr);
        err = tr_bind_value(plan->path_binds[var], value, &e->wire, &e->st);
        if (err)
            return err;
    }
    return TR_OK;
}

/* The request message as the backend would get it; JSON bodies only. */
static enum tr_err build_message(struct explain *e, const char *data)
{
    const struct tr_plan *plan = e->route->plan;
    const struct tr_policy *p = e->route->policy;
    struct tr_buf binds;
    struct tr_mask mask;
    struct tr_query_result query = {0};
    tr_buf_init(&binds);
    tr_mask_init(&mask, &e->arena);
    struct tr_query_opts qopts = {
        .ignore_unknown = p->unknown_query == TR_UNKNOWN_IGNORE,
        .ignored = p->ignored_query_parameters.items,
        .ignored_count = p->ignored_query_parameters.count,
        .path_binds = plan->path_binds,
        .path_bind_count = e->match.tmpl->var_count,
        .body_star = plan->body == TR_BODY_STAR,
        .body_field = plan->body_field,
        .mask_field = plan->mask_field,
    };
    enum tr_err err = TR_OK;
    if (e->head.query.ptr && e->head.query.len)
        err = tr_query_bind(e->route->rpc->input, e->head.query, &qopts, &e->arena, &binds, &query, &e->st);
    bool mask_wanted = plan->mask_field && !query.mask_set;
    struct tr_json2pb_opts opts = {.pool = e->snap->pool, .ignore_unknown = p->unknown_fields == TR_UNKNOWN_IGNORE,
                                   .max_bytes = (size_t)p->max_request_bytes};
    if (mask_wanted) {
        opts.on_path = tr_mask_on_path;
        opts.on_path_ctx = &mask;
    }
    if (!err && data && data[0] && plan->body == TR_BODY_NONE)
        err = TR_ERR_BODY_NOT_ALLOWED;
    if (!err && data && data[0] && !plan->body_is_http_body) {
        struct tr_json_scan scan;
        struct tr_buf spill;
        tr_buf_init(&spill);
        tr_json_scan_init(&scan, TR_JSON_SINGLE, 100, &spill, SIZE_MAX / 8);
        tr_json_scan_feed(&scan, tr_span_cstr(data), true);
        struct tr_json2pb *j = tr_json2pb_new(&e->arena, e->route->rpc->input, plan->body_field, &opts, &e->wire);
        err = j ? tr_json2pb_run(j, &scan, &e->st) : TR_ERR_NOMEM;
        if (!err && tr_json_scan_next(&scan) == TR_JSON_ERROR) {
            e->st = scan.st;
            err = scan.st.err;
        }
        tr_buf_fini(&spill);
        if (!err && mask_wanted)
            err = tr_mask_put(&mask, plan->mask_field, &e->wire);
    }
    if (!err)
        err = tr_buf_append(&e->wire, tr_buf_span(&binds));
    tr_buf_fini(&binds);
    return err;
}

static enum tr_err print_message(struct explain *e)
{
    struct tr_buf json;
    struct tr_pb2json_opts opts = {.pool = e->snap->pool, .pretty = true, .unknown_any_as_base64 = true};
    tr_buf_init(&json);
    enum tr_err err = tr_pb2json(e->route->rpc->input, tr_buf_span(&e->wire), &opts, &json, &e->arena, &e->st);
    if (!err)
        (void)printf("gRPC request %.*s:\n%.*s\n", (int)e->route->rpc->input->full_name.len, e->route->rpc->input->full_name.ptr,
                     (int)json.len, json.ptr);
    tr_buf_fini(&json);
    return err;
}

static void print_key(void *ctx, struct tr_span key, struct tr_span value, struct tr_span source)
{
    (void)ctx;
    (void)printf("  %.*s = %.*s   (%.*s)\n", (int)key.len, key.ptr, (int)value.len, value.ptr, (int)source.len, source.ptr);
}

static int describe(struct explain *e, const char *data)
{
    const struct tr_route *r = e->route;
    uint64_t deadline;
    (void)printf("route: %.*s %.*s\nmethod: %.*s%s\n", (int)r->verb.len, r->verb.ptr, (int)r->template_text.len, r->template_text.ptr,
                 (int)r->rpc->full_name.len, r->rpc->full_name.ptr, r->native ? " (native gRPC)" : "");
    enum tr_err err = TR_OK;
    if (!r->native) {
        (void)printf("captures:\n");
        err = build_message(e, data);
        if (!err)
            err = bind_path(e);
        if (!err)
            err = print_message(e);
    }
    bool unary = !r->rpc->client_streaming && !r->rpc->server_streaming;
    if (!err)
        err = tr_deadline_of(r->policy, &e->head.headers, unary, 1, &deadline);
    if (err)
        return refused(e, err);
    (void)printf("policy:\n");
    tr_policy_sources(e->snap->policies, r->rpc->full_name, print_key, NULL);
    if (deadline)
        (void)printf("deadline: %g s after the first byte\n", (double)(deadline - 1) / 1e9);
    (void)printf("upstream: %.*s", (int)r->upstream->conf->name.len, r->upstream->conf->name.ptr);
    for (uint32_t i = 0; i < r->upstream->conf->endpoint_count; i++)
        print_span(i ? ", " : " at ", r->upstream->conf->endpoints[i].text);
    (void)printf("\n");
    return 0;
}

static int explain(struct explain *e, const struct tr_args *args)
{
    struct tr_span target = target_of(tr_span_cstr(args->rest[1]));
    e->head.method_text = tr_span_cstr(args->rest[0]);
    e->head.method = tr_method_from(e->head.method_text);
    e->head.version = 20;
    e->head.content_length = -1;
    e->head.scheme = TR_SPAN("http");
    e->head.authority = TR_SPAN("localhost");
    for (unsigned i = 0; i < args->header_count; i++)
        if (add_header(e, args->headers[i]))
            return tr_cmd_usage("explain", "a header is 'name: value', not '%s'", args->headers[i]);
    enum tr_err err = tr_req_head_finish(&e->head, target, &e->st);
    if (err)
        return refused(e, err);
    int status = find_route(e);
    return status ? status : describe(e, args->data);
}

int tr_cmd_explain(int argc, char **argv)
{
    struct tr_args args = {.verb = "explain",
                           .help = "Usage: transom explain --config FILE VERB URL [-H 'name: value']... [-d BODY]\n"
                                   "Say what the gateway would do with one request: the matched rule, captured fields, the gRPC request as JSON,\n"
                                   "the effective policy with the source of each key, the upstream; or why each near miss did not match.\n"
                                   "Nothing is sent. Exit status 1 when the request would be refused.\n"};
    int status = tr_args_parse(&args, argc, argv, "cHd", true);
    if (status >= 0)
        return status;
    if (args.rest_count != 2)
        return tr_cmd_usage("explain", "VERB and URL are needed");
    struct explain e = {.snap = tr_cmd_load(args.config, TR_SNAPSHOT_OFFLINE)};
    if (!e.snap)
        return 1;
    tr_arena_init(&e.arena, NULL);
    tr_buf_init(&e.wire);
    tr_status_clear(&e.st);
    status = explain(&e, &args);
    tr_buf_fini(&e.wire);
    tr_arena_fini(&e.arena);
    tr_snapshot_unref(e.snap);
    return status;
}
