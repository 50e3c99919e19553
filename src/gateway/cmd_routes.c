#include "gateway/args.h"
#include "gateway/cmd.h"
#include "json/emit.h"

static enum tr_err json_pair(struct tr_buf *out, const char *name, struct tr_span value, bool last)
{
    enum tr_err err = tr_buf_printf(out, "\"%s\":", name);
    if (!err)
        err = tr_emit_string(out, value, NULL);
    return err || last ? err : tr_buf_push(out, ',');
}

static enum tr_err json_route(struct tr_buf *out, struct tr_snapshot *snap,
                              const struct tr_route *r, bool first)
{
    struct tr_span sources =
        tr_policy_source_names(snap->policies, r->rpc->full_name, &snap->arena);
    enum tr_err err = tr_buf_printf(out, "%s{", first ? "" : ",\n ");
    if (!err)
        err = json_pair(out, "verb", r->verb, false);
    if (!err)
        err = json_pair(out, "template", r->template_text, false);
    if (!err)
        err = json_pair(out, "method", r->rpc->full_name, false);
    if (!err)
        err = json_pair(out, "dialect", r->native ? TR_SPAN("grpc") : TR_SPAN("rest"), false);
    if (!err)
        err = json_pair(out, "upstream", r->upstream->conf->name, false);
    if (!err)
        err = json_pair(out, "policy_sources", sources, true);
    return err ? err : tr_buf_push(out, '}');
}

static void print_text(struct tr_snapshot *snap)
{
    int verb_width = 6, path_width = 8, name_width = 6;
    for (uint32_t i = 0; i < snap->route_count; i++) {
        const struct tr_route *r = snap->routes[i];
        verb_width = (int)r->verb.len > verb_width ? (int)r->verb.len : verb_width;
        path_width = (int)r->template_text.len > path_width && r->template_text.len <= 80
                         ? (int)r->template_text.len
                         : path_width;
        name_width = (int)r->rpc->full_name.len > name_width && r->rpc->full_name.len <= 60
                         ? (int)r->rpc->full_name.len
                         : name_width;
    }
    (void)printf("%-*s  %-*s  %-*s  %-7s  %s\n", verb_width, "VERB", path_width, "TEMPLATE",
                 name_width, "METHOD", "DIALECT", "POLICIES");
    for (uint32_t i = 0; i < snap->route_count; i++) {
        const struct tr_route *r = snap->routes[i];
        struct tr_span sources =
            tr_policy_source_names(snap->policies, r->rpc->full_name, &snap->arena);
        (void)printf("%-*.*s  %-*.*s  %-*.*s  %-7s  %.*s\n", verb_width, (int)r->verb.len,
                     r->verb.ptr, path_width, (int)r->template_text.len, r->template_text.ptr,
                     name_width, (int)r->rpc->full_name.len, r->rpc->full_name.ptr,
                     r->native ? "grpc" : "rest", (int)sources.len, sources.ptr);
    }
}

int tr_cmd_routes(int argc, char **argv)
{
    struct tr_args args = {.verb = "routes",
                           .help = "Usage: transom routes --config FILE [--json]\n"
                                   "Print the route table: verb, template, method, dialect, and "
                                   "the policies that hold, general to specific.\n"};
    int status = tr_args_parse(&args, argc, argv, "cj", true);
    if (status >= 0)
        return status;
    if (args.rest_count)
        return tr_cmd_usage("routes", "unexpected argument '%s'", args.rest[0]);
    struct tr_snapshot *snap = tr_cmd_load(args.config, TR_SNAPSHOT_OFFLINE);
    if (!snap)
        return 1;
    if (!args.json) {
        print_text(snap);
    } else {
        struct tr_buf out;
        tr_buf_init(&out);
        enum tr_err err = tr_buf_push(&out, '[');
        for (uint32_t i = 0; !err && i < snap->route_count; i++)
            err = json_route(&out, snap, snap->routes[i], i == 0);
        if (!err)
            err = tr_buf_append(&out, TR_SPAN("]\n"));
        if (!err)
            (void)fwrite(out.ptr, 1, out.len, stdout);
        tr_buf_fini(&out);
        status = err ? 1 : 0;
    }
    tr_snapshot_unref(snap);
    return status < 0 ? 0 : status;
}
