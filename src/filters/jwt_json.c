#include "filters/jwt_json.h"

void tr_jwt_json_begin(struct tr_jwt_json *r, struct tr_span json, enum tr_jwt_result repeat)
{
    tr_buf_init(&r->spill);
    tr_json_scan_init(&r->scan, TR_JSON_SINGLE, TR_JWT_DEPTH_MAX, &r->spill, TR_JWT_TOKEN_MAX);
    tr_json_scan_feed(&r->scan, json, true);
    r->fault = TR_JWT_OK;
    r->repeat = repeat;
    r->open = 0;
}

void tr_jwt_json_end(struct tr_jwt_json *r)
{
    tr_buf_fini(&r->spill);
}

static enum tr_json_tok fail(struct tr_jwt_json *r, enum tr_jwt_result fault)
{
    r->fault = fault;
    return TR_JSON_ERROR;
}

static enum tr_json_tok take_name(struct tr_jwt_json *r)
{
    uint64_t name = tr_span_hash(r->scan.text, 0);
    for (uint32_t i = r->begin[r->scan.depth - 1]; i < r->open; i++)
        if (r->names[i] == name)
            return fail(r, r->repeat);
    if (r->open == TR_JWT_NAMES_MAX)
        return fail(r, r->repeat);
    r->names[r->open++] = name;
    return TR_JSON_KEY;
}

enum tr_json_tok tr_jwt_json_next(struct tr_jwt_json *r)
{
    if (r->fault)
        return TR_JSON_ERROR;
    enum tr_json_tok tok = tr_json_scan_next(&r->scan);
    switch (tok) {
    case TR_JSON_KEY:
        return take_name(r);
    case TR_JSON_OBJ_BEGIN:
    case TR_JSON_ARR_BEGIN:
        r->begin[r->scan.depth - 1] = r->open;
        break;
    case TR_JSON_OBJ_END:
    case TR_JSON_ARR_END:
        r->open = r->begin[r->scan.depth];
        break;
    case TR_JSON_ERROR:
        return fail(r, r->scan.st.err == TR_ERR_NOMEM ? TR_JWT_NOMEM : TR_JWT_MALFORMED);
    case TR_JSON_MORE: /* not after the last chunk */
    case TR_JSON_END:
    case TR_JSON_STRING:
    case TR_JSON_NUMBER:
    case TR_JSON_TRUE:
    case TR_JSON_FALSE:
    case TR_JSON_NULL:
        break;
    }
    return tok;
}
