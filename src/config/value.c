/* Values on the command line. The shell eats quotes, so bare words are text here, unlike in files. */
#include "config/parts.h"

#include <stdio.h>
#include <string.h>

struct parser {
    struct ddp_arena *arena;
    const char *p;
    const char *file;
    bool text; /* bare words and numbers are text */
    int depth;
    const char *why; /* the first fault */
};

static struct ddp_node *parse_value(struct parser *s, const char *name, const char *stop);

static void skip_blanks(struct parser *s)
{
    s->p += strspn(s->p, " \t\r\n");
}

static struct ddp_node *failed(struct parser *s, const char *why)
{
    if (!s->why)
        s->why = why;
    return NULL;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static struct ddp_node *parse_quoted(struct parser *s, const char *name)
{
    char quote = *s->p++;
    size_t most = 0, n = 0; /* as far as the closing quote */
    while (s->p[most] && s->p[most] != quote)
        most += s->p[most] == '\\' && s->p[most + 1] ? 2 : 1;
    char *text = ddp_arena_alloc(s->arena, most + 1);
    for (; *s->p != quote; s->p++) {
        if (*s->p == '\0')
            return failed(s, "its closing quote is missing");
        if (*s->p != '\\' || s->p[1] == '\0') {
            text[n++] = *s->p;
            continue;
        }
        static const char from[] = "ntrf\\\"'", to[] = "\n\t\r\f\\\"'";
        const char *escape = strchr(from, *++s->p);
        if (escape) {
            text[n++] = to[escape - from];
        } else if (*s->p == 'x' && hex_digit(s->p[1]) >= 0 && hex_digit(s->p[2]) >= 0) {
            text[n] = (char)(16 * hex_digit(s->p[1]) + hex_digit(s->p[2]));
            if (text[n++] == '\0')
                return failed(s, "a text cannot hold \\x00");
            s->p += 2;
        } else {
            text[n++] = '\\';
            text[n++] = *s->p;
        }
    }
    s->p++;
    if (!ddp_utf8_valid(text, n))
        return failed(s, "it is not UTF-8");
    struct ddp_node *node = ddp_node_create(s->arena, DDP_NODE_STRING, name, s->file, 0);
    node->s = text;
    return node;
}

/* A number, true, false, or a word that needs no quotes. stop: characters that end it. */
static struct ddp_node *parse_bare(struct parser *s, const char *name, const char *stop)
{
    size_t n = stop[0] ? strcspn(s->p, stop) : strlen(s->p);
    char *word = ddp_arena_alloc(s->arena, n + 1);
    memcpy(word, s->p, n);
    s->p += n;
    while (n > 0 && strchr(" \t\r\n", word[n - 1]))
        word[--n] = '\0';
    if (n == 0)
        return failed(s, "a value is missing");
    struct ddp_node *node = ddp_node_create(s->arena, DDP_NODE_STRING, name, s->file, 0);
    node->s = word;
    if (s->text)
        return node;
    int64_t i;
    double f;
    size_t last = n - 1;
    char *number = ddp_arena_strdup(s->arena, word);
    if (number[0] >= '+' && number[0] <= '9')
        while (last > 0 && number[last] == 'L')
            number[last--] = '\0';
    bool digits = number[strspn(number, "+-0123456789")] == '\0';
    if (ddp_parse_int(number, &i)) {
        node->type = DDP_NODE_INT;
        node->i = i;
    } else if (digits && strpbrk(number, "0123456789") && ddp_parse_double(number, &f)) {
        return failed(s, "the integer is out of range: -9223372036854775808 to 9223372036854775807 fit");
    } else if (strcspn(word, "0123456789.") < 2 && strpbrk(word, "0123456789") &&
               ddp_parse_double(word, &f)) {
        node->type = DDP_NODE_FLOAT;
        node->f = f;
    } else if (strcasecmp(word, "true") == 0 || strcasecmp(word, "false") == 0) {
        node->type = DDP_NODE_BOOL;
        node->b = word[0] == 't' || word[0] == 'T';
    }
    return node;
}

static struct ddp_node *parse_list(struct parser *s, const char *name)
{
    char close = *s->p++ == '[' ? ']' : ')';
    char stop[3] = {',', close, '\0'};
    struct ddp_node *list = ddp_node_create(s->arena, DDP_NODE_LIST, name, s->file, 0);
    struct ddp_node **tail = &list->first;
    for (;;) {
        skip_blanks(s);
        if (*s->p == close)
            break;
        struct ddp_node *c = parse_value(s, NULL, stop);
        if (!c)
            return NULL;
        c->parent = list;
        *tail = c;
        tail = &c->next;
        skip_blanks(s);
        if (*s->p == ',')
            s->p++;
        else if (*s->p != close)
            return failed(s, *s->p ? "a comma is missing in the list" : "its list is not closed");
    }
    s->p++;
    return list;
}

static struct ddp_node *parse_group(struct parser *s, const char *name)
{
    s->p++;
    struct ddp_node *group = ddp_node_create(s->arena, DDP_NODE_GROUP, name, s->file, 0);
    int keys = 0;
    for (;;) {
        skip_blanks(s);
        if (*s->p == '}')
            break;
        size_t n = strcspn(s->p, "=: \t,;{}");
        if (n > 1000 || !ddp_name_valid(s->p, (int)n))
            return failed(s, *s->p ? "its group wants { key = value, .. }" : "its group is not closed");
        char *key = ddp_arena_alloc(s->arena, n + 1);
        memcpy(key, s->p, n);
        s->p += n;
        skip_blanks(s);
        if (*s->p != '=' && *s->p != ':')
            return failed(s, "its group wants { key = value, .. }");
        s->p++;
        if (++keys > DDP_CONFIG_MAX_KEYS)
            return failed(s, "more than 256 keys in one group");
        if (ddp_node_child(group, key))
            return failed(s, "its group gives a key twice");
        struct ddp_node *c = parse_value(s, key, ",;}");
        if (!c)
            return NULL;
        ddp_node_add(group, c);
        skip_blanks(s);
        if (*s->p == ',' || *s->p == ';')
            s->p++;
        else if (*s->p != '}')
            return failed(s, *s->p ? "a comma is missing in the group" : "its group is not closed");
    }
    s->p++;
    return group;
}

static struct ddp_node *parse_value(struct parser *s, const char *name, const char *stop)
{
    if (++s->depth > DDP_CONFIG_MAX_DEPTH)
        return failed(s, "groups and lists nested deeper than 32");
    struct ddp_node *node;
    skip_blanks(s);
    if (*s->p == '"' || *s->p == '\'')
        node = parse_quoted(s, name);
    else if (*s->p == '[' || *s->p == '(')
        node = parse_list(s, name);
    else if (*s->p == '{')
        node = parse_group(s, name);
    else
        node = parse_bare(s, name, stop);
    s->depth--;
    return node;
}

struct ddp_node *ddp_value_parse(struct ddp_arena *a, const char *text, bool as_text, const char *name,
                                 const char *file, const char **why)
{
    struct parser s = {.arena = a, .p = text, .file = file, .text = as_text};
    struct ddp_node *node = parse_value(&s, name, "");
    skip_blanks(&s);
    if (node && *s.p)
        node = failed(&s, "something follows its end");
    if (!node)
        *why = s.why;
    return node;
}
