/* What the agent of another host does before its ranks are there: tasks and answers as JSON objects, one
 * answer for each task.
 *
 *   do      with                                         answer
 *   facts   config, program, folder, runs, marker,       facts: what facts.h says of the host, took: seconds
 *           whole, env, limit
 *   answer  token, host                                  port: where it answers those that try to reach it
 *   reach   token, peers, limit                          reached: as ddp_reach_try says
 *   measure token, address, port                         latency: seconds, rate: bytes a second
 *   branch  expected                                     port: where agents that are behind this one connect
 *   move    addresses, port, number                      moved: whether it now reaches the head through the
 *                                                        agent there
 *   open    job, host, base, ranks, pus, config, env     ready: true; the ranks may come now
 *
 * An answer that holds "error" (text) and "code" is a failure. */
#ifndef DDP_LAUNCHER_AGENT_TASKS_H
#define DDP_LAUNCHER_AGENT_TASKS_H

#include <jansson.h>

#include "launcher/agent_local.h"
#include "launcher/branch.h"
#include "launcher/janitor.h"
#include "launcher/oom.h"

struct ddp_agent_desk {     /* what an agent has on its hands */
    char token[33];         /* the job's */
    struct ddp_job job;     /* its host's part; .name "" until the ranks are expected */
    struct ddp_claim claim; /* on its host's cores: looked at for the facts, then held for the ranks */
    struct ddp_oom memory;  /* as its counters stood when the ranks were expected */
    struct ddp_janitor janitor;
    struct ddp_branch branch;      /* agents behind this one */
    struct ddp_wire moved, old;    /* .fd -1: none: the new way to the head, and what it was */
    bool dismissed;                /* by the head; else it is lost when the wire ends */
    pid_t answering;               /* the process that answers other hosts; 0: none */
    struct ddp_local_agent *agent; /* NULL until then */
};

#define DDP_AGENT_DESK                                                                                       \
    {                                                                                                        \
        .job.lock = -1, .claim.folder = -1, .branch.listener = -1, .moved.fd = -1, .old.fd = -1              \
    }

/* Do it. The answer is a new reference. */
json_t *ddp_agent_task(struct ddp_agent_desk *desk, const json_t *task);
/* Kill what is left and remove what was made. */
void ddp_agent_clear(struct ddp_agent_desk *desk);

#endif
