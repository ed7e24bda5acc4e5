/* Look through /proc for the processes of a job. */
#include "launcher/tagged.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

enum { ENVIRON_LIMIT = 1 << 20 };

/* Whether NUL-separated text holds `entry` as a whole entry. */
static bool has_entry(const char *env, size_t n, const char *entry)
{
    const size_t len = strlen(entry);
    for (size_t i = 0; i < n;) {
        const size_t here = strnlen(env + i, n - i);
        if (here == len && memcmp(env + i, entry, len) == 0)
            return true;
        i += here + 1;
    }
    return false;
}

static bool is_tagged(const char *pid, const char *entry, char *buf)
{
    char path[64];
    size_t n = 0;
    snprintf(path, sizeof path, "/proc/%.20s/environ", pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false; /* another user's, or gone */
    for (ssize_t r; n < ENVIRON_LIMIT && (r = read(fd, buf + n, ENVIRON_LIMIT - n)) > 0;)
        n += (size_t)r;
    close(fd);
    return has_entry(buf, n, entry); /* a zombie's environment is empty */
}

int ddp_tagged_kill(const char *job_name)
{
    char entry[128];
    char *buf = malloc(ENVIRON_LIMIT);
    DIR *d = opendir("/proc");
    int found = 0;

    snprintf(entry, sizeof entry, "DDP_LIFELINE=%s", job_name);
    for (struct dirent *e; buf && d && (e = readdir(d));) {
        const int pid = isdigit((unsigned char)e->d_name[0]) ? atoi(e->d_name) : 0;
        if (pid > 1 && pid != getpid() && is_tagged(e->d_name, entry, buf)) {
            kill(pid, SIGKILL);
            found++;
        }
    }
    if (d)
        closedir(d);
    free(buf);
    return found;
}
