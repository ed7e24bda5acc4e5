/* What a name on the command line stands for. */
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "record/record.h"

static int give(const char *found, char *path, int size, struct ddp_error *err)
{
    return snprintf(path, (size_t)size, "%s", found) < size
               ? 0
               : ddp_fail(err, DDP_E_USAGE, "%s: the path is too long", found);
}

/* The step of "step-DIGITS", -1 for any other name. */
static long long step_of(const char *name)
{
    const char *digits = name + 5;
    const size_t n = strncmp(name, "step-", 5) == 0 ? strspn(digits, "0123456789") : 0;
    return n > 0 && n < 19 && digits[n] == '\0' ? atoll(digits) : -1;
}

static bool says_best(const char *checkpoint)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/state.json", checkpoint);
    json_t *o = json_load_file(path, 0, NULL);
    const bool best = json_is_true(json_object_get(o, "best"));
    json_decref(o);
    return best;
}

/* The checkpoint of the highest step in RUN that has `file` in it (best: and is marked so); false: none. */
static bool newest(const char *run, const char *file, bool best, char found[4096])
{
    char dir[4096], path[4096 + 300];
    long long step = -1;
    snprintf(dir, sizeof dir, "%s/checkpoints", run);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        const long long s = step_of(e->d_name);
        if (s <= step)
            continue;
        snprintf(path, sizeof path, "%s/%s/%s", dir, e->d_name, file);
        if (!ddp_path_exists(path))
            continue;
        *strrchr(path, '/') = '\0';
        if (strlen(path) < 4096 && (!best || says_best(path))) {
            step = s;
            strcpy(found, path);
        }
    }
    if (d)
        closedir(d);
    return step >= 0;
}

/* A run that was forked from another may have its best weights there: run.json says where. */
static bool recorded_best(const char *run, char found[4096])
{
    char path[4200];
    snprintf(path, sizeof path, "%s/run.json", run);
    json_t *o = json_load_file(path, 0, NULL);
    const char *at = json_string_value(json_object_get(json_object_get(o, "best"), "path"));
    const bool there = at && strlen(at) < 4096 && ddp_path_exists(at);
    if (there)
        strcpy(found, at);
    json_decref(o);
    return there;
}

int ddp_run_resolve(const char *name, char *path, int size, struct ddp_error *err)
{
    static const char best[] = "@best";
    const size_t n = strlen(name), k = sizeof best - 1;
    char found[4096];
    if (n >= sizeof found)
        return ddp_fail(err, DDP_E_USAGE, "%.60s...: the path is too long", name);
    strcpy(found, name);
    if (!ddp_path_exists(name) && n > k && strcmp(name + n - k, best) == 0) {
        char run[4096];
        snprintf(run, sizeof run, "%.*s", (int)(n - k), name);
        if (!ddp_path_exists(run))
            return ddp_fail(err, DDP_E_USAGE, "%s: there is no run %s", name, run);
        if (!newest(run, "state.json", true, found) && !recorded_best(run, found))
            return ddp_fail(
                err, DDP_E_USAGE,
                "%s: no checkpoint of this run is marked as the best (it had no evaluation yet, or "
                "checkpoint.best = false)",
                name);
    } else if (!ddp_path_exists(name)) {
        return ddp_fail(
            err, DDP_E_USAGE,
            "%s: no such run; give a run directory, RUN@best, a checkpoint folder, a .safetensors "
            "file, or \"latest\"",
            name);
    }
    for (size_t end = strlen(found); end > 1 && found[end - 1] == '/'; end--)
        found[end - 1] = '\0';
    return give(found, path, size, err);
}

int ddp_run_config(const char *name, char *path, int size, struct ddp_error *err)
{
    char at[4096], found[4096], file[4200];
    int status = ddp_run_resolve(name, at, sizeof at, err);
    if (status)
        return status;
    if (newest(at, "config.cfg", false, found)) {
        snprintf(file, sizeof file, "%s/config.cfg", found);
        return give(file, path, size, err);
    }
    snprintf(file, sizeof file, "%s/config.cfg", at);
    if (ddp_path_exists(file))
        return give(file, path, size, err);
    /* a file beside it, or RUN/checkpoints/step-N of a format without configs */
    const char *base = strrchr(at, '/');
    const int up = step_of(base ? base + 1 : at) >= 0 ? 2 : 1;
    struct stat st;
    if (up == 1 && (stat(at, &st) != 0 || S_ISDIR(st.st_mode)))
        goto none;
    for (int i = 0; i < up; i++) {
        char *slash = strrchr(at, '/');
        if (slash)
            *slash = '\0';
        else
            strcpy(at, i ? ".." : ".");
    }
    snprintf(file, sizeof file, "%s/config.cfg", at);
    if (ddp_path_exists(file))
        return give(file, path, size, err);
none:
    return ddp_fail(err, DDP_E_USAGE, "%s: there is no config.cfg with it; name the CONFIG to go with it",
                    name);
}
