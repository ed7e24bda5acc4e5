/* One job: its name, its private folder, and what its ranks are started with.
 *
 * The folder is there for starters that want one. It holds all that they and their ranks put on disk or in
 * /dev/shm, so that removing it removes all. It carries a lock file that the launcher and the janitor hold
 * for life: a folder whose lock is free is a leftover. */
#ifndef DDP_LAUNCHER_JOB_H
#define DDP_LAUNCHER_JOB_H

#include <limits.h>

#include "launcher/plan.h"

#define DDP_JOB_PREFIX "ddp-job-"

struct ddp_job_host {
    char *name;
    int ranks;
};

/* Of a run whose record (run.json) a rank on this host writes: for the janitor, who closes it when nobody
 * else is left to. */
struct ddp_job_record {
    int pid; /* of the rank; 0: there is none */
    char run[PATH_MAX];
};

struct ddp_job {
    char name[64];        /* of the supervision socket and the folder; the tag in every rank's environment */
    char dir[PATH_MAX];   /* private folder; "" none */
    char fresh[PATH_MAX]; /* its name until the lock is held */
    char topology[PATH_MAX]; /* XML of the machine inside it; "" none */
    char host[256];
    char program[PATH_MAX];  /* what the ranks run */
    char launcher[PATH_MAX]; /* this program */
    double started;          /* ddp_now() at launch */
    int lock;                /* descriptor of the lock file; -1: no folder was made */
    int ranks;
    bool evaluates;     /* and saves nothing (--eval) */
    double grace;       /* seconds from a request to stop to the death of who has not; HUGE_VAL: no limit */
    double stuck_after; /* launch.stuck_after */
    int fanout;         /* launch.fanout */
    int nhosts;         /* 0: this one */
    struct ddp_job_host *host_list; /* [nhosts] in the order of their first ranks */
    bool by_node;                   /* ranks go round the hosts */
    char network[64];               /* that all hosts can reach, "10.77.0.0/24"; "" not known */
    struct ddp_words args;          /* of the ranks' program: CONFIG overrides... */
    struct ddp_words env;           /* NAME=VALUE to add to the environment */
    int config_file;                /* descriptor of ddp_job_hand_config; 0: none */
    char *config;                   /* resolved, as text: what all ranks train, whatever becomes of CONFIG */
    struct ddp_job_record *record;  /* in memory that the janitor sees; NULL: there is no janitor */
    char again[2 * PATH_MAX];       /* the command that goes on after a stop, up to --resume's value */
};

/* ddp-train lies beside this program; `wanted` (--program; NULL: none) names any other by path, or by name
 * beside us or on PATH. */
int ddp_job_program(const char *wanted, char out[PATH_MAX], struct ddp_error *err);
/* The path of this program; false, and "ddp-launch", where /proc does not tell. */
bool ddp_job_self(char out[PATH_MAX]);
/* Fill in all that needs no folder. cfg: of opt->config and opt->overrides. argc, argv: the user's whole
 * command. started: ddp_now() at launch. */
int ddp_job_describe(int argc, char **argv, const struct ddp_options *opt, const struct ddp_config *cfg,
                     const struct ddp_launch_plan *plan, double started, struct ddp_job *job,
                     struct ddp_error *err);
/* Its ranks are on the plan's hosts, by a starter that reaches all of them. */
void ddp_job_place(struct ddp_job *job, const struct ddp_launch_plan *plan, bool by_node);
/* The command of one rank: the program and its arguments; on several hosts behind what gives it its
 * environment. */
void ddp_job_rank_command(const struct ddp_job *job, struct ddp_words *argv);
/* Say where the private folder will lie. Makes nothing: who cleans up can be started knowing what to
 * clean. */
void ddp_job_locate(struct ddp_job *job, const char *base);
/* Make the private folder where it was located and write the machine's topology (NULL: none is wanted) and
 * the config into it. */
int ddp_job_open(struct ddp_job *job, const struct ddp_machine *m, struct ddp_error *err);
/* Hand the config over where there is no folder: a file in memory that the ranks, our children, inherit. */
int ddp_job_hand_config(struct ddp_job *job, struct ddp_error *err);
/* Remove the folder by both of its names, whatever of it is there; one try. */
void ddp_job_remove(const struct ddp_job *job);
/* Remove the folder that ddp_job_open made, try again while dying processes still write into it. */
void ddp_job_close(struct ddp_job *job);

/* Where private folders lie: /dev/shm when it has room for `bytes`, else TMPDIR or /tmp. */
int ddp_job_base(double bytes, char out[PATH_MAX], struct ddp_error *err);

#endif
