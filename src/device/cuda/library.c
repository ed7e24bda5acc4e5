/* Handles of vendor libraries. */
#include "device/cuda/library.h"

#include <pthread.h>
#include <stdlib.h>

static struct ddp_library *libraries;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int take(struct ddp_gpu *gpu, const struct ddp_library_kind *kind, struct ddp_library **out,
                struct ddp_error *err)
{
    struct ddp_library *l = libraries;
    while (l && (l->gpu != gpu || l->kind != kind))
        l = l->next;
    if (!l) {
        l = calloc(1, sizeof *l);
        if (!l)
            return ddp_fail(err, DDP_E_RESOURCE, "out of memory");
        int rc = kind->create(&l->handle, err);
        if (rc) {
            free(l);
            return rc;
        }
        l->gpu = gpu;
        l->kind = kind;
        l->next = libraries;
        libraries = l;
    }
    l->users++;
    *out = l;
    return 0;
}

int ddp_library_take(struct ddp_gpu *gpu, const struct ddp_library_kind *kind, struct ddp_library **out,
                     struct ddp_error *err)
{
    pthread_mutex_lock(&mutex);
    int rc = take(gpu, kind, out, err);
    pthread_mutex_unlock(&mutex);
    return rc;
}

void ddp_library_drop(struct ddp_library *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&mutex);
    if (--l->users == 0) {
        struct ddp_library **at = &libraries;
        while (*at != l)
            at = &(*at)->next;
        *at = l->next;
        l->kind->destroy(l->handle);
        free(l);
    }
    pthread_mutex_unlock(&mutex);
}
