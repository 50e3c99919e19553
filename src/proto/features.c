#include "proto/features.h"

bool tr_features_of_edition(int32_t edition, struct tr_features *ret)
{
    switch (edition) {
    case TR_EDITION_PROTO2:
        *ret = (struct tr_features){TR_PRESENCE_EXPLICIT,       TR_ENUM_CLOSED,
                                    TR_REPEATED_EXPANDED,       TR_UTF8_NONE,
                                    TR_MESSAGE_LENGTH_PREFIXED, TR_JSON_LEGACY_BEST_EFFORT};
        return true;
    case TR_EDITION_PROTO3:
        *ret = (struct tr_features){TR_PRESENCE_IMPLICIT,       TR_ENUM_OPEN,
                                    TR_REPEATED_PACKED,         TR_UTF8_VERIFY,
                                    TR_MESSAGE_LENGTH_PREFIXED, TR_JSON_ALLOW};
        return true;
    case TR_EDITION_2023:
    case TR_EDITION_2024: /* what 2024 changed does not reach the wire or JSON */
        *ret = (struct tr_features){TR_PRESENCE_EXPLICIT,       TR_ENUM_OPEN,
                                    TR_REPEATED_PACKED,         TR_UTF8_VERIFY,
                                    TR_MESSAGE_LENGTH_PREFIXED, TR_JSON_ALLOW};
        return true;
    default:
        return false;
    }
}

static uint8_t pick(uint8_t base, uint8_t over)
{
    return over ? over : base;
}

struct tr_features tr_features_merge(struct tr_features base, struct tr_features over)
{
    return (struct tr_features){
        pick(base.presence, over.presence), pick(base.enum_type, over.enum_type),
        pick(base.repeated, over.repeated), pick(base.utf8, over.utf8),
        pick(base.message, over.message),   pick(base.json, over.json),
    };
}
