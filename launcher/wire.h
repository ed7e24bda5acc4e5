/* What goes between the head and the agent of another host: frames over TCP, each a kind and its bytes. What
 * is sent is kept until it can be written, so that neither side ever waits for the other. A host that
 * vanishes without a word is noticed by the kernel's own probes, however busy or stopped processes are.
 *
 * A wire can carry others: the agent at its end passes on what agents behind it say and are told (branch.h).
 * The head still has a wire to each of them, but those have no socket: their frames travel inside frames of
 * the wire that carries them, and end with it.
 *
 *     head ====== agent of n0 ------ agent of n32        wires of the head: n0 (carries n32 and n64),
 *                           \------ agent of n64                           n32 and n64 (by way of n0) */
#ifndef DDP_LAUNCHER_WIRE_H
#define DDP_LAUNCHER_WIRE_H

#include <poll.h>

#include "base/base.h"

enum ddp_wire_kind {
    DDP_WIRE_HELLO = 1, /* agent -> head: JSON: who it is, and the job's token */
    DDP_WIRE_WELCOME,   /* head -> agent: the token: this is your head */
    DDP_WIRE_TASK,      /* head -> agent: JSON (agent_tasks.h) */
    DDP_WIRE_ANSWER,    /* agent -> head: JSON */
    DDP_WIRE_ORDER,     /* head -> agent: int32 enum ddp_order */
    DDP_WIRE_NOTE,      /* head -> agent: struct ddp_wire_note */
    DDP_WIRE_NEWS,      /* agent -> head: struct ddp_wire_news, cut behind its text */
    DDP_WIRE_BYE,       /* head -> agent: all is over; without it, the head is lost */
    DDP_WIRE_PASSED,    /* both ways: struct ddp_wire_passed, then the bytes of the frame inside */
    DDP_WIRE_CUT,       /* agent -> head: int32 number, then text: why the agent behind it is gone */
};

enum { DDP_WIRE_STRANGER = 1 << 16, DDP_WIRE_MOST = 1 << 26 }; /* bytes of a frame, before and after hello */

struct ddp_wire {
    int fd;             /* -1: none */
    size_t most;        /* larger frames are refused */
    struct ddp_text in; /* read, from `taken` on */
    size_t taken;
    struct ddp_text out; /* to write, from `written` on */
    size_t written;
    bool over;     /* nothing comes or goes any more .. */
    char why[128]; /* .. because it "closed the connection" */

    struct ddp_wire *by; /* the one that carries this one; NULL: it has a socket */
    int number;          /* by which the agent there knows it */
    int ncarried;
    struct ddp_wire **carried; /* [ncarried] by their numbers; NULL: none, or finished */
    struct ddp_text mixed;     /* read: frames of all of them */
};

struct ddp_wire_passed {
    int32_t number, kind;
};

struct ddp_frame {
    enum ddp_wire_kind kind;
    const char *bytes; /* [n] inside the wire until the next call; a NUL stands behind */
    size_t n;
};

/* Take over a connected socket. */
void ddp_wire_init(struct ddp_wire *w, int fd);
void ddp_wire_finish(struct ddp_wire *w); /* closes it */

/* Queue a frame, and write what goes at once. */
void ddp_wire_send(struct ddp_wire *w, enum ddp_wire_kind kind, const void *bytes, size_t n);
/* The next frame that has come whole; false: none. */
bool ddp_wire_next(struct ddp_wire *w, struct ddp_frame *out);

/* From now on `by`, which may carry others already, carries w too, whose own socket is closed. Both stay
 * where they are in memory until they are finished. */
void ddp_wire_carry(struct ddp_wire *w, struct ddp_wire *by, int number);

/* Nothing comes or goes from now on. */
void ddp_wire_cut(struct ddp_wire *w, const char *why);

struct pollfd ddp_wire_poll(const struct ddp_wire *w);
/* Read and write what goes without waiting. */
void ddp_wire_move(struct ddp_wire *w);
/* Write all that is queued, no later than `until` (ddp_now()). */
void ddp_wire_flush(struct ddp_wire *w, double until);
/* Wait for a frame, no later than `until` (ddp_now()). */
bool ddp_wire_wait(struct ddp_wire *w, double until, struct ddp_frame *out);

#endif
