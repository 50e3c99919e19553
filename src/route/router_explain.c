/* What `check` and `explain` ask of the router: cold, looks at every route. */
#include "base/assert.h"
#include "route/router.h"
#include "route/router_int.h"

#include <stdio.h>

/* -- shadowed routes
 * ------------------------------------------------------------------------------- Of two shapes the
 * walk prefers the one that is more specific where they first differ, so a route is only ever
 * hidden by one with an equal part before its '**' that goes on with '*' where it says '**':
 * /a/{x}/{y=**} before /a/{y=**}/z. What the others leave over is then a small number of lengths,
 * each of which may be hidden by a route of its own. */

/* A shape to be covered: the template's segments with `fill` stars in place of its '**' (or, when
 * `more`, that many or more). */
struct shape {
    const struct tr_template *t;
    uint32_t fill;
    bool more;
};

static uint32_t shape_len(const struct shape *s)
{
    return s->t->segment_count - 1u + s->fill;
}

/* Segment i of the shape, counted from its start or, for the part behind the fill, its end. */
static struct tr_segment shape_segment(const struct shape *s, uint32_t i)
{
    if (i < s->t->deep)
        return s->t->segments[i];
    if (i < s->t->deep + s->fill)
        return (struct tr_segment){TR_SEGMENT_STAR, TR_SPAN("")};
    return s->t->segments[i - s->fill + 1];
}

static bool segment_covers(struct tr_segment by, struct tr_segment what)
{
    if (by.kind == TR_SEGMENT_STAR)
        return true;
    return by.kind == what.kind && tr_span_eq(by.literal, what.literal);
}

/* Every path of the shape that has no empty segment matches `by`. With `more`, what reaches into
 * the fill must be stars, for there any text may stand. */
static bool covers(const struct tr_template *by, const struct shape *s)
{
    const struct tr_segment star = {TR_SEGMENT_STAR, TR_SPAN("")};
    bool deep = by->deep < by->segment_count;
    uint32_t len = shape_len(s), behind = s->t->segment_count - 1u - s->t->deep;
    uint32_t after = deep ? by->segment_count - 1u - by->deep : 0;
    if (deep ? len < by->deep + after : (s->more || len != by->segment_count))
        return false;
    for (uint32_t i = 0; i < by->deep; i++) {
        bool inside = s->more && i >= s->t->deep;
        if (!segment_covers(by->segments[i], inside ? star : shape_segment(s, i)))
            return false;
    }
    for (uint32_t i = 0; i < after; i++) {
        bool inside = s->more && i >= behind;
        if (!segment_covers(by->segments[by->segment_count - 1 - i],
                            inside ? star : shape_segment(s, len - 1 - i)))
            return false;
    }
    return true;
}

/* `by` is equal to t before t's '**' and does not have '**' there: it is preferred. */
static bool preferred(const struct tr_template *by, const struct tr_template *t)
{
    if (by->deep <= t->deep && by->deep < by->segment_count)
        return false;
    if (by->segment_count < t->deep)
        return false;
    for (uint32_t i = 0; i < t->deep; i++) {
        if (by->segments[i].kind != t->segments[i].kind ||
            !tr_span_eq(by->segments[i].literal, t->segments[i].literal))
            return false;
    }
    return true;
}

static bool serves(const struct route *by, const struct route *route)
{
    return by->custom == route->custom &&
           (by->method == (uint8_t)ROUTER_ANY_VERB ||
            (route->method != (uint8_t)ROUTER_ANY_VERB && tr_span_eq(by->verb, route->verb)) ||
            (by->method == TR_METHOD_GET && route->method == TR_METHOD_HEAD));
}

static const struct route *find_cover(const struct tr_router *r, const struct route *route,
                                      const struct shape *s)
{
    for (uint32_t i = 0; i < r->route_count; i++) {
        const struct route *by = &r->routes[i];
        if (by != route && serves(by, route) && preferred(by->tmpl, route->tmpl) &&
            covers(by->tmpl, s))
            return by;
    }
    return NULL;
}

static const struct route *find_shadow(const struct tr_router *r, const struct route *route)
{
    const struct tr_template *t = route->tmpl;
    const struct route *rest = NULL, *one = NULL;
    struct shape s = {t, 0, true};
    if (t->deep == t->segment_count)
        return NULL;
    /* the least number of segments from which on one other route takes all */
    for (; s.fill <= TR_TEMPLATE_SEGMENTS_MAX && !rest; s.fill++)
        rest = find_cover(r, route, &s);
    if (!rest)
        return NULL;
    struct shape exact = {t, 0, false};
    for (; exact.fill + 1 < s.fill; exact.fill++) {
        one = find_cover(r, route, &exact);
        if (!one)
            return NULL;
    }
    return rest;
}

void tr_router_shadowed(const struct tr_router *router,
                        void (*fn)(void *ctx, void *target, void *by), void *ctx)
{
    TR_DCHECK(router->frozen);
    for (uint32_t i = 0; i < router->route_count; i++) {
        const struct route *by = find_shadow(router, &router->routes[i]);
        if (by)
            fn(ctx, router->routes[i].target, by->target);
    }
}

/* -- near misses
 * ------------------------------------------------------------------------------------ */
enum near_kind {
    NEAR_OTHERS,  /* matches, but another route is preferred */
    NEAR_VERB,    /* the path matches */
    NEAR_CUSTOM,  /* the ':verb' differs */
    NEAR_SEGMENT, /* one segment differs */
    NEAR_LENGTH,  /* begins alike, but has another number of segments */
    NEAR_MANY,    /* begins alike */
    NEAR_NOT
};

struct near {
    const struct route *route;
    enum near_kind kind;
    uint32_t common;   /* segments that match before the first that does not */
    uint32_t literals; /* literals that match */
    uint32_t segment;  /* first of the template that does not */
    uint32_t in_path;  /* the path's segment there */
};

static bool segment_matches(struct walk *w, const struct tr_segment *s, uint32_t i)
{
    const struct walk_segment *p = walk_segment_at(w, i);
    if (s->kind == TR_SEGMENT_STAR)
        return p->len > 0;
    return tr_path_normal_eq(tr_span(w->path.ptr + p->off, p->len), s->literal);
}

/* Cuts the ':verb' off the walk's path when it is this template's. */
static bool cut_custom(struct walk *w, struct tr_span verb)
{
    if (!w->count)
        return false;
    struct walk_segment *last = walk_segment_at(w, w->count - 1);
    struct tr_span text = tr_span(w->path.ptr + last->off, last->len);
    size_t colon = tr_span_rfind(text, ':');
    if (colon == text.len || !tr_path_normal_eq(tr_span_from(text, colon + 1), verb))
        return false;
    last->len = (uint32_t)colon;
    w->path.len = last->off + colon;
    return true;
}

/* Compares segment by segment, before the '**' from the start and behind it from the end. */
static uint32_t count_differences(struct walk *w, const struct tr_template *t, struct near *n)
{
    uint32_t differ = 0, after = t->deep < t->segment_count ? t->segment_count - 1u - t->deep : 0;
    for (uint32_t i = 0; i < t->deep && i < w->count; i++) {
        bool same = segment_matches(w, &t->segments[i], i);
        n->literals += same && t->segments[i].kind == TR_SEGMENT_LITERAL;
        if (!same && !differ++) {
            n->segment = i;
            n->in_path = i;
        }
        if (!differ)
            n->common = i + 1;
    }
    for (uint32_t i = 0; i < after && i < w->count; i++) {
        uint32_t at = t->segment_count - after + i, in_path = w->count - after + i;
        if (in_path >= w->count)
            continue; /* below 0: the path is too short */
        bool same = segment_matches(w, &t->segments[at], in_path);
        n->literals += same && t->segments[at].kind == TR_SEGMENT_LITERAL;
        if (!same && !differ++) {
            n->segment = at;
            n->in_path = in_path;
        }
    }
    return differ;
}

static bool begins_with_literal(const struct tr_template *t)
{
    return t->segment_count && t->segments[0].kind == TR_SEGMENT_LITERAL;
}

static bool route_serves(const struct route *route, enum tr_method method, struct tr_span text)
{
    if (route->method == (uint8_t)ROUTER_ANY_VERB)
        return true;
    if (route->method == TR_METHOD_GET && method == TR_METHOD_HEAD)
        return true;
    return route->method == (uint8_t)method &&
           (method != TR_METHOD_OTHER || tr_span_eq(route->verb, text));
}

static struct near judge(struct walk *w, const struct route *route, enum tr_method method,
                         struct tr_span verb_text, struct tr_span path)
{
    const struct tr_template *t = route->tmpl;
    struct near n = {.route = route, .kind = NEAR_NOT};
    if (!walk_init(w, w->r, path))
        return n;
    bool custom = t->verb.len == 0 || cut_custom(w, t->verb);
    bool deep = t->deep < t->segment_count;
    bool fits = deep ? w->count + 1 >= t->segment_count : w->count == t->segment_count;
    uint32_t differ = count_differences(w, t, &n);
    if (fits && differ == 0 && custom)
        n.kind = route_serves(route, method, verb_text) ? NEAR_OTHERS : NEAR_VERB;
    else if (fits && differ == 0)
        n.kind = NEAR_CUSTOM;
    else if (fits && differ == 1 && custom && (n.literals || t->segment_count == 1))
        n.kind = NEAR_SEGMENT;
    else if (n.common && begins_with_literal(t))
        n.kind = fits ? NEAR_MANY : NEAR_LENGTH;
    return n;
}

static bool nearer(const struct near *a, const struct near *b)
{
    return a->kind != b->kind ? a->kind < b->kind : a->common > b->common;
}

#define TEXT_MAX 64 /* of a segment in a reason */
#define CUT(s)   (int)((s).len < TEXT_MAX ? (s).len : TEXT_MAX), (s).ptr

static int format_segment(struct walk *w, const struct near *n, char *out, size_t cap)
{
    const struct tr_segment *s = &n->route->tmpl->segments[n->segment];
    const struct walk_segment *p = walk_segment_at(w, n->in_path);
    struct tr_span got = tr_span(w->path.ptr + p->off, p->len);
    if (s->kind == TR_SEGMENT_STAR)
        return snprintf(out, cap, "segment %u is empty", n->in_path + 1);
    return snprintf(out, cap, "segment %u must be '%.*s', not '%.*s'", n->in_path + 1,
                    CUT(s->literal), CUT(got));
}

static struct tr_span format_reason(struct walk *w, const struct near *n, struct tr_span path,
                                    char *out, size_t cap)
{
    const struct tr_template *t = n->route->tmpl;
    int len = 0;
    (void)walk_init(w, w->r, path);
    if (t->verb.len)
        (void)cut_custom(w, t->verb);
    switch (n->kind) {
    case NEAR_OTHERS:
        len = snprintf(out, cap, "it matches, but another route is preferred");
        break;
    case NEAR_VERB:
        len = snprintf(out, cap, "verb is %.*s", CUT(n->route->verb));
        break;
    case NEAR_CUSTOM:
        len = snprintf(out, cap, "the path must end in ':%.*s'", CUT(t->verb));
        break;
    case NEAR_SEGMENT:
    case NEAR_MANY:
        len = format_segment(w, n, out, cap);
        break;
    case NEAR_LENGTH:
    case NEAR_NOT:
    default:
        len = snprintf(out, cap, "it has %s%u segments, the path has %u",
                       t->deep < t->segment_count ? "at least " : "",
                       t->segment_count - (t->deep < t->segment_count ? 1u : 0u), w->count);
        break;
    }
    return tr_span(out, len > 0 ? (size_t)len : 0);
}

void tr_router_near_misses(const struct tr_router *router, enum tr_method method,
                           struct tr_span verb_text, struct tr_span path,
                           void (*fn)(void *ctx, void *target, struct tr_span reason), void *ctx)
{
    TR_DCHECK(router->frozen);
    struct walk w = {.r = router};
    struct near best[TR_NEAR_MISSES_MAX + 1];
    uint32_t count = 0;
    for (uint32_t i = 0; i < router->route_count; i++) {
        struct near n = judge(&w, &router->routes[i], method, verb_text, path);
        if (n.kind == NEAR_NOT)
            continue;
        uint32_t at = count;
        for (; at > 0 && nearer(&n, &best[at - 1]); at--)
            best[at] = best[at - 1];
        best[at] = n;
        if (count < TR_NEAR_MISSES_MAX)
            count++;
    }
    for (uint32_t i = 0; i < count; i++) {
        char reason[256];
        fn(ctx, best[i].route->target, format_reason(&w, &best[i], path, reason, sizeof reason));
    }
}
