/* libconfig's settings -> our nodes. */
#include "config/parts.h"

#include <libconfig.h>
#include <stdio.h>
#include <string.h>

struct converter {
    struct ddp_arena *arena;
    const struct ddp_source *source;
    struct ddp_error *err;
};

static struct ddp_source_line origin(const struct ddp_source *s, int line)
{
    if (line < 1)
        line = 1;
    return s->lines[line <= s->nlines ? line - 1 : s->nlines - 1];
}

static struct ddp_node *convert(const struct converter *c, const config_setting_t *setting)
{
    struct ddp_source_line at = origin(c->source, (int)config_setting_source_line(setting));
    const char *name = config_setting_name(setting);
    struct ddp_node *node = ddp_node_create(c->arena, DDP_NODE_GROUP,
                                            name ? ddp_arena_strdup(c->arena, name) : NULL, at.file, at.line);
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
        node->type = DDP_NODE_INT;
        node->i = config_setting_get_int(setting);
        break;
    case CONFIG_TYPE_INT64:
        node->type = DDP_NODE_INT;
        node->i = config_setting_get_int64(setting);
        break;
    case CONFIG_TYPE_FLOAT:
        node->type = DDP_NODE_FLOAT;
        node->f = config_setting_get_float(setting);
        break;
    case CONFIG_TYPE_BOOL:
        node->type = DDP_NODE_BOOL;
        node->b = config_setting_get_bool(setting) != 0;
        break;
    case CONFIG_TYPE_STRING:
        node->type = DDP_NODE_STRING;
        node->s = ddp_arena_strdup(c->arena, config_setting_get_string(setting));
        if (!ddp_utf8_valid(node->s, strlen(node->s)))
            ddp_error_add(c->err, DDP_E_CONFIG, "%s:%d: the text that its \\x escapes make is not UTF-8",
                          at.file, at.line);
        break;
    case CONFIG_TYPE_ARRAY:
    case CONFIG_TYPE_LIST:
        node->type = DDP_NODE_LIST;
        break;
    default:
        break;
    }
    struct ddp_node **tail = &node->first;
    int n = config_setting_is_aggregate(setting) ? config_setting_length(setting) : 0;
    for (int i = 0; i < n; i++) {
        *tail = convert(c, config_setting_get_elem(setting, (unsigned)i));
        (*tail)->parent = node;
        tail = &(*tail)->next;
    }
    return node;
}

/* The text of one line, without blanks around it. */
static void line_text(const char *text, int line, char *buf, size_t size)
{
    for (; line > 1 && *text; line--) {
        text += strcspn(text, "\n");
        text += *text == '\n';
    }
    text += strspn(text, " \t");
    size_t n = strcspn(text, "\n");
    while (n > 0 && text[n - 1] == ' ')
        n--;
    snprintf(buf, size, "%.*s", (int)n, text);
}

static int parse_failed(const config_t *lib, const struct ddp_source *source, struct ddp_error *err)
{
    int line = config_error_line(lib);
    struct ddp_source_line at = origin(source, line);
    const char *why = config_error_text(lib);
    char near[120];
    line_text(source->text.s, line, near, sizeof near);
    const char *hint = "";
    if (near[0] == '\0' || near[0] == '}')
        hint = " (a value or a closing bracket is missing before this line?)";
    else if (!strpbrk(near, "=:"))
        hint = " (a setting is written key = value;)";
    return ddp_error_add(err, DDP_E_CONFIG, "%s:%d: %s near: %s%s", at.file, at.line,
                         why ? why : "syntax error", near[0] ? near : "the end", hint);
}

int ddp_parse_file(struct ddp_arena *a, const char *path, struct ddp_node **out, struct ddp_error *err)
{
    struct ddp_source source;
    int status = ddp_source_read(a, path, &source, err);
    if (status < 0)
        goto finish_source;
    config_t lib;
    config_init(&lib);
    if (!config_read_string(&lib, source.text.s)) {
        status = parse_failed(&lib, &source, err);
        goto destroy_lib;
    }
    struct ddp_error faults = {0};
    struct converter c = {a, &source, &faults};
    struct ddp_node *root = convert(&c, config_root_setting(&lib));
    root->name = NULL;
    root->file = ddp_arena_strdup(a, path);
    root->line = 0;
    if (faults.code)
        status = ddp_error_add(err, faults.code, "%s", faults.text);
    else
        *out = root;
destroy_lib:
    config_destroy(&lib);
finish_source:
    ddp_source_finish(&source);
    return status;
}
