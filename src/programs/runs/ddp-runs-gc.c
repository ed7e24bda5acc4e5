/* ddp-runs gc: shows which unfinished runs could go, and removes them where that is asked for. */
#include <stdio.h>
#include <stdlib.h>

#include "clear.h"
#include "ddp-runs.h"

enum { REMOVE = 1, OLDER, STOPPED };

static const struct ddp_option options[] = {
    {"--remove", NULL, NULL, REMOVE, "Remove what is shown. Without it nothing is changed."},
    {"--older", NULL, "DAYS", OLDER, "Only runs to which nothing was written for so many days; 1."},
    {"--stopped", NULL, NULL, STOPPED, "Also runs that were stopped and could go on."},
    DDP_COMMON_OPTIONS,
    {0},
};

static const char *const usage[] = {"[DIR] [options]", NULL};

const struct ddp_manual ddp_runs_gc_manual = {
    .name = "ddp-runs gc",
    .summary = "show, and on request remove, unfinished runs that nobody marked",
    .usage = usage,
    .about =
        "DIR\tthe folder that they lie in; runs, unless it is given\n"
        "\n"
        "Unfinished are runs that failed, whose process is gone, that were never made whole, or whose record "
        "is "
        "damaged. One stays, whatever it is, that is marked (ddp-runs mark), in which a process works, from "
        "which another run of the folder goes on, or that holds a file which no run writes.",
    .options = options,
};

/* Returns how many may go. */
static int show(const struct ddp_shelf *shelf, const struct ddp_clear_options *opt)
{
    struct ddp_grid t;
    int may = 0;
    double bytes = 0;
    ddp_grid_init(&t, 4);
    for (int i = 0; i < shelf->n; i++) {
        const struct ddp_past *p = &shelf->run[i];
        char why[512], size[32];
        const bool goes = ddp_clear_may(shelf, p, opt, why, sizeof why);
        if (!goes && (p->state == DDP_PAST_DONE || p->state == DDP_PAST_RUNNING))
            continue;
        const double own = (double)ddp_clear_bytes(p->path);
        bytes += goes ? own : 0;
        may += goes;
        ddp_grid_add(&t, goes ? "could go" : "stays");
        ddp_grid_add(&t, p->name);
        ddp_grid_add(&t, ddp_bytes_text(own, size));
        ddp_grid_add(&t, why);
    }
    ddp_grid_finish(&t);
    char size[32];
    ddp_line("%d of %d run%s could go, %s", may, shelf->n, ddp_plural(shelf->n), ddp_bytes_text(bytes, size));
    return may;
}

static int remove_all(const struct ddp_shelf *shelf, const struct ddp_clear_options *opt)
{
    int worst = 0, removed = 0;
    for (int i = 0; i < shelf->n; i++) {
        struct ddp_error err = {0};
        char why[512];
        if (!ddp_clear_may(shelf, &shelf->run[i], opt, why, sizeof why))
            continue;
        if (ddp_clear_remove(shelf, &shelf->run[i], opt, &err) != 0)
            worst = ddp_report("ddp-runs", &err);
        else
            removed++;
    }
    ddp_line("%d removed", removed);
    return worst;
}

int ddp_runs_gc_main(int argc, char **argv)
{
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_clear_options opt = {.older_s = 86400};
    struct ddp_error err = {0};
    struct ddp_shelf shelf;
    const char *value, *dir = NULL;
    bool remove = false;
    for (int id = DDP_OPTION_WORD; id != DDP_OPTION_END;) {
        if (ddp_option_next(&walk, &ddp_runs_gc_manual, &id, &value, &err) != 0)
            return ddp_report("ddp-runs", &err);
        if (ddp_manual_answer(&ddp_runs_gc_manual, id))
            return 0;
        remove |= id == REMOVE;
        opt.stopped |= id == STOPPED;
        if (id == OLDER && (!ddp_parse_double(value, &opt.older_s) || !(opt.older_s >= 0)))
            return ddp_usage(&ddp_runs_gc_manual, "--older: a number of days is wanted, not '%s'", value);
        opt.older_s *= id == OLDER ? 86400 : 1;
        if (id == DDP_OPTION_WORD && dir)
            return ddp_usage(&ddp_runs_gc_manual, "one folder at a time, '%s' is a second", value);
        dir = id == DDP_OPTION_WORD ? value : dir;
    }
    if (ddp_shelf_read(dir ? dir : "runs", &shelf, &err) != 0)
        return ddp_report("ddp-runs", &err);
    const int may = show(&shelf, &opt);
    int status = 0;
    if (may > 0 && remove)
        status = remove_all(&shelf, &opt);
    else if (may > 0)
        ddp_line("nothing was changed; --remove removes them, ddp-runs mark keeps one for good");
    ddp_shelf_finish(&shelf);
    return status;
}
