/* The JSON of tokens: json/scan with each name once in every object, within bounds.
 *
 * Names are held as hashes, so nothing is allocated for them; that two different names of one
 * object have the same hash happens by chance to one token of 2^49, which is refused. */
#ifndef TR_FILTERS_JWT_JSON_H
#define TR_FILTERS_JWT_JSON_H

#include "filters/jwt.h"
#include "json/scan.h"

#define TR_JWT_DEPTH_MAX 16
#define TR_JWT_NAMES_MAX 256

struct tr_jwt_json {
    struct tr_json_scan scan;
    struct tr_buf spill;
    enum tr_jwt_result fault;  /* of TR_JSON_ERROR: MALFORMED, NOMEM, or: */
    enum tr_jwt_result repeat; /* what a name that is there twice is */
    uint32_t open;             /* names of all open objects, and where those of a container begin */
    uint32_t begin[TR_JWT_DEPTH_MAX];
    uint64_t names[TR_JWT_NAMES_MAX];
};

/* json is one value; it stays the caller's. */
void tr_jwt_json_begin(struct tr_jwt_json *r, struct tr_span json, enum tr_jwt_result repeat);
enum tr_json_tok tr_jwt_json_next(struct tr_jwt_json *r);
void tr_jwt_json_end(struct tr_jwt_json *r);

#endif
