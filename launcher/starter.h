/* What starts the ranks: mpirun today, srun and hosts later. A starter knows how to write the command and
 * what its program prints about itself; the launcher spawns it, supervises the ranks and decides what
 * happened. */
#ifndef DDP_LAUNCHER_STARTER_H
#define DDP_LAUNCHER_STARTER_H

#include "launcher/job.h"

struct ddp_starter {
    const char *name; /* program that is started, found on PATH */

    /* Is the program there, does it run, is it one that we know? */
    int (*check)(struct ddp_error *err);
    /* The whole command, and NAME=VALUE to add to the environment besides the job's own. */
    void (*command)(const struct ddp_job *job, struct ddp_words *argv, struct ddp_words *env);

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

extern const struct ddp_starter ddp_starter_mpirun;

#endif
