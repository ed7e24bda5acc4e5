/* Looking at this host for a job of another one's (facts.h), in a process of its own: with the environment
 * that ranks will have, since that decides which plug-ins and libraries are found (LD_LIBRARY_PATH,
 * DDP_CUDA_PLUGIN), and so that a driver that hangs or crashes takes no agent with it. */
#ifndef DDP_LAUNCHER_INSPECT_H
#define DDP_LAUNCHER_INSPECT_H

#include <jansson.h>

#include "base/base.h"

#define DDP_INSPECT_OPTION "--inspect"

/* What the task asks for (config, program, folder, runs, marker, whole), with the words of its `env`. *facts:
 * a new reference, without the machine (ddp_facts_machine). DDP_E_RESOURCE: the process cannot be started,
 * ended without an answer, or had none after limit_s; what it said last. */
int ddp_inspect(const json_t *task, double limit_s, json_t **facts, struct ddp_error *err);
/* "ddp-launch --inspect FD": the task is in that descriptor, the facts go to stdout. argv: the words behind
 * --inspect. Returns the exit status. */
int ddp_inspect_main(int argc, char **argv);

#endif
