/* Intrusive doubly linked lists. A head and an unlinked node point to themselves. */
#ifndef TR_BASE_LIST_H
#define TR_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct tr_list {
    struct tr_list *next, *prev;
};

#define tr_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void tr_list_init(struct tr_list *l)
{
    l->next = l->prev = l;
}
static inline bool tr_list_empty(const struct tr_list *l)
{
    return l->next == l;
}
static inline void tr_list_insert_before(struct tr_list *at, struct tr_list *node)
{
    node->prev = at->prev; /* NOLINT(clang-analyzer-core.NullDereference): links are not null */
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}
static inline void tr_list_push_back(struct tr_list *head, struct tr_list *node)
{
    tr_list_insert_before(head, node);
}
static inline void tr_list_push_front(struct tr_list *head, struct tr_list *node)
{
    tr_list_insert_before(head->next, node);
}
/* Unlinks; the node may be removed again without harm. */
static inline void tr_list_remove(struct tr_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    tr_list_init(node);
}
static inline struct tr_list *tr_list_pop_front(struct tr_list *head)
{
    struct tr_list *n = head->next;
    if (n == head)
        return NULL;
    tr_list_remove(n);
    return n;
}

/* `it` may be removed inside the loop. */
#define tr_list_for_each(it, next_it, head)                                                        \
    for (struct tr_list *it = (head)->next, *next_it = it->next; it != (head);                     \
         it = next_it, next_it = it->next)

#endif
