/* Private to config/: the steps of building a snapshot. Each reports to snap->problems and goes on
 * where it can. */
#ifndef TR_CONFIG_BUILD_H
#define TR_CONFIG_BUILD_H

#include "config/snapshot.h"

struct tr_build {
    struct tr_snapshot *snap;
    struct tr_span folder;
    const struct tr_builtin_set *builtin;
    enum tr_snapshot_mode mode;
    struct tr_keys_ctx ctx;
};

/* "/a/0/b" from printf-like parts, in the arena. */
struct tr_span tr_build_where(struct tr_build *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

enum tr_err tr_file_read(struct tr_span path, struct tr_arena *arena, struct tr_span *ret_bytes,
                         struct tr_status *st) TR_MUST_USE;

void tr_build_descriptors(struct tr_build *b);
void tr_build_listeners(struct tr_build *b);
void tr_build_upstreams(struct tr_build *b);
void tr_build_routes(struct tr_build *b);

/* The rules of "http_rules" as structs, in the arena; each selector with its place in the file. */
struct tr_rule_override {
    struct tr_span selector; /* "pkg.Service.Method" or "pkg.Service.*" */
    struct tr_span where;
    struct tr_http_rule rule;
    bool used;
};
struct tr_rule_overrides {
    struct tr_rule_override *items;
    uint32_t count;
};
void tr_build_http_rules(struct tr_build *b, struct tr_rule_overrides *ret_overrides);

#endif
