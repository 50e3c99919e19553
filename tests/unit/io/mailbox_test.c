#include "io/loop.h"
#include "test.h"
#include "turn.h"

#include <pthread.h>

static struct tr_loop *loop;

static int make_loop(void **state)
{
    (void)state;
    return tr_loop_new(&loop) == TR_OK ? 0 : -1;
}

static int free_loop(void **state)
{
    (void)state;
    tr_loop_free(loop);
    return 0;
}

enum { SENDERS = 4, LETTERS = 2000 };
struct letter {
    struct tr_mail mail;
    int sender, number;
};
struct reader {
    int last[SENDERS], count;
    pthread_t thread;
};

static void on_letter(struct tr_mail *mail, void *ctx)
{
    struct letter *l = tr_container_of(mail, struct letter, mail);
    struct reader *r = ctx;
    assert_true(pthread_equal(r->thread, pthread_self()));
    assert_int_equal(l->number, r->last[l->sender] + 1); /* in order of posting */
    r->last[l->sender] = l->number;
    r->count++;
    free(l);
}

struct sender {
    struct tr_mailbox *box;
    int id;
};

static void *send_letters(void *arg)
{
    struct sender *s = arg;
    for (int i = 1; i <= LETTERS; i++) {
        struct letter *l = malloc(sizeof *l);
        *l = (struct letter){{NULL, on_letter}, s->id, i};
        tr_mailbox_post(s->box, &l->mail);
    }
    return NULL;
}

static void mailbox_delivers_from_several_threads_in_order(void **state)
{
    (void)state;
    struct reader reader = {.thread = pthread_self()};
    struct tr_mailbox *box;
    pthread_t threads[SENDERS];
    struct sender senders[SENDERS];
    assert_int_equal(tr_mailbox_new(loop, &reader, &box), TR_OK);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){box, i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_letters, &senders[i]), 0);
    }
    TURN_UNTIL(loop, reader.count == SENDERS * LETTERS);
    for (int i = 0; i < SENDERS; i++)
        (void)pthread_join(threads[i], NULL);
    tr_mailbox_free(box);
}

static void mailbox_delivers_what_waits_when_it_is_freed(void **state)
{
    (void)state;
    struct reader reader = {.thread = pthread_self()};
    struct tr_mailbox *box;
    assert_int_equal(tr_mailbox_new(loop, &reader, &box), TR_OK);
    struct sender s = {box, 0};
    (void)send_letters(&s);
    tr_mailbox_free(box);
    assert_int_equal(reader.count, LETTERS);
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, make_loop, free_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(mailbox_delivers_from_several_threads_in_order),
        LOOP_TEST(mailbox_delivers_what_waits_when_it_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
