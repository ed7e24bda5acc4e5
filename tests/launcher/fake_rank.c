/* A rank that trains nothing: what it does is told by RANK_MODE and RANK_WHO (the rank that misbehaves), and
 * it leaves a file RANK_DIR/N holding its process number, its CPUs, its arguments and the variable that
 * RANK_ENV names, to prove that it ran.
 *
 * Built with MPI when FAKE_MPI is defined, so that mpirun's own handling of MPI programs takes part. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#ifdef FAKE_MPI
#include <mpi.h>
#endif

static const char *mode, *dir;
static int rank, who;

static bool is(const char *name)
{
    return strcmp(mode, name) == 0;
}

static void write_proof(int argc, char **argv)
{
    char path[512], fresh[520];
    cpu_set_t cpus;
    sigset_t blocked;

    if (!dir)
        return;
    snprintf(path, sizeof path, "%s/%d", dir, rank);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *f = fopen(fresh, "we");
    if (!f)
        exit(99);
    sched_getaffinity(0, sizeof cpus, &cpus);
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    fprintf(f, "%d\n%d\n%d\n", (int)getpid(), CPU_COUNT(&cpus),
            sigismember(&blocked, SIGTERM) || sigismember(&blocked, SIGINT));
    for (int i = 1; i < argc; i++)
        fprintf(f, "%s\n", argv[i]);
    const char *wanted = getenv("RANK_ENV"), *value = wanted ? getenv(wanted) : NULL;
    if (wanted)
        fprintf(f, "%s=%s\n", wanted, value ? value : "(not set)");
    fclose(f);
    rename(fresh, path);
}

static void nap(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

/* Train until asked to stop; give up after a minute so that a broken test leaves nothing for ever. */
static int until_stop(void)
{
    const bool deaf = is("ignore-stop") && (who < 0 || rank == who);
    struct ddp_slow_rank slow;
    for (double end = ddp_now() + 60; ddp_now() < end; nap(0.002))
        if (is("hears") && !ddp_lifeline_stop_requested() && ddp_lifeline_slow(&slow))
            return slow.rank == 7 && strcmp(slow.cause, "it is asleep") == 0 ? 0 : 97;
        else if (!deaf && ddp_lifeline_stop_requested())
            return DDP_EXIT_STOPPED;
    return 98;
}

/* A step in which one rank sleeps and the others wait for it, as the pulse of a training rank has it. */
static void fake_step(int64_t step, double seconds)
{
    ddp_pulse_step(step);
    ddp_pulse_phase(DDP_PHASE_FORWARD);
    if (rank == who)
        nap(seconds);
    ddp_pulse_phase(DDP_PHASE_UPDATE);
    const double begun = ddp_pulse_wait_begin(DDP_WAIT_BUCKET, 2);
#ifdef FAKE_MPI
    MPI_Barrier(MPI_COMM_WORLD);
#endif
    ddp_pulse_wait_end(begun);
    ddp_pulse_step_done();
}

static int pace(void)
{
    ddp_pulse_shards(1);
    for (int step = 1; step <= 40; step++)
        fake_step(step, is("hangs") && step == 9 ? 60 : is("slow") ? 0.05 : 0.001);
    return 0;
}

static int misbehave(void)
{
    if (is("error-config")) {
        ddp_lifeline_error(DDP_EXIT_USAGE, "layer 'fc1': 10 inputs came in, 20 were wanted");
        return DDP_EXIT_USAGE;
    }
    if (is("error-data")) {
        ddp_lifeline_error(DDP_EXIT_RESOURCE, "train-images.gz: truncated after 100 bytes");
        return DDP_EXIT_RESOURCE;
    }
    if (is("error-cut")) {
        ddp_lifeline_cut(DDP_EXIT_RANK, "MPI_Wait failed: connection reset");
        return DDP_EXIT_RANK;
    }
    if (is("error-comm")) {
        ddp_lifeline_error(DDP_EXIT_RANK, "loss is not finite at step 7");
        return DDP_EXIT_RANK;
    }
    if (is("error-gone")) { /* it alone has failed: the others are not told */
        ddp_lifeline_error(DDP_EXIT_RESOURCE, "the disk is full");
        _exit(DDP_EXIT_RESOURCE);
    }
    nap(0.1); /* ranks are heard before they die; earlier deaths are another case */
    if (is("abort"))
        abort();
    if (is("segfault"))
        raise(SIGSEGV);
    if (is("exit"))
        _exit(7);
#ifdef FAKE_MPI
    if (is("mpi-abort"))
        MPI_Abort(MPI_COMM_WORLD, 9);
#endif
    if (is("stop-itself"))
        raise(SIGSTOP);
    return until_stop();
}

/* More than all the pipes on the way hold. */
static void flood(void)
{
    static char line[1024];
    memset(line, 'x', sizeof line - 2);
    line[sizeof line - 2] = '\n';
    for (int i = 0; i < 2000; i++)
        fputs(line, stderr);
}

/* What every rank says, once all RANK_COUNT of them are there. */
static void warn(void)
{
    const int ranks = atoi(getenv("RANK_COUNT"));
    char path[512];
    for (int i = 0; i < ranks; i++)
        do
            snprintf(path, sizeof path, "%s/%d", dir, i);
        while (!ddp_path_exists(path) && (nap(0.002), true));
    nap(0.1); /* what others have said before is over */
    fputs("warning: the driver is old\n", stderr);
}

static int work(void)
{
    if (is("warns")) {
        warn();
        return 0;
    }
    if (is("flood"))
        flood();
    if (is("hangs") || is("slow"))
        return pace();
    if (is("meets"))
        ddp_lifeline_meet();
    if (is("done") || is("slow-output") || is("meets"))
        return 0;
    if (who < 0 || rank == who)
        return misbehave();
    return until_stop();
}

static void tell_end(int status)
{
    if (rank == 0 && (status == 0 || status == DDP_EXIT_STOPPED))
        ddp_lifeline_result("/runs/fake-1", "0123abcd");
    ddp_lifeline_bye(status);
}

int main(int argc, char **argv)
{
    const char *w = getenv("RANK_WHO"), *r = getenv("DDP_RANK");
    if (!r)
        r = getenv("PMIX_RANK");
    if (!r)
        r = getenv("OMPI_COMM_WORLD_RANK");
    mode = getenv("RANK_MODE") ? getenv("RANK_MODE") : "done";
    dir = getenv("RANK_DIR");
    who = w ? atoi(w) : -1;
    rank = r ? atoi(r) : 0;

    if (is("die-early") && (who < 0 || rank == who))
        raise(SIGKILL);
    if (is("exit-early") && rank == who)
        _exit(7);
    if (is("stop-early") && rank == who)
        raise(SIGSTOP);
    ddp_lifeline_join();
#ifdef FAKE_MPI
    MPI_Init(&argc, &argv);
    ddp_lifeline_meet();
#endif
    /* Open MPI and the sanitizers catch these to print a stack; what counts here is the plain death */
    signal(SIGSEGV, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    write_proof(argc, argv);
    printf("out of rank %d\n", rank);
    fflush(stdout);
    fprintf(stderr, "err of rank %d\n", rank);
    const int status = work();
    tell_end(status); /* as a session does: what ends after it says no more */
#ifdef FAKE_MPI
    if (status == 0 || status == DDP_EXIT_STOPPED)
        MPI_Finalize();
#endif
    return status;
}
