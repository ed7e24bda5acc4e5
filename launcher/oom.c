/* Counters of the out-of-memory killer: control groups of version 1 and 2, and the machine's. */
#include "launcher/oom.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The value behind "oom_kill " in a file of "name value" lines; -1: there is none. */
static long long counter(const char *path)
{
    static const char name[] = "oom_kill ";
    char line[256];
    long long n = -1;
    FILE *f = fopen(path, "re");
    while (f && n < 0 && fgets(line, sizeof line, f))
        if (strncmp(line, name, sizeof name - 1) == 0)
            n = atoll(line + sizeof name - 1);
    if (f)
        fclose(f);
    return n;
}

/* In a container the group's path is that of the host, and its files are at the top of the mount. */
static bool read_group(const char *root, const char *mount, const char *group, const char *file,
                       struct ddp_oom *o)
{
    const char *const groups[] = {strcmp(group, "/") == 0 ? "" : group, ""};
    for (size_t i = 0; i < DDP_COUNT(groups) && o->group < 0; i++) {
        snprintf(o->file, sizeof o->file, "%s%s%s/%s", root, mount, groups[i], file);
        o->group = counter(o->file);
    }
    return o->group >= 0;
}

/* A line of /proc/self/cgroup: "9:memory,hugetlb:/a/b" of version 1, "0::/a/b" of version 2. */
static void read_line(const char *root, char *line, struct ddp_oom *o)
{
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return;
    *group++ = '\0';
    controllers++;
    if (!*controllers && !read_group(root, "/sys/fs/cgroup", group, "memory.events", o))
        read_group(root, "/sys/fs/cgroup/unified", group, "memory.events", o);
    char *save = NULL;
    for (char *c = strtok_r(controllers, ",", &save); c; c = strtok_r(NULL, ",", &save))
        if (strcmp(c, "memory") == 0)
            read_group(root, "/sys/fs/cgroup/memory", group, "memory.oom_control", o);
}

void ddp_oom_read(const char *root, struct ddp_oom *out)
{
    char path[512], line[512];
    *out = (struct ddp_oom){.group = -1};
    snprintf(path, sizeof path, "%s/proc/vmstat", root);
    out->machine = counter(path);
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    while (f && out->group < 0 && fgets(line, sizeof line, f))
        read_line(root, line, out);
    if (f)
        fclose(f);
}

void ddp_oom_word(const struct ddp_oom *before, const struct ddp_oom *now, char *text, int size)
{
    static const char cure[] = "give the job more memory, or use fewer ranks (-n) or a smaller train.batch";
    *text = '\0';
    if (before->group >= 0 && now->group > before->group)
        snprintf(
            text, (size_t)size,
            "; memory ran out: the kernel's out-of-memory killer struck in this job's control group (%s: "
            "oom_kill %lld, %lld before): %s",
            now->file, now->group, before->group, cure);
    else if (before->machine >= 0 && now->machine > before->machine)
        snprintf(
            text, (size_t)size,
            "; memory may have run out: the kernel's out-of-memory killer struck on this machine meanwhile "
            "(/proc/vmstat: oom_kill %lld, %lld before): %s",
            now->machine, before->machine, cure);
}
