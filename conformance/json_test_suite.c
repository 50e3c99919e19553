/* JSONTestSuite (nst/JSONTestSuite) on the scanner.
 *
 * json_test_suite [FOLDER]: FOLDER holds test_parsing and test_transform; without it
 * $TRANSOM_VECTORS/JSONTestSuite. y_ files must be accepted and n_ files refused. What the suite
 * leaves free (i_ and test_transform) must match json_test_suite_free.txt, which gives our verdict
 * and why; a file that is not listed, and a listed file that is missing, fail. Each file is read
 * whole and byte by byte, which must agree. An accepted transform file must also come out again as
 * it went in, white space aside: no number or string is changed on the way. Nested to max_depth
 * 100, as in the gateway. */
#include "base/buf.h"
#include "json/emit.h"
#include "json/scan.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 100
#define EXIT_SKIP 77 /* ctest's SKIP_RETURN_CODE */

struct free_case {
    char name[96];
    bool accept, seen;
};

struct run {
    struct free_case cases[128];
    size_t n_cases;
    unsigned passed, failed, skipped;
    struct tr_buf file, whole, bytes, spill;
};

static bool load_list(struct run *run, const char *path)
{
    FILE *f = fopen(path, "r");
    char line[512];
    if (!f)
        return false;
    while (fgets(line, sizeof line, f)) {
        char name[96], verdict[8];
        if (line[0] == '#' || sscanf(line, "%95s %7s", name, verdict) != 2)
            continue;
        if (run->n_cases == sizeof run->cases / sizeof run->cases[0])
            break;
        struct free_case *c = &run->cases[run->n_cases++];
        memcpy(c->name, name, sizeof name);
        c->accept = strcmp(verdict, "accept") == 0;
    }
    return fclose(f) == 0 && run->n_cases > 0;
}

static bool load_file(struct tr_buf *out, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    tr_buf_clear(out);
    size_t n = 1;
    while (n && !tr_buf_reserve(out, 4096)) {
        n = fread(tr_buf_end(out), 1, 4096, f);
        out->len += n;
    }
    return fclose(f) == 0 && n == 0;
}

static bool emit_token(struct tr_buf *out, enum tr_json_tok tok, struct tr_span text)
{
    static const char *const fixed[] = {
        [TR_JSON_OBJ_BEGIN] = "{", [TR_JSON_OBJ_END] = "}", [TR_JSON_ARR_BEGIN] = "[",
        [TR_JSON_ARR_END] = "]",   [TR_JSON_TRUE] = "true", [TR_JSON_FALSE] = "false",
        [TR_JSON_NULL] = "null",   [TR_JSON_NUMBER] = NULL, /* and what follows it in the enum: as
                                                               text */
    };
    if (tok == TR_JSON_KEY || tok == TR_JSON_STRING)
        return !tr_emit_string(out, text, NULL) && (tok != TR_JSON_KEY || !tr_buf_push(out, ':'));
    return !tr_buf_append(out, fixed[tok] ? tr_span_cstr(fixed[tok]) : text);
}

/* Reads run->file in chunks of `step` bytes; *out becomes what was read, written again. */
static bool accepts(struct run *run, size_t step, struct tr_buf *out)
{
    struct tr_json_scan scan;
    size_t at = 0;
    enum tr_json_tok tok = TR_JSON_MORE, before = TR_JSON_MORE;
    tr_buf_clear(out);
    tr_json_scan_init(&scan, TR_JSON_SINGLE, MAX_DEPTH, &run->spill, 1 << 20);
    for (;;) {
        struct tr_span part = tr_span_sub(tr_buf_span(&run->file), at, step);
        at += part.len;
        tr_json_scan_feed(&scan, part, at == run->file.len);
        while ((tok = tr_json_scan_next(&scan)) > TR_JSON_END) {
            bool opens = before == TR_JSON_MORE || before == TR_JSON_OBJ_BEGIN ||
                         before == TR_JSON_ARR_BEGIN || before == TR_JSON_KEY;
            bool closes = tok == TR_JSON_OBJ_END || tok == TR_JSON_ARR_END;
            if ((!opens && !closes && tr_buf_push(out, ',')) || !emit_token(out, tok, scan.text))
                return false;
            before = tok;
        }
        if (tok != TR_JSON_MORE)
            return tok == TR_JSON_END;
    }
}

static bool same_but_space(struct tr_span a, struct tr_span b)
{
    size_t i = 0;
    for (size_t j = 0; j < b.len; j++) {
        if (strchr(" \t\r\n", b.ptr[j]) && b.ptr[j])
            continue;
        if (i == a.len || a.ptr[i++] != b.ptr[j])
            return false;
    }
    return i == a.len;
}

static void verdict(struct run *run, const char *name, bool ok, const char *why)
{
    if (ok) {
        run->passed++;
        return;
    }
    run->failed++;
    printf("FAIL %s: %s\n", name, why);
}

static struct free_case *find_case(struct run *run, const char *name)
{
    for (size_t i = 0; i < run->n_cases; i++)
        if (strcmp(run->cases[i].name, name) == 0)
            return &run->cases[i];
    return NULL;
}

static void run_file(struct run *run, const char *folder, const char *name, bool transform)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!load_file(&run->file, path)) {
        verdict(run, name, false, "cannot be read");
        return;
    }
    bool got = accepts(run, run->file.len + 1, &run->whole);
    bool again = accepts(run, 1, &run->bytes);
    if (got != again || !tr_span_eq(tr_buf_span(&run->whole), tr_buf_span(&run->bytes))) {
        verdict(run, name, false, "read differently when it comes byte by byte");
        return;
    }
    bool want = name[0] == 'y';
    if (transform || name[0] == 'i') {
        struct free_case *c = find_case(run, name);
        if (!c) {
            verdict(run, name, false, "is not in the list of free choices");
            return;
        }
        c->seen = true;
        want = c->accept;
    }
    if (got != want)
        verdict(run, name, false, got ? "accepted" : "refused");
    else if (transform && got && !same_but_space(tr_buf_span(&run->whole), tr_buf_span(&run->file)))
        verdict(run, name, false, "came out changed");
    else
        verdict(run, name, true, "");
}

static bool run_folder(struct run *run, const char *root, const char *sub, bool transform)
{
    char folder[2048];
    (void)snprintf(folder, sizeof folder, "%s/%s", root, sub);
    DIR *dir = opendir(folder);
    if (!dir)
        return false;
    const struct dirent *e;
    while ((e = readdir(dir)) != NULL) /* NOLINT(concurrency-mt-unsafe): one thread */
        if (e->d_name[0] != '.')
            run_file(run, folder, e->d_name, transform);
    return closedir(dir) == 0;
}

int main(int argc, char **argv)
{
    static struct run run;
    char root[1024];
    const char *vectors = getenv("TRANSOM_VECTORS"); /* NOLINT(concurrency-mt-unsafe): one thread */
    if (argc > 1)
        (void)snprintf(root, sizeof root, "%s", argv[1]);
    else if (vectors)
        (void)snprintf(root, sizeof root, "%s/JSONTestSuite", vectors);
    else {
        printf("TRANSOM_VECTORS is not set\n0 passed, 0 failed, 1 skipped\n");
        return EXIT_SKIP;
    }
    if (!load_list(&run, TR_FREE_LIST)) {
        printf("cannot read %s\n", TR_FREE_LIST);
        return 2;
    }
    if (!run_folder(&run, root, "test_parsing", false) ||
        !run_folder(&run, root, "test_transform", true)) {
        printf("cannot read %s\n", root);
        return 2;
    }
    for (size_t i = 0; i < run.n_cases; i++)
        if (!run.cases[i].seen)
            verdict(&run, run.cases[i].name, false, "is listed but not in the suite");
    tr_buf_fini(&run.file);
    tr_buf_fini(&run.whole);
    tr_buf_fini(&run.bytes);
    tr_buf_fini(&run.spill);
    printf("%u passed, %u failed, %u skipped\n", run.passed, run.failed, run.skipped);
    return run.failed ? 1 : 0;
}
