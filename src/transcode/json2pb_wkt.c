#include "base/num.h"
#include "transcode/json2pb_impl.h"
#include "transcode/wktparse.h"

/* Field tags of struct.proto. */
enum {
    TAG_ENTRY = 0x0A,      /* Struct.fields */
    TAG_KEY = 0x0A,        /* of the map entry */
    TAG_VALUE = 0x12,      /* of the map entry */
    TAG_VALUES = 0x0A,     /* ListValue.values */
    TAG_NULL_VALUE = 0x08, /* Value.null_value */
    TAG_NUMBER_VALUE = 0x11,
    TAG_STRING_VALUE = 0x1A,
    TAG_BOOL_VALUE = 0x20,
    TAG_STRUCT_VALUE = 0x2A,
    TAG_LIST_VALUE = 0x32,
};

static enum tr_err container(struct tr_json2pb *j, enum tr_j2p_kind kind, unsigned opens)
{
    struct tr_j2p_frame *f;
    enum tr_err err = tr_j2p_push(j, kind, opens, &f);
    if (!err)
        f->start = 0;
    return err;
}

/* A Value that is no container: sizes are known, so its length is written at once. */
static enum tr_err plain_value(struct tr_json2pb *j, char tag, enum tr_json_tok tok)
{
    double d = 0;
    size_t size = 2; /* null, booleans */
    if (tok == TR_JSON_NUMBER) {
        if (tr_num_parse_double(*j->text, &d) != TR_OK)
            return tr_fail(j->st, TR_ERR_JSON_RANGE, "double out of range");
        size = 9;
    } else if (tok == TR_JSON_STRING) {
        size = 1 + tr_wire_varint_len(j->text->len) + j->text->len;
    }
    enum tr_err err = tr_buf_reserve(j->out, size + 1 + TR_VARINT_MAX);
    if (err)
        return err;
    char *p = tr_buf_end(j->out);
    if (tag) {
        *p++ = tag;
        p += tr_wire_put_varint(p, size);
    }
    if (tok == TR_JSON_NUMBER) {
        *p++ = TAG_NUMBER_VALUE;
        memcpy(p, &d, 8);
        p += 8;
    } else if (tok == TR_JSON_STRING) {
        *p++ = TAG_STRING_VALUE;
        p += tr_wire_put_varint(p, j->text->len);
        tr_j2p_copy(p, j->text->ptr, j->text->len);
        p += j->text->len;
    } else {
        *p++ = (char)(tok == TR_JSON_NULL ? TAG_NULL_VALUE : TAG_BOOL_VALUE);
        *p++ = (char)(tok == TR_JSON_TRUE);
    }
    j->out->len = (size_t)(p - j->out->ptr);
    return TR_OK;
}

/* A Value after its tag (0: its tag and length are open already). */
static enum tr_err value(struct tr_json2pb *j, char tag, enum tr_json_tok tok, unsigned opens)
{
    enum tr_err err;
    if (tok != TR_JSON_OBJ_BEGIN && tok != TR_JSON_ARR_BEGIN) {
        err = plain_value(j, tag, tok);
        if (!err)
            tr_j2p_close_n(j, opens);
        return err;
    }
    if (tag) {
        err = tr_j2p_open_tag(j, tag);
        if (err)
            return err;
        opens++;
    }
    err = tr_j2p_open_tag(j, tok == TR_JSON_OBJ_BEGIN ? TAG_STRUCT_VALUE : TAG_LIST_VALUE);
    return err ? err
               : container(j, tok == TR_JSON_OBJ_BEGIN ? J2P_STRUCT : J2P_LISTVALUE, opens + 1);
}

enum tr_err tr_j2p_struct_step(struct tr_json2pb *j, struct tr_j2p_frame *f, enum tr_json_tok tok)
{
    if (tok == TR_JSON_OBJ_END)
        return tr_j2p_pop(j);
    if (tok != TR_JSON_KEY)
        return value(j, TAG_VALUE, tok, 1);
    enum tr_err err = tr_j2p_open_tag(j, TAG_ENTRY);
    if (err)
        return err;
    f->start = j->out->len;
    err = tr_buf_push(j->out, TAG_KEY);
    return err ? err : tr_scalar_put_string(j->out, *j->text);
}

enum tr_err tr_j2p_listvalue_step(struct tr_json2pb *j, struct tr_j2p_frame *f,
                                  enum tr_json_tok tok)
{
    (void)f;
    return tok == TR_JSON_ARR_END ? tr_j2p_pop(j) : value(j, TAG_VALUES, tok, 0);
}

static enum tr_err time_value(struct tr_json2pb *j, const struct tr_msgtype *msg,
                              enum tr_json_tok tok)
{
    int64_t seconds = 0;
    int32_t nanos = 0;
    bool timestamp = msg->wkt == TR_WKT_TIMESTAMP;
    if (tok != TR_JSON_STRING)
        return tr_j2p_expected(j, timestamp ? "a timestamp string" : "a duration string", tok);
    enum tr_err err = timestamp ? tr_wkt_timestamp(*j->text, &seconds, &nanos, j->st)
                                : tr_wkt_duration(*j->text, &seconds, &nanos, j->st);
    if (!err)
        err = tr_buf_reserve(j->out, TR_WKT_TIME_MAX);
    if (!err)
        j->out->len += tr_wkt_time_wire(tr_buf_end(j->out), seconds, nanos, false);
    return err;
}

enum tr_err tr_j2p_wkt(struct tr_json2pb *j, const struct tr_msgtype *msg, enum tr_json_tok tok,
                       unsigned opens)
{
    enum tr_err err;
    switch (msg->wkt) {
    case TR_WKT_VALUE:
        return value(j, 0, tok, opens);
    case TR_WKT_STRUCT:
        return tok == TR_JSON_OBJ_BEGIN ? container(j, J2P_STRUCT, opens)
                                        : tr_j2p_expected(j, "an object", tok);
    case TR_WKT_LIST_VALUE:
        return tok == TR_JSON_ARR_BEGIN ? container(j, J2P_LISTVALUE, opens)
                                        : tr_j2p_expected(j, "an array", tok);
    case TR_WKT_ANY:
        return tok == TR_JSON_OBJ_BEGIN ? tr_j2p_any_begin(j, opens)
                                        : tr_j2p_expected(j, "an object", tok);
    case TR_WKT_TIMESTAMP:
    case TR_WKT_DURATION:
        err = time_value(j, msg, tok);
        break;
    case TR_WKT_FIELD_MASK:
        if (tok != TR_JSON_STRING)
            return tr_j2p_expected(j, "a string of field paths", tok);
        err = tr_wkt_field_mask(*j->text, false, j->out, j->st);
        break;
    default: /* wrappers */
        err = tr_j2p_scalar(j, &msg->fields[0], true, tok);
        break;
    }
    if (!err)
        tr_j2p_close_n(j, opens);
    return err;
}
