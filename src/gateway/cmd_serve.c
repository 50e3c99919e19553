#include "base/log.h"
#include "gateway/args.h"
#include "gateway/cmd.h"
#include "gateway/server.h"

#include <string.h>

int tr_cmd_serve(int argc, char **argv)
{
    struct tr_args args = {
        .verb = "serve",
        .help = "Usage: transom serve --config FILE\n"
                "Run the gateway. When ready, one line with every listening address is printed.\n\n"
                "SIGTERM and SIGINT drain: /readyz fails, drain_delay passes, connections are "
                "asked to go, requests\n"
                "finish within drain_timeout. A second signal stops at once.\n"};
    int status = tr_args_parse(&args, argc, argv, "c", true);
    if (status >= 0)
        return status;
    if (args.rest_count)
        return tr_cmd_usage("serve", "unexpected argument '%s'", args.rest[0]);
    struct tr_snapshot *snap = tr_cmd_load(args.config, TR_SNAPSHOT_FULL);
    if (!snap)
        return 1;
    tr_cmd_problems(stderr, args.config, &snap->problems); /* warnings */
    if (!snap->config.authentication)
        tr_log(TR_LOG_WARN, "no authentication is configured: every exposed method is public");
    struct tr_server_opts opts = {.out = stdout, .name = "transom"};
    status = tr_server_run(snap, &opts);
    tr_snapshot_unref(snap);
    return status;
}
