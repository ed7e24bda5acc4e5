/* ddp-train: one rank. What ddp-launch starts; runs alone as well, or under a user's own mpirun. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record/record.h"
#include "train/session.h"

static const char usage[] =
    "usage: ddp-train [options] CONFIG [key=value ...]\n"
    "One rank of a training run: alone it is the whole run, under `mpirun -n 4 ddp-train CONFIG` it is one "
    "of four.\n"
    "ddp-launch starts, places and supervises ranks for you and knows all keys (ddp-launch --help-config).\n"
    "\n"
    "  --resume RUN|latest   go on from the newest checkpoint of a run, at any number of ranks; latest: the "
    "run "
    "of this\n"
    "                        experiment that was saved to last; auto: the same, and where there is none a "
    "new "
    "one\n"
    "  --eval RUN|FILE       only evaluate: the weights of a run, of RUN@best, a checkpoint or a "
    ".safetensors "
    "file\n"
    "                        (either without CONFIG: that of RUN)\n"
    "  --relock              with --resume on a GPU: choose algorithms anew where the plan lock does not "
    "fit\n"
    "  --quiet               print only the last two lines (run: ..., weights: ...)\n"
    "  --help-layers [TYPE] [--markdown]   layer types of model.layers and their keys\n"
    "  --version, --help\n"
    "\n"
    "exit codes: 0 done; 2 usage or config; 3 a resource is missing or too small; 4 a rank failed; 75 "
    "stopped by\n"
    "SIGINT, SIGTERM, SIGHUP, SIGUSR1 or SIGUSR2 after saving (go on with --resume); 130 a second SIGINT or "
    "SIGTERM\n";

struct options {
    const char *config, *resume, *eval_only;
    bool quiet, relock;
    const char **overrides;
    int noverrides;
};

/* As read_options. */
static int show_layers(const char *type, bool markdown)
{
    char *text = ddp_layers_help(type, markdown);
    bool known = *text != '\0';
    fputs(text, stdout);
    free(text);
    if (!known)
        ddp_say("ddp-train", "no layer type %s; ddp-train --help-layers lists them", type);
    return known ? 1 : 2;
}

/* The config of the run that is resumed or evaluated. As read_options. */
static int find_config(struct options *o)
{
    static char path[4096];
    struct ddp_error err = {0};
    const char *run = o->resume ? o->resume : o->eval_only;
    if (!run) {
        fprintf(stderr, "ddp-train: no CONFIG\n%s", usage);
        return 2;
    }
    if (strcmp(run, "latest") == 0 || strcmp(run, "auto") == 0) {
        fprintf(stderr, "ddp-train: %s looks for a run of an experiment: name its CONFIG as well, or a run\n",
                run);
        return 2;
    }
    if (ddp_run_config(run, path, sizeof path, &err) != 0) {
        fprintf(stderr, "ddp-train: %s\n", err.text);
        return 2;
    }
    o->config = path;
    return 0;
}

/* 0: go on; 1: done, exit 0; 2: wrong usage. */
static int read_options(int argc, char **argv, struct options *o)
{
    o->overrides = ddp_calloc((size_t)argc + 1, sizeof *o->overrides);
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        const char **value = strcmp(a, "--resume") == 0 ? &o->resume
                             : strcmp(a, "--eval") == 0 ? &o->eval_only
                                                        : NULL;
        if (value && i + 1 == argc) {
            fprintf(stderr, "ddp-train: %s wants a value\n%s", a, usage);
            return 2;
        }
        if (value) {
            *value = argv[++i];
        } else if (strcmp(a, "--quiet") == 0 || strcmp(a, "-q") == 0) {
            o->quiet = true;
        } else if (strcmp(a, "--relock") == 0) {
            o->relock = true;
        } else if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
            fputs(usage, stdout);
            return 1;
        } else if (strcmp(a, "--help-layers") == 0) {
            const char *type = i + 1 < argc && *argv[i + 1] != '-' ? argv[i + 1] : NULL;
            return show_layers(type, strcmp(argv[argc - 1], "--markdown") == 0);
        } else if (strcmp(a, "--version") == 0) {
            printf("ddp-train %s\n", ddp_version());
            return 1;
        } else if (strchr(a, '=') || *a == '~') {
            o->overrides[o->noverrides++] = a;
        } else if (*a == '-') {
            ddp_say("ddp-train", "unknown option %s\n%s", a, usage);
            return 2;
        } else if (!o->config) {
            o->config = a;
        } else {
            ddp_say("ddp-train", "%s: one CONFIG is enough (is that key=value without the '='?)\n%s", a,
                    usage);
            return 2;
        }
    }
    return o->config ? 0 : find_config(o);
}

static int train(struct ddp_session *s, const struct options *o, struct ddp_error *err)
{
    s->resume = o->resume;
    s->eval_only = o->eval_only;
    s->quiet = o->quiet;
    s->relock = o->relock;
    struct ddp_result r = {0};
    int status = ddp_session_config(s, o->config, o->overrides, o->noverrides, err);
    if (status == 0)
        status = ddp_session_train(s, NULL, &r, err);
    if (status && status != DDP_E_STOPPED)
        return status;
    if (r.rank == 0) {
        if (status == DDP_E_STOPPED && ddp_lifeline_active() && !o->eval_only)
            ddp_lifeline_saved(r.run_dir);
        else if (status == DDP_E_STOPPED)
            ddp_log(DDP_LOG_INFO, "%s", err->text);
        if (o->eval_only && !o->quiet && status == 0)
            printf("accuracy: %.6f\nloss: %.9g\ncount: %lld\n", r.eval_accuracy, r.eval_loss,
                   (long long)r.eval_count);
        if (!ddp_lifeline_active() && *r.weights_hash)
            printf("run: %s\nweights: %s\n", r.run_dir, r.weights_hash);
    }
    return status;
}

/* Each line of it is a message. */
static void log_error(const struct ddp_error *err)
{
    for (const char *line = err->text; *line;) {
        const int n = (int)strcspn(line, "\n");
        ddp_log(DDP_LOG_ERROR, "%.*s", n, line);
        line += n + (line[n] == '\n');
    }
}

static int run(int argc, char **argv)
{
    struct options o = {0};
    int usage_status = read_options(argc, argv, &o);
    if (usage_status)
        return usage_status == 1 ? DDP_EXIT_OK : DDP_EXIT_USAGE;

    struct ddp_error err = {0};
    struct ddp_session *s = NULL;
    int status = ddp_session_open(&argc, &argv, &s, &err);
    if (status == 0)
        status = train(s, &o, &err);
    if (status && status != DDP_E_STOPPED && ddp_session_reports(s))
        log_error(&err);
    ddp_session_close(s, &err);
    return ddp_error_exit(status);
}

int main(int argc, char **argv)
{
    ddp_streams_open();
    return ddp_streams_close("ddp-train", run(argc, argv));
}
