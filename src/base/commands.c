/* Which command of a program is meant. */
#include "base/base.h"

#include <string.h>

int ddp_report(const char *program, const struct ddp_error *err)
{
    ddp_say(program, "%s", err->text);
    return ddp_error_exit(err->code);
}

static int report_unknown(const struct ddp_manual *m, const char *name)
{
    const struct ddp_command *nearest = m->commands;
    for (const struct ddp_command *c = m->commands; c->manual; c++)
        if (ddp_edit_distance(name, ddp_command_name(c)) < ddp_edit_distance(name, ddp_command_name(nearest)))
            nearest = c;
    ddp_say(m->name, "there is no command '%s'; did you mean '%s'? (%s --help lists them)", name,
            ddp_command_name(nearest), m->name);
    return DDP_EXIT_USAGE;
}

/* "a command is wanted: fetch, pack or inspect" */
static int report_none(const struct ddp_manual *m)
{
    struct ddp_text names;
    ddp_text_init(&names);
    for (const struct ddp_command *c = m->commands; c->manual; c++)
        ddp_text_add(&names, "%s%s",
                     c == m->commands ? ""
                     : c[1].manual    ? ", "
                                      : " or ",
                     ddp_command_name(c));
    const int code = ddp_usage(m, "a command is wanted: %s", names.s);
    ddp_text_finish(&names);
    return code;
}

/* An option in the place of a command. */
static int answer(const struct ddp_manual *m,
                  int (*reference)(const struct ddp_manual *m, int argc, char **argv), int argc, char **argv)
{
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_error err = {0};
    const char *value;
    int id;
    if (ddp_option_next(&walk, m, &id, &value, &err) != 0)
        return ddp_report(m->name, &err);
    if (ddp_manual_answer(m, id))
        return DDP_EXIT_OK;
    if (reference && id >= DDP_OPTION_HELP_CONFIG)
        return reference(m, argc, argv);
    return report_none(m);
}

int ddp_command_run(const struct ddp_manual *m,
                    int (*reference)(const struct ddp_manual *m, int argc, char **argv), int argc,
                    char **argv)
{
    if (argc < 2 || argv[1][0] == '-')
        return answer(m, reference, argc, argv);
    if (strcmp(argv[1], "help") == 0) {
        ddp_manual_answer(m, DDP_OPTION_HELP);
        return DDP_EXIT_OK;
    }
    for (const struct ddp_command *c = m->commands; c->manual; c++)
        if (strcmp(argv[1], ddp_command_name(c)) == 0)
            return c->run(argc - 1, argv + 1);
    return report_unknown(m, argv[1]);
}
