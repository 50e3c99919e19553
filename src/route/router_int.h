/* The inside of the router, for its own files: the trie while it is built (b_*), its compiled form,
 * and the walk over it. */
#ifndef TR_ROUTE_ROUTER_INT_H
#define TR_ROUTE_ROUTER_INT_H

#include "route/router.h"

#define ROUTER_ANY_VERB TR_METHOD__COUNT /* the method of a route of "*" */

struct route {
    struct tr_span verb;
    const struct tr_template *tmpl;
    void *target;
    uint32_t node;   /* where it ends */
    uint32_t custom; /* number of its ':verb', 0: none */
    uint32_t next;   /* while building: next route of the node + 1 */
    uint8_t method;  /* enum tr_method or ROUTER_ANY_VERB */
};

/* A node while the trie is built. Node 0 is the root; as a child 0 means none. */
struct b_node {
    struct tr_span literal; /* the literal that leads here; ptr NULL for '*' and roots */
    uint32_t hash;
    uint32_t parent;
    uint32_t star;
    uint32_t groups;   /* tries after a '**': index + 1 into b_groups */
    uint32_t routes;   /* index + 1 */
    uint32_t literals; /* children by literal */
};

struct b_group {
    uint32_t root;
    uint32_t len; /* segments after the '**' */
    uint32_t next;
};

/* -- compiled ------------------------------------------------------------------------------------
 * A node's literal children are slots edges[node.edges + (i & node.mask)], from i = hash on, at
 * most node.probe of them. */
struct edge {
    uint32_t hash;
    uint32_t child; /* 0: an empty slot */
    uint32_t text;  /* offset in texts */
    uint32_t len;
};

struct node {
    uint32_t edges;
    uint32_t mask;
    uint32_t probe; /* 0: no literal child */
    uint32_t star;
    uint32_t groups, group_count; /* longest first */
    uint32_t routes, route_count; /* that end here, by custom */
};

struct group {
    uint32_t root;
    uint32_t len;
};

/* The segments of a variable: [first, end) of the template. */
struct range {
    uint8_t first, end;
};

#define HOT_RANGES 4

/* What a match needs of a route, in one place and apart from what `check` and `explain` need
 * (struct route at the same index): with many routes a look-up costs what it misses in the caches.
 */
struct hot_route {
    void *target;
    const struct tr_template *tmpl;
    const struct tr_template_var *vars;
    uint32_t custom;
    uint8_t method;
    uint8_t deep, segment_count, var_count;
    struct range ranges[HOT_RANGES]; /* of the first variables; the others are read from vars */
};

struct name_slot {
    uint32_t hash;
    uint32_t id; /* 0: empty */
};

struct tr_router {
    bool frozen;
    struct route *routes;
    uint32_t route_count, route_cap;
    /* ':verb' names, numbered from 1: a hash of them */
    struct tr_span *customs; /* [id - 1] */
    uint32_t custom_count, custom_cap;
    struct name_slot *custom_slots;
    uint32_t custom_mask; /* slots - 1; 0: no slots */
    /* building */
    struct b_node *b_nodes;
    uint32_t b_node_count, b_node_cap;
    struct b_group *b_groups;
    uint32_t b_group_count, b_group_cap;
    uint32_t *child_slots; /* hash of (parent, literal): node, 0: empty */
    uint32_t child_mask, child_count;
    /* compiled */
    struct node *nodes;
    struct edge *edges;
    struct group *groups;
    struct hot_route *hot;
    char *texts;
};

static inline uint32_t router_hash(struct tr_span s)
{
    uint64_t h = tr_span_hash(s, 0);
    return (uint32_t)(h ^ h >> 32);
}

/* The number of a ':verb' given in normal form; 0 when no route has it. */
uint32_t router_custom_find(const struct tr_router *r, struct tr_span normal);

/* -- the walk --------------------------------------------------------------------------------- */
#define WALK_SEGMENTS TR_TEMPLATE_SEGMENTS_MAX

struct walk_segment {
    uint32_t off, len;
    uint32_t hash;
    bool hashed;  /* hash and escaped are known */
    bool escaped; /* has a '%' */
};

struct walk_frame {
    uint32_t node;
    uint32_t pos;   /* segments consumed */
    uint32_t group; /* next of the node's groups */
    uint32_t stage;
};

/* Routes [from, to): those of one node and one ':verb'. */
struct leaf {
    uint32_t from, to;
};

/* Yields the leaves that match a path in order of preference. */
struct walk {
    const struct tr_router *r;
    struct tr_span path; /* without the ':verb' that is being looked for */
    uint32_t count;      /* segments */
    uint32_t custom;
    int top;
    bool escapes; /* the path has a '%' */
    /* the first and the last segments; more are only ever inside a '**' */
    struct walk_segment front[WALK_SEGMENTS], back[WALK_SEGMENTS];
    struct walk_frame frames[2 * TR_TEMPLATE_SEGMENTS_MAX + 2];
};

/* False when the path does not begin with '/'. */
bool walk_init(struct walk *w, const struct tr_router *r, struct tr_span path);
/* Begins a walk for the path with its ':verb' cut off; false when it has none that any route knows.
 */
bool walk_with_verb(struct walk *w);
/* Begins a walk for the whole path. */
void walk_whole(struct walk *w);
/* The next leaf; false at the end. */
bool walk_next(struct walk *w, struct leaf *ret_leaf);

static inline struct walk_segment *walk_segment_at(struct walk *w, uint32_t i)
{
    return i < WALK_SEGMENTS ? &w->front[i] : &w->back[i % WALK_SEGMENTS];
}

#endif
