/* A rank's line to ddp-launch: an abstract SEQPACKET socket named by DDP_SUPERVISE, joined before MPI_Init.
 * Without the variable every call does nothing: the rank runs under a user's own mpirun, or alone. */
#ifndef DDP_BASE_SUPERVISE_H
#define DDP_BASE_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>

enum ddp_supervise_kind {
    DDP_SUPERVISE_HELLO = 1, /* rank -> launcher: rank, pid */
    DDP_SUPERVISE_ERROR,  /* rank -> launcher: the reason, in text; value is the exit status it will end with
                           */
    DDP_SUPERVISE_RESULT, /* rank 0 -> launcher: text "run: ...\nweights: ..." for its last two lines */
    DDP_SUPERVISE_BYE,    /* rank -> launcher: leaving cleanly with exit status `value` */
    DDP_SUPERVISE_STOP,   /* launcher -> rank: stop after this step, save, exit 75 */
    DDP_SUPERVISE_SAVED,  /* rank 0 -> launcher: state is saved (text: where) */
};

enum { DDP_SUPERVISE_TEXT = 8192 };

struct ddp_supervise_msg { /* one packet, possibly cut after the text's end */
    uint32_t kind;
    int32_t rank;
    int32_t pid;
    int32_t value;
    char text[DDP_SUPERVISE_TEXT];
};

/* First statement of a rank's main(): arm PR_SET_PDEATHSIG (SIGKILL), connect, say hello. Ends the process
 * (status 111) when the launcher is gone already. Rank number from OMPI_COMM_WORLD_RANK, PMI_RANK or
 * SLURM_PROCID, 0 without. */
void ddp_supervise_join(void);
/* True once the launcher has asked for a stop (or, without launcher, SIGTERM/SIGINT/SIGUSR1 was caught: join
 * installs the handlers). Cheap; ends the process (status 112) when the launcher is gone. */
bool ddp_supervise_stop_requested(void);
void ddp_supervise_error(int status, const char *text);
void ddp_supervise_result(const char *run_dir, const char *weights_hash);
/* The state is saved under run_dir: what --resume takes. */
void ddp_supervise_saved(const char *run_dir);
void ddp_supervise_bye(int status);
/* Whether a launcher listens. */
bool ddp_supervise_active(void);

#endif
