/* Whole runs of the reduction on devices of one thread (fake_device.h), with every optimizer, on ranks that
 * lie on nodes. */
#ifndef DDP_TESTS_REDUCE_GPU_STEPS_H
#define DDP_TESTS_REDUCE_GPU_STEPS_H

#include "engine/gpu/update.h"
#include "optim/problem.h"
#include "reduce/fake_device.h"

enum { STEPS = 3, MAX_SHARDS = 8, COUNT = 29, STATS_SIZE = 16 };

struct setup {
    const char *what; /* "averaged", "all in fp32" (ranks read all tensors so, else biases) have effects */
    int64_t optim;
    double momentum, clip_norm, loss_scale;
    enum ddp_gpu_type type;
    bool fast;
    int beside; /* shards of a group */
};

/* What a run ends with. */
struct outcome {
    float params[TOTAL], state[3][TOTAL];
    struct ddp_gpu_scale scale;
    int32_t refused; /* the last block that was, + 1 */
};

/* A rank, on the device that has its number in the communicator. */
struct rank {
    int device;
    struct ddp_gpu_reduce *r;
    struct ddp_gpu_updater updater;
    struct ddp_gpu_stream *compute;
    struct ddp_gpu_step *step;        /* [STEPS] on the device */
    float *source[STEPS][MAX_SHARDS]; /* gradients of my shards, on the device */
};

struct gpu_shape {
    int shards, blocks; /* blocks: of a bucket */
    int nodes, ranks[MAX_SHARDS];
};
int gpu_size(const struct gpu_shape *shape);

extern int gpu_blow;        /* step whose gradients, or statistics, are infinite in one place; -1: none */
extern int64_t gpu_blow_at; /* the place; -1: in the third tensor */
extern int gpu_poison;      /* step in which the loss of one shard is nan, and with it gradients; -1: none */
extern int gpu_front;       /* blocks of the front bucket; 0: what is left */
extern int gpu_steps;
extern float gpu_leaf[STEPS][MAX_SHARDS][TOTAL];

/* Floats that the steps of the last run sent: inside nodes, between them along lanes, otherwise; all-gathers;
 * floats that a rank had behind collective calls. */
extern struct gpu_traffic {
    int64_t inside, lanes, across, gathers, spread;
} gpu_traffic;

void *gpu_take(struct ddp_gpu *gpu, size_t bytes);
/* Gradients, statistics and metrics of every shard; zero in the padding. whole: integers, so that every order
 * of addition is exact. */
void gpu_make_leaves(const struct problem *p, int shards, bool whole, float scale);
void gpu_start(struct problem *p, const struct setup *s);
struct ddp_gpu_reduce_conf gpu_conf(const struct problem *p, const struct setup *s,
                                    const struct gpu_shape *shape, int rank);
void gpu_open_rank(struct fake_world *w, struct rank *k, const struct ddp_gpu_reduce_conf *conf,
                   const struct problem *p, const float *params);
void gpu_close_rank(struct fake_world *w, struct rank *k);
/* From all ranks, who have what they read of the others'. */
void gpu_collect(struct rank *k, int ranks, const struct problem *p, const struct setup *s,
                 struct outcome *out);
/* gpu_steps steps and a gathering of averages, in an order drawn from seed; on one node. */
void gpu_run(const struct setup *s, int shards, int ranks, int blocks, uint32_t seed, struct outcome *out);
void gpu_run_nodes(const struct setup *s, const struct gpu_shape *shape, uint32_t seed, struct outcome *out);
void gpu_same(const struct setup *s, const struct outcome *a, const struct outcome *b, const char *which);

#endif
