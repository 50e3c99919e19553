#include "filters/jwks_view.h"

#include "base/counter.h"
#include "filters/jwks_refresh.h"

/* Both directions work alike: the sender writes what it has to say, each word atomically and the
 * newest in the place of the last, then raises the flag, and posts the mail if it was down. The
 * receiver lowers the flag first and reads after, so that it sees at least what stood when it was
 * raised; what it sees too early it will be told again by the next mail. */

#define KINDS ((uint32_t)TR_JWKS_ASK__COUNT)

/* NOLINTNEXTLINE(readability-non-const-parameter): the builtin writes it */
static void raise_flag(uint32_t *flag, struct tr_mailbox *box, struct tr_mail *mail)
{
    if (__atomic_exchange_n(flag, 1, __ATOMIC_ACQ_REL) == 0)
        tr_mailbox_post(box, mail);
}

/* -- the worker's side ------------------------------------------------------------------------ */

static void wake(struct tr_jwks_view *view)
{
    struct tr_list due;
    tr_list_init(&due);
    tr_list_for_each (node, next, &view->list) {
        const struct tr_jwks_waiter *w = tr_container_of(node, struct tr_jwks_waiter, node);
        uint32_t answered = __atomic_load_n(&view->in.seq[w->ask], __ATOMIC_RELAXED);
        if ((int32_t)(answered - w->seq) >= 0 || (w->ask == TR_JWKS_ASK_KEYS && view->set)) {
            tr_list_remove(node);
            tr_list_push_back(&due, node);
        }
    }
    struct tr_list *node;
    while ((node = tr_list_pop_front(&due)) != NULL) { /* fn may take others out of it */
        struct tr_jwks_waiter *w = tr_container_of(node, struct tr_jwks_waiter, node);
        tr_count_add(&view->waiters, UINT64_MAX);
        w->fn(w);
    }
}

/* On the worker: something was published, or asks were answered. */
static void on_news(struct tr_mail *mail, void *ctx)
{
    struct tr_jwks_view *view = tr_container_of(mail, struct tr_jwks_view, in.mail);
    (void)ctx;
    (void)__atomic_exchange_n(&view->in.flag, 0, __ATOMIC_ACQ_REL);
    struct tr_jwks *set = __atomic_exchange_n(&view->in.set, NULL, __ATOMIC_ACQ_REL);
    enum tr_jwks_state state =
        (enum tr_jwks_state)__atomic_load_n(&view->in.state, __ATOMIC_ACQUIRE);
    if (set && state == TR_JWKS_NONE) /* a newer set, whose state follows with its own mail */
        state = TR_JWKS_FRESH;
    if (set || state == TR_JWKS_NONE) {
        tr_jwks_unref(view->set);
        view->set = set;
    }
    view->state = view->set ? state : TR_JWKS_NONE;
    for (uint32_t i = 0; i < KINDS; i++)
        view->ask_after_ns[i] = __atomic_load_n(&view->in.ask_after_ns[i], __ATOMIC_RELAXED);
    wake(view);
}

enum tr_jwks_wait tr_jwks_view_wait(struct tr_jwks_view *view, struct tr_jwks_waiter *waiter,
                                    enum tr_jwks_ask ask, void (*fn)(struct tr_jwks_waiter *waiter),
                                    uint64_t now_ns)
{
    tr_list_init(&waiter->node);
    if (!view->refresh || now_ns < view->ask_after_ns[ask]) {
        tr_count(&view->refused);
        return TR_JWKS_WAIT_REFUSED;
    }
    if (view->waiters >= TR_JWKS_WAITERS_MAX) {
        tr_count(&view->full);
        return TR_JWKS_WAIT_FULL;
    }
    waiter->fn = fn;
    waiter->ask = (uint8_t)ask;
    waiter->seq = view->out.seq[ask] + 1;
    tr_list_push_back(&view->list, &waiter->node);
    tr_count(&view->waited);
    tr_count(&view->waiters);
    __atomic_store_n(&view->out.seq[ask], waiter->seq, __ATOMIC_RELEASE);
    raise_flag(&view->out.flag, view->control_box, &view->out.mail);
    return TR_JWKS_WAIT;
}

void tr_jwks_view_unwait(struct tr_jwks_view *view, struct tr_jwks_waiter *waiter)
{
    if (!waiter->node.next || tr_list_empty(&waiter->node))
        return;
    tr_list_remove(&waiter->node);
    tr_count_add(&view->waiters, UINT64_MAX);
}

/* -- the control thread's side ---------------------------------------------------------------- */

static void on_asks(struct tr_mail *mail, void *ctx)
{
    struct tr_jwks_view *view = tr_container_of(mail, struct tr_jwks_view, out.mail);
    uint32_t asks = 0;
    (void)ctx;
    (void)__atomic_exchange_n(&view->out.flag, 0, __ATOMIC_ACQ_REL);
    for (uint32_t i = 0; i < KINDS; i++) {
        uint32_t seq = __atomic_load_n(&view->out.seq[i], __ATOMIC_ACQUIRE);
        if (seq != view->out.seen[i])
            asks |= UINT32_C(1) << i;
        view->out.seen[i] = seq;
    }
    if (asks)
        tr_jwks_refresh_asked(view->refresh, view, asks);
}

static void announce(struct tr_jwks_view *view, const struct tr_jwks_schedule *schedule)
{
    for (uint32_t i = 0; i < KINDS; i++)
        __atomic_store_n(&view->in.ask_after_ns[i],
                         tr_jwks_schedule_ask_after_ns(schedule, (enum tr_jwks_ask)i),
                         __ATOMIC_RELAXED);
    raise_flag(&view->in.flag, view->worker_box, &view->in.mail);
}

void tr_jwks_view_publish(struct tr_jwks_view *view, struct tr_jwks *set, enum tr_jwks_state state,
                          const struct tr_jwks_schedule *schedule)
{
    if (set)
        (void)tr_jwks_ref(set);
    tr_jwks_unref(__atomic_exchange_n(&view->in.set, set, __ATOMIC_ACQ_REL));
    __atomic_store_n(&view->in.state, (uint32_t)state, __ATOMIC_RELEASE);
    announce(view, schedule);
}

void tr_jwks_view_answer(struct tr_jwks_view *view, uint32_t asks,
                         const struct tr_jwks_schedule *schedule)
{
    for (uint32_t i = 0; i < KINDS; i++)
        if (asks & UINT32_C(1) << i)
            __atomic_store_n(&view->in.seq[i], view->out.seen[i], __ATOMIC_RELAXED);
    announce(view, schedule);
}

/* -- life ------------------------------------------------------------------------------------- */

void tr_jwks_view_init_fixed(struct tr_jwks_view *view, struct tr_jwks *set)
{
    memset(view, 0, sizeof *view);
    tr_list_init(&view->list);
    view->set = tr_jwks_ref(set);
    view->state = TR_JWKS_FRESH;
}

enum tr_err tr_jwks_view_init(struct tr_jwks_view *view, struct tr_jwks_refresh *refresh,
                              struct tr_mailbox *worker_box, struct tr_mailbox *control_box)
{
    memset(view, 0, sizeof *view);
    tr_list_init(&view->list);
    view->worker_box = worker_box;
    view->control_box = control_box;
    view->out.mail.fn = on_asks;
    view->in.mail.fn = on_news;
    view->in.state = view->state = TR_JWKS_NONE;
    enum tr_err err = tr_jwks_refresh_add(refresh, view);
    if (!err)
        view->refresh = refresh;
    return err;
}

void tr_jwks_view_fini(struct tr_jwks_view *view)
{
    if (!view->list.next)
        return;
    while (tr_list_pop_front(&view->list))
        ;
    tr_jwks_unref(__atomic_exchange_n(&view->in.set, NULL, __ATOMIC_ACQ_REL));
    tr_jwks_unref(view->set);
    view->set = NULL;
}
