/* ddp-data: fetch, pack and inspect data sets. */
#include "ddp-data.h"

#include <stdio.h>
#include <string.h>

#include "base/base.h"

static const struct {
    const char *name, *doc;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"fetch", "download a published data set, with checksums", ddp_data_fetch_main},
    {"pack", "turn folders of JPEG and PNG pictures into one packed file", ddp_data_pack_main},
    {"inspect", "show counts, shapes, class balance, mean and deviation of a data set",
     ddp_data_inspect_main},
};

static void usage(FILE *to)
{
    fprintf(to, "usage: ddp-data COMMAND [ARGUMENTS]\n\n");
    for (size_t i = 0; i < DDP_COUNT(commands); i++)
        fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].doc);
    fprintf(
        to,
        "\n`ddp-data COMMAND --help` says more.\n\n"
        "exit codes: 0 done; 2 wrong usage or config; 3 data missing or damaged, network or disk failed\n");
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return DDP_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return 0;
    }
    const char *nearest = commands[0].name;
    for (size_t i = 0; i < DDP_COUNT(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
        if (ddp_edit_distance(argv[1], commands[i].name) < ddp_edit_distance(argv[1], nearest))
            nearest = commands[i].name;
    }
    ddp_say("ddp-data", "there is no command '%s'; did you mean '%s'?", argv[1], nearest);
    return DDP_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    ddp_streams_open();
    return ddp_streams_close("ddp-data", run(argc, argv));
}
