#include "upstream/eslot.h"

#include "io/listener.h"
#include "test.h"

#include <pthread.h>

#define SLOTS 16

static struct tr_eslot slots[SLOTS];
static _Atomic uint32_t ejected;

static int setup(void **state)
{
    (void)state;
    memset(slots, 0, sizeof slots);
    ejected = 0;
    return 0;
}

static uint64_t key_of(const char *text)
{
    struct tr_addr addr;
    assert_int_equal(tr_addr_parse(tr_span_cstr(text), &addr, NULL), TR_OK);
    return tr_addr_key(&addr);
}

static void eslot_key_is_the_address(void **state)
{
    (void)state;
    const char *const texts[] = {"10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80", "[::1]:80",
                                 "[::2]:80",    "[::1]:81",    "unix:/tmp/a", "unix:/tmp/b"};
    const size_t count = sizeof texts / sizeof texts[0];
    for (size_t i = 0; i < count; i++) {
        assert_true(key_of(texts[i]) == key_of(texts[i]));
        for (size_t j = 0; j < i; j++)
            assert_true(key_of(texts[i]) != key_of(texts[j]));
    }
}

static void eslot_is_shared_by_address(void **state)
{
    (void)state;
    uint64_t a = key_of("10.0.0.1:80"), b = key_of("10.0.0.2:80");
    struct tr_eslot *one = tr_eslot_take(slots, SLOTS, a);
    assert_non_null(one);
    assert_ptr_equal(tr_eslot_take(slots, SLOTS, a), one);
    assert_ptr_not_equal(tr_eslot_take(slots, SLOTS, b), one);
    one->health = 2;
    tr_eslot_give(one, &ejected);
    assert_true(tr_eslot_held(one));
    assert_int_equal(one->health, 2); /* somebody has it still */
    tr_eslot_give(one, &ejected);
    assert_false(tr_eslot_held(one));
    assert_int_equal(one->health, 0);
}

static void eslot_forgets_an_ejection_with_its_endpoint(void **state)
{
    (void)state;
    struct tr_eslot *slot = tr_eslot_take(slots, SLOTS, 4711u << 20);
    slot->outlier.until_ns = 99;
    ejected = 1;
    tr_eslot_give(slot, &ejected);
    assert_int_equal(ejected, 0);
}

static void eslot_table_is_bounded(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= SLOTS; i++)
        assert_non_null(tr_eslot_take(slots, SLOTS, i << 20));
    assert_null(tr_eslot_take(slots, SLOTS, 99u << 20));
    assert_non_null(tr_eslot_take(slots, SLOTS, 3u << 20));
    assert_null(tr_eslot_take(NULL, 0, 1));
}

static void *come_and_go(void *arg)
{
    uint64_t seed = (uintptr_t)arg;
    for (int i = 0; i < 20000; i++) {
        struct tr_eslot *slot = tr_eslot_take(slots, SLOTS, (1 + tr_test_rand(&seed) % 6) << 20);
        assert_non_null(slot);
        assert_true(tr_eslot_held(slot));
        tr_eslot_give(slot, &ejected);
    }
    return NULL;
}

static void eslot_table_is_empty_when_all_threads_are_done(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, (void *)(i + 1)), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < SLOTS; i++)
        assert_false(tr_eslot_held(&slots[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(eslot_key_is_the_address, setup),
        cmocka_unit_test_setup(eslot_is_shared_by_address, setup),
        cmocka_unit_test_setup(eslot_forgets_an_ejection_with_its_endpoint, setup),
        cmocka_unit_test_setup(eslot_table_is_bounded, setup),
        cmocka_unit_test_setup(eslot_table_is_empty_when_all_threads_are_done, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
