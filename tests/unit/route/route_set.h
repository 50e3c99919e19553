/* A router made of "VERB template" texts; the target of a route is its number, from 1. */
#ifndef TR_TESTS_ROUTE_SET_H
#define TR_TESTS_ROUTE_SET_H

#include "route/router.h"
#include "test.h"

#define SET_MAX 512

struct set {
    struct tr_arena arena;
    struct tr_router *router;
    struct tr_template tmpl[SET_MAX];
    size_t count;
};

static inline void *set_target(size_t number)
{
    return (void *)(uintptr_t)number;
}

static inline size_t set_number(const void *target)
{
    return (size_t)(uintptr_t)target;
}

/* The number of the route that conflicts; 0 when it was added. */
static inline size_t set_add(struct set *set, const char *route)
{
    struct tr_span text = tr_span_cstr(route), verb = tr_span_cut(&text, ' ');
    struct tr_template *t = &set->tmpl[set->count];
    void *conflict = NULL;
    assert_true(set->count < SET_MAX);
    if (tr_template_parse(text, &set->arena, t, NULL) != TR_OK)
        fail_msg("%s does not parse", route);
    assert_int_equal(tr_router_add(set->router, verb, t, set_target(set->count + 1), &conflict),
                     TR_OK);
    if (!conflict)
        set->count++;
    return set_number(conflict);
}

static inline void set_open(struct set *set)
{
    tr_arena_init(&set->arena, NULL);
    set->count = 0;
    assert_int_equal(tr_router_new(&set->router), TR_OK);
}

/* routes ends with NULL. */
static inline void set_init(struct set *set, const char *const *routes)
{
    set_open(set);
    for (; *routes; routes++)
        assert_int_equal(set_add(set, *routes), 0);
    assert_int_equal(tr_router_freeze(set->router), TR_OK);
}

#define SET(set, ...) set_init((set), (const char *const[]){__VA_ARGS__, NULL})

static inline void set_fini(struct set *set)
{
    tr_router_free(set->router);
    tr_arena_fini(&set->arena);
}

/* The number of the route for "VERB path"; 0: none, -1: another verb. */
static inline int set_match(const struct set *set, const char *request, struct tr_route_match *m)
{
    struct tr_span path = tr_span_cstr(request), verb = tr_span_cut(&path, ' ');
    tr_router_match(set->router, tr_method_from(verb), verb, path, m);
    if (m->result == TR_MATCH_FOUND)
        return (int)set_number(m->target);
    assert_null(m->target);
    return m->result == TR_MATCH_METHOD ? -1 : 0;
}

#endif
