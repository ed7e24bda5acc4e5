/* ddp-runs bisect: name the op at which two runs part. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bisect.h"
#include "ddp-runs.h"

enum { JSON = 1, RANKS, DIR_OPTION, PROGRAMS_A, PROGRAMS_B, PROGRAM, MOST_WORDS = 64 };

static const struct ddp_option options[] = {
    {"--json", NULL, NULL, JSON,
     "As a JSON object: found (step, kind, name, index, a, b), runs, verdict, .."},
    {"--ranks", "-n", "N", RANKS,
     "Both on so many ranks; by default as many as each had. Bits do not depend on it."},
    {"--dir", NULL, "DIR", DIR_OPTION, "Keep the new runs there; otherwise they are removed in the end."},
    {"--programs-a", NULL, "DIR", PROGRAMS_A,
     "Folder of the ddp-launch and ddp-train that do A again: another build than this one."},
    {"--programs-b", NULL, "DIR", PROGRAMS_B, "The same for B."},
    {"--program", NULL, "PATH", PROGRAM,
     "Where the program of your own is that both ran; by default as each recorded (ddp-launch --program)."},
    DDP_COMMON_OPTIONS,
    {0},
};
static const char *const usage[] = {"A B [KEY=VALUE ...] [options]", NULL};

static const struct ddp_manual_section sections[] = {
    {"Exit codes",
     "0\tthe records of both are equal: nothing was done again\n"
     "1\tthey differ: the op is named, or the difference did not come back, or no training step has it\n"
     "2\twrong usage\n"
     "3\tone of them cannot be done again here, or a record is damaged\n"
     "4\ta run that was done again failed; its own words are above\n"
     "75\tstopped by a signal",
     false},
    {0},
};

const struct ddp_manual ddp_runs_bisect_manual = {
    .name = "ddp-runs bisect",
    .summary = "name the op at which two runs part, by doing both again",
    .usage = usage,
    .about =
        "Does both again as recorded, from the last checkpoint that is the same in both (else from the "
        "start) to "
        "the step from which on their records differ, with a record of what each op computes, and names the "
        "first "
        "op whose output differs: the layer, forward or backward, the reduction, or the optimizer of a "
        "tensor; "
        "then the first element that does, and both values. The old runs are not changed. For runs on CPUs.\n"
        "\n"
        "It says too whether what each recorded came out again. Where both have the same bits now, what made "
        "them differ is not in config, code and data.\n"
        "\n"
        "KEY=VALUE\tkeys that change no result, for both: data.root=/my/data train.threads=2",
    .options = options,
    .sections = sections,
};

struct request {
    const char *run[DDP_BISECT_SIDES];
    int runs;
    bool json;
    const char *words[MOST_WORDS];
    struct ddp_bisect_options opt;
};

static int add_word(const char *value, struct request *r, struct ddp_error *err)
{
    if (strchr(value, '=') && !ddp_path_exists(value)) {
        if (r->opt.nwords == MOST_WORDS)
            return ddp_fail(err, DDP_E_USAGE, "%s: more than %d words", value, MOST_WORDS);
        r->words[r->opt.nwords++] = value;
        return 0;
    }
    if (r->runs < DDP_BISECT_SIDES)
        r->run[r->runs] = value;
    r->runs++;
    return 0;
}

static int read_option(int id, const char *value, struct request *r, struct ddp_error *err)
{
    int64_t ranks;
    r->json |= id == JSON;
    if (id == DIR_OPTION)
        r->opt.dir = value;
    if (id == PROGRAM)
        r->opt.program = value;
    if (id == PROGRAMS_A || id == PROGRAMS_B)
        r->opt.programs[id - PROGRAMS_A] = value;
    if (id == RANKS) {
        if (!ddp_parse_int(value, &ranks) || ranks < 1 || ranks > 65536)
            return ddp_fail(err, DDP_E_USAGE, "-n: a number of ranks is wanted, not '%s'", value);
        r->opt.ranks = (int)ranks;
    }
    return id == DDP_OPTION_WORD ? add_word(value, r, err) : 0;
}

/* *done: an option has answered all. */
static int parse(int argc, char **argv, struct request *r, bool *done, struct ddp_error *err)
{
    struct ddp_option_walk walk = {argc, argv, 1, false};
    const char *value;
    for (int id = DDP_OPTION_WORD; id != DDP_OPTION_END;) {
        int status = ddp_option_next(&walk, &ddp_runs_bisect_manual, &id, &value, err);
        if (status)
            return status;
        if (ddp_manual_answer(&ddp_runs_bisect_manual, id)) {
            *done = true;
            return 0;
        }
        if (id != DDP_OPTION_END && (status = read_option(id, value, r, err)) != 0)
            return status;
    }
    r->opt.words = r->words;
    return r->runs == DDP_BISECT_SIDES
               ? 0
               : ddp_fail(err, DDP_E_USAGE,
                          "two runs are wanted, and %d came (ddp-runs bisect --help tells more)", r->runs);
}

/* ---- words ----------------------------------------------------------------------------------- */

static void print_line(const char *line)
{
    ddp_line("%s", line);
    fflush(stdout);
}

static void print_checks(const struct ddp_bisect *b)
{
    for (int s = 0; s < DDP_BISECT_SIDES; s++) {
        const struct ddp_bisect_side *side = &b->side[s];
        for (int i = 0; i < side->checks.checks; i++)
            if (side->checks.check[i].grade != DDP_AGAIN_SAME)
                ddp_line("%s %s: %s: %s",
                         side->checks.check[i].grade == DDP_AGAIN_MISSING ? "MISSING " : "other   ",
                         side->run->path, side->checks.check[i].what, side->checks.check[i].says);
    }
}

static void print_element(const struct ddp_bisect *b)
{
    const struct ddp_element *e = &b->element;
    struct ddp_text t;
    if (!b->has_element)
        return;
    ddp_text_init(&t);
    for (int d = 0; d < e->ndim; d++)
        ddp_text_add(&t, "%s%lld", d ? ", " : "[", (long long)e->index[d]);
    ddp_text_add(&t, "%s", e->ndim ? "]: " : "");
    if (e->integer)
        ddp_text_add(&t, "%s / %s", e->a_text, e->b_text); /* integers */
    else
        ddp_text_add(&t, "%.9g / %.9g (%s / %s)", e->a, e->b, e->a_text, e->b_text);
    ddp_line("  element  %s; %lld of %lld differ%s", t.s, (long long)e->differ, (long long)e->elements,
             e->differ == 1 && e->elements > 1 ? "s" : "");
    ddp_text_finish(&t);
}

static void print_parts(const struct ddp_parting *p)
{
    if (p->part < 0)
        ddp_line("  parts    %lld %s in A, %lld %s in B: they cannot be compared one by one",
                 (long long)p->a->of, p->a->unit, (long long)p->b->of, p->b->unit);
    else if (strcmp(p->a->unit, "one") != 0)
        ddp_line("  in       %.*s %lld, the first of %lld that differ%s, of %lld",
                 (int)strlen(p->a->unit) - 1, p->a->unit, (long long)p->part, (long long)p->differ,
                 p->differ == 1 ? "s" : "", (long long)p->a->of);
}

static void print_only(const char *which, const struct ddp_probed_node *node)
{
    char *words = node ? ddp_probed_words(node) : NULL;
    if (words)
        ddp_line("  only %s   %s", which, words);
    free(words);
}

static void print_found(const struct ddp_bisect *b)
{
    const struct ddp_parting *p = &b->parting;
    char *words = ddp_probed_words(p->a);
    ddp_line("first    step %lld: %s", (long long)p->a->step, words);
    free(words);
    if (strcmp(p->a->op, p->b->op) != 0)
        ddp_line("  op       %s / %s", p->a->op, p->b->op);
    print_parts(p);
    print_element(b);
    print_only("A", p->only_a);
    print_only("B", p->only_b);
    ddp_line("  before   %lld output%s of this step, equal", (long long)p->equal, ddp_plural(p->equal));
    for (int i = 0; i < b->verdict.ncauses; i++)
        ddp_line("%s %s", b->verdict.cause[i].likely ? "likely  " : "possible", b->verdict.cause[i].text);
}

/* Both have the same bits now: which record is the odd one? */
static void print_agreement(const struct ddp_bisect *b)
{
    const struct ddp_bisect_side *x = &b->side[DDP_BISECT_A], *y = &b->side[DDP_BISECT_B];
    ddp_line("agree    done again, both have the same bits to step %lld: the difference did not come back",
             (long long)b->to);
    if (x->other_step < 0 && y->other_step < 0)
        ddp_line("meaning  both records came out again: they differ in what is recorded, not in what was "
                 "computed");
    else if (x->other_step >= 0 && y->other_step >= 0)
        ddp_line(
            "meaning  neither record came out again: the program or the machine here is another than theirs "
            "(above), or both met a fault");
    else
        ddp_line(
            "meaning  the record of %s is the odd one: it is not a function of config, code and data as they "
            "are here. Another program, library or processor made it (above), or a fault of memory or of "
            "a processor, or code of one's own with a state that is not in the config",
            (x->other_step < 0 ? y : x)->run->path);
}

static void print_missing(const struct ddp_bisect *b)
{
    const struct ddp_bisect_side *x = &b->side[DDP_BISECT_A], *y = &b->side[DDP_BISECT_B];
    const struct ddp_bisect_side *only = x->possible ? x : y->possible ? y : NULL;
    if (!only)
        ddp_line("compared nothing but their records: neither can be done again here");
    else
        ddp_line(
            "compared the run of %s that was done again, with both records; the other cannot be done again "
            "here, so no op can be named",
            only->run->path);
    if (b->crossed)
        ddp_line(
            "meaning  done again, it has the bits of the other one's record: the difference was made where "
            "it ran first");
    ddp_verdict_print(&b->verdict);
}

static void print(const struct ddp_bisect *b)
{
    switch (b->end) {
    case DDP_BISECT_EQUAL:
    case DDP_BISECT_NO_STEP:
        ddp_verdict_print(&b->verdict);
        if (b->verdict.kind == DDP_VERDICT_DIFFERENT)
            ddp_line("only evaluations differ: no op of a training step does");
        break;
    case DDP_BISECT_MISSING:
        print_checks(b);
        print_missing(b);
        break;
    case DDP_BISECT_RUN_FAILED:
        print_checks(b);
        break;
    case DDP_BISECT_AGREE:
        print_checks(b);
        print_agreement(b);
        break;
    case DDP_BISECT_FOUND:
        print_checks(b);
        print_found(b);
        break;
    }
    const bool told = b->end != DDP_BISECT_FOUND && b->end != DDP_BISECT_AGREE;
    for (int i = 0; i < b->verdict.nnotes && !told; i++)
        ddp_line("note     %s", b->verdict.note[i]);
    for (int i = 0; i < b->nnotes; i++)
        ddp_line("note     %s", b->note[i]);
}

static int exit_code(const struct ddp_bisect *b)
{
    switch (b->end) {
    case DDP_BISECT_MISSING:
        return DDP_EXIT_RESOURCE;
    case DDP_BISECT_RUN_FAILED:
        return b->code;
    case DDP_BISECT_EQUAL:
    case DDP_BISECT_NO_STEP:
        return ddp_verdict_exit(&b->verdict);
    default:
        return DDP_RUNS_DIFFER;
    }
}

/* ---- */

static int make_folder(char folder[64], struct ddp_error *err)
{
    const char *tmp = getenv("TMPDIR");
    if (!tmp || strlen(tmp) > 40)
        tmp = "/tmp";
    snprintf(folder, 64, "%s/ddp-bisect-XXXXXX", tmp);
    if (mkdtemp(folder))
        return 0;
    ddp_fail(err, DDP_E_IO, "%s: no folder for the new runs can be made there; name one with --dir", tmp);
    *folder = '\0';
    return DDP_E_IO;
}

static int bisect(const struct request *r, const struct ddp_past *a, const struct ddp_past *b)
{
    struct ddp_error err = {0};
    struct ddp_bisect found;
    ddp_again_signals();
    if (ddp_bisect_run(a, b, &r->opt, &found, &err) != 0)
        return ddp_report("ddp-runs", &err);
    if (r->json) {
        json_t *o = ddp_bisect_json(&found);
        char *text = json_dumps(o, JSON_INDENT(2));
        puts(text ? text : "{}");
        free(text);
        json_decref(o);
    } else {
        print(&found);
    }
    if (found.end == DDP_BISECT_RUN_FAILED)
        ddp_say("ddp-runs", "a run that was done again ended with exit code %d", found.code);
    const int code = exit_code(&found);
    ddp_bisect_finish(&found);
    return code;
}

int ddp_runs_bisect_main(int argc, char **argv)
{
    struct request r = {0};
    struct ddp_error err = {0};
    struct ddp_past a, b;
    char programs[PATH_MAX], folder[64] = "";
    bool done = false;
    int status = parse(argc, argv, &r, &done, &err);
    if (done)
        return 0;
    if (status == 0)
        status = ddp_again_own_folder(programs, sizeof programs, &err);
    if (status == 0)
        status = ddp_past_read_whole(r.run[DDP_BISECT_A], &a, &err);
    if (status)
        return ddp_report("ddp-runs", &err);
    status = ddp_past_read_whole(r.run[DDP_BISECT_B], &b, &err);
    if (status == 0 && !r.opt.dir && (status = make_folder(folder, &err)) != 0)
        ddp_past_finish(&b);
    if (status) {
        ddp_past_finish(&a);
        return ddp_report("ddp-runs", &err);
    }
    for (int s = 0; s < DDP_BISECT_SIDES; s++)
        if (!r.opt.programs[s])
            r.opt.programs[s] = programs;
    r.opt.dir = *folder ? folder : r.opt.dir;
    r.opt.say = r.json ? NULL : print_line;
    const int code = bisect(&r, &a, &b);
    if (*folder)
        ddp_dir_remove(folder, NULL);
    ddp_past_finish(&a);
    ddp_past_finish(&b);
    return code;
}
