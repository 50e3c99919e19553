/* Answers of Redis from bytes: RESP2, read by hiredis, flat and without the heap but for the bytes
 * of an answer that is not complete yet. Knows no socket. Not seen by other layers. */
#ifndef TR_IO_KV_REDIS_ANSWER_H
#define TR_IO_KV_REDIS_ANSWER_H

#include "io/kv.h"

/* An incomplete answer longer than this is not read on. */
#define TR_KV_ANSWER_MAX ((size_t)16 * 1024)

enum tr_kv_answer_type {
    TR_KV_ANSWER_NONE,
    TR_KV_ANSWER_STATUS,
    TR_KV_ANSWER_ERROR,
    TR_KV_ANSWER_STRING,
    TR_KV_ANSWER_INTEGER,
    TR_KV_ANSWER_NIL,
    TR_KV_ANSWER_LIST,
};

struct tr_kv_answer {
    enum tr_kv_answer_type type; /* of the outermost */
    bool strange;                /* a list of something else than integers */
    uint32_t count;
    size_t text_len;
    char text[160]; /* of a status, error or string: its beginning */
    int64_t ints[TR_KV_INTS_MAX];
};

struct tr_kv_reader {
    struct redisReader *hiredis; /* NULL: not open */
    struct tr_kv_answer answer; /* the one that tr_kv_reader_next found, until it is called again */
    bool found;
};

enum tr_err tr_kv_reader_open(struct tr_kv_reader *r) TR_MUST_USE;
/* Also one that is not open. */
void tr_kv_reader_close(struct tr_kv_reader *r);
enum tr_err tr_kv_reader_feed(struct tr_kv_reader *r, struct tr_span bytes) TR_MUST_USE;
/* TR_OK: r->answer is the next one; TR_ERR_AGAIN: more bytes are needed; TR_ERR_IO: what came is no
 * answer, or too long: tr_kv_reader_error says why, and nothing more can be read. */
enum tr_err tr_kv_reader_next(struct tr_kv_reader *r) TR_MUST_USE;
struct tr_span tr_kv_reader_error(const struct tr_kv_reader *r);

static inline struct tr_span tr_kv_answer_text(const struct tr_kv_answer *a)
{
    return tr_span(a->text, a->text_len);
}
/* Whether it is an error whose text begins so. */
bool tr_kv_answer_is_error(const struct tr_kv_answer *a, struct tr_span prefix);
/* What an answer of the script means for its call. */
enum tr_kv_failure tr_kv_answer_failure(const struct tr_kv_answer *a);

#endif
