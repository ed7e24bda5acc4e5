/* Ranks, each on a device of one thread, step by step. */
#include "reduce/gpu_steps.h"

#include <math.h>
#include <string.h>

#include "cmocka_all.h"

#include "emu.h"
#include "reduce/layout.h"

int gpu_blow = -1;
int64_t gpu_blow_at = -1;
int gpu_poison = -1;
int gpu_front;
int gpu_steps = STEPS;
struct gpu_traffic gpu_traffic;
float gpu_leaf[STEPS][MAX_SHARDS][TOTAL];

void *gpu_take(struct ddp_gpu *gpu, size_t bytes)
{
    void *p = NULL;
    assert_int_equal(fake_api()->alloc(gpu, bytes, &p, NULL), 0);
    return p;
}

void gpu_make_leaves(const struct problem *p, int shards, bool whole, float scale)
{
    memset(gpu_leaf, 0, sizeof gpu_leaf);
    for (int step = 0; step < STEPS; step++)
        for (int s = 0; s < shards; s++)
            for (int64_t i = 0; i < TOTAL; i++) {
                uint32_t v = ddp_philox4((uint32_t)i, (uint32_t)(step * 100 + s), 0, 5, 42).v[0];
                float g = whole ? (float)(v % 17) - 8 : ddp_uniform(v) * 2 - 1;
                if (i >= p->flat.metrics ? i < p->flat.metrics + DDP_METRICS
                                         : ddp_flat_find(&p->flat, i) >= 0)
                    gpu_leaf[step][s][i] = g * (i < TRAINED ? scale : 1);
            }
}

void gpu_start(struct problem *p, const struct setup *s)
{
    problem_init(p);
    p->tensor[TENSORS].stat_pixels = 4;
    p->tensor[TENSORS].param.momentum = 0.1;
    p->cfg.optim.type = s->optim;
    p->cfg.optim.momentum = s->momentum;
    p->cfg.optim.weight_decay = 0.01;
    p->cfg.optim.clip_norm = s->clip_norm;
    p->cfg.optim.ema = strstr(s->what, "averaged") ? 0.9 : 0;
    problem_start(p);
}

int gpu_size(const struct gpu_shape *shape)
{
    int size = 0;
    for (int node = 0; node < shape->nodes; node++)
        size += shape->ranks[node];
    return size;
}

static const bool biases[TENSORS + 1] = {false, true, false, true, false};

struct ddp_gpu_reduce_conf gpu_conf(const struct problem *p, const struct setup *s,
                                    const struct gpu_shape *shape, int rank)
{
    return (struct ddp_gpu_reduce_conf){.flat = &p->flat,
                                        .rank = rank,
                                        .size = gpu_size(shape),
                                        .nodes = shape->nodes,
                                        .ranks = shape->nodes > 1 ? shape->ranks : NULL,
                                        .shards = shape->shards,
                                        .fast = s->fast,
                                        .beside = s->beside,
                                        .bucket = (int64_t)shape->blocks * DDP_BLOCK,
                                        .front = (int64_t)gpu_front * DDP_BLOCK,
                                        .type = s->type,
                                        .loss_scale = s->loss_scale,
                                        .block_values =
                                            ddp_optim_device_block_values(&p->cfg, s->loss_scale > 0),
                                        .small_width = 12,
                                        .masters = strstr(s->what, "all in fp32") ? NULL : biases};
}

void gpu_open_rank(struct fake_world *w, struct rank *k, const struct ddp_gpu_reduce_conf *conf,
                   const struct problem *p, const float *params)
{
    const struct ddp_optim_device_conf optim = {.cfg = &p->cfg,
                                                .flat = &p->flat,
                                                .kept = ddp_gpu_reduce_kept(conf),
                                                .type = conf->type,
                                                .scaled = conf->loss_scale > 0,
                                                .interval = 1};
    struct ddp_error err = {0};
    k->device = ddp_gpu_reduce_comm_rank(conf);
    struct ddp_gpu *gpu = fake_gpu(w, k->device);
    assert_int_equal(fake_api()->stream_create(gpu, false, &k->compute, &err), 0);
    size_t before = fake_bytes(w, k->device);
    if (ddp_gpu_reduce_create(conf, fake_api(), gpu, fake_comm(w, k->device), k->compute, &k->r, &err))
        fail_msg("%s", err.text);
    if (ddp_gpu_updater_init(&k->updater, &optim, conf->shards, k->r, &err))
        fail_msg("%s", err.text);
    assert_int_equal(fake_bytes(w, k->device) - before,
                     ddp_gpu_reduce_bytes(conf) + ddp_gpu_updater_bytes(&optim));
    assert_int_equal(ddp_gpu_reduce_params_set(k->r, params, &err), 0);
    k->step = gpu_take(gpu, STEPS * sizeof *k->step);
    for (int s = 0; s < STEPS * MAX_SHARDS; s++)
        k->source[s / MAX_SHARDS][s % MAX_SHARDS] = gpu_take(gpu, TOTAL * sizeof(float));
}

void gpu_close_rank(struct fake_world *w, struct rank *k)
{
    struct ddp_gpu *gpu = fake_gpu(w, k->device);
    ddp_gpu_updater_finish(&k->updater);
    ddp_gpu_reduce_destroy(k->r);
    for (int s = 0; s < STEPS * MAX_SHARDS; s++)
        fake_api()->release(gpu, k->source[s / MAX_SHARDS][s % MAX_SHARDS]);
    fake_api()->release(gpu, k->step);
    fake_api()->stream_destroy(k->compute);
}

/* As the backward of a group of shards does it: statistics first, then the trained parameters from the end in
 * odd pieces, each of all shards. */
static void backward(struct rank *k, int step, int first, int n)
{
    const int mine = ddp_gpu_reduce_first_shard(k->r);
    int64_t cuts[] = {TOTAL, TRAINED, 6 * DDP_BLOCK, 5 * DDP_BLOCK, 2 * DDP_BLOCK, 0};
    for (int i = 0; i + 1 < (int)(sizeof cuts / sizeof *cuts); i++) {
        const int64_t lo = cuts[i + 1], hi = cuts[i];
        for (int shard = first; shard < first + n; shard++) {
            float *to = ddp_gpu_reduce_leaf(k->r, shard);
            const float *from = k->source[step][shard - mine];
            fake_api()->copy(k->compute, to + lo, from + lo, (size_t)(hi - lo) * sizeof *to);
        }
        for (int shard = first; shard < first + n; shard++)
            ddp_gpu_reduce_ready(k->r, shard, lo, hi);
    }
}

static void enqueue_step(struct rank *k, const struct problem *p, int step, int shards, int beside)
{
    struct ddp_error err = {0};
    struct ddp_gpu_step s = {.step = step, .count = COUNT};
    ddp_optim_device_step(&p->cfg, step, 100, 10, &s);
    emu_copy_in(&k->step[step], &s, sizeof s);
    ddp_gpu_updater_begin(&k->updater, &k->step[step]);
    ddp_gpu_reduce_begin(k->r, &k->updater.apply);
    int first = ddp_gpu_reduce_first_shard(k->r), last = ddp_gpu_reduce_last_shard(k->r);
    assert_true(last <= shards);
    for (int shard = first; shard < last; shard++)
        emu_copy_in(k->source[step][shard - first], gpu_leaf[step][shard], sizeof gpu_leaf[step][shard]);
    for (int shard = first; shard < last; shard += beside)
        backward(k, step, shard, last - shard < beside ? last - shard : beside);
    if (ddp_gpu_reduce_finish(k->r, &err) != 0)
        fail_msg("%s", err.text);
}

/* The trained part of weights on the device: `params`, rounded to bf16. */
static void check_rounded(const void *weights, const float *params)
{
    static uint16_t got[TOTAL];
    emu_copy_out(got, weights, sizeof got);
    for (int64_t i = 0; i < TRAINED; i++) {
        uint32_t u;
        memcpy(&u, &params[i], sizeof u);
        assert_int_equal(got[i], (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16));
    }
}

/* What a rank has of all parameters: in fp32 what it reads in fp32, and all of them in the compute type. */
static void check_readable(const struct problem *p, const struct setup *s, const float *params,
                           const void *weights, const float *want)
{
    static float got[TOTAL];
    const bool all = strstr(s->what, "all in fp32") || s->fast || s->type == DDP_GPU_F32;
    emu_copy_out(got, params, sizeof got);
    for (int t = 0; t < TENSORS; t++)
        if (all || biases[t])
            assert_memory_equal(got + p->tensor[t].offset, want + p->tensor[t].offset,
                                (size_t)p->tensor[t].size * sizeof *got);
    assert_memory_equal(got + TRAINED, want + TRAINED, (TOTAL - TRAINED) * sizeof *got);
    if (s->type == DDP_GPU_BF16)
        check_rounded(weights, want);
}

/* The average of all ranks on each of them, as the compute stream finds it behind the gathering. */
static void gather(struct rank *k)
{
    ddp_gpu_updater_gather(&k->updater);
    if (k->updater.average)
        fake_api()->copy(k->compute, k->source[0][0], k->updater.average, TOTAL * sizeof(float));
}

/* Trained parameters from their owners, the rest from the parameters. */
static void check_gathered(const struct rank *k, const struct problem *p, const struct setup *s,
                           const struct outcome *o)
{
    static float want[TOTAL];
    if (!k->updater.average)
        return;
    memcpy(want, o->state[ddp_optim_array_count(&p->cfg) - 1], TRAINED * sizeof *want);
    memcpy(want + TRAINED, o->params + TRAINED, (TOTAL - TRAINED) * sizeof *want);
    check_readable(p, s, k->source[0][0], k->updater.average_weights, want);
}

/* What all ranks refused, as one of them knows it. */
static int32_t refused_by_any(const struct rank *k)
{
    int32_t row[MAX_SHARDS * DDP_GPU_REFUSED], last = 0;
    int rows;
    const int32_t *from = ddp_gpu_reduce_refusals(k->r, &rows);
    emu_copy_out(row, from, (size_t)rows * DDP_GPU_REFUSED * sizeof *row);
    for (int i = 0; i < rows; i++)
        last = row[i * DDP_GPU_REFUSED] > last ? row[i * DDP_GPU_REFUSED] : last;
    return last;
}

void gpu_collect(struct rank *k, int ranks, const struct problem *p, const struct setup *s,
                 struct outcome *out)
{
    struct ddp_error err = {0};
    memset(out, 0, sizeof *out);
    for (int r = 0; r < ranks; r++) {
        assert_int_equal(ddp_gpu_reduce_params_get(k[r].r, out->params, &err), 0);
        for (int i = 0; i < ddp_optim_array_count(&p->cfg); i++)
            assert_int_equal(ddp_gpu_reduce_kept_get(k[r].r, ddp_optim_device_array(k[r].updater.optim, i),
                                                     out->state[i], &err),
                             0);
        assert_int_equal(ddp_gpu_reduce_scale_get(k[r].r, &out->scale, &err), 0);
        assert_true(r == 0 || refused_by_any(&k[r]) == out->refused);
        out->refused = refused_by_any(&k[r]);
    }
    for (int r = 0; r < ranks; r++)
        check_readable(p, s, ddp_gpu_reduce_params(k[r].r), ddp_gpu_reduce_weights(k[r].r), out->params);
}

/* What went between two devices, by where their ranks are. */
static void count_traffic(const struct fake_world *w, const struct gpu_shape *shape)
{
    const int size = gpu_size(shape);
    struct ddp_reduce_layout l;
    ddp_reduce_layout_init(&l, &(struct ddp_reduce_layout_conf){.shards = shape->shards,
                                                                .total = TOTAL,
                                                                .bucket = DDP_BLOCK,
                                                                .nodes = shape->nodes,
                                                                .ranks = shape->ranks,
                                                                .size = size});
    gpu_traffic = (struct gpu_traffic){.gathers = fake_gathers(w), .spread = fake_spread(w)};
    for (int a = 0; a < size; a++)
        for (int b = 0; b < size; b++) {
            const struct ddp_reduce_place from = ddp_reduce_layout_place(&l, a),
                                          to = ddp_reduce_layout_place(&l, b);
            int64_t *kind = from.node == to.node   ? &gpu_traffic.inside
                            : from.lane == to.lane ? &gpu_traffic.lanes
                                                   : &gpu_traffic.across;
            *kind += fake_sent(w, ddp_reduce_layout_slot(&l, a), ddp_reduce_layout_slot(&l, b));
        }
    ddp_reduce_layout_finish(&l);
}

void gpu_run(const struct setup *s, int shards, int ranks, int blocks, uint32_t seed, struct outcome *out)
{
    gpu_run_nodes(s, &(struct gpu_shape){shards, blocks, 1, {ranks}}, seed, out);
}

void gpu_run_nodes(const struct setup *s, const struct gpu_shape *shape, uint32_t seed, struct outcome *out)
{
    const int shards = shape->shards, ranks = gpu_size(shape);
    struct problem p;
    struct rank k[MAX_SHARDS];
    struct fake_world *w = fake_world_create(ranks);
    gpu_start(&p, s);
    gpu_make_leaves(&p, shards, s->fast, s->loss_scale > 0 ? (float)s->loss_scale : 1);
    if (gpu_blow >= 0)
        gpu_leaf[gpu_blow][shards - 1][gpu_blow_at < 0 ? p.tensor[2].offset + 100 : gpu_blow_at] = INFINITY;
    if (gpu_poison >= 0) {
        gpu_leaf[gpu_poison][shards / 2][p.flat.metrics + DDP_METRIC_LOSS] = NAN;
        gpu_leaf[gpu_poison][shards / 2][p.tensor[2].offset + 100] = NAN;
        gpu_leaf[gpu_poison][shards / 2][TRAINED] = NAN;
    }
    for (int r = 0; r < ranks; r++) {
        struct ddp_gpu_reduce_conf conf = gpu_conf(&p, s, shape, r);
        gpu_open_rank(w, &k[r], &conf, &p, p.params);
    }
    for (int step = 0; step < gpu_steps; step++) /* nothing runs before all is enqueued */
        for (int r = 0; r < ranks; r++)
            enqueue_step(&k[r], &p, step, shards, s->beside);
    fake_run(w, seed);
    count_traffic(w, shape);
    for (int r = 0; r < ranks; r++)
        gather(&k[r]);
    fake_run(w, seed);
    gpu_collect(k, ranks, &p, s, out);
    for (int r = 0; r < ranks; r++)
        check_gathered(&k[r], &p, s, out);
    assert_int_equal(emu_faults(), 0);
    for (int r = 0; r < ranks; r++)
        gpu_close_rank(w, &k[r]);
    fake_world_destroy(w);
    problem_finish(&p);
}

void gpu_same(const struct setup *s, const struct outcome *a, const struct outcome *b, const char *which)
{
    for (int64_t i = 0; i < TOTAL; i++)
        if (memcmp(&a->params[i], &b->params[i], 4) != 0)
            fail_msg("%s, %s: parameter %lld is %.9g, not %.9g", s->what, which, (long long)i, a->params[i],
                     b->params[i]);
    assert_memory_equal(a->state, b->state, sizeof a->state);
    assert_memory_equal(&a->scale, &b->scale, sizeof a->scale);
}
