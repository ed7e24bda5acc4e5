/* Whether a job computes on GPUs, and on which. */
#include "launcher/gpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "device/device.h"

bool ddp_launch_described(void)
{
    const char *xml = getenv("HWLOC_XMLFILE"), *synthetic = getenv("HWLOC_SYNTHETIC");
    return (xml && *xml) || (synthetic && *synthetic);
}

static int list_gpus(const struct ddp_gpu_api *api, int n, const struct ddp_config *cfg,
                     struct ddp_launch_gpus *out, struct ddp_error *err)
{
    out->gpu = ddp_calloc((size_t)n + 1, sizeof *out->gpu);
    for (int i = 0; i < n; i++) {
        struct ddp_gpu_info info = {0};
        int code = api->info(i, &info, err);
        if (code == 0)
            code = ddp_gpu_check_precision(&info, cfg, err);
        if (code != 0)
            return code;
        struct ddp_place_gpu *g = &out->gpu[i];
        memcpy(g->pci, info.pci, sizeof g->pci);
        memcpy(g->uuid, info.uuid, sizeof g->uuid);
        memcpy(g->name, info.name, sizeof g->name);
    }
    return 0;
}

/* Who asks for 8 ranks and says nothing of devices wants the job to run: on the CPU, where it fits. */
static int settle(int n, const struct ddp_config *cfg, const struct ddp_options *opt,
                  struct ddp_launch_gpus *out, struct ddp_error *err)
{
    out->list = (struct ddp_place_gpus){n, out->gpu, cfg->comm.share_gpu};
    if (cfg->device != DDP_DEVICE_AUTO || n == 0 || opt->ranks <= n || cfg->comm.share_gpu)
        return 0;
    out->list.n = 0;
    snprintf(out->note, sizeof out->note,
             "device=auto: %d ranks compute on the CPU, because there %s only %d GPU%s; -n %d would use %s, "
             "with other bits (device=cpu is the CPU at any -n)",
             opt->ranks, n == 1 ? "is" : "are", n, n == 1 ? "" : "s", n, n == 1 ? "it" : "them");
    return ddp_config_check_device(cfg, false, err);
}

int ddp_launch_gpus_find(const struct ddp_config *cfg, const struct ddp_options *opt,
                         struct ddp_launch_gpus *out, struct ddp_error *err)
{
    const struct ddp_gpu_api *api = NULL;
    struct ddp_launch_gpus g = {0};
    int n = 0, code = ddp_gpu_decide(cfg, &api, &n, err);
    if (code == 0 && api)
        code = list_gpus(api, n, cfg, &g, err);
    if (code == 0)
        code = settle(n, cfg, opt, &g, err);
    if (code != 0) {
        ddp_launch_gpus_finish(&g);
        return code;
    }
    *out = g;
    return 0;
}

int ddp_launch_gpus_described(const struct ddp_machine *m, const struct ddp_config *cfg,
                              const struct ddp_options *opt, struct ddp_launch_gpus *out,
                              struct ddp_error *err)
{
    struct ddp_launch_gpus g = {0};
    const int n = cfg->device == DDP_DEVICE_CPU ? 0 : ddp_machine_gpus(m, &g.gpu);
    int code = 0;
    if (cfg->device == DDP_DEVICE_CUDA && n == 0)
        code = ddp_fail(err, DDP_E_RESOURCE,
                        "device=cuda: the machine that HWLOC_XMLFILE or HWLOC_SYNTHETIC describes shows no "
                        "GPU of NVIDIA; lstopo writes "
                        "them into the file unless it is told otherwise, a synthetic machine has none");
    if (code == 0)
        code = ddp_config_check_device(cfg, n > 0, err);
    if (code == 0)
        code = settle(n, cfg, opt, &g, err);
    if (code != 0) {
        ddp_launch_gpus_finish(&g);
        return code;
    }
    *out = g;
    return 0;
}

void ddp_launch_gpus_finish(struct ddp_launch_gpus *g)
{
    free(g->gpu);
    *g = (struct ddp_launch_gpus){0};
}
