/* Shared by the files that turn unpacked descriptors into declarations. */
#ifndef TR_PROTO_TYPEPOOL_LOAD_H
#define TR_PROTO_TYPEPOOL_LOAD_H

#include "google/protobuf/descriptor.pb-c.h"
#include "proto/typepool_int.h"

typedef Google__Protobuf__FileDescriptorProto pb_file;
typedef Google__Protobuf__DescriptorProto pb_message;
typedef Google__Protobuf__FieldDescriptorProto pb_field;
typedef Google__Protobuf__EnumDescriptorProto pb_enum;
typedef Google__Protobuf__ServiceDescriptorProto pb_service;
typedef Google__Protobuf__MethodDescriptorProto pb_method;
typedef Google__Protobuf__FeatureSet pb_features;

/* A message that waits for its turn: nesting is a queue, not a recursion. */
struct tr_load_pending {
    const pb_message *pb;
    struct tr_span scope;
    struct tr_features features;
    struct tr_load_pending *next;
};

/* The file that is being loaded. */
struct tr_load {
    struct tr_typepool *pool;
    struct tr_arena *scratch; /* rewound after the file */
    struct tr_file_decl *file;
    bool proto3;
    struct tr_load_pending *first, **last;
};

bool tr_load_is_identifier(struct tr_span s);
struct tr_features tr_load_features(struct tr_features base, const pb_features *set);
/* Declares scope.name; *ret NULL when it must be skipped (then noted as a problem). */
enum tr_err tr_load_declare(struct tr_load *l, struct tr_span scope, const char *pb_name,
                            enum tr_sym_kind kind, const char *what,
                            struct tr_sym **ret) TR_MUST_USE;
/* A type name: with leading dot it is the symbol itself; without, it is looked for once all is
 * loaded. */
enum tr_err tr_load_refer(struct tr_load *l, const char *type_name, struct tr_span scope,
                          struct tr_span used_by, struct tr_sym **where) TR_MUST_USE;
/* All of a field but its oneof. owner: the message, or the scope of an extension. */
enum tr_err tr_load_field(struct tr_load *l, const pb_field *pb, struct tr_span owner,
                          struct tr_features inherited, struct tr_field_decl *ret) TR_MUST_USE;
/* Fields, oneofs and options of a message whose symbol is declared. */
enum tr_err tr_load_message(struct tr_load *l, const pb_message *pb, struct tr_msg_decl *m,
                            struct tr_features f) TR_MUST_USE;

#endif
