/* The table of endings: who is named, and with which exit code. */
#include "launcher/verdict.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "launcher/words.h"

const char *ddp_signal_name(int sig)
{
    switch (sig) {
    case SIGINT:
        return "SIGINT";
    case SIGTERM:
        return "SIGTERM";
    case SIGHUP:
        return "SIGHUP";
    case SIGUSR1:
        return "SIGUSR1";
    case SIGUSR2:
        return "SIGUSR2";
    default:
        return "a signal";
    }
}

static void note(struct ddp_outcome *o, const char *host, int rank, const char *reason)
{
    o->failure.known = true;
    o->failure.error = o->failure.cut = o->failure.lost = false;
    o->failure.rank = rank;
    o->failure.status = 0;
    snprintf(o->failure.host, sizeof o->failure.host, "%s", host);
    snprintf(o->failure.reason, sizeof o->failure.reason, "%s", reason);
}

void ddp_outcome_fail(struct ddp_outcome *o, const char *host, int rank, bool error, int status,
                      const char *reason)
{
    const bool only_ended = !o->failure.error && !o->failure.lost;
    if (o->failure.known && !o->failure.cut && (!only_ended || !error))
        return;
    note(o, host, rank, reason);
    o->failure.error = error;
    o->failure.status = status;
}

void ddp_outcome_cut(struct ddp_outcome *o, const char *host, int rank, int status, const char *reason)
{
    if (o->failure.known)
        return;
    note(o, host, rank, reason);
    o->failure.error = o->failure.cut = true;
    o->failure.status = status;
}

void ddp_outcome_lose(struct ddp_outcome *o, const char *host, const char *reason)
{
    if (o->failure.known && !o->failure.cut && (o->failure.error || o->failure.lost))
        return;
    note(o, host, -1, reason);
    o->failure.lost = true;
}

/* Ranks agree on the first error and pass it on as "rank 3: text": name that one. */
static const char *first_speaker(const char *reason, int *rank)
{
    int named, used = 0;
    if (sscanf(reason, "rank %d: %n", &named, &used) == 1 && used > 0) {
        *rank = named;
        return reason + used;
    }
    return reason;
}

static int say_failure(const struct ddp_outcome *o, const char *host, struct ddp_text *say)
{
    int rank = o->failure.rank;
    char who[64] = "a rank";

    const char *launcher = host;
    if (*o->failure.host)
        host = o->failure.host;
    if (o->failure.lost) {
        ddp_text_add(say, "ddp-launch: host %s %s\n", host, o->failure.reason);
        return DDP_EXIT_RANK;
    }
    /* agents of other hosts have said what of memory there is */
    const bool own = strcmp(host, launcher) == 0;
    const char *reason = o->failure.error ? first_speaker(o->failure.reason, &rank) : o->failure.reason;
    if (rank >= 0)
        snprintf(who, sizeof who, "rank %d", rank);
    if (rank >= 0 && rank < o->ranks && o->host_of)
        host = o->host_of[rank];
    if (rank == DDP_OUTCOME_ALL)
        ddp_text_add(say, "ddp-launch: %s\n", reason);
    else
        ddp_text_add(say, "ddp-launch: %s on %s %s%s%s\n", who, host, o->failure.error ? "failed: " : "",
                     reason, o->failure.error || !own ? "" : o->memory);
    return o->failure.status == DDP_EXIT_USAGE || o->failure.status == DDP_EXIT_RESOURCE ? o->failure.status
                                                                                         : DDP_EXIT_RANK;
}

/* Nobody but the starter's program knows: it died itself, or ranks ended before they could speak. */
static int say_starter(const struct ddp_outcome *o, const char *host, const char *starter,
                       const char *starter_text, struct ddp_text *say)
{
    const int status = o->starter_status;
    const bool several = o->host_of != NULL;

    if (WIFSIGNALED(status) && !o->starter_killed) {
        ddp_text_add(say, "ddp-launch: %s on %s was killed by signal %d (%s)\n", starter, host,
                     WTERMSIG(status), strsignal(WTERMSIG(status)));
        return DDP_EXIT_RANK;
    }
    if (o->joined < o->ranks)
        ddp_text_add(say, "ddp-launch: %d of %d ranks%s%s reported to ddp-launch%s", o->joined, o->ranks,
                     several ? "" : " on ", several ? "" : host,
                     o->joined == 0 ? " (a --program must be one on the ddp library)" : "");
    else
        ddp_text_add(say, "ddp-launch: %d of %d ranks%s%s ended cleanly", o->byes, o->ranks,
                     several ? "" : " on ", several ? "" : host);
    if (WIFEXITED(status) && *starter)
        ddp_text_add(say, "; %s ended with exit status %d", starter, WEXITSTATUS(status));
    ddp_text_add(say, "%s\n%s", *starter_text ? " and said:" : "", starter_text);
    return DDP_EXIT_RANK;
}

/* A daemon of it was lost with its host when all ranks had ended: nothing of the result is missing. */
static int say_done(const struct ddp_outcome *o, const char *starter, const char *starter_text,
                    struct ddp_text *say)
{
    if (o->starter_status != 0 && !o->starter_killed)
        ddp_text_add(say, "ddp-launch: warning: %s failed when all ranks had ended cleanly%s\n%s", starter,
                     *starter_text ? ", and said:" : "", starter_text);
    return DDP_EXIT_OK;
}

static int say_late(const struct ddp_outcome *o, struct ddp_text *say)
{
    ddp_text_add(say,
                 "ddp-launch: %s did not stop within %g s of %s (launch.grace) and had to be killed; the "
                 "last complete checkpoint is what there is\n",
                 o->late, o->grace, ddp_signal_name(o->stop_signal));
    return DDP_EXIT_RANK;
}

static int say_stopped(const struct ddp_outcome *o, struct ddp_text *say)
{
    ddp_text_add(say, "ddp-launch: stopped%s%s", o->stop_signal ? " by " : "",
                 o->stop_signal ? ddp_signal_name(o->stop_signal) : "");
    if (o->evaluates) {
        ddp_text_add(say, " before the evaluation was over\n");
        return DDP_EXIT_STOPPED;
    }
    ddp_text_add(say, "%s%s", *o->saved ? "; state saved in " : " after saving", o->saved);
    if (*o->saved && o->again) {
        ddp_text_add(say, "\nddp-launch: to go on: %s", o->again);
        ddp_words_quote(o->saved, say);
        ddp_text_add(say, "\n");
    } else {
        ddp_text_add(say, "; --resume goes on from there\n");
    }
    return DDP_EXIT_STOPPED;
}

int ddp_verdict(const struct ddp_outcome *o, const char *host, const char *starter, const char *starter_text,
                const char *tail, struct ddp_text *say)
{
    int code;

    if (o->killed) {
        ddp_text_add(
            say,
            "ddp-launch: ended at once by a second signal; the last complete checkpoint is what there is\n");
        return DDP_EXIT_KILLED;
    }
    if (*o->late) {
        code = say_late(o, say);
    } else if (o->failure.known) {
        code = say_failure(o, host, say);
    } else if (o->byes < o->ranks ||
               (!o->host_of && o->starter_status != 0 && !o->starter_killed && o->stopped == 0)) {
        code = say_starter(o, host, starter, starter_text, say);
    } else if (o->stopped > 0) {
        return say_stopped(o, say);
    } else {
        return say_done(o, starter, starter_text, say);
    }
    if (*tail && !o->failure.error)
        ddp_text_add(say, "ddp-launch: last lines of the ranks:\n%s%s", tail,
                     tail[strlen(tail) - 1] == '\n' ? "" : "\n");
    return code;
}
