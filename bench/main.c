/* ddp-bench: measurements of single parts of the framework. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "bench.h"

static const struct ddp_command commands[] = {
    {&bench_ops_manual, bench_ops},
    {&bench_gpu_manual, bench_gpu},
    {&bench_startup_manual, bench_startup},
    {0},
};

static const struct ddp_option options[] = {DDP_COMMON_OPTIONS, {0}};
static const char *const usage[] = {"COMMAND [options]", NULL};

static const struct ddp_manual_section sections[] = {
    {"Environment", "DDP_ISA\tinstruction set of the CPU kernels: scalar, avx2, avx512 or neon", true},
    {"See also", "ddp-launch(1)", true},
    {0},
};

static const struct ddp_manual manual = {
    .name = "ddp-bench",
    .summary = "measurements of single parts of the framework",
    .usage = usage,
    .about = "",
    .options = options,
    .sections = sections,
    .commands = commands,
};

static int run(int argc, char **argv)
{
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_error err = {0};
    const char *value;
    int id;
    if (ddp_option_next(&walk, &manual, &id, &value, &err) != 0) {
        ddp_say("ddp-bench", "%s", err.text);
        return DDP_EXIT_USAGE;
    }
    if (ddp_manual_answer(&manual, id))
        return DDP_EXIT_OK;
    for (const struct ddp_command *c = commands; value && c->manual; c++)
        if (strcmp(value, ddp_command_name(c)) == 0)
            return c->run(argc - 1, argv + 1);
    struct ddp_text names;
    ddp_text_init(&names);
    for (const struct ddp_command *c = commands; c->manual; c++)
        ddp_text_add(&names, "%s%s", names.len ? ", " : "", ddp_command_name(c));
    if (value)
        ddp_say("ddp-bench", "unknown command '%s'; there are %s (ddp-bench --help tells more)", value,
                names.s);
    else
        ddp_say("ddp-bench", "a command is wanted: %s (ddp-bench --help tells more)", names.s);
    ddp_text_finish(&names);
    return DDP_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    ddp_streams_open();
    return ddp_streams_close("ddp-bench", run(argc, argv));
}
