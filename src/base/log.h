/* Operator's log: one line to stderr for each event, JSON-free and short. Never per request.
 * Thread-safe. */
#ifndef TR_BASE_LOG_H
#define TR_BASE_LOG_H

enum tr_log_level { TR_LOG_ERROR, TR_LOG_WARN, TR_LOG_INFO, TR_LOG_DEBUG };

void tr_log_set_level(enum tr_log_level level);
void tr_log(enum tr_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
