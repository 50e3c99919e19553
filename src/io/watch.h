/* Interest of one descriptor in readiness, level-triggered, over uv_poll_t.
 *
 * tr_watch_want only notes a mask; the kernel is told before the loop sleeps and only when the mask
 * really changed. Memory must live until `closed` was called. Not seen by other layers. */
#ifndef TR_IO_WATCH_H
#define TR_IO_WATCH_H

#include "io/loop_int.h"

#define TR_WATCH_READ  1u
#define TR_WATCH_WRITE 2u

struct tr_watch {
    uv_poll_t poll;
    struct tr_loop *loop;
    /* events: what is possible, a subset of what was wanted; after an error of the socket all that
     * was wanted. */
    void (*fn)(struct tr_watch *w, unsigned events);
    void (*closed)(struct tr_watch *w);
    struct tr_list change;
    uint8_t want, now; /* the mask to have, the mask the kernel has */
};

/* fd must be non-blocking and stays the caller's. On failure nothing needs closing. */
enum tr_err tr_watch_init(struct tr_watch *w, struct tr_loop *loop, int fd,
                          void (*fn)(struct tr_watch *w, unsigned events)) TR_MUST_USE;
void tr_watch_want(struct tr_watch *w, unsigned mask);
/* No callback runs after this but `closed`, from a later point of the loop. The descriptor may be
 * closed at once. */
void tr_watch_close(struct tr_watch *w, void (*closed)(struct tr_watch *w));
/* Tells the kernel all noted changes. The loop's. */
void tr_watch_apply(struct tr_loop *loop);

#endif
