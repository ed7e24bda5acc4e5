/* A run directory is held by a lock on the directory itself. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record/record.h"

enum { TRIES = 25 };

int ddp_run_lock(const char *run_dir, int *lock, struct ddp_error *err)
{
    int fd = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return ddp_fail(err, DDP_E_IO, "%s: cannot open: %s", run_dir, strerror(errno));
    int held = flock(fd, LOCK_EX | LOCK_NB);
    for (int tries = 0; held != 0 && errno == EWOULDBLOCK && tries < TRIES; tries++) {
        usleep(20000); /* somebody may be closing the record of a process that is gone */
        held = flock(fd, LOCK_EX | LOCK_NB);
    }
    if (held != 0 && errno == EWOULDBLOCK) { /* a file system without locks goes without */
        close(fd);
        return ddp_fail(err, DDP_E_RESOURCE,
                        "%s: another process trains in this run directory; wait for it or stop it", run_dir);
    }
    *lock = fd;
    return 0;
}

void ddp_run_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}

int ddp_run_still_there(const char *run_dir, int lock, struct ddp_error *err)
{
    struct stat held, now;
    if (fstat(lock, &held) != 0)
        return ddp_fail(err, DDP_E_IO, "%s: %s", run_dir, strerror(errno));
    if (stat(run_dir, &now) == 0 && now.st_dev == held.st_dev && now.st_ino == held.st_ino)
        return 0;
    if (held.st_nlink == 0)
        return ddp_fail(err, DDP_E_IO,
                        "%s: this run directory was removed while the run was writing to it; nothing more is "
                        "recorded or saved",
                        run_dir);
    return ddp_fail(
        err, DDP_E_IO,
        "%s: this run directory was renamed or moved while the run was writing to it; give it its "
        "name back, and --resume goes on from its last checkpoint",
        run_dir);
}
