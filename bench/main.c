/* ddp-bench: measurements of single parts of the framework. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "bench.h"
#include "ddp/error.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *doc;
} commands[] = {
    {"ops", bench_ops, "GFLOP/s of the CPU kernels on one core, layer by layer, against the core's peak"},
    {"gpu", bench_gpu, "GB/s of the CUDA kernels against a copy, and the cost of launches"},
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void usage(FILE *to)
{
    fprintf(to, "usage: ddp-bench COMMAND [OPTIONS]\n\ncommands (ddp-bench COMMAND --help says more):\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].doc);
}

static int run(int argc, char **argv)
{
    if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
        usage(stdout);
        return DDP_EXIT_OK;
    }
    for (int i = 0; argc > 1 && i < COMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    if (argc > 1)
        ddp_say("ddp-bench", "unknown command '%s'", argv[1]);
    usage(stderr);
    return DDP_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    ddp_streams_open();
    return ddp_streams_close("ddp-bench", run(argc, argv));
}
