/* A job on several hosts: agents are called, say what their hosts have, make ready for ranks, and become the
 * head's. This host, if it is one of them, takes part without an agent of its own. */
#ifndef DDP_LAUNCHER_TEAM_H
#define DDP_LAUNCHER_TEAM_H

#include "launcher/crew.h"
#include "launcher/ending.h"
#include "launcher/facts.h"
#include "launcher/hosts.h"

struct ddp_team {
    int n;       /* hosts; 0: there is no team, the job is on this host alone */
    int *member; /* [n] index in the crew; -1: this host */
    struct ddp_crew crew;
    struct ddp_host_facts *facts; /* [n] once they have been asked for */
    char self[256];
    pid_t answering;       /* our process that answers other hosts; 0: none */
    char network[64];      /* between them, "10.77.0.0/24" or an interface's name; "" not known */
    char (*interface)[64]; /* [n] what each host calls its part of it; "" not known */
};

/* Start agents on the hosts other than this one. */
int ddp_team_call(const struct ddp_starter *starter, const struct ddp_hosts *hosts, struct ddp_team *out,
                  struct ddp_error *err);
/* Fill in .facts, on all hosts at once. whole: read all data; else that is done only where marks differ,
 * which may be of the same data. claim: on this host's cores, to be looked at where it takes part; the
 * caller's. */
int ddp_team_look(struct ddp_team *team, const struct ddp_config *cfg, const char *program, bool writes,
                  bool whole, struct ddp_claim *claim, struct ddp_error *err);

/* Make every host ready for its ranks of the plan, start them and stay until the end, as ddp_supervise_job.
 * job: described and located; what is made on this host is the caller's to remove (ddp_job_close). */
int ddp_team_run(struct ddp_team *team, const struct ddp_starter *starter, const struct ddp_launch_plan *plan,
                 struct ddp_job *job, bool quiet, int *exit_code, struct ddp_ending *ending,
                 struct ddp_error *err);

void ddp_team_dismiss(struct ddp_team *team); /* zeroed is fine */

#endif
