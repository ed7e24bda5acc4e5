/* Command lines that name two runs. */
#include "ddp-runs.h"

bool ddp_runs_pair_read(int argc, char **argv, const struct ddp_manual *m, bool *flags, int nflags,
                        struct ddp_runs_pair *out, int *code)
{
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_error err = {0};
    const char *value, *run[2] = {NULL, NULL};
    int id, n = 0;
    for (;;) {
        if (ddp_option_next(&walk, m, &id, &value, &err) != 0) {
            *code = ddp_report("ddp-runs", &err);
            return false;
        }
        if (ddp_manual_answer(m, id)) {
            *code = 0;
            return false;
        }
        if (id == DDP_OPTION_END)
            break;
        if (id > 0 && id < nflags)
            flags[id] = true;
        if (id == DDP_OPTION_WORD && n < 2)
            run[n] = value;
        n += id == DDP_OPTION_WORD;
    }
    if (n != 2) {
        *code = ddp_usage(m, "two runs are wanted, and %d came", n);
        return false;
    }
    if (ddp_past_read_whole(run[0], &out->a, &err) != 0) {
        *code = ddp_report("ddp-runs", &err);
        return false;
    }
    if (ddp_past_read_whole(run[1], &out->b, &err) != 0) {
        ddp_past_finish(&out->a);
        *code = ddp_report("ddp-runs", &err);
        return false;
    }
    return true;
}

void ddp_runs_pair_finish(struct ddp_runs_pair *p)
{
    ddp_past_finish(&p->a);
    ddp_past_finish(&p->b);
}
