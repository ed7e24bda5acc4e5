/* The way of the ranks' output to ours: unchanged and at once, less what the starter's program says about
 * itself, which is kept for the case that nothing else explains a failure. */
#ifndef DDP_LAUNCHER_RELAY_H
#define DDP_LAUNCHER_RELAY_H

#include <poll.h>

#include "launcher/starter.h"

enum { DDP_RELAY_TAIL = 4096 };

struct ddp_relay {
    const struct ddp_starter *starter;
    int from, to; /* descriptors; from is -1 after its end */
    bool discard; /* --quiet: keep the tail only */
    bool midline; /* part of the line in hand has been passed on */
    bool in_block;
    bool broken;             /* nobody reads our output any more */
    bool hurry;              /* read all there is, however slowly our output is taken */
    struct ddp_text line;    /* read, not yet judged */
    struct ddp_text block;   /* lines since a block began */
    struct ddp_text pending; /* to write, from `written` on */
    size_t written;
    struct ddp_text *own;          /* where the starter's own text goes; shared by both streams */
    char tail[DDP_RELAY_TAIL + 1]; /* last bytes of what was passed on or discarded */
    size_t ntail;
};

void ddp_relay_init(struct ddp_relay *r, const struct ddp_starter *starter, int from, int to, bool discard,
                    struct ddp_text *own);
void ddp_relay_finish(struct ddp_relay *r); /* closes `from` */

/* What to poll for: reading, or writing while output is pending (so that a stuck terminal does not stop
 * supervision). */
struct pollfd ddp_relay_poll(const struct ddp_relay *r);
/* Read what is there and pass it on; or write on. After poll said so, or at any time. */
void ddp_relay_move(struct ddp_relay *r);
/* Nobody is left who could wait until our output is taken: from now on all there is is read at once. */
void ddp_relay_hurry(struct ddp_relay *r);
/* Read to the end (no longer than `seconds` for a stream that others hold open) and write all of it. */
void ddp_relay_drain(struct ddp_relay *r, double seconds);

#endif
