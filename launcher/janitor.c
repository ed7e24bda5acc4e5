/* The process that cleans up after a launcher that was killed. */
#include "launcher/janitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/tagged.h"
#include "record/record.h"

enum { DISMISSED = 'q', LINGERS = 'l' };
static const double LATE_S = 3; /* for what was on its way to this host when the job ended */

/* Leave the launcher's session and hold none of the user's descriptors: who reads our output
 * must see it end. */
static void detach(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    const int null = open("/dev/null", O_RDWR);

    setsid();
    prctl(PR_SET_NAME, "ddp-janitor");
    for (int s = 1; s < 32; s++)
        sigaction(s, &ignore, NULL);
    for (int fd = 0; fd <= 2 && null >= 0; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
}

static void close_others(int life)
{
    const long limit = sysconf(_SC_OPEN_MAX);
    for (int fd = 3; fd < (limit > 0 && limit < 1024 ? limit : 1024); fd++)
        if (fd != life)
            close(fd);
}

static void close_record(const struct ddp_job_record *record, int patience)
{
    if (!record || record->pid == 0)
        return;
    sleep((unsigned)patience);
    ddp_run_close_of(record->run, record->pid,
                     "ddp-launch ended without a word: it was killed, or its host was lost");
}

static void __attribute__((noreturn)) watch(const struct ddp_job *job, int patience, int life)
{
    char byte;
    ssize_t n;

    detach();
    close_others(life);
    while ((n = read(life, &byte, 1)) < 0 && errno == EINTR)
        ;
    if (n == 1 && byte == DISMISSED)
        _exit(0);
    const double until = n == 1 || patience > 0 ? ddp_now() + LATE_S : 0;

    /* mpirun and the ranks die of PR_SET_PDEATHSIG at the same moment; this is for those who were just being
     * started */
    for (int quiet = 0, tries = 0; (quiet < 3 && tries < 200) || ddp_now() < until; tries++) {
        quiet = ddp_tagged_kill(job->name, false) == 0 ? quiet + 1 : 0;
        ddp_job_remove(job);
        usleep(until > 0 ? 100000 : 5000);
    }
    ddp_job_remove(job);
    if (n != 1)
        close_record(job->record, patience);
    _exit(0);
}

/* Without it there is no word of records. */
static struct ddp_job_record *share_record(void)
{
    void *at =
        mmap(NULL, sizeof(struct ddp_job_record), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void let_go(struct ddp_janitor *j)
{
    if (j->job->record)
        munmap(j->job->record, sizeof *j->job->record);
    j->job->record = NULL;
    close(j->life);
}

int ddp_janitor_start(struct ddp_job *job, int patience, struct ddp_janitor *out, struct ddp_error *err)
{
    int life[2];
    sigset_t all, old;

    if (pipe2(life, O_CLOEXEC) != 0)
        return ddp_fail(err, DDP_E_RESOURCE, "no pipe for the janitor: %s", strerror(errno));
    /* a Ctrl-C in the moment before it has left our process group is not for it */
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &old);
    job->record = share_record();
    const pid_t pid = fork();
    if (pid == 0) {
        close(life[1]);
        watch(job, patience, life[0]);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    *out = (struct ddp_janitor){.job = job, .pid = pid, .life = life[1]};
    if (pid < 0) {
        const int rc = ddp_fail(err, DDP_E_RESOURCE, "no process for the janitor: %s", strerror(errno));
        close(life[0]);
        let_go(out);
        return rc;
    }
    close(life[0]);
    return 0;
}

static void say(struct ddp_janitor *j, char byte)
{
    struct sigaction old, ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, &old); /* somebody may have killed it */
    const ssize_t sent = write(j->life, &byte, 1);
    (void)sent;
    sigaction(SIGPIPE, &old, NULL);
    let_go(j);
}

void ddp_janitor_dismiss(struct ddp_janitor *j)
{
    say(j, DISMISSED);
    while (waitpid(j->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

void ddp_janitor_leave(struct ddp_janitor *j)
{
    let_go(j);
}

void ddp_janitor_linger(struct ddp_janitor *j)
{
    say(j, LINGERS);
}
