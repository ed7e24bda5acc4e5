/* What a transport fills in, and what a plug-in that brings one exports. Stands on nothing else of ddp. */
#ifndef DDP_COMM_OPS_H
#define DDP_COMM_OPS_H

#include <stdbool.h>
#include <stddef.h>

#include "ddp/error.h"

enum {
    DDP_COMM_ALLREDUCE = 1, /* allreduce_begin/end work */
    DDP_COMM_MESSAGES = 2,  /* exchange_* work, between any two ranks */
};

/* One message of an exchange (comm/comm.h). */
struct ddp_message {
    int peer;     /* another rank of the world */
    bool send;    /* from buffer to peer; false: from peer into buffer */
    void *buffer; /* [bytes]; a send only reads it */
    size_t bytes; /* 0 is a message too */
};

/* A transport: how the ranks of a job meet, and how bytes pass between them. `self` is the transport's own
 * state. Calls are made by one thread of each rank. Those marked collective are made by all ranks of the
 * world in the same order and may wait for all of them; the others are local. Arguments and states were
 * checked by the caller (comm/comm.c, comm/exchange.c). After an error of a collective call other ranks
 * may be left waiting in it; only abort and destroy are of use then. */
struct ddp_comm_ops {
    const char *name;
    unsigned caps;
    /* Name and version of what is under it, for run.json; NULL: nothing worth telling. Local. */
    const char *(*library)(void);

    /* Required, collective. bytes > 0; allgather: bytes from each rank, in order of rank. */
    int (*barrier)(void *self, struct ddp_error *err);
    int (*bcast)(void *self, void *buf, size_t bytes, int root, struct ddp_error *err);
    int (*allgather)(void *self, const void *in, void *out, size_t bytes, struct ddp_error *err);

    /* One zeroed, page-aligned segment that all ranks of a node see, at addresses of their own. Collective
     * over the world; may fail on some ranks (the caller agrees), and leaves there *out NULL or a base to
     * be freed. Both NULL: ranks are processes, and comm itself shares memory between those of a host
     * (comm/shared.c). */
    int (*shared_alloc)(void *self, size_t bytes, void **out, struct ddp_error *err);
    void (*shared_free)(void *self, void *base, size_t bytes); /* local */

    /* DDP_COMM_ALLREDUCE: float sum over the world, in place, in whatever order the backend likes. Both
     * collective; begin returns at once, several may be in flight, ended in the order in which they were
     * begun; buf is in use until end returns. */
    int (*allreduce_begin)(void *self, float *buf, size_t count, void **request, struct ddp_error *err);
    int (*allreduce_end)(void *self, void *request, struct ddp_error *err);

    /* DDP_COMM_MESSAGES: n > 0 messages, none to oneself, as one persistent exchange; see
     * ddp_exchange_create. Local; test with `wait` returns when all its messages are through. An error of
     * test ends the exchange. */
    int (*exchange_create)(void *self, const struct ddp_message *list, int n, int tag, void **exchange,
                           struct ddp_error *err);
    int (*exchange_begin)(void *self, void *exchange, struct ddp_error *err);
    int (*exchange_test)(void *self, void *exchange, bool wait, bool *done, struct ddp_error *err);
    void (*exchange_destroy)(void *self, void *exchange); /* in flight: only after an error */

    /* Required, local: end all ranks of the job now, because this one cannot go on. May return (threads)
     * or not (a launcher kills this process as well). */
    void (*abort)(void *self, int status);
    /* Required. May wait for all ranks, unless a call had failed. */
    void (*destroy)(void *self);
};

/* ---- a transport in a plug-in ---- */

enum { DDP_COMM_PLUGIN_VERSION = 2 }; /* of these two structs */

struct ddp_comm_plugin {
    int version; /* DDP_COMM_PLUGIN_VERSION */
    const struct ddp_comm_ops *ops;
    /* Join the ranks that a launcher started; collective. *self is then destroy's to free. argc and argv: the
     * program's, both may be NULL. meet: called before the first message, it returns once all ranks are
     * ready for one. */
    int (*create)(int *argc, char ***argv, void (*meet)(void), void **self, int *rank, int *size,
                  struct ddp_error *err);
};

/* The one function that a plug-in exports. */
#define DDP_COMM_ENTRY "ddp_comm_plugin"
const struct ddp_comm_plugin *ddp_comm_plugin(void);

#endif
