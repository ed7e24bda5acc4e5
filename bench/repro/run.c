/* The legs of a cell one after the other, and the comparison. */
#include "bench/repro/run.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/plugin.h"
#include "bench/repro/job.h"

static const double LIMIT_S = 900; /* of a leg */

const char *const repro_result_names[] = {"equal", "differs", "failed", "skipped"};

void repro_outcome_finish(struct repro_outcome *o)
{
    free(o->command);
    free(o->says);
    *o = (struct repro_outcome){0};
}

/* ---- what this machine has ------------------------------------------------------------------------- */

static bool is_on_path(const char *name)
{
    const char *path = getenv("PATH");
    char *list = ddp_strdup(path ? path : ""), *save = NULL, file[4096];
    bool found = false;
    for (char *folder = strtok_r(list, ":", &save); folder && !found; folder = strtok_r(NULL, ":", &save)) {
        snprintf(file, sizeof file, "%s/%s", folder, name);
        found = access(file, X_OK) == 0;
    }
    free(list);
    return found;
}

/* Beside this program, where ranks look for it, too. */
static bool has_mpi_plugin(void)
{
    const struct ddp_plugin mpi = {.file = "libddp_mpi.so", .variable = "DDP_MPI_PLUGIN"};
    char path[PATH_MAX];
    return ddp_plugin_find(&mpi, path);
}

const char *repro_cell_skip(const struct repro_site *site, const struct repro_cell *c)
{
    const int transport = c->at[REPRO_TRANSPORT];
    if (!site->kernels[c->at[REPRO_KERNELS]] && c->at[REPRO_KERNELS] != REPRO_NEON)
        return "this processor does not have such kernels";
    if (!site->kernels[c->at[REPRO_KERNELS]] && !site->neon)
        return "kernels of another processor (--neon)";
    if (transport >= REPRO_MPI && !is_on_path("mpirun"))
        return "no mpirun";
    if (transport >= REPRO_MPI && !has_mpi_plugin())
        return "built without MPI";
    if (transport == REPRO_IN_THREADS && site->program)
        return "a program of one's own has ranks that are processes";
    return NULL;
}

/* ---- a leg that is killed -------------------------------------------------------------------------- */

/* The only run in a folder of runs; false: there is none yet. */
static bool find_run(const char *runs, char path[1024])
{
    DIR *d = opendir(runs);
    bool found = false;
    for (struct dirent *e; d && !found && (e = readdir(d));)
        if (e->d_name[0] != '.') {
            snprintf(path, 1024, "%s/%s", runs, e->d_name);
            found = true;
        }
    if (d)
        closedir(d);
    return found;
}

/* Rank 0, once it has a checkpoint to go on from. */
static pid_t victim(void *user)
{
    const char *runs = user;
    char run[1024], path[1200];
    if (!find_run(runs, run))
        return 0;
    snprintf(path, sizeof path, "%s/checkpoints/step-%08d", run, REPRO_SAVE_EVERY);
    if (!ddp_path_exists(path))
        return 0;
    snprintf(path, sizeof path, "%s/run.json", run);
    json_t *doc = json_load_file(path, 0, NULL), *legs = json_object_get(doc, "legs");
    const json_int_t pid = json_integer_value(json_object_get(json_array_get(legs, 0), "pid"));
    json_decref(doc);
    return (pid_t)pid;
}

/* ---- the legs -------------------------------------------------------------------------------------- */

struct running {
    const struct repro_site *site;
    const struct repro_cell *cell;
    char config[1100], runs[1100];
    struct repro_outcome *out;
    struct ddp_text commands;
};

static int fail_leg(const struct running *r, int leg, const char *why, struct ddp_error *err)
{
    return repro_legs(r->cell) > 1 ? ddp_fail(err, DDP_E_RESOURCE, "leg %d: %s", leg + 1, why)
                                   : ddp_fail(err, DDP_E_RESOURCE, "%s", why);
}

/* A folder for what programs leave behind when they are killed. The mpiruns of a user share one below TMPDIR,
 * and the first to end removes it: so each leg has its own, with a short name, since sockets lie in it. */
static int make_temp(const struct repro_site *site, char temp[1100], struct repro_leg *leg,
                     struct ddp_error *err)
{
    snprintf(temp, 1100, "%s/XXXXXX", site->cores);
    if (!mkdtemp(temp))
        return ddp_fail(err, DDP_E_RESOURCE, "%s: no folder can be made there: %s", site->cores,
                        strerror(errno));
    ddp_words_add(&leg->env, "TMPDIR=%s", temp);
    return 0;
}

static int run_leg(struct running *r, int leg, const char *resume, struct ddp_error *err)
{
    const bool last = leg + 1 == repro_legs(r->cell), kill = !last && r->cell->at[REPRO_BREAK] == REPRO_KILL;
    struct repro_leg l;
    struct repro_ended ended;
    char why[2400], temp[1100];
    repro_leg_make(r->site, r->cell, leg, r->config, r->runs, resume, &l);
    ddp_text_add(&r->commands, "%s", leg ? "\n" : "");
    repro_leg_text(&l, &r->commands);
    if (make_temp(r->site, temp, &l, err) != 0) {
        repro_leg_finish(&l);
        return err->code;
    }
    const struct repro_job job = {
        .argv = &l.argv, .env = &l.env, .limit_s = LIMIT_S, .victim = kill ? victim : NULL, .user = r->runs};
    int status = repro_job_run(&job, &ended, err);
    if (status == 0 && kill && !ended.killed) {
        status = fail_leg(r, leg, repro_job_why(&ended, why, sizeof why), err);
        ddp_error_prefix(err, "it ended before it was killed");
    } else if (status == 0 && !kill && (ended.late || ended.status != 0))
        status = fail_leg(r, leg, repro_job_why(&ended, why, sizeof why), err);
    if (status == 0 && last) {
        repro_job_says(&ended, "weights", r->out->weights, sizeof r->out->weights);
        if (strlen(r->out->weights) != 64)
            status = fail_leg(r, leg, "it said no 'weights: SHA-256'", err);
    }
    repro_ended_finish(&ended);
    repro_leg_finish(&l);
    ddp_dir_remove(temp, NULL);
    return status;
}

static int run_legs(struct running *r, struct ddp_error *err)
{
    int status = run_leg(r, 0, NULL, err);
    if (status == 0 && !find_run(r->runs, r->out->run))
        status = ddp_fail(err, DDP_E_RESOURCE, "it left no run in %s", r->runs);
    if (status == 0 && repro_legs(r->cell) > 1)
        status = run_leg(r, 1, r->out->run, err);
    return status;
}

/* ---- the comparison -------------------------------------------------------------------------------- */

/* Hashes of the weights, and everything on the way there. */
static void compare(const struct repro_site *site, const struct repro_outcome *reference,
                    struct repro_outcome *out)
{
    struct ddp_words argv = {0}, env = {0};
    struct repro_ended ended;
    struct ddp_error err = {0};
    ddp_words_add(&argv, "%s/ddp-runs", site->programs);
    ddp_words_add(&argv, "verify");
    ddp_words_add(&argv, "%s", reference->run);
    ddp_words_add(&argv, "%s", out->run);
    ddp_words_add(&env, "DDP_COMM_NODE");
    const struct repro_job job = {.argv = &argv, .env = &env, .limit_s = LIMIT_S};
    const bool ran = repro_job_run(&job, &ended, &err) == 0;
    const bool equal = ran && ended.status == 0 && strcmp(out->weights, reference->weights) == 0;
    out->result = equal ? REPRO_EQUAL : REPRO_DIFFERS;
    if (!equal) {
        struct ddp_text t;
        ddp_text_init(&t);
        if (strcmp(out->weights, reference->weights) != 0)
            ddp_text_add(&t, "weights %s, those of the reference %s\n", out->weights, reference->weights);
        ddp_text_add(&t, "%s%s", ran ? ended.out.s : err.text, ran ? ended.err.s : "");
        while (t.len > 0 && t.s[t.len - 1] == '\n')
            t.s[--t.len] = '\0';
        out->says = t.s;
    }
    repro_ended_finish(&ended);
    ddp_words_finish(&argv);
    ddp_words_finish(&env);
}

/* ---- the whole ------------------------------------------------------------------------------------- */

static int write_config(const struct running *r, const char *folder, struct ddp_error *err)
{
    char *text = repro_model_config(&r->cell->model);
    int status = ddp_dir_make(folder, err);
    if (status == 0)
        status = ddp_file_write(r->config, text, strlen(text), err);
    free(text);
    return status;
}

void repro_cell_run(const struct repro_site *site, const struct repro_cell *c, const char *folder,
                    const struct repro_outcome *reference, struct repro_outcome *out)
{
    struct ddp_error err = {0};
    struct running r = {.site = site, .cell = c, .out = out};
    const double began = ddp_now();
    *out = (struct repro_outcome){.result = REPRO_FAILED};
    snprintf(r.config, sizeof r.config, "%s/%s.cfg", folder, c->model.name);
    snprintf(r.runs, sizeof r.runs, "%s/runs", folder);
    ddp_text_init(&r.commands);
    int status = write_config(&r, folder, &err);
    if (status == 0)
        status = run_legs(&r, &err);
    if (status)
        out->says = ddp_strdup(err.text);
    else if (reference)
        compare(site, reference, out);
    else
        out->result = REPRO_EQUAL;
    out->command = r.commands.s;
    out->seconds = ddp_now() - began;
}
