/* The grammar of request targets (RFC 3986, RFC 9112 §3.2), as predicates over bytes.
 *
 * Nothing is decoded or normalised here: the layers above see a target as it was sent. All
 * functions are pure. */
#ifndef TR_HTTP_URI_H
#define TR_HTTP_URI_H

#include "base/span.h"
#include "base/status.h"

/* uri-host [ ":" port ] without user information: a name, an IPv4 address, or a bracketed IPv6
 * address; port at most 65535 and possibly empty. Stricter than reg-name in one point: no comma,
 * which only ever comes from two Host fields joined on the way. An empty authority is not valid. */
bool tr_uri_is_authority(struct tr_span s);
/* Parts of a valid authority: the host (with its brackets), and the port (empty when there is
 * none). */
void tr_uri_split_authority(struct tr_span s, struct tr_span *ret_host, struct tr_span *ret_port);

/* "/" and then pchar and "/"; each "%" begins two hexadecimal digits. */
bool tr_uri_is_path(struct tr_span s);
/* pchar, "/", "?", and beyond RFC 3986 "[" and "]", which the URL standard of browsers leaves as
 * they are in a query
 * (`map[key]=value`). Whether a "%" is well-formed is for the reader of the query to say, with the
 * parameter's name. */
bool tr_uri_is_query(struct tr_span s);

struct tr_uri {
    struct tr_span scheme, authority;
    struct tr_span path;  /* empty when the URI has none */
    struct tr_span query; /* without "?"; ptr NULL when there is none */
};
/* An absolute "http" or "https" URI (scheme in any case) without a fragment. TR_ERR_BAD_TARGET. */
enum tr_err tr_uri_parse(struct tr_span s, struct tr_uri *ret_uri) TR_MUST_USE;

#endif
