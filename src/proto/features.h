/* Features of editions, resolved by inheritance (protobuf.dev "Feature Settings for Editions"):
 * proto2 and proto3 are editions too, with defaults that give the old meaning.
 *
 * Values are those of google.protobuf.FeatureSet; 0 is "not set here". */
#ifndef TR_PROTO_FEATURES_H
#define TR_PROTO_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

enum tr_edition {
    TR_EDITION_PROTO2 = 998,
    TR_EDITION_PROTO3 = 999,
    TR_EDITION_2023 = 1000,
    TR_EDITION_2024 = 1001,
};

enum { TR_PRESENCE_EXPLICIT = 1, TR_PRESENCE_IMPLICIT = 2, TR_PRESENCE_LEGACY_REQUIRED = 3 };
enum { TR_ENUM_OPEN = 1, TR_ENUM_CLOSED = 2 };
enum { TR_REPEATED_PACKED = 1, TR_REPEATED_EXPANDED = 2 };
enum { TR_UTF8_VERIFY = 2, TR_UTF8_NONE = 3 };
enum { TR_MESSAGE_LENGTH_PREFIXED = 1, TR_MESSAGE_DELIMITED = 2 };
enum { TR_JSON_ALLOW = 1, TR_JSON_LEGACY_BEST_EFFORT = 2 };

struct tr_features {
    uint8_t presence, enum_type, repeated, utf8, message, json;
};

/* false: an edition that is not known. */
bool tr_features_of_edition(int32_t edition, struct tr_features *ret);
/* What `over` sets wins; the rest is inherited. */
struct tr_features tr_features_merge(struct tr_features base, struct tr_features over);

#endif
