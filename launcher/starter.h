/* What starts the ranks: the launcher itself on one host, or a program such as mpirun. A starter knows how to
 * write the command and what its program prints about itself; the launcher spawns it, supervises the ranks
 * and decides what happened. */
#ifndef DDP_LAUNCHER_STARTER_H
#define DDP_LAUNCHER_STARTER_H

#include "launcher/job.h"

struct ddp_starter {
    const char *name; /* program that is started, found on PATH; of a direct one, what it is called */
    bool direct;      /* the command is that of one rank: we start as many, and tell each DDP_RANK */
    bool folder;      /* the job needs its private folder */
    bool forks;       /* on one host its program is the parent of the ranks */

    /* Is the program there, does it run, is it one that we know? NULL: nothing to check. */
    int (*check)(struct ddp_error *err);
    /* The whole command, and NAME=VALUE to add to the environment besides the job's own; NAME alone removes
     * it. */
    void (*command)(const struct ddp_job *job, struct ddp_words *argv, struct ddp_words *env);
    /* The command that starts `agent` (a program and its arguments) once on each of these hosts, with the
     * variable DDP_AGENT_TOKEN of env. NULL: it starts nothing on other hosts. */
    void (*agents)(const struct ddp_words *hosts, const struct ddp_words *agent, struct ddp_words *argv,
                   struct ddp_words *env);

    /* The next three are NULL where all output is the ranks'. */

    /* Whether a block of lines, as cut by `block_line`, is the program's own talk and not a rank's. */
    bool (*is_own_block)(const char *text);
    /* A line (without newline) that both opens and closes such a block. */
    bool (*is_block_line)(const char *line, size_t n);
    /* A line of its own outside of blocks. */
    bool (*is_own_line)(const char *line);

    /* Signals: the program is never sent any but SIGKILL, this long after its ranks are dead. (mpirun starts
     * its own kill sequence on TERM, INT and HUP, and a second one makes it exit at once and orphan its
     * ranks.) */
    int kill_after_ms;
};

extern const struct ddp_starter ddp_starter_local, ddp_starter_mpirun, ddp_starter_srun;

/* The starter of that name; NULL: there is none. */
const struct ddp_starter *ddp_starter_find(const char *name);
/* Whether --starter may be this: a starter's name, or "auto". */
bool ddp_starter_known(const char *name);
/* The one of that name. NULL and "auto": on this host the launcher itself, with others (hosts besides this
 * one) srun inside a job of Slurm that has PMIx, else mpirun. */
const struct ddp_starter *ddp_starter_choose(const char *name, bool others);

#endif
