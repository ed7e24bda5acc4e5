/* Folders of checkpoints: their names, which there are, whether one is whole. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/private.h"

/* "step-DIGITS", "step-DIGITS.old-DIGITS", "step-DIGITS.tmp-DIGITS"; anything else is not ours. */
static bool parse_name(const char *name, struct ddp_folder *out)
{
    static const struct {
        const char *mark;
        enum ddp_folder_kind kind;
    } marks[] = {{".old-", DDP_FOLDER_OLD}, {".tmp-", DDP_FOLDER_TMP}};
    if (strncmp(name, "step-", 5) != 0 || strlen(name) >= sizeof out->name)
        return false;
    const char *digits = name + 5;
    size_t n = strspn(digits, "0123456789");
    if (n < 1 || n > 18)
        return false;
    struct ddp_folder f = {.kind = DDP_FOLDER_STEP};
    for (size_t i = 0; i < n; i++)
        f.step = f.step * 10 + (digits[i] - '0');
    const char *rest = digits + n;
    for (size_t i = 0; *rest && i < DDP_COUNT(marks); i++) {
        if (strncmp(rest, marks[i].mark, 5) != 0)
            continue;
        f.kind = marks[i].kind;
        rest += 5;
        rest += strspn(rest, "0123456789");
    }
    if (*rest)
        return false;
    strcpy(f.name, name);
    *out = f;
    return true;
}

/* Newest first; a whole one before the one that it replaced. */
static int newest_first(const void *a, const void *b)
{
    const struct ddp_folder *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? 1 : -1;
    return x->kind != y->kind ? (int)x->kind - (int)y->kind : strcmp(x->name, y->name);
}

int ddp_folder_list(const char *dir, struct ddp_folder **out, int *n, struct ddp_error *err)
{
    int cap = 16, count = 0;
    struct ddp_folder *list = ddp_malloc((size_t)cap * sizeof *list);
    DIR *d = opendir(dir);
    if (!d && errno != ENOENT) {
        free(list);
        return ddp_fail(err, DDP_E_IO, "%s: cannot open this folder: %s", dir, strerror(errno));
    }
    for (struct dirent *e; d && (e = readdir(d));) {
        if (count == cap) {
            cap *= 2;
            list = ddp_realloc(list, (size_t)cap * sizeof *list);
        }
        if (parse_name(e->d_name, &list[count]))
            count++;
    }
    if (d)
        closedir(d);
    qsort(list, (size_t)count, sizeof *list, newest_first);
    *out = list;
    *n = count;
    return 0;
}

char *ddp_folder_path(const char *dir, const char *name)
{
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_text_add(&t, "%s/%s", dir, name);
    return t.s;
}

int ddp_folder_state(const char *folder, struct ddp_state_file *out, struct ddp_error *err)
{
    char *path = ddp_folder_path(folder, DDP_STATE_FILE), *text;
    size_t bytes;
    int status = ddp_file_read(path, 1 << 20, &text, &bytes, err);
    if (status == 0) {
        status = ddp_state_parse(path, text, bytes, out, err);
        free(text);
    }
    free(path);
    return status;
}

static int check_file(const char *folder, const char *name, const char *want, struct ddp_error *err)
{
    char *path = ddp_folder_path(folder, name), hex[65];
    const void *data;
    size_t bytes;
    int status = ddp_file_map(path, &data, &bytes, err);
    if (status == 0) {
        struct ddp_sha256 h;
        ddp_sha256_init(&h);
        ddp_sha256_update(&h, data, bytes);
        ddp_sha256_hex(&h, hex);
        ddp_file_unmap(data, bytes);
        if (strcmp(hex, want) != 0)
            status = ddp_fail(err, DDP_E_CHECKPOINT, "%s: damaged: its SHA-256 is %s, but %s was written",
                              path, hex, want);
    }
    free(path);
    return status;
}

static int check_finite(const char *folder, struct ddp_error *err)
{
    char *path = ddp_folder_path(folder, DDP_MODEL_FILE);
    struct ddp_st_file *f;
    int status = ddp_st_open(path, &f, err);
    for (int i = 0; status == 0 && i < ddp_st_count(f); i++) {
        const struct ddp_st_tensor *t = ddp_st_at(f, i);
        status = ddp_tensors_finite(&t, 1, err);
    }
    if (status == DDP_E_NUMERIC)
        ddp_error_prefix(err, "%s: of no use", path);
    ddp_st_close(f);
    free(path);
    return status;
}

int ddp_folder_verify(const char *folder, struct ddp_state_file *out, struct ddp_error *err)
{
    struct ddp_state_file s;
    int status = ddp_folder_state(folder, &s, err);
    if (status == 0)
        status = check_file(folder, DDP_MODEL_FILE, s.model_sha256, err);
    if (status == 0)
        status = check_file(folder, DDP_OPTIM_FILE, s.optim_sha256, err);
    if (status == 0 && *s.average_sha256)
        status = check_file(folder, DDP_AVERAGE_FILE, s.average_sha256, err);
    if (status == 0)
        status = check_finite(folder, err);
    if (status == 0)
        *out = s;
    return status;
}

static bool is_checkpoint(const char *path)
{
    char *state = ddp_folder_path(path, DDP_STATE_FILE);
    bool yes = ddp_path_exists(state);
    free(state);
    if (yes)
        return true;
    /* named as one but without its state: damaged, and reported as such */
    char *copy = ddp_strdup(path);
    size_t n = strlen(copy);
    while (n > 1 && copy[n - 1] == '/')
        copy[--n] = '\0';
    const char *slash = strrchr(copy, '/');
    struct ddp_folder f;
    yes = parse_name(slash ? slash + 1 : copy, &f);
    free(copy);
    return yes;
}

static int give_path(const char *found, char *path, int size, struct ddp_error *err)
{
    if (strlen(found) >= (size_t)size)
        return ddp_fail(err, DDP_E_USAGE, "%s: the path of this checkpoint is longer than %d bytes", found,
                        size - 1);
    strcpy(path, found);
    return 0;
}

static int find_in(const char *dir, char *path, int size, struct ddp_error *err)
{
    struct ddp_folder *list = NULL;
    struct ddp_error newest = {0}; /* what is wrong with the newest one that is damaged */
    int n = 0, damaged = 0, status = ddp_folder_list(dir, &list, &n, err);
    if (status)
        return status;
    for (int i = 0; i < n; i++) {
        if (list[i].kind == DDP_FOLDER_TMP)
            continue; /* never was complete */
        char *folder = ddp_folder_path(dir, list[i].name);
        struct ddp_state_file s;
        struct ddp_error why = {0};
        if (ddp_folder_verify(folder, &s, &why) == 0) {
            status = give_path(folder, path, size, err);
            free(folder);
            free(list);
            return status;
        }
        ddp_log(DDP_LOG_WARN, "checkpoint skipped: %s", why.text);
        if (damaged++ == 0)
            newest = why;
        free(folder);
    }
    free(list);
    if (damaged > 0)
        return ddp_fail(err, DDP_E_CHECKPOINT, "%s: %s: %s", dir,
                        damaged == 1 ? "its only checkpoint is damaged"
                                     : "all its checkpoints are damaged, the newest so",
                        newest.text);
    return ddp_fail(err, DDP_E_CHECKPOINT, "%s: there is no checkpoint in it", dir);
}

int ddp_checkpoint_find(const char *run_or_checkpoint, char *path, int size, struct ddp_error *err)
{
    const char *from = run_or_checkpoint;
    if (!ddp_path_exists(from))
        return ddp_fail(err, DDP_E_CHECKPOINT, "%s: there is no such run or checkpoint", from);
    if (is_checkpoint(from)) {
        struct ddp_state_file s;
        int status = ddp_folder_verify(from, &s, err);
        return status ? status : give_path(from, path, size, err);
    }
    char *inner = ddp_folder_path(from, "checkpoints");
    int status = find_in(ddp_path_exists(inner) ? inner : from, path, size, err);
    free(inner);
    return status;
}

int ddp_checkpoint_newest(const char *run_dir, struct ddp_train_state *state, struct ddp_error *err)
{
    char *dir = ddp_folder_path(run_dir, "checkpoints");
    struct ddp_folder *list = NULL;
    int n = 0, status = ddp_folder_list(dir, &list, &n, err);
    bool found = false;
    for (int i = 0; status == 0 && i < n && !found; i++) {
        struct ddp_state_file s;
        char *folder = ddp_folder_path(dir, list[i].name);
        found = list[i].kind != DDP_FOLDER_TMP && ddp_folder_state(folder, &s, NULL) == 0;
        if (found)
            *state = s.state;
        free(folder);
    }
    if (status == 0 && !found)
        status = ddp_fail(err, DDP_E_CHECKPOINT, "%s: there is no checkpoint in it", run_dir);
    free(list);
    free(dir);
    return status;
}
