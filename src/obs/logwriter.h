/* Lines of text to a file or a pipe, from threads that never wait.
 *
 * Vocabulary: a *producer* is a thread with a ring of bytes of its own; the *writer* is a thread
 * that empties the rings. It sleeps while there is nothing, and gathers for 10 ms otherwise.
 *
 * Contract
 *  1. tr_logwriter_put copies a whole line or drops it: when the ring is full, because the disk or
 *     the reader of the pipe is slow. It makes no system call but to wake a writer that sleeps.
 *  2. A line is never torn: to what is no file, whole lines of at most PIPE_BUF bytes are written
 * at once, when poll says that they fit. A file is opened for appending; where a disk fills up in
 *     the middle of a line, the next one begins on a new line.
 *  3. A file whose name stands for another one, or for none (rotation), is opened anew: looked at
 *     once a second, while there are lines.
 *  4. Lines of one producer keep their order.
 *
 * Thread: new and free on one; put on the producer's; dropped on any. */
#ifndef TR_OBS_LOGWRITER_H
#define TR_OBS_LOGWRITER_H

#include "base/span.h"
#include "base/status.h"

struct tr_logwriter;

/* output: "stdout", "stderr" or a path (relative: to the working directory). ring_bytes: of each
 * producer, a power of two. TR_ERR_IO: the file cannot be opened. */
enum tr_err tr_logwriter_new(struct tr_span output, uint32_t producers, size_t ring_bytes,
                             struct tr_logwriter **ret_writer, struct tr_status *st) TR_MUST_USE;
/* All producers have ended. Writes what is there, for a second at most. NULL is accepted. */
void tr_logwriter_free(struct tr_logwriter *w);

/* line: ends in a line feed and has no other, at most 4096 bytes. false: dropped and counted. */
bool tr_logwriter_put(struct tr_logwriter *w, uint32_t producer, struct tr_span line);
uint64_t tr_logwriter_dropped(const struct tr_logwriter *w);

#endif
