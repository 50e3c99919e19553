#include "bookstore_pb.h"
#include "gateway/args.h"
#include "gateway/cmd.h"
#include "gateway/demo_backend.h"
#include "gateway/server.h"
#include "io/listener.h"
#include "json/emit.h"

#include <string.h>

static enum tr_err put_string(struct tr_buf *out, const char *key, const char *value)
{
    enum tr_err err = tr_buf_printf(out, "\"%s\":", key);
    return err ? err : tr_emit_string(out, tr_span_cstr(value), NULL);
}

/* The configuration of the demo, as a user would write it. */
static enum tr_err write_config(const struct tr_args *args, struct tr_span backend,
                                struct tr_buf *out)
{
    const char *port = args->port ? args->port : "8080";
    enum tr_err err =
        tr_buf_printf(out, "{\"listeners\":[{\"address\":\"127.0.0.1:%s\",\"health\":true}", port);
    if (!err && args->tls_certificate) {
        err = tr_buf_printf(out, ",{\"address\":\"127.0.0.1:0\",\"tls\":{");
        if (!err)
            err = put_string(out, "certificate", args->tls_certificate);
        if (!err)
            err = tr_buf_push(out, ',');
        if (!err)
            err = put_string(out, "private_key", args->tls_key);
        if (!err)
            err = tr_buf_printf(out, "}}");
    }
    if (!err)
        err = tr_buf_printf(
            out,
            "],\"workers\":1,\"drain_delay\":\"0s\",\"descriptors\":[\"@bookstore\"],"
            "\"upstreams\":{\"books\":{\"endpoints\":[\"%.*s\"]}},"
            "\"services\":[{\"name\":\"bookstore.v1.Bookstore\",\"upstream\":\"books\"}]}",
            (int)backend.len, backend.ptr);
    return err;
}

static int failed(enum tr_err err, struct tr_status *st)
{
    st->err = err;
    struct tr_span text = tr_status_text(st);
    (void)fprintf(stderr, "transom demo: %.*s\n", (int)text.len, text.ptr);
    return 1;
}

static int run(const struct tr_args *args, struct tr_typepool *pool, struct tr_status *st)
{
    struct tr_demo_backend *backend = NULL;
    struct tr_snapshot *snap = NULL;
    struct tr_buf config;
    char text[TR_ADDR_TEXT_MAX];
    const struct tr_builtin_set builtin[] = {
        {TR_SPAN("@bookstore"), tr_span((const char *)tr_bookstore_pb, tr_bookstore_pb_bytes)},
        {{NULL, 0}, {NULL, 0}}};
    tr_buf_init(&config);
    enum tr_err err = tr_demo_backend_start(pool, &backend, st);
    if (!err)
        err = write_config(args, tr_addr_text(tr_demo_backend_addr(backend), text), &config);
    if (!err)
        err =
            tr_snapshot_build(tr_buf_span(&config), TR_SPAN(""), builtin, TR_SNAPSHOT_FULL, &snap);
    if (!err)
        err = tr_cmd_prepare(snap);
    int status = 0;
    if (err && snap && snap->problems.first) {
        tr_cmd_problems(stderr, "demo", &snap->problems);
        status = 1;
    } else if (err) {
        status = failed(err, st);
    } else {
        struct tr_server_opts opts = {.out = stdout, .name = "transom demo"};
        status = tr_server_run(snap, &opts);
    }
    tr_snapshot_unref(snap);
    tr_demo_backend_stop(backend);
    tr_buf_fini(&config);
    return status;
}

int tr_cmd_demo(int argc, char **argv)
{
    struct tr_args args = {
        .verb = "demo",
        .help = "Usage: transom demo [--port N] [--tls-certificate FILE --tls-key FILE]\n"
                "Run the gateway on an embedded gRPC bookstore: a real gRPC server on loopback, in "
                "the same process.\n"
                "Port 0 takes a free one. With a certificate a second listener speaks TLS on a "
                "free port.\n"};
    int status = tr_args_parse(&args, argc, argv, "pCK", false);
    if (status >= 0)
        return status;
    if (args.rest_count)
        return tr_cmd_usage("demo", "unexpected argument '%s'", args.rest[0]);
    uint64_t port;
    if (args.port && (!tr_span_u64(tr_span_cstr(args.port), &port) || port > 65535))
        return tr_cmd_usage("demo", "'%s' is not a port", args.port);
    if (!args.tls_certificate != !args.tls_key)
        return tr_cmd_usage("demo", "--tls-certificate and --tls-key go together");
    struct tr_typepool *pool = NULL;
    struct tr_status st;
    tr_status_clear(&st);
    enum tr_err err = tr_typepool_new(&pool);
    if (!err)
        err = tr_typepool_add(pool, tr_span((const char *)tr_bookstore_pb, tr_bookstore_pb_bytes),
                              &st);
    if (!err)
        err = tr_typepool_link(pool, NULL, NULL, &st);
    if (!err && !tr_typepool_service(pool, TR_SPAN("bookstore.v1.Bookstore")))
        err = TR_ERR_DESCRIPTOR;
    if (!err)
        err = tr_typepool_freeze(pool, true, &st);
    status = err ? failed(err, &st) : run(&args, pool, &st);
    tr_typepool_free(pool);
    return status;
}
