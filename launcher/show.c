/* What is shown of a job that is not started, or before it is. */
#include "launcher/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

int ddp_show_reference(const struct ddp_options *opt, struct ddp_error *err)
{
    char *text;
    const int rc =
        ddp_reference(opt->reference == DDP_OPTION_HELP_LAYERS, opt->help_key, opt->markdown, &text, err);
    if (rc != 0)
        return rc;
    fputs(text, stdout);
    free(text);
    return 0;
}

int ddp_show_config(const struct ddp_config *cfg, struct ddp_error *err)
{
    char *text;
    const int rc = ddp_config_dump(cfg, true, &text, err);
    if (rc != 0)
        return rc;
    fputs(text, stdout);
    free(text);
    return 0;
}

void ddp_show_map(const struct ddp_launch_plan *plan, const struct ddp_sites *sites)
{
    char *map = ddp_launch_plan_map(plan, sites->site);
    fputs(map, stdout);
    if (*sites->gpus.note)
        printf("note: %s\n", sites->gpus.note);
    if (*sites->note)
        printf("note: %s\n", sites->note);
    free(map);
}

void ddp_show_command(const struct ddp_starter *starter, struct ddp_job *job)
{
    struct ddp_words argv = {0}, env = {0};
    struct ddp_text t;

    if (starter->folder) {
        snprintf(job->dir, sizeof job->dir, "/dev/shm/%s", job->name);
        snprintf(job->topology, sizeof job->topology, "/dev/shm/%s/topology.xml", job->name);
    }
    for (int i = 0; i < job->env.n; i++)
        ddp_words_add(&env, "%s", job->env.w[i]);
    starter->command(job, &argv, &env);
    ddp_text_init(&t);
    if (starter->direct)
        ddp_text_add(&t,
                     "# to read: ddp-launch starts this with DDP_RANK=0 to %d, and answers on the socket\n",
                     job->ranks - 1);
    else
        ddp_text_add(&t, "# to read: the folder %s and the socket exist only while ddp-launch runs the job\n",
                     job->dir);
    for (int i = 0; i < env.n; i++) {
        ddp_text_add(&t, strchr(env.w[i], '=') ? "export " : "unset ");
        ddp_words_quote(env.w[i], &t);
        ddp_text_add(&t, "\n");
    }
    for (int i = 0; i < argv.n; i++) {
        ddp_text_add(&t, i ? " " : "");
        ddp_words_quote(argv.w[i], &t);
    }
    printf("%s\n", t.s);
    ddp_text_finish(&t);
    ddp_words_finish(&argv);
    ddp_words_finish(&env);
}

static void print_lines(const char *host, const char *lines)
{
    for (int n; *lines; lines += n + (lines[n] == '\n')) {
        n = (int)strcspn(lines, "\n");
        fprintf(stderr, "ddp-launch: %s%s%.*s\n", host, *host ? ": " : "", n, lines);
    }
}

void ddp_show_notes(const struct ddp_launch_plan *plan, const struct ddp_sites *sites)
{
    print_lines("", sites->note);
    print_lines("", sites->gpus.note);
    for (int h = 0; h < plan->nparts; h++)
        if (plan->part[h].placement)
            print_lines(plan->nparts > 1 ? plan->part[h].host : "", plan->part[h].placement->note);
    print_lines("", plan->note);
}
