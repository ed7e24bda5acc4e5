/* The run directory: its name, making it, holding its lock, finding the newest. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "telemetry/telemetry.h"

int ddp_rundir_create(const struct ddp_config *cfg, char *path, int size, struct ddp_error *err)
{
    int status = ddp_dir_make(cfg->run.dir, err);
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
        if ((status = ddp_dir_sync(cfg->run.dir, err))) /* the run is there after a power cut */
            return status;
        static const char *const parts[] = {"log", "checkpoints"};
        for (size_t i = 0; i < DDP_COUNT(parts); i++) {
            snprintf(sub, sizeof sub, "%s/%s", run, parts[i]);
            if ((status = ddp_dir_make(sub, err)))
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

int ddp_rundir_find(const struct ddp_config *cfg, const char *name, char *path, int size,
                    struct ddp_error *err)
{
    if (strcmp(name, "latest") != 0) {
        if (!ddp_path_exists(name))
            return ddp_fail(err, DDP_E_USAGE,
                            "%s: no such run; give a run directory, a checkpoint folder, a .safetensors "
                            "file, or \"latest\"",
                            name);
        if (snprintf(path, (size_t)size, "%s", name) >= size)
            return ddp_fail(err, DDP_E_USAGE, "%s: the path is too long", name);
        return 0;
    }
    DIR *d = opendir(cfg->run.dir);
    if (!d)
        return ddp_fail(err, DDP_E_USAGE, "latest: %s: %s; no run was made there yet", cfg->run.dir,
                        strerror(errno));
    char best[1024] = "";
    char best_time[32] = "";
    struct timespec best_mtime = {0};
    for (struct dirent *e; (e = readdir(d));) {
        const char *t = time_part(e->d_name);
        char checkpoints[2048];
        struct stat st;
        snprintf(checkpoints, sizeof checkpoints, "%s/%s/checkpoints", cfg->run.dir, e->d_name);
        if (!t || stat(checkpoints, &st) != 0)
            continue;
        int order = strncmp(t, best_time, 15);
        bool newer = st.st_mtim.tv_sec > best_mtime.tv_sec ||
                     (st.st_mtim.tv_sec == best_mtime.tv_sec && st.st_mtim.tv_nsec > best_mtime.tv_nsec);
        if (order > 0 || (order == 0 && newer)) { /* two runs of one second: the one written to last */
            snprintf(best, sizeof best, "%s", e->d_name);
            snprintf(best_time, sizeof best_time, "%.15s", t);
            best_mtime = st.st_mtim;
        }
    }
    closedir(d);
    if (!*best)
        return ddp_fail(err, DDP_E_USAGE, "latest: no run directory in %s", cfg->run.dir);
    if (snprintf(path, (size_t)size, "%s/%s", cfg->run.dir, best) >= size)
        return ddp_fail(err, DDP_E_USAGE, "latest: the path is too long");
    return 0;
}

int ddp_rundir_lock(const char *run_dir, int *lock, struct ddp_error *err)
{
    int fd = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ddp_fail(err, DDP_E_IO, "%s: cannot open: %s", run_dir, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 &&
        errno == EWOULDBLOCK) { /* a file system without locks goes without */
        close(fd);
        return ddp_fail(err, DDP_E_RESOURCE,
                        "%s: another process trains in this run directory; wait for it or stop it", run_dir);
    }
    *lock = fd;
    return 0;
}

void ddp_rundir_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}
