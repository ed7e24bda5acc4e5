/* The agent of this process. */
#ifndef DDP_LAUNCHER_AGENT_LOCAL_H
#define DDP_LAUNCHER_AGENT_LOCAL_H

#include "launcher/agent.h"
#include "launcher/starter.h"

struct ddp_local_agent;

/* Listen for `ranks` ranks of this host and start them through the starter: all of the job's, or with a
 * program that starts those of other hosts as well. starter NULL: one on another host starts them; its end is
 * heard by DDP_ORDER_NO_STARTER. mask: signals that what is started shall have blocked; quiet: keep the tail
 * of the output, show none. starter and job stay the caller's and must live as long. Makes this process the
 * reaper of what its children leave behind. */
int ddp_local_agent_create(const struct ddp_starter *starter, const struct ddp_job *job, int ranks,
                           const sigset_t *mask, bool quiet, struct ddp_local_agent **out,
                           struct ddp_error *err);
/* It as one of the job's agents, which also destroys it. */
struct ddp_agent *ddp_agent_here(struct ddp_local_agent *a);

/* Whether all its ranks have said goodbye. */
bool ddp_local_agent_well(const struct ddp_local_agent *a);

/* Kill the daemons of MPI's launcher that have started ranks here: with the host of mpirun gone they would
 * wait for it for minutes. */
void ddp_local_agent_kill_daemons(const struct ddp_local_agent *a);
/* The same for one process; nothing is done to one that is no such daemon. */
void ddp_daemon_kill(pid_t pid);

/* A line of the head's own on stderr, behind what the ranks have printed; never waits for the reader. */
void ddp_local_agent_say(struct ddp_local_agent *a, const char *line);
/* Nothing more is read: what is held of a line counts as one. */
void ddp_local_agent_end_output(struct ddp_local_agent *a);
/* Write all output that is still held, however long the reader takes. */
void ddp_local_agent_flush(struct ddp_local_agent *a);

/* Whether the cursor on stderr stands in a line of a rank's, behind a progress bar. */
bool ddp_local_agent_midline(const struct ddp_local_agent *a);
/* What the starter's program said itself; the ranks' last lines on stderr. The agent's own. */
const char *ddp_local_agent_starter_text(const struct ddp_local_agent *a);
const char *ddp_local_agent_last_lines(const struct ddp_local_agent *a);

#endif
