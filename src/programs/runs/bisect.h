/* The op at which two runs part: both are done again, from the last checkpoint in which they are equal, with
 * a record of what each op computes (probe.from), up to the step from which on their records differ; then the
 * two records are followed op by op. Then that step once more, for the values.
 *
 *   records of A and B      ->  they part after step E, by step F          (verdict.h)
 *   their checkpoints       ->  the last C <= E that has the same bytes in both; else the start
 *   A and B again           ->  A', B': steps C+1 .. F, probed from E on
 *   A' and A, B' and B      ->  whether what was recorded came out again
 *   probes of A' and B'     ->  the first op that differs                  (probed.h)
 *
 * The old runs are only read. */
#ifndef DDP_RUNS_BISECT_H
#define DDP_RUNS_BISECT_H

#include "again.h"
#include "probed.h"
#include "verdict.h"

enum { DDP_BISECT_A, DDP_BISECT_B, DDP_BISECT_SIDES };

struct ddp_bisect_options {
    const char *programs[DDP_BISECT_SIDES]; /* folders of ddp-launch and ddp-train that do the sides again */
    const char *program;                    /* of the user's own, of both; NULL: as recorded */
    int ranks;                              /* 0: as many as each had */
    const char *dir;                        /* where the new runs are to lie */
    const char *const *words;               /* keys that change no result, of both */
    int nwords;
    /* told of each thing as it is done; NULL: nobody */
    void (*say)(const char *line);
};

enum ddp_bisect_end {
    DDP_BISECT_EQUAL,   /* their records are: nothing was done again */
    DDP_BISECT_NO_STEP, /* they part in no training step (evaluations alone), or have no record in common */
    DDP_BISECT_MISSING, /* at least one cannot be done here */
    DDP_BISECT_RUN_FAILED, /* a run that was done again ended with `code` */
    DDP_BISECT_AGREE,      /* done again, both have the same bits */
    DDP_BISECT_FOUND       /* parting */
};

struct ddp_bisect_side {
    const struct ddp_past *run;
    struct ddp_again checks; /* of what it needs */
    char isa[16];            /* what it is done again with, DDP_ISA; "": as the program chooses */
    bool possible, done;
    char made[2048];    /* the new run */
    int64_t other_step; /* from which on its records are not those of the old one; -1: all came out */
};

struct ddp_bisect {
    enum ddp_bisect_end end;
    struct ddp_verdict verdict; /* of the old records */
    struct ddp_bisect_side side[DDP_BISECT_SIDES];
    int64_t checkpoint; /* step of the last one in which they are equal; 0: none */
    int64_t from, to;   /* steps that were probed */
    struct ddp_probed probed[DDP_BISECT_SIDES];
    struct ddp_parting parting;
    bool has_element;
    struct ddp_element element;
    bool crossed; /* one was done again, and has the bits of the other one's record */
    int code;     /* of a run that failed */
    char note[4][512];
    int nnotes;
};

/* a, b: whole, and there until finish. DDP_E_USAGE: words of keys that change results; DDP_E_DATA: records
 * that lack what is needed; DDP_E_IO. */
int ddp_bisect_run(const struct ddp_past *a, const struct ddp_past *b, const struct ddp_bisect_options *opt,
                   struct ddp_bisect *out, struct ddp_error *err);
void ddp_bisect_finish(struct ddp_bisect *b);

/* bisect_look.c: the last step before `before` of which both have a checkpoint, with the same bytes; 0:
 * none. */
int64_t ddp_bisect_checkpoint(const struct ddp_past *a, const struct ddp_past *b, int64_t before);
/* The instruction set that a run was made with, where the program here would take another that includes it;
 * "" else. about: what the program says of itself, may be NULL. */
void ddp_bisect_isa(const struct ddp_past *p, const char *here, char isa[16]);

/* bisect_json.c */
json_t *ddp_bisect_json(const struct ddp_bisect *b);

#endif
