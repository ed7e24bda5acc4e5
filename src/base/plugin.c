/* Finding and opening our own plug-ins. */
#include "base/plugin.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder of a file, in place. */
static bool folder_of(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return true;
}

static bool try_folder(const struct ddp_plugin *p, const char *folder, const char *below, char out[PATH_MAX])
{
    if (snprintf(out, PATH_MAX, "%s%s/%s", folder, below, p->file) >= PATH_MAX)
        return false;
    return access(out, R_OK) == 0;
}

const char *ddp_plugin_named(const struct ddp_plugin *p)
{
    const char *named = getenv(p->variable);
    return named && *named ? named : NULL;
}

bool ddp_plugin_find(const struct ddp_plugin *p, char out[PATH_MAX])
{
    char folder[PATH_MAX];
    Dl_info here;
    const char *named = ddp_plugin_named(p);
    if (named) {
        snprintf(out, PATH_MAX, "%s", named);
        return true;
    }
    const ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (n > 0) {
        folder[n] = '\0';
        if (folder_of(folder) && (try_folder(p, folder, "", out) || try_folder(p, folder, "/../lib", out) ||
                                  try_folder(p, folder, "/" DDP_PLUGIN_LIBDIR, out)))
            return true;
    }
    /* a program of one's own on libddp.so: beside that */
    if (dladdr((void *)(size_t)ddp_plugin_find, &here) && here.dli_fname &&
        snprintf(folder, sizeof folder, "%s", here.dli_fname) < (int)sizeof folder && folder_of(folder))
        return try_folder(p, folder, "", out);
    return false;
}

int ddp_plugin_open(const struct ddp_plugin *p, const void **table, struct ddp_error *err)
{
    char path[PATH_MAX];
    const bool found = ddp_plugin_find(p, path);
    if (!found)
        snprintf(path, sizeof path, "%s", p->file);
    void *library = dlopen(path, RTLD_NOW | (p->global ? RTLD_GLOBAL : RTLD_LOCAL));
    if (!library && !found)
        return ddp_fail(
            err, DDP_E_RESOURCE,
            "there is no %s: %s is neither beside this program, nor in ../lib, nor where the loader "
            "looks. %s",
            p->what, p->file, p->missing);
    if (!library) {
        const char *why = dlerror();
        return ddp_fail(err, DDP_E_RESOURCE, "the %s %s%s%s%s cannot be loaded: %s. %s", p->what, path,
                        ddp_plugin_named(p) ? " (" : "", ddp_plugin_named(p) ? p->variable : "",
                        ddp_plugin_named(p) ? ")" : "", why ? why : "no reason given", p->broken);
    }
    const void *(*entry)(void);
    void *symbol = dlsym(library, p->entry);
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from objects to functions */
    const void *found_table = symbol ? entry() : NULL;
    int version = 0, code = 0;
    if (!found_table)
        code = ddp_fail(err, DDP_E_RESOURCE, "%s is no %s of ddp: it has no %s()", path, p->what, p->entry);
    else
        memcpy(&version, found_table, sizeof version);
    if (code == 0 && version != p->version)
        code = ddp_fail(
            err, DDP_E_RESOURCE,
            "the %s %s is of another version of ddp (its table is version %d, this program's %d): build "
            "and install both together",
            p->what, path, version, p->version);
    if (code) {
        dlclose(library);
        return code;
    }
    *table = found_table;
    return 0;
}
