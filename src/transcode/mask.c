#include "transcode/mask.h"

#include "transcode/scalar.h"

void tr_mask_init(struct tr_mask *mask, struct tr_arena *arena)
{
    *mask = (struct tr_mask){.arena = arena};
}

void tr_mask_on_path(void *ctx, struct tr_span path)
{
    struct tr_mask *m = ctx;
    size_t need = m->len + 1 + TR_VARINT_MAX + path.len;
    if (m->err)
        return;
    if (need > TR_MASK_BYTES_MAX) {
        m->err = TR_ERR_BODY_TOO_LARGE;
        return;
    }
    if (need > m->cap) {
        size_t cap = m->cap * 2 > need ? m->cap * 2 : need + 128;
        char *wire = tr_arena_alloc(m->arena, cap);
        if (!wire) {
            m->err = TR_ERR_NOMEM;
            return;
        }
        if (m->len)
            memcpy(wire, m->wire, m->len);
        m->wire = wire;
        m->cap = cap;
    }
    char *p = m->wire + m->len;
    *p++ = 0x0A;
    p += tr_wire_put_varint(p, path.len);
    memcpy(p, path.ptr, path.len);
    m->len = (size_t)(p - m->wire) + path.len;
}

enum tr_err tr_mask_put(const struct tr_mask *mask, const struct tr_field *field,
                        struct tr_buf *out)
{
    if (mask->err)
        return mask->err;
    if (mask->len == 0)
        return TR_OK;
    enum tr_err err = tr_buf_reserve(out, 5 + TR_VARINT_MAX + mask->len);
    if (err)
        return err;
    char *p = tr_scalar_tag(tr_buf_end(out), field);
    p += tr_wire_put_varint(p, mask->len);
    memcpy(p, mask->wire, mask->len);
    out->len = (size_t)(p - out->ptr) + mask->len;
    return TR_OK;
}
