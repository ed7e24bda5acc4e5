/* --batch: from a command line and its config to a job script, printed or handed in. */
#include "launcher/batch_write.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "launcher/job.h"

/* The words behind `ddp-launch` in a job script: what was asked for here, but for the script. */
static void add_words(const struct ddp_options *opt, struct ddp_words *words)
{
    if (opt->ranks > 0)
        ddp_words_add(words, "-n%d", opt->ranks);
    ddp_options_again(opt, words);
    if (opt->relock)
        ddp_words_add(words, "--relock");
    ddp_words_add(words, opt->eval ? "--eval=%s" : "--resume=%s",
                  opt->eval     ? opt->eval
                  : opt->resume ? opt->resume
                                : "auto");
    ddp_words_add(words, "%s", opt->config);
    ddp_words_add_all(words, (const char *const *)opt->overrides.w);
}

int ddp_batch_write(const struct ddp_options *opt, const struct ddp_config *cfg, struct ddp_error *err)
{
    char folder[PATH_MAX], program[PATH_MAX], logs[2 * PATH_MAX];
    struct ddp_words words = {0};
    struct ddp_text script;
    if (!getcwd(folder, sizeof folder) || !ddp_job_self(program))
        return ddp_fail(err, DDP_E_IO, "cannot find out where this runs: %s", strerror(errno));
    snprintf(logs, sizeof logs, *cfg->run.dir == '/' ? "%s" : "./%s", cfg->run.dir);
    add_words(opt, &words);
    ddp_text_init(&script);
    const struct ddp_batch_job job = {.name = cfg->run.name,
                                      .folder = folder,
                                      .program = program,
                                      .log_folder = logs,
                                      .ranks = opt->ranks,
                                      .threads = (int)cfg->train.threads,
                                      .words = &words};
    int rc = ddp_batch_script(&opt->batch, &job, &script, err);
    if (rc == 0) /* the log is opened there before the script has a say */
        rc = ddp_dir_make(cfg->run.dir, err);
    if (rc == 0 && opt->batch.submit)
        rc = ddp_batch_submit(&opt->batch, script.s, err);
    else if (rc == 0)
        fputs(script.s, stdout);
    ddp_text_finish(&script);
    ddp_words_finish(&words);
    return rc ? ddp_error_prefix(err, "--batch %s", opt->batch.system) : 0;
}
