#include "pipeline/hash_key.h"

#include "proto/wire.h"

#define FRAME_HEADER 5

bool tr_hash_field(const struct tr_msgtype *type, struct tr_span message, struct tr_span path,
                   struct tr_span *ret_value)
{
    const struct tr_field *fields[TR_FIELD_PATH_MAX];
    const char *ends[TR_FIELD_PATH_MAX], *p = message.ptr;
    int count = tr_msgtype_path(type, path, fields), depth = 0;
    bool found = false;
    if (count == 0)
        return false;
    ends[0] = message.ptr + message.len;
    for (;;) {
        uint32_t number, wire;
        if (p == ends[depth]) { /* of an inner message the outer one goes on */
            if (depth-- == 0)
                return found;
            continue;
        }
        if (!tr_wire_tag(&p, ends[depth], &number, &wire))
            return false;
        const char *value = p;
        if (!tr_wire_skip(&p, ends[depth], number, wire))
            return false;
        if (number != fields[depth]->number)
            continue;
        struct tr_span bytes = tr_span(value, (size_t)(p - value));
        if (wire == TR_WIRE_LEN && !tr_wire_len(&value, p, &bytes))
            return false;
        if (depth + 1 == count) { /* the last one counts, as it does for the backend */
            *ret_value = bytes;
            found = true;
        } else if (wire == TR_WIRE_LEN) {
            ends[++depth] = p;
            p = bytes.ptr;
        }
    }
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
