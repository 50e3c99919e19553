#include "base/alloc.h"
#include "io/loop_int.h"

#include <stdatomic.h>

/* Many senders push onto a stack by compare-and-swap; the one receiver takes all of it at once and
 * turns it round. Taking everything leaves no room for the ABA problem. */
struct tr_mailbox {
    uv_async_t async;
    struct tr_loop *loop;
    void *ctx;
    _Atomic(struct tr_mail *) head;
};

static void deliver(struct tr_mailbox *box)
{
    struct tr_mail *mail = atomic_exchange_explicit(&box->head, NULL, memory_order_acquire);
    struct tr_mail *ordered = NULL;
    while (mail) {
        struct tr_mail *next = mail->next;
        mail->next = ordered;
        ordered = mail;
        mail = next;
    }
    void *ctx = box->ctx;
    while (ordered) {
        struct tr_mail *next = ordered->next; /* fn may free its message */
        ordered->fn(ordered, ctx);
        ordered = next;
    }
}

static void on_async(uv_async_t *async)
{
    struct tr_mailbox *box = async->data;
    tr_loop_enter(box->loop);
    deliver(box);
}

enum tr_err tr_mailbox_new(struct tr_loop *loop, void *ctx, struct tr_mailbox **ret_box)
{
    struct tr_mailbox *box = tr_calloc(1, sizeof *box);
    if (!box)
        return TR_ERR_NOMEM;
    box->loop = loop;
    box->ctx = ctx;
    atomic_init(&box->head, NULL);
    if (uv_async_init(&loop->uv, &box->async, on_async) != 0) {
        tr_free(box);
        return TR_ERR_IO;
    }
    box->async.data = box;
    *ret_box = box;
    return TR_OK;
}

static void on_close(uv_handle_t *handle)
{
    tr_free(handle->data);
}

void tr_mailbox_free(struct tr_mailbox *box)
{
    if (!box)
        return;
    uv_close((uv_handle_t *)&box->async, on_close);
    deliver(box);
}

void tr_mailbox_post(struct tr_mailbox *box, struct tr_mail *mail)
{
    struct tr_mail *head = atomic_load_explicit(&box->head, memory_order_relaxed);
    do {
        mail->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &head, mail, memory_order_release,
                                                    memory_order_relaxed));
    if (!head) /* who finds it filled knows that a wake-up is under way */
        (void)uv_async_send(&box->async);
}
