#include "transcode/json2pb.h"

#include "transcode/json2pb_impl.h"

#define FRAMES_FIRST 16
#define LENS_FIRST   32

/* -- frames -- */

static enum tr_err frames_grow(struct tr_json2pb *j)
{
    uint32_t cap = j->frame_cap * 2;
    struct tr_j2p_frame *frames = tr_arena_calloc(j->arena, cap, sizeof *frames);
    if (!frames)
        return TR_ERR_NOMEM;
    memcpy(frames, j->frames, j->frame_cap * sizeof *frames);
    j->frames = frames;
    j->frame_cap = cap;
    return TR_OK;
}

enum tr_err tr_j2p_lens_grow(struct tr_json2pb *j)
{
    uint32_t cap = j->len_cap ? j->len_cap * 2 : LENS_FIRST;
    struct tr_j2p_len *lens = tr_arena_calloc(j->arena, cap, sizeof *lens);
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
    return TR_OK;
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

/* -- values -- */

enum tr_err tr_j2p_message(struct tr_json2pb *j, const struct tr_msgtype *msg,
                           const struct tr_field *field, enum tr_json_tok tok, unsigned opens)
{
    enum tr_err err;
    uint8_t flags = 0;
    if (field && field->type == TR_FT_GROUP) {
        err = tr_buf_reserve(j->out, 5);
        if (err)
            return err;
        memcpy(tr_buf_end(j->out), field->tag, 5);
        j->out->len += field->tag_len;
        flags = J2P_F_GROUP;
    } else if (field) {
        err = tr_j2p_open(j, field->tag, field->tag_len);
        if (err)
            return err;
        opens++;
    }
    if (msg->wkt != TR_WKT_NONE && msg->wkt != TR_WKT_EMPTY && msg->wkt != TR_WKT_HTTP_BODY)
        return tr_j2p_wkt(j, msg, tok, opens);
    if (tr_unlikely(tok != TR_JSON_OBJ_BEGIN))
        return tr_j2p_expected(j, "an object", tok);
    if (tr_unlikely(msg->message_set))
        return tr_fail(j->st, TR_ERR_JSON_TYPE, "a message set has no JSON form");
    struct tr_j2p_frame *f;
    err = tr_j2p_push(j, J2P_MSG, opens, &f);
    if (tr_unlikely(err))
        return err;
    f->msg = msg;
    f->flags = flags;
    if (f->more_words)
        memset(f->more, 0, f->more_words * sizeof *f->more);
    return TR_OK;
}

enum tr_err tr_j2p_skip(struct tr_json2pb *j, enum tr_json_tok tok)
{
    struct tr_j2p_frame *f;
    if (tok != TR_JSON_OBJ_BEGIN && tok != TR_JSON_ARR_BEGIN)
        return TR_OK;
    enum tr_err err = tr_j2p_push(j, J2P_SKIP, 0, &f);
    if (!err)
        f->index = 1;
    return err;
}

/* null stands for a value, not for absence. */
static inline bool null_is_value(const struct tr_field *field)
{
    if (field->type == TR_FT_MESSAGE || field->type == TR_FT_GROUP)
        return field->sub.msg->wkt == TR_WKT_VALUE;
    return field->type == TR_FT_ENUM && field->sub.en->is_null_value;
}

/* One value of a singular field, an element or a map value. An enum name that is not known is
 * dropped when unknown names are: *ret_dropped, and out is as it was. */
static enum tr_err one_value(struct tr_json2pb *j, const struct tr_field *field, bool tag,
                             enum tr_json_tok tok, unsigned opens, bool *ret_dropped)
{
    if (field->type == TR_FT_MESSAGE || field->type == TR_FT_GROUP)
        return tr_j2p_message(j, field->sub.msg, field, tok, opens);
    enum tr_err err = tr_j2p_scalar(j, field, tag, tok);
    if (tr_unlikely(err)) {
        if (err == TR_ERR_JSON_ENUM && j->opts.ignore_unknown) {
            *ret_dropped = true;
            if (j->st)
                tr_status_clear(j->st);
            return TR_OK;
        }
        return err;
    }
    tr_j2p_close_n(j, opens);
    return TR_OK;
}

static enum tr_err list_begin(struct tr_json2pb *j, const struct tr_field *field,
                              enum tr_json_tok tok)
{
    struct tr_j2p_frame *f;
    bool map = field->flags & TR_FF_MAP, packed = field->flags & TR_FF_PACKED;
    if (tok != (map ? TR_JSON_OBJ_BEGIN : TR_JSON_ARR_BEGIN))
        return tr_j2p_expected(j, map ? "an object" : "an array", tok);
    enum tr_err err = TR_OK;
    if (packed)
        err = tr_j2p_open(j, field->tag, field->tag_len);
    if (!err)
        err = tr_j2p_push(j, map ? J2P_MAP : J2P_LIST, packed, &f);
    if (err)
        return err;
    f->field = field;
    f->flags = packed ? J2P_F_PACKED : 0;
    return TR_OK;
}

static enum tr_err list_step(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok)
{
    bool packed = f->flags & J2P_F_PACKED, dropped = false;
    if (tok == TR_JSON_ARR_END) {
        if (packed && j->out->len == j->lens[j->len_cur].pos + 1) {
            tr_j2p_abandon(j, f->field->tag_len);
            f->opens = 0;
        }
        return tr_j2p_pop(j);
    }
    if (tr_unlikely(tok == TR_JSON_NULL && !null_is_value(f->field)))
        return tr_fail(j->st, TR_ERR_JSON_NULL, "an element of a list must not be null");
    return one_value(j, f->field, !packed, tok, 0, &dropped);
}

/* Keys are the digits of an integer, "true" or "false", or any string. */
static enum tr_err map_key(struct tr_json2pb *j, const struct tr_field *key)
{
    enum tr_json_tok tok = TR_JSON_STRING;
    struct tr_span t = j->text;
    if (key->type == TR_FT_BOOL) {
        if (tr_span_eq(t, TR_SPAN("true")))
            tok = TR_JSON_TRUE;
        else if (tr_span_eq(t, TR_SPAN("false")))
            tok = TR_JSON_FALSE;
        else
            return tr_fail(j->st, TR_ERR_JSON_TYPE, "expected the key \"true\" or \"false\"");
    } else if (key->type != TR_FT_STRING) {
        for (size_t i = 0; i < t.len; i++)
            if (!tr_is_digit(t.ptr[i]) && !(i == 0 && t.ptr[0] == '-'))
                return tr_fail(j->st, TR_ERR_JSON_TYPE, "expected an integer (%s) as key",
                               tr_scalar_name(key->type));
    }
    return tr_j2p_scalar(j, key, true, tok);
}

static enum tr_err map_step(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok)
{
    const struct tr_msgtype *entry = f->field->sub.msg;
    if (tok == TR_JSON_OBJ_END)
        return tr_j2p_pop(j);
    if (tok == TR_JSON_KEY) {
        f->start = 0;
        enum tr_err err = tr_j2p_open(j, f->field->tag, f->field->tag_len);
        if (err)
            return err;
        size_t start = j->out->len;
        err = map_key(j, &entry->fields[0]);
        f->start = err ? 0 : start;
        return err;
    }
    const struct tr_field *value = &entry->fields[1];
    if (tr_unlikely(tok == TR_JSON_NULL && !null_is_value(value)))
        return tr_fail(j->st, TR_ERR_JSON_NULL, "a map value must not be null");
    bool dropped = false;
    unsigned tag_len = f->field->tag_len;
    enum tr_err err = one_value(j, value, true, tok, 1, &dropped);
    if (dropped)
        tr_j2p_abandon(j, tag_len);
    return err;
}

/* -- messages -- */

/* Position of an extension among those of its type. */
static uint32_t extension_index(const struct tr_msgtype *msg, const struct tr_field *field)
{
    uint32_t lo = 0, hi = msg->extension_count;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (msg->extensions[mid]->number <= field->number)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* Sets a bit of the frame; *ret_was tells what it was. */
static enum tr_err test_and_set(struct tr_json2pb *j, struct tr_j2p_frame *f, uint32_t bit,
                                bool *ret_was)
{
    uint64_t *word = &f->seen;
    if (tr_unlikely(bit >= 64)) {
        uint32_t words = (uint32_t)(((size_t)f->msg->field_count + f->msg->extension_count +
                                     f->msg->oneof_count + 63) /
                                        64 -
                                    1);
        if (f->more_words < words) {
            uint64_t *more = tr_arena_calloc(j->arena, words, sizeof *more);
            if (!more)
                return TR_ERR_NOMEM;
            if (f->more_words)
                memcpy(more, f->more, f->more_words * sizeof *more);
            f->more = more;
            f->more_words = words;
        }
        word = &f->more[bit / 64 - 1];
    }
    uint64_t mask = (uint64_t)1 << (bit % 64);
    *ret_was = (*word & mask) != 0;
    *word |= mask;
    return TR_OK;
}

static inline bool name_is(struct tr_span name, struct tr_span s)
{
    return name.len == s.len && memcmp(name.ptr, s.ptr, s.len) == 0;
}

/* The name of a member. JSON is mostly written in the order of the fields, so the one after the
 * last is tried first. */
static inline const struct tr_field *find_field(struct tr_j2p_frame *f, struct tr_span name)
{
    const struct tr_msgtype *msg = f->msg;
    if (tr_likely(f->index < msg->field_count)) {
        const struct tr_field *guess = &msg->fields[f->index];
        if (name_is(guess->names->json, name) || name_is(guess->names->proto, name))
            return guess;
    }
    return tr_msgtype_field_by_name(msg, name);
}

enum tr_err tr_j2p_unknown_name(struct tr_json2pb *j, struct tr_j2p_frame *f)
{
    if (j->opts.ignore_unknown) {
        f->flags |= J2P_F_SKIP_NEXT;
        return TR_OK;
    }
    int n = (int)(j->text.len < 80 ? j->text.len : 80);
    return tr_fail(j->st, TR_ERR_JSON_UNKNOWN_FIELD, "%.*s has no field \"%.*s\"",
                   (int)f->msg->full_name.len, f->msg->full_name.ptr, n, j->text.ptr);
}

/* The names that an Any's object has besides the fields of its message. Empty has none, and some
 * writers give it a "value": {} as other types with a special form have. */
static enum tr_err any_name(struct tr_json2pb *j, struct tr_j2p_frame *f, bool *ret_taken)
{
    if (tr_j2p_is_type_name(j->text)) {
        *ret_taken = true;
        return tr_j2p_any_type_again(j, f);
    }
    if (f->msg->wkt == TR_WKT_EMPTY && tr_span_eq(j->text, TR_SPAN("value"))) {
        if (f->flags & J2P_F_VALUE_SEEN)
            return tr_fail(j->st, TR_ERR_JSON_DUPLICATE, "\"value\" is given twice");
        f->flags |= J2P_F_VALUE_SEEN;
        *ret_taken = true;
    }
    return TR_OK;
}

static enum tr_err msg_key(struct tr_json2pb *j, struct tr_j2p_frame *f)
{
    f->field = NULL;
    if (tr_unlikely(f->flags & J2P_F_ANY)) {
        bool taken = false;
        enum tr_err err = any_name(j, f, &taken);
        if (err || taken)
            return err;
    }
    const struct tr_field *field = find_field(f, j->text);
    if (tr_unlikely(!field))
        return tr_j2p_unknown_name(j, f);
    uint32_t bit = field->index;
    if (tr_unlikely(field->flags & TR_FF_EXTENSION))
        bit = f->msg->field_count + extension_index(f->msg, field);
    else
        f->index = bit + 1;
    bool was = false;
    f->field = field;
    enum tr_err err = test_and_set(j, f, bit, &was);
    if (tr_unlikely(!err && was))
        return tr_fail(j->st, TR_ERR_JSON_DUPLICATE, "the field is given twice");
    return err;
}

/* The second member of a oneof that is not null. */
static enum tr_err oneof_check(struct tr_json2pb *j, struct tr_j2p_frame *f,
                               const struct tr_field *field)
{
    bool was = false;
    uint32_t bit = f->msg->field_count + f->msg->extension_count + field->oneof - 1u;
    enum tr_err err = test_and_set(j, f, bit, &was);
    if (err || !was)
        return err;
    struct tr_span name =
        f->msg->oneof_names ? f->msg->oneof_names[field->oneof - 1] : TR_SPAN("a oneof");
    return tr_fail(j->st, TR_ERR_JSON_ONEOF, "a second member of the oneof \"%.*s\"", (int)name.len,
                   name.ptr);
}

/* Where update_mask paths end: everything but a plain message. */
static inline bool path_ends(const struct tr_field *field, enum tr_json_tok tok)
{
    if (field->flags & TR_FF_REPEATED ||
        (field->type != TR_FT_MESSAGE && field->type != TR_FT_GROUP))
        return true;
    uint8_t wkt = field->sub.msg->wkt;
    return tok == TR_JSON_NULL || (wkt != TR_WKT_NONE && wkt != TR_WKT_HTTP_BODY);
}

/* The value of the field in hand; f is the frame on top (ROOT or MSG). */
static enum tr_err field_value(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok)
{
    const struct tr_field *field = f->field;
    if (tr_unlikely(f->flags & J2P_F_SKIP_NEXT)) {
        f->flags &= (uint8_t)~J2P_F_SKIP_NEXT;
        return tr_j2p_skip(j, tok);
    }
    if (tr_unlikely(!field)) /* the "value" of an Any of Empty */
        return tr_j2p_message(j, f->msg, NULL, tok, 0);
    uint8_t paths = f->flags & J2P_F_PATHS;
    bool scalar = field->type != TR_FT_MESSAGE && field->type != TR_FT_GROUP &&
                  !(field->flags & TR_FF_REPEATED);
    bool report = paths && f->kind == J2P_MSG && path_ends(field, tok);
    f->flags |= J2P_F_MEMBER;
    enum tr_err err = TR_OK;
    if (tr_unlikely(report) && (!scalar || tok == TR_JSON_NULL) &&
        (err = tr_j2p_report_path(j, true)) != TR_OK)
        return err;
    if (tok == TR_JSON_NULL && (!null_is_value(field) || (field->flags & TR_FF_REPEATED) ||
                                (field->type == TR_FT_ENUM && !(field->flags & TR_FF_PRESENCE))))
        return TR_OK;
    if (field->oneof && f->kind == J2P_MSG && (err = oneof_check(j, f, field)) != TR_OK)
        return err;
    if (field->flags & TR_FF_REPEATED)
        return list_begin(j, field, tok);
    bool dropped = false;
    uint32_t top = j->top;
    err = one_value(j, field, true, tok, 0, &dropped);
    if (tr_likely(!paths) || err)
        return err;
    if (j->top > top && j->frames[j->top].kind == J2P_MSG)
        j->frames[j->top].flags |= J2P_F_PATHS;
    /* a name of an enum value that was dropped must not clear the field */
    return report && scalar && tok != TR_JSON_NULL && !dropped ? tr_j2p_report_path(j, true)
                                                               : TR_OK;
}

static enum tr_err msg_end(struct tr_json2pb *j, struct tr_j2p_frame *f)
{
    f->field = NULL;
    if (tr_unlikely((f->flags & (J2P_F_PATHS | J2P_F_MEMBER)) == J2P_F_PATHS)) {
        enum tr_err err = tr_j2p_report_path(j, false);
        if (err)
            return err;
    }
    return tr_j2p_pop(j);
}

/* -- the run -- */

static enum tr_err root_step(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok)
{
    if (tok == TR_JSON_ARR_END || tok == TR_JSON_OBJ_END || tok == TR_JSON_KEY)
        return TR_ERR_INTERNAL; /* the caller gave us a scanner that stands inside of something */
    if (f->field)
        return field_value(j, f, tok);
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
            return msg_key(j, f);
        return tok == TR_JSON_OBJ_END ? msg_end(j, f) : field_value(j, f, tok);
    case J2P_LIST:
        f->index++;
        return list_step(j, f, tok);
    case J2P_MAP:
        return map_step(j, f, tok);
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

enum tr_err tr_json2pb_run(struct tr_json2pb *j, struct tr_json_scan *scan, struct tr_status *st)
{
    j->st = st;
    if (j->failed)
        return j->failed;
    if (st)
        tr_status_clear(st);
    while (!j->done) {
        enum tr_json_tok tok;
        enum place place = PLACE_SCAN;
        if (tr_likely(!j->replaying)) {
            tok = tr_json_scan_next(scan);
            j->text = scan->text;
            if (tr_unlikely(tok == TR_JSON_MORE))
                return TR_ERR_AGAIN;
            if (tr_unlikely(tok == TR_JSON_ERROR))
                return fail(j, scan, scan->st.err, PLACE_SCAN_ERROR);
            if (tr_unlikely(tok == TR_JSON_END))
                return fail(j, scan, TR_ERR_EOF, PLACE_SCAN);
        } else {
            tok = tr_j2p_held_next(j);
            place = PLACE_HELD;
        }
        enum tr_err err = step(j, scan, tok);
        if (tr_unlikely(err))
            return fail(j, scan, err, place);
        if (tr_unlikely(j->out->len > j->limit))
            return fail(j, scan, TR_ERR_BODY_TOO_LARGE, place);
        j->done = j->top == 0;
    }
    TR_DCHECK(j->len_cur == J2P_NO_LEN);
    if (j->extra == 0)
        return TR_OK;
    enum tr_err err = widen(j);
    j->extra = 0;
    if (!err && j->out->len > j->limit)
        err = TR_ERR_BODY_TOO_LARGE;
    return err ? fail(j, scan, err, PLACE_SCAN) : TR_OK;
}

struct tr_json2pb *tr_json2pb_new(struct tr_arena *scratch, const struct tr_msgtype *type,
                                  const struct tr_field *field, const struct tr_json2pb_opts *opts,
                                  struct tr_buf *out)
{
    struct tr_json2pb *j = TR_ARENA_NEW(scratch, struct tr_json2pb);
    if (!j)
        return NULL;
    j->frames = tr_arena_calloc(scratch, FRAMES_FIRST, sizeof *j->frames);
    if (!j->frames)
        return NULL;
    j->frame_cap = FRAMES_FIRST;
    j->frames[0].kind = J2P_ROOT;
    j->frames[0].field = field;
    j->frames[0].msg = type;
    j->type = type;
    j->opts = *opts;
    if (field && opts->on_path)
        j->frames[0].flags = J2P_F_PATHS;
    j->arena = scratch;
    j->out = out;
    j->start = out->len;
    j->limit = opts->max_bytes ? out->len + opts->max_bytes : SIZE_MAX;
    j->len_cur = J2P_NO_LEN;
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
