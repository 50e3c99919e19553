#include "base/assert.h"
#include "base/simd.h"
#include "route/router.h"
#include "route/router_int.h"

/* -- the walk -------------------------------------------------------------------------------------
 * A depth-first search with its stack in w->frames: a frame is a node and how far its choices have
 * been tried. Frames before a '**' are as deep as the path's segments, frames after it begin anew
 * at the segment where the rest is as long as the template's: see router.h for why that is all. */
enum { STAGE_LITERAL, STAGE_STAR, STAGE_DEEP };

/* Where '/' is among the first n bytes at p, at most 16, a bit for each; *escapes: a '%' is there.
 */
static uint32_t slashes(const char *p, size_t n, bool *escapes)
{
#ifdef TR_SIMD
    __m128i v = n < 16 ? tr_simd_load_short(p, n) : tr_simd_load(p);
    if (_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('%'))))
        *escapes = true;
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('/')));
#else
    uint32_t mask = 0;
    for (size_t i = 0; i < n && i < 16; i++) {
        mask |= (uint32_t)(p[i] == '/') << i;
        *escapes |= p[i] == '%';
    }
    return mask;
#endif
}

static void add_segment(struct walk *w, size_t from, size_t to)
{
    struct walk_segment *s = walk_segment_at(w, w->count++);
    s->off = (uint32_t)from;
    s->len = (uint32_t)(to - from);
    s->hashed = false;
}

bool walk_init(struct walk *w, const struct tr_router *r, struct tr_span path)
{
    w->r = r;
    w->path = path;
    w->count = 0;
    w->custom = 0;
    w->top = -1;
    w->escapes = false;
    if (path.len == 0 || path.ptr[0] != '/' || path.len > UINT32_MAX)
        return false;
    if (path.len == 1)
        return true;
    size_t from = 1;
    for (size_t at = 1; at < path.len; at += 16) {
        uint32_t mask = slashes(path.ptr + at, path.len - at, &w->escapes);
        for (; mask; mask &= mask - 1) {
            size_t slash = at + (size_t)__builtin_ctz(mask);
            add_segment(w, from, slash);
            from = slash + 1;
        }
    }
    add_segment(w, from, path.len);
    return true;
}

static void walk_begin(struct walk *w, uint32_t custom)
{
    w->custom = custom;
    w->top = -1;
    if (w->r->b_node_count) {
        w->top = 0;
        w->frames[0] = (struct walk_frame){0, 0, 0, STAGE_LITERAL};
    }
}

bool walk_with_verb(struct walk *w)
{
    if (!w->count)
        return false;
    struct walk_segment *last = walk_segment_at(w, w->count - 1);
    struct tr_span text = tr_span(w->path.ptr + last->off, last->len);
    size_t colon = tr_span_rfind(text, ':');
    if (colon == text.len || text.len - colon - 1 > 3 * TR_TEMPLATE_LITERAL_MAX)
        return false;
    struct tr_span verb = tr_span_from(text, colon + 1);
    char normal[3 * TR_TEMPLATE_LITERAL_MAX];
    if (w->escapes)
        verb = tr_span(normal, tr_path_normalise(verb, normal));
    uint32_t custom = router_custom_find(w->r, verb);
    if (!custom)
        return false;
    last->len = (uint32_t)colon;
    last->hashed = false;
    w->path.len = last->off + colon;
    walk_begin(w, custom);
    return true;
}

void walk_whole(struct walk *w)
{
    walk_begin(w, 0);
}

static uint32_t segment_hash(const struct walk *w, struct walk_segment *s)
{
    if (s->hashed)
        return s->hash;
    struct tr_span text = tr_span(w->path.ptr + s->off, s->len);
    char normal[3 * TR_TEMPLATE_LITERAL_MAX];
    s->escaped = w->escapes && tr_span_find(text, '%') != text.len;
    if (s->escaped) {
        if (text.len > sizeof normal) /* longer than any literal */
            return 0;
        text = tr_span(normal, tr_path_normalise(text, normal));
    }
    s->hash = router_hash(text);
    s->hashed = true;
    return s->hash;
}

static bool edge_matches(const struct walk *w, const struct edge *e, const struct walk_segment *s)
{
    struct tr_span text = tr_span(w->path.ptr + s->off, s->len);
    struct tr_span literal = tr_span(w->r->texts + e->text, e->len);
    return s->escaped ? tr_path_normal_eq(text, literal) : tr_span_eq(text, literal);
}

static uint32_t literal_child(struct walk *w, const struct node *n, uint32_t pos)
{
    struct walk_segment *s = walk_segment_at(w, pos);
    uint32_t hash = segment_hash(w, s);
    const struct edge *edges = w->r->edges + n->edges;
    for (uint32_t i = 0; i < n->probe; i++) {
        const struct edge *e = &edges[(hash + i) & n->mask];
        if (!e->child)
            return 0;
        if (e->hash == hash && edge_matches(w, e, s))
            return e->child;
    }
    return 0;
}

/* The node's routes with the ':verb' of the walk; false when it has none. */
static bool find_leaf(const struct walk *w, const struct node *n, struct leaf *ret_leaf)
{
    const struct hot_route *hot = w->r->hot;
    uint32_t lo = n->routes, hi = n->routes + n->route_count, end = hi;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (hot[mid].custom < w->custom)
            lo = mid + 1;
        else
            hi = mid;
    }
    ret_leaf->from = lo;
    while (lo < end && hot[lo].custom == w->custom)
        lo++;
    ret_leaf->to = lo;
    return ret_leaf->from < lo;
}

static void push(struct walk *w, uint32_t node, uint32_t pos)
{
    TR_DCHECK((size_t)w->top + 1 < sizeof w->frames / sizeof w->frames[0]);
    w->frames[++w->top] = (struct walk_frame){node, pos, 0, STAGE_LITERAL};
}

bool walk_next(struct walk *w, struct leaf *ret_leaf)
{
    while (w->top >= 0) {
        struct walk_frame *f = &w->frames[w->top];
        const struct node *n = &w->r->nodes[f->node];
        if (f->stage == STAGE_LITERAL && f->pos == w->count) {
            f->stage = STAGE_DEEP;
            if (find_leaf(w, n, ret_leaf))
                return true;
        } else if (f->stage == STAGE_LITERAL) {
            f->stage = STAGE_STAR;
            uint32_t child = n->probe ? literal_child(w, n, f->pos) : 0;
            if (child)
                push(w, child, f->pos + 1);
        } else if (f->stage == STAGE_STAR) {
            f->stage = STAGE_DEEP;
            if (n->star && walk_segment_at(w, f->pos)->len)
                push(w, n->star, f->pos + 1);
        } else if (f->group < n->group_count) {
            const struct group *g = &w->r->groups[n->groups + f->group++];
            if (g->len <= w->count - f->pos)
                push(w, g->root, w->count - g->len);
        } else {
            w->top--;
        }
    }
    return false;
}

/* -- match
 * ----------------------------------------------------------------------------------------- */
static const struct hot_route *pick_route(const struct tr_router *r, const struct leaf *leaf,
                                          enum tr_method method, struct tr_span verb_text)
{
    const struct hot_route *get = NULL, *any = NULL;
    for (uint32_t i = leaf->from; i < leaf->to; i++) {
        const struct hot_route *route = &r->hot[i];
        if (route->method == (uint8_t)ROUTER_ANY_VERB)
            any = route;
        else if (route->method == (uint8_t)method &&
                 (method != TR_METHOD_OTHER || tr_span_eq(r->routes[i].verb, verb_text)))
            return route;
        else if (route->method == TR_METHOD_GET && method == TR_METHOD_HEAD)
            get = route;
    }
    return get ? get : any;
}

/* Segments [from, to) of the path as one span, with the slashes between them. */
static struct tr_span segments_text(struct walk *w, uint32_t from, uint32_t to)
{
    if (from == to) {
        size_t at = from < w->count ? walk_segment_at(w, from)->off : w->path.len;
        return tr_span(w->path.ptr + at, 0);
    }
    const struct walk_segment *last = walk_segment_at(w, to - 1);
    uint32_t start = walk_segment_at(w, from)->off;
    return tr_span(w->path.ptr + start, last->off + last->len - start);
}

static void fill_match(struct walk *w, const struct hot_route *route, struct tr_route_match *m)
{
    m->result = TR_MATCH_FOUND;
    m->target = route->target;
    m->tmpl = route->tmpl;
    m->capture_count = route->var_count;
    /* behind the "**" the template's segments are counted from the end of the path */
    uint32_t shift = w->count - route->segment_count; /* modulo 2^32: -1 when "**" takes none */
    for (uint32_t i = 0; i < route->var_count; i++) {
        const struct tr_template_var *v = &route->vars[i];
        bool inlined = i < HOT_RANGES;
        uint32_t first = inlined ? route->ranges[i].first : v->first;
        uint32_t end = inlined ? route->ranges[i].end : (uint32_t)v->first + v->count;
        if (first > route->deep)
            first += shift;
        if (end > route->deep)
            end += shift;
        m->captures[i] = (struct tr_capture){segments_text(w, first, end), v};
    }
}

void tr_router_match(const struct tr_router *router, enum tr_method method,
                     struct tr_span verb_text, struct tr_span path,
                     struct tr_route_match *ret_match)
{
    TR_DCHECK(router->frozen);
    struct walk w;
    struct leaf leaf;
    ret_match->result = TR_MATCH_NOT_FOUND;
    ret_match->target = NULL;
    ret_match->tmpl = NULL;
    ret_match->capture_count = 0;
    if (!walk_init(&w, router, path))
        return;
    for (int with_verb = 1; with_verb >= 0; with_verb--) {
        if (!with_verb) {
            /* the cut of a ':verb' that no route takes is undone */
            if (w.path.len != path.len)
                (void)walk_init(&w, router, path);
            walk_whole(&w);
        } else if (!walk_with_verb(&w)) {
            continue;
        }
        while (walk_next(&w, &leaf)) {
            const struct hot_route *route = pick_route(router, &leaf, method, verb_text);
            if (route) {
                fill_match(&w, route, ret_match);
                return;
            }
            ret_match->result = TR_MATCH_METHOD;
        }
        if (ret_match->result == TR_MATCH_METHOD)
            return;
    }
}

/* -- allow
 * ----------------------------------------------------------------------------------------- */
#define ALLOW_OTHERS_MAX 32 /* verbs beyond the usual ones; more are left out of Allow */

struct allow {
    uint32_t methods; /* bit: enum tr_method */
    uint32_t other_count;
    struct tr_span others[ALLOW_OTHERS_MAX];
};

static void allow_add(struct allow *a, const struct route *route)
{
    const uint32_t usual = 1u << TR_METHOD_GET | 1u << TR_METHOD_HEAD | 1u << TR_METHOD_POST |
                           1u << TR_METHOD_PUT | 1u << TR_METHOD_PATCH | 1u << TR_METHOD_DELETE;
    if (route->method == (uint8_t)ROUTER_ANY_VERB) {
        a->methods |= usual;
        return;
    }
    if (route->method != TR_METHOD_OTHER) {
        a->methods |= 1u << route->method;
        if (route->method == TR_METHOD_GET)
            a->methods |= 1u << TR_METHOD_HEAD;
        return;
    }
    for (uint32_t i = 0; i < a->other_count; i++) {
        if (tr_span_eq(a->others[i], route->verb))
            return;
    }
    if (a->other_count < ALLOW_OTHERS_MAX)
        a->others[a->other_count++] = route->verb;
}

static struct tr_span allow_text(const struct allow *a, struct tr_arena *arena)
{
    struct tr_span names[TR_METHOD__COUNT + ALLOW_OTHERS_MAX];
    uint32_t count = 0;
    for (int m = TR_METHOD_GET; m < TR_METHOD__COUNT; m++) {
        if (a->methods & 1u << m || m == TR_METHOD_OPTIONS)
            names[count++] = tr_method_name((enum tr_method)m);
    }
    for (uint32_t i = 0; i < a->other_count; i++)
        names[count++] = a->others[i];
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++)
        len += names[i].len + 2;
    char *out = tr_arena_alloc(arena, len);
    if (!out)
        return tr_span(NULL, 0);
    size_t n = 0;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(out + n, names[i].ptr, names[i].len);
        n += names[i].len;
        if (i + 1 < count) {
            memcpy(out + n, ", ", 2);
            n += 2;
        }
    }
    return tr_span(out, n);
}

struct tr_span tr_router_allow(const struct tr_router *router, struct tr_span path,
                               struct tr_arena *arena)
{
    TR_DCHECK(router->frozen);
    struct walk w;
    struct allow a = {0};
    struct leaf leaf;
    bool found = false;
    if (!walk_init(&w, router, path))
        return tr_span(NULL, 0);
    if (walk_with_verb(&w)) {
        while (walk_next(&w, &leaf)) {
            found = true;
            for (uint32_t i = leaf.from; i < leaf.to; i++)
                allow_add(&a, &router->routes[i]);
        }
    }
    if (!found) {
        (void)walk_init(&w, router, path);
        walk_whole(&w);
        while (walk_next(&w, &leaf)) {
            found = true;
            for (uint32_t i = leaf.from; i < leaf.to; i++)
                allow_add(&a, &router->routes[i]);
        }
    }
    return found ? allow_text(&a, arena) : tr_span(NULL, 0);
}

enum tr_err tr_capture_decode(const struct tr_capture *capture, enum tr_path_unescape mode,
                              struct tr_arena *arena, struct tr_span *ret_value)
{
    return tr_path_decode(capture->raw, capture->var->multi ? mode : TR_UNESCAPE_ALL, arena,
                          ret_value);
}
