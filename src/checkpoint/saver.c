/* Saving: a folder is written aside, every file in it synced, and renamed. At any moment, and wherever the
 * power goes, the newest checkpoint that has its final name is whole.
 *
 *   step-500.tmp-PID   being written; whatever a killed writer left is removed by the next one
 *   step-500           complete
 *   step-500.old-PID   complete; moved aside while a second save of the same step takes its name.
 *                      Found when there is no other, moved back by the next writer
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint/private.h"

struct ddp_saver {
    char *dir;
    int keep; /* 0: all */
    bool background;
    struct {
        char *name, *text;
    } attached[DDP_SAVER_ATTACHED]; /* name NULL: free */
    int first[DDP_SAVER_FIRST];     /* descriptors of files that are on disk before each checkpoint is */
    int nfirst;
    struct ddp_later *later; /* not owned; on disk before the next checkpoint is, NULL: nothing */
    int64_t best_step;       /* of the checkpoint that is kept as the best, -1: none */
    bool running;            /* the thread is to be joined */
    pthread_t thread;
    /* the save under way */
    const struct ddp_snapshot *snap;
    bool best;
    int status;
    struct ddp_error error;
};

static void drop(const char *path)
{
    struct ddp_error why = {0};
    if (ddp_dir_remove(path, &why) != 0)
        ddp_log(DDP_LOG_WARN, "%s", why.text);
}

/* Take a checkpoint apart where it stands, its state first: without that it is never taken for a whole
 * one. */
static void take_apart(const char *path)
{
    struct ddp_error why = {0};
    char *state = ddp_folder_path(path, DDP_STATE_FILE);
    if ((unlink(state) != 0 && errno != ENOENT) || ddp_dir_sync(path, &why) != 0)
        ddp_log(DDP_LOG_WARN, "%s: cannot remove: %s", state, strerror(errno));
    else
        drop(path);
    free(state);
}

/* Remove the complete checkpoint dir/name. It first takes the name of an unfinished one: under its own it is
 * never seen half removed. */
static void discard(const char *dir, int64_t step, const char *name)
{
    char tmp_name[96];
    snprintf(tmp_name, sizeof tmp_name, "step-%08lld.tmp-%d", (long long)step, (int)getpid());
    char *path = ddp_folder_path(dir, name), *tmp = ddp_folder_path(dir, tmp_name);
    struct ddp_error why = {0};
    if (ddp_path_rename(path, tmp, &why) == 0)
        drop(tmp);
    else if (errno == EXDEV) /* a folder in the lower layer of an overlay cannot be renamed */
        take_apart(path);
    else
        ddp_log(DDP_LOG_WARN, "%s", why.text);
    free(path);
    free(tmp);
}

/* Take away or put right what a writer that was killed left behind. What is seen in the folder may be a
 * rename that is not on disk yet; nothing is removed, or gone on from, because of it before it is. */
static int tidy(const char *dir, struct ddp_error *err)
{
    struct ddp_folder *list = NULL;
    int n = 0, status = ddp_folder_list(dir, &list, &n, err);
    if (status == 0 && n > 0)
        status = ddp_dir_sync(dir, err);
    for (int i = 0; status == 0 && i < n; i++) {
        if (list[i].kind == DDP_FOLDER_STEP)
            continue;
        char *path = ddp_folder_path(dir, list[i].name), name[64];
        snprintf(name, sizeof name, "step-%08lld", (long long)list[i].step);
        char *final = ddp_folder_path(dir, name);
        if (list[i].kind == DDP_FOLDER_OLD && !ddp_path_exists(final))
            status = ddp_path_rename(path, final, err);
        else if (list[i].kind == DDP_FOLDER_OLD)
            discard(dir, list[i].step, list[i].name);
        else
            drop(path);
        free(final);
        free(path);
    }
    free(list);
    return status;
}

/* Which checkpoint in dir was saved as the best: the last that says so. */
static int64_t find_best(const char *dir)
{
    struct ddp_folder *list;
    int n;
    int64_t best = -1;
    if (ddp_folder_list(dir, &list, &n, NULL) != 0)
        return -1;
    for (int i = 0; i < n && best < 0; i++) {
        char *path = ddp_folder_path(dir, list[i].name);
        struct ddp_state_file s;
        if (list[i].kind == DDP_FOLDER_STEP && ddp_folder_state(path, &s, NULL) == 0 && s.best)
            best = list[i].step;
        free(path);
    }
    free(list);
    return best;
}

int ddp_saver_create(const char *dir, int keep, bool background, struct ddp_saver **out,
                     struct ddp_error *err)
{
    if (keep < 0)
        return ddp_fail(err, DDP_E_USAGE, "checkpoint.keep = %d: 0 keeps all, else say how many", keep);
    int status = ddp_dir_make(dir, err);
    if (status == 0)
        status = tidy(dir, err);
    if (status)
        return status;
    struct ddp_saver *s = ddp_calloc(1, sizeof *s);
    s->dir = ddp_strdup(dir);
    s->keep = keep;
    s->background = background;
    s->best_step = find_best(dir);
    *out = s;
    return 0;
}

void ddp_saver_attach(struct ddp_saver *s, const char *name, const char *text)
{
    int at = 0;
    while (at < DDP_SAVER_ATTACHED - 1 && s->attached[at].name && strcmp(s->attached[at].name, name) != 0)
        at++;
    free(s->attached[at].name);
    free(s->attached[at].text);
    s->attached[at].name = ddp_strdup(name);
    s->attached[at].text = ddp_strdup(text);
}

void ddp_saver_sync_first(struct ddp_saver *s, int fd)
{
    if (fd >= 0 && s->nfirst < DDP_SAVER_FIRST)
        s->first[s->nfirst++] = fd;
}

void ddp_saver_settle_first(struct ddp_saver *s, struct ddp_later *later)
{
    s->later = later;
}

/* Records of the steps that a checkpoint holds are never lost behind it, nor is the run it belongs to. */
static int sync_first(struct ddp_saver *s, struct ddp_error *err)
{
    if (ddp_later_settle(s->later, err) != 0)
        return ddp_error_prefix(err, "the run directory before its checkpoint");
    for (int i = 0; i < s->nfirst; i++)
        if (ddp_file_sync(s->first[i], s->dir, err) != 0)
            return ddp_error_prefix(err, "the records before the checkpoint");
    return 0;
}

/* Remove what is neither among the last `keep` nor the best. Checkpoints of later steps than this one are of
 * a future that was abandoned: they are left alone, as the newest good one must never be at stake. */
static void prune(const struct ddp_saver *s, int64_t step)
{
    struct ddp_folder *list;
    int n, kept = 0;
    if (s->keep == 0 || ddp_folder_list(s->dir, &list, &n, NULL) != 0)
        return;
    for (int i = 0; i < n; i++) {
        if (list[i].kind != DDP_FOLDER_STEP || list[i].step > step)
            continue;
        if (kept++ >= s->keep && list[i].step != s->best_step)
            discard(s->dir, list[i].step, list[i].name);
    }
    free(list);
}

static int write_folder(const struct ddp_saver *s, const char *folder, struct ddp_error *err)
{
    struct ddp_state_file file = {.state = *ddp_snapshot_state(s->snap), .best = s->best};
    int status = ddp_dir_add(folder, err); /* never a run directory that was moved away meanwhile */
    if (status == 0)
        status = ddp_snapshot_write(s->snap, folder, file.model_sha256, file.optim_sha256,
                                    file.average_sha256, err);
    if (status)
        return status;
    for (int i = 0; status == 0 && i < DDP_SAVER_ATTACHED && s->attached[i].name; i++) {
        char *attached = ddp_folder_path(folder, s->attached[i].name);
        status = ddp_file_write(attached, s->attached[i].text, strlen(s->attached[i].text), err);
        free(attached);
    }
    if (status)
        return status;
    ddp_snapshot_hash(s->snap, file.weights_hash);
    char *path = ddp_folder_path(folder, DDP_STATE_FILE), *text = ddp_state_text(&file);
    status = ddp_file_write(path, text, strlen(text), err);
    free(text);
    free(path);
    return status;
}

/* tmp -> final, where a final one is that cannot be renamed: the new one waits complete under the name `old`
 * meanwhile. */
static int publish_over(const char *tmp, const char *final, const char *old, struct ddp_error *err)
{
    int status = ddp_path_rename(tmp, old, err);
    if (status)
        return status;
    take_apart(final);
    return ddp_path_rename(old, final, err);
}

/* tmp -> final, by way of old when there is a final one already. On an error one of final and old is
 * whole. */
static int publish(const char *tmp, const char *final, const char *old, struct ddp_error *err)
{
    bool replaced = ddp_path_exists(final);
    int status = replaced ? ddp_path_rename(final, old, err) : 0;
    if (status && errno == EXDEV)
        return publish_over(tmp, final, old, err);
    if (status == 0)
        status = ddp_path_rename(tmp, final, err);
    if (replaced && !ddp_path_exists(final) && rename(old, final) != 0)
        ddp_log(DDP_LOG_WARN, "%s: cannot move it back to %s; it will be found under this name", old, final);
    return status;
}

/* DIR may be made anew, the run that it belongs to is not. */
static int check_parent(const struct ddp_saver *s, struct ddp_error *err)
{
    char *parent = ddp_strdup(s->dir), *slash = strrchr(parent, '/');
    if (slash && slash != parent)
        *slash = '\0';
    const bool there = !slash || slash == parent || ddp_path_exists(parent);
    const int status = there ? 0 : ddp_fail(err, DDP_E_IO, "%s: this folder is gone", parent);
    free(parent);
    return status;
}

static int save(struct ddp_saver *s, struct ddp_error *err)
{
    int64_t step = ddp_snapshot_state(s->snap)->step;
    char name[64], tmp_name[96], old_name[96];
    snprintf(name, sizeof name, "step-%08lld", (long long)step);
    snprintf(tmp_name, sizeof tmp_name, "%s.tmp-%d", name, (int)getpid());
    snprintf(old_name, sizeof old_name, "%s.old-%d", name, (int)getpid());
    char *final = ddp_folder_path(s->dir, name), *tmp = ddp_folder_path(s->dir, tmp_name),
         *old = ddp_folder_path(s->dir, old_name);
    int status = check_parent(s, err);
    if (status == 0)
        status = tidy(s->dir, err);
    if (status == 0)
        status = write_folder(s, tmp, err);
    if (status == 0)
        status = sync_first(s, err);
    if (status == 0)
        status = publish(tmp, final, old, err);
    if (status) {
        drop(tmp);
        ddp_error_prefix(
            err,
            "step %lld could not be saved (checkpoints before it are untouched; run.dir=FOLDER is "
            "another place)",
            (long long)step);
    } else {
        if (s->best)
            s->best_step = step;
        if (ddp_path_exists(old)) /* only now: without an error the new one is on disk */
            discard(s->dir, step, old_name);
        prune(s, step);
    }
    free(final);
    free(tmp);
    free(old);
    return status;
}

static void *run(void *arg)
{
    struct ddp_saver *s = arg;
    s->status = save(s, &s->error);
    return NULL;
}

int ddp_saver_save(struct ddp_saver *s, struct ddp_snapshot *snap, bool best, struct ddp_error *err)
{
    int status = ddp_saver_wait(s, err);
    if (status)
        return status;
    s->snap = snap;
    s->best = best;
    s->error = (struct ddp_error){0};
    if (!s->background)
        return save(s, err);
    if (pthread_create(&s->thread, NULL, run, s) != 0)
        return save(s, err); /* no thread to be had: slower, but saved */
    s->running = true;
    return 0;
}

int ddp_saver_wait(struct ddp_saver *s, struct ddp_error *err)
{
    if (!s->running)
        return 0;
    pthread_join(s->thread, NULL);
    s->running = false;
    if (s->status)
        ddp_fail(err, s->status, "%s", s->error.text);
    return s->status;
}

int ddp_saver_finish(struct ddp_saver *s, struct ddp_error *err)
{
    int status = ddp_saver_wait(s, err);
    if (status == 0)
        status = tidy(s->dir, err);
    return status ? status : ddp_dir_sync(s->dir, err); /* what was removed stays so */
}

void ddp_saver_destroy(struct ddp_saver *s)
{
    if (!s)
        return;
    struct ddp_error err = {0};
    if (ddp_saver_wait(s, &err) != 0)
        ddp_log(DDP_LOG_ERROR, "%s", err.text);
    for (int i = 0; i < DDP_SAVER_ATTACHED; i++) {
        free(s->attached[i].name);
        free(s->attached[i].text);
    }
    free(s->dir);
    free(s);
}
