/* The way of the ranks' output to ours, less what the starter's program says about itself, which is kept for
 * the case that nothing else explains a failure. Lines that several ranks print become one (fold.h). Where
 * each rank has pipes of its own, rank 0's output goes on unchanged, and parts of its lines at once (progress
 * bars, prompts), that of the others in whole lines that begin with "rank 3: ". */
#ifndef DDP_LAUNCHER_RELAY_H
#define DDP_LAUNCHER_RELAY_H

#include "launcher/fold.h"
#include "launcher/starter.h"

struct ddp_relay {
    const struct ddp_starter *starter;
    struct ddp_fold *fold;
    int from;     /* descriptor; -1 after its end */
    int rank;     /* whose output it is; -1: that of several */
    bool midline; /* part of the line in hand has been passed on */
    bool in_block;
    bool hurry;            /* read all there is, however slowly our output is taken */
    struct ddp_text line;  /* read, not yet judged */
    struct ddp_text block; /* lines since a block began */
    struct ddp_text *own;  /* where the starter's own text goes; shared by both streams */
};

/* rank: that of a direct starter; of others all ranks' output comes here. */
void ddp_relay_init(struct ddp_relay *r, const struct ddp_starter *starter, int from, int rank,
                    struct ddp_fold *fold, struct ddp_text *own);
void ddp_relay_finish(struct ddp_relay *r); /* closes `from` */

/* What to poll for: reading, unless our reader has not taken what came before (so that a stuck terminal holds
 * up the ranks, not supervision); fd -1 then. */
struct pollfd ddp_relay_poll(const struct ddp_relay *r);
/* Read what is there and hand it on. After poll said so, or at any time. */
void ddp_relay_move(struct ddp_relay *r);
/* Nobody is left who could wait until our output is taken: from now on all there is is read at once. */
void ddp_relay_hurry(struct ddp_relay *r);
/* Nothing more is read: a line without its end counts as one. */
void ddp_relay_end(struct ddp_relay *r);

#endif
