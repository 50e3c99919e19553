/* The table of configuration keys: one description of each key parses it, documents it and gives
 * its JSON Schema.
 *
 * Vocabulary: an *object table* (tr_keys) describes one JSON object by its keys and the C struct it
 * fills; a key has a type, a default in the text form it has in the file, bounds and one sentence
 * of documentation. Unknown keys are errors.
 *
 * Ownership: everything parsed lives in the arena given. Problems go to a list, each with JSON
 * pointer, line and reason; parsing goes on after one, so that `transom check` shows them all. Runs
 * at load, on no worker. */
#ifndef TR_CONFIG_KEYS_H
#define TR_CONFIG_KEYS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/span.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_t; /* jansson's; its header stays in the .c files */

enum tr_key_type {
    TR_KEY_BOOL,        /* bool */
    TR_KEY_U32,         /* uint32_t; min, max */
    TR_KEY_SIZE,        /* uint64_t bytes: integer or "4MiB" */
    TR_KEY_DURATION,    /* uint64_t ns: "1.5s"; "0s" where min is 0 */
    TR_KEY_STRING,      /* struct tr_span */
    TR_KEY_PATH,        /* struct tr_span, made absolute or relative to the file's folder */
    TR_KEY_ENUM,        /* uint8_t: index in the names of `choices` */
    TR_KEY_STRINGS,     /* struct tr_strings */
    TR_KEY_PATHS,       /* struct tr_strings of paths */
    TR_KEY_OBJECT,      /* the sub-struct embedded at the offset */
    TR_KEY_OPTIONAL,    /* const struct X *: NULL when absent */
    TR_KEY_ARRAY,       /* struct tr_items of sub-structs */
    TR_KEY_ONE_OR_MANY, /* the same; a single object counts as an array of one */
    TR_KEY_MAP, /* struct tr_items of sub-structs whose first member is struct tr_span name */
    TR_KEY_STRING_MAP,     /* struct tr_pairs */
    TR_KEY_STRING_OR_ITEM, /* array of strings or objects; a string sets the first key of the object
                            */
    TR_KEY_RAW,            /* struct json_t *: read by code of its own (policies, http_rules) */
    TR_KEY_RATIO,          /* uint32_t, millionths: a number from 0 to 1 */
    TR_KEY_SECRET,         /* struct tr_span: a string, {"file": path} or {"env": name} */
    TR_KEY_OBJECT_OR_NONE, /* const struct X *, whose first member is `bool none`: an object or
                              "none"; NULL when absent */
    TR_KEY_STRINGS_OR_ANY, /* struct tr_strings; "any" is one empty string */
    TR_KEY_LISTS,          /* struct tr_items of struct tr_named_strings: an object whose values
                              are strings or arrays of strings */
};

struct tr_strings {
    const struct tr_span *items;
    uint32_t count;
};
struct tr_items {
    void *items;
    uint32_t count;
};
struct tr_pairs {
    const struct tr_span *names;
    const struct tr_span *values;
    uint32_t count;
};

struct tr_named_strings {
    struct tr_span name;
    struct tr_strings values;
};

struct tr_keys;

struct tr_key {
    const char *name;
    enum tr_key_type type;
    size_t offset;
    const char
        *default_text;   /* as in the file, without quotes; NULL: required, "": empty or absent */
    uint64_t min, max;   /* numbers, sizes, durations in ns; max 0: no bound */
    const char *choices; /* ENUM: "error first" */
    const struct tr_keys *sub;
    const char *doc;
};

struct tr_keys {
    const char *title; /* anchor of its section in the reference: "upstreams.*" */
    size_t struct_size;
    const struct tr_key *keys;
    uint32_t count;
};

enum tr_problem_level { TR_PROBLEM_ERROR, TR_PROBLEM_WARNING };

struct tr_problem {
    struct tr_problem *next;
    enum tr_problem_level level;
    struct tr_span where;  /* JSON pointer, or a file name */
    uint32_t line, column; /* 0: unknown */
    struct tr_span text;
};

struct tr_problems {
    struct tr_arena *arena;
    struct tr_problem *first, **tail;
    uint32_t errors, warnings;
    struct tr_span text; /* of the configuration file, for lines */
};

void tr_problems_init(struct tr_problems *problems, struct tr_arena *arena);
/* where: a JSON pointer into the configuration (gets its line), or any other text. */
void tr_problem(struct tr_problems *problems, enum tr_problem_level level, struct tr_span where,
                const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* An error at a place of the file that is not JSON yet. */
void tr_problem_at(struct tr_problems *problems, uint32_t line, uint32_t column, const char *fmt,
                   ...) __attribute__((format(printf, 4, 5)));

/* Line and column of what a JSON pointer names (the value; for a key that does not exist, its
 * object); false: not found. */
bool tr_json_locate(struct tr_span text, struct tr_span pointer, uint32_t *ret_line,
                    uint32_t *ret_column);

struct tr_keys_ctx {
    struct tr_arena *arena;
    struct tr_problems *problems;
    struct tr_span folder; /* of the file, for relative paths */
};

/* Fills *out (struct_size bytes, zeroed by the caller) from obj, defaults included. obj NULL:
 * defaults only. */
void tr_keys_parse(const struct tr_keys *keys, const struct json_t *obj, struct tr_span pointer,
                   struct tr_keys_ctx *ctx, void *out);

/* "1.5s", "200ms", "5m", "1h", "10us" to ns; "4MiB", "64KiB", "1GiB", "100" to bytes. false:
 * malformed or too large. */
bool tr_duration_parse(struct tr_span text, uint64_t *ret_ns);
bool tr_size_parse(struct tr_span text, uint64_t *ret_bytes);
/* "0.5" to millionths; digits after the sixth are not kept. false: not from 0 to 1. */
bool tr_ratio_parse(struct tr_span text, uint32_t *ret_millionths);

#endif
