#include "route/template.h"

#include "base/utf8.h"
#include "route/path.h"

/* The parse of one template, gone when it is done. */
struct parser {
    struct tr_span text; /* the arena's copy */
    size_t at;
    struct tr_arena *arena;
    struct tr_status *st;
    struct tr_segment segments[TR_TEMPLATE_SEGMENTS_MAX];
    struct tr_template_var vars[TR_TEMPLATE_VARS_MAX];
    uint16_t segment_count, var_count, deep;
    bool has_deep, in_var;
};

static enum tr_err refuse(struct parser *p, size_t offset, const char *why)
{
    enum tr_err err = tr_fail(p->st, TR_ERR_CONFIG, "%s", why);
    if (p->st)
        p->st->offset = offset;
    return err;
}

static char peek(const struct parser *p)
{
    return p->at < p->text.len ? p->text.ptr[p->at] : '\0';
}

static bool at_end(const struct parser *p)
{
    return p->at == p->text.len;
}

static bool is_literal_char(char c)
{
    return tr_path_is_pchar(c) && c != ':' && c != '*';
}

/* Decoded, the literal must be what a checked path can have: UTF-8 without NUL. */
static enum tr_err check_literal(struct parser *p, size_t start, struct tr_span raw)
{
    struct tr_span decoded;
    enum tr_err err = tr_path_decode(raw, TR_UNESCAPE_ALL, p->arena, &decoded);
    if (err)
        return err;
    if (tr_span_find(decoded, '\0') != decoded.len)
        return refuse(p, start, "%00 is in no path");
    if (!tr_utf8_valid(decoded))
        return refuse(p, start, "the literal is not UTF-8 after decoding");
    if (tr_path_is_dots(raw))
        return refuse(p, start, "'.' and '..' are in no path");
    return TR_OK;
}

/* A LITERAL at p->at, normalised. */
static enum tr_err parse_literal(struct parser *p, struct tr_span *ret_literal)
{
    size_t start = p->at;
    bool escaped = false;
    while (!at_end(p)) {
        if (peek(p) == '%') {
            if (!tr_path_is_escape(tr_span_from(p->text, p->at)))
                return refuse(p, p->at, "'%' is not followed by two hexadecimal digits");
            escaped = true;
            p->at += 3;
        } else if (is_literal_char(peek(p))) {
            p->at++;
        } else {
            break;
        }
    }
    struct tr_span raw = tr_span_sub(p->text, start, p->at - start);
    if (raw.len == 0)
        return refuse(p, start, "a literal, '*', '**' or a variable is expected");
    enum tr_err err = check_literal(p, start, raw);
    if (err)
        return err;
    if (escaped) {
        char *out = tr_arena_alloc(p->arena, raw.len);
        if (!out)
            return TR_ERR_NOMEM;
        raw = tr_span(out, tr_path_normalise(raw, out));
    }
    if (raw.len > TR_TEMPLATE_LITERAL_MAX)
        return refuse(p, start, "the literal is longer than 255 bytes");
    *ret_literal = raw;
    return TR_OK;
}

static enum tr_err add_segment(struct parser *p, size_t start, enum tr_segment_kind kind,
                               struct tr_span literal)
{
    if (p->segment_count == TR_TEMPLATE_SEGMENTS_MAX)
        return refuse(p, start, "more than 64 segments");
    if (kind == TR_SEGMENT_DEEP) {
        if (p->has_deep)
            return refuse(p, start, "a second '**'");
        p->has_deep = true;
        p->deep = p->segment_count;
    }
    p->segments[p->segment_count++] = (struct tr_segment){kind, literal};
    return TR_OK;
}

/* "*", "**" or a literal at p->at. */
static enum tr_err parse_plain(struct parser *p)
{
    size_t start = p->at;
    if (at_end(p) || peek(p) == '/')
        return refuse(p, start, "an empty segment");
    if (peek(p) == ':')
        return refuse(p, start, "a verb needs a segment before it");
    if (peek(p) != '*') {
        struct tr_span literal = {NULL, 0};
        enum tr_err err = parse_literal(p, &literal);
        return err ? err : add_segment(p, start, TR_SEGMENT_LITERAL, literal);
    }
    p->at++;
    enum tr_segment_kind kind = TR_SEGMENT_STAR;
    if (peek(p) == '*') {
        p->at++;
        kind = TR_SEGMENT_DEEP;
    }
    return add_segment(p, start, kind, TR_SPAN(""));
}

/* FieldPath: identifiers joined by dots. */
static enum tr_err parse_field_path(struct parser *p, struct tr_span *ret_path)
{
    size_t start = p->at;
    for (;;) {
        if (!tr_is_alpha(peek(p)) && peek(p) != '_')
            return refuse(p, p->at, "a field name is expected");
        while (tr_is_alpha(peek(p)) || tr_is_digit(peek(p)) || peek(p) == '_')
            p->at++;
        if (peek(p) != '.')
            break;
        p->at++;
    }
    *ret_path = tr_span_sub(p->text, start, p->at - start);
    for (unsigned i = 0; i < p->var_count; i++) {
        if (tr_span_eq(p->vars[i].field_path, *ret_path))
            return refuse(p, start, "a field is bound twice");
    }
    return TR_OK;
}

/* At '{': opens a variable, and closes it when it has no pattern. */
static enum tr_err open_var(struct parser *p)
{
    size_t start = p->at;
    if (p->in_var)
        return refuse(p, start, "variables do not nest");
    if (p->var_count == TR_TEMPLATE_VARS_MAX)
        return refuse(p, start, "more than 16 variables");
    p->at++;
    struct tr_span path = {NULL, 0};
    enum tr_err err = parse_field_path(p, &path);
    if (err)
        return err;
    p->vars[p->var_count] = (struct tr_template_var){path, p->segment_count, 1, false};
    if (peek(p) == '}') {
        p->at++;
        p->var_count++;
        return add_segment(p, start, TR_SEGMENT_STAR, TR_SPAN(""));
    }
    if (peek(p) != '=')
        return refuse(p, p->at, "'=' or '}' is expected after the field");
    p->at++;
    p->in_var = true;
    return TR_OK;
}

static void close_var(struct parser *p)
{
    struct tr_template_var *v = &p->vars[p->var_count++];
    v->count = (uint16_t)(p->segment_count - v->first);
    v->multi = v->count > 1 || (p->has_deep && p->deep >= v->first);
    p->in_var = false;
    p->at++;
}

/* One item between slashes: a plain segment, or a variable as far as its first segment. */
static enum tr_err parse_segment(struct parser *p)
{
    if (peek(p) == '{') {
        enum tr_err err = open_var(p);
        if (err || !p->in_var)
            return err;
        if (peek(p) == '{')
            return refuse(p, p->at, "variables do not nest");
    }
    enum tr_err err = parse_plain(p);
    if (err)
        return err;
    if (p->in_var && peek(p) == '}')
        close_var(p);
    return TR_OK;
}

static enum tr_err parse_verb(struct parser *p, struct tr_span *ret_verb)
{
    p->at++;
    enum tr_err err = at_end(p) ? refuse(p, p->at, "an empty verb") : parse_literal(p, ret_verb);
    if (err)
        return err;
    return at_end(p) ? TR_OK : refuse(p, p->at, "the verb must end the template");
}

static enum tr_err parse_all(struct parser *p, struct tr_span *ret_verb)
{
    if (peek(p) != '/')
        return refuse(p, 0, "a template begins with '/'");
    p->at = 1;
    if (p->text.len == 1)
        return TR_OK;
    for (;;) {
        enum tr_err err = parse_segment(p);
        if (err)
            return err;
        if (at_end(p))
            break;
        if (peek(p) == '/') {
            p->at++;
        } else if (peek(p) == ':' && !p->in_var) {
            return parse_verb(p, ret_verb);
        } else if (peek(p) == ':') {
            return refuse(p, p->at, "a verb stands at the end, outside of variables");
        } else if (peek(p) == '*' || peek(p) == '{') {
            return refuse(p, p->at, "a wildcard or variable is a whole segment");
        } else {
            return refuse(p, p->at, "'/' or ':' is expected");
        }
    }
    return p->in_var ? refuse(p, p->at, "'}' is missing") : TR_OK;
}

enum tr_err tr_template_parse(struct tr_span text, struct tr_arena *arena,
                              struct tr_template *ret_template, struct tr_status *st)
{
    struct parser p = {.arena = arena, .st = st};
    p.text = tr_arena_copy(arena, text);
    if (!p.text.ptr)
        return TR_ERR_NOMEM;
    struct tr_span verb = TR_SPAN("");
    enum tr_err err = parse_all(&p, &verb);
    if (err)
        return err;
    size_t segments_bytes = p.segment_count * sizeof p.segments[0];
    size_t vars_bytes = p.var_count * sizeof p.vars[0];
    struct tr_segment *segments = tr_arena_alloc(arena, segments_bytes);
    struct tr_template_var *vars = tr_arena_alloc(arena, vars_bytes);
    if (!segments || !vars)
        return TR_ERR_NOMEM;
    if (segments_bytes)
        memcpy(segments, p.segments, segments_bytes);
    if (vars_bytes)
        memcpy(vars, p.vars, vars_bytes);
    *ret_template = (struct tr_template){
        .text = p.text,
        .segments = segments,
        .vars = vars,
        .segment_count = p.segment_count,
        .var_count = p.var_count,
        .deep = p.has_deep ? p.deep : p.segment_count,
        .verb = verb,
    };
    return TR_OK;
}
