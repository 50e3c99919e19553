#include "route/router.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "route/router_int.h"

enum tr_err tr_router_new(struct tr_router **ret_router)
{
    struct tr_router *r = tr_calloc(1, sizeof *r);
    if (!r)
        return TR_ERR_NOMEM;
    *ret_router = r;
    return TR_OK;
}

static void free_builder(struct tr_router *r)
{
    tr_free(r->b_nodes);
    tr_free(r->b_groups);
    tr_free(r->child_slots);
    r->b_nodes = NULL;
    r->b_groups = NULL;
    r->child_slots = NULL;
}

static void free_compiled(struct tr_router *r)
{
    tr_free(r->nodes);
    tr_free(r->edges);
    tr_free(r->groups);
    tr_free(r->hot);
    tr_free(r->texts);
    r->nodes = NULL;
    r->edges = NULL;
    r->groups = NULL;
    r->hot = NULL;
    r->texts = NULL;
}

void tr_router_free(struct tr_router *router)
{
    if (!router)
        return;
    free_builder(router);
    tr_free(router->routes);
    tr_free(router->customs);
    tr_free(router->custom_slots);
    free_compiled(router);
    tr_free(router);
}

/* Room for one more element; the array is untouched when memory is short. */
static enum tr_err grow(void **array, uint32_t count, uint32_t *cap, size_t elem)
{
    if (count < *cap)
        return TR_OK;
    uint32_t want = *cap ? *cap * 2 : 16;
    void *p = want > *cap ? tr_realloc(*array, want * elem) : NULL;
    if (!p)
        return TR_ERR_NOMEM;
    *array = p;
    *cap = want;
    return TR_OK;
}

#define GROW(array, count, cap) grow((void **)&(array), (count), &(cap), sizeof *(array))

/* -- ':verb' names ----------------------------------------------------------------------------- */
uint32_t router_custom_find(const struct tr_router *r, struct tr_span normal)
{
    if (!r->custom_mask)
        return 0;
    uint32_t hash = router_hash(normal);
    for (uint32_t i = hash;; i++) {
        const struct name_slot *slot = &r->custom_slots[i & r->custom_mask];
        if (!slot->id)
            return 0;
        if (slot->hash == hash && tr_span_eq(r->customs[slot->id - 1], normal))
            return slot->id;
    }
}

static void custom_place(struct name_slot *slots, uint32_t mask, uint32_t hash, uint32_t id)
{
    uint32_t i = hash & mask;
    while (slots[i].id)
        i = (i + 1) & mask;
    slots[i] = (struct name_slot){hash, id};
}

static enum tr_err custom_intern(struct tr_router *r, struct tr_span name, uint32_t *ret_id)
{
    *ret_id = 0;
    if (name.len == 0)
        return TR_OK;
    *ret_id = router_custom_find(r, name);
    if (*ret_id)
        return TR_OK;
    enum tr_err err = GROW(r->customs, r->custom_count, r->custom_cap);
    if (err)
        return err;
    if ((r->custom_count + 1) * 2 > r->custom_mask) {
        uint32_t mask = r->custom_mask ? r->custom_mask * 2 + 1 : 15;
        struct name_slot *slots = tr_calloc((size_t)mask + 1, sizeof *slots);
        if (!slots)
            return TR_ERR_NOMEM;
        for (uint32_t i = 0; i < r->custom_count; i++)
            custom_place(slots, mask, router_hash(r->customs[i]), i + 1);
        tr_free(r->custom_slots);
        r->custom_slots = slots;
        r->custom_mask = mask;
    }
    r->customs[r->custom_count++] = name;
    *ret_id = r->custom_count;
    custom_place(r->custom_slots, r->custom_mask, router_hash(name), *ret_id);
    return TR_OK;
}

/* -- building ---------------------------------------------------------------------------------- */
static enum tr_err node_new(struct tr_router *r, uint32_t parent, struct tr_span literal,
                            uint32_t *ret_node)
{
    enum tr_err err = GROW(r->b_nodes, r->b_node_count, r->b_node_cap);
    if (err)
        return err;
    *ret_node = r->b_node_count++;
    r->b_nodes[*ret_node] = (struct b_node){
        .literal = literal,
        .hash = literal.ptr ? router_hash(literal) : 0,
        .parent = parent,
    };
    return TR_OK;
}

static uint32_t child_hash(uint32_t parent, uint32_t literal_hash)
{
    return (literal_hash ^ parent * 0x9E3779B1u) * 0x85EBCA6Bu;
}

static void child_place(struct tr_router *r, uint32_t *slots, uint32_t mask, uint32_t node)
{
    uint32_t i = child_hash(r->b_nodes[node].parent, r->b_nodes[node].hash) & mask;
    while (slots[i])
        i = (i + 1) & mask;
    slots[i] = node;
}

static enum tr_err children_grow(struct tr_router *r)
{
    if ((r->child_count + 1) * 2 <= r->child_mask)
        return TR_OK;
    uint32_t mask = r->child_mask ? r->child_mask * 2 + 1 : 63;
    uint32_t *slots = tr_calloc((size_t)mask + 1, sizeof *slots);
    if (!slots)
        return TR_ERR_NOMEM;
    for (uint32_t i = 0; r->child_mask && i <= r->child_mask; i++) {
        if (r->child_slots[i])
            child_place(r, slots, mask, r->child_slots[i]);
    }
    tr_free(r->child_slots);
    r->child_slots = slots;
    r->child_mask = mask;
    return TR_OK;
}

/* The child of a node by a literal, made when it is missing. */
static enum tr_err literal_child(struct tr_router *r, uint32_t parent, struct tr_span literal,
                                 uint32_t *ret_node)
{
    enum tr_err err = children_grow(r);
    if (err)
        return err;
    uint32_t hash = router_hash(literal);
    for (uint32_t i = child_hash(parent, hash);; i++) {
        uint32_t at = r->child_slots[i & r->child_mask];
        if (!at)
            break;
        const struct b_node *n = &r->b_nodes[at];
        if (n->parent == parent && n->hash == hash && tr_span_eq(n->literal, literal)) {
            *ret_node = at;
            return TR_OK;
        }
    }
    err = node_new(r, parent, literal, ret_node);
    if (err)
        return err;
    child_place(r, r->child_slots, r->child_mask, *ret_node);
    r->child_count++;
    r->b_nodes[parent].literals++;
    return TR_OK;
}

static enum tr_err star_child(struct tr_router *r, uint32_t parent, uint32_t *ret_node)
{
    if (!r->b_nodes[parent].star) {
        uint32_t child;
        enum tr_err err = node_new(r, parent, tr_span(NULL, 0), &child);
        if (err)
            return err;
        r->b_nodes[parent].star = child;
    }
    *ret_node = r->b_nodes[parent].star;
    return TR_OK;
}

/* The root of the trie of `len` segments after a '**' at parent. */
static enum tr_err group_root(struct tr_router *r, uint32_t parent, uint32_t len,
                              uint32_t *ret_node)
{
    uint32_t *link = &r->b_nodes[parent].groups;
    while (*link && r->b_groups[*link - 1].len > len)
        link = &r->b_groups[*link - 1].next;
    if (*link && r->b_groups[*link - 1].len == len) {
        *ret_node = r->b_groups[*link - 1].root;
        return TR_OK;
    }
    /* the two calls below may move what link points into: find it again */
    enum tr_err err = GROW(r->b_groups, r->b_group_count, r->b_group_cap);
    if (!err)
        err = node_new(r, parent, tr_span(NULL, 0), ret_node);
    if (err)
        return err;
    link = &r->b_nodes[parent].groups;
    while (*link && r->b_groups[*link - 1].len > len)
        link = &r->b_groups[*link - 1].next;
    r->b_groups[r->b_group_count] = (struct b_group){*ret_node, len, *link};
    *link = ++r->b_group_count;
    return TR_OK;
}

static enum tr_err insert_shape(struct tr_router *r, const struct tr_template *t,
                                uint32_t *ret_node)
{
    uint32_t at = 0;
    enum tr_err err = TR_OK;
    if (!r->b_node_count)
        err = node_new(r, 0, tr_span(NULL, 0), &at);
    for (uint32_t i = 0; i < t->segment_count && !err; i++) {
        uint32_t child = 0;
        switch (t->segments[i].kind) {
        case TR_SEGMENT_LITERAL:
            err = literal_child(r, at, t->segments[i].literal, &child);
            break;
        case TR_SEGMENT_STAR:
            err = star_child(r, at, &child);
            break;
        case TR_SEGMENT_DEEP:
        default:
            err = group_root(r, at, t->segment_count - 1u - i, &child);
            break;
        }
        at = child;
    }
    *ret_node = at;
    return err;
}

enum tr_err tr_router_add(struct tr_router *router, struct tr_span verb,
                          const struct tr_template *tmpl, void *target, void **ret_conflict)
{
    TR_ASSERT(!router->frozen);
    struct route route = {.verb = verb, .tmpl = tmpl, .target = target};
    route.method =
        tr_span_eq(verb, TR_SPAN("*")) ? (uint8_t)ROUTER_ANY_VERB : (uint8_t)tr_method_from(verb);
    enum tr_err err = custom_intern(router, tmpl->verb, &route.custom);
    if (!err)
        err = insert_shape(router, tmpl, &route.node);
    if (!err)
        err = GROW(router->routes, router->route_count, router->route_cap);
    if (err)
        return err; /* nodes and names without a route are never a match */
    uint32_t *head = &router->b_nodes[route.node].routes;
    for (uint32_t i = *head; i; i = router->routes[i - 1].next) {
        const struct route *other = &router->routes[i - 1];
        if (other->custom == route.custom && tr_span_eq(other->verb, verb)) {
            *ret_conflict = other->target;
            return TR_OK;
        }
    }
    route.next = *head;
    router->routes[router->route_count] = route;
    *head = ++router->route_count;
    *ret_conflict = NULL;
    return TR_OK;
}

_Static_assert(TR_TEMPLATE_SEGMENTS_MAX <= UINT8_MAX, "segments are numbered in a byte");

/* -- compiling --------------------------------------------------------------------------------- */
/* Slots for a node's literal children: a power of two, not full, so that most are found at once. */
static uint32_t slots_for(uint32_t literals)
{
    uint32_t n = 1;
    while (n < literals + literals / 2)
        n *= 2;
    return n;
}

static void compile_edge(struct tr_router *r, const struct b_node *b, uint32_t child,
                         uint32_t *text)
{
    struct node *parent = &r->nodes[b->parent];
    uint32_t probe = 1, i = b->hash & parent->mask;
    while (r->edges[parent->edges + i].child) {
        i = (i + 1) & parent->mask;
        probe++;
    }
    if (parent->probe < probe)
        parent->probe = probe;
    r->edges[parent->edges + i] = (struct edge){b->hash, child, *text, (uint32_t)b->literal.len};
    memcpy(r->texts + *text, b->literal.ptr, b->literal.len);
    *text += (uint32_t)b->literal.len;
}

static int route_order(const void *a, const void *b)
{
    const struct route *x = a, *y = b;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    if (x->custom != y->custom)
        return x->custom < y->custom ? -1 : 1;
    return (int)x->method - (int)y->method;
}

static struct hot_route hot_of(const struct route *route)
{
    const struct tr_template *t = route->tmpl;
    struct hot_route hot = {
        .target = route->target,
        .tmpl = t,
        .vars = t->vars,
        .custom = route->custom,
        .method = route->method,
        .deep = (uint8_t)t->deep,
        .segment_count = (uint8_t)t->segment_count,
        .var_count = (uint8_t)t->var_count,
    };
    for (uint32_t i = 0; i < t->var_count && i < HOT_RANGES; i++) {
        const struct tr_template_var *v = &t->vars[i];
        hot.ranges[i] = (struct range){(uint8_t)v->first, (uint8_t)(v->first + v->count)};
    }
    return hot;
}

/* Routes sorted by node and ':verb', so that a node's are one run, and a leaf's one within it. */
static void compile_routes(struct tr_router *r)
{
    if (r->route_count)
        qsort(r->routes, r->route_count, sizeof *r->routes, route_order);
    for (uint32_t i = 0; i < r->route_count; i++) {
        struct node *n = &r->nodes[r->routes[i].node];
        if (!n->route_count++)
            n->routes = i;
        r->hot[i] = hot_of(&r->routes[i]);
    }
}

static enum tr_err compile_alloc(struct tr_router *r)
{
    size_t slots = 0, texts = 0;
    for (uint32_t i = 0; i < r->b_node_count; i++) {
        slots += r->b_nodes[i].literals ? slots_for(r->b_nodes[i].literals) : 0;
        texts += r->b_nodes[i].literal.len;
    }
    if (slots > UINT32_MAX || texts > UINT32_MAX)
        return TR_ERR_NOMEM;
    r->nodes = tr_calloc((size_t)r->b_node_count + 1, sizeof *r->nodes);
    r->edges = tr_calloc(slots + 1, sizeof *r->edges);
    r->groups = tr_calloc((size_t)r->b_group_count + 1, sizeof *r->groups);
    r->hot = tr_calloc((size_t)r->route_count + 1, sizeof *r->hot);
    r->texts = tr_malloc(texts + 1);
    if (r->nodes && r->edges && r->groups && r->hot && r->texts)
        return TR_OK;
    free_compiled(r);
    return TR_ERR_NOMEM;
}

enum tr_err tr_router_freeze(struct tr_router *router)
{
    struct tr_router *r = router;
    TR_ASSERT(!r->frozen);
    enum tr_err err = compile_alloc(r);
    if (err)
        return err;
    uint32_t slots = 0, groups = 0, text = 0;
    for (uint32_t i = 0; i < r->b_node_count; i++) {
        const struct b_node *b = &r->b_nodes[i];
        struct node *n = &r->nodes[i];
        n->star = b->star;
        n->groups = groups;
        for (uint32_t g = b->groups; g; g = r->b_groups[g - 1].next) {
            r->groups[groups++] = (struct group){r->b_groups[g - 1].root, r->b_groups[g - 1].len};
            n->group_count++;
        }
        if (b->literals) {
            n->edges = slots;
            n->mask = slots_for(b->literals) - 1;
            slots += n->mask + 1;
        }
    }
    for (uint32_t i = 1; i < r->b_node_count; i++) {
        if (r->b_nodes[i].literal.ptr)
            compile_edge(r, &r->b_nodes[i], i, &text);
    }
    compile_routes(r);
    free_builder(r);
    r->frozen = true;
    return TR_OK;
}
