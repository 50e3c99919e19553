/* A listening socket of one worker. With SO_REUSEPORT each worker has its own on the same address;
 * port 0 is resolved by the first one, whose address the others then bind. Accepts until EAGAIN, at
 * most 64 a turn; on EMFILE it pauses for 100 ms and counts it. An IPv6 address takes IPv6 only.
 * Listeners of one process on one Unix path share its socket; the last one removes the file. A
 * stale file, a socket that nobody accepts on, is replaced. */
#ifndef TR_IO_LISTENER_H
#define TR_IO_LISTENER_H

#include "io/loop.h"
#include "io/stream.h"

struct tr_listener;

/* "host:port", "[v6]:port", "unix:path"; numeric hosts or names ("localhost") that getaddrinfo
 * knows (called at start only, never on a worker's path). TR_ERR_CONFIG with the reason. */
enum tr_err tr_addr_parse(struct tr_span text, struct tr_addr *ret_addr,
                          struct tr_status *st) TR_MUST_USE;
/* The text form of an address into out[TR_ADDR_TEXT_MAX] ("127.0.0.1:80", "[::1]:80", "unix:/x");
 * returns it. */
#define TR_ADDR_TEXT_MAX 128
struct tr_span tr_addr_text(const struct tr_addr *addr, char *out);
/* The host alone, without port or brackets. */
struct tr_span tr_addr_host(const struct tr_addr *addr, char *out);

/* Whether an address can be had: TR_ERR_CONFIG where another socket listens on it already, be it of
 * another gateway, with which SO_REUSEPORT would share its connections silently. Unix paths and
 * port 0 are always good. Asked before this process opens its own. */
enum tr_err tr_addr_probe(const struct tr_addr *addr, struct tr_status *st) TR_MUST_USE;

/* on_accept owns fd. */
enum tr_err tr_listener_open(struct tr_loop *loop, const struct tr_addr *addr,
                             void (*on_accept)(void *ctx, int fd, const struct tr_addr *peer),
                             void *ctx, struct tr_listener **ret_listener,
                             struct tr_status *st) TR_MUST_USE;
/* The bound address (with the real port). */
const struct tr_addr *tr_listener_addr(const struct tr_listener *l);
uint64_t tr_listener_accept_failures(const struct tr_listener *l);
/* Failures of accept also count in *counter (base/counter.h), which must outlive the listener. */
void tr_listener_count_failures(struct tr_listener *l, uint64_t *counter);
void tr_listener_close(struct tr_listener *l);

#endif
