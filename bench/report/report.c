/* The life of a report: begin, watch, judge, write. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ops/ops.h"
#include "bench/report/private.h"
#include "bench/stats.h"

/* Beyond these, numbers are those of something else as well. */
static const double MOST_OTHER = 0.05, /* of all our CPUs' time, used by others */
    MOST_STEAL = 1,                    /* percent */
    MOST_CLOCK = 0.05;                 /* frequency, highest to lowest */

bool bench_outputs_take(struct bench_outputs *o, int id, const char *value)
{
    const char **const where[] = {&o->json, &o->csv, &o->svg, &o->md};
    if (id < BENCH_JSON || id > BENCH_MD)
        return false;
    *where[id - BENCH_JSON] = value;
    return true;
}

struct bench_report *bench_report_create(const char *name, int argc, char **argv,
                                         const struct bench_outputs *outputs)
{
    struct bench_report *r = ddp_calloc(1, sizeof *r);
    r->name = name;
    r->outputs = *outputs;
    r->command = json_array();
    json_array_append_new(r->command, json_string("ddp-bench"));
    for (int i = 0; i < argc; i++)
        json_array_append_new(r->command, json_string(argv[i]));
    return r;
}

static void free_table(struct bench_table *t)
{
    for (int i = 0; i < t->nrows * t->ncolumns; i++)
        free((char *)(uintptr_t)t->cell[i].text);
    free(t->cell);
    free(t->key);
    free(t->title);
    free(t);
}

void bench_report_destroy(struct bench_report *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->nfacts; i++) {
        free(r->fact[i].key);
        free(r->fact[i].title);
        free(r->fact[i].text);
    }
    for (int i = 0; i < r->ntables; i++)
        free_table(r->table[i]);
    for (int i = 0; i < r->nwarnings; i++)
        free(r->warning[i]);
    for (int i = 0; i < r->nnotes; i++)
        free(r->note[i]);
    free(r->fact);
    free(r->table);
    free(r->warning);
    free(r->note);
    free(r->pinning);
    free(r->beside);
    json_decref(r->command);
    json_decref(r->machine);
    json_decref(r->code);
    free(r);
}

/* That each file can be made, before anything is measured for it. */
static int try_outputs(const struct bench_outputs *o, struct ddp_error *err)
{
    const char *const path[] = {o->json, o->csv, o->svg, o->md};
    for (size_t i = 0; i < DDP_COUNT(path); i++) {
        struct ddp_outfile *file;
        struct stat st;
        if (!path[i] || strcmp(path[i], "-") == 0)
            continue;
        if (stat(path[i], &st) == 0 && S_ISDIR(st.st_mode))
            return ddp_fail(err, DDP_E_IO, "%s is a folder; name a file in it", path[i]);
        if (ddp_outfile_create(path[i], &file, err) != 0)
            return DDP_E_IO;
        ddp_outfile_abort(file);
    }
    return 0;
}

int bench_report_begin(struct bench_report *r, struct ddp_error *err)
{
    int status = try_outputs(&r->outputs, err);
    if (status == 0)
        status = ddp_cpu_select(NULL, err);
    if (status == 0)
        status = bench_machine_look(&r->machine, &r->code, err);
    bench_load_mark(&r->began);
    bench_report_clock(r);
    return status;
}

void bench_report_pinning(struct bench_report *r, const char *text)
{
    free(r->pinning);
    r->pinning = ddp_strdup(text);
}

void bench_report_beside(struct bench_report *r, const char *version)
{
    free(r->beside);
    r->beside = ddp_strdup(version);
}

void bench_report_untimed(struct bench_report *r)
{
    r->untimed = true;
}

/* ---- can it be trusted ---- */

static void judge(struct bench_report *r)
{
    const struct bench_load *l = &r->load;
    if (l->cpus > 0 && l->wall_s > 0.1 && l->other_cpus > MOST_OTHER * l->cpus)
        bench_warn(r, "shared cores: other processes used %.2f of the %d CPUs while this was measured",
                   l->other_cpus, l->cpus);
    if (l->steal_percent > MOST_STEAL)
        bench_warn(r, "shared cores: the host of this virtual machine took %.1f %% of their time",
                   l->steal_percent);
    double least = INFINITY, most = 0;
    for (int i = 0; i < r->nclocks; i++) {
        least = fmin(least, r->clock[i]);
        most = fmax(most, r->clock[i]);
    }
    if (r->nclocks > 1 && most > (1 + MOST_CLOCK) * least)
        bench_warn(r, "the frequency moved between %.2f and %.2f GHz (an addition a cycle)", least, most);
}

/* ---- out ---- */

static int put(const char *path, const struct ddp_text *t, struct ddp_error *err)
{
    if (strcmp(path, "-") == 0)
        return fwrite(t->s, 1, t->len, stdout) == t->len
                   ? 0
                   : ddp_fail(err, DDP_E_IO, "standard output: %s", strerror(errno));
    return ddp_file_write(path, t->s, t->len, err);
}

static int write_file(const struct bench_report *r, const char *path,
                      void (*writer)(const struct bench_report *r, struct ddp_text *out),
                      struct ddp_error *err)
{
    struct ddp_text t;
    if (!path)
        return 0;
    ddp_text_init(&t);
    writer(r, &t);
    const int status = put(path, &t, err);
    ddp_text_finish(&t);
    return status;
}

static bool takes_stdout(const struct bench_outputs *o)
{
    const char *const path[] = {o->json, o->csv, o->svg, o->md};
    for (size_t i = 0; i < DDP_COUNT(path); i++)
        if (path[i] && strcmp(path[i], "-") == 0)
            return true;
    return false;
}

int bench_report_finish(struct bench_report *r, struct ddp_error *err)
{
    struct bench_load_mark now;
    struct ddp_text t;
    bench_report_clock(r);
    bench_load_mark(&now);
    bench_load_between(&r->began, &now, &r->load);
    if (!r->untimed)
        judge(r);
    int status = 0;
    if (!takes_stdout(&r->outputs))
        status = write_file(r, "-", bench_write_text, err);
    if (status == 0 && r->outputs.json) {
        ddp_text_init(&t);
        status = bench_write_json(r, &t, err);
        if (status == 0)
            status = put(r->outputs.json, &t, err);
        ddp_text_finish(&t);
    }
    if (status == 0)
        status = write_file(r, r->outputs.csv, bench_write_csv, err);
    if (status == 0)
        status = write_file(r, r->outputs.md, bench_write_md, err);
    if (status == 0)
        status = write_file(r, r->outputs.svg, bench_write_svg, err);
    return status;
}
