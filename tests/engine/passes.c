/* One pass on the CPU over shards of random pictures. */
#include "passes.h"

#include <math.h>

#define CONV(name) "{type=\"conv2d\", name=\"" name "\", out=16, kernel=3, padding=1},"
#define BN(rest)   "{type=\"batch_norm\", name=\"t\"" rest "},"
#define ADD(a, b)  "{type=\"add\", name=\"s\", input=[\"" a "\", \"" b "\"]},"
#define END                                                                                                  \
    "{type=\"global_avg_pool\"}, {type=\"flatten\"}, {type=\"linear\", out=5}, "                             \
    "{type=\"softmax_cross_entropy\"}"
#define VECTORS "{type=\"linear\", name=\"p\", out=20},"
#define POOLED  CONV("c") "{type=\"global_avg_pool\", name=\"m\"},"
#define FLAT    "{type=\"flatten\", name=\"f\", input=\"m\"},"
#define LAST    "{type=\"linear\", out=5}, {type=\"softmax_cross_entropy\"}"
#define SYNC    ", sync=true"
#define RELU    "{type=\"relu\"},"

const struct read_twice read_twice[] = {
    {CONV("p") BN("") ADD("t", "p") END, {3, 5, 4}},
    {CONV("p") BN("") ADD("p", "t") END, {3, 5, 4}},
    {CONV("p") BN("") ADD("t", "p") RELU END, {3, 5, 4}},
    {CONV("p") BN(SYNC) ADD("t", "p") END, {3, 5, 4}},
    {CONV("p") BN(SYNC) ADD("p", "t") RELU END, {3, 5, 4}},
    {VECTORS BN("") ADD("t", "p") LAST, {1, 4, 4}},
    {VECTORS BN(SYNC) ADD("p", "t") LAST, {1, 4, 4}},
    {VECTORS BN("") ADD("t", "p") RELU LAST, {1, 4, 4}},
    {POOLED FLAT ADD("m", "f") LAST, {3, 4, 6}},
    {POOLED FLAT ADD("f", "m") RELU LAST, {3, 4, 6}},
    {POOLED BN("") FLAT ADD("t", "f") LAST, {3, 4, 6}},
    {POOLED BN(SYNC) FLAT ADD("f", "t") RELU LAST, {3, 4, 6}},
    {CONV("p") ADD("p", "p") END, {3, 5, 4}},
    {CONV("p") ADD("p", "p") RELU END, {3, 5, 4}},
    {VECTORS ADD("p", "p") LAST, {1, 4, 4}},
    {"{type=\"add\", name=\"d\", input=[\"data\", \"data\"]}," CONV("p") END, {3, 5, 4}},
    /* a third reader, before and behind */
    {CONV("p") BN("") ADD("t", "p") "{type=\"gelu\", name=\"g\", input=\"p\"},"
                                    "{type=\"add\", name=\"u\", input=[\"g\", \"s\"]}," END,
     {3, 5, 4}},
    {CONV("p") "{type=\"gelu\", name=\"g\"}," ADD(
         "p", "p") "{type=\"add\", name=\"u\", input=[\"g\", \"s\"]}," END,
     {3, 5, 4}},
};
const int nread_twice = sizeof read_twice / sizeof read_twice[0];

/* Kernels want parameters and leaves on 64 bytes. */
static float *flat_alloc(int64_t n)
{
    return aligned_alloc(64, n * sizeof(float));
}

struct pass *pass_create(const struct ddp_model *m, int nshards, const int *n)
{
    struct pass *p = calloc(1, sizeof *p);
    const int64_t total = m->flat.total, picture = (int64_t)m->input.c * m->input.h * m->input.w;
    const struct ddp_layer *loss = &m->layer[m->nlayers - 1];
    const int classes = loss->shape[0].c * loss->shape[0].h * loss->shape[0].w;
    uint32_t at = 0;
    p->m = m;
    p->nshards = nshards;
    p->params = flat_alloc(total);
    p->reported = calloc(total / DDP_BLOCK, MAX_SHARDS);
    ddp_model_init(m, 7, p->params);
    for (int i = 0; i < nshards; i++) {
        p->leaf[i] = flat_alloc(total);
        float *pixels = malloc(n[i] * picture * sizeof *pixels + 1);
        int32_t *label = malloc(n[i] * sizeof *label + 1);
        int64_t *sample = malloc(n[i] * sizeof *sample + 1);
        for (int k = 0; k < n[i]; k++, at++) {
            sample[k] = 100 + at;
            label[k] = (int32_t)(at * 7 % classes);
            for (int64_t e = 0; e < picture; e++)
                pixels[k * picture + e] = random_uniform((uint32_t)e, at);
        }
        p->shard[i] = (struct ddp_shard){.n = n[i], .pixels = pixels, .label = label, .sample = sample};
    }
    return p;
}

void pass_destroy(struct pass *p)
{
    for (int i = 0; i < p->nshards; i++) {
        free((void *)p->shard[i].pixels);
        free((void *)p->shard[i].label);
        free((void *)p->shard[i].sample);
        free(p->leaf[i]);
    }
    free(p->reported);
    free(p->params);
    free(p);
}

int sum_leaves(void *ctx, int width, const double *leaves, double *out, struct ddp_error *err)
{
    (void)err;
    for (int k = 0; k < width; k++) {
        out[k] = leaves[k];
        for (int i = 1; i < *(int *)ctx; i++)
            out[k] += leaves[(size_t)i * width + k];
    }
    return 0;
}

struct shard_offset {
    struct pass *p;
    int first;
};

void pass_ready(void *ctx, int i, int64_t lo, int64_t hi)
{
    struct shard_offset *o = ctx;
    assert_true(lo < hi && lo % DDP_BLOCK == 0 && hi % DDP_BLOCK == 0 && hi <= o->p->m->flat.metrics);
    for (int64_t b = lo / DDP_BLOCK; b < hi / DDP_BLOCK; b++)
        o->p->reported[b * MAX_SHARDS + o->first + i]++;
}

void pass_run(struct pass *p, int resident, struct ddp_pool *pool)
{
    struct ddp_error err = {0};
    struct ddp_cpu_pass *cpu = NULL;
    struct ddp_cpu_pass_conf conf = {.training = true,
                                     .resident = resident,
                                     .seed = 5,
                                     .pool = pool,
                                     .sync = sum_leaves,
                                     .sync_ctx = &p->nshards};
    int64_t count = 0;
    for (int i = 0; i < p->nshards; i++) {
        count += p->shard[i].n;
        for (int64_t k = 0; k < p->m->flat.total; k++)
            p->leaf[i][k] = NAN;
    }
    assert_int_equal(ddp_cpu_pass_create(p->m, &conf, &cpu, &err), 0);
    for (int i = 0; i < p->nshards; i += resident) {
        int n = p->nshards - i < resident ? p->nshards - i : resident;
        struct shard_offset o = {p, i};
        assert_int_equal(ddp_cpu_pass_forward(cpu, p->params, p->shard + i, n, 3, count, p->loss + i,
                                              p->correct + i, &err),
                         0);
        assert_int_equal(ddp_cpu_pass_backward(cpu, p->params, p->leaf + i, n, pass_ready, &o, &err), 0);
    }
    ddp_cpu_pass_destroy(cpu);
}
