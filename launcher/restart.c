/* What is left after a failure, and how to go on with it. */
#include "launcher/restart.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "launcher/crew.h"
#include "launcher/hosts_find.h"

static const double TRY_S = 10; /* for a host that was lost to report again */

bool ddp_restart_helps(int exit_code, const struct ddp_ending *ending)
{
    return exit_code == DDP_EXIT_RANK && !ending->asked;
}

/* Whether a run has a checkpoint that is complete: those being written have another name. */
static bool has_checkpoint(const char *run)
{
    char path[PATH_MAX];
    bool found = false;
    if (!*run || snprintf(path, sizeof path, "%s/checkpoints", run) >= (int)sizeof path)
        return false;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        found |= strncmp(e->d_name, "step-", 5) == 0 && !strchr(e->d_name, '.');
    if (d)
        closedir(d);
    return found;
}

static bool contains(const struct ddp_words *words, const char *word)
{
    for (int i = 0; i < words->n; i++)
        if (strcmp(words->w[i], word) == 0)
            return true;
    return false;
}

/* A host that was repaired takes part again. */
static void try_lost(struct ddp_restart *r, const struct ddp_starter *starter)
{
    ddp_words_finish(&r->without);
    for (int i = 0; i < r->lost.n; i++) {
        struct ddp_words one = {0};
        struct ddp_crew crew = {0};
        ddp_words_add(&one, "%s", r->lost.w[i]);
        if (!starter->agents || ddp_crew_call(starter, &one, TRY_S, &crew, NULL) != 0)
            ddp_words_add(&r->without, "%s", r->lost.w[i]);
        else
            ddp_crew_dismiss(&crew);
        ddp_words_finish(&one);
    }
}

/* Slots of the hosts that are left; 0: the list does not say, and what they have decides. */
static int count_slots(const struct ddp_options *opt)
{
    extern char **environ;
    struct ddp_hosts hosts = {0};
    int slots = 0;
    if (ddp_hosts_find(opt, (const char *const *)environ, &hosts, NULL) != 0)
        return 0;
    for (int i = 0; i < hosts.n; i++) {
        if (contains(&opt->without, hosts.host[i].name))
            continue;
        if (hosts.host[i].slots == 0) {
            slots = 0;
            break;
        }
        slots += hosts.host[i].slots;
    }
    ddp_hosts_finish(&hosts);
    return slots;
}

void ddp_restart_prepare(struct ddp_restart *r, const struct ddp_ending *ending, struct ddp_options *opt,
                         struct ddp_text *say)
{
    if (*ending->host && !contains(&r->lost, ending->host))
        ddp_words_add(&r->lost, "%s", ending->host);
    try_lost(r, ddp_starter_choose(opt->starter, true));
    opt->without = r->without;
    if (has_checkpoint(ending->run))
        snprintf(r->run, sizeof r->run, "%s", ending->run);
    if (*r->run)
        opt->resume = r->run;
    const int slots = r->without.n > 0 ? count_slots(opt) : 0;
    if (slots > 0 && slots < opt->ranks)
        opt->ranks = slots;
    ddp_text_add(say, "going on from %s%s", *r->run ? "the last checkpoint of " : "the beginning", r->run);
    for (int i = 0; i < r->without.n; i++)
        ddp_text_add(say, "%s%s", i ? ", " : ", without ", r->without.w[i]);
}

void ddp_restart_finish(struct ddp_restart *r)
{
    ddp_words_finish(&r->lost);
    ddp_words_finish(&r->without);
}
