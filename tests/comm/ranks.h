/* Run a test body on N ranks: on threads, on processes that share memory, or as this process's part of an MPI
 * job. A body must not use cmocka's assertions (they jump out of the calling thread and leave the others
 * waiting): it uses CHECK. */
#ifndef DDP_TESTS_RANKS_H
#define DDP_TESTS_RANKS_H

#include "comm/comm.h"

typedef int (*ranks_body)(struct ddp_comm *c, void *ctx);

/* Returns 0, or the line of a CHECK that failed on some rank. The comms are made and destroyed here. */
int ranks_run(int n, ranks_body body, void *ctx);
/* The same on pseudo-nodes: node[r] says where rank r is. */
int ranks_run_on(int n, const int *node, ranks_body body, void *ctx);

/* The same on forked processes, transport `node`; node NULL: one node. */
int ranks_run_forked(int n, const int *node, ranks_body body, void *ctx);

/* Says what failed, ends all other ranks' waits (under MPI: ends the job); returns line. */
int ranks_fail(struct ddp_comm *c, const char *file, int line, const char *what, const char *detail);

#define CHECK(c, condition)                                                                                  \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            return ranks_fail(c, __FILE__, __LINE__, #condition, "");                                        \
    } while (0)

/* A call that returns 0 or an error in err. */
#define CHECK_OK(c, call, err)                                                                               \
    do {                                                                                                     \
        if ((call) != 0)                                                                                     \
            return ranks_fail(c, __FILE__, __LINE__, #call, (err)->text);                                    \
    } while (0)

#endif
