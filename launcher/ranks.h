/* The ranks as the launcher sees them: a socket and a pidfd each, what they said, and how they ended. */
#ifndef DDP_LAUNCHER_RANKS_H
#define DDP_LAUNCHER_RANKS_H

#include <sys/types.h>

#include "launcher/look.h"

struct ddp_rank {
    int number; /* -1 before its hello */
    pid_t pid;
    pid_t parent; /* what started it, when it joined; 0: we, or nobody knows */
    int line;     /* socket; -1 once it is gone */
    int pidfd; /* -1: the kernel has none, or it is our child, whose number is its own until we wait for it */
    bool bye;  /* left cleanly, with `status` */
    bool told_error;
    bool gone;
    int status;                         /* of bye or error */
    int wait_status;                    /* from waitpid, when it became our child; -1 unknown */
    int halted_seen;                    /* consecutive looks that found it stopped by somebody */
    bool calls;                         /* its line may have something to say */
    bool told_gone;                     /* its end is no news any more */
    const struct ddp_pulse_page *pulse; /* what it is doing; NULL: it does not say */
    struct ddp_look look;               /* at that, last */
};

struct ddp_ranks {
    int expected, n;
    bool children;         /* they are ours */
    struct ddp_rank *rank; /* [n] in order of joining */
    int listener;
};

/* Listen on the abstract socket `name` for `expected` ranks. children: they are started by us. */
int ddp_ranks_open(const char *name, int expected, bool children, struct ddp_ranks *out,
                   struct ddp_error *err);
void ddp_ranks_close(struct ddp_ranks *ranks);

/* Take a connection that is waiting. Only processes of our own user, at most `expected`. NULL: none taken. */
struct ddp_rank *ddp_ranks_accept(struct ddp_ranks *ranks);
/* One message, if any is there: 1 and *msg (text NUL-terminated), 0 nothing, -1 the rank is gone. */
int ddp_rank_receive(struct ddp_rank *rank, struct ddp_lifeline_msg *msg);
/* Ask it to stop after the step in hand and save. */
void ddp_rank_stop(struct ddp_rank *rank);
/* Tell it that all ranks of the job are through MPI_Init. */
void ddp_rank_all_met(struct ddp_rank *rank);
/* Tell it of a slow rank (base/slow.h); one that does not listen misses it. */
void ddp_rank_note(struct ddp_rank *rank, const char *text);
/* Hand it the descriptor of the memory in which the ranks of this host meet. */
void ddp_rank_hand(struct ddp_rank *rank, int memory);
/* The rank of that number; NULL: it has not said hello. */
struct ddp_rank *ddp_ranks_find(const struct ddp_ranks *ranks, int number);
void ddp_rank_signal(const struct ddp_rank *rank, int sig);
void ddp_ranks_signal(const struct ddp_ranks *ranks, int sig);

/* "was killed by signal 9 (Killed)", "ended with exit status 3 ..": looked up in /proc while it is a zombie,
 * from the kernel's record (pidfd) or from our own waitpid. Waits up to 0.5 s for it to have ended. buf as
 * snprintf. */
void ddp_rank_death(const struct ddp_rank *rank, char *buf, size_t size);
/* "was killed by signal 9 (Killed)", "ended with exit status 3": a wait status in words. buf as snprintf. */
void ddp_wait_status_text(int status, char *buf, size_t size);

#endif
