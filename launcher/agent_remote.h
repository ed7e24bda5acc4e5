/* The agent of another host, as the head sees it: what is sent to it and heard of it goes over a wire. When
 * that breaks, the host is lost, and all that was still to be heard of it is taken as said. */
#ifndef DDP_LAUNCHER_AGENT_REMOTE_H
#define DDP_LAUNCHER_AGENT_REMOTE_H

#include "launcher/agent.h"
#include "base/slow.h"
#include "launcher/wire.h"

/* News as they travel; text is cut behind its NUL. */
struct ddp_wire_news {
    int32_t kind, rank, value, killed;
    char text[DDP_LIFELINE_TEXT];
};
struct ddp_wire_note { /* of ddp_agent_note */
    int32_t rank;
    char text[DDP_SLOW_TEXT];
};
void ddp_wire_send_news(struct ddp_wire *w, const struct ddp_news *news);
/* False: the frame holds none. */
bool ddp_wire_read_news(const struct ddp_frame *frame, struct ddp_news *out);

/* An agent on `host` that is ready for `ranks` ranks. wire stays the caller's. */
struct ddp_agent *ddp_remote_agent_create(const char *host, int ranks, struct ddp_wire *wire);

#endif
