/* A rank's line to ddp-launch: an abstract SEQPACKET socket named by DDP_LIFELINE, joined before MPI_Init.
 * Without the variable every call does nothing: the rank runs under a user's own mpirun, or alone. */
#ifndef DDP_BASE_LIFELINE_H
#define DDP_BASE_LIFELINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slow.h"

enum ddp_lifeline_kind {
    DDP_LIFELINE_HELLO = 1, /* rank -> launcher: rank, pid, with a descriptor of its pulse (pulse.h) */
    DDP_LIFELINE_ERROR,     /* rank -> launcher: the reason, in text; value: the exit status to come */
    DDP_LIFELINE_RESULT,    /* rank 0 -> launcher: text "run: ...\nweights: ..." for its last two lines */
    DDP_LIFELINE_BYE,       /* rank -> launcher: leaving cleanly with exit status `value` */
    DDP_LIFELINE_STOP,      /* launcher -> rank: stop after this step, save, exit 75 */
    DDP_LIFELINE_SAVED,     /* rank 0 -> launcher: state is saved (text: where) */
    DDP_LIFELINE_MEMORY,    /* launcher -> rank: with the descriptor that ddp_lifeline_memory returns */
    DDP_LIFELINE_RUN,       /* rank 0 -> launcher: text: the run directory, from now on this job's to close */
    DDP_LIFELINE_SLOW,      /* launcher -> rank 0: text: a slow rank (slow.h) */
    DDP_LIFELINE_ASKED,     /* rank -> launcher: signal `value`, which it was sent, asks for a stop of all */
    DDP_LIFELINE_NOTICE,    /* rank 0 -> launcher: text: what the user is told even when quiet */
    DDP_LIFELINE_CUT, /* as ERROR of a rank that cannot reach others: they may have ended, or their host */
    DDP_LIFELINE_MET, /* rank -> launcher: through MPI_Init, waits for ALL_MET */
    DDP_LIFELINE_ALL_MET, /* launcher -> rank: all ranks of the job are */
};

enum { DDP_LIFELINE_TEXT = 8192 };

struct ddp_lifeline_msg { /* one packet, possibly cut after the text's end */
    uint32_t kind;
    int32_t rank;
    int32_t pid;
    int32_t value;
    char text[DDP_LIFELINE_TEXT];
};

/* First statement of a rank's main(): arm PR_SET_PDEATHSIG (SIGKILL), connect, say hello. Ends the process
 * (status 111) when the launcher is gone already. Rank number from DDP_RANK, OMPI_COMM_WORLD_RANK,
 * PMI_RANK or SLURM_PROCID, 0 without. */
void ddp_lifeline_join(void);
/* Wait for the memory that a launcher which starts the ranks itself hands to all of them, as its answer to
 * hello: one anonymous file, empty at first. A descriptor, the caller's to close; once. -1: there is no
 * launcher. Only for ranks that were told DDP_RANKS. */
int ddp_lifeline_memory(void);
/* This rank is through MPI_Init: wait until the launcher says that all ranks are. Whoever sends before may
 * reach one that is not ready: MPI_Init is meant to end with a barrier, but in a step of Slurm's on a busy
 * machine it lets some ranks out while others are at its first one. Returns at once without a launcher. */
void ddp_lifeline_meet(void);
/* True once the launcher has asked for a stop, or a signal has, sent to this very process: join catches them
 * (base/stop.h) and tells the launcher. One rank that is asked stops the job. Cheap; ends the process (status
 * 112) when the launcher is gone. */
bool ddp_lifeline_stop_requested(void);
/* The next slow rank that the launcher has told of, as far as ddp_lifeline_stop_requested() has heard; false:
 * none. The oldest are lost where nobody asks. */
bool ddp_lifeline_slow(struct ddp_slow_rank *out);
void ddp_lifeline_error(int status, const char *text);
/* The same where the reason is that another rank cannot be reached, so that its end is one's own. */
void ddp_lifeline_cut(int status, const char *text);
/* Wait for the launcher to end this process, no longer than `seconds`; returns at once without one. */
void ddp_lifeline_wait(double seconds);
void ddp_lifeline_result(const char *run_dir, const char *weights_hash);
/* The state is saved under run_dir: what --resume takes. */
void ddp_lifeline_saved(const char *run_dir);
/* This run directory's record is open: whoever sees this job end closes it. */
void ddp_lifeline_run(const char *run_dir);
/* Tell the user, also where a launcher keeps the ranks' output back. */
void ddp_lifeline_notice(const char *text);
void ddp_lifeline_bye(int status);
/* Whether a launcher listens. */
bool ddp_lifeline_active(void);

#endif
