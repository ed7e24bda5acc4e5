/* The samples of a data set: their kind; all of them, or those that data.limit_train or data.limit_test
 * took. */
#include <stdlib.h>

#include "data/scaling.h"

/* "pictures of [1, 28, 28] and 10 classes" */
static const char *kind_text(const struct ddp_dataset_info *info, char buf[128])
{
    const struct ddp_shape *s = &info->shape;
    const bool targets = info->targets > 0;
    const int n = targets ? info->targets : info->classes;
    snprintf(buf, 128, "%s of [%d, %d, %d] and %d %s%s", info->real ? "numbers" : "pictures", s->c, s->h,
             s->w, n, targets ? "target" : "class",
             n == 1    ? ""
             : targets ? "s"
                       : "es");
    return buf;
}

int ddp_dataset_check_splits(const struct ddp_dataset_info *train, const struct ddp_dataset_info *test,
                             struct ddp_error *err)
{
    char a[128], b[128];
    const struct ddp_shape *s = &train->shape, *t = &test->shape;
    if (s->c == t->c && s->h == t->h && s->w == t->w && train->real == test->real &&
        train->targets == test->targets && train->classes == test->classes)
        return 0;
    return ddp_fail(err, DDP_E_DATA, "the splits disagree: train has %s, test %s", kind_text(train, a),
                    kind_text(test, b));
}

static int check_label(const struct ddp_dataset *ds, int64_t sample, int status, const int32_t *label,
                       struct ddp_error *err)
{
    if (status == 0 && (*label < 0 || *label >= ds->info.classes))
        status = ddp_fail(err, DDP_E_DATA, "label %d is out of range; allowed are 0..%d", (int)*label,
                          ds->info.classes - 1);
    return status ? ddp_error_prefix(err, "sample %lld", (long long)sample) : 0;
}

int ddp_dataset_get(const struct ddp_dataset *ds, int64_t index, void *x, void *y, struct ddp_error *err)
{
    const struct ddp_dataset_info *info = &ds->info;
    const int64_t sample = ds->pick ? ds->pick[index] : index;
    const bool real = info->real || info->targets > 0;
    const int status =
        real ? ds->ops->get_real(ds->self, sample, x, y, err) : ds->ops->get(ds->self, sample, x, y, err);
    if (status == 0)
        ddp_scaling_apply(&ds->inputs, info->shape.h * info->shape.w, x);
    if (status || info->targets <= 0)
        return check_label(ds, sample, status, y, err);
    ddp_scaling_apply(&ds->targets, 1, y);
    return 0;
}

int ddp_dataset_label(const struct ddp_dataset *ds, int64_t index, void *scratch, int32_t *label,
                      struct ddp_error *err)
{
    if (!ds->ops->label)
        return ddp_dataset_get(ds, index, scratch, label, err);
    const int64_t sample = ds->pick ? ds->pick[index] : index;
    return check_label(ds, sample, ds->ops->label(ds->self, sample, label, err), label, err);
}

/* ---- which a limit takes --------------------------------------------------------------------- */

/* The order of the whole set is one whose every beginning has the classes in the proportion of the set:
 * the j-th of class c's n(c) samples, in a seeded order, stands at (j + 1/2) / n(c), and samples at one
 * place come in a seeded order of their classes. The limit takes the beginning, so that 100 samples begin
 * 1,000. How the files are sorted, or in which format they are, shows nowhere but in the samples' numbers. */

/* Epochs of ddp_order_epoch() that no run reaches: the order within classes, and of classes. */
enum { SAMPLES = INT32_MAX, CLASSES = INT32_MAX - 1 };

struct place {
    int64_t sample, rank, of; /* at (rank + 1/2) / of */
    int64_t tie;
};

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    /* ranks and counts are below 2^32 */
    const unsigned __int128 p = (unsigned __int128)(2 * x->rank + 1) * (uint64_t)y->of,
                            q = (unsigned __int128)(2 * y->rank + 1) * (uint64_t)x->of;
    return p != q ? (p < q ? -1 : 1) : x->tie < y->tie ? -1 : x->tie > y->tie;
}

static int read_labels(const struct ddp_dataset *ds, int32_t *label, struct ddp_error *err)
{
    if (ds->info.targets > 0)
        return 0; /* all of one kind */
    void *pixels = ddp_malloc(ddp_dataset_input_bytes(&ds->info));
    int status = 0;
    for (int64_t i = 0; i < ds->info.count && status == 0; i++)
        status = ddp_dataset_label(ds, i, pixels, &label[i], err);
    free(pixels);
    return status;
}

int ddp_dataset_limit(struct ddp_dataset *ds, int64_t limit, uint64_t seed, struct ddp_error *err)
{
    const int64_t count = ds->info.count, classes = ds->info.targets > 0 ? 1 : ds->info.classes;
    if (limit <= 0 || limit >= count)
        return 0;
    int32_t *label = ddp_calloc((size_t)count, sizeof *label);
    int64_t *order = ddp_calloc((size_t)count, sizeof *order);
    int64_t *tie = ddp_calloc((size_t)classes, sizeof *tie), *n = ddp_calloc((size_t)classes, sizeof *n);
    struct place *place = ddp_calloc((size_t)count, sizeof *place);
    const int status = read_labels(ds, label, err);
    if (status)
        goto done;
    ddp_order_epoch(seed, CLASSES, classes, true, tie);
    ddp_order_epoch(seed, SAMPLES, count, true, order);
    for (int64_t i = 0; i < count; i++) {
        const int32_t c = label[order[i]];
        place[i] = (struct place){.sample = order[i], .rank = n[c]++, .tie = tie[c]};
    }
    for (int64_t i = 0; i < count; i++)
        place[i].of = n[label[place[i].sample]];
    qsort(place, (size_t)count, sizeof *place, by_place);
    ds->pick = ddp_calloc((size_t)limit, sizeof *ds->pick);
    for (int64_t i = 0; i < limit; i++)
        ds->pick[i] = place[i].sample;
    ds->info.count = limit;
done:
    free(label);
    free(order);
    free(tie);
    free(n);
    free(place);
    return status;
}
