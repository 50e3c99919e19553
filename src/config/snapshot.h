/* A snapshot: everything that requests read, built from one configuration file, all of it or
 * nothing; immutable after.
 *
 * Ownership: the snapshot owns an arena, the type pool, the router and the TLS contexts. It is
 * reference-counted (atomic), since exchanges finish under the snapshot they began with. Built off
 * the loops (files are read here). */
#ifndef TR_CONFIG_SNAPSHOT_H
#define TR_CONFIG_SNAPSHOT_H

#include "config/config.h"
#include "config/policy.h"
#include "http/codec.h"
#include "proto/typepool.h"
#include "route/router.h"
#include "transcode/plan.h"
#include "transcode/query.h"
#include "upstream/upstream.h"

#include <stdatomic.h>

/* One way to call a method: a REST binding, or the native gRPC path. */
struct tr_route {
    uint32_t index; /* row in the metrics */
    const struct tr_rpc *rpc;
    const struct tr_policy *policy;
    const struct tr_upstream *upstream;
    struct tr_span verb;            /* REST: "GET", "*"...; native: "POST" */
    struct tr_span template_text;   /* as served, path_prefix included */
    struct tr_span label;           /* metrics: the template, or "/pkg.Service/Method" */
    const struct tr_template *tmpl; /* NULL for native */
    const struct tr_plan *plan;     /* NULL for native */
    bool native;
    bool idempotent; /* may be done twice: by idempotency_level, or by its verb (GET, PUT, DELETE);
                        native: when all rules of the method are of these verbs */
};

struct tr_listener_conf {
    struct tr_addr addr;
    struct tr_tls_ctx *tls;
    const struct tr_cfg_listener *cfg;
};

struct tr_snapshot {
    _Atomic uint32_t refs;
    struct tr_arena arena;
    struct tr_config config;
    struct tr_problems problems;
    struct tr_span folder; /* of the file: relative paths begin there */
    struct json_t *root;   /* the file's DOM, until the snapshot goes */
    struct tr_typepool *pool;
    struct tr_router *router;
    struct tr_route **routes; /* by index */
    uint32_t route_count, route_cap;
    /* native gRPC: open addressing by path */
    uint32_t native_mask;
    const struct tr_route **native;
    struct tr_upstream *upstreams;
    uint32_t upstream_count;
    struct tr_listener_conf *listeners;
    uint32_t listener_count;
    struct tr_addr admin_addr; /* without a length: none is configured */
    struct tr_hlimits limits;
    struct tr_policy_set *policies;
    const struct tr_policy *default_policy; /* for refusals without a route */
    struct tr_strings identity_headers;     /* lower case, '_' as '-'; x-forwarded-* too */
    void **filter_conf;                     /* by filter, in the arena; NULL until prepared */
    void (*filters_dispose)(struct tr_snapshot *snap);
};

enum tr_snapshot_mode {
    TR_SNAPSHOT_FULL,
    TR_SNAPSHOT_OFFLINE, /* check, routes, explain: certificates are read, sockets and names
                            untouched */
};

/* From a file. On failure *ret_snapshot is set all the same (so that its problems can be printed)
 * and must be freed. */
enum tr_err tr_snapshot_load(struct tr_span config_file, enum tr_snapshot_mode mode,
                             struct tr_snapshot **ret_snapshot) TR_MUST_USE;
/* From text; relative paths are relative to folder; descriptor sets may be given in memory for
 * "@name" entries of `descriptors` (the demo). */
struct tr_builtin_set {
    struct tr_span name, bytes;
};
enum tr_err tr_snapshot_build(struct tr_span text, struct tr_span folder,
                              const struct tr_builtin_set *builtin, enum tr_snapshot_mode mode,
                              struct tr_snapshot **ret_snapshot) TR_MUST_USE;
struct tr_snapshot *tr_snapshot_ref(struct tr_snapshot *snap);
void tr_snapshot_unref(struct tr_snapshot *snap);

/* How the query of a REST route binds: what its policy, path and body leave. */
struct tr_query_opts tr_route_query_opts(const struct tr_route *route);

/* "/pkg.Service/Method"; NULL when it is not exposed. */
const struct tr_route *tr_snapshot_native(const struct tr_snapshot *snap, struct tr_span path);

#endif
