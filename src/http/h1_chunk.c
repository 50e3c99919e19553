#include "http/h1_chunk.h"

#include "http/chars.h"

enum {
    C_SIZE,     /* hexadecimal digits */
    C_SIZE_BWS, /* white space after the size or a value: only ";" may follow */
    C_EXT,      /* after ";" */
    C_EXT_NAME,
    C_EXT_NAME_BWS, /* only ";" or "=" may follow */
    C_EXT_EQ,       /* after "=" */
    C_EXT_TOKEN,
    C_EXT_QUOTED,
    C_EXT_ESCAPED,
    C_EXT_CLOSED, /* after the closing quote */
    C_SIZE_LF,
    C_DATA,
    C_DATA_CR,
    C_DATA_LF,
    C_TRAILER,
    C_TRAILER_LF,
    C_DONE
};

void tr_h1_chunk_init(struct tr_h1_chunk *c)
{
    *c = (struct tr_h1_chunk){.state = C_SIZE};
}

void tr_h1_chunk_fini(struct tr_h1_chunk *c)
{
    tr_buf_fini(&c->trailers);
}

bool tr_h1_chunk_done(const struct tr_h1_chunk *c)
{
    return c->state == C_DONE;
}

/* What a byte is to an extension. */
enum {
    B_TOKEN,
    B_BWS,
    B_SEMICOLON,
    B_EQUALS,
    B_CR,
    B_QUOTE,
    B_BACKSLASH,
    B_TEXT,
    B_OTHER,
    B__COUNT
};

static int byte_kind(char b)
{
    unsigned class = tr_http_class(b);
    switch (b) {
    case ' ':
    case '\t':
        return B_BWS;
    case ';':
        return B_SEMICOLON;
    case '=':
        return B_EQUALS;
    case '\r':
        return B_CR;
    case '"':
        return B_QUOTE;
    case '\\':
        return B_BACKSLASH;
    default:
        if (class & TR_CLASS_TOKEN)
            return B_TOKEN;
        return (class & TR_CLASS_FIELD) ? B_TEXT : B_OTHER;
    }
}

/* chunk-ext = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ), RFC 9112 §7.1.1.
 * Where a byte leads from a state; 0, which is no state of an extension, where it does not belong.
 * White space alone is not an extension. */
static const uint8_t ext_next[C_SIZE_LF][B__COUNT] = {
    [C_SIZE_BWS] = {[B_BWS] = C_SIZE_BWS, [B_SEMICOLON] = C_EXT},
    [C_EXT] = {[B_TOKEN] = C_EXT_NAME, [B_BWS] = C_EXT},
    [C_EXT_NAME] = {[B_TOKEN] = C_EXT_NAME,
                    [B_BWS] = C_EXT_NAME_BWS,
                    [B_SEMICOLON] = C_EXT,
                    [B_EQUALS] = C_EXT_EQ,
                    [B_CR] = C_SIZE_LF},
    [C_EXT_NAME_BWS] = {[B_BWS] = C_EXT_NAME_BWS, [B_SEMICOLON] = C_EXT, [B_EQUALS] = C_EXT_EQ},
    [C_EXT_EQ] = {[B_TOKEN] = C_EXT_TOKEN, [B_BWS] = C_EXT_EQ, [B_QUOTE] = C_EXT_QUOTED},
    [C_EXT_TOKEN] =
        {[B_TOKEN] = C_EXT_TOKEN, [B_BWS] = C_SIZE_BWS, [B_SEMICOLON] = C_EXT, [B_CR] = C_SIZE_LF},
    [C_EXT_QUOTED] = {C_EXT_QUOTED, C_EXT_QUOTED, C_EXT_QUOTED, C_EXT_QUOTED, 0, C_EXT_CLOSED,
                      C_EXT_ESCAPED, C_EXT_QUOTED, 0},
    [C_EXT_ESCAPED] = {C_EXT_QUOTED, C_EXT_QUOTED, C_EXT_QUOTED, C_EXT_QUOTED, 0, C_EXT_QUOTED,
                       C_EXT_QUOTED, C_EXT_QUOTED, 0},
    [C_EXT_CLOSED] = {[B_BWS] = C_SIZE_BWS, [B_SEMICOLON] = C_EXT, [B_CR] = C_SIZE_LF},
};

static enum tr_err size_byte(struct tr_h1_chunk *c, char b, struct tr_status *st)
{
    int hex = tr_hex_value(b);
    if (hex >= 0) {
        /* 15 digits hold any size that fits a signed 64-bit count. */
        if (c->digits == 15)
            return tr_fail(st, TR_ERR_BAD_CHUNK, "a chunk size has more than 15 digits");
        c->digits++;
        c->left = c->left << 4 | (uint64_t)hex;
        return TR_OK;
    }
    /* What may follow a size is what may follow a value. */
    uint8_t next = c->digits ? ext_next[C_EXT_CLOSED][byte_kind(b)] : 0;
    if (next == 0)
        return tr_fail(st, TR_ERR_BAD_CHUNK, "a chunk size is malformed");
    c->state = next;
    return TR_OK;
}

static enum tr_err ext_byte(struct tr_h1_chunk *c, char b, struct tr_status *st)
{
    uint8_t next = ext_next[c->state][byte_kind(b)];
    if (next == 0)
        return tr_fail(st, TR_ERR_BAD_CHUNK, "a chunk extension is malformed");
    if (++c->ext > TR_H1_CHUNK_EXT_MAX || ++c->ext_total > TR_H1_CHUNK_EXT_TOTAL)
        return tr_fail(st, TR_ERR_BAD_CHUNK, "chunk extensions are too long");
    c->state = next;
    return TR_OK;
}

/* A run of one trailer line; its end is found by its LF, its bytes are judged later. */
static enum tr_err trailer_run(struct tr_h1_chunk *c, const struct tr_h1_limits *limits,
                               struct tr_span *in, struct tr_status *st)
{
    size_t n = tr_span_find(*in, '\n');
    bool whole = n < in->len;
    if (whole)
        n++;
    if (c->trailers.len + n > limits->max_bytes)
        return tr_fail(st, TR_ERR_HEADERS_TOO_LARGE, "the trailer section is larger than %u bytes",
                       (unsigned)limits->max_bytes);
    if (tr_buf_append(&c->trailers, tr_span_sub(*in, 0, n)) != TR_OK)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    *in = tr_span_from(*in, n);
    if (!whole)
        return TR_OK;
    size_t len = c->trailers.len - c->trailer_line;
    c->trailer_line = (uint32_t)c->trailers.len;
    if (len < 2 || c->trailers.ptr[c->trailers.len - 2] != '\r')
        return tr_fail(st, TR_ERR_BAD_CHUNK, "a trailer line ends in LF without CR");
    if (len == 2)
        c->state = C_DONE;
    else if (++c->trailer_count > limits->max_headers)
        return tr_fail(st, TR_ERR_TOO_MANY_HEADERS, "there are more than %u trailer fields",
                       (unsigned)limits->max_headers);
    return TR_OK;
}

/* The bytes that stand between data: CR, LF, sizes and extensions. */
static enum tr_err framing_byte(struct tr_h1_chunk *c, char b, struct tr_status *st)
{
    switch (c->state) {
    case C_SIZE:
        return size_byte(c, b, st);
    case C_SIZE_LF:
        if (b != '\n')
            return tr_fail(st, TR_ERR_BAD_CHUNK, "a chunk size does not end in CRLF");
        c->ext = 0;
        c->digits = 0;
        c->state = c->left ? C_DATA : C_TRAILER;
        return TR_OK;
    case C_DATA_CR:
        if (b != '\r')
            return tr_fail(st, TR_ERR_BAD_CHUNK, "a chunk is longer than its size");
        c->state = C_DATA_LF;
        return TR_OK;
    case C_DATA_LF:
        if (b != '\n')
            return tr_fail(st, TR_ERR_BAD_CHUNK, "a chunk does not end in CRLF");
        c->state = C_SIZE;
        return TR_OK;
    case C_TRAILER_LF:
        if (b != '\n')
            return tr_fail(st, TR_ERR_BAD_CHUNK, "the last chunk does not end in CRLF");
        c->state = C_DONE;
        return TR_OK;
    default:
        return ext_byte(c, b, st);
    }
}

enum tr_err tr_h1_chunk_next(struct tr_h1_chunk *c, const struct tr_h1_limits *limits,
                             struct tr_span *in, struct tr_span *ret_data, struct tr_status *st)
{
    *ret_data = tr_span(in->ptr, 0);
    while (in->len && c->state != C_DONE) {
        enum tr_err err;
        if (c->state == C_DATA) {
            size_t n = in->len < c->left ? in->len : (size_t)c->left;
            *ret_data = tr_span_sub(*in, 0, n);
            *in = tr_span_from(*in, n);
            c->left -= n;
            if (c->left == 0)
                c->state = C_DATA_CR;
            return TR_OK;
        }
        if (c->state == C_TRAILER && (c->trailers.len || in->ptr[0] != '\r')) {
            err = trailer_run(c, limits, in, st);
        } else if (c->state == C_TRAILER) { /* no trailers, as nearly always: nothing is kept */
            *in = tr_span_from(*in, 1);
            c->state = C_TRAILER_LF;
            err = TR_OK;
        } else {
            err = framing_byte(c, in->ptr[0], st);
            *in = tr_span_from(*in, 1);
        }
        if (err)
            return err;
    }
    return TR_OK;
}

enum tr_err tr_h1_chunk_trailers(const struct tr_h1_chunk *c, struct tr_arena *arena,
                                 struct tr_headers *ret_trailers, struct tr_status *st)
{
    *ret_trailers = (struct tr_headers){0};
    if (c->trailers.len == 0)
        return TR_OK;
    char *lines = tr_arena_alloc(arena, c->trailers.len);
    if (!lines)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    memcpy(lines, c->trailers.ptr, c->trailers.len);
    enum tr_err err = tr_h1_parse_fields(lines, c->trailers.len, arena, ret_trailers, st);
    if (err)
        return err == TR_ERR_BAD_HEADER
                   ? tr_fail(st, TR_ERR_BAD_CHUNK, "a trailer line is malformed")
                   : err;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < ret_trailers->count; i++) {
        uint16_t t = ret_trailers->items[i].token;
        if (t == TR_TOKEN_CONTENT_LENGTH || t == TR_TOKEN_TRANSFER_ENCODING || t == TR_TOKEN_HOST)
            return tr_fail(st, TR_ERR_BAD_CHUNK,
                           "a field of framing or routing is among the trailers");
        if (t == TR_TOKEN_NONE)
            ret_trailers->items[kept++] = ret_trailers->items[i];
    }
    ret_trailers->count = kept;
    return TR_OK;
}
