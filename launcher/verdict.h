/* What happened, in words and as an exit code: a pure function of what supervision saw. */
#ifndef DDP_LAUNCHER_VERDICT_H
#define DDP_LAUNCHER_VERDICT_H

#include "base/base.h"

enum { DDP_OUTCOME_ALL = -2 };

struct ddp_outcome {
    int ranks, joined;
    int byes;        /* ranks that left cleanly .. */
    int stopped;     /* .. of them with status 75 */
    int stop_signal; /* first signal that asked for a stop; 0 none */
    bool evaluates;  /* there was nothing to save (--eval) */
    bool killed;     /* a second one followed */
    struct {
        bool known;
        bool error;     /* it said why (reason is its text); else reason says how it ended */
        bool cut;       /* .. and that is only that it cannot reach others, which may have ended */
        bool lost;      /* no rank but a host has failed */
        int rank;       /* -1: died before it said which; DDP_OUTCOME_ALL: reason is of all */
        int status;     /* exit status that it announced; 0 none */
        char host[256]; /* of whom the agent speaks; "": the launcher's own */
        char reason[DDP_LIFELINE_TEXT];
    } failure;                      /* the first */
    char late[4096];                /* who had not stopped in time and was killed (late.h); "" nobody */
    double grace;                   /* seconds that they had */
    int starter_status;             /* from waitpid */
    bool starter_killed;            /* by us */
    char result[DDP_LIFELINE_TEXT]; /* the last two lines; "" none came */
    char saved[DDP_LIFELINE_TEXT];  /* where the state was saved; "" nowhere */
    char run[DDP_LIFELINE_TEXT];    /* the run directory whose record is open; "" none */
    int run_pid;                    /* of the process that writes it, on its host */
    char memory[1024];              /* of ddp_oom_word */
    const char *const *host_of;     /* [ranks]; NULL: all on one */
    const char *again;              /* command up to --resume's value; NULL: not known */
};

/* Note a failure of a rank on `host`. The first counts; one that gives its reason replaces one that only
 * ended, and everything replaces that another could not be reached: MPI may tell of a death sooner than the
 * host on which it happens. rank: -1 unknown, DDP_OUTCOME_ALL; status: exit status that it announced, 0
 * none. */
void ddp_outcome_fail(struct ddp_outcome *o, const char *host, int rank, bool error, int status,
                      const char *reason);
/* A rank ends because it cannot reach others: the reason until there is a better one. */
void ddp_outcome_cut(struct ddp_outcome *o, const char *host, int rank, int status, const char *reason);
/* A host is gone, for this reason. Ranks elsewhere may have died of it before we knew. */
void ddp_outcome_lose(struct ddp_outcome *o, const char *host, const char *reason);

/* Lines for stderr go to *say (each with newline; none when all is well). starter_text: what the starter's
 * program printed itself; tail: the ranks' last lines where they were not shown (--quiet), else "". Returns
 * the exit code. */
int ddp_verdict(const struct ddp_outcome *o, const char *host, const char *starter, const char *starter_text,
                const char *tail, struct ddp_text *say);

/* "SIGINT". Static. */
const char *ddp_signal_name(int sig);

#endif
