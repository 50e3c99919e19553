#include "filters/registry.h"
#include "gateway/cmd.h"

#include <stdarg.h>
#include <string.h>

struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
};

static const struct verb verbs[] = {
    {"serve", tr_cmd_serve, "run the gateway"},
    {"check", tr_cmd_check, "show every problem of a configuration"},
    {"routes", tr_cmd_routes, "print the route table"},
    {"explain", tr_cmd_explain, "say what the gateway would do with one request"},
    {"api-key", tr_cmd_api_key, "make an API key, and the line to store"},
    {"demo", tr_cmd_demo, "run the gateway on an embedded gRPC bookstore"},
    {"reference", tr_cmd_reference, "print a generated reference: config, schema, errors"},
    {"version", tr_cmd_version, "print the version, and those of the libraries"},
};
#define VERBS (sizeof verbs / sizeof verbs[0])

static void help(FILE *out)
{
    (void)fprintf(
        out, "Usage: transom VERB [OPTION]...\n"
             "A gateway from REST/JSON and gRPC over HTTP/1.1 and HTTP/2 to gRPC backends.\n\n");
    for (size_t i = 0; i < VERBS; i++)
        (void)fprintf(out, "  %-10s %s\n", verbs[i].name, verbs[i].help);
    (void)fprintf(out, "\n'transom VERB --help' says more. Exit status: 0 success, 1 what was "
                       "asked about is wrong, 2 usage.\n");
}

int tr_cmd_usage(const char *verb, const char *fmt, ...)
{
    va_list ap;
    (void)fprintf(stderr, "transom %s: ", verb);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, "\nTry 'transom %s --help'.\n", verb);
    return 2;
}

void tr_cmd_problems(FILE *out, const char *file, const struct tr_problems *problems)
{
    for (const struct tr_problem *p = problems->first; p; p = p->next) {
        if (p->line)
            (void)fprintf(out, "%s:%u:%u: ", file, p->line, p->column);
        else
            (void)fprintf(out, "%s: ", file);
        (void)fprintf(out, "%s: %.*s%s%.*s\n", p->level == TR_PROBLEM_ERROR ? "error" : "warning",
                      (int)p->where.len, p->where.ptr, p->where.len ? ": " : "", (int)p->text.len,
                      p->text.ptr);
    }
}

enum tr_err tr_cmd_prepare(struct tr_snapshot *snap)
{
    enum tr_err err = tr_filters_prepare(snap);
    return err ? err : snap->problems.errors ? TR_ERR_CONFIG : TR_OK;
}

struct tr_snapshot *tr_cmd_load(const char *file, enum tr_snapshot_mode mode)
{
    struct tr_snapshot *snap = NULL;
    enum tr_err err = tr_snapshot_load(tr_span_cstr(file), mode, &snap);
    if (!err)
        err = tr_cmd_prepare(snap);
    if (!err)
        return snap;
    if (snap)
        tr_cmd_problems(stderr, file, &snap->problems);
    else
        (void)fprintf(stderr, "%s: %s\n", file, tr_err_info(err)->text.ptr);
    tr_snapshot_unref(snap);
    return NULL;
}

/* What was printed must have arrived: a full disk is no success. */
static int finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    (void)fprintf(stderr, "transom: cannot write to standard output\n");
    return status ? status : 1;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        help(stdout);
        return finish(0);
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return finish(tr_cmd_version(1, argv + 1));
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(argv[1], verbs[i].name) == 0)
            return finish(verbs[i].run(argc - 1, argv + 1));
    (void)fprintf(stderr, "transom: no verb is named '%s'\nTry 'transom --help'.\n", argv[1]);
    return 2;
}
