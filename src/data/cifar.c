/* CIFAR-10 and CIFAR-100 in their binary form (cs.toronto.edu/~kriz/cifar.html): records of one label byte
 * (CIFAR-100: coarse, then fine label; the fine one is used) and 3 x 32 x 32 bytes, red plane first. Files
 * are mapped. */
#include <stdlib.h>
#include <string.h>

#include "data/formats.h"

enum { PICTURE = 3 * 32 * 32, MAX_FILES = 64 };

struct kind {
    int label_bytes, classes;
    const char *folder; /* of the published archive, looked into as well */
    const char *train[6], *test;
    int64_t train_records, test_records; /* in each file under its published name */
    const char *const *names;
    double mean[3], std[3];
};

static const char *const cifar10_names[10] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                              "dog",      "frog",       "horse", "ship", "truck"};

static const struct kind cifar10 = {
    .label_bytes = 1,
    .classes = 10,
    .folder = "cifar-10-batches-bin",
    .train = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
              "data_batch_5.bin"},
    .test = "test_batch.bin",
    .train_records = 10000,
    .test_records = 10000,
    .names = cifar10_names,
    .mean = {0.4914, 0.4822, 0.4465},
    .std = {0.2470, 0.2435, 0.2616},
};
static const struct kind cifar100 = {
    .label_bytes = 2,
    .classes = 100,
    .folder = "cifar-100-binary",
    .train = {"train.bin"},
    .test = "test.bin",
    .train_records = 50000,
    .test_records = 10000,
    .mean = {0.5071, 0.4865, 0.4409},
    .std = {0.2673, 0.2564, 0.2762},
};

struct cifar_file {
    char *path;
    const uint8_t *data;
    size_t bytes;
    int64_t records;
};

struct cifar {
    const struct kind *kind;
    int nfiles;
    struct cifar_file file[MAX_FILES];
    int64_t count;
};

static void cifar_close(void *ds)
{
    struct cifar *d = ds;
    for (int i = 0; i < d->nfiles; i++) {
        ddp_file_unmap(d->file[i].data, d->file[i].bytes);
        free(d->file[i].path);
    }
    free(d);
}

static char *find_file(const struct ddp_dataset_conf *conf, const char *folder, const char *name)
{
    char *path = ddp_data_path(conf, name);
    if (ddp_path_exists(path))
        return path;
    free(path);
    char below[512];
    snprintf(below, sizeof below, "%s/%s", folder, name);
    path = ddp_data_path(conf, below);
    if (ddp_path_exists(path))
        return path;
    free(path);
    return NULL;
}

/* records: what the file must hold, 0 when any number will do. */
static int add_file(struct cifar *d, const struct ddp_dataset_conf *conf, const char *name, int64_t records,
                    struct ddp_error *err)
{
    struct cifar_file *f = &d->file[d->nfiles];
    f->path = find_file(conf, d->kind->folder, name);
    if (!f->path)
        return ddp_data_missing(conf, name, err);
    const void *data;
    int rc = ddp_file_map(f->path, &data, &f->bytes, err);
    if (rc) {
        free(f->path);
        return rc;
    }
    f->data = data;
    d->nfiles++; /* close() releases it from here on */
    size_t record = (size_t)d->kind->label_bytes + PICTURE;
    f->records = (int64_t)(f->bytes / record);
    if (f->records == 0 || f->bytes % record != 0)
        return ddp_fail(err, DDP_E_DATA,
                        "%s is truncated or no CIFAR file: %zu bytes are no multiple of %zu, the size of a "
                        "record",
                        f->path, f->bytes, record);
    if (records && f->records != records)
        return ddp_fail(err, DDP_E_DATA,
                        "%s is %s: it holds %lld records, the published file %lld; fetch it again, or name "
                        "a file of your own in data.files",
                        f->path, f->records < records ? "truncated" : "damaged", (long long)f->records,
                        (long long)records);
    d->count += f->records;
    return 0;
}

static int cifar_open(const struct kind *kind, const struct ddp_dataset_conf *conf, enum ddp_split split,
                      void **out, struct ddp_error *err)
{
    if (conf->files.n == 1 || conf->files.n > MAX_FILES)
        return ddp_fail(err, DDP_E_CONFIG,
                        "data.files has %d name%s; format \"%s\" takes the training files and then, last, "
                        "the test file: 2 to %d names",
                        conf->files.n, conf->files.n == 1 ? "" : "s", conf->format, MAX_FILES);
    struct cifar *d = ddp_calloc(1, sizeof *d);
    d->kind = kind;
    int rc = 0;
    bool train = split == DDP_SPLIT_TRAIN;
    if (conf->files.n && train)
        for (int i = 0; !rc && i < conf->files.n - 1; i++)
            rc = add_file(d, conf, conf->files.v[i], 0, err);
    else if (conf->files.n)
        rc = add_file(d, conf, conf->files.v[conf->files.n - 1], 0, err);
    else if (train)
        for (int i = 0; !rc && kind->train[i]; i++)
            rc = add_file(d, conf, kind->train[i], kind->train_records, err);
    else
        rc = add_file(d, conf, kind->test, kind->test_records, err);
    if (rc) {
        cifar_close(d);
        return rc;
    }
    *out = d;
    return 0;
}

static int cifar10_open(const struct ddp_dataset_conf *conf, enum ddp_split split, void **out,
                        struct ddp_error *err)
{
    return cifar_open(&cifar10, conf, split, out, err);
}

static int cifar100_open(const struct ddp_dataset_conf *conf, enum ddp_split split, void **out,
                         struct ddp_error *err)
{
    return cifar_open(&cifar100, conf, split, out, err);
}

static void cifar_info(const void *ds, struct ddp_dataset_info *info)
{
    const struct cifar *d = ds;
    *info = (struct ddp_dataset_info){
        .count = d->count, .shape = {3, 32, 32}, .classes = d->kind->classes, .class_names = d->kind->names};
    memcpy(info->mean, d->kind->mean, sizeof d->kind->mean);
    memcpy(info->std, d->kind->std, sizeof d->kind->std);
}

/* Labels are checked here and not at open: they lie 3 KB apart, and looking at all
 * would read the whole file. */
static int find_record(const struct cifar *d, int64_t index, const uint8_t **record, int32_t *label,
                       struct ddp_error *err)
{
    int64_t in_file = index;
    int i = 0;
    while (i < d->nfiles && in_file >= d->file[i].records)
        in_file -= d->file[i++].records;
    if (index < 0 || i == d->nfiles)
        return ddp_fail(err, DDP_E_DATA, "CIFAR: sample %lld of %lld asked for", (long long)index,
                        (long long)d->count);
    *record = d->file[i].data + (size_t)in_file * (size_t)(d->kind->label_bytes + PICTURE);
    *label = (*record)[d->kind->label_bytes - 1];
    if (*label >= d->kind->classes)
        return ddp_fail(err, DDP_E_DATA,
                        "%s: label %d of record %lld is out of range; allowed are 0..%d; the file is "
                        "damaged, fetch it again",
                        d->file[i].path, (int)*label, (long long)in_file, d->kind->classes - 1);
    return 0;
}

static int cifar_get(const void *ds, int64_t index, uint8_t *pixels, int32_t *label, struct ddp_error *err)
{
    const struct cifar *d = ds;
    const uint8_t *record;
    const int status = find_record(d, index, &record, label, err);
    if (status == 0)
        memcpy(pixels, record + d->kind->label_bytes, PICTURE);
    return status;
}

static int cifar_label(const void *ds, int64_t index, int32_t *label, struct ddp_error *err)
{
    const uint8_t *record;
    return find_record(ds, index, &record, label, err);
}

static int cifar_digest(const void *ds, char hex[65], struct ddp_error *err)
{
    (void)err;
    const struct cifar *d = ds;
    struct ddp_sha256 sha;
    ddp_sha256_init(&sha);
    for (int i = 0; i < d->nfiles; i++)
        ddp_sha256_update(&sha, d->file[i].data, d->file[i].bytes);
    ddp_sha256_hex(&sha, hex);
    return 0;
}

static const char *cifar_file(const void *ds, int i)
{
    const struct cifar *d = ds;
    return i < d->nfiles ? d->file[i].path : NULL;
}

const struct ddp_dataset_ops ddp_cifar10_format = {
    .name = "cifar10",
    .doc = "CIFAR-10, binary version",
    .open = cifar10_open,
    .info = cifar_info,
    .get = cifar_get,
    .digest = cifar_digest,
    .close = cifar_close,
    .label = cifar_label,
    .file = cifar_file,
};
const struct ddp_dataset_ops ddp_cifar100_format = {
    .name = "cifar100",
    .doc = "CIFAR-100, binary version, fine labels",
    .open = cifar100_open,
    .info = cifar_info,
    .get = cifar_get,
    .digest = cifar_digest,
    .close = cifar_close,
    .label = cifar_label,
    .file = cifar_file,
};
