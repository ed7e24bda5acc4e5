/* ddp-runs reproduce: do a recorded run again, and prove that the bits come out. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "again.h"
#include "ddp-runs.h"
#include "verdict.h"

enum { RANKS = 1, DIR_OPTION, CHECK, PROGRAM, MOST_WORDS = 64 };

static const struct ddp_option options[] = {
    {"--ranks", "-n", "N", RANKS,
     "On so many ranks; by default as many as it had. Bits do not depend on it."},
    {"--dir", NULL, "DIR", DIR_OPTION, "Where the new run is to lie; runs, unless it is given."},
    {"--program", NULL, "PATH", PROGRAM,
     "Where the run's program of your own is; by default as recorded (ddp-launch --program)."},
    {"--check", NULL, NULL, CHECK, "Only look whether all is there, and print the command."},
    DDP_COMMON_OPTIONS,
    {0},
};
static const char *const usage[] = {"RUN [KEY=VALUE ...] [options]", NULL};

static const struct ddp_manual_section sections[] = {
    {"Exit codes",
     "0\tthe bits are those of the record (with --check: nothing is missing)\n"
     "1\tthey are not; the verdict says from where on\n"
     "2\twrong usage\n"
     "3\tsomething is missing, or a record is damaged\n"
     "4\tthe new run failed; its own words are above\n"
     "75\tstopped by a signal, as the new run was",
     false},
    {0},
};

const struct ddp_manual ddp_runs_reproduce_manual = {
    .name = "ddp-runs reproduce",
    .summary = "do a recorded run again, and prove that the bits are the same",
    .usage = usage,
    .about = "Checks code, libraries and data against the record and says what is missing or another, runs "
             "ddp-launch "
             "with the recorded config, and verifies the new run against the old one, which is not changed. "
             "Of a run "
             "that did not come to its end as many steps are done again as it made.\n"
             "\n"
             "KEY=VALUE\tkeys that change no result: data.root=/my/data train.threads=2",
    .options = options,
    .sections = sections,
};

struct request {
    const char *run, *dir, *program;
    int ranks;
    bool check;
    const char *words[MOST_WORDS];
    int nwords;
};

/* *done: an option has answered all. */
static int parse(int argc, char **argv, struct request *r, bool *done, struct ddp_error *err)
{
    struct ddp_option_walk walk = {argc, argv, 1, false};
    const char *value;
    int64_t ranks;
    for (int id = DDP_OPTION_WORD; id != DDP_OPTION_END;) {
        const int status = ddp_option_next(&walk, &ddp_runs_reproduce_manual, &id, &value, err);
        if (status)
            return status;
        if (ddp_manual_answer(&ddp_runs_reproduce_manual, id)) {
            *done = true;
            return 0;
        }
        r->check |= id == CHECK;
        r->dir = id == DIR_OPTION ? value : r->dir;
        r->program = id == PROGRAM ? value : r->program;
        if (id == RANKS) {
            if (!ddp_parse_int(value, &ranks) || ranks < 1 || ranks > 65536)
                return ddp_fail(err, DDP_E_USAGE, "-n: a number of ranks is wanted, not '%s'", value);
            r->ranks = (int)ranks;
        }
        if (id != DDP_OPTION_WORD)
            continue;
        if (strchr(value, '=') && !ddp_path_exists(value) && r->nwords < MOST_WORDS)
            r->words[r->nwords++] = value;
        else if (r->run)
            return ddp_fail(err, DDP_E_USAGE, "one run at a time, '%s' is a second", value);
        else
            r->run = value;
    }
    return r->run ? 0 : ddp_fail(err, DDP_E_USAGE, "a run is wanted (ddp-runs reproduce --help tells more)");
}

/* ---- words ----------------------------------------------------------------------------------- */

static void print_checks(const struct ddp_again *a)
{
    static const char *const grades[] = {"same", "other", "MISSING"};
    struct ddp_grid t;
    ddp_grid_init(&t, 3);
    for (int i = 0; i < a->checks; i++) {
        ddp_grid_add(&t, grades[a->check[i].grade]);
        ddp_grid_add(&t, a->check[i].what);
        ddp_grid_add(&t, a->check[i].says);
    }
    ddp_grid_finish(&t);
    struct ddp_text command;
    ddp_text_init(&command);
    for (int i = 0; i < a->words; i++)
        ddp_text_add(&command, "%s%s", i ? " " : "", a->word[i]);
    ddp_line("%s", command.s);
    ddp_text_finish(&command);
}

/* Whether all that the old one did has come out, which may be less than the new one did. */
static bool is_reproduced(const struct ddp_verdict *v, const struct ddp_past *old, int64_t steps)
{
    return v->kind == DDP_VERDICT_EQUAL ||
           (v->kind == DDP_VERDICT_SO_FAR && !*ddp_past_text(old, "weights_hash") && v->equal_step == steps);
}

static int compare(const struct ddp_past *old, const char *made, int64_t steps, struct ddp_error *err)
{
    struct ddp_past again;
    struct ddp_verdict v;
    int status = ddp_past_read_whole(made, &again, err);
    if (status)
        return ddp_report("ddp-runs", err);
    ddp_verdict_reach(old, &again, &v);
    ddp_verdict_print(&v);
    const bool yes = is_reproduced(&v, old, steps);
    ddp_line(yes ? "reproduced: %s has the bits of %s" : "not reproduced: %s has other bits than %s",
             again.path, old->path);
    ddp_verdict_finish(&v);
    ddp_past_finish(&again);
    return yes ? DDP_RUNS_SAME : DDP_RUNS_DIFFER;
}

static int reproduce(const struct request *r, const struct ddp_past *p, const struct ddp_again *a,
                     struct ddp_error *err)
{
    char made[2048];
    const int missing = ddp_again_missing(a);
    if (!r->check)
        ddp_again_signals();
    print_checks(a);
    if (missing > 0) {
        ddp_say("ddp-runs", "%s cannot be reproduced here: %d thing%s missing", p->path, missing,
                missing == 1 ? " is" : "s are");
        return DDP_EXIT_RESOURCE;
    }
    if (r->check)
        return 0;
    const int code = ddp_again_run(a->word, true, made, sizeof made);
    if (code != 0 || !*made) {
        ddp_say("ddp-runs", "the new run ended with exit code %d: nothing was verified", code);
        return code ? code : DDP_EXIT_RANK;
    }
    return compare(p, made, a->steps, err);
}

int ddp_runs_reproduce_main(int argc, char **argv)
{
    struct request r = {.dir = "runs"};
    struct ddp_error err = {0};
    struct ddp_past p;
    struct ddp_again a;
    char programs[PATH_MAX];
    bool done = false;
    int status = parse(argc, argv, &r, &done, &err);
    if (done)
        return 0;
    if (status == 0)
        status = ddp_again_own_folder(programs, sizeof programs, &err);
    if (status == 0)
        status = ddp_past_read_whole(r.run, &p, &err);
    if (status)
        return ddp_report("ddp-runs", &err);
    const struct ddp_again_options opt = {.programs = programs,
                                          .program = r.program,
                                          .ranks = r.ranks,
                                          .dir = r.dir,
                                          .words = r.words,
                                          .nwords = r.nwords};
    status = ddp_again_plan(&p, &opt, &a, &err);
    int code = 0;
    if (status == 0) {
        code = reproduce(&r, &p, &a, &err);
        ddp_again_finish(&a);
    } else {
        code = ddp_report("ddp-runs", &err);
    }
    ddp_past_finish(&p);
    return code;
}
