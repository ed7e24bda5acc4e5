/* Real inputs and targets brought to mean 0 and deviation 1 by the statistics of the training split. */
#include "data/scaling.h"

#include <stdlib.h>

/* Room for one sample as the format gives it. */
struct sample {
    void *x, *y;
};

static struct sample make_sample(const struct ddp_dataset_info *info)
{
    return (struct sample){ddp_malloc(ddp_dataset_input_bytes(info)),
                           ddp_malloc(ddp_dataset_answer_bytes(info))};
}

static void free_sample(struct sample *s)
{
    free(s->x);
    free(s->y);
}

static struct ddp_scaling make_scaling(int n)
{
    return (struct ddp_scaling){.n = n,
                                .mean = ddp_calloc((size_t)n + 1, sizeof(double)),
                                .std = ddp_calloc((size_t)n + 1, sizeof(double))};
}

void ddp_scaling_finish(struct ddp_scaling *s)
{
    free(s->mean);
    free(s->std);
    *s = (struct ddp_scaling){0};
}

/* sum[i] += v, or (v - mean)^2, over the `each` values of column i. */
static void add(const float *v, int n, int each, const double *mean, double *sum)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < each; k++, v++) {
            const double d = mean ? (double)*v - mean[i] : (double)*v;
            sum[i] += mean ? d * d : d;
        }
}

/* One pass over the training split: means first, then deviations. Sums in the order of the samples. */
static int pass(const struct ddp_dataset_ops *ops, const void *train, const struct ddp_dataset_info *info,
                struct ddp_scaling *in, struct ddp_scaling *out, bool deviations, struct ddp_error *err)
{
    const int each = info->shape.h * info->shape.w;
    struct sample s = make_sample(info);
    int status = 0;
    for (int64_t i = 0; i < info->count && status == 0; i++) {
        status = ops->get_real(train, i, s.x, s.y, err);
        if (status)
            ddp_error_prefix(err, "sample %lld", (long long)i);
        if (status == 0 && in->n)
            add(s.x, in->n, each, deviations ? in->mean : NULL, deviations ? in->std : in->mean);
        if (status == 0 && out->n)
            add(s.y, out->n, 1, deviations ? out->mean : NULL, deviations ? out->std : out->mean);
    }
    free_sample(&s);
    const double n[2] = {(double)info->count * each, (double)info->count};
    struct ddp_scaling *of[2] = {in, out};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < of[k]->n; i++) {
            double *v = deviations ? &of[k]->std[i] : &of[k]->mean[i];
            *v /= n[k];
            if (deviations)
                *v = *v > 0 ? ddp_sqrt(*v) : 1; /* a constant column: nothing to divide by */
        }
    return status;
}

/* What the config says in place of what was measured. */
static void take_given(struct ddp_scaling *s, const struct ddp_floats *mean, const struct ddp_floats *std)
{
    for (int i = 0; i < s->n; i++) {
        if (mean->n)
            s->mean[i] = mean->v[mean->n > 1 ? i : 0];
        if (std->n)
            s->std[i] = std->v[std->n > 1 ? i : 0];
    }
}

int ddp_scaling_make(const struct ddp_config *cfg, const struct ddp_dataset_ops *ops, const void *train,
                     const struct ddp_dataset_info *info, struct ddp_scaling *in, struct ddp_scaling *out,
                     struct ddp_error *err)
{
    const bool scale_in = info->real && cfg->data.normalize, scale_out = cfg->data.normalize_targets;
    *in = make_scaling(scale_in ? info->shape.c : 0);
    *out = make_scaling(scale_out ? info->targets : 0);
    if (!in->n && !out->n)
        return 0;
    int status = pass(ops, train, info, in, out, false, err);
    if (status == 0)
        status = pass(ops, train, info, in, out, true, err);
    take_given(in, &cfg->data.mean, &cfg->data.std);
    return status;
}

void ddp_scaling_apply(const struct ddp_scaling *s, int each, float *v)
{
    for (int i = 0; i < s->n; i++)
        for (int k = 0; k < each; k++, v++)
            *v = (float)(((double)*v - s->mean[i]) / s->std[i]);
}
