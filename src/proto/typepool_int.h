/* The inside of a type pool: what loading keeps of a descriptor set, before message tables are
 * compiled from it.
 *
 * Vocabulary: a *declaration* is what a file said, compactly; a *symbol* is a full name, which
 * exists from the first reference on and has a kind once it is declared. Steps: load (declarations)
 * -> link (checks, flags) -> compile (types). Everything lives in pool->arena but the two hash
 * tables. */
#ifndef TR_PROTO_TYPEPOOL_INT_H
#define TR_PROTO_TYPEPOOL_INT_H

#include "base/arena.h"
#include "base/buf.h"
#include "proto/features.h"
#include "proto/typepool.h"

#define TR_FIELD_NUMBER_MAX 536870911
#define TR_PROBLEMS_MAX     1000 /* kept for link to report; more are only counted */
#define TR_NEST_MAX         64   /* messages in messages, as declared */

enum tr_sym_kind {
    TR_SYM_UNDEFINED = 0,
    TR_SYM_MESSAGE,
    TR_SYM_ENUM,
    TR_SYM_SERVICE,
    TR_SYM_EXTENSION,
};

struct tr_file_decl {
    struct tr_span name;
    struct tr_span *deps;
    uint32_t dep_count;
    bool builtin;
    struct tr_file_decl *next;
};

struct tr_sym {
    struct tr_span name;             /* without leading dot */
    const struct tr_file_decl *file; /* that declares it */
    union {
        struct tr_msg_decl *msg;
        struct tr_enum_decl *en;
        struct tr_service_decl *service;
    } of;
    uint8_t kind;
    bool reported; /* as missing; once is enough */
};

struct tr_field_decl {
    struct tr_sym *ref; /* GROUP, MESSAGE, ENUM */
    const char *name;   /* for an extension the full name */
    const char *json;   /* NULL: derived from name */
    const char *def;    /* default_value as in the descriptor; NULL: none */
    uint32_t name_len, json_len, def_len;
    uint32_t number;
    uint16_t oneof; /* 1-based among the real ones */
    uint8_t type;   /* enum tr_ftype; 0: message or enum, whatever ref turns out to be */
    uint8_t flags;  /* enum tr_field_flags */
    bool delimited; /* the message_encoding feature */
    bool
        json_given; /* json_name differs from the derived name: a conflict is an error everywhere */
};

struct tr_ext_decl {
    struct tr_field_decl field;
    struct tr_sym *extendee;
    const struct tr_file_decl *file;
    struct tr_ext_decl *next;      /* of the pool */
    struct tr_ext_decl *next_same; /* of the extendee, after link */
};

struct tr_msg_decl {
    struct tr_sym *sym;           /* sym->file: where it is declared */
    struct tr_field_decl *fields; /* ascending by number */
    struct tr_span *oneofs;       /* the real ones */
    struct tr_ext_decl *exts;
    struct tr_msgtype *type;  /* NULL until something reaches it */
    struct tr_msg_decl *next; /* of the pool, in order of declaration */
    struct tr_msg_decl *next_todo;
    uint32_t ext_count;
    uint32_t index; /* in the pool */
    uint16_t field_count, oneof_count;
    uint8_t wkt;
    bool is_map_entry, message_set, json_strict, compiled;
};

struct tr_enum_value_decl {
    const char *name;
    uint32_t name_len;
    int32_t number;
};

struct tr_enum_decl {
    struct tr_sym *sym;
    struct tr_enum_value_decl *values;
    struct tr_enumtype *type;
    struct tr_enum_decl *next;
    uint32_t value_count;
    bool closed;
};

struct tr_service_decl {
    struct tr_sym *sym;
    struct tr_service service;
    struct tr_rpc *rpcs;
    struct tr_sym **refs; /* input, output of each */
    struct tr_service_decl *next;
    bool compiled;
};

/* A type name without leading dot, to be found from the innermost scope outwards. */
struct tr_late_ref {
    struct tr_sym **where;
    struct tr_span name, scope, used_by;
    const struct tr_file_decl *file;
    struct tr_late_ref *next;
};

struct tr_problem {
    struct tr_problem *next;
    struct tr_status st;
};

/* Names to pointers; open addressing, on the heap. */
struct tr_symtab_slot {
    uint64_t hash;
    struct tr_span name;
    void *value;
};
struct tr_symtab {
    struct tr_symtab_slot *slots;
    uint32_t mask, count; /* slots: mask + 1, when not NULL */
};
void *tr_symtab_get(const struct tr_symtab *tab, struct tr_span name);
/* name must live as long as the table and not be in it. */
enum tr_err tr_symtab_put(struct tr_symtab *tab, struct tr_span name, void *value) TR_MUST_USE;
void tr_symtab_fini(struct tr_symtab *tab);

enum tr_pool_state { TR_POOL_LOADING, TR_POOL_LINKED, TR_POOL_FROZEN, TR_POOL_BROKEN };

struct tr_typepool {
    struct tr_arena arena;
    struct tr_symtab syms;  /* struct tr_sym */
    struct tr_symtab files; /* struct tr_file_decl */
    struct tr_buf name_buf; /* for building full names */
    enum tr_pool_state state;
    bool adding_builtin;

    struct tr_file_decl *file_list, **file_tail;
    struct tr_msg_decl *msgs, **msg_tail;
    struct tr_enum_decl *enums, **enum_tail;
    struct tr_service_decl *services, **service_tail;
    struct tr_service_decl **service_index; /* after link */
    struct tr_ext_decl *exts, **ext_tail;
    struct tr_late_ref *late_refs, **late_tail;
    struct tr_problem *problems, **problem_tail;
    uint32_t problem_count;
    struct tr_msg_decl *todo; /* reached and not compiled */
    struct tr_typepool_stats stats;
};

/* typepool_load.c: one FileDescriptorProto. TR_ERR_DESCRIPTOR: unreadable; problems of meaning are
 * noted. */
enum tr_err tr_pool_load_set(struct tr_typepool *pool, struct tr_span bytes,
                             struct tr_status *st) TR_MUST_USE;
/* typepool.c */
void tr_pool_problem(struct tr_typepool *pool, const struct tr_file_decl *file, const char *fmt,
                     ...) __attribute__((format(printf, 3, 4)));
/* The symbol of a full name, made when it is new. NULL: out of memory. */
struct tr_sym *tr_pool_sym(struct tr_typepool *pool, struct tr_span full_name);
/* typepool_link.c */
enum tr_err tr_pool_link(struct tr_typepool *pool) TR_MUST_USE;
/* typepool_wkt.c: enum tr_wkt by name; and whether the declaration has the fields that make it one.
 */
uint8_t tr_pool_wkt_by_name(struct tr_span full_name);
bool tr_pool_wkt_shape_ok(const struct tr_msg_decl *msg);
/* The names that every pool compiles, for errors and Any; NULL-terminated list of C strings. */
extern const char *const tr_pool_always_compiled[];
/* typepool_compile.c: the type, compiled by the next tr_pool_compile. NULL: out of memory. */
const struct tr_msgtype *tr_pool_reach(struct tr_typepool *pool, struct tr_msg_decl *msg);
const struct tr_enumtype *tr_pool_enum_type(struct tr_typepool *pool, struct tr_enum_decl *en);
enum tr_err tr_pool_compile(struct tr_typepool *pool) TR_MUST_USE;
/* typepool_required.c: has_required_below of every compiled type. */
enum tr_err tr_pool_mark_required(struct tr_typepool *pool) TR_MUST_USE;
/* typepool_default.c: the JSON text of the default that is not the type's zero; empty when there is
 * none; ptr NULL: out of memory. *ret_bad: default_value does not fit the type (then empty). */
struct tr_span tr_pool_default_json(struct tr_typepool *pool, const struct tr_field_decl *field,
                                    bool *ret_bad);

#define TR_FMT_SPAN(s) (int)((s).len > 200 ? 200 : (s).len), (s).ptr

#endif
