/* One kind of GPU and one set of libraries for all ranks, a GPU for each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/comm.h"
#include "device/device.h"

struct what { /* of one rank */
    char host[64];
    struct ddp_gpu_info gpu;
    struct ddp_gpu_versions v;
};

/* Versions as their libraries number them. */
static void version_text(const char *library, int v, char out[32])
{
    if (v == 0)
        snprintf(out, 32, "none");
    else if (strcmp(library, "CUDA") == 0 || strcmp(library, "driver") == 0)
        snprintf(out, 32, "%d.%d", v / 1000, v % 1000 / 10);
    else
        snprintf(out, 32, "%d.%d.%d", v / 10000, v % 10000 / 100, v % 100);
}

static int differ(int r, const struct what *all, const char *library, int mine, int first,
                  struct ddp_error *err)
{
    char a[32], b[32];
    version_text(library, mine, a);
    version_text(library, first, b);
    return ddp_fail(err, DDP_E_RESOURCE,
                    "rank %d on %s has %s %s, rank 0 on %s has %s: results would depend on which rank "
                    "computes what. Load the same "
                    "libraries on all hosts (LD_LIBRARY_PATH, modules)",
                    r, all[r].host, library, a, all[0].host, b);
}

static int compare(const struct what *all, int size, bool share, struct ddp_error *err)
{
    for (int r = 1; r < size; r++) {
        const struct what *w = &all[r], *first = &all[0];
        if (strcmp(w->gpu.name, first->gpu.name) != 0 || w->gpu.sms != first->gpu.sms)
            return ddp_fail(err, DDP_E_RESOURCE,
                            "rank %d on %s has a %s (%d SMs), rank 0 on %s a %s (%d SMs): results would "
                            "depend on which rank computes "
                            "what. Use GPUs of one kind: CUDA_VISIBLE_DEVICES chooses them",
                            r, w->host, w->gpu.name, w->gpu.sms, first->host, first->gpu.name,
                            first->gpu.sms);
        if (w->v.nccl != first->v.nccl)
            return differ(r, all, "NCCL", w->v.nccl, first->v.nccl, err);
        if (w->v.cudnn != first->v.cudnn)
            return differ(r, all, "cuDNN", w->v.cudnn, first->v.cudnn, err);
        if (w->v.cublaslt != first->v.cublaslt)
            return differ(r, all, "cuBLASLt", w->v.cublaslt, first->v.cublaslt, err);
        if (w->v.runtime != first->v.runtime)
            return differ(r, all, "CUDA", w->v.runtime, first->v.runtime, err);
        for (int o = 0; o < r && !share; o++)
            if (strcmp(w->host, all[o].host) == 0 && strcmp(w->gpu.uuid, all[o].gpu.uuid) == 0)
                return ddp_fail(err, DDP_E_RESOURCE,
                                "ranks %d and %d both have GPU %s of %s: start as many ranks as there are "
                                "GPUs, or let them share with "
                                "comm.share_gpu=true (a test of correctness: it is slow)",
                                o, r, w->gpu.uuid, w->host);
    }
    return 0;
}

int ddp_gpu_agree(struct ddp_comm *comm, const struct ddp_gpu_api *api, int device, bool share,
                  struct ddp_error *err)
{
    struct what mine = {0};
    int code = ddp_comm_agree(comm, api->info(device, &mine.gpu, err), err);
    if (code)
        return code;
    (void)gethostname(mine.host, sizeof mine.host - 1);
    api->versions(&mine.v);
    struct what *all = ddp_calloc((size_t)comm->size, sizeof *all);
    code = ddp_comm_allgather(comm, &mine, all, sizeof mine, err);
    if (code == 0)
        code = compare(all, comm->size, share, err); /* the same on all ranks */
    free(all);
    return code;
}
