/* The run directory: its name, making it, finding the one to go on in. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "telemetry/telemetry.h"

int ddp_rundir_create(const struct ddp_config *cfg, struct ddp_later *later, char *path, int size,
                      struct ddp_error *err)
{
    int status = ddp_later_dir(later, cfg->run.dir, err);
    if (status)
        return ddp_error_prefix(err, "run.dir");
    for (unsigned attempt = 0; attempt < 100; attempt++) {
        struct timespec now;
        struct tm tm;
        char when[32];
        clock_gettime(CLOCK_REALTIME, &now);
        localtime_r(&now.tv_sec, &tm);
        strftime(when, sizeof when, "%Y%m%d-%H%M%S", &tm);
        unsigned salt = ((unsigned)now.tv_nsec / 1000u + (unsigned)getpid() * 40503u + attempt) & 0xffffu;
        char run[1024], sub[1100];
        if (snprintf(run, sizeof run, "%s/%s-%s-%04x", cfg->run.dir, cfg->run.name, when, salt) >= size)
            return ddp_fail(err, DDP_E_CONFIG, "run.dir: the path is too long: %s", run);
        if (mkdir(run, 0777) != 0) {
            if (errno == EEXIST)
                continue;
            return ddp_fail(err, DDP_E_IO,
                            "run.dir: cannot make %s: %s; choose another folder with run.dir=...", run,
                            strerror(errno));
        }
        status = ddp_later_made(later, cfg->run.dir, err); /* by another job, perhaps, a moment ago */
        if (status == 0)
            status = ddp_later_made(later, run, err);
        if (status)
            return status;
        static const char *const parts[] = {"log", "checkpoints"};
        for (size_t i = 0; i < DDP_COUNT(parts); i++) {
            snprintf(sub, sizeof sub, "%s/%s", run, parts[i]);
            if (ddp_later_dir(later, sub, err) != 0)
                return ddp_error_prefix(err, "run.dir");
        }
        snprintf(path, (size_t)size, "%s", run);
        return 0;
    }
    return ddp_fail(err, DDP_E_IO, "run.dir: %s: no free name for a run directory", cfg->run.dir);
}

/* "NAME.tmp-DIGITS": what ddp_file_write writes aside. */
static bool is_unfinished(const char *name)
{
    const char *mark = strstr(name, ".tmp-");
    return mark && mark[5] && strspn(mark + 5, "0123456789") == strlen(mark + 5);
}

void ddp_rundir_tidy(const char *run_dir)
{
    DIR *d = opendir(run_dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (is_unfinished(e->d_name))
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
}

/* "NAME-YYYYMMDD-HHMMSS-xxxx": where the time begins, NULL when it is no such name. */
static const char *time_part(const char *name)
{
    size_t n = strlen(name);
    if (n < 21)
        return NULL;
    const char *t = name + n - 20;
    if (t[-1] != '-' || t[8] != '-' || t[15] != '-')
        return NULL;
    for (int i = 0; i < 15; i++)
        if (i != 8 && (t[i] < '0' || t[i] > '9'))
            return NULL;
    return t;
}

/* A run that may be meant by "latest". */
struct candidate {
    char path[1024];
    struct ddp_train_state state; /* of its newest checkpoint */
};

/* What was seen on the way, for the words. */
struct search {
    struct candidate *list;
    int n;
    int empty, others; /* runs of the name without a checkpoint, of another experiment */
    char some_empty[1024], some_other[1024];
};

/* Before format 3 a checkpoint did not say of which experiment it is: the run's config does. */
static void fill_experiment(const char *run, struct ddp_train_state *state)
{
    char path[1100];
    struct ddp_config *cfg;
    snprintf(path, sizeof path, "%s/config.cfg", run);
    const struct ddp_config_options opt = {.path = path};
    if (*state->experiment || ddp_config_load(&opt, &cfg, NULL) != 0)
        return;
    ddp_config_experiment(cfg, state->experiment);
    ddp_config_destroy(cfg);
}

/* A checkpoint that does not say on what it was trained is taken at the config's word. */
static bool same_data(const struct ddp_train_state *state, const char *train_data)
{
    return !train_data || !*state->train_data || strcmp(state->train_data, train_data) == 0;
}

static void consider(struct search *s, const char *run, const char experiment[65], const char *train_data)
{
    struct candidate c = {0};
    snprintf(c.path, sizeof c.path, "%s", run);
    if (ddp_checkpoint_newest(run, &c.state, NULL) != 0) {
        s->empty++;
        snprintf(s->some_empty, sizeof s->some_empty, "%s", run);
        ddp_log(DDP_LOG_WARN, "%s has no checkpoint yet: it is not what to go on from", run);
        return;
    }
    fill_experiment(run, &c.state);
    if (strcmp(c.state.experiment, experiment) != 0 || !same_data(&c.state, train_data)) {
        s->others++;
        snprintf(s->some_other, sizeof s->some_other, "%s", run);
        return;
    }
    s->list = ddp_realloc(s->list, (size_t)(s->n + 1) * sizeof *s->list);
    s->list[s->n++] = c;
}

/* The one saved to last first; of two of one moment, the one that has come further. */
static int last_saved_first(const void *a, const void *b)
{
    const struct ddp_train_state *x = &((const struct candidate *)a)->state,
                                 *y = &((const struct candidate *)b)->state;
    if (x->saved_ms != y->saved_ms)
        return x->saved_ms < y->saved_ms ? 1 : -1;
    return x->step != y->step ? (x->step < y->step ? 1 : -1) : 0;
}

/* Whether a folder's name is the run's name with a time behind it. */
static bool is_of(const char *folder, const char *name)
{
    const char *t = time_part(folder);
    const size_t n = strlen(name);
    return t && (size_t)(t - 1 - folder) == n && strncmp(folder, name, n) == 0;
}

/* The newest whole checkpoint of the first of them that has one, as the path of its run. */
static int first_whole(const struct search *s, char *path, int size, struct ddp_error *err)
{
    char checkpoint[1100];
    int status = DDP_E_CHECKPOINT;
    for (int i = 0; i < s->n && status; i++) {
        *err = (struct ddp_error){0};
        status = ddp_checkpoint_find(s->list[i].path, checkpoint, sizeof checkpoint, err);
        if (status)
            ddp_log(DDP_LOG_WARN, "%s is passed over: %s", s->list[i].path, err->text);
        else
            snprintf(path, (size_t)size, "%s", s->list[i].path);
    }
    return status;
}

static int none_found(const struct ddp_config *cfg, const struct search *s, struct ddp_error *err)
{
    char others[1400] = "", empty[1400] = "";
    if (s->others > 0)
        snprintf(others, sizeof others,
                 "; %d of that name %s of another experiment or other data, %s for one (--resume with its "
                 "path says what "
                 "differs, and goes on from it in a new run)",
                 s->others, s->others == 1 ? "is" : "are", s->some_other);
    if (s->empty > 0)
        snprintf(empty, sizeof empty, "; %d of that name %s no checkpoint, %s for one", s->empty,
                 s->empty == 1 ? "has" : "have", s->some_empty);
    return ddp_fail(
        err, DDP_E_USAGE,
        "latest: in %s is no run '%s' of this experiment that could go on%s%s; without --resume, or "
        "with --resume auto, a new one starts",
        cfg->run.dir, cfg->run.name, others, empty);
}

static int find_latest(const struct ddp_config *cfg, const char *train_data, char *path, int size,
                       struct ddp_error *err)
{
    struct search s = {0};
    char experiment[65], run[1024];
    DIR *d = opendir(cfg->run.dir);
    if (!d)
        return ddp_fail(err, DDP_E_USAGE, "latest: %s: %s; no run was made there yet", cfg->run.dir,
                        strerror(errno));
    ddp_config_experiment(cfg, experiment);
    for (struct dirent *e; (e = readdir(d));)
        if (is_of(e->d_name, cfg->run.name) &&
            snprintf(run, sizeof run, "%s/%s", cfg->run.dir, e->d_name) < (int)sizeof run)
            consider(&s, run, experiment, train_data);
    closedir(d);
    if (s.n > 1)
        qsort(s.list, (size_t)s.n, sizeof *s.list, last_saved_first);
    int status = s.n > 0 ? first_whole(&s, path, size, err) : none_found(cfg, &s, err);
    free(s.list);
    return status;
}

int ddp_rundir_find(const struct ddp_config *cfg, const char *train_data, const char *name, char *path,
                    int size, struct ddp_error *err)
{
    const bool automatic = strcmp(name, "auto") == 0;
    if (!automatic && strcmp(name, "latest") != 0)
        return ddp_run_resolve(name, path, size, err);
    struct ddp_error why = {0};
    int status = find_latest(cfg, train_data, path, size, &why);
    if (status == DDP_E_USAGE && automatic) {
        ddp_log(DDP_LOG_INFO, "nothing to go on from: a new run starts (%s)", why.text);
        *path = '\0';
        return 0;
    }
    return status ? ddp_fail(err, status, "%s", why.text) : 0;
}

int64_t ddp_rundir_last_ms(const struct ddp_config *cfg)
{
    int64_t last = 0;
    DIR *d = opendir(cfg->run.dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[2048];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s/checkpoints", cfg->run.dir, e->d_name);
        if (!is_of(e->d_name, cfg->run.name) || stat(path, &st) != 0)
            continue;
        const int64_t ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 + 1;
        last = ms > last ? ms : last;
    }
    if (d)
        closedir(d);
    return last;
}
