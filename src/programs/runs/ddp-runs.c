/* ddp-runs: list, compare, prove and clear away runs. */
#include "ddp-runs.h"

#include <string.h>

static const struct {
    const struct ddp_manual *manual;
    int (*run)(int argc, char **argv);
} commands[] = {
    {&ddp_runs_list_manual, ddp_runs_list_main},
    {&ddp_runs_show_manual, ddp_runs_show_main},
    {&ddp_runs_diff_manual, ddp_runs_diff_main},
    {&ddp_runs_verify_manual, ddp_runs_verify_main},
    {&ddp_runs_reproduce_manual, ddp_runs_reproduce_main},
    {&ddp_runs_mark_manual, ddp_runs_mark_main},
    {&ddp_runs_gc_manual, ddp_runs_gc_main},
};

static const struct ddp_manual *const manuals[] = {
    &ddp_runs_list_manual,      &ddp_runs_show_manual, &ddp_runs_diff_manual, &ddp_runs_verify_manual,
    &ddp_runs_reproduce_manual, &ddp_runs_mark_manual, &ddp_runs_gc_manual,   NULL};

static const struct ddp_option options[] = {DDP_COMMON_OPTIONS, {0}};

static const char *const usage[] = {"COMMAND [ARGUMENTS]", NULL};

static const struct ddp_manual_section sections[] = {
    {"Exit codes",
     "0\tdone\n1\twhat was compared differs\n2\twrong usage\n3\ta run is missing or damaged, the disk failed",
     false},
    {"See also", "ddp-launch(1), ddp-train(1), ddp-data(1)", true},
    {0},
};

static const struct ddp_manual manual = {
    .name = "ddp-runs",
    .summary = "list, compare, prove and clear away runs",
    .usage = usage,
    .about =
        "A run is the directory that training leaves (docs/run.md). Only mark and gc --remove change one.",
    .options = options,
    .sections = sections,
    .commands = manuals,
};

static const char *command_name(size_t i)
{
    return strrchr(commands[i].manual->name, ' ') + 1;
}

static int unknown_command(const char *name)
{
    const char *nearest = command_name(0);
    for (size_t i = 0; i < DDP_COUNT(commands); i++)
        if (ddp_edit_distance(name, command_name(i)) < ddp_edit_distance(name, nearest))
            nearest = command_name(i);
    ddp_say("ddp-runs", "there is no command '%s'; did you mean '%s'? (ddp-runs --help lists them)", name,
            nearest);
    return DDP_EXIT_USAGE;
}

/* An option in the place of a command. */
static int answer(int argc, char **argv)
{
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_error err = {0};
    const char *value;
    int id;
    if (ddp_option_next(&walk, &manual, &id, &value, &err) != 0)
        return ddp_runs_report(&err);
    if (ddp_manual_answer(&manual, id))
        return 0;
    return ddp_runs_usage(&manual, "%s",
                          "a command is wanted: list, show, diff, verify, reproduce, mark or gc");
}

static int run(int argc, char **argv)
{
    if (argc < 2 || argv[1][0] == '-')
        return answer(argc, argv);
    if (strcmp(argv[1], "help") == 0) {
        ddp_manual_answer(&manual, DDP_OPTION_HELP);
        return 0;
    }
    for (size_t i = 0; i < DDP_COUNT(commands); i++)
        if (strcmp(argv[1], command_name(i)) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return unknown_command(argv[1]);
}

int main(int argc, char **argv)
{
    ddp_streams_open();
    return ddp_streams_close("ddp-runs", run(argc, argv));
}
