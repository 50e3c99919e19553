/* The raw path of a request: what is refused, the canonical form, comparison and decoding.
 *
 * Vocabulary: an *escape* is '%' and two hexadecimal digits; an *unreserved escape* stands for a
 * letter, digit, '-', '.', '_' or '~' (RFC 3986 §2.3), which means the same when it is decoded;
 * the *normal form* of a segment has its unreserved escapes decoded and the digits of the others
 * in upper case (RFC 3986 §6.2.2), so that two segments are equal when their normal forms are.
 *
 * All functions are pure; only those that take an arena allocate, and only when the result
 * differs from the input. */
#ifndef TR_ROUTE_PATH_H
#define TR_ROUTE_PATH_H

#include "base/arena.h"
#include "base/status.h"

/* SPEC §3: the path begins with '/'; no dot segments (also encoded, also before a ':verb' of the
 * last segment), no %00, no malformed escapes, valid UTF-8 after decoding, only characters of
 * RFC 3986 pchar and '/'. TR_ERR_BAD_TARGET with the offset of the first offence. */
enum tr_err tr_path_check(struct tr_span path, struct tr_status *st) TR_MUST_USE;

/* The canonical path, which router, policies and log all see: unreserved escapes decoded, nothing
 * else changed. Returns path itself when nothing changes. The path must have been checked.
 * TR_ERR_NOMEM. */
enum tr_err tr_path_canonical(struct tr_span path, struct tr_arena *arena,
                              struct tr_span *ret_path) TR_MUST_USE;

/* What stays encoded when a value of several segments is decoded; it stays as it was sent. */
enum tr_path_unescape {
    TR_UNESCAPE_ALL_EXCEPT_SLASH,    /* %2F and %2f: the comments of google.api.HttpRule */
    TR_UNESCAPE_ALL_EXCEPT_RESERVED, /* also the others of RFC 6570's reserved set: Envoy */
    TR_UNESCAPE_ALL
};

/* The decoded value of a part of a checked path; raw itself when nothing is decoded. TR_ERR_NOMEM.
 */
enum tr_err tr_path_decode(struct tr_span raw, enum tr_path_unescape mode, struct tr_arena *arena,
                           struct tr_span *ret_value) TR_MUST_USE;

/* RFC 3986 pchar without '%' ("/" is not one). */
bool tr_path_is_pchar(char c);
/* s begins with '%' and two hexadecimal digits. */
bool tr_path_is_escape(struct tr_span s);
/* The segment is "." or "..", encoded or not. */
bool tr_path_is_dots(struct tr_span segment);

/* Writes the normal form of a segment whose escapes are well-formed; out has room for
 * segment.len bytes. Returns its length. */
size_t tr_path_normalise(struct tr_span segment, char *out);
/* The normal form of `segment`, whose escapes are well-formed, equals `normal`. */
bool tr_path_normal_eq(struct tr_span segment, struct tr_span normal);

#endif
