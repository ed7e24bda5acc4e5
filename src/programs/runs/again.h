/* How to do a recorded run again: with which command, and what of it is not as it was. */
#ifndef DDP_RUNS_AGAIN_H
#define DDP_RUNS_AGAIN_H

#include "past.h"

struct ddp_again_options {
    const char *programs;   /* folder of ddp-launch and ddp-train */
    const char *program;    /* of the user's own; NULL: that of the record, if it was one */
    int ranks;              /* 0: as many as it had */
    int64_t upto;           /* steps; 0: as far as it came */
    const char *checkpoint; /* to begin from; NULL: as it began itself */
    bool quiet;
    const char *dir;          /* where the new run is to lie */
    const char *const *words; /* KEY=VALUE of keys that change no result: data.root=/data */
    int nwords;
};

enum ddp_again_grade {
    DDP_AGAIN_SAME,   /* as it was */
    DDP_AGAIN_OTHER,  /* it is another: bits may differ */
    DDP_AGAIN_MISSING /* without it the run cannot be done, or its bits cannot come out */
};

struct ddp_again_check {
    enum ddp_again_grade grade;
    char *what, *says; /* "training data", "3490.. as recorded" */
};

struct ddp_again {
    char **word; /* the command, NULL behind it */
    int words;
    struct ddp_again_check *check;
    int checks;
    bool same_program; /* the bytes that made the record */
    int64_t steps;     /* that it is to make */
    char isa[16];      /* of the kernels that the program here would take; "": it does not say */
    char temp[256];    /* a folder to remove afterwards; "": none */
};

/* p: whole. DDP_E_USAGE: words of keys that change results; DDP_E_DATA: a record that lacks what is needed.
 * What is missing is no error: it is in the checks. */
int ddp_again_plan(const struct ddp_past *p, const struct ddp_again_options *opt, struct ddp_again *out,
                   struct ddp_error *err);
void ddp_again_finish(struct ddp_again *a); /* removes temp */
int ddp_again_missing(const struct ddp_again *a);

/* again_run.c: do it, and wait. Its exit code; run[size]: what it made, or "". show: its output is passed on.
 * Requests to stop are passed on to it once ddp_again_signals() was called; it saves, and ends with 75. */
void ddp_again_signals(void);
int ddp_again_run(char *const *words, bool show, char *run, size_t size);
/* The folder that this program is in. */
int ddp_again_own_folder(char *out, size_t size, struct ddp_error *err);

/* Adds a check. fmt: what it says. */
void ddp_again_note(struct ddp_again *a, enum ddp_again_grade grade, const char *what, const char *fmt, ...)
    DDP_PRINTF(4, 5);
/* again_program.c: the program of the user's own that does it again, NULL: ddp-train; and a check of it,
 * false where there is none. */
const char *ddp_again_program(const struct ddp_past *p, const struct ddp_again_options *opt);
bool ddp_again_check_program(const struct ddp_past *p, const struct ddp_again_options *opt,
                             struct ddp_again *a);
/* again_config.c: config.cfg, read into cfg with words that change no result, against the recorded hash and
 * config.json. False: it is another, which is noted. After check_code, for same_program. */
struct ddp_config;
bool ddp_again_check_config(const struct ddp_past *p, const struct ddp_config *cfg, struct ddp_again *a);
/* again_data.c: the config of the run, and the data by it and words, read and hashed, against the record. */
void ddp_again_check_data(const struct ddp_past *p, const struct ddp_again_options *opt, struct ddp_again *a);

#endif
