#include "proto/typepool.h"
#include "transcode/json2pb_impl.h"

/* Tokens of an Any whose "@type" is not its first name are held until its end, then replayed with
 * the type known. The record of a token is
 *
 *   kind (1 byte) | place | OBJ_BEGIN: offset of the record's "@type" text, 4 bytes, 0 when it has
 * none | KEY, STRING, NUMBER: length (varint), text
 *
 * and a place is varint(bytes since the last token's << 1 | other line), then for another line
 * varint(lines on), varint(column). An Any inside of a held one finds its type by that offset, so
 * that nothing is held or searched twice. */
struct tr_j2p_held {
    char *ptr;
    size_t len, cap, max;
    size_t pos;    /* of the replay */
    size_t offset; /* place of the last token, written or replayed */
    uint32_t line, column;
    uint32_t type_at; /* replay: of the OBJ_BEGIN in hand */
    uint32_t depth;
    uint32_t type_slot; /* writing: where the offset of the "@type" whose string comes next is to be
                           written; 0: none */
    uint32_t slots[TR_JSON_DEPTH_MAX + 1]; /* of the open objects; 0 for arrays */
    size_t first_offset;
    uint32_t first_line, first_column;
    struct tr_span text; /* replay: of the token in hand */
};

#define HELD_FIRST 1024

static enum tr_err held_reserve(struct tr_json2pb *j, struct tr_j2p_held *h, size_t extra)
{
    if (h->cap - h->len >= extra)
        return TR_OK;
    size_t need = h->len + extra, cap = h->cap ? h->cap * 2 : HELD_FIRST;
    if (need > h->max)
        return TR_ERR_BODY_TOO_LARGE;
    if (cap < need)
        cap = need;
    char *p = tr_arena_alloc(j->arena, cap);
    if (!p)
        return TR_ERR_NOMEM;
    if (h->len)
        memcpy(p, h->ptr, h->len);
    h->ptr = p;
    h->cap = cap;
    return TR_OK;
}

static void put_place(struct tr_j2p_held *h, const struct tr_json_scan *scan)
{
    bool line = scan->tok_line != h->line;
    char *p = h->ptr + h->len;
    p += tr_wire_put_varint(p, (uint64_t)(scan->tok_offset - h->offset) << 1 | line);
    if (line) {
        p += tr_wire_put_varint(p, scan->tok_line - h->line);
        p += tr_wire_put_varint(p, scan->tok_column);
    }
    h->len = (size_t)(p - h->ptr);
    h->offset = scan->tok_offset;
    h->line = scan->tok_line;
    h->column = scan->tok_column;
}

static bool has_text(enum tr_json_tok tok)
{
    return tok == TR_JSON_KEY || tok == TR_JSON_STRING || tok == TR_JSON_NUMBER;
}

static enum tr_err hold(struct tr_json2pb *j, const struct tr_json_scan *scan, enum tr_json_tok tok)
{
    struct tr_j2p_held *h = j->held;
    size_t text = has_text(tok) ? j->text->len : 0;
    enum tr_err err = held_reserve(j, h, 1 + 3 * TR_VARINT_MAX + TR_VARINT_MAX + text);
    if (err)
        return err;
    h->ptr[h->len++] = (char)tok;
    put_place(h, scan);
    uint32_t here = (uint32_t)h->len;
    if (tok == TR_JSON_OBJ_BEGIN) {
        memset(h->ptr + h->len, 0, 4);
        h->len += 4;
    } else if (has_text(tok)) {
        h->len += tr_wire_put_varint(h->ptr + h->len, text);
        if (text)
            memcpy(h->ptr + h->len, j->text->ptr, text);
        h->len += text;
    }
    if (tok == TR_JSON_STRING && h->type_slot)
        memcpy(h->ptr + h->type_slot, &here, 4);
    h->type_slot = 0;
    if (tok == TR_JSON_OBJ_BEGIN || tok == TR_JSON_ARR_BEGIN) {
        h->slots[++h->depth] = tok == TR_JSON_OBJ_BEGIN ? here : 0;
    } else if (tok == TR_JSON_OBJ_END || tok == TR_JSON_ARR_END) {
        h->depth--;
    } else if (tok == TR_JSON_KEY && tr_j2p_is_type_name(*j->text)) {
        uint32_t known;
        memcpy(&known, h->ptr + h->slots[h->depth], 4);
        if (!known) /* a second one is refused when it is replayed */
            h->type_slot = h->slots[h->depth];
    }
    return TR_OK;
}

static enum tr_err hold_begin(struct tr_json2pb *j, const struct tr_json_scan *scan)
{
    struct tr_j2p_held *h = j->held;
    if (!h) {
        h = j->held = TR_ARENA_NEW(j->arena, struct tr_j2p_held);
        if (!h)
            return TR_ERR_NOMEM;
        h->max = j->opts.max_bytes && j->opts.max_bytes < UINT32_MAX / 4 ? j->opts.max_bytes * 4
                                                                         : UINT32_MAX;
        if (h->max < HELD_FIRST)
            h->max = HELD_FIRST;
    }
    h->len = 0;
    h->depth = 0;
    h->type_slot = 0;
    h->first_offset = h->offset = scan->tok_offset;
    h->first_line = h->line = scan->tok_line;
    h->first_column = h->column = scan->tok_column;
    return hold(j, scan, TR_JSON_OBJ_BEGIN);
}

enum tr_json_tok tr_j2p_held_next(struct tr_json2pb *j)
{
    struct tr_j2p_held *h = j->held;
    const char *p = h->ptr + h->pos, *end = h->ptr + h->len;
    enum tr_json_tok tok = (enum tr_json_tok) * p++;
    uint64_t v = 0, w = 0;
    bool ok = tr_wire_varint(&p, end, &v);
    h->offset += (size_t)(v >> 1);
    h->column += (uint32_t)(v >> 1);
    if (v & 1) {
        ok = ok && tr_wire_varint(&p, end, &v) && tr_wire_varint(&p, end, &w);
        h->line += (uint32_t)v;
        h->column = (uint32_t)w;
    }
    h->text = TR_SPAN("");
    j->text = &h->text;
    if (tok == TR_JSON_OBJ_BEGIN) {
        memcpy(&h->type_at, p, 4);
        p += 4;
    } else if (has_text(tok)) {
        ok = ok && tr_wire_len(&p, end, &h->text);
    }
    TR_ASSERT(ok);
    h->pos = (size_t)(p - h->ptr);
    j->replaying = h->pos < h->len;
    return tok;
}

void tr_j2p_held_place(const struct tr_json2pb *j, struct tr_status *st)
{
    st->offset = j->held->offset;
    st->line = j->held->line;
    st->column = j->held->column;
}

/* -- the Any -- */

static bool has_special_form(const struct tr_msgtype *msg)
{
    return msg->wkt != TR_WKT_NONE && msg->wkt != TR_WKT_EMPTY && msg->wkt != TR_WKT_HTTP_BODY;
}

/* The type is known: the rest of the object is its message, or has it as "value". */
static enum tr_err resolve(struct tr_json2pb *j, struct tr_j2p_frame *f, struct tr_span url)
{
    size_t slash = tr_span_rfind(url, '/');
    struct tr_span name = slash < url.len ? tr_span_from(url, slash + 1) : TR_SPAN("");
    int shown = (int)(url.len < 80 ? url.len : 80);
    if (name.len == 0)
        return tr_fail(j->st, TR_ERR_JSON_ANY,
                       "\"@type\" must end in a slash and a type's full name: \"%.*s\"", shown,
                       url.ptr);
    const struct tr_msgtype *msg = j->opts.pool ? tr_typepool_find(j->opts.pool, name) : NULL;
    if (!msg)
        return tr_fail(j->st, TR_ERR_JSON_ANY, "the type of \"@type\" is not known: \"%.*s\"",
                       shown, url.ptr);
    if (msg->message_set)
        return tr_fail(j->st, TR_ERR_JSON_TYPE, "a message set has no JSON form");
    enum tr_err err = tr_buf_push(j->out, 0x0A);
    if (!err)
        err = tr_scalar_put_string(j->out, url);
    if (!err)
        err = tr_j2p_open_tag(j, 0x12);
    if (err)
        return err;
    f->opens++;
    f->msg = msg;
    f->kind = has_special_form(msg) ? J2P_ANY_WKT : J2P_MSG;
    f->flags |= J2P_F_ANY;
    tr_j2p_unseen(j, f);
    return TR_OK;
}

/* The object's first token was just replayed. */
static enum tr_err resolve_held(struct tr_json2pb *j, struct tr_j2p_frame *f)
{
    const struct tr_j2p_held *h = j->held;
    if (!h->type_at)
        return TR_OK;
    struct tr_span url;
    const char *p = h->ptr + h->type_at;
    bool ok = tr_wire_len(&p, h->ptr + h->len, &url);
    TR_ASSERT(ok);
    return resolve(j, f, url);
}

enum tr_err tr_j2p_any_begin(struct tr_json2pb *j, unsigned opens)
{
    struct tr_j2p_frame *f;
    enum tr_err err = tr_j2p_push(j, J2P_ANY, opens, &f);
    return err || !j->replaying ? err : resolve_held(j, f);
}

enum tr_err tr_j2p_any_step(struct tr_json2pb *j, struct tr_j2p_frame *f,
                            const struct tr_json_scan *scan, enum tr_json_tok tok)
{
    if (f->kind == J2P_ANY_TYPE) {
        if (tok != TR_JSON_STRING)
            return tr_j2p_expected(j, "a string as \"@type\"", tok);
        f->flags |= J2P_F_TYPE_SEEN;
        return resolve(j, f, *j->text);
    }
    if (tok == TR_JSON_OBJ_END) /* {}: an Any with nothing in it */
        return tr_j2p_pop(j);
    if (j->replaying)
        return tr_fail(j->st, TR_ERR_JSON_ANY, "the Any has no \"@type\"");
    if (tr_j2p_is_type_name(*j->text)) {
        f->kind = J2P_ANY_TYPE;
        return TR_OK;
    }
    f->kind = J2P_HOLD;
    enum tr_err err = hold_begin(j, scan);
    return err ? err : hold(j, scan, tok);
}

enum tr_err tr_j2p_hold_step(struct tr_json2pb *j, struct tr_j2p_frame *f,
                             const struct tr_json_scan *scan, enum tr_json_tok tok)
{
    enum tr_err err = hold(j, scan, tok);
    if (err || j->held->depth > 0)
        return err;
    struct tr_j2p_held *h = j->held;
    h->pos = 0;
    h->offset = h->first_offset;
    h->line = h->first_line;
    h->column = h->first_column;
    (void)tr_j2p_held_next(j); /* the brace that this frame has had */
    f->kind = J2P_ANY;
    return resolve_held(j, f);
}

enum tr_err tr_j2p_any_type_again(struct tr_json2pb *j, struct tr_j2p_frame *f)
{
    if (f->flags & J2P_F_TYPE_SEEN)
        return tr_fail(j->st, TR_ERR_JSON_DUPLICATE, "\"@type\" is given twice");
    f->flags |= J2P_F_TYPE_SEEN | J2P_F_SKIP_NEXT;
    return TR_OK;
}

enum tr_err tr_j2p_any_wkt_step(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok)
{
    if (tok == TR_JSON_OBJ_END) {
        if (!(f->flags & J2P_F_VALUE_SEEN))
            return tr_fail(j->st, TR_ERR_JSON_ANY, "an Any of %.*s has its content as \"value\"",
                           (int)f->msg->full_name.len, f->msg->full_name.ptr);
        return tr_j2p_pop(j);
    }
    if (tok != TR_JSON_KEY) {
        if (!(f->flags & J2P_F_SKIP_NEXT))
            return tr_j2p_message(j, f->msg, NULL, tok, 0);
        f->flags &= (uint8_t)~J2P_F_SKIP_NEXT;
        return tr_j2p_skip(j, tok);
    }
    if (tr_j2p_is_type_name(*j->text))
        return tr_j2p_any_type_again(j, f);
    if (!tr_span_eq(*j->text, TR_SPAN("value")))
        return tr_j2p_unknown_name(j, f);
    if (f->flags & J2P_F_VALUE_SEEN)
        return tr_fail(j->st, TR_ERR_JSON_DUPLICATE, "\"value\" is given twice");
    f->flags |= J2P_F_VALUE_SEEN;
    return TR_OK;
}
