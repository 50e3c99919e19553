#include "transcode/json2pb_impl.h"

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
        err = tr_j2p_open_field(j, field);
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
    tr_j2p_unseen(j, f);
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

static inline bool is_message(const struct tr_field *field)
{
    return field->type == TR_FT_MESSAGE || field->type == TR_FT_GROUP;
}

/* A scalar failed. A name of an enum value that is not known is dropped when unknown names are; out
 * is as it was. */
__attribute__((cold)) static bool is_dropped(struct tr_json2pb *j, enum tr_err err)
{
    if (err != TR_ERR_JSON_ENUM || !j->opts.ignore_unknown)
        return false;
    if (j->st)
        tr_status_clear(j->st);
    return true;
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
        err = tr_j2p_open_field(j, field);
    if (!err)
        err = tr_j2p_push(j, map ? J2P_MAP : J2P_LIST, packed, &f);
    if (err)
        return err;
    f->field = field;
    f->flags = packed ? J2P_F_PACKED : 0;
    return TR_OK;
}

enum tr_err tr_j2p_list_step(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok)
{
    bool packed = f->flags & J2P_F_PACKED;
    if (tok == TR_JSON_ARR_END) {
        if (packed && j->out->len == j->lens[j->len_cur].pos + 1) {
            tr_j2p_abandon(j, f->field->tag_len);
            f->opens = 0;
        }
        return tr_j2p_pop(j);
    }
    if (tr_unlikely(tok == TR_JSON_NULL && !null_is_value(f->field)))
        return tr_fail(j->st, TR_ERR_JSON_NULL, "an element of a list must not be null");
    if (is_message(f->field))
        return tr_j2p_message(j, f->field->sub.msg, f->field, tok, 0);
    enum tr_err err = tr_j2p_scalar(j, f->field, !packed, tok);
    return tr_likely(!err) || is_dropped(j, err) ? TR_OK : err;
}

/* Keys are the digits of an integer, "true" or "false", or any string. */
static enum tr_err map_key(struct tr_json2pb *j, const struct tr_field *key)
{
    enum tr_json_tok tok = TR_JSON_STRING;
    struct tr_span t = *j->text;
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

enum tr_err tr_j2p_map_step(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok)
{
    const struct tr_msgtype *entry = f->field->sub.msg;
    if (tok == TR_JSON_OBJ_END)
        return tr_j2p_pop(j);
    if (tok == TR_JSON_KEY) {
        f->start = 0;
        enum tr_err err = tr_j2p_open_field(j, f->field);
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
    if (is_message(value))
        return tr_j2p_message(j, value->sub.msg, value, tok, 1);
    enum tr_err err = tr_j2p_scalar(j, value, true, tok);
    if (tr_likely(!err)) {
        tr_j2p_close(j);
        return TR_OK;
    }
    if (!is_dropped(j, err))
        return err;
    tr_j2p_abandon(j, f->field->tag_len);
    return TR_OK;
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

void tr_j2p_unseen(struct tr_json2pb *j, struct tr_j2p_frame *f)
{
    f->seen = 0;
    if (tr_unlikely(j->more != NULL)) {
        struct tr_j2p_more *more = &j->more[f - j->frames];
        if (more->words)
            memset(more->bits, 0, more->words * sizeof *more->bits);
    }
}

/* The word of a bit above those in the frame itself. */
static uint64_t *seen_word(struct tr_json2pb *j, struct tr_j2p_frame *f, uint32_t word)
{
    size_t bits = (size_t)f->msg->field_count + f->msg->extension_count + f->msg->oneof_count;
    uint32_t words = (uint32_t)((bits + 63) / 64 - 1);
    if (!j->more)
        j->more = tr_arena_calloc(j->arena, j->frame_cap, sizeof *j->more);
    if (!j->more)
        return NULL;
    struct tr_j2p_more *more = &j->more[f - j->frames];
    if (more->words < words) {
        uint64_t *p = tr_arena_calloc(j->arena, words, sizeof *p);
        if (!p)
            return NULL;
        if (more->words)
            memcpy(p, more->bits, more->words * sizeof *p);
        more->bits = p;
        more->words = words;
    }
    return &more->bits[word];
}

enum seen { SEEN_NOT, SEEN, SEEN_NOMEM };

/* Sets a bit of the frame and tells what it was. */
static inline enum seen test_and_set(struct tr_json2pb *j, struct tr_j2p_frame *f, uint32_t bit)
{
    uint64_t *word = &f->seen, mask = (uint64_t)1 << (bit % 64);
    if (tr_unlikely(bit >= 64)) {
        word = seen_word(j, f, bit / 64 - 1);
        if (!word)
            return SEEN_NOMEM;
    }
    bool was = (*word & mask) != 0;
    *word |= mask;
    return was ? SEEN : SEEN_NOT;
}

/* The name of a member. JSON is mostly written in the order of the fields, so the one after the
 * last is tried first. */
static inline const struct tr_field *find_field(struct tr_j2p_frame *f, struct tr_span name)
{
    const struct tr_msgtype *msg = f->msg;
    if (tr_likely(f->index < msg->field_count)) {
        const struct tr_field *guess = &msg->fields[f->index];
        if (tr_j2p_same(guess->names->json, name) || tr_j2p_same(guess->names->proto, name))
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
    int n = (int)(j->text->len < 80 ? j->text->len : 80);
    return tr_fail(j->st, TR_ERR_JSON_UNKNOWN_FIELD, "%.*s has no field \"%.*s\"",
                   (int)f->msg->full_name.len, f->msg->full_name.ptr, n, j->text->ptr);
}

/* The names that an Any's object has besides the fields of its message. Empty has none, and some
 * writers give it a "value": {} as other types with a special form have. */
static bool is_any_name(const struct tr_json2pb *j, const struct tr_j2p_frame *f)
{
    return tr_j2p_is_type_name(*j->text) ||
           (f->msg->wkt == TR_WKT_EMPTY && tr_span_eq(*j->text, TR_SPAN("value")));
}

static enum tr_err any_name(struct tr_json2pb *j, struct tr_j2p_frame *f)
{
    if (tr_j2p_is_type_name(*j->text))
        return tr_j2p_any_type_again(j, f);
    if (f->flags & J2P_F_VALUE_SEEN)
        return tr_fail(j->st, TR_ERR_JSON_DUPLICATE, "\"value\" is given twice");
    f->flags |= J2P_F_VALUE_SEEN;
    return TR_OK;
}

enum tr_err tr_j2p_msg_key(struct tr_json2pb *j, struct tr_j2p_frame *f)
{
    f->field = NULL;
    if (tr_unlikely(f->flags & J2P_F_ANY) && is_any_name(j, f))
        return any_name(j, f);
    const struct tr_field *field = find_field(f, *j->text);
    if (tr_unlikely(!field))
        return tr_j2p_unknown_name(j, f);
    uint32_t bit = field->index;
    if (tr_unlikely(field->flags & TR_FF_EXTENSION))
        bit = f->msg->field_count + extension_index(f->msg, field);
    else
        f->index = bit + 1;
    f->field = field;
    enum seen seen = test_and_set(j, f, bit);
    if (tr_likely(seen == SEEN_NOT))
        return TR_OK;
    return seen == SEEN_NOMEM ? TR_ERR_NOMEM
                              : tr_fail(j->st, TR_ERR_JSON_DUPLICATE, "the field is given twice");
}

/* The second member of a oneof that is not null. */
static enum tr_err oneof_check(struct tr_json2pb *j, struct tr_j2p_frame *f,
                               const struct tr_field *field)
{
    enum seen seen =
        test_and_set(j, f, f->msg->field_count + f->msg->extension_count + field->oneof - 1u);
    if (seen != SEEN)
        return seen == SEEN_NOMEM ? TR_ERR_NOMEM : TR_OK;
    struct tr_span name =
        f->msg->oneof_names ? f->msg->oneof_names[field->oneof - 1] : TR_SPAN("a oneof");
    return tr_fail(j->st, TR_ERR_JSON_ONEOF, "a second member of the oneof \"%.*s\"", (int)name.len,
                   name.ptr);
}

/* null means that the field is not there. */
static bool absent(const struct tr_field *field, enum tr_json_tok tok)
{
    if (tok != TR_JSON_NULL)
        return false;
    return !null_is_value(field) || field->flags & TR_FF_REPEATED ||
           (field->type == TR_FT_ENUM && !(field->flags & TR_FF_PRESENCE));
}

/* Where update_mask paths end: everything but a plain message. */
static inline bool path_ends(const struct tr_field *field, enum tr_json_tok tok)
{
    if (field->flags & TR_FF_REPEATED || !is_message(field))
        return true;
    uint8_t wkt = field->sub.msg->wkt;
    return tok == TR_JSON_NULL || (wkt != TR_WKT_NONE && wkt != TR_WKT_HTTP_BODY);
}

/* What is neither null nor passed over. */
static inline enum tr_err present_value(struct tr_json2pb *j, struct tr_j2p_frame *f,
                                        const struct tr_field *field, enum tr_json_tok tok)
{
    enum tr_err err;
    if (tr_unlikely(field->oneof) && f->kind == J2P_MSG &&
        (err = oneof_check(j, f, field)) != TR_OK)
        return err;
    if (field->flags & TR_FF_REPEATED)
        return list_begin(j, field, tok);
    if (is_message(field))
        return tr_j2p_message(j, field->sub.msg, field, tok, 0);
    return tr_j2p_scalar(j, field, true, tok);
}

/* Paths are reported before what is below them, except that a scalar must have been taken first: a
 * name of an enum value that was dropped must not clear the field. */
static enum tr_err value_with_path(struct tr_json2pb *j, struct tr_j2p_frame *f,
                                   enum tr_json_tok tok)
{
    const struct tr_field *field = f->field;
    bool report = f->kind == J2P_MSG && path_ends(field, tok);
    bool late = !is_message(field) && !(field->flags & TR_FF_REPEATED);
    uint32_t top = j->top;
    enum tr_err err = TR_OK;
    f->flags |= J2P_F_MEMBER;
    if (report && !late)
        err = tr_j2p_report_path(j, true);
    if (!err && !absent(field, tok))
        err = present_value(j, f, field, tok);
    if (err)
        return is_dropped(j, err) ? TR_OK : err;
    if (j->top > top && j->frames[j->top].kind == J2P_MSG)
        j->frames[j->top].flags |= J2P_F_PATHS;
    return report && late ? tr_j2p_report_path(j, true) : TR_OK;
}

enum tr_err tr_j2p_field_value(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok)
{
    const struct tr_field *field = f->field;
    if (tr_unlikely(f->flags & J2P_F_SKIP_NEXT)) {
        f->flags &= (uint8_t)~J2P_F_SKIP_NEXT;
        return tr_j2p_skip(j, tok);
    }
    if (tr_unlikely(!field)) /* the "value" of an Any of Empty */
        return tr_j2p_message(j, f->msg, NULL, tok, 0);
    if (tr_unlikely(f->flags & J2P_F_PATHS))
        return value_with_path(j, f, tok);
    if (tr_unlikely(tok == TR_JSON_NULL) && absent(field, tok))
        return TR_OK;
    enum tr_err err = present_value(j, f, field, tok);
    return tr_likely(!err) || is_dropped(j, err) ? TR_OK : err;
}

enum tr_err tr_j2p_msg_end(struct tr_json2pb *j, struct tr_j2p_frame *f)
{
    f->field = NULL;
    if (tr_unlikely((f->flags & (J2P_F_PATHS | J2P_F_MEMBER)) == J2P_F_PATHS)) {
        enum tr_err err = tr_j2p_report_path(j, false);
        if (err)
            return err;
    }
    return tr_j2p_pop(j);
}
