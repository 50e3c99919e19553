/* `transom explain`: what the gateway would do with one request, without sending anything. */
#include "filters/authn.h"
#include "filters/authz.h"
#include "gateway/args.h"
#include "gateway/cmd.h"
#include "gateway/explain_policy.h"
#include "http/coding.h"
#include "pipeline/accept.h"
#include "pipeline/deadline.h"
#include "pipeline/relay.h"
#include "proto/wire.h"
#include "transcode/fields.h"
#include "transcode/json2pb.h"
#include "transcode/mask.h"
#include "transcode/pb2json.h"
#include "transcode/query.h"

#include <string.h>
#include <time.h>

struct explain {
    struct tr_snapshot *snap;
    struct tr_arena arena;
    struct tr_req_head head;
    const struct tr_route *route;
    struct tr_route_match match;
    struct tr_buf binds; /* of path and query: of the first message */
    struct tr_buf wire;  /* the message being made */
    uint32_t messages;
    struct tr_query_result query;
    struct tr_mask mask;
    enum tr_input input;
    struct tr_span content_type;
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
    (void)printf("  %.*s %.*s (%.*s): %.*s\n", (int)r->verb.len, r->verb.ptr,
                 (int)r->template_text.len, r->template_text.ptr, (int)r->rpc->full_name.len,
                 r->rpc->full_name.ptr, (int)reason.len, reason.ptr);
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

/* -1: found; else the exit status. */
static int find_route(struct explain *e)
{
    struct tr_span allow;
    const struct tr_header *type = tr_headers_find(&e->head.headers, TR_TOKEN_CONTENT_TYPE, NULL);
    if (type && tr_is_grpc_type(type->value)) {
        e->route = tr_snapshot_native(e->snap, e->head.path);
        return e->route && e->head.method == TR_METHOD_POST
                   ? -1
                   : refused(e, TR_ERR_METHOD_UNIMPLEMENTED);
    }
    if (tr_span_eq(e->head.path, TR_SPAN("*"))) {
        (void)printf("answered: 204, no backend is asked\n");
        return 0;
    }
    enum tr_err err = tr_path_check(e->head.path, &e->st);
    if (err)
        return refused(e, err);
    int status;
    if (tr_explain_preflight(e->snap, &e->head, &status))
        return status;
    tr_router_match(e->snap->router, e->head.method, e->head.method_text, e->head.path, &e->match);
    if (e->match.result == TR_MATCH_FOUND) {
        e->route = e->match.target;
        return -1;
    }
    allow = e->match.result == TR_MATCH_METHOD
                ? tr_router_allow(e->snap->router, e->head.path, &e->arena)
                : TR_SPAN("");
    if (allow.len && e->head.method == TR_METHOD_OPTIONS) {
        (void)printf("answered: 204 with Allow: %.*s; no backend is asked\n", (int)allow.len,
                     allow.ptr);
        return 0;
    }
    if (allow.len)
        print_span("the path is known for: ", allow);
    else
        (void)printf("no route matches");
    (void)printf("\nnear misses:\n");
    tr_router_near_misses(e->snap->router, e->head.method, e->head.method_text, e->head.path,
                          near_miss, e);
    const struct tr_route *native = tr_snapshot_native(e->snap, e->head.path);
    if (native)
        (void)printf("  POST %.*s (%.*s): native gRPC, for content-type application/grpc\n",
                     (int)native->label.len, native->label.ptr, (int)native->rpc->full_name.len,
                     native->rpc->full_name.ptr);
    return refused(e, e->match.result == TR_MATCH_METHOD ? TR_ERR_METHOD_NOT_ALLOWED
                                                         : TR_ERR_ROUTE_NOT_FOUND);
}

static enum tr_err bind_path(struct explain *e)
{
    const struct tr_plan *plan = e->route->plan;
    (void)printf("captures:\n");
    for (uint32_t i = 0; i < e->match.capture_count; i++) {
        struct tr_span value;
        const struct tr_capture *c = &e->match.captures[i];
        size_t var = (size_t)(c->var - e->match.tmpl->vars);
        enum tr_err err = tr_capture_decode(
            c, (enum tr_path_unescape)e->route->policy->path_unescape, &e->arena, &value);
        if (err)
            return err;
        (void)printf("  %.*s = \"%.*s\"\n", (int)c->var->field_path.len, c->var->field_path.ptr,
                     (int)value.len, value.ptr);
        err = tr_bind_value(plan->path_binds[var], value, &e->binds, &e->st);
        if (err)
            return err;
    }
    return TR_OK;
}

static enum tr_err bind_query(struct explain *e)
{
    const struct tr_plan *plan = e->route->plan;
    struct tr_query_opts opts = tr_route_query_opts(e->route);
    enum tr_err err = TR_OK;
    const struct tr_field_tree *fields;
    if (e->head.query.ptr && e->head.query.len)
        err = tr_query_bind(e->route->rpc->input, e->head.query, &opts, &e->arena, &e->binds,
                            &e->query, &e->st);
    if (!err && e->query.sys.fields.len)
        err = tr_field_tree_compile(&e->arena, e->route->rpc->output, plan->resp_field,
                                    e->query.sys.fields, &fields, &e->st);
    return err;
}

static enum tr_err print_message(struct explain *e)
{
    struct tr_buf json;
    struct tr_pb2json_opts opts = {
        .pool = e->snap->pool, .pretty = true, .unknown_any_as_base64 = true};
    tr_buf_init(&json);
    enum tr_err err =
        tr_pb2json(e->route->rpc->input, tr_buf_span(&e->wire), &opts, &json, &e->arena, &e->st);
    if (!err)
        (void)printf("gRPC request %.*s:\n%.*s\n", (int)e->route->rpc->input->full_name.len,
                     e->route->rpc->input->full_name.ptr, (int)json.len, json.ptr);
    tr_buf_fini(&json);
    return err;
}

/* The body's part stands in e->wire: mask and bindings come behind it. */
static enum tr_err message_end(struct explain *e, bool mask_wanted)
{
    enum tr_err err = TR_OK;
    if (e->messages++ == 0) {
        if (mask_wanted)
            err = tr_mask_put(&e->mask, e->route->plan->mask_field, &e->wire);
        if (!err)
            err = tr_buf_append(&e->wire, tr_buf_span(&e->binds));
    }
    if (!err)
        err = print_message(e);
    tr_buf_clear(&e->wire);
    return err;
}

/* One value, or those of a client stream: an array, or one behind the other. */
static enum tr_err json_values(struct explain *e, struct tr_json_scan *scan,
                               const struct tr_json2pb_opts *opts, bool mask_wanted)
{
    bool stream = e->route->rpc->client_streaming, array = false, closed = false;
    for (;;) {
        enum tr_json_tok tok = tr_json_scan_next(scan);
        if (tok == TR_JSON_ERROR) {
            e->st = scan->st;
            return scan->st.err;
        }
        if (tok == TR_JSON_END)
            return TR_OK;
        if (stream && tok == TR_JSON_ARR_BEGIN && scan->depth == 1 && e->messages == 0 && !array) {
            array = true;
            continue;
        }
        if (closed)
            return tr_fail(&e->st, TR_ERR_JSON_SYNTAX, "more input after the end of the array");
        closed = array && scan->depth == 0 && tok == TR_JSON_ARR_END;
        if (closed)
            continue;
        tr_json_scan_unread(scan);
        struct tr_json2pb *j = tr_json2pb_new(&e->arena, e->route->rpc->input,
                                              e->route->plan->body_field, opts, &e->wire);
        enum tr_err err = j ? tr_json2pb_run(j, scan, &e->st) : TR_ERR_NOMEM;
        if (!err)
            err = message_end(e, mask_wanted);
        if (err)
            return err == TR_ERR_AGAIN ? TR_ERR_JSON_TRUNCATED : err;
    }
}

static enum tr_err json_body(struct explain *e, struct tr_span data)
{
    const struct tr_policy *p = e->route->policy;
    bool mask_wanted = e->route->plan->mask_field && !e->query.mask_set;
    struct tr_json2pb_opts opts = {.pool = e->snap->pool,
                                   .ignore_unknown = p->unknown_fields == TR_UNKNOWN_IGNORE,
                                   .max_bytes = (size_t)p->max_request_bytes};
    struct tr_json_scan scan;
    struct tr_buf spill;
    if (mask_wanted) {
        opts.on_path = tr_mask_on_path;
        opts.on_path_ctx = &e->mask;
    }
    tr_buf_init(&spill);
    tr_json_scan_init(&scan, e->route->rpc->client_streaming ? TR_JSON_MULTI : TR_JSON_SINGLE, 100,
                      &spill, SIZE_MAX / 8);
    tr_json_scan_feed(&scan, data, true);
    enum tr_err err = json_values(e, &scan, &opts, mask_wanted);
    tr_buf_fini(&spill);
    return err;
}

static enum tr_err put_record(struct tr_buf *out, uint32_t number, struct tr_span bytes)
{
    char head[2 * TR_VARINT_MAX];
    size_t n = tr_wire_put_varint(head, (uint64_t)number << 3 | TR_WIRE_LEN);
    n += tr_wire_put_varint(head + n, bytes.len);
    enum tr_err err = bytes.len ? tr_buf_append(out, tr_span(head, n)) : TR_OK;
    return err ? err : tr_buf_append(out, bytes);
}

/* A binary message or an HttpBody, as the field of the request that the body maps to. */
static enum tr_err bytes_body(struct explain *e, struct tr_span data)
{
    const struct tr_field *f = e->route->plan->body_field;
    struct tr_buf inner;
    enum tr_err err;
    tr_buf_init(&inner);
    if (e->input == TR_INPUT_HTTP_BODY) {
        err = put_record(&inner, 1, e->content_type);
        if (!err)
            err = put_record(&inner, 2, data);
    } else if (f && (f->type != TR_FT_MESSAGE || f->flags & TR_FF_REPEATED)) {
        err = tr_fail(&e->st, TR_ERR_UNSUPPORTED_MEDIA_TYPE,
                      "the body is not a message: Content-Type must be application/json");
    } else {
        err = tr_buf_append(&inner, data);
    }
    if (!err)
        err = f ? put_record(&e->wire, f->number, tr_buf_span(&inner))
                : tr_buf_append(&e->wire, tr_buf_span(&inner));
    tr_buf_fini(&inner);
    return err ? err : message_end(e, false);
}

/* The request messages as the backend would get them, in the order in which the gateway looks. */
static enum tr_err build_messages(struct explain *e, struct tr_span data)
{
    const struct tr_header *coding =
        tr_headers_find(&e->head.headers, TR_TOKEN_CONTENT_ENCODING, NULL);
    tr_mask_init(&e->mask, &e->arena);
    enum tr_err err = bind_query(e);
    if (!err)
        err = tr_input_choose(&e->head.headers, e->route->plan, data.len == 0, &e->input,
                              &e->content_type, &e->st);
    if (!err && coding &&
        (tr_coding_from(coding->value) == TR_CODING_UNKNOWN ||
         tr_coding_from(coding->value) == TR_CODING_DEFLATE))
        err = TR_ERR_UNSUPPORTED_CODING;
    if (!err)
        err = bind_path(e);
    if (!err && data.len && e->input == TR_INPUT_NONE)
        err = TR_ERR_BODY_NOT_ALLOWED;
    if (!err && data.len)
        err = e->input == TR_INPUT_JSON ? json_body(e, data) : bytes_body(e, data);
    bool none = e->messages == 0 && (!e->route->rpc->client_streaming || e->binds.len);
    return err || !none ? err : message_end(e, false);
}

static void print_key(void *ctx, struct tr_span key, struct tr_span value, struct tr_span source)
{
    (void)ctx;
    (void)printf("  %.*s = %.*s   (%.*s)\n", (int)key.len, key.ptr, (int)value.len, value.ptr,
                 (int)source.len, source.ptr);
}

static void print_line(void *ctx, struct tr_span line)
{
    (void)ctx;
    print_span("  ", line);
    (void)printf("\n");
}

static int refused_as(const char *what, enum tr_err err, struct tr_span why)
{
    const struct tr_err_info *info = tr_err_info(err);
    (void)printf("%s: refused: %u %s: %.*s\n", what, info->http_status, info->name, (int)why.len,
                 why.ptr);
    return 1;
}

static int print_rights(const struct tr_policy *policy, const struct tr_authn_answer *answer)
{
    const struct tr_policy_authorization *p = policy->authorization;
    if (!p || p->none)
        return 0;
    if (answer->anonymous)
        return refused_as("authorization", TR_ERR_AUTH_MISSING,
                          tr_err_info(TR_ERR_AUTH_MISSING)->text);
    if (answer->shown != TR_AUTHN_OK) {
        (void)printf("authorization: not decided here\n");
        return 0;
    }
    if (!tr_authz_may(p, &answer->identity))
        return refused_as("authorization", TR_ERR_PERMISSION_DENIED,
                          tr_err_info(TR_ERR_PERMISSION_DENIED)->text);
    (void)printf("authorization: passes\n");
    return 0;
}

/* Who it would be, and whether that one may; the exit status. */
static int print_identity(struct explain *e)
{
    const struct tr_policy *policy = e->route->policy;
    struct tr_authn_question q = {
        .head = &e->head, .arena = &e->arena, .now_s = (int64_t)time(NULL), .say = print_line};
    struct tr_authn_answer answer;
    if (!policy->authentication || policy->authentication->none)
        return 0;
    (void)printf("credentials:\n");
    if (!tr_authn_explain(e->snap, policy, &q, &answer))
        return 0;
    int status = 0;
    if (answer.anonymous)
        (void)printf("authentication: passes without identity\n");
    else if (answer.shown == TR_AUTHN_OK)
        (void)printf("authentication: passes\n");
    else if (answer.shown == TR_AUTHN_UNAVAILABLE)
        (void)printf("authentication: not decided here%s\n",
                     policy->authentication->on_unavailable == TR_ON_UNAVAILABLE_ALLOW
                         ? "; passes without identity when keys cannot be had"
                         : "");
    else
        status = refused_as("authentication", answer.err, answer.why);
    if (!status)
        status = print_rights(policy, &answer);
    tr_authn_answer_fini(&answer);
    return status;
}

static int describe(struct explain *e, const char *data)
{
    const struct tr_route *r = e->route;
    uint64_t deadline;
    (void)printf("route: %.*s %.*s\nmethod: %.*s%s\n", (int)r->verb.len, r->verb.ptr,
                 (int)r->template_text.len, r->template_text.ptr, (int)r->rpc->full_name.len,
                 r->rpc->full_name.ptr, r->native ? " (native gRPC)" : "");
    int status = tr_explain_ip(e->snap, r->policy, &e->head);
    status |= print_identity(e);
    enum tr_err err = TR_OK;
    if (!r->native)
        err = build_messages(e, data ? tr_span_cstr(data) : TR_SPAN(""));
    bool unary = !r->rpc->client_streaming && !r->rpc->server_streaming;
    if (!err)
        err = tr_deadline_of(r->policy, &e->head.headers, unary, 1, &deadline);
    if (err)
        return refused(e, err);
    (void)printf("policy:\n");
    tr_policy_sources(e->snap->policies, r->rpc->full_name, print_key, NULL);
    tr_explain_failures(e->snap, r->policy);
    if (deadline)
        (void)printf("deadline: %g s after the first byte\n", (double)(deadline - 1) / 1e9);
    if (r->policy->retry.attempts > 1)
        (void)printf("attempts: at most %u; %s\n", r->policy->retry.attempts,
                     r->rpc->client_streaming
                         ? "a client stream: only what the backend has not read"
                     : r->idempotent ? "idempotent: also after the codes of retry.on"
                                     : "not idempotent: only what the backend has not read");
    (void)printf("upstream: %.*s", (int)r->upstream->conf->name.len, r->upstream->conf->name.ptr);
    for (uint32_t i = 0; i < r->upstream->conf->endpoint_count; i++)
        print_span(i ? ", " : " at ", r->upstream->conf->endpoints[i].text);
    (void)printf("\n");
    return status;
}

static int explain(struct explain *e, const struct tr_args *args)
{
    e->head.method_text = tr_span_cstr(args->rest[0]);
    e->head.method = tr_method_from(e->head.method_text);
    e->head.version = 11; /* takes both forms of URL */
    e->head.content_length = -1;
    e->head.scheme = TR_SPAN("http");
    if (!tr_http_is_token(e->head.method_text))
        return tr_cmd_usage("explain", "'%s' is not an HTTP method", args->rest[0]);
    for (unsigned i = 0; i < args->header_count; i++)
        if (add_header(e, args->headers[i]))
            return tr_cmd_usage("explain", "a header is 'name: value', not '%s'", args->headers[i]);
    enum tr_err err = TR_OK;
    if (!tr_headers_find(&e->head.headers, TR_TOKEN_HOST, NULL))
        err = tr_headers_add(&e->head.headers, &e->arena, TR_SPAN("host"), TR_SPAN("localhost"),
                             TR_TOKEN_HOST);
    if (!err)
        err = tr_req_head_finish(&e->head, tr_span_cstr(args->rest[1]), &e->st);
    if (err)
        return refused(e, err);
    int status = find_route(e);
    return status >= 0 ? status : describe(e, args->data);
}

int tr_cmd_explain(int argc, char **argv)
{
    struct tr_args args = {
        .verb = "explain",
        .help = "Usage: transom explain --config FILE VERB URL [-H 'name: value']... [-d BODY]\n"
                "Say what the gateway would do with one request: the matched rule, captured "
                "fields, the gRPC request as JSON,\n"
                "the effective policy with the source of each key, the upstream; or why each near "
                "miss did not match.\n"
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
    tr_buf_init(&e.binds);
    tr_status_clear(&e.st);
    status = explain(&e, &args);
    tr_buf_fini(&e.wire);
    tr_buf_fini(&e.binds);
    tr_arena_fini(&e.arena);
    tr_snapshot_unref(e.snap);
    return status;
}
