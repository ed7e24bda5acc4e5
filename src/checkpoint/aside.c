/* Setting aside: checkpoints of a future that training turns back from. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "checkpoint/private.h"

/* dir/abandoned-N, of the first N that is free. */
static int make_folder(const char *dir, char *name, int size, char **out, struct ddp_error *err)
{
    for (int n = 1;; n++) {
        snprintf(name, (size_t)size, "abandoned-%d", n);
        char *path = ddp_folder_path(dir, name);
        if (mkdir(path, 0777) == 0) {
            *out = path;
            return 0;
        }
        const int why = errno;
        int status = why == EEXIST ? 0 : ddp_fail(err, DDP_E_IO, "%s: cannot make: %s", path, strerror(why));
        free(path);
        if (status)
            return status;
    }
}

/* A folder in the lower layer of an overlay cannot be renamed, the files in it can: the state first, without
 * which what is left is no checkpoint. */
static int move_files(const char *from, const char *to, struct ddp_error *err)
{
    if (mkdir(to, 0777) != 0 && errno != EEXIST)
        return ddp_fail(err, DDP_E_IO, "%s: cannot make: %s", to, strerror(errno));
    char *a = ddp_folder_path(from, DDP_STATE_FILE), *b = ddp_folder_path(to, DDP_STATE_FILE);
    int status = ddp_path_exists(a) ? ddp_path_rename(a, b, err) : 0;
    free(a);
    free(b);
    DIR *d = status == 0 ? opendir(from) : NULL;
    for (struct dirent *e; d && status == 0 && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        a = ddp_folder_path(from, e->d_name);
        b = ddp_folder_path(to, e->d_name);
        status = ddp_path_rename(a, b, err);
        free(a);
        free(b);
    }
    if (d)
        closedir(d);
    return status ? status : ddp_dir_remove(from, err);
}

static int move(const char *dir, const char *aside, const char *name, struct ddp_error *err)
{
    char *from = ddp_folder_path(dir, name), *to = ddp_folder_path(aside, name);
    int status = ddp_path_rename(from, to, err);
    if (status && errno == EXDEV)
        status = move_files(from, to, err);
    free(from);
    free(to);
    return status;
}

int ddp_checkpoint_set_aside(const char *dir, int64_t step, char *name, int size, int *n,
                             struct ddp_error *err)
{
    struct ddp_folder *list = NULL;
    char *aside = NULL;
    int count = 0, status = ddp_folder_list(dir, &list, &count, err);
    *n = 0;
    *name = '\0';
    for (int i = 0; status == 0 && i < count; i++) { /* the newest first: what is left is always a past */
        if (list[i].kind == DDP_FOLDER_TMP || list[i].step <= step)
            continue;
        if (!aside)
            status = make_folder(dir, name, size, &aside, err);
        if (status == 0)
            status = move(dir, aside, list[i].name, err);
        *n += status == 0;
    }
    if (status == 0 && *n > 0)
        status = ddp_dir_sync(dir, err);
    free(aside);
    free(list);
    return status
               ? ddp_error_prefix(err, "checkpoints after step %lld could not be set aside", (long long)step)
               : 0;
}
