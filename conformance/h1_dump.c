/* What the HTTP/1.1 decoders make of bytes, in text, for conformance/llhttp_cases.py.
 *
 * Input: runs of a 4-byte little-endian length and that many bytes. For each run, lines are written
 * until "end": "method M", "target T", "header N V", "body B" (B once for each message),
 * "complete", "error NAME", "more" when the input ends within a message. Bytes outside printable
 * ASCII, "%" and space are written as %XX. A head without a Host is given one, so that the cases,
 * which seldom have it, are judged for the rest. */
#include "base/buf.h"
#include "http/h1_chunk.h"
#include "http/h1_parse.h"

#include <stdio.h>
#include <stdlib.h>

static const struct tr_h1_limits limits = {
    .max_headers = 100, .max_bytes = 65536, .max_path = 8192};

static void put(struct tr_span s)
{
    (void)putchar(' ');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c > ' ' && c < 0x7f && c != '%')
            (void)putchar(c);
        else
            (void)printf("%%%02X", c);
    }
}

/* The head with a Host when it has none; a request line that was scanned ends in CRLF. */
static enum tr_err with_host(struct tr_span head, struct tr_buf *ret)
{
    bool has = false;
    struct tr_span lines = head;
    while (lines.len) {
        size_t lf = tr_span_find(lines, '\n');
        has |= tr_span_ieq(tr_span_sub(lines, 0, 5), TR_SPAN("host:"));
        lines = tr_span_from(lines, lf + 1);
    }
    size_t first = tr_span_find(head, '\n') + 1;
    if (first == 2) /* an empty line before it */
        first += tr_span_find(tr_span_from(head, 2), '\n') + 1;
    enum tr_err err = tr_buf_append(ret, tr_span_sub(head, 0, first));
    if (!err && !has)
        err = tr_buf_append(ret, TR_SPAN("Host: a\r\n"));
    if (!err)
        err = tr_buf_append(ret, tr_span_from(head, first));
    return err;
}

static enum tr_err body(struct tr_span *in, const struct tr_req_head *head, struct tr_arena *arena)
{
    struct tr_h1_chunk chunk;
    struct tr_headers trailers;
    struct tr_span data;
    enum tr_err err = TR_OK;
    (void)printf("body");
    if (head->content_length >= 0) {
        data = tr_span_sub(*in, 0, (size_t)head->content_length);
        put(data);
        *in = tr_span_from(*in, data.len);
        (void)putchar('\n');
        return data.len == (size_t)head->content_length ? TR_OK : TR_ERR_AGAIN;
    }
    tr_h1_chunk_init(&chunk);
    while (!err && in->len && !tr_h1_chunk_done(&chunk)) {
        err = tr_h1_chunk_next(&chunk, &limits, in, &data, NULL);
        if (!err && data.len)
            put(data);
    }
    (void)putchar('\n');
    if (!err)
        err = tr_h1_chunk_done(&chunk) ? tr_h1_chunk_trailers(&chunk, arena, &trailers, NULL)
                                       : TR_ERR_AGAIN;
    tr_h1_chunk_fini(&chunk);
    return err;
}

static enum tr_err message(struct tr_span *in, struct tr_arena *arena, bool *ret_close)
{
    struct tr_h1_scan scan;
    struct tr_req_head head = {0};
    struct tr_buf copy;
    size_t len = 0;
    tr_h1_scan_init(&scan);
    enum tr_err err = tr_h1_scan(&scan, *in, &limits, &len, NULL);
    if (err)
        return err;
    tr_buf_init(&copy);
    err = with_host(tr_span_sub(*in, 0, len), &copy);
    *in = tr_span_from(*in, len);
    tr_h1_scan_init(&scan);
    if (!err)
        err = tr_h1_scan(&scan, tr_buf_span(&copy), &limits, &len, NULL);
    if (!err)
        err = tr_h1_parse(copy.ptr, len, &scan, arena, &head, NULL);
    (void)printf("method");
    put(head.method_text);
    (void)printf("\ntarget");
    put(tr_span_sub(tr_buf_span(&copy), scan.start + scan.method_len + 1, scan.target_len));
    (void)putchar('\n');
    for (uint32_t i = 0; i < head.headers.count; i++) {
        (void)printf("header");
        put(head.headers.items[i].name);
        put(head.headers.items[i].value);
        (void)putchar('\n');
    }
    if (!err && !head.end)
        err = body(in, &head, arena);
    if (!err)
        (void)puts("complete");
    *ret_close = head.version < 11 || tr_h1_says_close(&head.headers);
    tr_buf_fini(&copy);
    return err;
}

static void run(struct tr_span in)
{
    enum tr_err err = TR_OK;
    bool closes = false;
    while (!err && in.len && !closes) {
        struct tr_arena arena;
        tr_arena_init(&arena, NULL);
        err = message(&in, &arena, &closes);
        tr_arena_fini(&arena);
    }
    if (err == TR_ERR_AGAIN)
        (void)puts("more");
    else if (err)
        (void)printf("error %s\n", tr_err_info(err)->name);
    (void)puts("end");
    (void)fflush(stdout);
}

int main(void)
{
    unsigned char size[4];
    while (fread(size, 1, 4, stdin) == 4) {
        size_t n = size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16;
        char *text = malloc(n ? n : 1);
        if (!text || fread(text, 1, n, stdin) != n)
            return 1;
        run(tr_span(text, n));
        free(text);
    }
    return 0;
}
