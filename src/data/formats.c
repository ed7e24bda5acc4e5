/* Help for the file formats: where files lie, what is said when they are missing, statistics of pixels. */
#include "data/formats.h"

#include <stdlib.h>
#include <string.h>

char *ddp_data_path(const struct ddp_dataset_conf *conf, const char *name)
{
    struct ddp_text t;
    ddp_text_init(&t);
    if (conf->path[0] != '/')
        ddp_text_add(&t, "%s", conf->root);
    if (conf->path[0])
        ddp_text_add(&t, "%s%s", t.len ? "/" : "", conf->path);
    if (name[0])
        ddp_text_add(&t, "/%s", name);
    return t.s;
}

int ddp_data_blame(const struct ddp_dataset_conf *conf, int split, int status)
{
    if (status && conf->at_fault)
        *conf->at_fault = split;
    return status;
}

int ddp_data_missing(const struct ddp_dataset_conf *conf, const char *what, struct ddp_error *err)
{
    static const struct {
        const char *folder, *name;
    } fetchable[] = {{"mnist", "mnist"}, {"fashion-mnist", "fashion-mnist"}, {"cifar10", "cifar10"}};
    const char *from_env = getenv("DDP_DATA_DIR"), *fetch = NULL;
    const char *last = strrchr(conf->path, '/');
    last = last ? last + 1 : conf->path;
    for (size_t i = 0; i < DDP_COUNT(fetchable); i++)
        if (strcmp(last, fetchable[i].folder) == 0)
            fetch = fetchable[i].name;
    bool env = from_env && strcmp(from_env, conf->root) == 0;
    char *folder = ddp_data_path(conf, "");
    struct ddp_text cure;
    ddp_text_init(&cure);
    if (conf->beside)
        ddp_text_add(&cure, ", nor in %s/%s", conf->beside, conf->path);
    if (fetch)
        ddp_text_add(&cure, "; get it with `ddp-data fetch %s --root %s`, or", fetch, conf->root);
    else
        ddp_text_add(&cure, "; put it there, or");
    int rc = ddp_fail(err, DDP_E_DATA,
                      "found no %s in %s%s set data.root (now %s%s) or data.path (now \"%s\") to where it "
                      "is",
                      what, folder, cure.s, conf->root, env ? ", from DDP_DATA_DIR" : "", conf->path);
    ddp_text_finish(&cure);
    free(folder);
    return rc;
}

void ddp_pixel_stats_add(struct ddp_pixel_stats *s, struct ddp_shape shape, const uint8_t *pixels)
{
    size_t plane = (size_t)shape.h * (size_t)shape.w;
    for (int c = 0; c < shape.c; c++, pixels += plane) {
        uint64_t sum = 0, square = 0;
        for (size_t i = 0; i < plane; i++) {
            sum += pixels[i];
            square += (uint64_t)pixels[i] * pixels[i];
        }
        s->sum[c] += sum;
        s->square[c] += square;
        s->count[c] += plane;
    }
}

void ddp_pixel_stats_result(const struct ddp_pixel_stats *s, int channels, double mean[4], double std[4])
{
    for (int c = 0; c < channels; c++) {
        double n = s->count[c] ? (double)s->count[c] : 1.0, m = (double)s->sum[c] / n;
        double variance = (double)s->square[c] / n - m * m;
        mean[c] = m / 255.0;
        std[c] = variance > 0.0 ? ddp_sqrt(variance) / 255.0 : 1.0;
    }
}
