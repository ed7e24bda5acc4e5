/* What conv_graph.c gives to conv_plans.c, which stands on it. */
#ifndef DDP_CUDA_CONV_PRIVATE_H
#define DDP_CUDA_CONV_PRIVATE_H

#include "device/cuda/conv_graph.h"

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

struct ddp_conv_graph {
    struct ddp_gpu_conv c;
    enum ddp_gpu_conv_pass pass;
    cudnnHandle_t handle;
    cudnnBackendDescriptor_t device;
    cudnnBackendDescriptor_t made[16]; /* in order */
    int nmade;
    cudnnBackendDescriptor_t graph; /* one of them */
    /* candidates of one mode of the heuristics */
    int mode; /* of modes[] that config is of; -1: none yet */
    cudnnBackendDescriptor_t *config;
    int64_t nconfig, next;
    int passed;
    char why[512];
};

/* An attribute's value, for tables. */
struct attribute {
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int64_t count;
    const void *value;
};

/* Set them, then finalise. DDP_E_RESOURCE with cuDNN's reason. */
int ddp_conv_finalize(cudnnBackendDescriptor_t d, const struct attribute *a, int n, const char *what,
                      struct ddp_error *err);
/* Destroy the candidates. */
void ddp_conv_drop_configs(struct ddp_conv_graph *g);

#endif
