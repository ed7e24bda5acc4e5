/* ddp-data: fetch, pack and inspect data sets. */
#include "ddp-data.h"

static const struct ddp_command commands[] = {
    {&ddp_data_fetch_manual, ddp_data_fetch_main},
    {&ddp_data_pack_manual, ddp_data_pack_main},
    {&ddp_data_inspect_manual, ddp_data_inspect_main},
    {0},
};

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
    .commands = commands,
};

int main(int argc, char **argv)
{
    ddp_streams_open();
    return ddp_streams_close("ddp-data", ddp_command_run(&manual, ddp_data_reference, argc, argv));
}
