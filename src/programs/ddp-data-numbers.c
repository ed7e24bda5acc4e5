/* ddp-data inspect, for data of real numbers: counts, digests, and what each input and target looks like. */
#include "ddp-data.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { SHOWN = 40 }; /* columns, at the most */

struct column {
    double sum, square, low, high;
};

static void add(struct column *c, const float *v, int n, int each)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < each; k++, v++) {
            c[i].sum += *v;
            c[i].square += (double)*v * *v;
            c[i].low = fmin(c[i].low, *v);
            c[i].high = fmax(c[i].high, *v);
        }
}

static void print_columns(const char *what, const char *const *names, const struct column *c, int n,
                          double count)
{
    for (int i = 0; i < n && i < SHOWN; i++) {
        const double mean = c[i].sum / count, variance = c[i].square / count - mean * mean;
        printf("  %-7s %-20.20s  mean %12.6g  std %12.6g  from %12.6g to %12.6g\n", what,
               names ? names[i] : "", mean, variance > 0 ? sqrt(variance) : 0, c[i].low, c[i].high);
    }
    if (n > SHOWN)
        printf("  and %d more\n", n - SHOWN);
}

static int survey(const struct ddp_dataset *ds, const char *split, struct ddp_error *err)
{
    const struct ddp_dataset_info *info = &ds->info;
    const int inputs = info->real ? info->shape.c : 0, each = info->shape.h * info->shape.w;
    struct column *c = ddp_calloc((size_t)(inputs + info->targets) + 1, sizeof *c);
    void *x = ddp_malloc(ddp_dataset_input_bytes(info)), *y = ddp_malloc(ddp_dataset_answer_bytes(info));
    char digest[65];
    for (int i = 0; i < inputs + info->targets; i++)
        c[i].low = DBL_MAX, c[i].high = -DBL_MAX;
    int status = ds->ops->digest(ds->self, digest, err);
    for (int64_t i = 0; i < info->count && status == 0; i++) {
        status = ds->ops->get_real(ds->self, ds->pick ? ds->pick[i] : i, x, y, err); /* not scaled */
        if (status == 0 && inputs)
            add(c, x, inputs, each);
        if (status == 0)
            add(c + inputs, y, info->targets, 1);
    }
    if (status == 0) {
        printf("%-5s  %lld samples\n       sha256 %s\n", split, (long long)info->count, digest);
        print_columns("input", info->input_names, c, inputs, (double)info->count * each);
        print_columns("target", info->target_names, c + inputs, info->targets, (double)info->count);
    }
    free(c);
    free(x);
    free(y);
    return status;
}

int ddp_data_survey_numbers(const struct ddp_config *cfg, struct ddp_dataset *const ds[2],
                            struct ddp_error *err)
{
    const struct ddp_dataset_info *info = &ds[0]->info;
    printf("%s: format %s, inputs [%d, %d, %d], %d real target%s\n", cfg->data.name, ds[0]->ops->name,
           info->shape.c, info->shape.h, info->shape.w, info->targets, info->targets == 1 ? "" : "s");
    const int status = survey(ds[0], "train", err);
    return status ? status : survey(ds[1], "test", err);
}
