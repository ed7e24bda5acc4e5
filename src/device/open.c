/* Opening the CUDA plug-in. */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "device/api.h"
#include "device/plugin.h"

#define PLUGIN "libddp_cuda.so"

/* The folder of a file, in place. */
static bool folder_of(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return true;
}

static bool try_folder(const char *folder, const char *below, char out[PATH_MAX])
{
    if (snprintf(out, PATH_MAX, "%s%s/" PLUGIN, folder, below) >= PATH_MAX)
        return false;
    return access(out, R_OK) == 0;
}

const char *ddp_gpu_plugin_named(void)
{
    const char *named = getenv("DDP_CUDA_PLUGIN");
    return named && *named ? named : NULL;
}

bool ddp_gpu_plugin_find(char out[PATH_MAX])
{
    char folder[PATH_MAX];
    Dl_info here;
    const char *named = ddp_gpu_plugin_named();
    if (named) {
        snprintf(out, PATH_MAX, "%s", named);
        return true;
    }
    const ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (n > 0) {
        folder[n] = '\0';
        if (folder_of(folder) && (try_folder(folder, "", out) || try_folder(folder, "/../lib", out) ||
                                  try_folder(folder, "/" DDP_GPU_LIBDIR, out)))
            return true;
    }
    /* a program of one's own on libddp.so: beside that */
    if (dladdr((void *)(size_t)ddp_gpu_api_open, &here) && here.dli_fname &&
        snprintf(folder, sizeof folder, "%s", here.dli_fname) < (int)sizeof folder && folder_of(folder))
        return try_folder(folder, "", out);
    return false;
}

static int open_plugin(const struct ddp_gpu_api **out, struct ddp_error *err)
{
    char path[PATH_MAX];
    const bool found = ddp_gpu_plugin_find(path);
    void *library = dlopen(found ? path : PLUGIN, RTLD_NOW | RTLD_LOCAL);
    if (!library && !found)
        return ddp_fail(
            err, DDP_E_RESOURCE,
            "there is no CUDA plug-in: " PLUGIN
            " is neither beside this program, nor in ../lib, nor where the loader looks. Build it "
            "(-DDDP_CUDA=ON says what is missing), name it in DDP_CUDA_PLUGIN, or use device=cpu");
    if (!library) {
        const char *why = dlerror();
        return ddp_fail(
            err, DDP_E_RESOURCE,
            "the CUDA plug-in %s%s cannot be loaded: %s. Are cuDNN, cuBLAS and NCCL where the loader looks "
            "(LD_LIBRARY_PATH)? device=cpu does without",
            path, ddp_gpu_plugin_named() ? " (DDP_CUDA_PLUGIN)" : "", why ? why : "no reason given");
    }
    ddp_gpu_entry_fn entry;
    void *symbol = dlsym(library, DDP_GPU_ENTRY);
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from objects to functions */
    const struct ddp_gpu_api *api = symbol ? entry() : NULL;
    int code = 0;
    if (!api)
        code = ddp_fail(err, DDP_E_RESOURCE, "%s is no CUDA plug-in of ddp: it has no " DDP_GPU_ENTRY "()",
                        found ? path : PLUGIN);
    else if (api->version != DDP_GPU_API_VERSION)
        code = ddp_fail(err, DDP_E_RESOURCE,
                        "the CUDA plug-in %s is of another version of ddp (its table is version %d, this "
                        "program's %d): build and "
                        "install both together",
                        found ? path : PLUGIN, api->version, DDP_GPU_API_VERSION);
    if (code) {
        dlclose(library);
        return code;
    }
    *out = api;
    return 0;
}

int ddp_gpu_api_open(const struct ddp_gpu_api **out, struct ddp_error *err)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const struct ddp_gpu_api *opened;

    pthread_mutex_lock(&lock);
    const int code = opened ? 0 : open_plugin(&opened, err);
    if (code == 0)
        *out = opened;
    pthread_mutex_unlock(&lock);
    return code;
}
