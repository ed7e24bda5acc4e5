/* The agents behind this one: above launch.fanout hosts, those of the other hosts reach the head through an
 * agent, which passes on what they say and are told (wire.h). It reads none of it. When one of them is gone
 * the head hears why; when the head or this agent is gone, their wires end, and they clean up. */
#ifndef DDP_LAUNCHER_BRANCH_H
#define DDP_LAUNCHER_BRANCH_H

#include "launcher/wire.h"

struct ddp_twig { /* who has connected */
    struct ddp_wire wire;
    int number;   /* that the head knows it by; -1: it has not said who it is */
    double until; /* .. and has to, by then */
    bool told;    /* the head has heard that it is gone */
};

struct ddp_branch {
    int listener; /* -1: there is none */
    char token[33];
    int n, expected;
    struct ddp_twig *twig; /* [n] */
};

/* Make ready for `expected` agents that know the token. *port: where they are to connect to. */
int ddp_branch_open(struct ddp_branch *b, int expected, const char *token, int *port, struct ddp_error *err);
/* Let go what is queued for them and close their wires. Zeroed is not fine, .listener -1 is. */
void ddp_branch_close(struct ddp_branch *b);

/* Descriptors to poll, and what they have brought: passed on to the head. */
int ddp_branch_watches(const struct ddp_branch *b);
int ddp_branch_watch(const struct ddp_branch *b, struct pollfd *fds);
void ddp_branch_woken(struct ddp_branch *b, const struct pollfd *fds, struct ddp_wire *head);

/* A frame of the head's for one of them (DDP_WIRE_PASSED). */
void ddp_branch_pass(struct ddp_branch *b, const struct ddp_frame *frame, struct ddp_wire *head);

#endif
