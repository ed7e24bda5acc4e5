/* Which runs may go, and removing one. */
#include "clear.h"

#include <dirent.h>
#include <fnmatch.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "record/record.h"

enum { YOUNG_S = 60 }; /* what has no record yet may be about to get one */

/* What runs write. Anything else is somebody's own. */
static const char *const ours[] = {"config.cfg",
                                   "config.json",
                                   "run.json",
                                   "metrics.jsonl",
                                   "weights.trail",
                                   "weights.trail.old",
                                   "model*.safetensors",
                                   "checkpoints",
                                   "plan.lock.json",
                                   "code-*.diff.gz",
                                   "log",
                                   "probe",
                                   "job.sh",
                                   "events.out.tfevents.*",
                                   "trace*.json*",
                                   "*.tmp-[0-9]*"};

/* ---- looking --------------------------------------------------------------------------------- */

static bool is_ours(const char *name)
{
    for (size_t i = 0; i < DDP_COUNT(ours); i++)
        if (fnmatch(ours[i], name, 0) == 0)
            return true;
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* A file of somebody's own in it, into name[size]. */
static bool find_foreign(const char *dir, char *name, size_t size)
{
    bool found = false;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && !found && (e = readdir(d));)
        if ((found = !is_ours(e->d_name)))
            snprintf(name, size, "%s", e->d_name);
    if (d)
        closedir(d);
    return found;
}

/* Of the files that a run writes to all the time; 0: none is there. */
static time_t last_written(const char *dir)
{
    static const char *const names[] = {"",     "/run.json",    "/metrics.jsonl", "/weights.trail",
                                        "/log", "/checkpoints", "/log/rank-0.log"};
    time_t last = 0;
    for (size_t i = 0; i < DDP_COUNT(names); i++) {
        char path[4200];
        struct stat st;
        snprintf(path, sizeof path, "%s%s", dir, names[i]);
        if (stat(path, &st) == 0 && st.st_mtime > last)
            last = st.st_mtime;
    }
    return last;
}

static bool lies_in(const char *path, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = path; (at = strstr(at, name)); at++)
        if ((at == path || at[-1] == '/') && (at[n] == '\0' || at[n] == '/'))
            return true;
    return false;
}

/* A run that forked from it, or keeps its best weights in it. */
static const char *child_of(const struct ddp_shelf *shelf, const struct ddp_past *p)
{
    for (int i = 0; i < shelf->n; i++) {
        const struct ddp_past *other = &shelf->run[i];
        if (strcmp(other->name, p->name) != 0 && (lies_in(ddp_past_text(other, "parent.run"), p->name) ||
                                                  lies_in(ddp_past_text(other, "best.path"), p->name)))
            return other->name;
    }
    return NULL;
}

static const char *reason(const struct ddp_past *p, const struct ddp_clear_options *opt)
{
    switch (p->state) {
    case DDP_PAST_FAILED:
        return "failed";
    case DDP_PAST_GONE:
        return "its process is gone";
    case DDP_PAST_HALF:
        return "it was never made whole";
    case DDP_PAST_DAMAGED:
        return "its record is damaged";
    case DDP_PAST_STOPPED:
        return opt->stopped ? "stopped" : NULL;
    default:
        return NULL;
    }
}

bool ddp_clear_may(const struct ddp_shelf *shelf, const struct ddp_past *p,
                   const struct ddp_clear_options *opt, char *why, int size)
{
    const char *because = reason(p, opt), *child = child_of(shelf, p);
    const double age = difftime(time(NULL), last_written(p->path));
    const double least = p->state == DDP_PAST_HALF && opt->older_s < YOUNG_S ? YOUNG_S : opt->older_s;
    char foreign[256];
    if (!because)
        snprintf(why, (size_t)size, "%s", ddp_past_state_name(p->state));
    else if (ddp_past_is_marked(p))
        snprintf(why, (size_t)size, "%s, and marked", because);
    else if (age < least)
        snprintf(why, (size_t)size, "%s, and written to a short while ago", because);
    else if (child)
        snprintf(why, (size_t)size, "%s, and %s goes on from it", because, child);
    else if (find_foreign(p->path, foreign, sizeof foreign))
        snprintf(why, (size_t)size, "%s, and %s in it was written by no run", because, foreign);
    else {
        snprintf(why, (size_t)size, "%s", because);
        return true;
    }
    return false;
}

static int64_t sum;

static int add(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)path;
    (void)at;
    sum += kind == FTW_F ? (int64_t)st->st_size : 0;
    return 0;
}

int64_t ddp_clear_bytes(const char *dir)
{
    sum = 0;
    nftw(dir, add, 16, FTW_PHYS);
    return sum;
}

/* ---- removing -------------------------------------------------------------------------------- */

int ddp_clear_remove(const struct ddp_shelf *shelf, const struct ddp_past *p,
                     const struct ddp_clear_options *opt, struct ddp_error *err)
{
    const int held = ddp_run_take(p->path);
    if (held < 0)
        return ddp_fail(err, DDP_E_RESOURCE, "%s stays: a process works in it, or it cannot be known here",
                        p->path);
    struct ddp_past now;
    char why[512] = "it is gone";
    int status = ddp_past_read(p->path, &now, NULL); /* it may have gone on since */
    if (status == 0) {
        if (now.state == DDP_PAST_RUNNING) /* by this process, which holds it */
            now.state = DDP_PAST_GONE;
        if (!ddp_clear_may(shelf, &now, opt, why, sizeof why))
            status = DDP_E_RESOURCE;
        ddp_past_finish(&now);
    }
    if (status)
        ddp_fail(err, DDP_E_RESOURCE, "%s stays: %s", p->path, why);
    else
        status = ddp_dir_remove(p->path, err);
    ddp_run_unlock(held);
    return status;
}
