/* ddp-bench ops: what its files share. A spec is a row of the table of layers (specs.c), a layer is one with
 * memory to run it (layer.c), its passes are what is timed (measure.c), beside what the machine gives
 * (ceilings.c) and what OpenBLAS makes of the same products (blas.c); tell.c shows them. */
#ifndef DDP_BENCH_OPS_H
#define DDP_BENCH_OPS_H

#include "bench/report.h"
#include "ops/ops.h"

enum { OPS_ROUNDS = 7, OPS_PASSES = 3, OPS_LEVELS = 6 };

struct ops_spec {
    const char *name;
    const struct ddp_op *op;
    int c, h, w;                /* of a sample that comes in */
    int k, kernel, stride, pad; /* keys of the op by these names (k: out), where it has them */
    int n;                      /* samples */
    unsigned fused;             /* DDP_FUSE_ADD: a second tensor of the same shape comes in, too */
    const struct ops_pass *passes;
    bool features; /* in features order, of an op that takes any */
};

/* Of a pass: forward, or what backward is asked for. The time of the data gradient alone is that of both less
 * that of the weights' alone. */
struct ops_pass {
    const char *name; /* NULL: the end of a list */
    bool forward, data, weights;
};

extern const struct ops_spec ops_specs[];
extern const int ops_nspecs;
bool ops_has_products(const struct ops_spec *s); /* multiply-adds decide its time, and are counted */

/* ---- layer.c ---- */

/* What a pass may read, as bits: in[0], in[1], out, the gradient of out, and parameters behind. */
enum { OPS_IN, OPS_PLUS, OPS_OUT, OPS_DOUT, OPS_PARAM };

struct ops_tensor {
    struct ddp_tensor t;
    float *memory; /* all of it, the border too */
    int64_t floats;
};

struct ops_layer {
    const struct ops_spec *spec;
    void *conf;
    struct ddp_layer_plan plan;
    struct ops_tensor *in[2], *din[2], *out, *dout;
    struct ddp_op_call call;
    float loss;
    int64_t correct;
    int npasses;
    double bytes[OPS_PASSES]; /* that a pass reads and writes at least */
    double seconds[OPS_PASSES][OPS_ROUNDS];
    struct ops_blas_layer *blas; /* NULL: there is none beside it */
};

/* Memory of the benchmark lives until it ends, and layers share tensors of the same shape and use. */
float *ops_floats(int64_t n);
void ops_fill(float *p, int64_t n); /* numbers from -1 to 1 */
/* `samples` in place of the spec's own. Ends the program with a message where that cannot be. */
void ops_layer_make(struct ops_layer *l, const struct ops_spec *s, int samples);
/* One call: of backward for all that the pass wants. */
void ops_layer_run(struct ops_layer *l, const struct ops_pass *pass);

/* ---- bytes.c ---- */

/* Bytes of each pass of l: every operand once, by its definition in fp32 (no padded channels). What a pass
 * reads is found out by changing one operand after the other and looking whether its results change. */
void ops_bytes(struct ops_layer *l);

/* ---- ceilings.c ---- */

double ops_now(void); /* CPU seconds of this thread */

struct ops_ceilings {
    double flops[OPS_ROUNDS];             /* a second: multiply-adds in registers */
    double bytes[OPS_LEVELS][OPS_ROUNDS]; /* a second: a = b + c / 2 over ops_level_bytes() */
};
double ops_level_bytes(int level); /* of all three arrays; the largest is beyond most caches */
void ops_ceilings_measure(struct ops_ceilings *c, int round);
/* Bytes a second over a working set of so many bytes: medians, between two levels in proportion to the
 * logarithm of the size. */
double ops_ceiling_at(const struct ops_ceilings *c, double bytes);

/* ---- measure.c ---- */

/* All layers and ceilings in turn, round after round. */
void ops_measure(struct bench_report *r, struct ops_layer *layers, int n, struct ops_ceilings *c);

/* ---- blas.c ---- */

/* file: of the library; NULL: where the loader looks; "none": not wanted. *out is NULL, and *missing says
 * why, where there is none; a file that was named and does not serve is DDP_E_RESOURCE. */
struct ops_blas;
int ops_blas_open(const char *file, struct ops_blas **out, const char **missing, struct ddp_error *err);
const char *ops_blas_version(const struct ops_blas *b);
/* Give l, a linear layer, the same products in plain layouts, and hold results against l's own:
 * DDP_E_RESOURCE where they differ by more than rounding. Of other layers nothing happens. */
int ops_blas_attach(const struct ops_blas *b, struct ops_layer *l, struct ddp_error *err);
void ops_blas_run(const struct ops_layer *l, int pass);
double *ops_blas_seconds(const struct ops_layer *l, int pass); /* [OPS_ROUNDS] */

/* ---- tell.c ---- */

void ops_tell(struct bench_report *r, const struct ops_layer *layers, int n, const struct ops_ceilings *c);

#endif
