/* ddp-runs verify: whether two runs have the same bits, else where they part. */
#include <stdio.h>
#include <stdlib.h>

#include "ddp-runs.h"
#include "verdict.h"

enum { JSON = 1 };

static const struct ddp_option options[] = {
    {"--json", NULL, NULL, JSON, "As a JSON object: equal, first_divergent_step, tensors, causes, .."},
    DDP_COMMON_OPTIONS,
    {0},
};
static const char *const usage[] = {"A B [--json]", NULL};

static const struct ddp_manual_section sections[] = {
    {"Exit codes",
     "0\tthe same bits from the first record to the last\n"
     "1\tthey differ, or are equal only as far as both go\n"
     "2\twrong usage\n"
     "3\ta run is damaged, or they have no record of the same step",
     false},
    {0},
};

const struct ddp_manual ddp_runs_verify_manual = {
    .name = "ddp-runs verify",
    .summary = "say whether two runs have the same bits, else where they part and why perhaps",
    .usage = usage,
    .about = "Compared are the hashes of all tensors every train.trail_every steps (weights.trail), the "
             "losses and "
             "evaluations in metrics.jsonl, and the final weights.\n"
             "\n"
             "Where they differ it names the first step that does, the tensors that parted first, and what "
             "differs "
             "between the runs that can have done it, the likeliest first. docs/reproducibility.md shows how "
             "to go on "
             "from there.",
    .options = options,
    .sections = sections,
};

static void print_tensors(const struct ddp_verdict *v)
{
    enum { MOST = 8 };
    struct ddp_text t;
    ddp_text_init(&t);
    for (int i = 0; i < v->ntensors && i < MOST; i++)
        ddp_text_add(&t, "%s%s", i ? ", " : "", v->tensor[i]);
    if (v->ntensors > MOST)
        ddp_text_add(&t, ", and %d more", v->ntensors - MOST);
    if (v->ntensors > 0 && v->tensors_step != v->first_step)
        ddp_text_add(&t, ", after step %lld", (long long)v->tensors_step);
    if (v->ntensors > 0)
        ddp_line("  tensors  %d of %d of the %s: %s", v->ntensors, v->tensors_of, v->tensors_part, t.s);
    ddp_text_finish(&t);
}

void ddp_verdict_print(const struct ddp_verdict *v)
{
    switch (v->kind) {
    case DDP_VERDICT_EQUAL:
        ddp_line("equal: %lld step%s, %lld record%s on the way, and the final weights",
                 (long long)v->equal_step, ddp_plural(v->equal_step), (long long)v->records,
                 ddp_plural(v->records));
        break;
    case DDP_VERDICT_SO_FAR:
        ddp_line("equal as far as both go: to step %lld", (long long)v->equal_step);
        break;
    case DDP_VERDICT_UNKNOWN:
        ddp_line("nothing to compare: they have no record of the same step");
        break;
    case DDP_VERDICT_DIFFERENT:
        if (v->equal_step >= 0)
            ddp_line("different from step %lld on (equal at step %lld)", (long long)v->first_step,
                     (long long)v->equal_step);
        else
            ddp_line("different from step %lld on, their first record of the same step",
                     (long long)v->first_step);
        ddp_line("  first    %s", v->part);
        print_tensors(v);
        break;
    }
    for (int i = 0; i < v->ncauses; i++)
        ddp_line("  %s %s", v->cause[i].likely ? "likely  " : "possible", v->cause[i].text);
    for (int i = 0; i < v->nnotes; i++)
        ddp_line("  note     %s", v->note[i]);
}

int ddp_verdict_exit(const struct ddp_verdict *v)
{
    return v->kind == DDP_VERDICT_EQUAL     ? DDP_RUNS_SAME
           : v->kind == DDP_VERDICT_UNKNOWN ? DDP_EXIT_RESOURCE
                                            : DDP_RUNS_DIFFER;
}

int ddp_runs_verify_main(int argc, char **argv)
{
    struct ddp_runs_pair pair;
    struct ddp_verdict v;
    bool flags[2] = {false};
    int code;
    if (!ddp_runs_pair_read(argc, argv, &ddp_runs_verify_manual, flags, 2, &pair, &code))
        return code;
    ddp_verdict_reach(&pair.a, &pair.b, &v);
    if (flags[JSON]) {
        json_t *o = ddp_verdict_json(&v);
        char *text = json_dumps(o, JSON_INDENT(2));
        puts(text ? text : "{}");
        free(text);
        json_decref(o);
    } else {
        ddp_verdict_print(&v);
    }
    code = ddp_verdict_exit(&v);
    ddp_verdict_finish(&v);
    ddp_runs_pair_finish(&pair);
    return code;
}
