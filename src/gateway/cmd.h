/* The verbs of the command line. Each gets its own arguments (argv[0] is the verb); returns the
 * exit status: 0 success, 1 the thing asked about is wrong, 2 usage. */
#ifndef TR_GATEWAY_CMD_H
#define TR_GATEWAY_CMD_H

#include "config/snapshot.h"

#include <stdio.h>

int tr_cmd_serve(int argc, char **argv);
int tr_cmd_check(int argc, char **argv);
int tr_cmd_routes(int argc, char **argv);
int tr_cmd_api_key(int argc, char **argv);
int tr_cmd_explain(int argc, char **argv);
int tr_cmd_demo(int argc, char **argv);
int tr_cmd_version(int argc, char **argv);
int tr_cmd_reference(int argc, char **argv);

/* "try 'transom VERB --help'" on stderr; returns 2. */
int tr_cmd_usage(const char *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints the problems: "file:line:column: error: /pointer: text". */
void tr_cmd_problems(FILE *out, const char *file, const struct tr_problems *problems);
/* Loads the file of --config; on failure prints its problems and returns NULL. */
/* Prepares the filters; TR_ERR_CONFIG when the snapshot has problems. */
enum tr_err tr_cmd_prepare(struct tr_snapshot *snap) TR_MUST_USE;
struct tr_snapshot *tr_cmd_load(const char *file, enum tr_snapshot_mode mode);

#endif
