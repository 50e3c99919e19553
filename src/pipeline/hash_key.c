#include "pipeline/hash_key.h"

#include "proto/wire.h"

#define FRAME_HEADER 5
#define DEPTH_MAX    16

/* The last value of a field, with its wire type; a message field's values are not merged: the last
 * one that is there counts. */
static bool find_value(struct tr_span message, const struct tr_field *field,
                       struct tr_span *ret_value)
{
    const char *p = message.ptr, *end = message.ptr + message.len;
    bool found = false;
    while (p < end) {
        uint32_t number, type;
        if (!tr_wire_tag(&p, end, &number, &type))
            return false;
        const char *value = p;
        if (!tr_wire_skip(&p, end, number, type))
            return false;
        if (number != field->number)
            continue;
        *ret_value = tr_span(value, (size_t)(p - value));
        if (type == TR_WIRE_LEN && !tr_wire_len(&value, p, ret_value))
            return false;
        found = true;
    }
    return found;
}

bool tr_hash_field(const struct tr_msgtype *type, struct tr_span message, struct tr_span path,
                   struct tr_span *ret_value)
{
    for (int depth = 0; path.ptr && depth < DEPTH_MAX; depth++) {
        struct tr_span name = tr_span_cut(&path, '.');
        const struct tr_field *field = type ? tr_msgtype_field_by_name(type, name) : NULL;
        if (!field || (field->flags & TR_FF_REPEATED) || field->type == TR_FT_GROUP ||
            !find_value(message, field, &message))
            return false;
        bool is_message = field->type == TR_FT_MESSAGE;
        if (is_message != (path.ptr != NULL))
            return false;
        type = is_message ? field->sub.msg : NULL;
    }
    if (path.ptr)
        return false;
    *ret_value = message;
    return true;
}

static bool field_value(const struct tr_exchange *x, struct tr_span name, struct tr_span *ret)
{
    const unsigned char *p = (const unsigned char *)x->req.ptr;
    if (x->req_open || x->req.len < FRAME_HEADER || p[0] != 0)
        return false;
    size_t len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (len > x->req.len - FRAME_HEADER)
        return false;
    return tr_hash_field(x->route->rpc->input, tr_span(x->req.ptr + FRAME_HEADER, len), name, ret);
}

bool tr_hash_key(const struct tr_exchange *x, uint64_t *ret_hash)
{
    const struct tr_upstream_conf *conf = x->route->upstream->conf;
    struct tr_span value = {NULL, 0};
    const struct tr_header *h = NULL;
    const struct tr_claim *claim = NULL;
    bool found = false;
    switch (conf->hash_on) {
    case TR_HASH_ON_HEADER:
        h = tr_headers_find_name(&x->hs->head.headers, conf->hash_name);
        found = h != NULL;
        value = h ? h->value : value;
        break;
    case TR_HASH_ON_CLAIM:
        claim = tr_identity_claim(x->identity, conf->hash_name);
        found = claim && claim->count;
        value = found ? claim->values[0] : value;
        break;
    case TR_HASH_ON_FIELD:
        found = field_value(x, conf->hash_name, &value);
        break;
    case TR_HASH_ON_NOTHING:
        break;
    }
    if (found)
        *ret_hash = tr_span_hash(value, 0);
    return found;
}
