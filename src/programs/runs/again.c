/* The command that does a run again, and what stands in its way. */
#include "again.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"

void ddp_again_finish(struct ddp_again *a)
{
    for (int i = 0; i < a->checks; i++) {
        free(a->check[i].what);
        free(a->check[i].says);
    }
    for (int i = 0; i < a->words; i++)
        free(a->word[i]);
    free(a->check);
    free(a->word);
    if (*a->temp)
        ddp_dir_remove(a->temp, NULL); /* does not follow the link in it */
    *a = (struct ddp_again){0};
}

/* ---- the program ----------------------------------------------------------------------------- */

/* What the program here says of itself; NULL: it does not. */
static json_t *ask_program(const char *programs)
{
    char command[4200];
    json_t *o = NULL;
    if (strchr(programs, '\'') ||
        snprintf(command, sizeof command, "'%s/ddp-train' --about", programs) >= 4200)
        return NULL;
    FILE *f = popen(command, "re"); /* NOLINT: our own path, quoted */
    if (f) {
        o = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL);
        pclose(f);
    }
    return o;
}

static void say_where_from(const struct ddp_past *p, struct ddp_again *a)
{
    const char *diff = ddp_past_text(p, "code.diff"), *version = ddp_past_text(p, "code.version");
    const char *plus = strchr(version, '+');
    if (plus && *diff)
        ddp_again_note(a, DDP_AGAIN_OTHER, "  its source", "git checkout %s && zcat %s/%s | git apply",
                       plus + 1, p->path, diff);
    else if (plus)
        ddp_again_note(
            a, DDP_AGAIN_OTHER, "  its source", "git checkout %s%s", plus + 1,
            json_is_true(ddp_past_at(p->record, "code.dirty")) ? ", and changes that are not recorded" : "");
}

/* own: the run is one of a program of the user's own, which is looked at by itself. */
static void check_code(const struct ddp_past *p, const json_t *here, bool own, struct ddp_again *a)
{
    static const char *const keys[] = {"code.version", "code.diff_sha256", "code.compiler",
                                       "machine.architecture"};
    static const char *const names[] = {"code", "  changes to it", "compiler", "architecture"};
    const json_t *x = ddp_past_at(p->record, "code.binary_sha256"),
                 *y = ddp_past_at(here, "code.binary_sha256");
    if (!here) {
        ddp_again_note(a, DDP_AGAIN_MISSING, "program", "ddp-train beside ddp-runs does not answer --about");
        return;
    }
    if (x && y && json_equal(x, y)) {
        ddp_again_note(a, DDP_AGAIN_SAME, "program", "the same bytes");
        a->same_program = true;
        return;
    }
    int others = 0;
    for (size_t i = 0; i < DDP_COUNT(keys); i++) {
        const json_t *u = ddp_past_at(p->record, keys[i]), *v = ddp_past_at(here, keys[i]);
        char *s = ddp_past_value_text(u), *t = ddp_past_value_text(v);
        if (strcmp(s, t) != 0) {
            ddp_again_note(a, DDP_AGAIN_OTHER, names[i], "%s then, %s here", s, t);
            others += i < 2;
        }
        free(s);
        free(t);
    }
    if (others)
        say_where_from(p, a);
    else if (!own)
        ddp_again_note(a, DDP_AGAIN_OTHER, "program", "other bytes, of the same code");
}

static void check_libraries(const struct ddp_past *p, const json_t *here, struct ddp_again *a)
{
    const char *name;
    json_t *then;
    int same = 0, others = 0;
    json_object_foreach(ddp_past_at(p->record, "machine.loaded"), name, then) {
        const json_t *now = json_object_get(ddp_past_at(here, "machine.loaded"), name);
        const char *was = json_string_value(json_object_get(then, "file")),
                   *is = json_string_value(json_object_get(now, "file"));
        if (!now)
            continue; /* loaded later, for other ranks or a GPU */
        if (json_equal(json_object_get(then, "build_id"), json_object_get(now, "build_id"))) {
            same++;
            continue;
        }
        others++;
        ddp_again_note(a, DDP_AGAIN_OTHER, "library", "%s: %s then, %s here, of another build", name,
                       was ? was : "?", is ? is : "?");
    }
    if (same > 0 && others == 0)
        ddp_again_note(a, DDP_AGAIN_SAME, "libraries", "%d, of the same builds", same);
    if (json_is_object(ddp_past_at(p->record, "gpu")))
        ddp_again_note(
            a, DDP_AGAIN_OTHER, "GPU",
            "%s then; its bits come out on that model with the same versions of cuDNN and cuBLASLt only",
            ddp_past_text(p, "gpu.name"));
}

/* ---- what it begins with --------------------------------------------------------------------- */

static void check_init(const struct ddp_past *p, struct ddp_again *a)
{
    const char *path = ddp_past_text(p, "init.path"), *hash = ddp_past_text(p, "init.sha256");
    char hex[65];
    struct ddp_error err = {0};
    if (!*path)
        return;
    if (ddp_file_sha256(path, hex, &err) != 0)
        ddp_again_note(a, DDP_AGAIN_MISSING, "init.from", "%s", err.text);
    else if (strcmp(hex, hash) != 0)
        ddp_again_note(a, DDP_AGAIN_MISSING, "init.from", "%s has other bytes than then", path);
    else
        ddp_again_note(a, DDP_AGAIN_SAME, "init.from", "%s, as recorded", path);
}

/* The checkpoint that it forked from: where the record says, or in the folder that the run itself is in. */
static bool find_parent(const struct ddp_past *p, const char *recorded, char found[4096])
{
    const char *at = recorded + strlen(recorded);
    snprintf(found, 4096, "%s", recorded);
    if (ddp_path_exists(found))
        return true;
    for (int parts = 0; at > recorded && parts < 3; at--) /* RUN/checkpoints/step-N */
        parts += at[-1] == '/' && parts < 3;
    at += *at == '/';
    char *folder = ddp_path_parent(p->path);
    snprintf(found, 4096, "%s/%s", folder, at);
    free(folder);
    return ddp_path_exists(found);
}

/* From a checkpoint that lies in no run a new run forks off, and the old one is not gone on with: so a link
 * to it. */
static int check_parent(const struct ddp_past *p, const struct ddp_again_options *opt, struct ddp_again *a,
                        char link[300], struct ddp_error *err)
{
    const char *recorded = opt->checkpoint ? opt->checkpoint : ddp_past_text(p, "parent.checkpoint");
    char found[4096];
    *link = '\0';
    if (!*recorded)
        return 0;
    if (!find_parent(p, recorded, found)) {
        ddp_again_note(a, DDP_AGAIN_MISSING, "parent", "the checkpoint that it forked from is not there: %s",
                       recorded);
        return 0;
    }
    char *real = realpath(found, NULL);
    snprintf(a->temp, sizeof a->temp, "/tmp/ddp-runs-XXXXXX");
    if (!real || !mkdtemp(a->temp)) {
        free(real);
        *a->temp = '\0';
        return ddp_fail(err, DDP_E_IO, "/tmp: no folder can be made there for a link to %s", found);
    }
    snprintf(link, 300, "%s/%s", a->temp, strrchr(real, '/') + 1);
    const int bad = symlink(real, link);
    free(real);
    if (bad)
        return ddp_fail(err, DDP_E_IO, "%s: no link can be made", link);
    if (!opt->checkpoint)
        ddp_again_note(a, DDP_AGAIN_SAME, "parent", "%s", found);
    return 0;
}

/* ---- the command ----------------------------------------------------------------------------- */

static void add_word(struct ddp_again *a, const char *fmt, ...) DDP_PRINTF(2, 3);
static void add_word(struct ddp_again *a, const char *fmt, ...)
{
    char word[8192];
    va_list args;
    va_start(args, fmt);
    vsnprintf(word, sizeof word, fmt, args);
    va_end(args);
    a->word = ddp_realloc(a->word, (size_t)(a->words + 2) * sizeof *a->word);
    a->word[a->words++] = ddp_strdup(word);
    a->word[a->words] = NULL;
}

/* Only what changes no result may be said anew. */
static int check_words(const struct ddp_again_options *opt, struct ddp_error *err)
{
    for (int i = 0; i < opt->nwords; i++) {
        const size_t n = strcspn(opt->words[i], "=");
        bool harmless = false;
        for (const struct ddp_key *k = ddp_config_keys; k->name; k++)
            if (strncmp(k->name, opt->words[i], n) == 0 && k->name[n] == '\0')
                harmless = !(k->flags & (DDP_KEY_RESULT | DDP_KEY_STOP));
        if (!harmless)
            return ddp_fail(
                err, DDP_E_USAGE,
                "%s: only keys that change no result may be given (data.root, data.path, train.threads, ..)",
                opt->words[i]);
    }
    return 0;
}

static void build(const struct ddp_past *p, const struct ddp_again_options *opt, const char *parent,
                  struct ddp_again *a)
{
    const char *name = json_string_value(ddp_past_at(p->config, "run.name")),
               *device = ddp_past_text(p, "device");
    const char *program = ddp_again_program(p, opt);
    const json_int_t ranks = json_integer_value(ddp_past_at(p->record, "ranks"));
    add_word(a, "%s/ddp-launch", opt->programs);
    add_word(a, "-n");
    add_word(a, "%d", opt->ranks > 0 ? opt->ranks : ranks > 0 ? (int)ranks : 1);
    if (opt->quiet)
        add_word(a, "--quiet");
    if (program) {
        add_word(a, "--program");
        add_word(a, "%s", program);
    }
    if (*parent) {
        add_word(a, "--resume");
        add_word(a, "%s", parent);
    }
    add_word(a, "%s/config.cfg", p->path);
    add_word(a, "run.dir=%s", opt->dir);
    add_word(a, "run.name=%s-again", name && *name ? name : "run");
    add_word(a, "train.max_steps=%lld", (long long)a->steps);
    if (*device)
        add_word(a, "device=%s", device);
    for (int i = 0; i < opt->nwords; i++)
        add_word(a, "%s", opt->words[i]);
}

int ddp_again_plan(const struct ddp_past *p, const struct ddp_again_options *opt, struct ddp_again *out,
                   struct ddp_error *err)
{
    struct ddp_again a = {.steps = opt->upto > 0 ? opt->upto : ddp_past_steps(p)};
    char config[4200], parent[300];
    struct stat st;
    int status = check_words(opt, err);
    snprintf(config, sizeof config, "%s/config.cfg", p->path);
    if (status == 0 && a.steps <= 0)
        status = ddp_fail(err, DDP_E_DATA, "%s: it has made no step, so there is nothing to compare with",
                          p->path);
    if (status == 0 && (stat(config, &st) != 0 || !S_ISREG(st.st_mode))) /* a pipe would be waited for */
        status = ddp_fail(err, DDP_E_DATA, "%s: its config.cfg is not there, or is no file", p->path);
    if (status == 0)
        status = check_parent(p, opt, &a, parent, err);
    if (status) {
        ddp_again_finish(&a);
        return status;
    }
    json_t *here = ask_program(opt->programs);
    const char *isa = json_string_value(ddp_past_at(here, "machine.isa"));
    snprintf(a.isa, sizeof a.isa, "%s", isa ? isa : "");
    check_code(p, here, ddp_again_check_program(p, opt, &a), &a);
    check_libraries(p, here, &a);
    json_decref(here);
    check_init(p, &a);
    ddp_again_check_data(p, opt, &a);
    build(p, opt, parent, &a);
    *out = a;
    return 0;
}
