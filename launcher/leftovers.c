/* Leftovers of jobs whose launcher and janitor were both killed: folders whose lock nobody holds any more.
 * Locks, not process numbers, because containers that share /dev/shm do not share those. */
#include "launcher/leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/job.h"

enum { HALF_DONE_S = 60 };

static void remove_if_left(const char *path)
{
    char lock[PATH_MAX];
    struct stat s;

    if (lstat(path, &s) != 0 || !S_ISDIR(s.st_mode) || s.st_uid != geteuid())
        return;
    const bool old = ddp_wall() - (double)s.st_mtime > HALF_DONE_S;
    if (strrchr(path, '/')[1] == '.') { /* being made right now, or its maker was killed while doing so */
        if (old)
            ddp_dir_remove(path, NULL);
        return;
    }
    if (snprintf(lock, sizeof lock, "%s/lock", path) >= (int)sizeof lock)
        return;
    const int fd = open(lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        /* somebody is removing it right now, or was killed while doing so */
        if (errno == ENOENT && old)
            ddp_dir_remove(path, NULL);
        return;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        ddp_dir_remove(path, NULL);
    close(fd);
}

static void look_in(const char *base)
{
    DIR *d = opendir(base);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[PATH_MAX];
        const char *name = e->d_name + (e->d_name[0] == '.'); /* as it is called until its lock is held */
        if (strncmp(name, DDP_JOB_PREFIX, strlen(DDP_JOB_PREFIX)) == 0 &&
            snprintf(path, sizeof path, "%s/%s", base, e->d_name) < (int)sizeof path)
            remove_if_left(path);
    }
    closedir(d);
}

void ddp_leftovers_remove(void)
{
    const char *tmp = getenv("TMPDIR");
    look_in("/dev/shm");
    look_in("/tmp");
    if (tmp && tmp[0] == '/' && strcmp(tmp, "/tmp") != 0)
        look_in(tmp);
}
