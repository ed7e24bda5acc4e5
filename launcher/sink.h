/* One of our own streams, which several relays write to: what they pass on is kept until the reader takes it,
 * whole chunks in the order in which they came. */
#ifndef DDP_LAUNCHER_SINK_H
#define DDP_LAUNCHER_SINK_H

#include <poll.h>

#include "base/base.h"

enum { DDP_SINK_TAIL = 4096 };

struct ddp_sink {
    int to;
    bool discard;            /* --quiet: keep the tail only */
    bool broken;             /* nobody reads our output any more */
    const void *midline;     /* who has passed on part of a line; NULL: the cursor is at the start of one */
    struct ddp_text pending; /* to write, from `written` on */
    size_t written;
    char tail[DDP_SINK_TAIL + 1]; /* last bytes of what was passed on or discarded */
    size_t ntail;
};

void ddp_sink_init(struct ddp_sink *s, int to, bool discard);
void ddp_sink_finish(struct ddp_sink *s);

/* Pass bytes on for `who`: what stands behind another's part of a line begins a new one. */
void ddp_sink_put(struct ddp_sink *s, const void *who, const char *bytes, size_t n);

/* Words of the launcher's own, from the start of a line: shown though the ranks' are not. */
void ddp_sink_say(struct ddp_sink *s, const char *line, size_t n);

bool ddp_sink_is_full(const struct ddp_sink *s); /* something is pending */
/* What to poll for; fd -1 when nothing is. */
struct pollfd ddp_sink_poll(const struct ddp_sink *s);
/* Write as much as the reader takes without waiting; or all of it, however long that takes. */
void ddp_sink_move(struct ddp_sink *s);
void ddp_sink_drain(struct ddp_sink *s);

#endif
