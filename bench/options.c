/* The command line of a subcommand. */
#include "base/base.h"
#include "bench/report.h"

int bench_options_read(int argc, char **argv, const struct ddp_manual *manual, struct bench_outputs *outputs,
                       bench_take *take, void *options)
{
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_error err = {0};
    const char *value;
    for (int id = DDP_OPTION_WORD; id != DDP_OPTION_END;) {
        int rc = ddp_option_next(&walk, manual, &id, &value, &err);
        if (rc == 0 && ddp_manual_answer(manual, id))
            return DDP_EXIT_OK;
        if (rc == 0 && id != DDP_OPTION_END && !bench_outputs_take(outputs, id, value))
            rc = take(options, id, value, &err);
        if (rc < 0) {
            ddp_say(manual->name, "%s", err.text);
            return DDP_EXIT_USAGE;
        }
    }
    return -1;
}
