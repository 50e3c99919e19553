/* Verb and raw path to route, in time that depends on the path and not on the number of routes.
 *
 * Vocabulary: a *route* is (verb, template, target); the *shape* of a template is its segments
 * without variable names; a *leaf* is where the routes of one shape and one ':verb' are. Routes
 * live in a trie over segments, compiled once, immutable and shared after tr_router_freeze.
 *
 * Contract
 *  1. Matching works on the raw path, split at '/' before decoding; literals compare in the normal
 *     form of route/path.h. An empty segment matches nothing but '**'; '**' takes zero or more
 *     segments. At each segment: literal, then '*', then '**', with backtracking; then verb: a
 *     leaf without a route for the verb is passed over. Of two routes with text after the same
 *     '**' this prefers the one with more segments after it. "/" has no segment; elsewhere a
 *     trailing slash is a last, empty segment.
 *  2. ':verb' is the text after the last ':' of the last segment, if a route with that verb matches
 *     the path; then only routes with it are candidates, also for another HTTP verb (405). Else it
 *     is data.
 *  3. Two routes with one verb and one shape are a conflict, reported with both targets. Within a
 *     leaf an exact verb is preferred to "*".
 *  4. HEAD is served by a leaf's GET route where HEAD itself is not routed.
 *  5. The path must have been checked (tr_path_check) before.
 *
 * Bounds: a node before a '**' lies at one depth and is reached at one place of the path; a node
 * after it lies in a trie of its own for each number of segments after the '**', which is laid at
 * the end of the path. So each node is visited at most once for each reading of the path (with and
 * without ':verb'), whatever the path: no memo, no recursion, no allocation, and a path of 4,096
 * segments costs one scan for its slashes. contrib/adr/0020-router.md.
 *
 * Ownership: routes refer to the templates and targets, which must outlive the router.
 * Thread: built by one thread; after tr_router_freeze any number may read. */
#ifndef TR_ROUTE_ROUTER_H
#define TR_ROUTE_ROUTER_H

#include "base/arena.h"
#include "http/msg.h"
#include "route/path.h"
#include "route/template.h"

struct tr_router;

enum tr_err tr_router_new(struct tr_router **ret_router) TR_MUST_USE;
void tr_router_free(struct tr_router *router);

/* verb: "GET", any token, or "*" for every verb. verb, tmpl and target must outlive the router.
 * When an equal route exists, *ret_conflict is its target and nothing is added (the caller decides:
 * error, or keep the first); else NULL. TR_ERR_NOMEM leaves the router as it was. */
enum tr_err tr_router_add(struct tr_router *router, struct tr_span verb,
                          const struct tr_template *tmpl, void *target,
                          void **ret_conflict) TR_MUST_USE;
/* After it nothing can be added; before it nothing can be matched. TR_ERR_NOMEM. */
enum tr_err tr_router_freeze(struct tr_router *router) TR_MUST_USE;

/* Routes that can never match because others are always preferred, on every path without empty
 * segments: only a '**' with text or other routes around it can be so. Calls fn with one of those
 * others. Cold. */
void tr_router_shadowed(const struct tr_router *router,
                        void (*fn)(void *ctx, void *target, void *by), void *ctx);

struct tr_capture {
    struct tr_span raw; /* as sent, in the path; several segments with their slashes */
    const struct tr_template_var *var;
};

enum tr_match {
    TR_MATCH_FOUND,
    TR_MATCH_NOT_FOUND,
    TR_MATCH_METHOD /* path known, verb not: 405 */
};

struct tr_route_match {
    enum tr_match result;
    void *target; /* FOUND */
    const struct tr_template *tmpl;
    uint32_t capture_count;
    struct tr_capture captures[TR_TEMPLATE_VARS_MAX];
};

/* verb_text is compared when method is OTHER. Only the first capture_count captures are set. */
void tr_router_match(const struct tr_router *router, enum tr_method method,
                     struct tr_span verb_text, struct tr_span path,
                     struct tr_route_match *ret_match);
/* The verbs that some route has for this path, for Allow and OPTIONS: "GET, HEAD, OPTIONS" in the
 * arena, OPTIONS always included, HEAD with GET, all usual ones for a route of "*"; empty when the
 * path is unknown or memory is short. */
struct tr_span tr_router_allow(const struct tr_router *router, struct tr_span path,
                               struct tr_arena *arena);

#define TR_NEAR_MISSES_MAX 16

/* For `explain`: calls fn for the routes that nearly match, the nearest first and at most
 * TR_NEAR_MISSES_MAX, with the reason ("verb is POST", "segment 3 is 'shelves', not 'books'").
 * The reason is valid during the call. Cold: looks at every route. */
void tr_router_near_misses(const struct tr_router *router, enum tr_method method,
                           struct tr_span verb_text, struct tr_span path,
                           void (*fn)(void *ctx, void *target, struct tr_span reason), void *ctx);

/* The value of a capture: single-segment ones decoded fully, others by mode; what stays encoded
 * stays as sent. Returns raw itself when nothing is decoded. TR_ERR_NOMEM. */
enum tr_err tr_capture_decode(const struct tr_capture *capture, enum tr_path_unescape mode,
                              struct tr_arena *arena, struct tr_span *ret_value) TR_MUST_USE;

#endif
