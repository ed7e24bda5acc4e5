/* Which device a run computes on, and which GPU a rank takes. */
#include "device/device.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "device/plugin.h"

bool ddp_gpu_likely(void)
{
    static const char *const traces[] = {"/dev/nvidiactl", "/dev/nvidia0", "/proc/driver/nvidia",
                                         "/dev/dxg" /* Windows' subsystem for Linux */};
    char path[PATH_MAX];
    if (ddp_plugin_named(&ddp_gpu_plugin))
        return true;
    for (size_t i = 0; i < DDP_COUNT(traces); i++)
        if (ddp_path_exists(traces[i]))
            return ddp_plugin_find(&ddp_gpu_plugin, path);
    return false;
}

static int look(const struct ddp_gpu_api **api, int *count, struct ddp_error *err)
{
    const int code = ddp_gpu_api_open(api, err);
    return code ? code : (*api)->count(count, err);
}

int ddp_gpu_decide(const struct ddp_config *cfg, const struct ddp_gpu_api **out, int *count,
                   struct ddp_error *err)
{
    const struct ddp_gpu_api *api = NULL;
    int n = 0;
    if (cfg->device == DDP_DEVICE_CUDA) {
        const int code = look(&api, &n, err);
        if (code) {
            ddp_error_prefix(err, "device=cuda");
            return code;
        }
    } else if (cfg->device == DDP_DEVICE_AUTO && ddp_gpu_likely()) {
        struct ddp_error why = {0};
        if (look(&api, &n, &why) != 0) {
            ddp_log(DDP_LOG_INFO, "device=auto: the CPU, because %s", why.text);
            api = NULL;
            n = 0;
        }
    }
    const int code = ddp_config_check_device(cfg, api != NULL, err);
    if (code)
        return code;
    *out = api;
    *count = n;
    return 0;
}

int ddp_gpu_check_precision(const struct ddp_gpu_info *info, const struct ddp_config *cfg,
                            struct ddp_error *err)
{
    if (cfg->train.precision != DDP_PRECISION_BF16 || info->bf16)
        return 0;
    return ddp_fail(err, DDP_E_RESOURCE,
                    "train.precision=bf16: %s (compute capability %d.%d) does not compute in bf16, which "
                    "begins with 8.0; "
                    "train.precision=fp16 or fp32 work there",
                    info->name, info->major, info->minor);
}

static int find_uuid(const struct ddp_gpu_api *api, int n, const char *uuid, int *device,
                     struct ddp_error *err)
{
    for (int i = 0; i < n; i++) {
        struct ddp_gpu_info info = {0};
        const int code = api->info(i, &info, err);
        if (code)
            return code;
        if (strcmp(info.uuid, uuid) == 0) {
            *device = i;
            return 0;
        }
    }
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    return ddp_fail(
        err, DDP_E_RESOURCE,
        "GPU %s, which this rank was given, is not among the %d that it sees (CUDA_VISIBLE_DEVICES is %s)",
        uuid, n, visible ? visible : "not set");
}

int ddp_gpu_device_pick(const struct ddp_gpu_api *api, const char *uuid, int local_rank, int local_size,
                        bool share, int *device, struct ddp_error *err)
{
    int n = 0, code = api->count(&n, err);
    if (code)
        return code;
    if (uuid)
        return find_uuid(api, n, uuid, device, err);
    const bool own = n == 1 && getenv("CUDA_VISIBLE_DEVICES");
    if (!share && !own && (code = ddp_ranks_check_gpus(local_size, n, err)) != 0)
        return code;
    *device = local_rank % n;
    return 0;
}
