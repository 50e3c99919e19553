#include "transcode/json2pb.h"

#include "transcode/json2pb_impl.h"

#define FRAMES_FIRST 16
#define LENS_FIRST   32

/* -- frames -- */

static enum tr_err frames_grow(struct tr_json2pb *j)
{
    uint32_t cap = j->frame_cap * 2;
    struct tr_j2p_frame *frames = tr_arena_alloc(j->arena, cap * sizeof *frames);
    if (!frames)
        return TR_ERR_NOMEM;
    memcpy(frames, j->frames, j->frame_cap * sizeof *frames);
    if (j->more) {
        struct tr_j2p_more *more = tr_arena_calloc(j->arena, cap, sizeof *more);
        if (!more)
            return TR_ERR_NOMEM;
        memcpy(more, j->more, j->frame_cap * sizeof *more);
        j->more = more;
    }
    j->frames = frames;
    j->frame_cap = cap;
    return TR_OK;
}

enum tr_err tr_j2p_lens_grow(struct tr_json2pb *j)
{
    uint32_t cap = j->len_cap ? j->len_cap * 2 : LENS_FIRST;
    struct tr_j2p_len *lens = tr_arena_alloc(j->arena, cap * sizeof *lens);
    if (!lens)
        return TR_ERR_NOMEM;
    if (j->len_count)
        memcpy(lens, j->lens, j->len_count * sizeof *lens);
    j->lens = lens;
    j->len_cap = cap;
    return TR_OK;
}

enum tr_err tr_j2p_push(struct tr_json2pb *j, enum tr_j2p_kind kind, unsigned opens,
                        struct tr_j2p_frame **ret)
{
    if (tr_unlikely(j->top + 1 == j->frame_cap)) {
        enum tr_err err = frames_grow(j);
        if (err)
            return err;
    }
    struct tr_j2p_frame *f = &j->frames[++j->top];
    f->kind = (uint8_t)kind;
    f->opens = (uint8_t)opens;
    f->flags = 0;
    f->index = 0;
    f->seen = 0;
    f->msg = NULL;
    f->field = NULL;
    *ret = f;
    return TR_OK;
}

enum tr_err tr_j2p_pop(struct tr_json2pb *j)
{
    const struct tr_j2p_frame *f = &j->frames[j->top--];
    if (tr_unlikely(f->flags & J2P_F_GROUP)) {
        const struct tr_field *field = f[-1].field;
        enum tr_err err = tr_buf_reserve(j->out, 5);
        if (err)
            return err;
        char *p = tr_buf_end(j->out);
        memcpy(p, field->tag, 5);
        *p = (char)((*p & ~7) | TR_WIRE_EGROUP);
        j->out->len += field->tag_len;
    }
    tr_j2p_close_n(j, f->opens);
    return tr_likely(j->out->len <= j->limit) ? TR_OK : TR_ERR_BODY_TOO_LARGE;
}

/* -- errors -- */

static const char *token_noun(enum tr_json_tok tok)
{
    switch (tok) {
    case TR_JSON_OBJ_BEGIN:
        return "an object";
    case TR_JSON_ARR_BEGIN:
        return "an array";
    case TR_JSON_STRING:
        return "a string";
    case TR_JSON_NUMBER:
        return "a number";
    case TR_JSON_TRUE:
    case TR_JSON_FALSE:
        return "a boolean";
    case TR_JSON_NULL:
        return "null";
    case TR_JSON_MORE:
    case TR_JSON_ERROR:
    case TR_JSON_END:
    case TR_JSON_OBJ_END:
    case TR_JSON_ARR_END:
    case TR_JSON_KEY:
        break;
    }
    return "something else";
}

enum tr_err tr_j2p_expected(struct tr_json2pb *j, const char *what, enum tr_json_tok tok)
{
    enum tr_err err = tok == TR_JSON_NULL ? TR_ERR_JSON_NULL : TR_ERR_JSON_TYPE;
    return tr_fail(j->st, err, "expected %s, got %s", what, token_noun(tok));
}

/* Whose place an error has. */
enum place { PLACE_SCAN_ERROR, PLACE_SCAN, PLACE_HELD };

__attribute__((cold)) static enum tr_err fail(struct tr_json2pb *j, const struct tr_json_scan *scan,
                                              enum tr_err err, enum place place)
{
    j->failed = err;
    struct tr_status *st = j->st;
    if (!st)
        return err;
    if (place == PLACE_SCAN_ERROR) {
        *st = scan->st;
    } else {
        if (st->err != err) /* nobody gave a text: the table's will do */
            st->text_len = 0;
        st->err = err;
        st->line = scan->tok_line;
        st->column = scan->tok_column;
        st->offset = scan->tok_offset;
        if (place == PLACE_HELD)
            tr_j2p_held_place(j, st);
    }
    char path[TR_STATUS_FIELD_MAX + 4];
    tr_status_set_field(st, tr_span(path, tr_j2p_error_path(j, path, sizeof path)));
    return err;
}

/* -- the run -- */

static enum tr_err root_step(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok)
{
    if (tok == TR_JSON_ARR_END || tok == TR_JSON_OBJ_END || tok == TR_JSON_KEY)
        return TR_ERR_INTERNAL; /* the caller gave us a scanner that stands inside of something */
    if (f->field)
        return tr_j2p_field_value(j, f, tok);
    if (tok == TR_JSON_NULL && j->type->wkt != TR_WKT_VALUE)
        return tr_fail(j->st, TR_ERR_JSON_NULL, "the value must not be null");
    enum tr_err err = tr_j2p_message(j, j->type, NULL, tok, 0);
    if (!err && j->opts.on_path && j->top == 1 && j->frames[1].kind == J2P_MSG)
        j->frames[1].flags |= J2P_F_PATHS;
    return err;
}

static enum tr_err step(struct tr_json2pb *j, const struct tr_json_scan *scan, enum tr_json_tok tok)
{
    struct tr_j2p_frame *f = &j->frames[j->top];
    switch ((enum tr_j2p_kind)f->kind) {
    case J2P_MSG:
        if (tok == TR_JSON_KEY)
            return tr_j2p_msg_key(j, f);
        return tok == TR_JSON_OBJ_END ? tr_j2p_msg_end(j, f) : tr_j2p_field_value(j, f, tok);
    case J2P_LIST:
        f->index++;
        return tr_j2p_list_step(j, f, tok);
    case J2P_MAP:
        return tr_j2p_map_step(j, f, tok);
    case J2P_STRUCT:
        return tr_j2p_struct_step(j, f, tok);
    case J2P_LISTVALUE:
        f->index++;
        return tr_j2p_listvalue_step(j, f, tok);
    case J2P_ANY:
    case J2P_ANY_TYPE:
        return tr_j2p_any_step(j, f, scan, tok);
    case J2P_ANY_WKT:
        return tr_j2p_any_wkt_step(j, f, tok);
    case J2P_HOLD:
        return tr_j2p_hold_step(j, f, scan, tok);
    case J2P_SKIP:
        if (tok == TR_JSON_OBJ_BEGIN || tok == TR_JSON_ARR_BEGIN)
            f->index++;
        else if ((tok == TR_JSON_OBJ_END || tok == TR_JSON_ARR_END) && --f->index == 0)
            return tr_j2p_pop(j);
        return TR_OK;
    case J2P_ROOT:
        return root_step(j, f, tok);
    }
    return TR_ERR_INTERNAL;
}

/* The lengths that need more than one byte get them: from the end backwards, each stretch between
 * two of them moves once. */
static enum tr_err widen(struct tr_json2pb *j)
{
    struct tr_buf *out = j->out;
    enum tr_err err = tr_buf_reserve(out, j->extra);
    if (err)
        return err;
    size_t src = out->len, dst = out->len + j->extra;
    out->len = dst;
    for (uint32_t i = j->len_count; i-- > 0;) {
        const struct tr_j2p_len *l = &j->lens[i];
        size_t n = src - (l->pos + 1);
        dst -= n;
        memmove(out->ptr + dst, out->ptr + l->pos + 1, n);
        dst -= tr_wire_varint_len(l->value);
        (void)tr_wire_put_varint(out->ptr + dst, l->value);
        src = l->pos;
    }
    return TR_OK;
}

__attribute__((cold)) static enum tr_err no_token(struct tr_json2pb *j,
                                                  const struct tr_json_scan *scan,
                                                  enum tr_json_tok tok)
{
    if (tok == TR_JSON_MORE) {
        j->resume_len = j->out->len;
        return TR_ERR_AGAIN;
    }
    return tok == TR_JSON_ERROR ? fail(j, scan, scan->st.err, PLACE_SCAN_ERROR)
                                : fail(j, scan, TR_ERR_EOF, PLACE_SCAN);
}

static inline enum tr_err live_step(struct tr_json2pb *j, struct tr_json_scan *scan)
{
    enum tr_json_tok tok = tr_json_scan_next(scan);
    if (tr_unlikely(tok <= TR_JSON_END))
        return no_token(j, scan, tok);
    struct tr_j2p_frame *f = &j->frames[j->top];
    enum tr_err err;
    if (tok == TR_JSON_KEY && f->kind == J2P_MSG) {
        err = tr_j2p_msg_key(j, f);
        if (tr_unlikely(err))
            return fail(j, scan, err, PLACE_SCAN);
        /* Its value at once, if it is there; else it finds the field in the frame. */
        tok = tr_json_scan_next(scan);
        if (tr_unlikely(tok <= TR_JSON_END))
            return no_token(j, scan, tok);
        err = tr_j2p_field_value(j, f, tok);
    } else {
        err = step(j, scan, tok);
    }
    return tr_likely(!err) ? TR_OK : fail(j, scan, err, PLACE_SCAN);
}

static enum tr_err held_step(struct tr_json2pb *j, const struct tr_json_scan *scan)
{
    enum tr_err err = step(j, scan, tr_j2p_held_next(j));
    if (err)
        return fail(j, scan, err, PLACE_HELD);
    if (!j->replaying)
        j->text = &scan->text;
    return TR_OK;
}

enum tr_err tr_json2pb_run(struct tr_json2pb *j, struct tr_json_scan *scan, struct tr_status *st)
{
    j->st = st;
    if (j->failed)
        return j->failed;
    if (st)
        tr_status_clear(st);
    if (tr_unlikely(!j->done &&
                    j->out->len !=
                        j->resume_len)) /* the caller moved it: offsets mean nothing now */
        return fail(j, scan, TR_ERR_INTERNAL, PLACE_SCAN);
    if (!j->replaying)
        j->text = &scan->text; /* not copied: reading at once what was just written in halves would
                                  stall */
    while (!j->done) {
        enum tr_err err = j->replaying ? held_step(j, scan) : live_step(j, scan);
        if (tr_unlikely(err))
            return err;
        j->done = j->top == 0;
    }
    TR_DCHECK(j->len_cur == J2P_NO_LEN);
    enum tr_err err = j->extra ? widen(j) : TR_OK;
    j->extra = 0;
    if (!err && j->out->len > j->limit)
        err = TR_ERR_BODY_TOO_LARGE;
    return err ? fail(j, scan, err, PLACE_SCAN) : TR_OK;
}

struct tr_json2pb *tr_json2pb_new(struct tr_arena *scratch, const struct tr_msgtype *type,
                                  const struct tr_field *field, const struct tr_json2pb_opts *opts,
                                  struct tr_buf *out)
{
    struct tr_json2pb *j = tr_arena_alloc(scratch, sizeof *j);
    struct tr_j2p_frame *frames = tr_arena_alloc(scratch, FRAMES_FIRST * sizeof *frames);
    if (!j || !frames)
        return NULL;
    /* Member by member: clearing the whole first takes longer than a small message. */
    j->out = out;
    j->arena = scratch;
    j->st = NULL;
    j->text = NULL;
    j->frames = frames;
    j->lens = NULL;
    j->more = NULL;
    j->top = 0;
    j->frame_cap = FRAMES_FIRST;
    j->len_count = j->len_cap = 0;
    j->len_cur = J2P_NO_LEN;
    j->extra = 0;
    j->resume_len = out->len;
    j->limit = opts->max_bytes ? out->len + opts->max_bytes : SIZE_MAX;
    j->replaying = j->done = false;
    j->failed = TR_OK;
    j->type = type;
    j->held = NULL;
    j->path = NULL;
    j->path_cap = 0;
    j->opts = *opts;
    frames[0].kind = J2P_ROOT;
    frames[0].flags = field && opts->on_path ? J2P_F_PATHS : 0;
    frames[0].opens = 0;
    frames[0].field = field;
    frames[0].msg = type;
    frames[0].index = 0;
    return j;
}

enum tr_err tr_json2pb(const struct tr_msgtype *type, const struct tr_json2pb_opts *opts,
                       struct tr_span json, struct tr_buf *out, struct tr_arena *scratch,
                       struct tr_status *st)
{
    struct tr_buf spill;
    struct tr_json_scan scan;
    struct tr_json2pb *j = tr_json2pb_new(scratch, type, NULL, opts, out);
    if (!j)
        return tr_fail(st, TR_ERR_NOMEM, "out of memory");
    tr_buf_init(&spill);
    tr_json_scan_init(&scan, TR_JSON_SINGLE, 100, &spill, SIZE_MAX);
    tr_json_scan_feed(&scan, json, true);
    enum tr_err err = tr_json2pb_run(j, &scan, st);
    if (!err && tr_json_scan_next(&scan) != TR_JSON_END) {
        err = scan.st.err;
        if (st)
            *st = scan.st;
    }
    tr_buf_fini(&spill);
    return err;
}
