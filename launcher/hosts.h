/* The hosts of a job and what each has to give: named on the command line or in a file, or those of the
 * scheduler's job that this process runs in. Names are kept as they were written; nothing is looked up. */
#ifndef DDP_LAUNCHER_HOSTS_H
#define DDP_LAUNCHER_HOSTS_H

#include "launcher/hostlist.h"

struct ddp_host {
    char *name;
    int slots; /* ranks that the list gives it; 0: not said, what the host has decides */
    int cpus;  /* CPUs there that are the job's; 0: not said */
    int gpus;  /* GPUs there that are the job's; -1: not said */
};

struct ddp_hosts {
    int n;                 /* 0: nobody named any, the job runs here */
    struct ddp_host *host; /* [n] in the order in which they were first named, each name once */
    bool allocated;        /* a scheduler gave them: its slots are a proposal, those of a list a limit */
    char from[160];        /* "-H", "--hostfile FILE", "Slurm job 1234": for messages */
};

/* -H: "n0:4,n1:4", "n[0-3]:2", "n0,n0,n1" (a name that comes again without a number is a slot each time, as
 * with mpirun). All errors name the text, the place in it and how it is written. */
int ddp_hosts_parse(const char *list, struct ddp_hosts *out, struct ddp_error *err);

/* --hostfile: a line for each host, '#' begins a comment:
 *
 *   n0                     as many ranks as it has GPUs or cores
 *   n1 slots=4             Open MPI's form; max_slots=N is a limit on slots
 *   n2:4                   MPICH's
 *   n3 4                   LSF's
 *   n[004-007] slots=2     names in brackets, in each form
 *
 * A name that comes again adds slots. */
int ddp_hosts_read(const char *path, struct ddp_hosts *out, struct ddp_error *err);

/* The hosts of the job that a scheduler started this process in: Flux, Slurm, LSF or PBS, by the variables
 * that it set. env: "NAME=value" words, NULL at the end (environ). out->n = 0: in no job. Errors name the
 * variable. In a job of Flux, "flux kvs get resource.R" is run. */
int ddp_hosts_allocated(const char *const *env, struct ddp_hosts *out, struct ddp_error *err);

void ddp_hosts_finish(struct ddp_hosts *hosts);

/* Whether `name` means the host whose own name is `self`: the same name, or one of them is the other's first
 * part ("n0" and "n0.cluster"), or a name of every host for itself ("localhost", "127.0.0.1"). */
bool ddp_host_is_self(const char *name, const char *self);

#endif
