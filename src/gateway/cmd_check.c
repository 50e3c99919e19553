#include "gateway/args.h"
#include "gateway/cmd.h"

int tr_cmd_check(int argc, char **argv)
{
    struct tr_args args = {.verb = "check",
                           .help = "Usage: transom check --config FILE\n"
                                   "Show every problem of the configuration, its descriptor sets and routes: place, JSON pointer, reason.\n"
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
    tr_cmd_problems(stdout, args.config, &snap->problems);
    uint32_t errors = snap->problems.errors, warnings = snap->problems.warnings;
    if (err)
        (void)printf("%s: %u error%s, %u warning%s\n", args.config, errors, errors == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s");
    else
        (void)printf("%s: ok, %u routes, %u warning%s\n", args.config, snap->route_count, warnings, warnings == 1 ? "" : "s");
    tr_snapshot_unref(snap);
    return err ? 1 : 0;
}
