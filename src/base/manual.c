/* --help, for a terminal of 80 columns; and what every program answers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum { COLUMNS = 79, OPTION_COLUMN = 26, TERM_COLUMN = 10 };

/* Words from *at on, to the end of the line, in columns [indent, COLUMNS). *at is the column that the output
 * stands in. */
static void fill(struct ddp_text *t, const char *s, size_t n, int indent, int *at)
{
    for (size_t i = 0; i < n;) {
        while (i < n && s[i] == ' ')
            i++;
        const size_t begin = i;
        while (i < n && s[i] != ' ')
            i++;
        const int len = (int)(i - begin);
        if (len == 0)
            break;
        if (*at > indent && *at + 1 + len > COLUMNS) {
            ddp_text_add(t, "\n%*s", indent, "");
            *at = indent;
        } else if (*at > indent) {
            ddp_text_add(t, " ");
            ++*at;
        }
        ddp_text_append(t, s + begin, (size_t)len);
        *at += len;
    }
}

static void fill_from(struct ddp_text *t, const char *s, int indent, int at)
{
    if (at >= indent) {
        ddp_text_add(t, "\n");
        at = 0;
    }
    ddp_text_add(t, "%*s", indent - at, "");
    at = indent;
    fill(t, s, strlen(s), indent, &at);
    ddp_text_add(t, "\n");
}

/* Paragraphs, verbatim lines and rows. */
static void add_text(struct ddp_text *t, const char *s, int indent)
{
    int at = 0;
    while (*s) {
        const size_t n = strcspn(s, "\n"), tab = strcspn(s, "\t\n");
        const bool plain = n > 0 && s[0] != ' ' && tab == n;
        if (at > 0 && !plain) {
            ddp_text_add(t, "\n");
            at = 0;
        }
        if (tab < n) {
            char row[1024];
            snprintf(row, sizeof row, "%.*s", (int)(n - tab - 1), s + tab + 1);
            ddp_text_add(t, "%*s%.*s", indent, "", (int)tab, s);
            fill_from(t, row, indent + TERM_COLUMN, indent + (int)tab);
        } else if (!plain) {
            ddp_text_add(t, "%*s%.*s\n", n ? indent : 0, "", (int)n, s);
        } else {
            if (at == 0)
                ddp_text_add(t, "%*s", at = indent, "");
            fill(t, s, n, indent, &at);
            at = at ? at : 1;
        }
        s += n + (s[n] == '\n');
    }
    if (at > 0)
        ddp_text_add(t, "\n");
}

static void add_option(struct ddp_text *t, const struct ddp_option *o)
{
    char head[128];
    snprintf(head, sizeof head, "  %s%s%s%s%s", o->shorter ? o->shorter : "", o->shorter ? ", " : "", o->name,
             o->value && o->value[1] != '=' ? " " : "", o->value ? o->value : "");
    ddp_text_add(t, "%s", head);
    fill_from(t, o->doc, OPTION_COLUMN, (int)strlen(head) + 1 > OPTION_COLUMN ? COLUMNS : (int)strlen(head));
}

const char *ddp_command_name(const struct ddp_command *c)
{
    return strrchr(c->manual->name, ' ') + 1;
}

char *ddp_manual_help(const struct ddp_manual *m)
{
    struct ddp_text t;
    ddp_text_init(&t);
    for (int i = 0; m->usage[i]; i++)
        ddp_text_add(&t, "%s %s %s\n", i ? "      " : "usage:", m->name, m->usage[i]);
    ddp_text_add(&t, "\n");
    add_text(&t, m->about[0] ? m->about : m->summary, 0);
    ddp_text_add(&t, "\n");
    for (int i = 0; m->commands && m->commands[i].manual; i++) {
        const char *name = ddp_command_name(&m->commands[i]);
        ddp_text_add(&t, "  %s", name);
        fill_from(&t, m->commands[i].manual->summary, 12, 2 + (int)strlen(name));
    }
    if (m->commands)
        ddp_text_add(&t, "\n`%s COMMAND --help` says more.\n\n", m->name);
    for (const struct ddp_option *o = m->options; o->name; o++)
        add_option(&t, o);
    for (const struct ddp_manual_section *s = m->sections; s && s->title; s++) {
        if (s->page_only)
            continue;
        ddp_text_add(&t, "\n%s:\n", s->title);
        add_text(&t, s->text, 2);
    }
    return t.s;
}

const char *ddp_manual_version(const struct ddp_manual *m)
{
    static char text[96];
    snprintf(text, sizeof text, "%.*s %s\n", (int)strcspn(m->name, " "), m->name, DDP_VERSION);
    return text;
}

bool ddp_manual_answer(const struct ddp_manual *m, int id)
{
    char *text = NULL;
    if (id == DDP_OPTION_VERSION)
        fputs(ddp_manual_version(m), stdout);
    else if (id == DDP_OPTION_HELP)
        fputs(text = ddp_manual_help(m), stdout);
    else if (id == DDP_OPTION_MAN)
        fputs(text = ddp_manual_page(m), stdout);
    else
        return false;
    free(text);
    return true;
}
