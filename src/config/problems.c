#include "base/num.h"
#include "config/keys.h"
#include "json/scan.h"

#include <stdarg.h>
#include <stdio.h>

void tr_problems_init(struct tr_problems *problems, struct tr_arena *arena)
{
    *problems = (struct tr_problems){.arena = arena};
    problems->tail = &problems->first;
}

static struct tr_problem *add(struct tr_problems *problems, enum tr_problem_level level,
                              struct tr_span where, const char *fmt, va_list ap)
    __attribute__((format(printf, 4, 0)));

static struct tr_problem *add(struct tr_problems *problems, enum tr_problem_level level,
                              struct tr_span where, const char *fmt, va_list ap)
{
    char text[1024];
    int n = vsnprintf(text, sizeof text, fmt, ap);
    if (n < 0)
        n = 0;
    size_t len = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    if (level == TR_PROBLEM_ERROR)
        problems->errors++;
    else
        problems->warnings++;
    struct tr_problem *p = TR_ARENA_NEW(problems->arena, struct tr_problem);
    if (!p)
        return NULL;
    p->level = level;
    p->where = tr_arena_copy(problems->arena, where);
    p->text = tr_arena_copy(problems->arena, tr_span(text, len));
    *problems->tail = p;
    problems->tail = &p->next;
    return p;
}

void tr_problem(struct tr_problems *problems, enum tr_problem_level level, struct tr_span where,
                const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct tr_problem *p = add(problems, level, where, fmt, ap);
    va_end(ap);
    if (p && problems->text.ptr && (where.len == 0 || where.ptr[0] == '/'))
        (void)tr_json_locate(problems->text, where, &p->line, &p->column);
}

void tr_problem_at(struct tr_problems *problems, uint32_t line, uint32_t column, const char *fmt,
                   ...)
{
    va_list ap;
    va_start(ap, fmt);
    struct tr_problem *p = add(problems, TR_PROBLEM_ERROR, TR_SPAN(""), fmt, ap);
    va_end(ap);
    if (p) {
        p->line = line;
        p->column = column;
    }
}

/* One part of a JSON pointer against a key as the scanner decoded it. */
static bool part_matches(struct tr_span part, struct tr_span key)
{
    size_t k = 0;
    for (size_t i = 0; i < part.len; i++, k++) {
        char c = part.ptr[i];
        if (c == '~' && i + 1 < part.len)
            c = part.ptr[++i] == '1' ? '/' : '~';
        if (k >= key.len || key.ptr[k] != c)
            return false;
    }
    return k == key.len;
}

struct locate {
    struct tr_json_scan scan;
    struct tr_span rest; /* of the pointer, after the parts matched; ptr NULL: all matched */
    struct tr_span part; /* the part looked for in the container at `depth` */
    uint32_t depth;      /* of that container */
    uint64_t index;      /* elements seen in it, when an array */
    bool in_array;
};

static void next_part(struct locate *l)
{
    l->part = tr_span_cut(&l->rest, '/');
}

/* A value begins that is the one looked for so far: note its place and go on inside. */
static bool enter(struct locate *l, enum tr_json_tok tok, uint32_t *ret_line, uint32_t *ret_column)
{
    *ret_line = l->scan.tok_line;
    *ret_column = l->scan.tok_column;
    if (!l->rest.ptr)
        return true;
    if (tok != TR_JSON_OBJ_BEGIN && tok != TR_JSON_ARR_BEGIN)
        return true;
    next_part(l);
    l->depth = l->scan.depth;
    l->index = 0;
    l->in_array = tok == TR_JSON_ARR_BEGIN;
    return false;
}

bool tr_json_locate(struct tr_span text, struct tr_span pointer, uint32_t *ret_line,
                    uint32_t *ret_column)
{
    struct tr_buf spill;
    struct locate l = {.rest = pointer};
    bool done = false, value_next = true;
    tr_buf_init(&spill);
    tr_json_scan_init(&l.scan, TR_JSON_SINGLE, TR_JSON_DEPTH_MAX, &spill, text.len + 16);
    tr_json_scan_feed(&l.scan, text, true);
    if (l.rest.len == 0)
        l.rest.ptr = NULL;
    else
        (void)tr_span_cut(&l.rest, '/'); /* the empty text before the first '/' */
    while (!done) {
        enum tr_json_tok tok = tr_json_scan_next(&l.scan);
        if (tok == TR_JSON_ERROR || tok == TR_JSON_END || tok == TR_JSON_MORE)
            break;
        if (value_next) {
            value_next = false;
            done = enter(&l, tok, ret_line, ret_column);
            continue;
        }
        if (tok == TR_JSON_KEY && l.scan.depth == l.depth) {
            value_next = part_matches(l.part, l.scan.text);
            continue;
        }
        bool closes = tok == TR_JSON_OBJ_END || tok == TR_JSON_ARR_END;
        if (closes && l.scan.depth < l.depth)
            break; /* what is looked for is not there: the place of its container stands */
        bool opens = tok == TR_JSON_OBJ_BEGIN || tok == TR_JSON_ARR_BEGIN;
        bool element = l.in_array && !closes && l.scan.depth == l.depth + (opens ? 1 : 0);
        if (element) {
            uint64_t want;
            bool hit = tr_span_u64(l.part, &want) && want == l.index;
            l.index++;
            if (hit)
                done = enter(&l, tok, ret_line, ret_column);
        }
    }
    tr_buf_fini(&spill);
    return done;
}
