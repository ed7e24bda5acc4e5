/* CPU quotas of control groups: version 2 (cpu.max) and version 1 (cpu.cfs_quota_us), of the process's own
 * group and those above it as far as they can be seen. Containers and batch systems limit CPU time so while
 * all CPUs stay visible; who exceeds it is stopped for the rest of a period, some 100 ms. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "topology/topology.h"

enum { PATH = 1024 };

struct hierarchy {
    char group[PATH];                 /* of this process, "/a/b" */
    char mount_root[PATH], dir[PATH]; /* which group is mounted where; dir "" nowhere */
};

/* ---- where the groups are -------------------------------------------------------------------- */

static bool has_word(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (; *list; list += strcspn(list, ","), list += *list == ',')
        if (strncmp(list, word, n) == 0 && (list[n] == ',' || list[n] == '\0'))
            return true;
    return false;
}

/* Lines of /proc/self/cgroup: "1:cpu,cpuacct:/a/b" of version 1, "0::/a/b" of version 2. */
static void find_groups(const char *root, struct hierarchy *v1, struct hierarchy *v2)
{
    char path[PATH], line[2 * PATH];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = '\0';
        controllers++;
        struct hierarchy *h = !*controllers ? v2 : has_word(controllers, "cpu") ? v1 : NULL;
        if (h)
            snprintf(h->group, sizeof h->group, "%.*s", PATH - 1, group);
    }
    if (f)
        fclose(f);
}

/* A blank in a path is "\040" in mountinfo. */
static void unescape(char *s)
{
    char *to = s;
    for (; *s; s++)
        if (s[0] == '\\' && s[1] && s[2] && s[3]) {
            *to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 3;
        } else {
            *to++ = *s;
        }
    *to = '\0';
}

/* Lines of /proc/self/mountinfo: "31 23 0:28 MOUNT_ROOT DIR options - TYPE source super,options". */
static void find_mounts(const char *root, struct hierarchy *v1, struct hierarchy *v2)
{
    char path[PATH], line[4 * PATH], mount_root[PATH], dir[PATH], type[32], options[PATH];
    snprintf(path, sizeof path, "%s/proc/self/mountinfo", root);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        const char *rest = strstr(line, " - ");
        if (!rest || sscanf(line, "%*s %*s %*s %1023s %1023s", mount_root, dir) != 2 ||
            sscanf(rest, " - %31s %*s %1023s", type, options) != 2)
            continue;
        struct hierarchy *h = strcmp(type, "cgroup2") == 0                              ? v2
                              : strcmp(type, "cgroup") == 0 && has_word(options, "cpu") ? v1
                                                                                        : NULL;
        if (!h || *h->dir)
            continue;
        unescape(mount_root);
        unescape(dir);
        snprintf(h->mount_root, sizeof h->mount_root, "%s", mount_root);
        snprintf(h->dir, sizeof h->dir, "%s", dir);
    }
    if (f)
        fclose(f);
}

/* The process's group below the mount. A group that is not below what is mounted is that of the host, seen
 * from inside a container: the mount's top is ours. */
static const char *below_mount(const struct hierarchy *h)
{
    const size_t n = strcmp(h->mount_root, "/") == 0 ? 0 : strlen(h->mount_root);
    const bool below = strncmp(h->group, h->mount_root, n) == 0 && (h->group[n] == '/' || !h->group[n]);
    return !below || strstr(h->group, "/..") || strcmp(h->group + n, "/") == 0 ? "" : h->group + n;
}

/* ---- what they allow ------------------------------------------------------------------------- */

/* The first two numbers of a file; false: it is not there or says "max". */
static bool read_two(const char *path, double *a, double *b)
{
    FILE *f = fopen(path, "re");
    const int n = f ? fscanf(f, "%lf %lf", a, b) : 0;
    if (f)
        fclose(f);
    return n >= 1 && *a > 0;
}

/* Of one group, in CPUs; 0: no limit. */
static double quota_of(const char *root, const char *group, bool v2, char *file, int size)
{
    char path[3 * PATH];
    double quota = 0, period = 0, none;
    snprintf(file, (size_t)size, "%s/%s", group, v2 ? "cpu.max" : "cpu.cfs_quota_us");
    snprintf(path, sizeof path, "%s%s", root, file);
    if (!read_two(path, &quota, &period))
        return 0;
    snprintf(path, sizeof path, "%s%s/cpu.cfs_period_us", root, group);
    if (!v2 && !read_two(path, &period, &none))
        return 0;
    return period > 0 ? quota / period : 0;
}

static void go_up(const char *root, const struct hierarchy *h, bool v2, struct ddp_cpu_quota *out)
{
    char group[2 * PATH], file[sizeof out->file];
    if (!*h->dir)
        return;
    const int top = (int)strlen(h->dir);
    snprintf(group, sizeof group, "%s%s", h->dir, below_mount(h));
    for (;;) {
        const double cpus = quota_of(root, group, v2, file, sizeof file);
        if (cpus > 0 && (out->cpus <= 0 || cpus < out->cpus)) {
            out->cpus = cpus;
            memcpy(out->file, file, sizeof out->file);
        }
        char *slash = strrchr(group, '/');
        if (!slash || slash - group < top)
            return;
        *slash = '\0';
    }
}

void ddp_cpu_quota_read(const char *root, struct ddp_cpu_quota *out)
{
    struct hierarchy v1 = {0}, v2 = {0};
    *out = (struct ddp_cpu_quota){0};
    find_groups(root, &v1, &v2);
    find_mounts(root, &v1, &v2);
    go_up(root, &v1, false, out);
    go_up(root, &v2, true, out);
}
