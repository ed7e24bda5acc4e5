/* A job's private folder: where it lies, what is in it, and its end. */
#include "launcher/job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PATH_FOR_SOCKETS = 60 }; /* socket paths below a longer folder would pass the system's limit of 107 */

static bool has_room(const char *dir, double bytes)
{
    struct statvfs s;
    return access(dir, W_OK | X_OK) == 0 && statvfs(dir, &s) == 0 &&
           (double)s.f_bavail * (double)s.f_frsize >= bytes;
}

int ddp_job_base(double bytes, char out[PATH_MAX], struct ddp_error *err)
{
    const char *tmp = getenv("TMPDIR");
    const char *const bases[] = {
        "/dev/shm", tmp && tmp[0] == '/' && strlen(tmp) <= PATH_FOR_SOCKETS ? tmp : "/tmp", "/tmp"};
    const bool too_long = tmp && strlen(tmp) > PATH_FOR_SOCKETS;
    char need[32], why[128] = "";

    for (size_t i = 0; i < DDP_COUNT(bases); i++)
        if (has_room(bases[i], bytes)) {
            strcpy(out, bases[i]);
            return 0;
        }
    if (too_long)
        snprintf(
            why, sizeof why,
            " (the one that is set is not used: its %zu characters are more than the %d that leave room for "
            "the names of sockets)",
            strlen(tmp), PATH_FOR_SOCKETS);
    return ddp_fail(err, DDP_E_RESOURCE,
                    "neither %s nor %s has the %s that MPI needs for its own files: free some, enlarge "
                    "/dev/shm (docker run --shm-size=256m), start fewer ranks, or set TMPDIR to a local "
                    "folder with room%s",
                    bases[0], bases[1], ddp_bytes_text(bytes, need), why);
}

void ddp_job_locate(struct ddp_job *job, const char *base)
{
    snprintf(job->dir, sizeof job->dir, "%s/%s", base, job->name);
    snprintf(job->fresh, sizeof job->fresh, "%s/.%s", base, job->name);
}

/* Made under another name and renamed once the lock is held: whoever looks for leftovers never sees
 * a live folder without its lock. */
int ddp_job_open(struct ddp_job *job, const struct ddp_machine *m, struct ddp_error *err)
{
    char lock[PATH_MAX + 8];

    if (mkdir(job->fresh, 0700) != 0)
        return ddp_fail(err, DDP_E_RESOURCE, "%s: this folder cannot be made: %s", job->fresh,
                        strerror(errno));
    snprintf(lock, sizeof lock, "%s/lock", job->fresh);
    const int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0 || rename(job->fresh, job->dir) != 0) {
        const int rc = ddp_fail(err, DDP_E_RESOURCE, "%s: %s", job->fresh, strerror(errno));
        if (fd >= 0)
            close(fd);
        ddp_job_remove(job);
        return rc;
    }
    job->lock = fd;
    char config[PATH_MAX + 16];
    snprintf(config, sizeof config, "%s/config.cfg", job->dir);
    FILE *f = fopen(config, "wex");
    const bool written = f && fputs(job->config, f) >= 0;
    if ((f && fclose(f) != 0) || !written) /* closed by ddp_job_close */
        return ddp_fail(err, DDP_E_RESOURCE, "%s: cannot be written: %s", config, strerror(errno));
    ddp_words_add(&job->env, "DDP_CONFIG=%s", config);
    snprintf(job->topology, sizeof job->topology, "%.*s/topology.xml", PATH_MAX - 16, job->dir);
    if (!m || ddp_machine_export_xml(m, job->topology, NULL) != 0)
        job->topology[0] = '\0'; /* mpirun then looks for itself, 40 ms slower */
    return 0;
}

int ddp_job_hand_config(struct ddp_job *job, struct ddp_error *err)
{
    const size_t n = strlen(job->config);
    const int fd = memfd_create("ddp-config", 0);
    if (fd < 0 || write(fd, job->config, n) != (ssize_t)n) {
        const int rc =
            ddp_fail(err, DDP_E_RESOURCE, "no memory for a copy of the config: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    job->config_file = fd;
    ddp_words_add(&job->env, "DDP_CONFIG=/proc/self/fd/%d", fd);
    return 0;
}

void ddp_job_remove(const struct ddp_job *job)
{
    if (!*job->dir)
        return;
    ddp_dir_remove(job->dir, NULL);
    ddp_dir_remove(job->fresh, NULL);
}

void ddp_job_close(struct ddp_job *job)
{
    if (job->lock >= 0) {
        for (int tries = 0; tries < 100 && ddp_path_exists(job->dir); tries++) {
            if (ddp_dir_remove(job->dir, NULL) != 0)
                usleep(5000);
        }
        close(job->lock);
        job->lock = -1;
    }
    if (job->config_file > 0)
        close(job->config_file);
    job->config_file = 0;
    free(job->config);
    job->config = NULL;
    for (int i = 0; i < job->nhosts; i++)
        free(job->host_list[i].name);
    free(job->host_list);
    job->host_list = NULL;
    job->nhosts = 0;
    ddp_words_finish(&job->args);
    ddp_words_finish(&job->env);
}
