/* Polling a stream to its end, with an eye on the device and on NCCL. */
#include "device/settle.h"

#include <time.h>

int ddp_gpu_settle(const struct ddp_gpu_api *api, struct ddp_gpu *gpu, struct ddp_gpu_comm *comm,
                   struct ddp_gpu_stream *s, struct ddp_error *err)
{
    int status = 0;
    while (status == 0 && !api->idle(s)) {
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
        if (comm)
            status = api->comm_check(comm, err);
    }
    return status ? status : api->check(gpu, err);
}
