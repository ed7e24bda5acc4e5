/* The agent of another host as a process: "ddp-launch --agent ADDRESS.. PORT", started there by a starter,
 * not by users. It connects to the head, shows the job's token (environment variable DDP_AGENT_TOKEN), does
 * the tasks that it is given (agent_tasks.h), and once its ranks are expected it is a local agent whose news
 * and orders travel. When the head is gone it ends the ranks, cleans up and ends. */
#ifndef DDP_LAUNCHER_AGENT_MAIN_H
#define DDP_LAUNCHER_AGENT_MAIN_H

#define DDP_AGENT_OPTION "--agent"
#define DDP_AGENT_TOKEN  "DDP_AGENT_TOKEN"

/* argv: the words behind --agent. Returns the exit status. */
int ddp_agent_main(int argc, char **argv);

#endif
