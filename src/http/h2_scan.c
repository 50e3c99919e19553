#include "http/h2_scan.h"

#include <string.h>

bool tr_h2_scan_next(struct tr_h2_scan *s, const uint8_t *data, size_t len, size_t *pos,
                     struct tr_h2_frame_head *ret_head)
{
    size_t left = len - *pos;
    if (s->payload_left >= left) { /* the greater part of the bytes of a large body ends here */
        s->payload_left -= (uint32_t)left;
        *pos = len;
        return false;
    }
    *pos += s->payload_left;
    left -= s->payload_left;
    s->payload_left = 0;
    size_t want = sizeof s->head - s->have;
    size_t n = left < want ? left : want;
    memcpy(s->head + s->have, data + *pos, n);
    *pos += n;
    s->have = (uint8_t)(s->have + n);
    if (s->have < sizeof s->head)
        return false;
    const uint8_t *h = s->head;
    s->have = 0;
    s->payload_left = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];
    *ret_head = (struct tr_h2_frame_head){
        .len = s->payload_left,
        .type = h[3],
        .flags = h[4],
        .stream_id = (int32_t)((uint32_t)(h[5] & 0x7f) << 24 | (uint32_t)h[6] << 16 |
                               (uint32_t)h[7] << 8 | h[8]),
    };
    return true;
}
