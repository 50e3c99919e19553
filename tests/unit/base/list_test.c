#include "base/list.h"

#include "test.h"

struct item {
    int value;
    struct tr_list node;
};

static int join(struct tr_list *head)
{
    int digits = 0;
    tr_list_for_each (it, next, head)
        digits = digits * 10 + tr_container_of(it, struct item, node)->value;
    return digits;
}

static void pushes_and_pops_in_order(void **state)
{
    (void)state;
    struct tr_list head;
    struct item a = {.value = 1}, b = {.value = 2}, c = {.value = 3}, d = {.value = 4};
    tr_list_init(&head);
    assert_true(tr_list_empty(&head));
    assert_null(tr_list_pop_front(&head));
    tr_list_push_back(&head, &b.node);
    tr_list_push_back(&head, &c.node);
    tr_list_push_front(&head, &a.node);
    tr_list_insert_before(&c.node, &d.node);
    assert_int_equal(join(&head), 1243);
    assert_ptr_equal(tr_list_pop_front(&head), &a.node);
    assert_int_equal(join(&head), 243);
}

static void removal_is_safe_twice_and_inside_a_walk(void **state)
{
    (void)state;
    struct tr_list head;
    struct item items[5];
    tr_list_init(&head);
    for (int i = 0; i < 5; i++) {
        items[i].value = i + 1;
        tr_list_push_back(&head, &items[i].node);
    }
    tr_list_for_each (it, next, &head)
        if (tr_container_of(it, struct item, node)->value % 2 == 0)
            tr_list_remove(it);
    assert_int_equal(join(&head), 135);
    tr_list_remove(&items[1].node);
    tr_list_remove(&items[0].node);
    tr_list_remove(&items[0].node);
    assert_int_equal(join(&head), 35);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pushes_and_pops_in_order),
        cmocka_unit_test(removal_is_safe_twice_and_inside_a_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
