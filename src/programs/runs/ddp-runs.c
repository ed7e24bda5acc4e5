/* ddp-runs: list, compare, prove and clear away runs. */
#include "ddp-runs.h"

static const struct ddp_command commands[] = {
    {&ddp_runs_list_manual, ddp_runs_list_main},
    {&ddp_runs_show_manual, ddp_runs_show_main},
    {&ddp_runs_diff_manual, ddp_runs_diff_main},
    {&ddp_runs_verify_manual, ddp_runs_verify_main},
    {&ddp_runs_reproduce_manual, ddp_runs_reproduce_main},
    {&ddp_runs_bisect_manual, ddp_runs_bisect_main},
    {&ddp_runs_mark_manual, ddp_runs_mark_main},
    {&ddp_runs_gc_manual, ddp_runs_gc_main},
    {0},
};

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
    .commands = commands,
};

int main(int argc, char **argv)
{
    ddp_streams_open();
    return ddp_streams_close("ddp-runs", ddp_command_run(&manual, NULL, argc, argv));
}
