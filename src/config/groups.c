/* model, data, optim: an inline group, or the name of a file in configs/GROUP, or both:
 *
 *   model = "resnet18";                          configs/model/resnet18.cfg
 *   model: { base = "resnet18"; input = [..]; }  the same, and what is inline wins
 *   model: { layers = ( .. ); }                  inline alone
 *
 * Searched: the folder of the config itself, then configs/ in it and in each folder above it, then the folder
 * that the caller or DDP_CONFIGS_DIR names, then what came with the program (source tree or installation). */
#include "config/parts.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FOLDERS = 96 };

struct finder {
    struct ddp_arena *arena;
    struct ddp_error *err;
    const char *folder[MAX_FOLDERS];
    int nfolders;
};

/* One file in the making: where its group came from, to see circles of `base`. */
struct chain {
    const char *path;
    const struct chain *up;
};

static char *join(struct ddp_arena *a, const char *folder, const char *rest)
{
    size_t n = strlen(folder) + strlen(rest) + 2;
    char *path = ddp_arena_alloc(a, n);
    snprintf(path, n, "%s%s%s", folder, folder[0] && folder[strlen(folder) - 1] != '/' ? "/" : "", rest);
    return path;
}

/* Relative to the current folder where it lies below it: shorter to read. */
static const char *shorten(const char *path)
{
    char cwd[PATH_MAX];
    size_t n = getcwd(cwd, sizeof cwd) ? strlen(cwd) : 0;
    return n > 1 && strncmp(path, cwd, n) == 0 && path[n] == '/' && path[n + 1] ? path + n + 1 : path;
}

static void add_folder(struct finder *f, const char *path)
{
    char real[PATH_MAX];
    if (f->nfolders == MAX_FOLDERS || !path || !path[0] || !realpath(path, real))
        return;
    for (int i = 0; i < f->nfolders; i++)
        if (strcmp(f->folder[i], real) == 0)
            return;
    f->folder[f->nfolders++] = ddp_arena_strdup(f->arena, real);
}

/* DIR/SUB for a folder and all above it. */
static void add_upwards(struct finder *f, const char *dir, const char *sub)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", dir);
    for (;;) {
        add_folder(f, join(f->arena, path, sub));
        char *slash = strrchr(path, '/');
        if (!slash || path[1] == '\0')
            return;
        slash[slash == path] = '\0';
    }
}

/* The folder of the library (or of the program that holds it): the source tree and an installation lie around
 * it. */
static void add_own(struct finder *f)
{
    char real[PATH_MAX];
    Dl_info info;
    bool found = dladdr((const void *)(uintptr_t)ddp_groups_read, &info) && info.dli_fname &&
                 strchr(info.dli_fname, '/') && realpath(info.dli_fname, real);
    for (int self = 0; self < 2; self++) {
        if (self)
            found = realpath("/proc/self/exe", real) != NULL;
        if (!found)
            continue;
        *strrchr(real, '/') = '\0';
        add_folder(f, join(f->arena, real, "../share/ddp/configs"));
        add_folder(f, join(f->arena, real, "../../share/ddp/configs")); /* lib/x86_64-linux-gnu */
        if (real[0])
            add_upwards(f, real, "configs");
    }
#ifdef DDP_CONFIGS_INSTALLED
    add_folder(f, DDP_CONFIGS_INSTALLED);
#endif
}

static void find_folders(struct finder *f, const struct ddp_config_options *opt)
{
    char real[PATH_MAX];
    const char *path = opt->path ? opt->path : "./none";
    const char *slash = strrchr(path, '/');
    char *dir = ddp_arena_strdup(f->arena, slash ? path : ".");
    if (slash)
        dir[slash == path ? 1 : slash - path] = '\0';
    if (realpath(dir, real)) {
        add_folder(f, real);
        add_upwards(f, real, "configs");
    }
    add_folder(f, opt->configs_dir);
    add_folder(f, getenv("DDP_CONFIGS_DIR"));
    add_own(f);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All NAME.cfg of a kind in all folders: sorted, each once. */
static int list_names(const struct finder *f, const char *kind, const char **names, int max)
{
    int n = 0;
    for (int i = 0; i < f->nfolders; i++) {
        DIR *dir = opendir(join(f->arena, f->folder[i], kind));
        for (struct dirent *e; dir && (e = readdir(dir)) && n < max;) {
            size_t len = strlen(e->d_name);
            if (len < 5 || strcmp(e->d_name + len - 4, ".cfg") != 0)
                continue;
            char *name = ddp_arena_strdup(f->arena, e->d_name);
            name[len - 4] = '\0';
            names[n++] = name;
        }
        if (dir)
            closedir(dir);
    }
    qsort(names, (size_t)n, sizeof *names, by_name);
    int unique = 0;
    for (int i = 0; i < n; i++)
        if (unique == 0 || strcmp(names[i], names[unique - 1]) != 0)
            names[unique++] = names[i];
    return unique;
}

static void missing(const struct finder *f, const char *kind, const struct ddp_node *at)
{
    enum { MAX = 256 };
    const char *names[MAX];
    int n = list_names(f, kind, names, MAX);
    char where[DDP_WHERE_SIZE];
    struct ddp_text t;
    ddp_text_init(&t);
    const char *near = ddp_suggest(at->s, names, n);
    if (near)
        ddp_text_add(&t, "; did you mean '%s'? There are:", near);
    else
        ddp_text_add(&t, "; %s%s%s", n ? "there are:" : "no ", n ? "" : kind, n ? "" : " configs were found");
    for (int i = 0; i < n && t.len < 800; i++)
        ddp_text_add(&t, "%s %s", i ? "," : "", names[i]);
    ddp_text_add(&t, "%s in %s", n ? " (found" : "", f->nfolders ? shorten(f->folder[0]) : "any folder");
    for (int i = 1; i < f->nfolders && t.len < 1600; i++)
        ddp_text_add(&t, ", %s", shorten(f->folder[i]));
    ddp_text_add(&t, "%s", n ? ")" : "; DDP_CONFIGS_DIR names the folder that holds them");
    ddp_error_add(f->err, DDP_E_CONFIG, "%s: %s: there is no %s config named '%.100s'%s",
                  ddp_node_where(at, where), kind, kind, at->s, t.s);
    ddp_text_finish(&t);
}

/* The file that a name means, or NULL and an error. A name with a slash or .cfg is a path, relative to the
 * file it is in. */
static const char *look_for_file(struct finder *f, const char *kind, const struct ddp_node *at)
{
    char where[DDP_WHERE_SIZE];
    size_t len = strlen(at->s);
    if (strchr(at->s, '/') || (len > 4 && strcmp(at->s + len - 4, ".cfg") == 0)) {
        const char *slash = at->s[0] == '/' || at->line == 0 ? NULL : strrchr(at->file, '/');
        char *dir = ddp_arena_strdup(f->arena, slash ? at->file : "");
        if (slash)
            dir[slash - at->file + 1] = '\0';
        const char *path = join(f->arena, dir, at->s);
        if (access(path, F_OK) == 0)
            return path;
        ddp_error_add(f->err, DDP_E_CONFIG, "%s: %s: the file %s does not exist", ddp_node_where(at, where),
                      kind, path);
        return NULL;
    }
    if (len == 0 || len > 200) {
        ddp_error_add(f->err, DDP_E_CONFIG, "%s: %s: wants the name of a file in configs/%s, got \"%.40s\"",
                      ddp_node_where(at, where), kind, kind, at->s);
        return NULL;
    }
    char name[256];
    snprintf(name, sizeof name, "%s/%s.cfg", kind, at->s);
    for (int i = 0; i < f->nfolders; i++) {
        const char *path = join(f->arena, f->folder[i], name);
        if (access(path, F_OK) == 0)
            return ddp_arena_strdup(f->arena, shorten(path));
    }
    missing(f, kind, at);
    return NULL;
}

static const char *find_file(struct finder *f, const char *kind, const struct ddp_node *at)
{
    char where[DDP_WHERE_SIZE];
    const char *path = look_for_file(f, kind, at);
    if (!path || ddp_source_is_file(path))
        return path;
    ddp_error_add(
        f->err, DDP_E_CONFIG,
        "%s: %s: %s is no regular file: only CONFIG itself may be a pipe or a device, because others "
        "are read more than once",
        ddp_node_where(at, where), kind, path);
    return NULL;
}

static const char *stem(struct ddp_arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = ddp_arena_strdup(a, slash ? slash + 1 : path);
    char *dot = strrchr(name, '.');
    if (dot && strcmp(dot, ".cfg") == 0)
        *dot = '\0';
    return name;
}

static struct ddp_node *read_group(struct finder *f, const char *kind, struct ddp_node *node,
                                   const struct chain *up);

/* The content of the file that node->s names, its own base merged under it. */
static struct ddp_node *read_named(struct finder *f, const char *kind, const struct ddp_node *node,
                                   const struct chain *up)
{
    char where[DDP_WHERE_SIZE];
    const char *path = find_file(f, kind, node);
    if (!path)
        return NULL;
    for (const struct chain *c = up; c; c = c->up)
        if (strcmp(c->path, path) == 0) {
            ddp_error_add(f->err, DDP_E_CONFIG, "%s: %s: base = \"%s\" goes round in a circle",
                          ddp_node_where(node, where), kind, node->s);
            return NULL;
        }
    struct chain here = {path, up};
    struct ddp_node *group;
    if (ddp_parse_file(f->arena, path, &group, f->err) < 0)
        return NULL;
    group->line = 1;
    group = read_group(f, kind, group, &here);
    if (group && !ddp_node_child(group, "name")) {
        struct ddp_node *name = ddp_node_create(f->arena, DDP_NODE_STRING, "name", node->file, node->line);
        name->s = stem(f->arena, path);
        ddp_node_add(group, name);
    }
    return group;
}

static struct ddp_node *read_group(struct finder *f, const char *kind, struct ddp_node *node,
                                   const struct chain *up)
{
    char where[DDP_WHERE_SIZE], given[DDP_WHERE_SIZE];
    if (node->type == DDP_NODE_STRING)
        return read_named(f, kind, node, up);
    if (node->type != DDP_NODE_GROUP) {
        ddp_error_add(f->err, DDP_E_CONFIG,
                      "%s: %s: wants the name of a file in configs/%s or a group { .. }, got %s",
                      ddp_node_where(node, where), kind, kind, ddp_node_given(node, given));
        return NULL;
    }
    struct ddp_node *base = ddp_node_child(node, "base");
    if (!base)
        return node;
    if (base->type != DDP_NODE_STRING) {
        ddp_error_add(f->err, DDP_E_CONFIG,
                      "%s: %s.base: wants the name of a file in configs/%s in quotes, got %s",
                      ddp_node_where(base, where), kind, kind, ddp_node_given(base, given));
        return NULL;
    }
    struct ddp_node *under = read_named(f, kind, base, up);
    if (!under)
        return NULL;
    ddp_node_remove(base);
    if (up && !ddp_node_child(node, "name")) { /* a file on top of another has a name of its own */
        struct ddp_node *name = ddp_node_child(under, "name");
        if (name)
            ddp_node_remove(name);
    }
    ddp_node_merge(under, node);
    under->file = node->file;
    under->line = node->line;
    return under;
}

void ddp_groups_read(struct ddp_config *cfg, const struct ddp_config_options *opt, struct ddp_error *err)
{
    struct ddp_arena *a = cfg->arena;
    struct ddp_node *root = cfg->tree;
    struct finder f = {.arena = a, .err = err};
    find_folders(&f, opt);
    for (const struct ddp_config_group *g = ddp_config_groups; g->name; g++) {
        if (!g->file)
            continue;
        struct ddp_node *node = ddp_node_child(root, g->name);
        if (!node) {
            node = ddp_node_create(a, DDP_NODE_STRING, g->name, DDP_DEFAULT_FILE, 0);
            node->s = g->file;
            ddp_node_add(root, node);
        }
        struct ddp_node *group = read_group(&f, g->name, node, NULL);
        if (!group) {
            ddp_config_refuse(cfg, g->name);
            group = ddp_node_create(a, DDP_NODE_GROUP, g->name, node->file, node->line);
        }
        group->name = g->name;
        if (group != node)
            ddp_node_set(root, group);
    }
}
