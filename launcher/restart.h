/* --restarts: a job that has failed goes on from its last checkpoint, with the hosts that are left. The bits
 * do not depend on the number of ranks, so that what comes out is what would have. */
#ifndef DDP_LAUNCHER_RESTART_H
#define DDP_LAUNCHER_RESTART_H

#include <limits.h>

#include "launcher/ending.h"
#include "launcher/hosts.h"
#include "launcher/options.h"

struct ddp_restart {
    char run[PATH_MAX];       /* to go on from; "" from the beginning */
    struct ddp_words lost;    /* hosts that were lost, ever */
    struct ddp_words without; /* .. those of them that are not back */
};

/* Whether a job that ended so is worth another try: a rank or a host failed; not where its config, its data
 * or a resource is at fault, nor after a request to end. */
bool ddp_restart_helps(int exit_code, const struct ddp_ending *ending);

/* Decide how to go on after `ending`, and change *opt accordingly: --resume, hosts to do without, ranks that
 * the rest can hold. Tries the hosts that were lost. What is decided is added to say, a line. */
void ddp_restart_prepare(struct ddp_restart *r, const struct ddp_ending *ending, struct ddp_options *opt,
                         struct ddp_text *say);
void ddp_restart_finish(struct ddp_restart *r);

#endif
