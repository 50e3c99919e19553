/* Verb and raw path to route, in time that depends on the path and not on the number of routes.
 *
 * Vocabulary: a *route* is (verb, template, target); the *shape* of a template is its segments without variable names. Routes
 * live in a trie over segments, compiled once, immutable and shared after tr_router_freeze.
 *
 * Contract
 *  1. Matching works on the raw path, split at '/' before decoding; literals compare after decoding unreserved escapes, hex
 *     case ignored. An empty segment matches nothing but '**'; '**' takes zero or more segments. At each segment: literal, then '*',
 *     then '**', with backtracking; then verb. A trailing slash is significant. Work is bounded (memoised or iterative
 *     backtracking: at most segments x nodes visited on the path's way), no recursion, no allocation.
 *  2. ':verb' is the text after the last ':' of the last segment, and only if that verb is registered for a path that
 *     matches; else it is data. A route with a verb is preferred to one that takes it as data.
 *  3. Two routes with one verb and one shape are a conflict, reported with both targets. An exact verb is preferred to "*".
 *  4. HEAD is served by GET routes where HEAD itself is not routed.
 *  5. The path must have been checked (tr_path_check) before. */
#ifndef TR_ROUTE_ROUTER_H
#define TR_ROUTE_ROUTER_H

#include "base/arena.h"
#include "http/msg.h"
#include "route/template.h"

struct tr_router;

enum tr_err tr_router_new(struct tr_router **ret_router) TR_MUST_USE;
void tr_router_free(struct tr_router *router);

/* verb: "GET", any token, or "*" for every verb. tmpl and target must outlive the router. When an equal route exists,
 * *ret_conflict is its target and nothing is added (the caller decides: error, or keep the first); else NULL. */
enum tr_err tr_router_add(struct tr_router *router, struct tr_span verb, const struct tr_template *tmpl, void *target,
                          void **ret_conflict) TR_MUST_USE;
enum tr_err tr_router_freeze(struct tr_router *router) TR_MUST_USE;

/* Routes that can never match because others are always preferred ("warns of routes that can never match"); calls fn. */
void tr_router_shadowed(const struct tr_router *router, void (*fn)(void *ctx, void *target, void *by), void *ctx);

struct tr_capture {
    struct tr_span raw;                /* as sent, in the path */
    const struct tr_template_var *var;
};

enum tr_match { TR_MATCH_FOUND, TR_MATCH_NOT_FOUND, TR_MATCH_METHOD /* path known, verb not: 405 */ };

struct tr_route_match {
    enum tr_match result;
    void *target;                      /* FOUND */
    const struct tr_template *tmpl;
    uint32_t capture_count;
    struct tr_capture captures[TR_TEMPLATE_VARS_MAX];
};

/* verb_text is compared when method is OTHER. */
void tr_router_match(const struct tr_router *router, enum tr_method method, struct tr_span verb_text, struct tr_span path,
                     struct tr_route_match *ret_match);
/* The verbs that some route has for this path, for Allow and OPTIONS: "GET, HEAD, OPTIONS" in the arena, OPTIONS always
 * included, HEAD with GET; empty when the path is unknown. */
struct tr_span tr_router_allow(const struct tr_router *router, struct tr_span path, struct tr_arena *arena);
/* For `explain`: calls fn for each route that nearly matches (same number of segments or a deep wildcard, or a common literal
 * prefix), with the reason ("verb is POST", "segment 3 is 'books', not 'shelves'"). Cold. */
void tr_router_near_misses(const struct tr_router *router, enum tr_method method, struct tr_span verb_text, struct tr_span path,
                           void (*fn)(void *ctx, void *target, struct tr_span reason), void *ctx);

/* SPEC §3: no dot segments (also encoded), no %00, no malformed escapes, valid UTF-8 after decoding, only characters of
 * RFC 3986 pchar and '/'. TR_ERR_BAD_TARGET with offset. */
enum tr_err tr_path_check(struct tr_span path, struct tr_status *st) TR_MUST_USE;
/* The canonical path: unreserved escapes decoded, nothing else changed. Returns path itself when nothing changes. */
enum tr_err tr_path_canonical(struct tr_span path, struct tr_arena *arena, struct tr_span *ret_path) TR_MUST_USE;

enum tr_path_unescape { TR_UNESCAPE_ALL_EXCEPT_SLASH, TR_UNESCAPE_ALL_EXCEPT_RESERVED, TR_UNESCAPE_ALL };
/* The value of a capture: single-segment ones decoded fully, others by mode; what stays encoded stays as sent.
 * Returns raw itself when nothing is encoded. */
enum tr_err tr_capture_decode(const struct tr_capture *capture, enum tr_path_unescape mode, struct tr_arena *arena,
                              struct tr_span *ret_value) TR_MUST_USE;

#endif
