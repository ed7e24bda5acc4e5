/* The tokens of a config file, checked and made ready for libconfig: source.c says why. */
#include "config/scan.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

void ddp_scan_fault(struct ddp_scanner *s, const char *file, int line, const char *fmt, const char *text)
{
    char message[512];
    snprintf(message, sizeof message, fmt, text); // NOLINT: all formats are literals of this file
    ddp_error_add(s->err, DDP_E_CONFIG, "%s:%d: %s", file, line, message);
}

/* ---- output ---------------------------------------------------------------------------------- */

void ddp_scan_mark(struct ddp_source *out, int at, const char *file, int line)
{
    if (at >= out->cap) {
        out->cap = out->cap ? 2 * out->cap : 64;
        out->lines = ddp_realloc(out->lines, (size_t)out->cap * sizeof *out->lines);
    }
    out->lines[at] = (struct ddp_source_line){file, line};
    if (at >= out->nlines)
        out->nlines = at + 1;
}

static void emit(struct ddp_scanner *s, const char *p, size_t n)
{
    ddp_text_append(&s->out->text, p, n);
}

static void end_line(struct ddp_scanner *s, struct ddp_scan_input *in)
{
    emit(s, "\n", 1);
    in->line++;
    in->line_start = true;
    ddp_scan_mark(s->out, s->out->nlines, in->file, in->line);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static bool is_word(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* "..." with its escapes; *in stands on the opening quote. */
static bool scan_string(struct ddp_scanner *s, struct ddp_scan_input *in)
{
    int line = in->line;
    const char *begin = in->p++;
    for (;; in->p++) {
        if (in->p >= in->end) {
            ddp_scan_fault(s, in->file, line,
                           "a text that begins here never ends: its closing \" is missing%s", "");
            return false;
        }
        if (*in->p == '"')
            break;
        if (*in->p == '\\' && in->p + 1 < in->end) {
            if (in->end - in->p >= 4 && memcmp(in->p, "\\x00", 4) == 0)
                ddp_scan_fault(s, in->file, in->line, "a text cannot hold \\x00%s", "");
            in->p++;
        }
        if (*in->p == '\n') {
            emit(s, begin, (size_t)(in->p - begin));
            end_line(s, in);
            begin = in->p + 1;
        }
    }
    in->p++;
    emit(s, begin, (size_t)(in->p - begin));
    s->before = DDP_BEFORE_OTHER;
    s->name = NULL;
    in->line_start = false;
    return true;
}

static bool scan_comment(struct ddp_scanner *s, struct ddp_scan_input *in)
{
    if (*in->p == '#' || in->p[1] == '/') {
        while (in->p < in->end && *in->p != '\n')
            in->p++;
        return true;
    }
    int line = in->line;
    for (in->p += 2; in->p + 1 < in->end; in->p++) {
        if (in->p[0] == '*' && in->p[1] == '/') {
            in->p += 2;
            emit(s, " ", 1);
            return true;
        }
        if (*in->p == '\n')
            end_line(s, in);
    }
    ddp_scan_fault(s, in->file, line, "a comment that begins here never ends: its */ is missing%s", "");
    return false;
}

static void scan_number(struct ddp_scanner *s, struct ddp_scan_input *in)
{
    const char *begin = in->p;
    const char *digits = begin + (*begin == '-' || *begin == '+');
    const bool hex = in->end - digits >= 2 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    for (; in->p < in->end; in->p++) {
        char c = *in->p;
        bool exponent_sign =
            (c == '+' || c == '-') && (in->p == begin || (!hex && (in->p[-1] == 'e' || in->p[-1] == 'E')));
        if (!is_word(c) && c != '.' && !exponent_sign)
            break;
    }
    char text[128];
    size_t n = (size_t)(in->p - begin), len = n;
    s->before = DDP_BEFORE_OTHER;
    s->name = NULL;
    in->line_start = false;
    if (n >= sizeof text) {
        ddp_scan_fault(s, in->file, in->line, "a number of more than 100 digits%s", "");
        return;
    }
    memcpy(text, begin, n);
    text[n] = '\0';
    for (int l = 0; l < 2 && len > 1 && text[len - 1] == 'L'; l++)
        text[--len] = '\0'; /* the suffix of libconfig's 64-bit integers */
    const size_t sign = (size_t)(digits - begin), first = sign + (hex ? 2 : 0);
    const bool whole =
        len > first && strspn(text + first, hex ? "0123456789abcdefABCDEF" : "0123456789") == len - first;
    int64_t i;
    double f;
    if (ddp_parse_int(text, &i)) {
        ddp_text_add(&s->out->text, "%" PRId64 "%s", i, i < INT_MIN || i > INT_MAX ? "L" : "");
    } else if (whole) {
        ddp_scan_fault(s, in->file, in->line,
                       "the integer %s is out of range: -9223372036854775808 to 9223372036854775807 fit",
                       text);
    } else if (!hex && len == n && strpbrk(text, "0123456789") && ddp_parse_double(text, &f)) {
        emit(s, text, n);
    } else {
        memcpy(text, begin, n);
        ddp_scan_fault(s, in->file, in->line,
                       "'%s' is not a number, or too large for one (a text needs quotes: \"..\")", text);
    }
}

static bool is_bool_word(const char *p, size_t n)
{
    return (n == 4 && strncasecmp(p, "true", 4) == 0) || (n == 5 && strncasecmp(p, "false", 5) == 0);
}

/* "optim.lr = 0.1;" where a key may stand: the command line's form, which says what is meant. *in stands on
 * the point behind NAME; it goes past the value. */
static void scan_dotted(struct ddp_scanner *s, struct ddp_scan_input *in, const char *name)
{
    const char *key = in->p + 1, *end = key, *eol = memchr(in->p, '\n', (size_t)(in->end - in->p));
    eol = eol ? eol : in->end;
    while (end < eol && (is_word(*end) || *end == '_' || *end == '.'))
        end++;
    const char *value = end + strspn(end, " \t");
    const char *last = value < eol && (*value == '=' || *value == ':') ? value + 1 : end;
    value = last;
    while (value < eol && (*value == ' ' || *value == '\t'))
        value++;
    for (last = value; last < eol && *last != ';' && *last != '#';)
        last++;
    const char *shown = last;
    while (shown > value && (shown[-1] == ' ' || shown[-1] == '\t' || shown[-1] == '\r'))
        shown--;
    const int nkey = (int)(end - key), nvalue = (int)(shown - value);
    ddp_error_add(s->err, DDP_E_CONFIG,
                  "%s:%d: %.100s.%.*s: in a file a key of a group is written %.100s: { %.*s = %.*s; }",
                  in->file, in->line, name, nkey < 100 ? nkey : 100, key, name, nkey < 100 ? nkey : 100, key,
                  nvalue == 0    ? 2
                  : nvalue < 100 ? nvalue
                                 : 100,
                  nvalue == 0 ? ".." : value);
    in->p = last;
    emit(s, " = 0", 4); /* so that the rest can be looked at too */
    s->name = NULL;
    s->before = DDP_BEFORE_OTHER;
    in->line_start = false;
}

static void scan_name(struct ddp_scanner *s, struct ddp_scan_input *in)
{
    const char *begin = in->p;
    while (in->p < in->end && (is_word(*in->p) || *in->p == '*' || *in->p == '-' || *in->p == '_'))
        in->p++;
    size_t n = (size_t)(in->p - begin);
    char *name = ddp_arena_alloc(s->arena, n + 1);
    memcpy(name, begin, n);
    char open = s->scope[s->depth].open;
    bool value = s->before == DDP_BEFORE_ASSIGN || open == '(' || open == '[';
    if (value && !is_bool_word(begin, n)) {
        ddp_scan_fault(s, in->file, in->line, "a text needs quotes: write \"%.100s\"", name);
        emit(s, "0", 1); /* so that the rest can be looked at too */
    } else {
        emit(s, begin, n);
    }
    s->name = value ? NULL : name;
    s->name_line = in->line;
    s->before = DDP_BEFORE_OTHER;
    in->line_start = false;
    if (!value && in->end - in->p > 1 && in->p[0] == '.' && is_word(in->p[1]))
        scan_dotted(s, in, name);
}

/* '=' or ':' after a name: a key of the innermost group. Looking through those before it takes time with
 * their square, here and in libconfig, so their number is limited to more than any group has use for. */
static bool scan_assign(struct ddp_scanner *s, struct ddp_scan_input *in)
{
    struct ddp_scan_scope *scope = &s->scope[s->depth];
    if (s->name && (scope->open == '{' || scope->open == 0)) {
        if (++scope->nkeys > DDP_CONFIG_MAX_KEYS) {
            ddp_scan_fault(s, in->file, in->line, "more than 256 keys in one group, at %s", s->name);
            return false;
        }
        for (const struct ddp_scan_key *k = scope->keys; k; k = k->next)
            if (strcmp(k->name, s->name) == 0) {
                ddp_error_add(s->err, DDP_E_CONFIG,
                              "%s:%d: %s%s%s: given twice, first in %s:%d; keep one of them", in->file,
                              s->name_line, scope->name ? scope->name : "", scope->name ? "." : "", s->name,
                              k->file, k->line);
                break;
            }
        struct ddp_scan_key *k = ddp_arena_alloc(s->arena, sizeof *k);
        *k = (struct ddp_scan_key){s->name, in->file, s->name_line, scope->keys};
        scope->keys = k;
    }
    emit(s, in->p, 1);
    in->p++;
    s->before = DDP_BEFORE_ASSIGN;
    in->line_start = false;
    return true; /* s->name stays: it is the name of the scope that may open now */
}

static void missing_value(struct ddp_scanner *s, const struct ddp_scan_input *in)
{
    if (s->before == DDP_BEFORE_ASSIGN)
        ddp_scan_fault(s, in->file, in->line, "a value is missing after '%s'", s->name ? s->name : "=");
}

static bool scan_bracket(struct ddp_scanner *s, struct ddp_scan_input *in)
{
    char c = *in->p;
    struct ddp_scan_scope *scope = &s->scope[s->depth];
    if (c == '{' || c == '(' || c == '[') {
        if (s->depth == DDP_CONFIG_MAX_DEPTH) {
            ddp_scan_fault(s, in->file, in->line, "groups and lists nested deeper than 32%s", "");
            return false;
        }
        const char *name = s->before == DDP_BEFORE_ASSIGN ? s->name : NULL;
        s->scope[++s->depth] = (struct ddp_scan_scope){c, in->file, in->line, name, NULL, 0};
        emit(s, c == '[' ? "(" : &c, 1);
    } else {
        missing_value(s, in);
        char want = c == '}' ? '{' : c == ')' ? '(' : '[';
        if (scope->open != want) {
            char text[32] = {c, '\0'};
            if (s->depth == 0) {
                ddp_scan_fault(s, in->file, in->line, "'%s' closes nothing", text);
            } else {
                char message[96];
                snprintf(message, sizeof message, "'%c' of line %d with '%c'", scope->open, scope->line, c);
                ddp_scan_fault(s, in->file, in->line, "closes %s", message);
            }
            return false;
        }
        if (s->before == DDP_BEFORE_COMMA)
            s->out->text.s[s->comma] = ' ';
        s->depth--;
        emit(s, c == ']' ? ")" : &c, 1);
    }
    in->p++;
    s->before = DDP_BEFORE_OTHER;
    s->name = NULL;
    in->line_start = false;
    return true;
}

enum ddp_scan_stop ddp_scan_tokens(struct ddp_scanner *s, struct ddp_scan_input *in)
{
    while (in->p < in->end) {
        char c = *in->p;
        char next = in->p + 1 < in->end ? in->p[1] : '\0';
        if (c == '\n') {
            end_line(s, in);
            in->p++;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\f') {
            emit(s, " ", 1);
            in->p++;
        } else if (c == '"') {
            if (!scan_string(s, in))
                return DDP_SCAN_FAULT;
        } else if (c == '#' || (c == '/' && (next == '/' || next == '*'))) {
            if (!scan_comment(s, in))
                return DDP_SCAN_FAULT;
        } else if (c == '@' && in->line_start && in->end - in->p > 8 && memcmp(in->p, "@include", 8) == 0) {
            return DDP_SCAN_INCLUDE;
        } else if (is_digit(c) || c == '.' || ((c == '-' || c == '+') && (is_digit(next) || next == '.'))) {
            scan_number(s, in);
        } else if (is_word(c) || c == '*') {
            scan_name(s, in);
        } else if (c == '=' || c == ':') {
            if (!scan_assign(s, in))
                return DDP_SCAN_FAULT;
        } else if (strchr("{([])}", c)) {
            if (!scan_bracket(s, in))
                return DDP_SCAN_FAULT;
        } else if (c == ',' || c == ';') {
            missing_value(s, in);
            s->before = c == ',' ? DDP_BEFORE_COMMA : DDP_BEFORE_OTHER;
            s->comma = s->out->text.len;
            s->name = NULL;
            in->line_start = false;
            emit(s, in->p++, 1);
        } else {
            char text[8];
            snprintf(text, sizeof text,
                     (unsigned char)c < 0x20 || (unsigned char)c >= 0x7f ? "\\x%02x" : "%c",
                     (unsigned char)c);
            ddp_scan_fault(s, in->file, in->line, "'%s' has no meaning here", text);
            return DDP_SCAN_FAULT;
        }
    }
    return DDP_SCAN_END;
}
