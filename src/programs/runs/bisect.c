/* Doing two runs again until they part, and following them op by op. */
#include "bisect.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void note(struct ddp_bisect *b, const char *fmt, ...) DDP_PRINTF(2, 3);
static void note(struct ddp_bisect *b, const char *fmt, ...)
{
    va_list args;
    if (b->nnotes == (int)DDP_COUNT(b->note))
        return;
    va_start(args, fmt);
    vsnprintf(b->note[b->nnotes++], sizeof b->note[0], fmt, args);
    va_end(args);
}

static void say(const struct ddp_bisect_options *opt, const char *fmt, ...) DDP_PRINTF(2, 3);
static void say(const struct ddp_bisect_options *opt, const char *fmt, ...)
{
    char line[5000];
    va_list args;
    if (!opt->say)
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    opt->say(line);
}

/* ---- one run again --------------------------------------------------------------------------- */

struct round { /* steps to be probed, and what of them is to be kept as values; "": nothing */
    int64_t from, to;
    char values[256];
};

enum { OWN_WORDS = 8, MOST_WORDS = 128 };

/* What is not that of the old run: where it lies, what is recorded of it. */
static int own_words(const struct round *round, char own[OWN_WORDS][320])
{
    int n = 0;
    snprintf(own[n++], 320, "probe.from=%lld", (long long)round->from);
    snprintf(own[n++], 320, "probe.to=%lld", (long long)round->to);
    snprintf(own[n++], 320, *round->values ? "probe.values=[\"%s\"]" : "probe.values=[]%s", round->values);
    snprintf(own[n++], 320, "checkpoint.every_steps=0");
    snprintf(own[n++], 320, "checkpoint.every_epochs=0");
    snprintf(own[n++], 320, "checkpoint.best=false");
    snprintf(own[n++], 320, "log.progress=false");
    snprintf(own[n++], 320, "log.level=error");
    return n;
}

static int plan(const struct ddp_bisect *b, int s, const struct ddp_bisect_options *opt,
                const struct round *round, struct ddp_again *again, struct ddp_error *err)
{
    const struct ddp_past *p = b->side[s].run;
    char own[OWN_WORDS][320], checkpoint[4400] = "";
    const char *words[MOST_WORDS];
    int n = 0;
    for (int i = 0, of = own_words(round, own); i < of; i++)
        words[n++] = own[i];
    for (int i = 0; i < opt->nwords && n < MOST_WORDS; i++)
        words[n++] = opt->words[i];
    if (b->checkpoint > 0)
        snprintf(checkpoint, sizeof checkpoint, "%s/checkpoints/step-%08lld", p->path,
                 (long long)b->checkpoint);
    const struct ddp_again_options options = {.programs = opt->programs[s],
                                              .program = opt->program,
                                              .ranks = opt->ranks,
                                              .dir = opt->dir,
                                              .words = words,
                                              .nwords = n,
                                              .upto = round->to,
                                              .checkpoint = *checkpoint ? checkpoint : NULL,
                                              .quiet = true};
    return ddp_again_plan(p, &options, again, err);
}

/* Its exit code. */
static int do_again(struct ddp_bisect_side *s, const struct ddp_again *again)
{
    if (*s->isa)
        setenv("DDP_ISA", s->isa, 1);
    const int code = ddp_again_run(again->word, false, s->made, sizeof s->made);
    if (*s->isa)
        unsetenv("DDP_ISA");
    return code == 0 && !*s->made ? DDP_EXIT_RANK : code;
}

/* From which step on a run that was done again is not what a record says; -1: all came out. */
static int64_t compare(const struct ddp_past *old, const char *made)
{
    struct ddp_past again;
    struct ddp_verdict v;
    if (ddp_past_read_whole(made, &again, NULL) != 0)
        return -1;
    ddp_verdict_reach(old, &again, &v);
    const int64_t step =
        v.kind == DDP_VERDICT_DIFFERENT && strcmp(v.part, "evaluation") != 0 ? v.first_step : -1;
    ddp_verdict_finish(&v);
    ddp_past_finish(&again);
    return step;
}

static void say_came_out(const struct ddp_bisect *b, int s, const struct ddp_bisect_options *opt)
{
    const struct ddp_bisect_side *side = &b->side[s];
    char start[64] = "from the start";
    if (b->checkpoint > 0)
        snprintf(start, sizeof start, "from its checkpoint of step %lld", (long long)b->checkpoint);
    if (side->other_step < 0)
        say(opt, "again    %s, %s to step %lld: what it recorded came out again", side->run->path, start,
            (long long)b->to);
    else
        say(opt, "again    %s, %s to step %lld: other bits than it recorded, from step %lld on",
            side->run->path, start, (long long)b->to, (long long)side->other_step);
}

/* ---- both ------------------------------------------------------------------------------------ */

/* Side s once more. first: with its checks kept, and its records compared. *failed: it ended with b->code. */
static int run_side(struct ddp_bisect *b, int s, const struct ddp_bisect_options *opt,
                    const struct round *round, bool first, bool *failed, struct ddp_error *err)
{
    struct ddp_bisect_side *side = &b->side[s];
    struct ddp_again again;
    const int status = plan(b, s, opt, round, &again, err);
    if (status)
        return status;
    b->code = do_again(side, &again);
    *failed = b->code != 0;
    ddp_again_finish(&again);
    if (*failed || !first)
        return 0;
    side->done = true;
    side->other_step = compare(side->run, side->made);
    say_came_out(b, s, opt);
    return 0;
}

static int run_both(struct ddp_bisect *b, const struct ddp_bisect_options *opt, const struct round *round,
                    bool first, struct ddp_error *err)
{
    bool failed = false;
    int status = 0;
    for (int s = 0; s < DDP_BISECT_SIDES && status == 0 && !failed; s++)
        if (b->side[s].possible)
            status = run_side(b, s, opt, round, first, &failed, err);
    if (failed)
        b->end = DDP_BISECT_RUN_FAILED;
    return status;
}

static int read_probes(struct ddp_bisect *b, struct ddp_error *err)
{
    for (int s = 0; s < DDP_BISECT_SIDES; s++) {
        ddp_probed_finish(&b->probed[s]);
        const int status = ddp_probed_read(b->side[s].made, &b->probed[s], err);
        if (status)
            return status;
        if (*b->probed[s].fault)
            note(b, "%s", b->probed[s].fault);
    }
    ddp_probed_part(&b->probed[DDP_BISECT_A], &b->probed[DDP_BISECT_B], &b->parting);
    return 0;
}

static bool is_begin(const struct ddp_parting *p)
{
    return p->a && strcmp(p->a->kind, "begin") == 0;
}

/* The step in which they part once more, for the values of the node that parts them. */
static int find_element(struct ddp_bisect *b, const struct ddp_bisect_options *opt, struct ddp_error *err)
{
    const struct ddp_probed_node *a = b->parting.a;
    struct round round = {a->step, a->step, ""};
    if (b->parting.part < 0) /* numbers of parts differ: there is no element to point at */
        return 0;
    snprintf(round.values, sizeof round.values, "%s/%s", a->kind, a->name);
    const int status = run_both(b, opt, &round, false, err);
    if (status || b->end == DDP_BISECT_RUN_FAILED)
        return status;
    b->has_element = ddp_probed_element(b->side[DDP_BISECT_A].made, b->side[DDP_BISECT_B].made, a,
                                        b->parting.part, &b->element);
    if (!b->has_element && b->element.elements > 0)
        note(b,
             "done once more, there was no difference at that op: what differs does not come back each time, "
             "as with a fault of memory or of a processor, or code that depends on chance");
    return 0;
}

/* Whether one was done again with the bits of the other one's record. */
static void look_across(struct ddp_bisect *b)
{
    for (int s = 0; s < DDP_BISECT_SIDES; s++)
        if (b->side[s].done && b->side[s].other_step >= 0 && compare(b->side[1 - s].run, b->side[s].made) < 0)
            b->crossed = true;
}

static int follow(struct ddp_bisect *b, const struct ddp_bisect_options *opt, struct ddp_error *err)
{
    struct round round = {b->from, b->to, ""};
    int status = run_both(b, opt, &round, true, err);
    if (status || b->end == DDP_BISECT_RUN_FAILED)
        return status;
    look_across(b);
    if (!b->side[DDP_BISECT_A].possible || !b->side[DDP_BISECT_B].possible)
        return 0;
    status = read_probes(b, err);
    if (status == 0 && is_begin(&b->parting) && b->from > b->checkpoint + 1) {
        b->from = round.from = b->checkpoint + 1; /* losses agreed, states did not: from further back */
        status = run_both(b, opt, &round, false, err);
        if (status == 0 && b->end != DDP_BISECT_RUN_FAILED)
            status = read_probes(b, err);
    }
    if (status || b->end == DDP_BISECT_RUN_FAILED)
        return status;
    b->end = b->parting.a ? DDP_BISECT_FOUND : DDP_BISECT_AGREE;
    return b->parting.a ? find_element(b, opt, err) : 0;
}

/* ---- what is asked for ----------------------------------------------------------------------- */

static bool parts_in_training(const struct ddp_verdict *v)
{
    return v->kind == DDP_VERDICT_DIFFERENT && strcmp(v->part, "evaluation") != 0;
}

static bool is_of_gpu(const struct ddp_past *p)
{
    return strcmp(ddp_past_text(p, "device"), "cuda") == 0;
}

/* What each needs, and whether it is there. */
static int look_at_sides(struct ddp_bisect *b, const struct ddp_bisect_options *opt, struct ddp_error *err)
{
    const struct round round = {b->from, b->to, ""};
    for (int s = 0; s < DDP_BISECT_SIDES; s++) {
        struct ddp_bisect_side *side = &b->side[s];
        const int status = plan(b, s, opt, &round, &side->checks, err);
        if (status)
            return status;
        if (is_of_gpu(side->run))
            ddp_again_note(&side->checks, DDP_AGAIN_MISSING, "ops",
                           "what each op computes is recorded on CPUs only, and this run was one of a GPU: "
                           "ddp-runs verify names the first tensor of its trail");
        side->possible = ddp_again_missing(&side->checks) == 0;
        ddp_bisect_isa(side->run, side->checks.isa, side->isa);
    }
    return 0;
}

int ddp_bisect_run(const struct ddp_past *a, const struct ddp_past *b, const struct ddp_bisect_options *opt,
                   struct ddp_bisect *out, struct ddp_error *err)
{
    struct ddp_bisect r = {.side = {{.run = a, .other_step = -1}, {.run = b, .other_step = -1}}};
    int status = 0;
    ddp_verdict_reach(a, b, &r.verdict);
    const struct ddp_verdict *v = &r.verdict;
    if (parts_in_training(v)) {
        r.to = v->first_step > 0 ? v->first_step : 1;
        r.checkpoint = ddp_bisect_checkpoint(a, b, r.to);
        r.from = v->equal_step > r.checkpoint ? v->equal_step : r.checkpoint + 1;
        say(opt, "records  different from step %lld on%s", (long long)v->first_step,
            v->equal_step >= 0 ? "" : ", their first record of the same step");
        status = look_at_sides(&r, opt, err);
        r.end = DDP_BISECT_MISSING;
        if (status == 0)
            status = follow(&r, opt, err);
    } else {
        r.end = v->kind == DDP_VERDICT_EQUAL ? DDP_BISECT_EQUAL : DDP_BISECT_NO_STEP;
    }
    if (status)
        ddp_bisect_finish(&r);
    else
        *out = r;
    return status;
}

void ddp_bisect_finish(struct ddp_bisect *b)
{
    for (int s = 0; s < DDP_BISECT_SIDES; s++) {
        ddp_again_finish(&b->side[s].checks);
        ddp_probed_finish(&b->probed[s]);
    }
    ddp_verdict_finish(&b->verdict);
    *b = (struct ddp_bisect){0};
}
