/* Job scripts for Slurm and LSF. */
#include "launcher/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum {
    SAVE_SECONDS = 120, /* before the time is over: for the step in hand, and to save */
    MINUTES_MAX = 60 * 24 * 366,
};

/* One batch system. */
struct system {
    const char *name;
    const char *mark;   /* what its options stand behind */
    const char *submit; /* reads a script from standard input */
    void (*header)(const struct ddp_batch_wishes *w, const struct ddp_batch_job *job, struct ddp_text *out);
    void (*body)(const char *command, struct ddp_text *out);
};

/* Ranks on one host, where they are spread evenly; 0: nobody said how many. */
static int per_node(const struct ddp_batch_wishes *w, const struct ddp_batch_job *job)
{
    const int nodes = w->nodes > 0 ? w->nodes : 1;
    return job->ranks > 0 ? (job->ranks + nodes - 1) / nodes : w->gpus_per_node;
}

/* A name as all batch systems take it: others become '_'. */
static void add_name(const char *name, struct ddp_text *out)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    for (; *name; name++)
        ddp_text_append(out, strchr(good, *name) ? name : "_", 1);
}

/* "\"./runs/cnn-%j.log\"" */
static void add_log(const struct ddp_batch_job *job, const char *number, struct ddp_text *out)
{
    ddp_text_add(out, "\"%s/", job->log_folder);
    add_name(job->name, out);
    ddp_text_add(out, "-%s.log\"\n", number);
}

/* ---- Slurm ----------------------------------------------------------------------------------- */

static void slurm_header(const struct ddp_batch_wishes *w, const struct ddp_batch_job *job,
                         struct ddp_text *out)
{
    ddp_text_add(out, "#SBATCH --job-name=");
    add_name(job->name, out);
    ddp_text_add(out, "\n#SBATCH --nodes=%d\n", w->nodes > 0 ? w->nodes : 1);
    if (per_node(w, job) > 0)
        ddp_text_add(out, "#SBATCH --ntasks-per-node=%d\n", per_node(w, job));
    if (job->threads > 0)
        ddp_text_add(out, "#SBATCH --cpus-per-task=%d\n", job->threads);
    if (w->gpus_per_node > 0)
        ddp_text_add(out, "#SBATCH --gpus-per-node=%d\n", w->gpus_per_node);
    if (w->minutes > 0)
        ddp_text_add(out, "#SBATCH --time=%d-%02d:%02d:00\n", w->minutes / 1440, w->minutes / 60 % 24,
                     w->minutes % 60);
    if (w->partition)
        ddp_text_add(out, "#SBATCH --partition=%s\n", w->partition);
    if (w->account)
        ddp_text_add(out, "#SBATCH --account=%s\n", w->account);
    ddp_text_add(out, "#SBATCH --output=");
    add_log(job, "%j", out);
    ddp_text_add(out,
                 "#SBATCH --open-mode=append\n"
                 "#SBATCH --requeue\n"
                 "#SBATCH --signal=B:USR1@%d\n",
                 SAVE_SECONDS);
}

static void slurm_body(const char *command, struct ddp_text *out)
{
    ddp_text_add(out,
                 "%s &\n"
                 "launch=$!\n"
                 "\n"
                 "# USR1 comes %d s before the time is over: all ranks stop after the same step and save, "
                 "and the job\n"
                 "# goes back into the queue. SIGTERM (scancel, a preemption, scontrol requeue) comes to the "
                 "launcher\n"
                 "# from Slurm itself.\n"
                 "time_is_over=\n"
                 "trap 'time_is_over=1; kill -USR1 \"$launch\"' USR1\n"
                 "trap : TERM CONT\n"
                 "wait \"$launch\"\n"
                 "while kill -0 \"$launch\" 2>/dev/null; do # a signal has ended the wait, not the launcher\n"
                 "    wait \"$launch\"\n"
                 "done\n"
                 "wait \"$launch\"\n"
                 "status=$?\n"
                 "if [ \"$status\" = 75 ] && [ -n \"$time_is_over\" ]; then\n"
                 "    scontrol requeue \"$SLURM_JOB_ID\"\n"
                 "fi\n"
                 "exit \"$status\"\n",
                 command, SAVE_SECONDS);
}

/* ---- LSF ------------------------------------------------------------------------------------- */

static void lsf_header(const struct ddp_batch_wishes *w, const struct ddp_batch_job *job,
                       struct ddp_text *out)
{
    const int threads = job->threads > 0 ? job->threads : 1, nodes = w->nodes > 0 ? w->nodes : 1;
    const int each = (per_node(w, job) > 0 ? per_node(w, job) : 1) * threads; /* slots are cores */
    ddp_text_add(out, "#BSUB -J ");
    add_name(job->name, out);
    ddp_text_add(out, "\n#BSUB -n %d\n#BSUB -R \"span[ptile=%d]\"\n", each * nodes, each);
    if (w->gpus_per_node > 0)
        ddp_text_add(out, "#BSUB -gpu \"num=%d:mode=exclusive_process\"\n", w->gpus_per_node);
    if (w->minutes > 0)
        ddp_text_add(out, "#BSUB -W %d:%02d\n", w->minutes / 60, w->minutes % 60);
    if (w->partition)
        ddp_text_add(out, "#BSUB -q %s\n", w->partition);
    if (w->account)
        ddp_text_add(out, "#BSUB -P %s\n", w->account);
    ddp_text_add(out, "#BSUB -o ");
    add_log(job, "%J", out);
    ddp_text_add(out,
                 "#BSUB -r\n"
                 "#BSUB -Q \"75\"\n"
                 "#BSUB -wa \"USR2\"\n"
                 "#BSUB -wt \"%d\"\n",
                 (SAVE_SECONDS + 59) / 60);
}

static void lsf_body(const char *command, struct ddp_text *out)
{
    ddp_text_add(
        out,
        "# USR2 comes %d minutes before the time is over, to the launcher as to all processes of the job: "
        "all\n"
        "# ranks stop after the same step and save, and exit code 75 puts the job back into the queue.\n"
        "trap : USR2 TERM INT\n"
        "%s\n"
        "exit $?\n",
        (SAVE_SECONDS + 59) / 60, command);
}

/* ---- all ------------------------------------------------------------------------------------- */

static const struct system systems[] = {
    {"slurm", "#SBATCH", "sbatch", slurm_header, slurm_body},
    {"lsf", "#BSUB", "bsub", lsf_header, lsf_body},
};

static const struct system *find(const char *name)
{
    for (size_t i = 0; i < DDP_COUNT(systems); i++)
        if (strcmp(systems[i].name, name) == 0)
            return &systems[i];
    return NULL;
}

bool ddp_batch_known(const char *name)
{
    return find(name) != NULL;
}

int ddp_batch_minutes(const char *text, int *minutes, struct ddp_error *err)
{
    int days = 0, n[3] = {0}, fields, end = 0;
    const char *dash = strchr(text, '-');
    bool good = strspn(text, "0123456789:-") == strlen(text) && strlen(text) <= 12;
    if (good && dash) {
        good = !strchr(dash + 1, '-') && sscanf(text, "%d-%n", &days, &end) == 1 && end == dash - text + 1;
        text = dash + 1;
    }
    fields = good ? sscanf(text, "%d:%d:%d%n", &n[0], &n[1], &n[2], &end) : 0;
    if (fields < 3)
        end = 0;
    double seconds = 0;
    if (fields == 1 && !dash && !strchr(text, ':'))
        seconds = 60.0 * n[0];
    else if (fields == 3 && text[end] == '\0' && n[1] < 60 && n[2] < 60)
        seconds = 86400.0 * days + 3600.0 * n[0] + 60.0 * n[1] + n[2];
    if (seconds <= 0 || seconds > 60.0 * MINUTES_MAX)
        return ddp_fail(err, DDP_E_USAGE,
                        "a time is written 90 (minutes), 02:00:00 or 1-12:00:00, at most a year");
    *minutes = (int)((seconds + 59) / 60);
    return 0;
}

static int check_word(const char *option, const char *word, struct ddp_error *err)
{
    if (!word || (*word && strcspn(word, " \t\n\r\"'\\#") == strlen(word)))
        return 0;
    return ddp_fail(err, DDP_E_USAGE, "%s '%s': a name without spaces and quotes is meant", option, word);
}

static int check(const struct ddp_batch_wishes *w, const struct ddp_batch_job *job, struct ddp_error *err)
{
    int rc = check_word("--partition", w->partition, err);
    if (rc == 0)
        rc = check_word("--account", w->account, err);
    for (int i = 0; rc == 0 && i < w->lines.n; i++)
        if (strpbrk(w->lines.w[i], "\n\r"))
            rc = ddp_fail(err, DDP_E_USAGE, "--batch-arg: one line is meant");
    if (rc == 0 && strpbrk(job->log_folder, "\"\n\r%"))
        rc = ddp_fail(err, DDP_E_USAGE, "run.dir = '%s': a job's log cannot be written to such a folder",
                      job->log_folder);
    if (rc != 0)
        return rc;
    const int all_gpus = w->gpus_per_node * (w->nodes > 0 ? w->nodes : 1);
    if (job->ranks > 0 && w->nodes > job->ranks)
        return ddp_fail(err, DDP_E_USAGE, "--nodes %d for -n %d: some would have no rank; give fewer nodes",
                        w->nodes, job->ranks);
    if (job->ranks > 0 && all_gpus > 0 && job->ranks > all_gpus)
        return ddp_fail(err, DDP_E_USAGE,
                        "-n %d ranks on %d GPUs: a rank wants a GPU of its own; give -n %d, more nodes or "
                        "more --gpus-per-node",
                        job->ranks, all_gpus, all_gpus);
    if (w->minutes > 0 && w->minutes * 60 <= 2 * SAVE_SECONDS)
        return ddp_fail(err, DDP_E_USAGE,
                        "--time: %d minutes; the last %d s of a job are for saving, so give it more than %d "
                        "minutes",
                        w->minutes, SAVE_SECONDS, 2 * SAVE_SECONDS / 60);
    return 0;
}

int ddp_batch_script(const struct ddp_batch_wishes *w, const struct ddp_batch_job *job, struct ddp_text *out,
                     struct ddp_error *err)
{
    const struct system *s = find(w->system);
    const int rc = check(w, job, err);
    if (rc != 0)
        return rc;
    ddp_text_add(out, "#!/bin/bash\n");
    s->header(w, job, out);
    for (int i = 0; i < w->lines.n; i++)
        ddp_text_add(out, "%s %s\n", s->mark, w->lines.w[i]);
    ddp_text_add(out, "\ncd ");
    ddp_words_quote(job->folder, out);
    ddp_text_add(out, " || exit 3\nexport DDP_BATCH_SCRIPT=\"$0\" # kept in the run directory\n\n");
    struct ddp_text command;
    ddp_text_init(&command);
    ddp_words_quote(job->program, &command);
    for (int i = 0; i < job->words->n; i++) {
        ddp_text_add(&command, " ");
        ddp_words_quote(job->words->w[i], &command);
    }
    s->body(command.s, out);
    ddp_text_finish(&command);
    return 0;
}

int ddp_batch_submit(const struct ddp_batch_wishes *w, const char *script, struct ddp_error *err)
{
    const char *program = find(w->system)->submit;
    fflush(stdout);
    FILE *f = popen(program, "w");
    if (!f)
        return ddp_fail(err, DDP_E_RESOURCE, "cannot start %s", program);
    fputs(script, f);
    const int status = pclose(f);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return ddp_fail(err, DDP_E_RESOURCE,
                        "there is no %s here: submit on a machine of the cluster, or write the script "
                        "without --submit and take it there",
                        program);
    if (status != 0)
        return ddp_fail(err, DDP_E_RESOURCE, "%s has refused the job (above)", program);
    return 0;
}
