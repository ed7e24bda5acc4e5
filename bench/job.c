/* Starting jobs of ddp-launch, and reading what they noted of their steps. */
#include "bench/job.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "model/stages.h"
#include "optim/optim.h"
#include "train/check.h"

static const double LIMIT_S = 3600;

/* ---- what it is ------------------------------------------------------------------------------ */

/* Shapes of data that may not be here. */
static const struct {
    const char *format;
    struct ddp_shape shape;
    int classes;
} known[] = {{"cifar10", {3, 32, 32}, 10}, {"cifar100", {3, 32, 32}, 100}, {"idx", {1, 28, 28}, 10}};

static int find_shape(const struct ddp_config *cfg, struct bench_job_facts *f, struct ddp_error *err)
{
    struct ddp_dataset *ds;
    if (ddp_dataset_glance(cfg, DDP_SPLIT_TRAIN, &ds, err) == 0) {
        f->shape = ds->info.shape;
        f->classes = ds->info.classes;
        f->own_data = ds->info.real || ds->info.targets > 0;
        f->classes = f->own_data ? ddp_dataset_outputs(&ds->info) : f->classes;
        ddp_dataset_close(ds);
        return 0;
    }
    for (size_t i = 0; i < DDP_COUNT(known); i++)
        if (strcmp(cfg->data.format, known[i].format) == 0) {
            f->shape = known[i].shape;
            f->classes = known[i].classes;
            return 0;
        }
    return DDP_E_DATA;
}

static int look_at_model(struct ddp_config *cfg, struct bench_job_facts *f, struct ddp_error *err)
{
    struct ddp_model *m;
    const int64_t shards = f->shards > 0 ? f->shards : 1;
    int status = ddp_cpu_select(NULL, err);
    if (status == 0)
        status = ddp_model_create(cfg, f->shape, f->classes, (int)((f->batch + shards - 1) / shards),
                                  DDP_MODEL_FOR_HOST, &m, err);
    if (status)
        return status;
    const struct ddp_stages *p = ddp_model_stages(m);
    f->parameters = ddp_model_parameters(m);
    f->forward_flops = ddp_model_flops(m);
    for (int s = 0; s < p->nstages; s++) { /* gradients of weights, and of inputs where they are wanted */
        const struct ddp_stage *stage = &p->stage[s];
        const double each = stage->plan->flops;
        f->backward_flops += (stage->lo < stage->hi ? each : 0) + (stage->din[0] != DDP_GRAD_NONE ? each : 0);
    }
    for (int i = 0; i < p->nvalues; i++)
        f->activations += (double)p->value[i].shape.c * p->value[i].shape.h * p->value[i].shape.w;
    ddp_model_destroy(m);
    return 0;
}

static int read_config(const struct bench_job *job, struct bench_job_facts *f, struct ddp_error *err)
{
    struct ddp_train_check check = {0};
    const struct ddp_config_options opt = {.path = f->config,
                                           .overrides = (const char *const *)job->conf.words,
                                           .noverrides = job->conf.nwords,
                                           .check = ddp_train_check_keys,
                                           .user = &check};
    struct ddp_config *cfg;
    int status = ddp_config_load(&opt, &cfg, err);
    if (status)
        return status;
    snprintf(f->model, sizeof f->model, "%s", cfg->model.name);
    f->batch = cfg->train.batch_per_rank > 0 ? cfg->train.batch_per_rank : cfg->train.batch;
    f->shards = cfg->train.shards;
    f->accumulate = cfg->train.accumulate;
    f->optimizer_arrays = ddp_optim_array_count(cfg);
    status = find_shape(cfg, f, err);
    if (status == 0)
        status = look_at_model(cfg, f, err);
    ddp_config_destroy(cfg);
    return status;
}

/* What is measured where no CONFIG is named. */
static int write_config(struct bench_job *job, struct ddp_error *err)
{
    static const char text[] =
        "model = \"mnist_cnn\";\ndata = \"digits\";\noptim = \"sgd\";\ntrain: { batch = 128; };\n";
    snprintf(job->facts.config, sizeof job->facts.config, "%s/step.cfg", job->folder);
    return ddp_file_write(job->facts.config, text, strlen(text), err);
}

int bench_job_open(const struct bench_job_conf *conf, struct bench_job *job, struct ddp_error *err)
{
    *job = (struct bench_job){.conf = *conf};
    int status = bench_program_find("ddp-launch", job->launch, err);
    if (status == 0)
        status = bench_folder_make(conf->in, job->folder, err);
    if (status == 0 && conf->config)
        snprintf(job->facts.config, sizeof job->facts.config, "%s", conf->config);
    else if (status == 0)
        status = write_config(job, err);
    if (status == 0)
        status = read_config(job, &job->facts, err);
    job->facts.own_data = job->facts.own_data || conf->own_data;
    return status;
}

void bench_job_close(struct bench_job *job)
{
    if (*job->folder)
        bench_folder_remove(job->folder);
    *job->folder = '\0';
}

int bench_job_word(struct bench_job_conf *conf, const char *word, struct ddp_error *err)
{
    if (strchr(word, '=') || *word == '~')
        conf->words[conf->nwords++] = (char *)(uintptr_t)word;
    else if (conf->config)
        return ddp_fail(err, DDP_E_USAGE, "%s: one CONFIG is enough (is that key=value without the '='?)",
                        word);
    else
        conf->config = word;
    return 0;
}

/* ---- one run --------------------------------------------------------------------------------- */

/* As many as there have to be for `steps` to count. */
static long all_steps(long steps)
{
    long n = steps;
    while (n - ddp_times_warm_up((int)n) < steps)
        n++;
    return n;
}

static void add_data(const struct bench_job *job, int ranks, struct bench_words *w)
{
    const struct bench_job_facts *f = &job->facts;
    /* No more than the steps see, whatever share of it is a rank's: the order of an epoch is memory, too. */
    const long long samples = (long long)all_steps(job->conf.steps) * f->accumulate * f->batch * ranks;
    if (f->own_data) {
        bench_words_add(w, "data.limit_test=64");
        return;
    }
    static const char *const plain[] = {
        "data.format=noise", "data.name=noise",    "data.path=",          "data.files=[]",
        "data.mean=[]",      "data.std=[]",        "data.crop_padding=0", "data.flip=false",
        "data.cutout=0",     "data.limit_train=0", "data.limit_test=0",   "data.test_count=64",
        "data.crop_area=[]", "data.rotate=0",      "data.translate=0",    "data.scale=[]",
        "data.shear=0",      "data.brightness=0",  "data.contrast=0",     "data.saturation=0",
        "data.hue=0",        "data.mixup=0"};
    for (size_t i = 0; i < DDP_COUNT(plain); i++)
        bench_words_add(w, "%s", plain[i]);
    bench_words_add(w, "data.shape=[%d,%d,%d]", f->shape.c, f->shape.h, f->shape.w);
    bench_words_add(w, "data.classes=%d", f->classes);
    bench_words_add(w, "data.train_count=%lld", samples);
}

/* What only takes time, or may end the run before it is over, is left out. Labels are noise: a small learning
 * rate keeps the loss finite. The user's words come behind, then ours. */
static void add_words(const struct bench_job *job, int ranks, const char *const *ours, const char *name,
                      struct bench_words *w)
{
    static const char *const quiet[] = {"train.early_stop=0",
                                        "train.trail_every=0",
                                        "train.epochs=1000000",
                                        "eval.every_epochs=0",
                                        "checkpoint.every_epochs=0",
                                        "checkpoint.every_steps=0",
                                        "checkpoint.best=false",
                                        "log.every_steps=1000000",
                                        "log.progress=false",
                                        "optim.schedule=constant",
                                        "optim.lr=0.0001"};
    bench_words_add(w, "%s", job->launch);
    bench_words_add(w, "--quiet");
    bench_words_add(w, "-n");
    bench_words_add(w, "%d", ranks);
    if (job->conf.hosts) {
        bench_words_add(w, "-H");
        bench_words_add(w, "%s", job->conf.hosts);
    }
    bench_words_add(w, "%s", job->facts.config);
    for (size_t i = 0; i < DDP_COUNT(quiet); i++)
        bench_words_add(w, "%s", quiet[i]);
    add_data(job, ranks, w);
    bench_words_add(w, "train.max_steps=%ld", all_steps(job->conf.steps));
    if (job->conf.threads > 0)
        bench_words_add(w, "train.threads=%ld", job->conf.threads);
    bench_words_add(w, "run.dir=%s/runs", job->folder);
    bench_words_add(w, "run.name=%s", name);
    for (int i = 0; i < job->conf.nwords; i++)
        bench_words_add(w, "%s", job->conf.words[i]);
    for (int i = 0; ours && ours[i]; i++)
        bench_words_add(w, "%s", ours[i]);
}

/* All of them at once: a shell starts them, waits, and fails where one does. */
static void add_copies(const struct bench_words *one, int copies, struct bench_words *w)
{
    static const char script[] =
        "n=$1; shift; i=0; p=; while [ $i -lt $n ]; do \"$@\" run.name=copy-$i >/dev/null & "
        "p=\"$p $!\"; i=$((i+1)); done; r=0; for q in $p; do wait $q || r=$?; done; exit $r";
    bench_words_add(w, "sh");
    bench_words_add(w, "-c");
    bench_words_add(w, "%s", script);
    bench_words_add(w, "sh");
    bench_words_add(w, "%d", copies);
    for (int i = 0; i < one->n; i++)
        bench_words_add(w, "%s", one->w[i]);
}

/* The name in a folder that begins so; malloc'd, NULL: none does. */
static char *first_in(const char *folder, const char *begin)
{
    char *found = NULL;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && !found && (e = readdir(d));)
        if (strncmp(e->d_name, begin, strlen(begin)) == 0 && e->d_name[strlen(begin)] == '-')
            found = ddp_strdup(e->d_name);
    if (d)
        closedir(d);
    return found;
}

/* The run of that name. */
static int read_run(const struct bench_job *job, const char *name, struct bench_took *out,
                    struct ddp_error *err)
{
    char pattern[PATH_MAX + 64], path[2 * PATH_MAX];
    snprintf(pattern, sizeof pattern, "%s/runs", job->folder);
    char *found = first_in(pattern, name);
    if (!found)
        return ddp_fail(err, DDP_E_IO, "%s: no run %s-.. in it", pattern, name);
    snprintf(path, sizeof path, "%s/%s/run.json", pattern, found);
    free(found);
    return bench_took_read(path, out, err);
}

int bench_job_run(const struct bench_job *job, int ranks, const char *const *ours, int copies,
                  struct bench_took *out, struct ddp_error *err)
{
    struct bench_words one = {0}, all = {0};
    struct bench_run run;
    char runs[PATH_MAX + 8], name[32];
    add_words(job, ranks, ours, "copy-0", &one);
    if (copies > 1)
        add_copies(&one, copies, &all);
    int status = bench_run(copies > 1 ? &all : &one, NULL, LIMIT_S, &run, err);
    for (int i = 0; i < copies && status == 0; i++) {
        snprintf(name, sizeof name, "copy-%d", i);
        status = read_run(job, name, &out[i], err);
    }
    bench_run_finish(&run);
    bench_words_finish(&one);
    bench_words_finish(&all);
    snprintf(runs, sizeof runs, "%s/runs", job->folder);
    bench_folder_remove(runs);
    return status;
}

/* ---- what it noted --------------------------------------------------------------------------- */

static double seconds(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) * 1e-3 : NAN;
}

static void parts(const json_t *o, double part[DDP_TIME_COUNT])
{
    for (int p = 0; p < DDP_TIME_COUNT; p++)
        part[p] = seconds(o, ddp_time_name((enum ddp_time)p));
}

static double work(const double part[DDP_TIME_COUNT])
{
    double sum = 0;
    for (int p = 0; p < DDP_TIME_COUNT; p++)
        sum += p == DDP_TIME_WAIT ? 0 : part[p];
    return sum;
}

static void read_ranks(const json_t *list, struct bench_took *out)
{
    size_t r;
    const json_t *o;
    double most = -1, delayed = 0, cpu = 0;
    for (int p = 0; p < DDP_TIME_COUNT; p++) {
        out->least[p] = INFINITY;
        out->most[p] = 0;
    }
    json_array_foreach((json_t *)(uintptr_t)list, r, o) {
        double part[DDP_TIME_COUNT];
        parts(o, part);
        for (int p = 0; p < DDP_TIME_COUNT; p++) {
            out->least[p] = fmin(out->least[p], part[p]);
            out->most[p] = fmax(out->most[p], part[p]);
        }
        if (work(part) > most) {
            most = work(part);
            memcpy(out->busiest, part, sizeof part);
            out->busiest_delayed = seconds(o, "delayed");
            out->busiest_rank = (int)r;
        }
        delayed += seconds(o, "delayed");
        cpu += seconds(o, "cpu");
        out->rss_mb = fmax(out->rss_mb, json_number_value(json_object_get(o, "rss_mb")));
    }
    out->ranks = (int)json_array_size(list);
    out->delayed = delayed / out->ranks;
    out->cpu = cpu / out->ranks;
}

int bench_took_read(const char *path, struct bench_took *out, struct ddp_error *err)
{
    json_error_t why;
    json_t *run = json_load_file(path, 0, &why);
    const json_t *t = json_object_get(run, "step_time");
    *out = (struct bench_took){0};
    if (!run)
        return ddp_fail(err, DDP_E_DATA, "%s: %s", path, why.text);
    if (!t || json_array_size(json_object_get(t, "ranks")) == 0) {
        json_decref(run);
        return ddp_fail(err, DDP_E_DATA, "%s: has no step_time", path);
    }
    out->steps = (int)json_integer_value(json_object_get(t, "steps"));
    out->step = seconds(t, "ms");
    out->low = seconds(t, "low_ms");
    out->high = seconds(t, "high_ms");
    out->imbalance = seconds(t, "imbalance_ms");
    parts(json_object_get(t, "parts_ms"), out->part);
    read_ranks(json_object_get(t, "ranks"), out);
    const char *device = json_string_value(json_object_get(run, "device"));
    out->on_cpu = !device || strcmp(device, "cpu") == 0;
    out->hosts = (int)json_array_size(json_object_get(run, "hosts"));
    out->batch = json_number_value(json_object_get(t, "batch"));
    out->samples_per_s = out->step > 0 ? out->batch / out->step : 0;
    snprintf(out->placement, sizeof out->placement, "%s",
             json_is_string(json_object_get(run, "placement"))
                 ? json_string_value(json_object_get(run, "placement"))
                 : "");
    json_decref(run);
    return 0;
}
