#include "http/h1_answer.h"

enum { ST_HEAD, ST_LENGTH, ST_CHUNKED, ST_CLOSE, ST_DONE };

#define AGE_MAX (INT64_C(1) << 31) /* RFC 9111 §1.2.2: more than this means this */

static const struct tr_h1_limits chunk_limits = {.max_headers = TR_H1_ANSWER_HEADERS_MAX,
                                                 .max_bytes = TR_H1_ANSWER_HEAD_MAX};

void tr_h1_answer_init(struct tr_h1_answer *a, size_t max_body)
{
    *a = (struct tr_h1_answer){.stage = ST_HEAD, .max_age_s = -1, .max_body = max_body};
    tr_buf_init(&a->head);
    tr_buf_init(&a->body);
    tr_h1_chunk_init(&a->chunk);
}

void tr_h1_answer_fini(struct tr_h1_answer *a)
{
    tr_buf_fini(&a->head);
    tr_buf_fini(&a->body);
    tr_h1_chunk_fini(&a->chunk);
}

/* -- Cache-Control ---------------------------------------------------------------------------- */

/* Cuts one member of a list off *s; a comma inside a quoted string separates nothing. */
static struct tr_span cut_directive(struct tr_span *s)
{
    bool quoted = false;
    for (size_t i = 0; i < s->len; i++) {
        char c = s->ptr[i];
        if (c == '\\' && quoted)
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (c == ',' && !quoted) {
            struct tr_span part = tr_span_sub(*s, 0, i);
            *s = tr_span_from(*s, i + 1);
            return tr_span_trim(part);
        }
    }
    struct tr_span last = tr_span_trim(*s);
    *s = tr_span(NULL, 0);
    return last;
}

/* delta-seconds; -1: not one. */
static int64_t delta_seconds(struct tr_span s)
{
    uint64_t v;
    size_t zeros = 0;
    for (size_t i = 0; i < s.len; i++)
        if (!tr_is_digit(s.ptr[i]))
            return -1;
    while (zeros + 1 < s.len && s.ptr[zeros] == '0')
        zeros++;
    s = tr_span_from(s, zeros);
    if (s.len == 0)
        return -1;
    return s.len < 12 && tr_span_u64(s, &v) && v < (uint64_t)AGE_MAX ? (int64_t)v : AGE_MAX;
}

int64_t tr_h1_cache_max_age(struct tr_span value, int64_t before)
{
    int64_t age = before;
    while (value.ptr) {
        struct tr_span arg = cut_directive(&value), name = tr_span_cut(&arg, '=');
        if (tr_span_ieq(name, TR_SPAN("no-store")) || tr_span_ieq(name, TR_SPAN("no-cache")))
            return 0;
        if (!tr_span_ieq(name, TR_SPAN("max-age")) || !arg.ptr)
            continue;
        if (arg.len >= 2 && arg.ptr[0] == '"' && arg.ptr[arg.len - 1] == '"')
            arg = tr_span_sub(arg, 1, arg.len - 2);
        int64_t said = delta_seconds(arg);
        if (said < 0) /* one that cannot be read is no permission (RFC 9111 §4.2.1) */
            said = 0;
        if (age < 0 || said < age)
            age = said;
    }
    return age;
}

/* -- the head --------------------------------------------------------------------------------- */

/* "HTTP/1.x SP 3DIGIT SP reason"; without a reason its space may lack too, as with many servers. */
static enum tr_err status_line(struct tr_h1_answer *a, struct tr_span line, uint8_t *ret_minor,
                               struct tr_status *st)
{
    static const char form[] = "HTTP/1.d ddd";
    size_t want = sizeof form - 1;
    bool ok = line.len >= want && (line.len == want || line.ptr[want] == ' ');
    for (size_t i = 0; ok && i < want; i++)
        ok = form[i] == 'd' ? tr_is_digit(line.ptr[i]) : form[i] == line.ptr[i];
    for (size_t i = want; ok && i < line.len; i++) {
        unsigned char c = (unsigned char)line.ptr[i];
        ok = c == '\t' || (c >= ' ' && c != 0x7f);
    }
    unsigned status = 0;
    for (size_t i = 9; ok && i < want; i++)
        status = status * 10 + (unsigned)(line.ptr[i] - '0');
    if (!ok || status < 100 || status > 599)
        return tr_fail(st, TR_ERR_UPSTREAM_PROTOCOL, "the answer does not begin with HTTP/1.1");
    a->status = (uint16_t)status;
    *ret_minor = (uint8_t)(line.ptr[7] - '0');
    return TR_OK;
}

static enum tr_err content_length(const struct tr_headers *h, uint64_t *ret, bool *ret_given,
                                  struct tr_status *st)
{
    const struct tr_header *len = tr_headers_find(h, TR_TOKEN_CONTENT_LENGTH, NULL);
    *ret_given = len != NULL;
    if (!len)
        return TR_OK;
    if (tr_headers_find(h, TR_TOKEN_CONTENT_LENGTH, len) || len->value.len > 18 ||
        !tr_span_u64(len->value, ret))
        return tr_fail(st, TR_ERR_UPSTREAM_PROTOCOL, "Content-Length is not one number");
    return TR_OK;
}

/* How the body ends (RFC 9112 §6.3). */
static enum tr_err framing(struct tr_h1_answer *a, const struct tr_headers *h, uint8_t minor,
                           struct tr_status *st)
{
    const struct tr_header *te = tr_headers_find(h, TR_TOKEN_TRANSFER_ENCODING, NULL);
    bool sized;
    enum tr_err err = content_length(h, &a->left, &sized, st);
    if (err)
        return err;
    if (te) {
        if (sized || minor == 0 || tr_headers_find(h, TR_TOKEN_TRANSFER_ENCODING, te) ||
            !tr_span_ieq(te->value, TR_SPAN("chunked")))
            return tr_fail(st, TR_ERR_UPSTREAM_PROTOCOL,
                           "Transfer-Encoding is not chunked, or not alone");
        a->stage = ST_CHUNKED;
        return TR_OK;
    }
    a->stage = sized ? ST_LENGTH : ST_CLOSE;
    if (sized && a->left > a->max_body)
        return tr_fail(st, TR_ERR_UPSTREAM_OVERSIZED, "the answer is larger than %zu bytes",
                       a->max_body);
    return TR_OK;
}

static int64_t lifetime(const struct tr_headers *h)
{
    int64_t max_age = -1;
    for (const struct tr_header *c = NULL;
         (c = tr_headers_find(h, TR_TOKEN_CACHE_CONTROL, c)) != NULL;)
        max_age = tr_h1_cache_max_age(c->value, max_age);
    const struct tr_header *age = tr_headers_find_name(h, TR_SPAN("age"));
    int64_t old = age ? delta_seconds(age->value) : 0;
    if (max_age <= 0 || old <= 0)
        return max_age;
    return old < max_age ? max_age - old : 0;
}

static enum tr_err head_of(struct tr_h1_answer *a, struct tr_arena *arena, struct tr_status *st)
{
    struct tr_span head = tr_buf_span(&a->head);
    struct tr_headers h = {0};
    size_t lf = tr_span_find(head, '\n');
    uint8_t minor = 1; /* gcc -O2 does not see that the status line sets it */
    enum tr_err err = status_line(a, tr_span_sub(head, 0, lf - 1), &minor, st);
    if (!err)
        err = tr_h1_parse_fields(a->head.ptr + lf + 1, head.len - lf - 1, arena, &h, st);
    if (err == TR_ERR_BAD_HEADER)
        return tr_fail(st, TR_ERR_UPSTREAM_PROTOCOL, "a header field is malformed");
    if (err)
        return err;
    if (a->status == 101)
        return tr_fail(st, TR_ERR_UPSTREAM_PROTOCOL, "the server changed the protocol unasked");
    if (a->status < 200) {
        a->interim += (uint32_t)a->head.len;
        tr_buf_clear(&a->head);
        a->line = a->pos = a->headers = 0;
        return TR_OK;
    }
    if (a->status != 200)
        return tr_fail(st, TR_ERR_IO, "the server answered %u", (unsigned)a->status);
    const struct tr_header *coding = tr_headers_find(&h, TR_TOKEN_CONTENT_ENCODING, NULL);
    if (coding && !tr_span_ieq(coding->value, TR_SPAN("identity")))
        return tr_fail(st, TR_ERR_UPSTREAM_PROTOCOL,
                       "the answer has a content coding that was not asked for");
    a->max_age_s = lifetime(&h);
    return framing(a, &h, minor, st);
}

/* Lines of a->head from a->pos on. TR_OK: the head ends at a->pos. */
static enum tr_err scan_lines(struct tr_h1_answer *a, struct tr_status *st)
{
    for (;;) {
        const char *buf = a->head.ptr, *lf = NULL;
        if (a->pos < a->head.len)
            lf = memchr(buf + a->pos, '\n', a->head.len - a->pos);
        if (!lf) {
            a->pos = (uint32_t)a->head.len;
            return TR_ERR_AGAIN;
        }
        uint32_t line = a->line, len = (uint32_t)(lf - buf) - line;
        a->pos = a->line = line + len + 1;
        if (len == 0 || lf[-1] != '\r')
            return tr_fail(st, TR_ERR_UPSTREAM_PROTOCOL, "a line ends in LF without CR");
        if (len == 1 && line > 0)
            return TR_OK;
        if (buf[line] == ' ' || buf[line] == '\t')
            return tr_fail(st, TR_ERR_UPSTREAM_PROTOCOL, "a line begins with white space");
        if (line > 0 && ++a->headers > TR_H1_ANSWER_HEADERS_MAX)
            return tr_fail(st, TR_ERR_UPSTREAM_HEADERS, "there are more than %u header fields",
                           TR_H1_ANSWER_HEADERS_MAX);
    }
}

/* Takes the bytes of a head off *in. */
static enum tr_err feed_head(struct tr_h1_answer *a, struct tr_span *in, struct tr_status *st)
{
    size_t before = a->head.len, room = (size_t)TR_H1_ANSWER_HEAD_MAX - a->interim - a->head.len;
    struct tr_span part = tr_span_sub(*in, 0, room);
    if (tr_buf_append(&a->head, part))
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    enum tr_err err = scan_lines(a, st);
    if (err == TR_ERR_AGAIN && part.len == room)
        return tr_fail(st, TR_ERR_UPSTREAM_HEADERS, "the header section is larger than %u bytes",
                       TR_H1_ANSWER_HEAD_MAX);
    if (err) {
        *in = tr_span_from(*in, part.len);
        return err;
    }
    *in = tr_span_from(*in, a->pos - before);
    a->head.len = a->pos;
    struct tr_arena arena;
    tr_arena_init(&arena, NULL);
    err = head_of(a, &arena, st);
    tr_arena_fini(&arena);
    return err;
}

/* -- the body --------------------------------------------------------------------------------- */

static enum tr_err keep(struct tr_h1_answer *a, struct tr_span data, struct tr_status *st)
{
    if (data.len > a->max_body - a->body.len)
        return tr_fail(st, TR_ERR_UPSTREAM_OVERSIZED, "the answer is larger than %zu bytes",
                       a->max_body);
    if (tr_buf_append(&a->body, data))
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    return TR_OK;
}

static enum tr_err feed_length(struct tr_h1_answer *a, struct tr_span *in, struct tr_status *st)
{
    struct tr_span data = tr_span_sub(*in, 0, a->left < in->len ? (size_t)a->left : in->len);
    *in = tr_span_from(*in, data.len);
    a->left -= data.len;
    if (a->left == 0)
        a->stage = ST_DONE;
    return keep(a, data, st);
}

static enum tr_err feed_chunked(struct tr_h1_answer *a, struct tr_span *in, struct tr_status *st)
{
    struct tr_span data;
    enum tr_err err = tr_h1_chunk_next(&a->chunk, &chunk_limits, in, &data, st);
    if (err == TR_ERR_NOMEM)
        return err;
    if (err)
        return tr_fail(st, TR_ERR_UPSTREAM_PROTOCOL, "the chunked body is malformed");
    if (tr_h1_chunk_done(&a->chunk))
        a->stage = ST_DONE;
    return keep(a, data, st);
}

enum tr_err tr_h1_answer_feed(struct tr_h1_answer *a, struct tr_span in, struct tr_status *st)
{
    enum tr_err err = TR_OK;
    while (!err && a->stage != ST_DONE) {
        if (a->stage == ST_LENGTH && a->left == 0)
            a->stage = ST_DONE;
        else if (in.len == 0)
            return TR_ERR_AGAIN;
        else if (a->stage == ST_HEAD)
            err = feed_head(a, &in, st);
        else if (a->stage == ST_LENGTH)
            err = feed_length(a, &in, st);
        else if (a->stage == ST_CHUNKED)
            err = feed_chunked(a, &in, st);
        else {
            err = keep(a, in, st);
            in.len = 0;
        }
    }
    return err;
}

enum tr_err tr_h1_answer_end(struct tr_h1_answer *a, struct tr_status *st)
{
    if (a->stage == ST_CLOSE)
        a->stage = ST_DONE;
    if (a->stage == ST_DONE)
        return TR_OK;
    return tr_fail(st, TR_ERR_UPSTREAM_CLOSED, "the connection ended within the answer's %s",
                   a->stage == ST_HEAD ? "head" : "body");
}
