/* Command lines by the table of what a program takes. */
#include <string.h>

#include "base/base.h"

const struct ddp_option *ddp_option_find(const struct ddp_option *options, const char *arg,
                                         const char **value)
{
    *value = NULL;
    for (const struct ddp_option *o = options; o->name; o++) {
        const size_t n = strlen(o->name);
        if (strncmp(arg, o->name, n) == 0 && (arg[n] == '\0' || arg[n] == '=')) {
            *value = arg[n] == '=' ? arg + n + 1 : NULL;
            return o;
        }
        if (o->shorter && strncmp(arg, o->shorter, 2) == 0 && (arg[2] == '\0' || o->value)) {
            *value = arg[2] ? arg + 2 : NULL;
            return o;
        }
    }
    return NULL;
}

int ddp_option_unknown(const struct ddp_manual *m, const char *arg, struct ddp_error *err)
{
    char name[64];
    const char *nearest = m->options[0].name;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(arg, "="), arg);
    for (const struct ddp_option *o = m->options; o->name; o++)
        if (ddp_edit_distance(name, o->name) < ddp_edit_distance(name, nearest))
            nearest = o->name;
    return ddp_fail(err, DDP_E_USAGE,
                    "unknown option '%s'; the nearest known one is %s (%s --help lists all)", arg, nearest,
                    m->name);
}

int ddp_option_next(struct ddp_option_walk *w, const struct ddp_manual *m, int *id, const char **value,
                    struct ddp_error *err)
{
    *value = NULL;
    *id = DDP_OPTION_END;
    if (w->at < w->argc && !w->only_words && strcmp(w->argv[w->at], "--") == 0) {
        w->only_words = true;
        w->at++;
    }
    if (w->at >= w->argc)
        return 0;
    char *arg = w->argv[w->at++];
    const struct ddp_option *o =
        w->only_words || arg[0] != '-' ? NULL : ddp_option_find(m->options, arg, value);
    if (!o && !w->only_words && arg[0] == '-' && arg[1])
        return ddp_option_unknown(m, arg, err);
    if (!o) {
        *id = DDP_OPTION_WORD;
        *value = arg;
        return 0;
    }
    const char *next = w->at < w->argc ? w->argv[w->at] : NULL;
    const bool may_lack = o->value && o->value[0] == '[', glued = may_lack && o->value[1] == '=';
    if (!o->value && *value)
        return ddp_fail(err, DDP_E_USAGE, "option %s takes no value, '%s' came with one", o->name, arg);
    if (o->value && !*value && !may_lack && (!next || strncmp(next, "--", 2) == 0))
        return ddp_fail(err, DDP_E_USAGE, "option %s needs a value behind it: %s", arg, o->value);
    if (o->value && !*value && (!may_lack || (!glued && next && next[0] != '-'))) {
        *value = next;
        w->at++;
    }
    *id = o->id;
    return 0;
}
