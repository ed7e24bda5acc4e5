/* The manual page: the same as --help, as roff. */
#include <ctype.h>
#include <string.h>

#include "base/base.h"

/* n characters that roff takes for nothing but themselves. */
static void add_plain(struct ddp_text *t, const char *s, size_t n)
{
    if (n > 0 && (s[0] == '.' || s[0] == '\''))
        ddp_text_add(t, "\\&");
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\\')
            ddp_text_add(t, "\\e");
        else if (s[i] == '-')
            ddp_text_add(t, "\\-");
        else
            ddp_text_append(t, s + i, 1);
    }
}

static void add_word(struct ddp_text *t, const char *s)
{
    add_plain(t, s, strlen(s));
}

static void add_text(struct ddp_text *t, const char *s)
{
    bool verbatim = false;
    while (*s) {
        const size_t n = strcspn(s, "\n"), tab = strcspn(s, "\t\n");
        const bool as_is = n > 0 && s[0] == ' ';
        if (as_is != verbatim)
            ddp_text_add(t, as_is ? ".PP\n.nf\n" : ".fi\n.PP\n");
        verbatim = as_is;
        if (n == 0) {
            ddp_text_add(t, ".PP\n");
        } else if (tab < n) {
            ddp_text_add(t, ".TP\n\\fB");
            add_plain(t, s, tab);
            ddp_text_add(t, "\\fP\n");
            add_plain(t, s + tab + 1, n - tab - 1);
            ddp_text_add(t, "\n");
        } else {
            add_plain(t, s, n);
            ddp_text_add(t, "\n");
        }
        s += n + (s[n] == '\n');
    }
    if (verbatim)
        ddp_text_add(t, ".fi\n");
}

static void add_synopsis(struct ddp_text *t, const struct ddp_manual *m)
{
    for (int i = 0; m->usage[i]; i++) {
        ddp_text_add(t, "%s\\fB", i ? ".br\n" : "");
        add_word(t, m->name);
        ddp_text_add(t, "\\fP ");
        add_word(t, m->usage[i]);
        ddp_text_add(t, "\n");
    }
}

static void add_options(struct ddp_text *t, const struct ddp_option *options)
{
    for (const struct ddp_option *o = options; o->name; o++) {
        ddp_text_add(t, ".TP\n");
        if (o->shorter) {
            ddp_text_add(t, "\\fB");
            add_word(t, o->shorter);
            ddp_text_add(t, "\\fP, ");
        }
        ddp_text_add(t, "\\fB");
        add_word(t, o->name);
        ddp_text_add(t, "\\fP");
        if (o->value) {
            ddp_text_add(t, o->value[1] == '=' ? "\\fI" : " \\fI");
            add_word(t, o->value);
            ddp_text_add(t, "\\fP");
        }
        ddp_text_add(t, "\n");
        add_word(t, o->doc);
        ddp_text_add(t, "\n");
    }
}

static void add_title(struct ddp_text *t, const char *kind, const char *title)
{
    ddp_text_add(t, "%s \"", kind);
    for (; *title; title++)
        ddp_text_add(t, "%c", toupper((unsigned char)*title));
    ddp_text_add(t, "\"\n");
}

/* A command of a program, behind the program itself. */
static void add_command(struct ddp_text *t, const struct ddp_manual *m)
{
    add_title(t, ".SH", m->name);
    add_synopsis(t, m);
    ddp_text_add(t, ".PP\n");
    add_text(t, m->about[0] ? m->about : m->summary);
    add_options(t, m->options);
    for (const struct ddp_manual_section *s = m->sections; s && s->title; s++) {
        add_title(t, ".SS", s->title);
        add_text(t, s->text);
    }
}

char *ddp_manual_page(const struct ddp_manual *m)
{
    struct ddp_text t;
    ddp_text_init(&t);
    add_title(&t, ".TH", m->name);
    t.s[--t.len] = '\0'; /* the rest of the line */
    ddp_text_add(&t, " 1 \"\" \"ddp %s\" \"User Commands\"\n.SH NAME\n", DDP_VERSION);
    add_word(&t, m->name);
    ddp_text_add(&t, " \\- ");
    add_word(&t, m->summary);
    ddp_text_add(&t, "\n.SH SYNOPSIS\n");
    add_synopsis(&t, m);
    ddp_text_add(&t, ".SH DESCRIPTION\n");
    add_text(&t, m->about[0] ? m->about : m->summary);
    ddp_text_add(&t, ".SH OPTIONS\n");
    add_options(&t, m->options);
    for (int i = 0; m->commands && m->commands[i].manual; i++)
        add_command(&t, m->commands[i].manual);
    for (const struct ddp_manual_section *s = m->sections; s && s->title; s++) {
        add_title(&t, ".SH", s->title);
        add_text(&t, s->text);
    }
    return t.s;
}
