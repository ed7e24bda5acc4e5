/* Rank 1 gives up with status 4 while the others sleep in shared memory, where MPI cannot see them. */
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
    ddp_barrier_wait(base, c, &round);
    return 2;
}
