/* The products of linear layers by OpenBLAS, which is looked for when the program runs:
 *
 *   forward          y [n, k] = x [n, f] w' [f, k]
 *   data gradient    dx [n, f] = dy [n, k] w [k, f]
 *   weight gradient  dw [k, f] = dy' [k, n] x [n, f]
 *
 * in plain row-major arrays with the numbers of ours, on one thread. */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/ops/ops.h"
#include "ops/builtin.h"

enum { ROW_MAJOR = 101, PLAIN = 111, TURNED = 112 }; /* cblas.h */
typedef void sgemm(int order, int turn_a, int turn_b, int m, int n, int k, float alpha, const float *a,
                   int lda, const float *b, int ldb, float beta, float *c, int ldc);

struct ops_blas {
    sgemm *sgemm;
    char version[256];
};

/* ISO C has no cast from objects to functions. */
typedef void any(void);
static any *symbol(void *library, const char *name)
{
    any *f;
    void *p = dlsym(library, name);
    memcpy(&f, &p, sizeof f);
    return f;
}

/* "OpenBLAS 0.3.21 DYNAMIC_ARCH NO_AFFINITY Haswell MAX_THREADS=64": its first words, and the kernels. */
static void read_version(struct ops_blas *b, void *library)
{
    char *(*config)(void) = (char *(*)(void))symbol(library, "openblas_get_config");
    char *(*core)(void) = (char *(*)(void))symbol(library, "openblas_get_corename");
    char name[32] = "OpenBLAS", number[32] = "";
    if (config)
        sscanf(config(), "%31s %31s", name, number);
    snprintf(b->version, sizeof b->version, "%s %s%s%s%s", name, number, core ? " (kernels for " : "",
             core ? core() : "", core ? ")" : "");
}

/* Why `file` does not serve: an error where it was named, else *missing. */
static int lacks(const char *named, const char *why, const char **missing, struct ddp_error *err)
{
    *missing = why;
    return named
               ? ddp_fail(err, DDP_E_RESOURCE, "--openblas %s: %s; \"none\" leaves OpenBLAS out", named, why)
               : 0;
}

int ops_blas_open(const char *file, struct ops_blas **out, const char **missing, struct ddp_error *err)
{
    *out = NULL;
    *missing = "--openblas none";
    if (file && strcmp(file, "none") == 0)
        return 0;
    setenv("OPENBLAS_NUM_THREADS", "1", 0); /* or it starts some that wait for work */
    void *library = dlopen(file ? file : "libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return lacks(file, dlerror(), missing, err);
    struct ops_blas *b = ddp_calloc(1, sizeof *b);
    void (*threads)(int) = (void (*)(int))symbol(library, "openblas_set_num_threads");
    b->sgemm = (sgemm *)symbol(library, "cblas_sgemm");
    if (!b->sgemm || !threads) {
        free(b);
        return lacks(file, "it is no OpenBLAS with cblas_sgemm and openblas_set_num_threads", missing, err);
    }
    threads(1);
    read_version(b, library);
    *out = b;
    return 0;
}

const char *ops_blas_version(const struct ops_blas *b)
{
    return b->version;
}

struct product {
    int turn_a, turn_b, m, n, k, lda, ldb, ldc;
    const float *a, *b;
    float *c;
};

struct ops_blas_layer {
    sgemm *sgemm;
    struct product product[OPS_PASSES];
    double seconds[OPS_PASSES][OPS_ROUNDS];
};

static float *plain_tensor(const struct ddp_tensor *t)
{
    float *p = ops_floats((int64_t)t->n * t->c * t->h * t->w);
    ddp_tensor_unpack(t, p);
    return p;
}

static float *plain_param(const struct ddp_param *p, const float *flat)
{
    float *plain = ops_floats(ddp_layout_plain_size(p));
    ddp_layout_unpack(p, flat, plain);
    return plain;
}

/* Results of ours, made anew, against the product's. */
static int check(struct ops_layer *l, int pass, struct ddp_error *err)
{
    const struct product *p = &l->blas->product[pass];
    ops_layer_run(l, &l->spec->passes[pass]);
    ops_blas_run(l, pass);
    float *ours = pass == 0   ? plain_tensor(&l->out->t)
                  : pass == 1 ? plain_tensor(&l->din[0]->t)
                              : plain_param(&l->plan.params[0], l->call.grad[0]);
    const int64_t n = (int64_t)p->m * p->n;
    double off = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs((double)ours[i] - (double)p->c[i]);
        off = d <= off ? off : d; /* not a number: neither less */
        largest = fmax(largest, fabs((double)ours[i]));
    }
    ddp_pages_free(ours, (size_t)n * sizeof *ours);
    return off <= 1e-4 * largest
               ? 0
               : ddp_fail(err, DDP_E_RESOURCE,
                          "%s, %s: OpenBLAS's numbers differ from ours by up to %g, of at most %g: one of "
                          "them is wrong; \"--openblas none\" leaves OpenBLAS out",
                          l->spec->name, l->spec->passes[pass].name, off, largest);
}

int ops_blas_attach(const struct ops_blas *b, struct ops_layer *l, struct ddp_error *err)
{
    if (l->spec->op != &ddp_op_linear)
        return 0;
    const struct ops_spec *s = l->spec;
    const int n = s->n, f = s->c * s->h * s->w, k = s->k;
    const float *x = plain_tensor(&l->in[0]->t), *dy = plain_tensor(&l->dout->t),
                *w = plain_param(&l->plan.params[0], l->call.param[0]);
    float *y = ops_floats((int64_t)n * k), *dx = ops_floats((int64_t)n * f), *dw = ops_floats((int64_t)k * f);
    l->blas = ddp_calloc(1, sizeof *l->blas);
    *l->blas = (struct ops_blas_layer){.sgemm = b->sgemm,
                                       .product = {{PLAIN, TURNED, n, k, f, f, f, k, x, w, y},
                                                   {PLAIN, PLAIN, n, f, k, k, f, f, dy, w, dx},
                                                   {TURNED, PLAIN, k, f, n, k, f, f, dy, x, dw}}};
    int status = 0;
    for (int pass = 0; pass < l->npasses && status == 0; pass++)
        status = check(l, pass, err);
    return status;
}

void ops_blas_run(const struct ops_layer *l, int pass)
{
    const struct product *p = &l->blas->product[pass];
    l->blas->sgemm(ROW_MAJOR, p->turn_a, p->turn_b, p->m, p->n, p->k, 1, p->a, p->lda, p->b, p->ldb, 0, p->c,
                   p->ldc);
}

double *ops_blas_seconds(const struct ops_layer *l, int pass)
{
    return l->blas->seconds[pass];
}
