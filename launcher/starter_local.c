/* Ranks of one host, started by the launcher itself: its children, whose deaths it sees at once, each with
 * pipes of its own. They meet in memory that it hands over its socket (base/lifeline.h, comm/comm_node.c); no
 * program and no file is needed besides. */
#include <string.h>

#include "launcher/starter.h"

static void command(const struct ddp_job *job, struct ddp_words *argv, struct ddp_words *env)
{
    ddp_words_add(argv, "%s", job->program);
    for (int i = 0; i < job->args.n; i++)
        ddp_words_add(argv, "%s", job->args.w[i]);
    ddp_words_add(env, "DDP_RANKS=%d", job->ranks);
}

const struct ddp_starter ddp_starter_local = {
    .name = "ddp-launch",
    .direct = true,
    .command = command,
    .kill_after_ms = 100,
};
