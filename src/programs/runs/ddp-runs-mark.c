/* ddp-runs mark: a mark by which gc leaves a run. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ddp-runs.h"

enum { CLEAR = 1, NOTE };

static const struct ddp_option options[] = {
    {"--note", NULL, "TEXT", NOTE, "Why, in words that RUN/" DDP_PAST_MARK " keeps."},
    {"--clear", NULL, NULL, CLEAR, "Take the mark away."},
    DDP_COMMON_OPTIONS,
    {0},
};

static const char *const usage[] = {"RUN ... [options]", NULL};

const struct ddp_manual ddp_runs_mark_manual = {
    .name = "ddp-runs mark",
    .summary = "mark a run, so that gc leaves it",
    .usage = usage,
    .about = "A mark is a file RUN/" DDP_PAST_MARK ".",
    .options = options,
};

static int mark(const char *run, const char *note, bool clear, struct ddp_error *err)
{
    struct ddp_past p;
    char path[4200], text[1024] = "";
    int status = ddp_past_read(run, &p, err);
    if (status)
        return status;
    snprintf(path, sizeof path, "%s/" DDP_PAST_MARK, p.path);
    if (note)
        snprintf(text, sizeof text, "%s\n", note);
    if (!clear)
        status = ddp_file_write(path, text, strlen(text), err);
    else if (unlink(path) != 0 && ddp_path_exists(path))
        status = ddp_fail(err, DDP_E_IO, "%s: cannot be removed", path);
    ddp_past_finish(&p);
    return status;
}

int ddp_runs_mark_main(int argc, char **argv)
{
    const struct ddp_manual *m = &ddp_runs_mark_manual;
    struct ddp_error err = {0};
    const char *value, *note = NULL;
    bool clear = false;
    int worst = 0, runs = 0;
    for (int pass = 0; pass < 2; pass++) { /* options hold for words on either side of them */
        struct ddp_option_walk walk = {argc, argv, 1, false};
        for (int id = DDP_OPTION_WORD; id != DDP_OPTION_END;) {
            if (ddp_option_next(&walk, m, &id, &value, &err) != 0)
                return ddp_report("ddp-runs", &err);
            if (ddp_manual_answer(m, id))
                return 0;
            clear |= id == CLEAR;
            note = id == NOTE ? value : note;
            if (id != DDP_OPTION_WORD || pass == 0)
                continue;
            runs++;
            if (mark(value, note, clear, &err) != 0)
                worst = ddp_report("ddp-runs", &err);
        }
    }
    return runs ? worst : ddp_usage(m, "%s", "a run is wanted");
}
