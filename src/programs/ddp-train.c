/* ddp-train: one rank. What ddp-launch starts; runs alone as well, or under a user's own mpirun. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "record/record.h"
#include "train/session.h"

enum { RESUME = 1, EVAL, QUIET, RELOCK, ABOUT };

// clang-format off
static const struct ddp_option option_list[] = {
    {"--resume", NULL, "RUN|latest|auto", RESUME,
     "Go on from the newest checkpoint of a run, at any number of ranks. latest: the run of this experiment that was "
     "saved to last; auto: the same, and where there is none a new one. Without CONFIG that of RUN is taken."},
    {"--eval", NULL, "RUN|FILE", EVAL,
     "Only evaluate: the weights of a run, of RUN@best, a checkpoint or a .safetensors file."},
    {"--relock", NULL, NULL, RELOCK,
     "With --resume on a GPU: choose algorithms anew where the plan lock does not fit."},
    {"--quiet", "-q", NULL, QUIET, "Print only the last two lines (run: ..., weights: ...)."},
    {"--about", NULL, NULL, ABOUT,
     "Print what the record of a run made here would say of code and machine, as JSON (ddp-runs reproduce asks)."},
    DDP_REFERENCE_OPTIONS,
    DDP_COMMON_OPTIONS,
    {0},
};
// clang-format on

static const char *const usage[] = {"[options] CONFIG [key=value ...]", NULL};

static const struct ddp_manual_section sections[] = {
    {"Exit codes",
     "0\tdone\n"
     "2\twrong usage or config; nothing was started\n"
     "3\ta resource is missing or too small\n"
     "4\ta rank failed\n"
     "75\tstopped by SIGINT, SIGTERM, SIGHUP, SIGUSR1 or SIGUSR2 after saving: go on with --resume\n"
     "130\ta second SIGINT or SIGTERM",
     false},
    {"See also", "ddp-launch(1), ddp-data(1), ddp-runs(1)", true},
    {0},
};

static const struct ddp_manual manual = {
    .name = "ddp-train",
    .summary = "one rank of a training run",
    .usage = usage,
    .about = "One rank of a training run: alone it is the whole run, under `mpirun -n 4 ddp-train CONFIG` it "
             "is one "
             "of four. ddp-launch starts, places and supervises ranks for you.",
    .options = option_list,
    .sections = sections,
};

struct options {
    const char *config, *resume, *eval_only;
    bool quiet, relock;
    const char **overrides;
    int noverrides;
};

/* As read_options. */
static int show_about(void)
{
    char *text = ddp_about();
    puts(text);
    free(text);
    return 1;
}

/* As read_options. */
static int show_reference(bool layers, const char *key, bool markdown)
{
    struct ddp_error err = {0};
    char *text;
    if (ddp_reference(layers, key, markdown, &text, &err) != 0) {
        ddp_say("ddp-train", "%s", err.text);
        return 2;
    }
    fputs(text, stdout);
    free(text);
    return 1;
}

/* The config of the run that is resumed or evaluated. As read_options. */
static int find_config(struct options *o)
{
    static char path[4096];
    struct ddp_error err = {0};
    const char *run = o->resume ? o->resume : o->eval_only;
    if (!run) {
        ddp_say("ddp-train", "no CONFIG (ddp-train --help tells more)");
        return 2;
    }
    if (strcmp(run, "latest") == 0 || strcmp(run, "auto") == 0) {
        fprintf(stderr, "ddp-train: %s looks for a run of an experiment: name its CONFIG as well, or a run\n",
                run);
        return 2;
    }
    if (ddp_run_config(run, path, sizeof path, &err) != 0) {
        ddp_say("ddp-train", "%s", err.text);
        return 2;
    }
    o->config = path;
    return 0;
}

static int take_word(const char *word, struct options *o)
{
    if (strchr(word, '=') || *word == '~') {
        o->overrides[o->noverrides++] = word;
    } else if (o->config) {
        ddp_say("ddp-train", "%s: one CONFIG is enough (is that key=value without the '='?)", word);
        return 2;
    } else {
        o->config = word;
    }
    return 0;
}

/* 0: go on; 1: done, exit 0; 2: wrong usage. */
static int read_options(int argc, char **argv, struct options *o)
{
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_error err = {0};
    const char *value, *key = NULL;
    int id, reference = 0;
    bool markdown = false, about = false;
    o->overrides = ddp_calloc((size_t)argc + 1, sizeof *o->overrides);
    for (;;) {
        if (ddp_option_next(&walk, &manual, &id, &value, &err) != 0) {
            ddp_say("ddp-train", "%s", err.text);
            return 2;
        }
        if (id == DDP_OPTION_END)
            break;
        if (ddp_manual_answer(&manual, id))
            return 1;
        about = about || id == ABOUT;
        if (id == DDP_OPTION_WORD && take_word(value, o) != 0)
            return 2;
        if (id == DDP_OPTION_HELP_CONFIG || id == DDP_OPTION_HELP_LAYERS) {
            reference = id;
            key = value;
        }
        markdown = markdown || id == DDP_OPTION_MARKDOWN;
        o->quiet = o->quiet || id == QUIET;
        o->relock = o->relock || id == RELOCK;
        o->resume = id == RESUME ? value : o->resume;
        o->eval_only = id == EVAL ? value : o->eval_only;
    }
    if (about)
        return show_about();
    if (markdown && !reference) {
        ddp_say("ddp-train", "--markdown belongs to --help-config or --help-layers");
        return 2;
    }
    if (reference)
        return show_reference(reference == DDP_OPTION_HELP_LAYERS, key, markdown);
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
            printf("%s: %.6f\nloss: %.9g\ncount: %lld\n",
                   isnan(r.eval_accuracy) ? "mean absolute error" : "accuracy",
                   isnan(r.eval_accuracy) ? r.eval_error : r.eval_accuracy, r.eval_loss,
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
    if (usage_status) {
        free(o.overrides);
        return usage_status == 1 ? DDP_EXIT_OK : DDP_EXIT_USAGE;
    }

    struct ddp_error err = {0};
    struct ddp_session *s = NULL;
    int status = ddp_session_open(&argc, &argv, &s, &err);
    if (status == 0)
        status = train(s, &o, &err);
    if (status && status != DDP_E_STOPPED && ddp_session_reports(s))
        log_error(&err);
    ddp_session_close(s, &err);
    free(o.overrides);
    return ddp_error_exit(status);
}

int main(int argc, char **argv)
{
    ddp_streams_open();
    return ddp_streams_close("ddp-train", run(argc, argv));
}
