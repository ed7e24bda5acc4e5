/* What the tests of ops share: run an op's forward and backward on plain arrays, in any order of the tensors,
 * on any instruction set and number of threads, with everything an op must not touch poisoned and looked at
 * afterwards.
 *
 * One test is two: where DDP_CUDA_PLUGIN names a plug-in (the emulated one, or a GPU's), kit_run() and
 * kit_run_all() run the op's device half instead, in fp32, and the same cases are held to the same numbers.
 * What looks at orders of tensors, instruction sets or threads begins with kit_cpu_only(). */
#ifndef DDP_TESTS_OP_KIT_H
#define DDP_TESTS_OP_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ops/ops.h"
#include "ops/builtin.h"

/* One layer and what goes into it. Plain arrays: x and before [n][c][h][w], dout and
 * y in the shape of out. */
struct kit_args {
    const struct ddp_op *op;
    const void *conf;
    struct ddp_shape in, second; /* second: of in[1]; {0}: as in */
    int batch, n;
    unsigned fused;
    bool evaluate; /* not training */
    int nin;       /* 0: op->nin */
    const float *x[DDP_OP_MAX_IN];
    const float *dout;
    const float *before[DDP_OP_MAX_IN]; /* not NULL: din starts with it and is added to */
    bool skip_din[DDP_OP_MAX_IN];
    enum ddp_over over;                    /* din[0] is in[0] */
    bool in_place;                         /* out is in[0], din[0] is dout (same order) */
    const float *param[DDP_OP_MAX_PARAMS]; /* vectors, plain */
    uint64_t seed;
    uint32_t layer, epoch;
    const int64_t *sample;
    const int32_t *label;
    const float *target;           /* [n][c], in place of labels */
    const struct ddp_mixed *mixed; /* [n], likewise */
    int64_t sync_count;
};

struct kit_variant {
    const char *isa; /* NULL: best */
    int threads;     /* 0: no pool */
    bool in_features, out_features;
    int halo;
};

struct kit_tensor {
    struct ddp_tensor t;
    float *buf;
    size_t floats;
};

/* A layer laid out. call may be changed before a stage is run. */
struct kit {
    struct kit_args args;
    struct ddp_layer_plan plan;
    struct ddp_op_call call;
    struct ddp_pool *pool;
    struct kit_tensor in[DDP_OP_MAX_IN], out, dout, din[DDP_OP_MAX_IN];
    float *param[DDP_OP_MAX_PARAMS], *grad[DDP_OP_MAX_PARAMS], *leaf[DDP_OP_MAX_PARAMS];
    double *sync;
    float loss, error;
    int64_t correct;
};

struct kit_result {
    struct ddp_shape out;
    int64_t ny, nx[DDP_OP_MAX_IN]; /* elements of y and of each dx */
    float *y, *dx[DDP_OP_MAX_IN];
    int nparams, c16;
    int64_t size[DDP_OP_MAX_PARAMS];                          /* of each flat parameter */
    float *grad[DDP_OP_MAX_PARAMS], *leaf[DDP_OP_MAX_PARAMS]; /* flat, with padding */
    float loss, error;
    int64_t correct;
};

/* Plan, allocate, fill. Fails the test on a plan error. */
void kit_open(struct kit *k, const struct kit_args *a, const struct kit_variant *v);
void kit_forward(struct kit *k);
void kit_backward(struct kit *k);
/* Check what must not have been touched and that padding is zero, take the results out, free. */
void kit_close(struct kit *k, struct kit_result *r);
void kit_free(struct kit_result *r);

/* The device: whether it is what kit_run() runs on, a run on it, and main() of a program that may. */
bool kit_on_device(void);
void kit_cpu_only(void); /* skips the test on a device */
void kit_run_device(const struct kit_args *a, struct kit_result *r);
int kit_main(const struct CMUnitTest *tests, size_t n);
#define KIT_MAIN(tests) kit_main(tests, sizeof(tests) / sizeof *(tests))
void kit_expect_same(const struct kit_result *a, const struct kit_result *b); /* the bits */

/* open, forward, backward (unless evaluating or a loss), close */
void kit_run(const struct kit_args *a, const struct kit_variant *v, struct kit_result *r);
/* The same on every instruction set, with no pool and 1, 2, 3 threads, in all orders: all must give the bits
 * of the first, which is returned. */
void kit_run_all(const struct kit_args *a, struct kit_result *r);

/* Instruction sets that this machine runs. */
int kit_isas(const char *names[4]);

/* Uniform in [lo, hi), by element; no two neighbours alike. malloc'd. */
float *kit_random(int64_t n, float lo, float hi, uint32_t stream);

/* |got - want| <= tol * (scale + |want|) for all elements, else fail naming the first. */
void kit_close_to(const char *what, const float *got, const double *want, int64_t n, double tol,
                  double scale);

/* Central differences in double of sum(dout * f(x)) at each x, into dx. f writes ny values. */
typedef void (*kit_fn)(const void *ctx, const double *x, double *y);
void kit_differences(kit_fn f, const void *ctx, const double *x, int64_t nx, const float *dout, int64_t ny,
                     double *dx);
double *kit_widen(const float *x, int64_t n); /* malloc'd */

/* Plan must fail with `code` and a text that holds every one of the words (up to NULL). */
void kit_expect_plan_error(const struct ddp_op *op, const void *conf, const struct ddp_shape *in, int nin,
                           int code, const char *const *words);

#endif
