#include "io/kv_redis_answer.h"

#include <hiredis/read.h>

static struct tr_kv_answer *answer_of(const redisReadTask *task)
{
    return task->privdata;
}

static void *on_string(const redisReadTask *task, char *text, size_t len)
{
    struct tr_kv_answer *a = answer_of(task);
    if (task->parent) {
        a->strange = true;
        return a;
    }
    a->type = task->type == REDIS_REPLY_ERROR    ? TR_KV_ANSWER_ERROR
              : task->type == REDIS_REPLY_STATUS ? TR_KV_ANSWER_STATUS
                                                 : TR_KV_ANSWER_STRING;
    a->text_len = len < sizeof a->text ? len : sizeof a->text;
    memcpy(a->text, text, a->text_len);
    return a;
}

static void *on_array(const redisReadTask *task, int elements)
{
    struct tr_kv_answer *a = answer_of(task);
    if (task->parent)
        a->strange = true;
    else
        a->type = TR_KV_ANSWER_LIST;
    if (elements > TR_KV_INTS_MAX) /* the reader gives up, as if there were no memory for it */
        return NULL;
    return a;
}

static void *on_integer(const redisReadTask *task, long long value)
{
    struct tr_kv_answer *a = answer_of(task);
    if (!task->parent)
        a->type = TR_KV_ANSWER_INTEGER;
    if (a->count < TR_KV_INTS_MAX)
        a->ints[a->count++] = value;
    else
        a->strange = true;
    return a;
}

static void *on_nil(const redisReadTask *task)
{
    struct tr_kv_answer *a = answer_of(task);
    if (task->parent)
        a->strange = true;
    else
        a->type = TR_KV_ANSWER_NIL;
    return a;
}

static void on_free(void *answer)
{
    (void)answer; /* it is the reader's */
}

/* hiredis takes them without const, and only reads */
static redisReplyObjectFunctions functions = {
    .createString = on_string,
    .createArray = on_array,
    .createInteger = on_integer,
    .createNil = on_nil,
    .freeObject = on_free,
};

static void forget(struct tr_kv_reader *r)
{
    r->answer.type = TR_KV_ANSWER_NONE;
    r->answer.strange = false;
    r->answer.count = 0;
    r->answer.text_len = 0;
    r->found = false;
}

enum tr_err tr_kv_reader_open(struct tr_kv_reader *r)
{
    r->hiredis = redisReaderCreateWithFunctions(&functions);
    if (!r->hiredis)
        return TR_ERR_NOMEM;
    r->hiredis->privdata = &r->answer;
    forget(r);
    return TR_OK;
}

void tr_kv_reader_close(struct tr_kv_reader *r)
{
    if (r->hiredis)
        redisReaderFree(r->hiredis);
    r->hiredis = NULL;
}

enum tr_err tr_kv_reader_feed(struct tr_kv_reader *r, struct tr_span bytes)
{
    return redisReaderFeed(r->hiredis, bytes.ptr, bytes.len) == REDIS_OK ? TR_OK : TR_ERR_NOMEM;
}

enum tr_err tr_kv_reader_next(struct tr_kv_reader *r)
{
    void *got = NULL;
    if (r->found) /* else it may be half read: what was seen of it stays */
        forget(r);
    if (redisReaderGetReply(r->hiredis, &got) != REDIS_OK)
        return TR_ERR_IO;
    if (!got)
        return r->hiredis->len - r->hiredis->pos <= TR_KV_ANSWER_MAX ? TR_ERR_AGAIN : TR_ERR_IO;
    r->found = true;
    return TR_OK;
}

struct tr_span tr_kv_reader_error(const struct tr_kv_reader *r)
{
    return r->hiredis->err ? tr_span_cstr(r->hiredis->errstr) : TR_SPAN("it is too long");
}

bool tr_kv_answer_is_error(const struct tr_kv_answer *a, struct tr_span prefix)
{
    return a->type == TR_KV_ANSWER_ERROR && tr_span_starts(tr_kv_answer_text(a), prefix);
}

enum tr_kv_failure tr_kv_answer_failure(const struct tr_kv_answer *a)
{
    static const struct {
        struct tr_span prefix;
        enum tr_kv_failure failure;
    } errors[] = {
        {TR_SPAN_INIT("MOVED "), TR_KV_MOVED},
        {TR_SPAN_INIT("ASK "), TR_KV_MOVED},
        {TR_SPAN_INIT("CLUSTERDOWN "), TR_KV_MOVED},
        {TR_SPAN_INIT("TRYAGAIN "), TR_KV_MOVED},
        {TR_SPAN_INIT("CROSSSLOT "), TR_KV_MOVED},
        {TR_SPAN_INIT("LOADING "), TR_KV_LOADING},
        {TR_SPAN_INIT("READONLY "), TR_KV_READONLY},
        {TR_SPAN_INIT("MISCONF "), TR_KV_READONLY},
        {TR_SPAN_INIT("OOM "), TR_KV_READONLY},
        {TR_SPAN_INIT("NOREPLICAS "), TR_KV_READONLY},
        {TR_SPAN_INIT("MASTERDOWN "), TR_KV_READONLY},
    };
    if (a->type == TR_KV_ANSWER_LIST && !a->strange)
        return TR_KV_OK;
    if (a->type != TR_KV_ANSWER_ERROR)
        return TR_KV_PROTOCOL;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (tr_kv_answer_is_error(a, errors[i].prefix))
            return errors[i].failure;
    return TR_KV_ERROR;
}
