#include "gateway/args.h"
#include "gateway/cmd.h"

struct shown {
    const struct tr_route *route;
    uint32_t leaves;
};

/* What the defaults say needs no telling. */
static void print_leaf(void *ctx, struct tr_span key, struct tr_span value, struct tr_span source)
{
    struct shown *s = ctx;
    if (tr_span_eq(source, TR_SPAN("default")))
        return;
    if (s->leaves++ == 0)
        (void)printf("policy of %.*s", (int)s->route->rpc->full_name.len,
                     s->route->rpc->full_name.ptr);
    (void)printf("%s  %.*s = %.*s   (%.*s)\n", s->leaves == 1 ? " and those with the same:\n" : "",
                 (int)key.len, key.ptr, (int)value.len, value.ptr, (int)source.len, source.ptr);
}

/* Each effective policy once, with the source of each leaf that a policy of the file set. */
static void print_policies(const struct tr_snapshot *snap)
{
    for (uint32_t i = 0; i < snap->route_count; i++) {
        const struct tr_route *r = snap->routes[i];
        uint32_t k = 0;
        while (k < i && snap->routes[k]->policy != r->policy)
            k++;
        if (k < i)
            continue;
        struct shown s = {r, 0};
        tr_policy_sources(snap->policies, r->rpc->full_name, print_leaf, &s);
    }
}

int tr_cmd_check(int argc, char **argv)
{
    struct tr_args args = {
        .verb = "check",
        .help = "Usage: transom check --config FILE\n"
                "Show every problem of the configuration, its descriptor sets and routes: place, "
                "JSON pointer, reason; and each\n"
                "effective policy with the source of each key that is not the default.\n"
                "Exit status 1 when there is an error; warnings alone are 0.\n"};
    int status = tr_args_parse(&args, argc, argv, "c", true);
    if (status >= 0)
        return status;
    if (args.rest_count)
        return tr_cmd_usage("check", "unexpected argument '%s'", args.rest[0]);
    struct tr_snapshot *snap = NULL;
    enum tr_err err = tr_snapshot_load(tr_span_cstr(args.config), TR_SNAPSHOT_OFFLINE, &snap);
    if (!snap)
        return tr_cmd_usage("check", "out of memory");
    if (snap->policies) { /* the filters' problems beside those of loading */
        enum tr_err of_filters = tr_cmd_prepare(snap);
        err = err ? err : of_filters;
    }
    tr_cmd_problems(stdout, args.config, &snap->problems);
    if (!err)
        print_policies(snap);
    uint32_t errors = snap->problems.errors, warnings = snap->problems.warnings;
    if (err)
        (void)printf("%s: %u error%s, %u warning%s\n", args.config, errors, errors == 1 ? "" : "s",
                     warnings, warnings == 1 ? "" : "s");
    else
        (void)printf("%s: ok, %u routes, %u warning%s\n", args.config, snap->route_count, warnings,
                     warnings == 1 ? "" : "s");
    tr_snapshot_unref(snap);
    return err ? 1 : 0;
}
