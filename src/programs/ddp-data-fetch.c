/* ddp-data fetch: see what is there, download what is not, check, unpack; say how to go
 * on without a network. */
#include "ddp-data.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

static char *join(const char *folder, const char *name, const char *end)
{
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_text_add(&t, "%s/%s%s", folder, name, end);
    return t.s;
}

static bool has_size(const char *folder, const char *name, size_t bytes)
{
    char *path = join(folder, name, "");
    struct stat st;
    bool ok = stat(path, &st) == 0 && (size_t)st.st_size == bytes;
    free(path);
    return ok;
}

/* Whether the file's results stand in the folder: they only get their names once their sums are right. */
static bool is_there(const struct ddp_fetch_file *f, const char *folder)
{
    if (f->unpacked)
        return has_size(folder, f->unpacked, f->bytes);
    for (int i = 0; f->members[i]; i++)
        if (!has_size(folder, f->members[i], f->bytes))
            return false;
    return true;
}

/* The most bytes that it can have packed: gzip adds less than a thousandth to what does not pack; 2 MiB are
 * for the archive's heads and for what else lies in it. */
static size_t most_packed(const struct ddp_fetch_file *f)
{
    size_t n = f->unpacked ? 1 : 0;
    while (!f->unpacked && f->members[n])
        n++;
    return n * f->bytes + n * f->bytes / 1000 + (2 << 20);
}

/* From one mirror. A download that was resumed and has a wrong sum is tried once more from its beginning. */
static int from_mirror(const char *mirror, const struct ddp_fetch_file *f, const char *folder,
                       const struct ddp_fetch_options *opt, struct ddp_error *err)
{
    char *part = join(folder, f->name, ".part"), *url = join(mirror, f->name, "");
    int rc = 0;
    for (bool resumed = true; resumed;) {
        struct stat st;
        resumed = stat(part, &st) == 0 && st.st_size > 0;
        rc = ddp_download(url, part, most_packed(f), opt->timeout_s, opt->quiet, err);
        if (rc) /* what came stays for the next attempt */
            break;
        rc = ddp_unpack(part, f, folder, err);
        if (rc && rc != DDP_E_DATA) /* the disk's fault, not the download's */
            break;
        unlink(part);
        if (!rc)
            break;
        ddp_error_prefix(err, "%s", url);
    }
    free(part);
    free(url);
    return rc;
}

static int fetch_file(const struct ddp_fetch_source *source, const struct ddp_fetch_file *f,
                      const char *folder, const struct ddp_fetch_options *opt, struct ddp_error *err)
{
    if (is_there(f, folder)) {
        if (!opt->quiet)
            fprintf(stderr, "%s/%s is there\n", folder, f->unpacked ? f->unpacked : f->members[0]);
        return 0;
    }
    struct ddp_error one = {0}, all = {0};
    char *packed = join(folder, f->name, "");
    if (ddp_path_exists(packed)) {
        int rc = ddp_unpack(packed, f, folder, &one);
        if (!opt->quiet)
            fprintf(stderr, rc ? "%s\n" : "unpacked %s\n", rc ? one.text : packed);
        if (!rc) {
            free(packed);
            return 0;
        }
    }
    free(packed);
    const char *const asked[] = {opt->mirror, NULL};
    const char *const *mirror = opt->mirror ? asked : source->mirrors;
    int rc = DDP_E_IO;
    for (; *mirror; mirror++) {
        if (!opt->quiet)
            fprintf(stderr, "fetching %s/%s\n", *mirror, f->name);
        one.code = 0;
        rc = from_mirror(*mirror, f, folder, opt, &one);
        if (!rc)
            return 0;
        ddp_error_add(&all, rc, "%s", one.text);
    }
    return ddp_fail(err, rc, "%s", all.text);
}

/* What a person without a network does: the addresses, and where the files belong. */
static void explain_offline(const struct ddp_fetch_source *source, const struct ddp_fetch_options *opt,
                            struct ddp_error *err)
{
    ddp_error_add(err, err->code, "To go on without a network here: on a machine that has one, download");
    for (int i = 0; i < source->files; i++)
        ddp_error_add(err, err->code, "  %s/%s", source->mirrors[0] ? source->mirrors[0] : opt->mirror,
                      source->file[i].name);
    ddp_error_add(err, err->code,
                  "into %s/%s/ as they are, then run `ddp-data fetch %s --root %s` again: it unpacks what "
                  "is there. `data=digits` needs no files at all.",
                  opt->root, source->folder, source->name, opt->root);
}

int ddp_fetch_run(const struct ddp_fetch_source *source, const struct ddp_fetch_options *opt,
                  struct ddp_error *err)
{
    char *folder = join(opt->root, source->folder, "");
    int rc = ddp_dir_make(folder, err);
    for (int i = 0; !rc && i < source->files; i++) {
        rc = fetch_file(source, &source->file[i], folder, opt, err);
        if (rc)
            explain_offline(source, opt, err);
    }
    free(folder);
    return rc;
}

enum { ROOT = 1, MIRROR, TIMEOUT, QUIET };

static const struct ddp_option options[] = {
    {"--root", NULL, "DIR", ROOT, "Where data sets lie (default: the variable DDP_DATA_DIR, or data)."},
    {"--mirror", NULL, "URL", MIRROR, "Fetch URL/FILE instead of trying the known mirrors in turn."},
    {"--timeout", NULL, "S", TIMEOUT, "Give a mirror up after so many seconds without data (default 30)."},
    {"--quiet", NULL, NULL, QUIET, "Print errors only."},
    DDP_COMMON_OPTIONS,
    {0},
};

static const char *const usage[] = {"NAME [options]", NULL};

const struct ddp_manual ddp_data_fetch_manual = {
    .name = "ddp-data fetch",
    .summary = "download a published data set, with checksums",
    .usage = usage,
    .about = "Download a data set (mnist, fashion-mnist or cifar10), check it against known sums, and unpack "
             "it into "
             "DIR. A download that breaks off goes on where it stopped. Files that are there are not fetched "
             "again. "
             "On failure it says which files to put where.",
    .options = options,
};

static const struct ddp_fetch_source *find_source(const char *name)
{
    const struct ddp_fetch_source *s, *found = NULL;
    for (int i = 0; (s = ddp_fetch_source_at(i)) != NULL; i++) {
        const char *a = s->name, *b = name; /* fashion_mnist is fashion-mnist */
        while (*a && (*a == *b || (*a == '-' && *b == '_')))
            a++, b++;
        if (!*a && !*b)
            found = s;
    }
    return found;
}

static int unknown_set(const char *name)
{
    struct ddp_text t;
    const struct ddp_fetch_source *s;
    ddp_text_init(&t);
    for (int i = 0; (s = ddp_fetch_source_at(i)) != NULL; i++)
        ddp_text_add(&t, "%s%s", i ? ", " : "", s->name);
    const int rc =
        ddp_usage(&ddp_data_fetch_manual, "'%s' is none of the sets that can be fetched: %s", name, t.s);
    ddp_text_finish(&t);
    return rc;
}

int ddp_data_fetch_main(int argc, char **argv)
{
    const char *env = getenv("DDP_DATA_DIR"), *value, *name = NULL;
    struct ddp_fetch_options opt = {.root = env && env[0] ? env : "data", .timeout_s = 30.0};
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_error err = {0};
    for (int id = DDP_OPTION_WORD; id != DDP_OPTION_END;) {
        if (ddp_option_next(&walk, &ddp_data_fetch_manual, &id, &value, &err) != 0)
            return ddp_usage(&ddp_data_fetch_manual, "%s", err.text);
        if (ddp_manual_answer(&ddp_data_fetch_manual, id))
            return 0;
        if (id == TIMEOUT &&
            (!ddp_parse_double(value, &opt.timeout_s) || !(opt.timeout_s >= 1.0 && opt.timeout_s <= 86400.0)))
            return ddp_usage(&ddp_data_fetch_manual, "--timeout %s is no number of seconds from 1 to 86400",
                             value);
        if (id == DDP_OPTION_WORD && name)
            return ddp_usage(&ddp_data_fetch_manual, "%s: one NAME at a time", value);
        name = id == DDP_OPTION_WORD ? value : name;
        opt.root = id == ROOT ? value : opt.root;
        opt.mirror = id == MIRROR ? value : opt.mirror;
        opt.quiet = opt.quiet || id == QUIET;
    }
    if (!name)
        return ddp_usage(&ddp_data_fetch_manual, "%s", "NAME is wanted");
    const struct ddp_fetch_source *source = find_source(name);
    if (!source)
        return unknown_set(name);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int rc = ddp_fetch_run(source, &opt, &err);
    curl_global_cleanup();
    if (rc)
        return ddp_report("ddp-data", &err);
    if (!opt.quiet)
        printf("%s is in %s/%s\n", source->name, opt.root, source->folder);
    return 0;
}
