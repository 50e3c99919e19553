/* The heads of incoming frames, found in the bytes before nghttp2 sees them.
 *
 * nghttp2 tells nothing of DATA on streams that it has forgotten, and to remember closed streams
 * costs it some 300 bytes for each: up to 30 KiB for a connection that has served a hundred
 * requests. The scanner lets the connection judge such frames itself. It keeps 16 bytes of state,
 * is resumable at any byte, and skips payloads without reading them. */
#ifndef TR_HTTP_H2_SCAN_H
#define TR_HTTP_H2_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TR_H2_PREFACE_BYTES 24

struct tr_h2_scan { /* {.payload_left = bytes to skip before the first frame} */
    uint32_t payload_left;
    uint8_t have; /* bytes of head */
    uint8_t head[9];
};

struct tr_h2_frame_head {
    uint32_t len;
    uint8_t type, flags;
    int32_t stream_id;
};

/* Goes on at data[*pos]. True: a head is complete, and *pos is behind it. False: all bytes are
 * seen, *pos is len. */
bool tr_h2_scan_next(struct tr_h2_scan *s, const uint8_t *data, size_t len, size_t *pos,
                     struct tr_h2_frame_head *ret_head);

#endif
