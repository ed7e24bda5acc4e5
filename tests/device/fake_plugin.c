/* A plug-in that has two GPUs, or as many as FAKE_GPUS says, and can be asked what they are. VERSION: of its
 * table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/api.h"

static int setting(const char *name, int dflt)
{
    const char *s = getenv(name);
    return s ? atoi(s) : dflt;
}

static int count(int *n, struct ddp_error *err)
{
    *n = setting("FAKE_GPUS", 2);
    if (*n > 0)
        return 0;
    err->code = DDP_E_RESOURCE;
    snprintf(err->text, sizeof err->text, "the fake has no device");
    return DDP_E_RESOURCE;
}

static int info(int device, struct ddp_gpu_info *out, struct ddp_error *err)
{
    (void)err;
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "Fake %d", setting("FAKE_CC", 90));
    snprintf(out->uuid, sizeof out->uuid, "GPU-%d", device);
    out->major = setting("FAKE_CC", 90) / 10;
    out->bf16 = out->major >= 8;
    return 0;
}

static void versions(struct ddp_gpu_versions *out)
{
    *out = (struct ddp_gpu_versions){13000, 13000, 91900, 130100, 22809};
}

DDP_API const struct ddp_gpu_api *ddp_cuda_plugin(void);

const struct ddp_gpu_api *ddp_cuda_plugin(void)
{
    static const struct ddp_gpu_api api = {
        .version = VERSION, .count = count, .info = info, .versions = versions};
    return &api;
}
