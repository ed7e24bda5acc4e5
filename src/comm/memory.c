/* How much memory this process may still take: /proc/meminfo, and the limits of control groups. */
#include "comm/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

enum { FILE_BYTES = 16384, PATH_BYTES = 4608, GROUP_BYTES = 2048 };

/* Files of /proc and /sys have no size: read until the end. */
static bool read_text(const char *path, char text[FILE_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    size_t have = 0;
    while (have < FILE_BYTES - 1) {
        ssize_t n = read(fd, text + have, FILE_BYTES - 1 - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    close(fd);
    text[have] = '\0';
    return have > 0;
}

/* The number behind `key` at the start of a line; key "" is the first thing in the text. False for "max" and
 * the like. */
static bool find_number(const char *text, const char *key, uint64_t *out)
{
    size_t len = strlen(key);
    const char *line = text;
    while (strncmp(line, key, len) != 0) {
        line = strchr(line, '\n');
        if (line == NULL)
            return false;
        line++;
    }
    line += len;
    while (*line == ' ' || *line == '\t' || *line == ':')
        line++;
    if (*line < '0' || *line > '9')
        return false;
    *out = strtoull(line, NULL, 10);
    return true;
}

struct group_files {
    const char *mount, *max, *current, *cache;
};
static const struct group_files group_v2 = {"/sys/fs/cgroup", "memory.max", "memory.current",
                                            "inactive_file "};
static const struct group_files group_v1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                            "memory.usage_in_bytes", "total_inactive_file "};

static bool group_number(const char *root, const struct group_files *f, const char *group, const char *file,
                         const char *key, uint64_t *out)
{
    char path[PATH_BYTES], text[FILE_BYTES];
    int n = snprintf(path, sizeof path, "%s%s%s/%s", root, f->mount, group, file);
    return n > 0 && n < (int)sizeof path && read_text(path, text) && find_number(text, key, out);
}

/* What the limits of a control group and of all above it leave. */
static uint64_t group_available(const char *root, const struct group_files *f, char group[GROUP_BYTES])
{
    uint64_t least = UINT64_MAX;
    for (;;) {
        size_t len = strlen(group);
        while (len > 0 && group[len - 1] == '/')
            group[--len] = '\0';
        uint64_t max, used, cache = 0;
        if (group_number(root, f, group, f->max, "", &max) &&
            group_number(root, f, group, f->current, "", &used) && max < UINT64_MAX / 4) {
            group_number(root, f, group, "memory.stat", f->cache, &cache);
            uint64_t held = used > cache ? used - cache : 0;
            uint64_t left = max > held ? max - held : 0;
            if (left < least)
                least = left;
        }
        if (len == 0)
            return least;
        *strrchr(group, '/') = '\0';
    }
}

/* Our group from one line of /proc/self/cgroup: "0::/a/b" (v2) or "9:memory:/a/b" (v1). NULL for other
 * hierarchies. */
static const struct group_files *parse_group(const char *line, char group[GROUP_BYTES])
{
    const char *controllers = strchr(line, ':');
    const char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (path == NULL || path[1] != '/')
        return NULL;
    const struct group_files *files = NULL;
    if (path == controllers + 1)
        files = &group_v2;
    else if (strncmp(controllers, ":memory:", 8) == 0)
        files = &group_v1;
    size_t len = strcspn(path + 1, "\n");
    if (files == NULL || len >= GROUP_BYTES)
        return NULL;
    memcpy(group, path + 1, len);
    group[len] = '\0';
    return files;
}

uint64_t ddp_memory_available(const char *root, const char **limit)
{
    char path[PATH_BYTES], text[FILE_BYTES], group[GROUP_BYTES];
    uint64_t least = UINT64_MAX, kb;
    const char *bound = "unknown";

    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (read_text(path, text) && find_number(text, "MemAvailable:", &kb)) {
        least = kb * 1024;
        bound = "MemAvailable in /proc/meminfo";
    }
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (read_text(path, text)) {
        for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
            if (*line == '\n')
                line++;
            const struct group_files *files = parse_group(line, group);
            uint64_t left = files == NULL ? UINT64_MAX : group_available(root, files, group);
            if (left < least) {
                least = left;
                bound = "the memory limit of the control group (container or job)";
            }
        }
    }
    if (limit != NULL)
        *limit = bound;
    return least;
}

int ddp_memory_check(const char *root, uint64_t bytes, const char *what, struct ddp_error *err)
{
    const char *bound;
    uint64_t left = ddp_memory_available(root, &bound);
    if (bytes <= left)
        return 0;
    char need[32], have[32];
    return ddp_fail(
        err, DDP_E_RESOURCE,
        "%s: %s of memory are needed, %s are available (%s): use a smaller model, batch or number of "
        "ranks, or give the job more memory",
        what, ddp_bytes_text((double)bytes, need), ddp_bytes_text((double)left, have), bound);
}
