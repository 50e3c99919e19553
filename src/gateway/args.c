#include "gateway/args.h"

#include "gateway/cmd.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const struct option longs[] = {
    {"help", no_argument, NULL, 'h'},
    {"config", required_argument, NULL, 'c'},
    {"json", no_argument, NULL, 'j'},
    {"data", required_argument, NULL, 'd'},
    {"header", required_argument, NULL, 'H'},
    {"port", required_argument, NULL, 'p'},
    {"tls-certificate", required_argument, NULL, 'C'},
    {"tls-key", required_argument, NULL, 'K'},
    {NULL, 0, NULL, 0},
};

static int take(struct tr_args *a, int opt)
{
    switch (opt) {
    case 'c':
        a->config = optarg;
        return -1;
    case 'j':
        a->json = true;
        return -1;
    case 'd':
        a->data = optarg;
        return -1;
    case 'p':
        a->port = optarg;
        return -1;
    case 'C':
        a->tls_certificate = optarg;
        return -1;
    case 'K':
        a->tls_key = optarg;
        return -1;
    case 'H':
        if (a->header_count == sizeof a->headers / sizeof a->headers[0])
            return tr_cmd_usage(a->verb, "too many headers");
        a->headers[a->header_count++] = optarg;
        return -1;
    default:
        return tr_cmd_usage(a->verb, "unknown option");
    }
}

int tr_args_parse(struct tr_args *args, int argc, char **argv, const char *allowed,
                  bool need_config)
{
    int opt;
    opterr = 0;
    optind = 1;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): before there are threads */
    while ((opt = getopt_long(argc, argv, "hc:jd:H:p:", longs, NULL)) != -1) {
        if (opt == 'h') {
            (void)fputs(args->help, stdout);
            return 0;
        }
        if (opt == '?')
            return tr_cmd_usage(args->verb, "unknown option, or one without its value: %s",
                                argv[optind - 1]);
        if (!strchr(allowed, opt))
            return tr_cmd_usage(args->verb, "this verb has no option -%c", opt);
        int status = take(args, opt);
        if (status >= 0)
            return status;
    }
    for (; optind < argc; optind++) {
        if (args->rest_count == sizeof args->rest / sizeof args->rest[0])
            return tr_cmd_usage(args->verb, "too many arguments");
        args->rest[args->rest_count++] = argv[optind];
    }
    if (need_config && !args->config)
        return tr_cmd_usage(args->verb, "--config FILE is needed");
    return -1;
}
