/* The folders of a data set: classes in byte order, pictures by name, the part that is held out. */
#include "data/pack_scan.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/base.h"
#include "data/data.h"

struct list {
    char **v;
    int64_t n, cap;
};

static void list_add(struct list *l, char *owned)
{
    if (l->n == l->cap)
        l->v = ddp_realloc(l->v, (size_t)(l->cap = l->cap ? 2 * l->cap : 64) * sizeof *l->v);
    l->v[l->n++] = owned;
}

static void list_finish(struct list *l)
{
    for (int64_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
    *l = (struct list){0};
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *join(const char *dir, const char *name)
{
    char *path = ddp_malloc(strlen(dir) + strlen(name) + 2);
    sprintf(path, "%s/%s", dir, name);
    return path;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_picture(const char *name)
{
    static const char *const ends[] = {".jpg", ".jpeg", ".png"};
    size_t n = strlen(name);
    for (size_t i = 0; i < DDP_COUNT(ends); i++)
        if (n > strlen(ends[i]) && strcasecmp(name + n - strlen(ends[i]), ends[i]) == 0)
            return true;
    return false;
}

enum what { OTHER, REGULAR, FOLDER };

/* What a name in a folder is. Below 0, an error: a link that leads nowhere, as to a file system that is not
 * mounted, and a picture that is a pipe or a device, which would be waited for. */
static int look_at(const char *path, const char *name, struct ddp_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return ddp_fail(err, DDP_E_DATA,
                        "%s cannot be looked at: %s; mount or bring back what it leads to, or remove it",
                        path, strerror(errno));
    if (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? FOLDER : REGULAR;
    if (is_picture(name))
        return ddp_fail(err, DDP_E_DATA,
                        "%s has a picture's name, but is no file (a pipe, socket or device); remove it",
                        path);
    return OTHER;
}

/* Names in a folder, sorted by bytes (never by locale), hidden ones left out: folders, or pictures.
 * ignored: counts what is neither; may be NULL. */
static int list_folder(const char *dir, bool folders, struct list *out, int64_t *ignored,
                       struct ddp_error *err)
{
    DIR *d = opendir(dir);
    if (!d)
        return ddp_fail(err, DDP_E_IO, "cannot open folder %s: %s", dir, strerror(errno));
    struct dirent *e;
    int what = 0;
    while (what >= 0 && (e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        char *path = join(dir, e->d_name);
        what = look_at(path, e->d_name, err);
        free(path);
        if (folders ? what == FOLDER : what == REGULAR && is_picture(e->d_name))
            list_add(out, ddp_strdup(e->d_name));
        else if (what != FOLDER && ignored)
            ++*ignored;
    }
    closedir(d);
    if (out->n)
        qsort(out->v, (size_t)out->n, sizeof *out->v, by_bytes);
    return what < 0 ? what : 0;
}

static int class_of(const struct ddp_pack_scan *scan, const char *name)
{
    for (int i = 0; i < scan->classes; i++)
        if (strcmp(scan->class_names[i], name) == 0)
            return i;
    return -1;
}

static void add_item(struct ddp_pack_scan *scan, int split, const char *dir, const char *name, int label)
{
    int64_t n = scan->count[split]++;
    if ((n & (n - 1)) == 0) /* doubles at powers of two */
        scan->item[split] =
            ddp_realloc(scan->item[split], (size_t)(n ? 2 * n : 1) * sizeof *scan->item[split]);
    scan->item[split][n] = (struct ddp_pack_item){join(dir, name), label};
}

enum { MAX_DEPTH = 16 }; /* of folders in a class: links that lead back would never end */

/* Pictures of a folder and of those in it, as paths below `class`. */
static int list_class(const char *class, const char *below, int depth, struct list *out, int64_t *ignored,
                      struct ddp_error *err)
{
    struct list files = {0}, folders = {0};
    char *dir = *below ? join(class, below) : ddp_strdup(class);
    int rc = depth > MAX_DEPTH
                 ? ddp_fail(err, DDP_E_DATA, "%s: folders lie more than %d deep; does a link lead back?", dir,
                            MAX_DEPTH)
                 : list_folder(dir, false, &files, ignored, err);
    if (!rc)
        rc = list_folder(dir, true, &folders, NULL, err);
    for (int64_t i = 0; i < files.n && !rc; i++)
        list_add(out, *below ? join(below, files.v[i]) : ddp_strdup(files.v[i]));
    for (int64_t i = 0; i < folders.n && !rc; i++) {
        char *inner = *below ? join(below, folders.v[i]) : ddp_strdup(folders.v[i]);
        rc = list_class(class, inner, depth + 1, out, ignored, err);
        free(inner);
    }
    list_finish(&files);
    list_finish(&folders);
    free(dir);
    return rc;
}

/* All pictures of one class folder. test_fraction > 0: that part of them goes to the test split. */
static int scan_class(struct ddp_pack_scan *scan, const char *dir, int label, int split, double test_fraction,
                      uint64_t seed, struct ddp_error *err)
{
    struct list files = {0};
    int rc = list_class(dir, "", 0, &files, &scan->ignored, err);
    if (files.n)
        qsort(files.v, (size_t)files.n, sizeof *files.v, by_bytes);
    if (!rc && files.n == 0)
        rc = ddp_fail(err, DDP_E_DATA,
                      "class folder %s holds no picture (.jpg, .jpeg, .png); fill it or remove it", dir);
    if (rc) {
        list_finish(&files);
        return rc;
    }
    bool *test = ddp_calloc((size_t)files.n, sizeof *test);
    if (test_fraction > 0.0) {
        int64_t want = (int64_t)((double)files.n * test_fraction + 0.5),
                *perm = ddp_calloc((size_t)files.n, sizeof *perm);
        ddp_order_epoch(seed, label, files.n, true, perm);
        for (int64_t i = 0; i < want; i++)
            test[perm[i]] = true;
        free(perm);
    }
    for (int64_t i = 0; i < files.n; i++)
        add_item(scan, test[i] ? 1 : split, dir, files.v[i], label);
    free(test);
    list_finish(&files);
    return 0;
}

/* The class folders of one split. The first split scanned says which classes there are. */
static int scan_split(struct ddp_pack_scan *scan, const char *dir, int split, double test_fraction,
                      uint64_t seed, struct ddp_error *err)
{
    struct list classes = {0};
    int rc = list_folder(dir, true, &classes, &scan->ignored, err);
    if (!rc && classes.n == 0)
        rc = ddp_fail(err, DDP_E_DATA,
                      "%s holds no class folders; wanted are folders %s/CLASS with pictures in them", dir,
                      dir);
    if (!rc && split == 0) {
        scan->classes = (int)classes.n;
        scan->class_names = ddp_calloc((size_t)classes.n, sizeof *scan->class_names);
        for (int64_t i = 0; i < classes.n; i++)
            scan->class_names[i] = ddp_strdup(classes.v[i]);
    }
    for (int64_t i = 0; !rc && i < classes.n; i++) {
        char *path = join(dir, classes.v[i]);
        int label = class_of(scan, classes.v[i]);
        if (label < 0)
            rc = ddp_fail(err, DDP_E_DATA, "%s is a class that the training folder does not have", path);
        else
            rc = scan_class(scan, path, label, split, test_fraction, seed, err);
        free(path);
    }
    list_finish(&classes);
    return rc;
}

int ddp_pack_scan(const struct ddp_pack_options *opt, struct ddp_pack_scan *scan, struct ddp_error *err)
{
    static const char *const test_names[] = {"test", "val", "valid"};
    *scan = (struct ddp_pack_scan){.at_fault = -1};
    if (!is_folder(opt->dir))
        return ddp_fail(err, DDP_E_DATA, "there is no folder %s", opt->dir);
    char *train = join(opt->dir, "train"), *test = NULL;
    for (size_t i = 0; i < DDP_COUNT(test_names) && !test; i++) {
        test = join(opt->dir, test_names[i]);
        if (!is_folder(test)) {
            free(test);
            test = NULL;
        }
    }
    int rc, at_fault = -1;
    if (!is_folder(train)) {
        rc = scan_split(scan, opt->dir, 0, opt->test_fraction, opt->seed, err);
    } else {
        at_fault = 0;
        rc = scan_split(scan, train, 0, test ? 0.0 : opt->test_fraction, opt->seed, err);
        if (!rc)
            at_fault = test ? 1 : -1;
        if (!rc && test)
            rc = scan_split(scan, test, 1, 0.0, 0, err);
    }
    if (!rc && scan->count[0] == 0)
        rc = ddp_fail(err, DDP_E_DATA, "no picture of %s is left for training; lower --test-fraction",
                      opt->dir);
    if (!rc && scan->count[1] == 0)
        rc = ddp_fail(err, DDP_E_DATA,
                      "no picture of %s is left for testing; add a folder test/ or raise --test-fraction",
                      opt->dir);
    free(train);
    free(test);
    if (rc)
        ddp_pack_scan_finish(scan);
    scan->at_fault = at_fault;
    return rc;
}

void ddp_pack_scan_drop(struct ddp_pack_scan *scan, int split, const bool *out)
{
    int64_t n = 0;
    for (int64_t i = 0; i < scan->count[split]; i++) {
        if (out[i])
            free(scan->item[split][i].path);
        else
            scan->item[split][n++] = scan->item[split][i];
    }
    scan->count[split] = n;
}

void ddp_pack_scan_finish(struct ddp_pack_scan *scan)
{
    for (int s = 0; s < 2; s++) {
        for (int64_t i = 0; i < scan->count[s]; i++)
            free(scan->item[s][i].path);
        free(scan->item[s]);
    }
    for (int i = 0; i < scan->classes; i++)
        free(scan->class_names[i]);
    free(scan->class_names);
    *scan = (struct ddp_pack_scan){0};
}
