/* Watching over a running job: whoever dies first ends it, is named, and nothing is left behind. */
#ifndef DDP_LAUNCHER_SUPERVISE_H
#define DDP_LAUNCHER_SUPERVISE_H

#include "launcher/ending.h"
#include "launcher/starter.h"

struct ddp_agent;

struct ddp_elsewhere { /* what of a job is not on this host */
    int n;
    struct ddp_agent *const *agent; /* [n] of the other hosts, ready for their ranks */
    const int *through;             /* [n] which of them each is heard through; -1: none */
    int ranks_here;                 /* those of this host, of all that the starter starts */
    const char *const *host_of;     /* [ranks of the job] */
};

/* Start the job's ranks through the starter and stay until the end. others: NULL, all ranks are on this host.
 * Output of the ranks goes to our stdout and stderr, the reason of a failure to stderr, rank 0's result to
 * stdout. *exit_code is the job's, *ending how it came to that; an error only when nothing could be started.
 * The caller has opened the job and started the janitor. */
int ddp_supervise_job(const struct ddp_starter *starter, const struct ddp_job *job,
                      const struct ddp_elsewhere *others, bool quiet, int *exit_code,
                      struct ddp_ending *ending, struct ddp_error *err);

#endif
