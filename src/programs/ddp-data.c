/* ddp-data: fetch, pack and inspect data sets. */
#include "ddp-data.h"

#include <string.h>

static const struct {
    const struct ddp_manual *manual;
    int (*run)(int argc, char **argv);
} commands[] = {
    {&ddp_data_fetch_manual, ddp_data_fetch_main},
    {&ddp_data_pack_manual, ddp_data_pack_main},
    {&ddp_data_inspect_manual, ddp_data_inspect_main},
};

static const struct ddp_manual *const manuals[] = {&ddp_data_fetch_manual, &ddp_data_pack_manual,
                                                   &ddp_data_inspect_manual, NULL};

static const struct ddp_option options[] = {DDP_REFERENCE_OPTIONS, DDP_COMMON_OPTIONS, {0}};

static const char *const usage[] = {"COMMAND [ARGUMENTS]", NULL};

static const struct ddp_manual_section sections[] = {
    {"Exit codes",
     "0\tdone\n2\twrong usage or config\n3\tdata missing or damaged, network or disk failed\n"
     "130\tstopped by a signal",
     false},
    {"Environment",
     "DDP_DATA_DIR\tfolder that holds data sets, where data.root or --root is not given\n"
     "http_proxy, https_proxy, no_proxy\tas libcurl reads them",
     true},
    {"See also", "ddp-launch(1), ddp-train(1), ddp-runs(1)", true},
    {0},
};

static const struct ddp_manual manual = {
    .name = "ddp-data",
    .summary = "fetch, pack and inspect data sets",
    .usage = usage,
    .about = "",
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
    ddp_say("ddp-data", "there is no command '%s'; did you mean '%s'?", name, nearest);
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
        return ddp_data_report(&err);
    if (ddp_manual_answer(&manual, id))
        return 0;
    if (id >= DDP_OPTION_HELP_CONFIG)
        return ddp_data_reference(&manual, argc, argv);
    return ddp_data_usage(&manual, "%s", "a command is wanted: fetch, pack or inspect");
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
    return ddp_streams_close("ddp-data", run(argc, argv));
}
