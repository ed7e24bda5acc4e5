/* What is tried before anything starts. */
#include "launcher/preflight.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* mpirun's session files and a vader segment per rank; the ranks' own windows lie in anonymous memory
 * (memfd). */
enum { MB_PER_JOB = 4, MB_PER_RANK = 4 };

/* The folder, or the nearest of its parents that exists. */
static int find_existing(const char *dir, char path[PATH_MAX], struct ddp_error *err)
{
    if (snprintf(path, PATH_MAX, "%s", *dir ? dir : ".") >= PATH_MAX)
        return ddp_fail(err, DDP_E_CONFIG, "run.dir = \"%s\" is too long", dir);
    while (!ddp_path_exists(path)) {
        char *slash = strrchr(path, '/');
        if (!slash)
            strcpy(path, ".");
        else
            slash[slash == path] = '\0';
    }
    return 0;
}

static int not_writable(const char *dir, const char *path, struct ddp_error *err)
{
    return ddp_fail(err, DDP_E_IO,
                    "run.dir = \"%s\": runs cannot be written to %s: %s; choose another with run.dir=FOLDER",
                    dir, path, strerror(errno));
}

int ddp_check_writable(const char *dir, struct ddp_error *err)
{
    char path[PATH_MAX], probe[PATH_MAX + 24];
    const int rc = find_existing(dir, path, err);
    if (rc != 0)
        return rc;
    snprintf(probe, sizeof probe, "%s/.ddp-probe-XXXXXX", path);
    if (!mkdtemp(probe))
        return not_writable(dir, path, err);
    rmdir(probe);
    return 0;
}

int ddp_marker_make(const char *dir, char marker[PATH_MAX + 32], struct ddp_error *err)
{
    char path[PATH_MAX], whole[PATH_MAX];
    const int rc = find_existing(dir, path, err);
    if (rc != 0)
        return rc;
    snprintf(marker, PATH_MAX + 32, "%s/.ddp-marker-XXXXXX", realpath(path, whole) ? whole : path);
    const int fd = mkstemp(marker);
    if (fd < 0)
        return not_writable(dir, path, err);
    close(fd);
    return 0;
}

int ddp_preflight(const struct ddp_starter *starter, const struct ddp_machine *m,
                  const struct ddp_config *cfg, const struct ddp_options *opt, int ranks, char base[PATH_MAX],
                  struct ddp_error *err)
{
    int rc;

    if (ddp_machine_is_synthetic(m))
        return ddp_fail(err, DDP_E_USAGE,
                        "HWLOC_SYNTHETIC or HWLOC_XMLFILE describes another machine: show its plan with "
                        "--map or --dry-run, or "
                        "unset it to start ranks here");
    if (starter->check && (rc = starter->check(err)) != 0)
        return rc;
    if (!opt->eval && (rc = ddp_check_writable(cfg->run.dir ? cfg->run.dir : "", err)) != 0)
        return rc;
    return !starter->folder ? 0 : ddp_job_base((MB_PER_JOB + MB_PER_RANK * (double)ranks) * 1e6, base, err);
}
