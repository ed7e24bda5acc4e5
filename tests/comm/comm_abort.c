/* Rank 1 gives up with status 4 while the others sleep in shared memory, where MPI cannot see them; with
 * an argument, while they wait for a message of its. */
#include <stdio.h>
#include <unistd.h>

#include "comm/comm.h"

int main(int argc, char **argv)
{
    struct ddp_error err = {0};
    struct ddp_comm *c = NULL;
    void *base = NULL;
    uint32_t round = 0;
    if (ddp_comm_world_create(&argc, &argv, &c, &err) != 0 ||
        ddp_comm_shared_alloc(c, sizeof(struct ddp_barrier), &base, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    if (c->rank == 1) {
        usleep(50000);
        ddp_comm_abort(c, 4);
    }
    char byte;
    const struct ddp_message from = {1, false, &byte, 1};
    struct ddp_exchange *x = NULL;
    if (argc == 1)
        ddp_barrier_wait(base, c, &round);
    else if (ddp_exchange_create(c, &from, 1, 0, &x, &err) == 0 && ddp_exchange_begin(x, &err) == 0)
        ddp_exchange_finish(x, &err);
    return 2;
}
