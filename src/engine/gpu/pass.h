/* Forward and backward of one rank's shards on the device: the graph of src/model run through the device
 * halves of ops (ddp/op_device.h). Plans and memory are made before step 0; what is enqueued afterwards is
 * the same sequence each time, so it can be captured.
 *
 * Every shard has the shape of ceil(batch / shards) samples; how many of them are real is read on the device,
 * so a short or empty shard runs the same work and brings zeros. */
#ifndef DDP_GPU_PASS_H
#define DDP_GPU_PASS_H

#include "device/kernels.h"
#include "device/lock.h"
#include "engine/pass.h"

struct ddp_gpu_pass;

/* A shard's input on the device. */
struct ddp_gpu_shard {
    const uint8_t *pixels; /* planes [batch][c][h][w], or the whole data set's when resident; or floats */
    bool resident;
    const int64_t *sample;         /* [batch] index in the data set */
    const int32_t *label;          /* [batch]; NULL: targets, or mixed */
    const float *target;           /* [batch][targets]; NULL: labels */
    const struct ddp_mixed *mixed; /* [batch] in place of labels; or NULL */
    const int32_t *n;              /* [1] real samples */
};

struct ddp_gpu_pass_conf {
    const struct ddp_gpu_api *api;
    struct ddp_gpu *gpu;
    const struct ddp_model *model;
    bool training;
    int shards;   /* of the rank that are run at a time, at most; a synchronised model runs all of them */
    int branches; /* of these that run side by side, at most; ddp_gpu_pass_narrow() */
    enum ddp_gpu_type type;
    bool tf32, tune;
    uint64_t seed;
    struct ddp_augment augment;
    struct ddp_gpu_lock *lock; /* plans are taken from it, and added */
    /* Synchronised layers: sum [shards][width] leaves over all shards of all ranks into sum [width];
     * enqueued on stream. */
    void (*sync)(void *ctx, struct ddp_gpu_stream *stream, int width, const double *leaves, double *sum);
    void *sync_ctx;
};

/* Chooses plans; takes no device memory yet. Errors: DDP_E_CONFIG an op without a form for the device, a lock
 * that does not fit; DDP_E_RESOURCE no algorithm. */
int ddp_gpu_pass_create(const struct ddp_gpu_pass_conf *conf, struct ddp_gpu_pass **out,
                        struct ddp_error *err);
void ddp_gpu_pass_destroy(struct ddp_gpu_pass *p); /* NULL is fine */
/* Before allocate: no more than so many shards side by side from now on. */
void ddp_gpu_pass_narrow(struct ddp_gpu_pass *p, int branches);
int ddp_gpu_pass_branches(const struct ddp_gpu_pass *p);
/* Shards in memory at once: one a branch, or, when the model is synchronised, all. */
int ddp_gpu_pass_beside(const struct ddp_gpu_pass *p);
/* Device bytes that it takes, or would take with shards of `batch` samples. */
size_t ddp_gpu_pass_bytes(const struct ddp_gpu_pass *p, int batch);
/* Doubles of the widest synchronised exchange; 0: none. */
int ddp_gpu_pass_sync_width(const struct ddp_gpu_pass *p);
/* Sets those of [flat tensors] that it reads in fp32; others it reads in the compute type alone. */
void ddp_gpu_pass_masters(const struct ddp_gpu_pass *p, bool *masters);
int ddp_gpu_pass_allocate(struct ddp_gpu_pass *p, struct ddp_error *err);

/* params [flat total] fp32, of which it reads what ddp_gpu_pass_masters() says, weights the same in the
 * compute type. Shards 0..n-1 (n <= beside); loss[i] and correct[i] on the device, the latter with targets
 * the bits of a float: the sum of mean absolute errors. scale: NULL without loss scaling. */
void ddp_gpu_pass_forward(struct ddp_gpu_pass *p, struct ddp_gpu_stream *stream, const float *params,
                          const void *weights, const struct ddp_gpu_shard *shards, int n,
                          const struct ddp_gpu_step *step, const struct ddp_gpu_scale *scale, float *loss,
                          int32_t *correct);
/* Backward of the same shards into leaf[i] [flat total], padding excepted: it must be zero and stays so.
 * ready as in ddp_cpu_pass_backward: everything that makes [lo, hi) final is on the stream before it is
 * called. Behind both, all their work comes before what is enqueued on the stream later. */
void ddp_gpu_pass_backward(struct ddp_gpu_pass *p, struct ddp_gpu_stream *stream, const float *params,
                           const void *weights, float *const *leaf, int n, ddp_pass_ready_fn ready,
                           void *ctx);

/* After a loss that is not finite: the first tensor in forward order (input, parameters and output of each
 * layer) of the shard that ran last as resident i that holds such a value, as text in
 * ddp_cpu_pass_find_bad()'s words; blocks. params, weights: those that it ran with, on the device. Works on
 * what is in memory: after later work the answer is of that. */
int ddp_gpu_pass_find_bad(struct ddp_gpu_pass *p, struct ddp_gpu_stream *stream, const float *params,
                          const void *weights, int i, char *text, int size, struct ddp_error *err);

#endif
