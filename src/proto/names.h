/* Names of fields and enum values: derived JSON names, quoted forms, and the open-addressing slots
 * of look-ups.
 *
 * Ownership: everything is allocated in the arena that is passed; ptr NULL (or NULL) means out of
 * memory. */
#ifndef TR_PROTO_NAMES_H
#define TR_PROTO_NAMES_H

#include "base/arena.h"
#include "base/span.h"

/* The tables are built at load from trusted sets: a fixed seed keeps runs alike. */
#define TR_NAME_SEED 0x7472616E736F6DULL

/* The JSON name protoc derives: underscores go, the letter after one is upper case. Returns `proto`
 * itself when there is nothing to change. */
struct tr_span tr_name_to_json(struct tr_arena *arena, struct tr_span proto);
/* Does json_name say what tr_name_to_json would? Allocates nothing. */
bool tr_name_is_json_of(struct tr_span json, struct tr_span proto);
/* The JSON string of s, quotes included, followed by `tail`. */
struct tr_span tr_name_quote(struct tr_arena *arena, struct tr_span s, const char *tail);
/* Slots for `count` names: a power of two at least twice as large. */
uint32_t tr_name_slot_count(uint32_t count);

#endif
