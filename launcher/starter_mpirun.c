/* Open MPI's mpirun on one node. The options were measured (Open MPI 4.1.4, 2 cores): 8 ranks meet after 172
 * ms instead of 506, and everything on disk lies in the job's folder.
 *
 *   pml ob1, btl self,vader    no probing for InfiniBand and PSM: 200 ms
 *   hwloc_base_topo_file       mpirun need not look at the machine again: 40 ms
 *   --host localhost:N         slots for all ranks, so no --oversubscribe
 *   mpi_yield_when_idle        slots enough look like idle cores to MPI, and it spins
 *   --bind-to none             ranks bind themselves, as planned, inside our own mask
 *   odls_base_sigkill_timeout  from mpirun's TERM to its KILL; 0 blames innocent ranks
 *   *_directory, *_base        shared memory files go to the private folder
 *
 * orte_abort_on_non_zero_status is off: when ranks end with 75 after a stop, mpirun would take the first
 * one's end for a failure and kill those that are still in MPI_Finalize (seen in 2 of 4 runs). The price is
 * that it waits for ever for ranks that were killed, and ends with 0 whatever they did; both are our business
 * anyway (agent.c). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/starter.h"

enum { BLOCK_RULE = 74, VERSION_LIMIT_MS = 5000 };

/* ---- is it there? ---------------------------------------------------------------------------- */

/* The first bytes that `mpirun --version` prints; false when it does not run. */
static bool mpirun_version(char *out, size_t size)
{
    int fds[2];
    size_t n = 0;
    int status = -1;

    if (pipe2(fds, O_CLOEXEC) != 0)
        return false;
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        execlp("mpirun", "mpirun", "--version", (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    const double until = ddp_now() + VERSION_LIMIT_MS / 1e3;
    while (pid > 0 && n + 1 < size) {
        struct pollfd p = {.fd = fds[0], .events = POLLIN};
        const int left = (int)((until - ddp_now()) * 1e3);
        if (left <= 0 || poll(&p, 1, left) <= 0) {
            kill(pid, SIGKILL);
            break;
        }
        const ssize_t r = read(fds[0], out + n, size - 1 - n);
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    out[n] = '\0';
    close(fds[0]);
    if (pid > 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int check(struct ddp_error *err)
{
    char version[512] = "";
    if (!mpirun_version(version, sizeof version))
        return ddp_fail(err, DDP_E_RESOURCE,
                        "mpirun does not run%s%s. Install Open MPI (Debian, Ubuntu: apt install openmpi-bin) "
                        "or put it on PATH",
                        *version ? ": " : "", version);
    if (!strstr(version, "Open MPI") && !strstr(version, "OpenRTE"))
        return ddp_fail(err, DDP_E_RESOURCE,
                        "the mpirun on PATH is not Open MPI's but says '%.*s'; put Open MPI's first on PATH",
                        (int)strcspn(version, "\n"), version);
    return 0;
}

/* ---- the command ----------------------------------------------------------------------------- */

static void add_mca(struct ddp_words *argv, const char *name, const char *value)
{
    ddp_words_add(argv, "--mca");
    ddp_words_add(argv, "%s", name);
    ddp_words_add(argv, "%s", value);
}

static void command(const struct ddp_job *job, struct ddp_words *argv, struct ddp_words *env)
{
    static const char *const settings[][2] = {
        {"pml", "ob1"},
        {"btl", "self,vader"},
        {"osc", "sm"},
        {"mpi_yield_when_idle", "1"},
        {"odls_base_sigkill_timeout", "1"},
        {"orte_abort_on_non_zero_status", "0"},
    };
    static const char *const folders[] = {"orte_tmpdir_base", "btl_vader_backing_directory",
                                          "osc_sm_backing_directory", "shmem_mmap_backing_file_base_dir"};
    /* inside an allocation mpirun would ask Slurm to start its daemons; "plm isolated" would say the same,
     * but Open MPI 5 does not start with it */
    static const char *const not_slurm[][2] = {
        {"ras", "^slurm,gridengine"}, {"plm", "^slurm"}, {"schizo", "^slurm"}};

    ddp_words_add(argv, "mpirun");
    ddp_words_add(argv, "--host");
    ddp_words_add(argv, "localhost:%d", job->ranks);
    ddp_words_add(argv, "-np");
    ddp_words_add(argv, "%d", job->ranks);
    ddp_words_add_all(argv, (const char *const[]){"--bind-to", "none", NULL});
    for (size_t i = 0; i < DDP_COUNT(settings); i++)
        add_mca(argv, settings[i][0], settings[i][1]);
    for (size_t i = 0; i < DDP_COUNT(folders); i++)
        add_mca(argv, folders[i], job->dir);
    if (job->topology[0])
        add_mca(argv, "hwloc_base_topo_file", job->topology);
    if (getenv("SLURM_JOB_ID"))
        for (size_t i = 0; i < DDP_COUNT(not_slurm); i++)
            add_mca(argv, not_slurm[i][0], not_slurm[i][1]);
    ddp_words_add(argv, "%s", job->program);
    for (int i = 0; i < job->args.n; i++)
        ddp_words_add(argv, "%s", job->args.w[i]);

    ddp_words_add_all(env, (const char *const[]){"DDP_RANK", "DDP_RANKS", NULL}); /* of a job around us */
    if (geteuid() == 0) {                                                         /* containers and CI */
        ddp_words_add(env, "OMPI_ALLOW_RUN_AS_ROOT=1");
        ddp_words_add(env, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1");
    }
}

/* ---- what mpirun says itself ----------------------------------------------------------------- */

/* mpirun frames its messages with rules of 74 dashes. */
static bool is_block_line(const char *line, size_t n)
{
    if (n != BLOCK_RULE)
        return false;
    for (size_t i = 0; i < n; i++)
        if (line[i] != '-')
            return false;
    return true;
}

/* A rank may draw the same rule: only blocks that speak of these are mpirun's. */
static bool is_own_block(const char *text)
{
    static const char *const words[] = {"mpirun",    "Open MPI", "ORTE", "orted",
                                        "MPI_ABORT", "PMIX",     "PMIx", "Primary job"};
    for (size_t i = 0; i < DDP_COUNT(words); i++)
        if (strstr(text, words[i]))
            return true;
    return false;
}

static bool is_own_line(const char *line)
{
    return strncmp(line, "mpirun: ", 8) == 0 || strstr(line, "orte_base_help_aggregate") ||
           strstr(line, "has sent help message") || strstr(line, "have sent help message") ||
           strstr(line, " ORTE_ERROR_LOG: ");
}

const struct ddp_starter ddp_starter_mpirun = {
    .name = "mpirun",
    .folder = true,
    .check = check,
    .command = command,
    .is_own_block = is_own_block,
    .is_block_line = is_block_line,
    .is_own_line = is_own_line,
    .kill_after_ms = 100,
};
