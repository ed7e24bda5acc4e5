/* The gate for injected faults, and what a failed write means in words. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/fileio.h"
#include "base/fileio_fault.h"
#include "base/text.h"

/* ---- faults ---------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    bool read_env;
    long fail_from; /* 0: never */
    int error;
    char substring[256];
    long counted;
} fault = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void read_environment(void)
{
    fault.read_env = true;
    const char *env = getenv("DDP_TEST_FAULT");
    if (!env)
        return;
    char text[512];
    snprintf(text, sizeof text, "%s", env);
    char *save = NULL, *n = strtok_r(text, ":", &save), *e = strtok_r(NULL, ":", &save),
         *s = strtok_r(NULL, "", &save);
    int64_t from = 0, error = 0;
    if (n && e && ddp_parse_int(n, &from) && ddp_parse_int(e, &error)) {
        fault.fail_from = from;
        fault.error = (int)error;
        snprintf(fault.substring, sizeof fault.substring, "%s", s ? s : "");
    }
}

bool ddp_fault_hit(const char *path)
{
    pthread_mutex_lock(&fault.lock);
    if (!fault.read_env)
        read_environment();
    bool hit = false;
    if (strstr(path, fault.substring)) {
        fault.counted++;
        hit = fault.fail_from && fault.counted >= fault.fail_from;
    }
    int error = fault.error;
    pthread_mutex_unlock(&fault.lock);
    if (hit)
        errno = error;
    return hit;
}

long ddp_fileio_fault(long n, int errno_value, const char *substring)
{
    pthread_mutex_lock(&fault.lock);
    fault.read_env = true;
    long counted = fault.counted;
    fault.counted = 0;
    fault.fail_from = n;
    fault.error = errno_value;
    snprintf(fault.substring, sizeof fault.substring, "%s", substring ? substring : "");
    pthread_mutex_unlock(&fault.lock);
    return counted;
}

/* Whether the file system that holds path, or would hold it, has bytes left and no inodes. */
static bool out_of_inodes(const char *path)
{
    struct statvfs st;
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *slash; statvfs(folder, &st) != 0; *slash = '\0')
        if (!(slash = strrchr(folder, '/')) || slash == folder)
            return false;
    return st.f_files > 0 && st.f_favail == 0 && st.f_bavail > 0;
}

const char *ddp_write_reason(int errno_value, const char *path)
{
    switch (errno_value) {
    case ENOSPC:
        return out_of_inodes(path) ? "the file system has no inodes left (df -i): remove some files, or "
                                     "write to another folder"
                                   : "the disk is full; free some space, or write to another folder";
    case EDQUOT:
        return "the disk quota is used up; free some space, or write to another folder";
    case EROFS:
        return "the file system is read-only; write to another folder";
    case EACCES:
        return "permission denied; write to a folder of your own";
    default:
        return strerror(errno_value);
    }
}
