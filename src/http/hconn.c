/* What the two server codecs share. */
#include "http/codec.h"

void tr_hconn_drain(struct tr_hconn *conn)
{
    conn->ops->drain(conn);
}

void tr_hconn_abort(struct tr_hconn *conn)
{
    conn->ops->abort(conn);
}

struct tr_span tr_hworker_date(struct tr_hworker *worker)
{
    int64_t now = tr_loop_unix_s(worker->loop);
    if (now != worker->date_unix_s || worker->date[0] == '\0') {
        worker->date_unix_s = now;
        (void)tr_http_date(worker->date, now);
    }
    return tr_span(worker->date, sizeof worker->date);
}
