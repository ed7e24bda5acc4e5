/* The command line of ddp-launch. */
#ifndef DDP_LAUNCHER_OPTIONS_H
#define DDP_LAUNCHER_OPTIONS_H

#include "launcher/batch.h"

struct ddp_options {
    int answer;    /* DDP_OPTION_HELP, _VERSION or _MAN: print it and end; 0: none of them */
    int reference; /* DDP_OPTION_HELP_CONFIG or _HELP_LAYERS; 0: neither */
    bool markdown; /* with the latter */
    bool print_config, map, dry_run; /* print and end */
    bool quiet;
    enum { DDP_CHECK_SHORT = 1, DDP_CHECK_FULL } check; /* --check: look, print and end; 0: start */
    bool relock;                         /* go on with a plan lock of another GPU or library version */
    bool by_node;                        /* --map-by node */
    int restarts;                        /* --restarts: tries after the first */
    struct ddp_words without;            /* hosts that a restart does without; not this struct's own */
    int ranks;                           /* -n; 0: as many as make sense */
    const char *hosts, *hostfile;        /* -H, --hostfile; NULL: not given */
    const char *help_key;                /* of the reference; NULL: all */
    const char *config;                  /* CONFIG */
    const char *resume, *eval, *program; /* NULL: not given */
    const char *starter;                 /* a name that ddp_starter_find knows; NULL: not given */
    struct ddp_batch_wishes batch;       /* --batch and its own options */
    struct ddp_words overrides; /* key=value in the order given; --threads, --bind, --tune among them */
};

/* Read argv. Errors (DDP_E_USAGE) name the option and the nearest known one. Strings point into argv. */
int ddp_options_parse(int argc, char **argv, struct ddp_options *out, struct ddp_error *err);
void ddp_options_finish(struct ddp_options *opt);

/* The options that start the same ranks in the same way again, added to words: those of hosts, starter,
 * program and restarts. What is trained, and how many ranks, is the caller's to say. */
void ddp_options_again(const struct ddp_options *opt, struct ddp_words *words);

#endif
