/* What one worker sees of an issuer's keys, and the requests that wait for them.
 *
 * Vocabulary: the *refresh* (filters/jwks_refresh.h) fetches on the control thread and publishes to
 * the views of all workers. A *waiter* is the place in a request's state by which it waits.
 *
 * Contract
 *  1. A request looks at view->set. NULL: wait with TR_JWKS_ASK_KEYS. A token whose key id is not
 * in the set: wait with TR_JWKS_ASK_KID, once a request. When it is woken it looks again; whatever
 *     it then finds is the answer.
 *  2. A waiter is woken when an attempt to fetch that ended after its ask, or joined it, has ended,
 *     well or not, when the ask was refused, or when keys came. It is unlinked before fn is called;
 *     fn may wait again, and may end any request. fn is never called from inside tr_jwks_view_wait.
 *  3. How often a worker may ask is known here, so that a flood of unknown key ids costs the
 * control thread nothing.
 *  4. Nothing is allocated: asks and publications travel in mail that is part of the view.
 *
 * Thread: its worker's, but for what is marked. A view must not move, and lives until the mailboxes
 * of the control thread and of its worker were freed (they deliver what waits): made in
 * tr_filter.worker_start, ended in worker_stop. */
#ifndef TR_FILTERS_JWKS_VIEW_H
#define TR_FILTERS_JWKS_VIEW_H

#include "base/list.h"
#include "filters/jwks.h"
#include "filters/jwks_schedule.h"
#include "io/loop.h"

#define TR_JWKS_WAITERS_MAX 128u /* requests that wait on one view */

struct tr_jwks_refresh;

struct tr_jwks_waiter {
    struct tr_list node; /* the view's */
    void (*fn)(struct tr_jwks_waiter *waiter);
    uint32_t seq;
    uint8_t ask;
};

enum tr_jwks_wait {
    TR_JWKS_WAIT,         /* fn will be called, unless tr_jwks_view_unwait */
    TR_JWKS_WAIT_REFUSED, /* no attempt will be made for this now: act on what is there */
    TR_JWKS_WAIT_FULL     /* too many wait: OVERLOADED */
};

struct tr_jwks_view {
    struct tr_jwks *set; /* in use, held by the view; NULL: none. Take a reference to keep it beyond
                            this turn. */
    enum tr_jwks_state state;

    /* counters, read by the control thread with relaxed loads */
    uint64_t waited;  /* requests that began to wait */
    uint64_t refused; /* asks refused here */
    uint64_t full;
    uint64_t waiters; /* now */

    /* the view's own */
    struct tr_list list;
    struct tr_jwks_refresh *refresh; /* NULL: a fixed set */
    struct tr_mailbox *worker_box, *control_box;
    uint64_t ask_after_ns[TR_JWKS_ASK__COUNT];
    struct {
        struct tr_mail mail;
        uint32_t flag;                     /* atomic: not 0 while the mail is posted */
        uint32_t seq[TR_JWKS_ASK__COUNT];  /* atomic, by the worker: asks made */
        uint32_t seen[TR_JWKS_ASK__COUNT]; /* control thread's: those it knows of */
    } out;
    struct {
        struct tr_mail mail;
        uint32_t flag;                    /* atomic: not 0 while the mail is posted */
        struct tr_jwks *set;              /* atomic: a reference under way; NULL: no new one */
        uint32_t state;                   /* atomic */
        uint32_t seq[TR_JWKS_ASK__COUNT]; /* atomic: asks that were answered */
        uint64_t ask_after_ns[TR_JWKS_ASK__COUNT]; /* atomic */
    } in;
};

/* A view of keys that never change (file, inline, secret); takes a reference of its own. */
void tr_jwks_view_init_fixed(struct tr_jwks_view *view, struct tr_jwks *set);
/* A view of what the refresh publishes, and known to it from here on. Called on the control thread
 * before the loop of either side runs. NOMEM leaves the view fit for fini. */
enum tr_err tr_jwks_view_init(struct tr_jwks_view *view, struct tr_jwks_refresh *refresh,
                              struct tr_mailbox *worker_box,
                              struct tr_mailbox *control_box) TR_MUST_USE;
/* The refresh may be gone already. Waiters are dropped without a call. A zeroed view is fine. */
void tr_jwks_view_fini(struct tr_jwks_view *view);

/* The waiter need not be initialised; `fn` is set by the caller of this. A view of a fixed set
 * always refuses. */
enum tr_jwks_wait tr_jwks_view_wait(struct tr_jwks_view *view, struct tr_jwks_waiter *waiter,
                                    enum tr_jwks_ask ask, void (*fn)(struct tr_jwks_waiter *waiter),
                                    uint64_t now_ns) TR_MUST_USE;
/* The request ends: fn will not be called. A zeroed waiter, or one that was woken, is fine. */
void tr_jwks_view_unwait(struct tr_jwks_view *view, struct tr_jwks_waiter *waiter);

/* ---- for the refresh, on the control thread -------------------------------------------------- */
/* The set in use, or NULL for none, and how good it is; the view takes a reference of its own. What
 * the worker has not read yet is replaced. */
void tr_jwks_view_publish(struct tr_jwks_view *view, struct tr_jwks *set, enum tr_jwks_state state,
                          const struct tr_jwks_schedule *schedule);
/* The asks of these kinds (bits 1 << enum tr_jwks_ask) that were seen have been answered, by what
 * was published before. */
void tr_jwks_view_answer(struct tr_jwks_view *view, uint32_t asks,
                         const struct tr_jwks_schedule *schedule);

#endif
