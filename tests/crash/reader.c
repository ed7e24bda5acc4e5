/* Reads crash states with the project's own readers. Of each folder that a line of its input names it prints
 * a line of JSON: what a run that goes on in it would find, and what it would make of it.
 *
 *   reader CONFIG < FOLDERS
 *   {"latest": RUN or null, "runs": {NAME: {"step": N or -1, "weights": HASH, "why": TEXT, "torn": NAME,
 *    "owed": BOOL, "tidied": N, "status": TEXT, "legs": N, "config": BOOL}}}
 *
 * The folder is changed as a start changes it: open records are closed, leftovers tidied, records cut off. */
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/private.h"
#include "config/config.h"
#include "record/record.h"
#include "telemetry/telemetry.h"

/* The hash over the bytes that really are in a checkpoint. */
static void hash_weights(const char *checkpoint, char hex[65])
{
    char path[1200];
    struct ddp_st_file *f = NULL;
    *hex = '\0';
    snprintf(path, sizeof path, "%s/model.safetensors", checkpoint);
    if (ddp_st_open(path, &f, NULL) != 0)
        return;
    const int n = ddp_st_count(f);
    struct ddp_st_tensor *list = ddp_calloc((size_t)n + 1, sizeof *list);
    for (int i = 0; i < n; i++)
        list[i] = *ddp_st_at(f, i);
    ddp_st_hash(list, n, hex);
    free(list);
    ddp_st_close(f);
}

/* The step of the checkpoint that is found, -1: none. */
static long long find(const char *run, char path[1200], struct ddp_error *why)
{
    *path = '\0';
    if (ddp_checkpoint_find(run, path, 1200, why) != 0)
        return -1;
    const char *name = strrchr(path, '/');
    return name ? atoll(name + strlen("/step-")) : -1;
}

/* A checkpoint that has a name of a whole one and is not, "": there is none. */
static void find_torn(const char *run, char name[64])
{
    char dir[1200];
    struct ddp_folder *list = NULL;
    int n = 0;
    *name = '\0';
    snprintf(dir, sizeof dir, "%s/checkpoints", run);
    if (ddp_folder_list(dir, &list, &n, NULL) != 0)
        return;
    for (int i = 0; i < n && !*name; i++) {
        char *folder = ddp_folder_path(dir, list[i].name);
        struct ddp_state_file s;
        if (list[i].kind != DDP_FOLDER_TMP && ddp_folder_verify(folder, &s, NULL) != 0)
            strcpy(name, list[i].name);
        free(folder);
    }
    free(list);
}

/* What a leg that is opened does to the run directory. owed: the evaluation of the checkpoint's step. */
static int go_on(const char *run, long long step, bool owed, struct ddp_error *err)
{
    char dir[1200];
    struct ddp_saver *saver = NULL;
    struct ddp_metrics *metrics = NULL;
    struct ddp_trail *trail = NULL;
    const struct ddp_records_from from = {step, owed};
    snprintf(dir, sizeof dir, "%s/checkpoints", run);
    ddp_rundir_tidy(run);
    int status = ddp_saver_create(dir, 1, false, &saver, err);
    if (status == 0)
        status = ddp_metrics_open(run, &from, NULL, &metrics, err);
    if (status == 0)
        status = ddp_trail_open(run, &from, NULL, &trail, err);
    ddp_trail_close(trail);
    ddp_metrics_close(metrics);
    ddp_saver_destroy(saver);
    return status;
}

/* The newest checkpoint is from before the evaluation that is due behind each epoch here. */
static bool evaluation_owed(const char *run)
{
    struct ddp_train_state s;
    return ddp_checkpoint_newest(run, &s, NULL) == 0 && s.batch == 0 && s.evaluations < s.epoch;
}

static json_t *read_run(const char *run)
{
    char checkpoint[1200], path[1200], hex[65] = "", status[32], torn[64];
    struct ddp_error why = {0};
    struct ddp_config *cfg = NULL;
    json_t *o = json_object(), *record;
    find_torn(run, torn);
    json_object_set_new(o, "torn", json_string(torn));
    const long long step = find(run, checkpoint, &why);
    if (step >= 0)
        hash_weights(checkpoint, hex);
    snprintf(path, sizeof path, "%s/run.json", run);
    record = json_load_file(path, 0, NULL);
    ddp_run_status(run, status, sizeof status);
    json_object_set_new(o, "legs",
                        json_integer((json_int_t)json_array_size(json_object_get(record, "legs"))));
    json_decref(record);
    snprintf(path, sizeof path, "%s/config.cfg", run);
    const struct ddp_config_options opt = {.path = path};
    json_object_set_new(o, "config", json_boolean(ddp_config_load(&opt, &cfg, NULL) == 0));
    ddp_config_destroy(cfg);
    json_object_set_new(o, "status", json_string(status));
    json_object_set_new(o, "step", json_integer(step));
    json_object_set_new(o, "weights", json_string(hex));
    const bool owed = step >= 0 && evaluation_owed(run);
    json_object_set_new(o, "owed", json_boolean(owed));
    const int went = step >= 0 ? go_on(run, step, owed, &why) : 0;
    json_object_set_new(o, "tidied", json_integer(went ? -2 : find(run, checkpoint, &why)));
    json_object_set_new(o, "why", json_string(why.text));
    return o;
}

static json_t *read_state(struct ddp_config *cfg, const char *folder)
{
    char runs[1024], path[1100], latest[1100];
    snprintf(runs, sizeof runs, "%s/runs", folder);
    cfg->run.dir = runs;
    ddp_runs_close(runs);
    json_t *o = json_object(), *list = json_object();
    const bool found = ddp_rundir_find(cfg, NULL, "latest", latest, sizeof latest, NULL) == 0;
    json_object_set_new(o, "latest", found ? json_string(strrchr(latest, '/') + 1) : json_null());
    DIR *d = opendir(runs);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", runs, e->d_name);
        json_object_set_new(list, e->d_name, read_run(path));
    }
    if (d)
        closedir(d);
    json_object_set_new(o, "runs", list);
    return o;
}

int main(int argc, char **argv)
{
    char line[1000];
    struct ddp_config *cfg;
    struct ddp_error err = {0};
    const struct ddp_config_options opt = {.path = argc == 2 ? argv[1] : NULL};
    if (argc != 2 || ddp_config_load(&opt, &cfg, &err) != 0) {
        fprintf(stderr, "reader CONFIG < FOLDERS\n%s\n", err.text);
        return 2;
    }
    ddp_log_terminal(DDP_LOG_ERROR);
    const char *own = cfg->run.dir;
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        json_t *o = read_state(cfg, line);
        char *text = json_dumps(o, JSON_COMPACT);
        puts(text ? text : "null");
        fflush(stdout);
        free(text);
        json_decref(o);
    }
    cfg->run.dir = own;
    ddp_config_destroy(cfg);
    return 0;
}
