#include "base/alloc.h"
#include "config/build.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES ((off_t)512 * 1024 * 1024)

struct tr_span tr_build_where(struct tr_build *b, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n < 0)
        n = 0;
    size_t len = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    return tr_arena_copy(&b->snap->arena, tr_span(text, len));
}

static const char *errno_text(int e, char *buf, size_t cap)
{
    return strerror_r(e, buf, cap); /* the GNU form */
}

enum tr_err tr_file_read(struct tr_span path, struct tr_arena *arena, struct tr_span *ret_bytes,
                         struct tr_status *st)
{
    char why[128];
    struct tr_span zpath = tr_arena_copy(arena, path);
    if (!zpath.ptr)
        return TR_ERR_NOMEM;
    int fd = open(zpath.ptr, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tr_fail(st, TR_ERR_CONFIG, "cannot open %s: %s", zpath.ptr,
                       errno_text(errno, why, sizeof why));
    struct stat sb;
    if (fstat(fd, &sb) != 0 || !S_ISREG(sb.st_mode) || sb.st_size > FILE_MAX_BYTES) {
        (void)close(fd);
        return tr_fail(st, TR_ERR_CONFIG, "%s is not a regular file of at most 512 MiB", zpath.ptr);
    }
    size_t size = (size_t)sb.st_size, n = 0;
    char *p = tr_arena_alloc(arena, size + 1);
    while (p && n < size) {
        ssize_t r = read(fd, p + n, size - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    (void)close(fd);
    if (!p)
        return TR_ERR_NOMEM;
    if (n < size)
        return tr_fail(st, TR_ERR_CONFIG, "cannot read %s", zpath.ptr);
    p[n] = '\0';
    *ret_bytes = tr_span(p, n);
    return TR_OK;
}

/* The folder part of a path, without its last '/'; "." when there is none. */
static struct tr_span folder_of(struct tr_span path)
{
    size_t slash = tr_span_rfind(path, '/');
    if (slash == path.len)
        return TR_SPAN(".");
    return slash == 0 ? TR_SPAN("/") : tr_span(path.ptr, slash);
}

enum tr_err tr_snapshot_load(struct tr_span config_file, enum tr_snapshot_mode mode,
                             struct tr_snapshot **ret_snapshot)
{
    struct tr_arena arena;
    struct tr_status st;
    struct tr_span text = TR_SPAN("");
    tr_status_clear(&st);
    tr_arena_init(&arena, NULL);
    enum tr_err err = tr_file_read(config_file, &arena, &text, &st);
    if (err) {
        struct tr_snapshot *snap = tr_calloc(1, sizeof *snap);
        if (snap) {
            atomic_init(&snap->refs, 1);
            tr_arena_init(&snap->arena, NULL);
            tr_problems_init(&snap->problems, &snap->arena);
            struct tr_span why = tr_status_text(&st);
            tr_problem(&snap->problems, TR_PROBLEM_ERROR, TR_SPAN(""), "%.*s", (int)why.len,
                       why.ptr);
        }
        *ret_snapshot = snap;
    } else {
        err = tr_snapshot_build(text, folder_of(config_file), NULL, mode, ret_snapshot);
    }
    tr_arena_fini(&arena);
    return err;
}

static void parse_file(struct tr_build *b, struct tr_span text)
{
    struct tr_snapshot *snap = b->snap;
    json_error_t je;
    snap->root = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES, &je);
    if (!snap->root) {
        tr_problem_at(&snap->problems, je.line > 0 ? (uint32_t)je.line : 1,
                      je.column > 0 ? (uint32_t)je.column : 1, "the JSON is malformed: %s",
                      je.text);
        return;
    }
    tr_keys_parse(&tr_config_keys, snap->root, TR_SPAN(""), &b->ctx, &snap->config);
}

/* Names that only the gateway may set, lower case and with '-' for '_'. */
struct names {
    struct tr_build *b;
    struct tr_span *items;
    uint32_t count, cap;
};

/* What describes the call or its body, and what must be base64. */
static bool is_own(struct tr_span name)
{
    return tr_http_is_hop_by_hop(tr_token_from(name)) || tr_span_starts(name, TR_SPAN("grpc-")) ||
           tr_span_starts(name, TR_SPAN("content-")) || tr_span_eq(name, TR_SPAN("host")) ||
           tr_span_ends(name, TR_SPAN("-bin"));
}

/* made: the gateway makes such headers, else it only keeps clients from it. */
static void add_name(struct names *n, struct tr_span name, struct tr_span where, bool made)
{
    char *p = n->count < n->cap ? tr_arena_alloc(&n->b->snap->arena, name.len + 1) : NULL;
    if (!p || !name.len)
        return;
    for (size_t k = 0; k < name.len; k++)
        p[k] = name.ptr[k] == '_' ? '-' : tr_lower(name.ptr[k]);
    struct tr_span normal = tr_span(p, name.len);
    if (!tr_http_is_token(normal))
        tr_problem(&n->b->snap->problems, TR_PROBLEM_ERROR, where, "not a header name");
    else if (made && is_own(normal))
        tr_problem(&n->b->snap->problems, TR_PROBLEM_ERROR, where,
                   "\"%.*s\" cannot carry what is known of a client", (int)normal.len, normal.ptr);
    else
        n->items[n->count++] = normal;
}

/* Who asked, by the gateway's word alone: under these names it is replaced, and in another spelling
 * ('_') some servers take it for the same. */
static const struct tr_span forwarded[] = {TR_SPAN_INIT("x-forwarded-for"),
                                           TR_SPAN_INIT("x-forwarded-proto"),
                                           TR_SPAN_INIT("x-forwarded-host")};
#define FORWARDED_COUNT (sizeof forwarded / sizeof forwarded[0])

static struct tr_strings identity_headers(struct tr_build *b)
{
    const struct tr_config *c = &b->snap->config;
    const struct tr_cfg_authentication *a = c->authentication;
    const struct tr_cfg_provider *providers = a ? a->providers.items : NULL;
    struct names n = {.b = b, .cap = c->identity_headers.count + 2 + FORWARDED_COUNT};
    for (uint32_t i = 0; a && i < a->providers.count; i++)
        n.cap += providers[i].claims_to_headers.count;
    n.items = tr_arena_calloc(&b->snap->arena, n.cap, sizeof *n.items);
    if (!n.items)
        return (struct tr_strings){NULL, 0};
    for (size_t i = 0; i < FORWARDED_COUNT; i++)
        n.items[n.count++] = forwarded[i];
    for (uint32_t i = 0; i < c->identity_headers.count; i++)
        add_name(&n, c->identity_headers.items[i], tr_build_where(b, "/identity_headers/%u", i),
                 false);
    for (uint32_t i = 0; a && i < a->providers.count; i++)
        for (uint32_t k = 0; k < providers[i].claims_to_headers.count; k++)
            add_name(&n, providers[i].claims_to_headers.values[k],
                     tr_build_where(b, "/authentication/providers/%.*s/claims_to_headers",
                                    (int)providers[i].name.len, providers[i].name.ptr),
                     true);
    if (a && a->api_keys)
        add_name(&n, a->api_keys->consumer_header,
                 TR_SPAN("/authentication/api_keys/consumer_header"), true);
    if (a)
        add_name(&n, a->client_certificate_header,
                 TR_SPAN("/authentication/client_certificate_header"), true);
    return (struct tr_strings){n.items, n.count};
}

/* Query parameters that may hold a token or an API key. */
static struct tr_strings credential_names(struct tr_build *b)
{
    const struct tr_cfg_authentication *a = b->snap->config.authentication;
    const struct tr_cfg_provider *providers = a ? a->providers.items : NULL;
    uint32_t count = 0;
    struct tr_span *items =
        a ? tr_arena_calloc(&b->snap->arena, a->providers.count + 1u, sizeof *items) : NULL;
    for (uint32_t i = 0; items && i < a->providers.count; i++)
        if (providers[i].token_query.len)
            items[count++] = providers[i].token_query;
    if (items && a->api_keys && a->api_keys->query.len)
        items[count++] = a->api_keys->query;
    return (struct tr_strings){items, count};
}

static void take_limits(struct tr_snapshot *snap)
{
    const struct tr_cfg_limits *c = &snap->config.limits;
    snap->limits = (struct tr_hlimits){
        .max_headers = c->max_headers,
        .max_header_bytes = (uint32_t)c->max_header_bytes,
        .max_path_bytes = (uint32_t)c->max_path_bytes,
        .max_concurrent_streams = c->max_concurrent_streams,
        .max_buffered_bytes = (uint32_t)c->max_buffered_bytes,
        .header_timeout_ns = c->header_timeout,
        .body_idle_timeout_ns = c->body_idle_timeout,
        .write_timeout_ns = c->write_timeout,
        .keepalive_timeout_ns = c->keepalive_timeout,
        .max_resets = c->max_resets,
    };
}

enum tr_err tr_snapshot_build(struct tr_span text, struct tr_span folder,
                              const struct tr_builtin_set *builtin, enum tr_snapshot_mode mode,
                              struct tr_snapshot **ret_snapshot)
{
    struct tr_snapshot *snap = tr_calloc(1, sizeof *snap);
    if (!snap)
        return TR_ERR_NOMEM;
    atomic_init(&snap->refs, 1);
    tr_arena_init(&snap->arena, NULL);
    tr_problems_init(&snap->problems, &snap->arena);
    *ret_snapshot = snap;
    snap->problems.text = tr_arena_copy(&snap->arena, text);
    snap->folder = tr_arena_copy(&snap->arena, folder);
    struct tr_build b = {.snap = snap, .folder = snap->folder, .builtin = builtin, .mode = mode};
    b.ctx = (struct tr_keys_ctx){&snap->arena, &snap->problems, b.folder};
    parse_file(&b, snap->problems.text);
    if (!snap->root)
        return TR_ERR_CONFIG;
    take_limits(snap);
    snap->identity_headers = identity_headers(&b);
    snap->policies = tr_policy_set_new(snap->config.policies, &b.ctx);
    if (!snap->policies)
        return TR_ERR_NOMEM;
    tr_policy_set_credentials(snap->policies, credential_names(&b));
    snap->default_policy = tr_policy_resolve(snap->policies, TR_SPAN(""));
    tr_build_descriptors(&b);
    tr_build_listeners(&b);
    tr_build_upstreams(&b);
    tr_build_routes(&b);
    return snap->problems.errors ? TR_ERR_CONFIG : TR_OK;
}

struct tr_snapshot *tr_snapshot_ref(struct tr_snapshot *snap)
{
    (void)atomic_fetch_add_explicit(&snap->refs, 1, memory_order_relaxed);
    return snap;
}

void tr_snapshot_unref(struct tr_snapshot *snap)
{
    if (!snap || atomic_fetch_sub_explicit(&snap->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (snap->filters_dispose)
        snap->filters_dispose(snap);
    for (uint32_t i = 0; i < snap->upstream_count; i++)
        if (snap->upstreams[i].conf)
            tr_tls_ctx_unref(snap->upstreams[i].conf->tls);
    for (uint32_t i = 0; i < snap->listener_count; i++)
        tr_tls_ctx_unref(snap->listeners[i].tls);
    tr_router_free(snap->router);
    tr_typepool_free(snap->pool);
    tr_policy_set_fini(snap->policies);
    json_decref(snap->root);
    tr_arena_fini(&snap->arena);
    tr_free(snap);
}
