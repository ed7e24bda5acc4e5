/* Open MPI's mpirun, on one host and between hosts (by ssh, or by the scheduler that it finds itself in).
 *
 * On one host the options were measured (Open MPI 4.1.4, 2 cores): 8 ranks meet after 172 ms instead of 506,
 * and everything on disk lies in the job's folder.
 *
 *   pml ob1, btl self,vader    no probing for InfiniBand and PSM: 200 ms
 *   hwloc_base_topo_file       mpirun need not look at the machine again: 40 ms
 *   --host localhost:N         slots for all ranks, so no --oversubscribe
 *   mpi_yield_when_idle        slots enough look like idle cores to MPI, and it spins
 *   --bind-to none             ranks bind themselves, as planned, inside our own mask
 *   odls_base_sigkill_timeout  from mpirun's TERM to its KILL; 0 blames innocent ranks
 *   *_directory, *_base        shared memory files go to the private folder
 *
 * Between hosts the network is MPI's to choose (UCX, InfiniBand, TCP), but for the interfaces that preflight
 * has found. Ranks start as "ddp-launch --rank", which gives them their environment (rank_env.h).
 *
 * orte_abort_on_non_zero_status is off: when ranks end with 75 after a stop, mpirun would take the first
 * one's end for a failure and kill those that are still in MPI_Finalize (seen in 2 of 4 runs). The price is
 * that it waits for ever for ranks that were killed, and ends with 0 whatever they did; both are our business
 * anyway (agent.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/agent_main.h"
#include "launcher/ask.h"
#include "launcher/rank_env.h"
#include "launcher/ssh.h"
#include "launcher/starter.h"

enum { BLOCK_RULE = 74 };

/* ---- is it there? ---------------------------------------------------------------------------- */

static int check(struct ddp_error *err)
{
    char version[512] = "";
    if (!ddp_ask_program((char *const[]){"mpirun", "--version", NULL}, version, sizeof version))
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

static void add_root(struct ddp_words *env) /* containers and CI */
{
    if (geteuid() == 0)
        ddp_words_add_all(
            env, (const char *const[]){"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                                       "PRTE_ALLOW_RUN_AS_ROOT=1", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1", NULL});
}

static void add_folders(const struct ddp_job *job, struct ddp_words *argv)
{
    static const char *const folders[] = {"orte_tmpdir_base", "btl_vader_backing_directory",
                                          "osc_sm_backing_directory", "shmem_mmap_backing_file_base_dir"};
    for (size_t i = 0; i < DDP_COUNT(folders); i++)
        add_mca(argv, folders[i], job->dir);
}

static void add_count(int ranks, struct ddp_words *argv)
{
    ddp_words_add(argv, "-np");
    ddp_words_add(argv, "%d", ranks);
    ddp_words_add_all(argv, (const char *const[]){"--bind-to", "none", NULL});
}

static void add_here(const struct ddp_job *job, struct ddp_words *argv)
{
    static const char *const settings[][2] = {{"pml", "ob1"}, {"btl", "self,vader"}, {"osc", "sm"}};
    /* inside an allocation mpirun would ask Slurm to start its daemons; "plm isolated" would say the same,
     * but Open MPI 5 does not start with it */
    static const char *const not_slurm[][2] = {
        {"ras", "^slurm,gridengine"}, {"plm", "^slurm"}, {"schizo", "^slurm"}};

    ddp_words_add(argv, "--host");
    ddp_words_add(argv, "localhost:%d", job->ranks);
    add_count(job->ranks, argv);
    for (size_t i = 0; i < DDP_COUNT(settings); i++)
        add_mca(argv, settings[i][0], settings[i][1]);
    if (job->topology[0])
        add_mca(argv, "hwloc_base_topo_file", job->topology);
    if (getenv("SLURM_JOB_ID"))
        for (size_t i = 0; i < DDP_COUNT(not_slurm); i++)
            add_mca(argv, not_slurm[i][0], not_slurm[i][1]);
}

/* A batch system's warning goes to all processes of a job. Ranks hear of it from their agents, and ssh
 * must not die of it. The user's own agent counts, and ours needs a name that mpirun does not take apart. */
static void add_deafness(const char *launcher, struct ddp_words *argv)
{
    add_mca(argv, "ess_base_forward_signals", "none");
    if (getenv("OMPI_MCA_plm_rsh_agent") || getenv("PRTE_MCA_plm_ssh_agent") || strpbrk(launcher, " :,"))
        return;
    char agent[PATH_MAX + 16];
    snprintf(agent, sizeof agent, "%s " DDP_SSH_OPTION, launcher);
    add_mca(argv, "plm_rsh_agent", agent);
}

/* A host that vanishes while it is called is seen by nobody but ssh on this side and its daemon on the
 * other: both would wait for minutes. ssh names the host at its usual level of talk. What the user says of
 * ssh counts. */
static void add_alertness(struct ddp_words *argv)
{
    static const char *const daemon[][2] = {
        {"oob_tcp_keepalive_time", "5"}, {"oob_tcp_keepalive_intvl", "2"}, {"oob_tcp_keepalive_probes", "3"}};
    for (size_t i = 0; i < DDP_COUNT(daemon); i++)
        add_mca(argv, daemon[i][0], daemon[i][1]);
    if (!getenv("OMPI_MCA_plm_rsh_args") && !getenv("OMPI_MCA_plm_rsh_agent") &&
        !getenv("PRTE_MCA_plm_ssh_args") && !getenv("PRTE_MCA_plm_ssh_agent"))
        add_mca(argv, "plm_rsh_args",
                "-o LogLevel=INFO -o ConnectTimeout=30 -o ServerAliveInterval=2 -o ServerAliveCountMax=4");
}

/* What remote programs need to be found and loaded; the rest comes by file. */
static void add_paths(struct ddp_words *argv)
{
    ddp_words_add_all(argv, (const char *const[]){"-x", "PATH", NULL});
    if (getenv("LD_LIBRARY_PATH"))
        ddp_words_add_all(argv, (const char *const[]){"-x", "LD_LIBRARY_PATH", NULL});
}

/* Inside a job of Slurm its daemons are a step of srun, which would wait until that of the agents is over. */
static void add_overlap(struct ddp_words *argv)
{
    if (getenv("SLURM_JOB_ID"))
        add_mca(argv, "plm_slurm_args", "--overlap");
}

static void add_hosts(const struct ddp_job *job, struct ddp_words *argv)
{
    struct ddp_text list;
    ddp_text_init(&list);
    for (int i = 0; i < job->nhosts; i++)
        if (job->host_list[i].ranks > 0)
            ddp_text_add(&list, "%s%s:%d", list.len ? "," : "", job->host_list[i].name,
                         job->host_list[i].ranks);
    ddp_words_add(argv, "--host");
    ddp_words_add(argv, "%s", list.s);
    ddp_text_finish(&list);
    add_count(job->ranks, argv);
    ddp_words_add(argv, "--map-by");
    ddp_words_add(argv, "%s:OVERSUBSCRIBE", job->by_node ? "node" : "slot");
    if (*job->network) {
        add_mca(argv, "btl_tcp_if_include", job->network);
        add_mca(argv, "oob_tcp_if_include", job->network);
    }
    add_deafness(job->launcher, argv);
    add_overlap(argv);
    add_paths(argv);
}

static void command(const struct ddp_job *job, struct ddp_words *argv, struct ddp_words *env)
{
    static const char *const settings[][2] = {{"mpi_yield_when_idle", "1"},
                                              {"odls_base_sigkill_timeout", "1"},
                                              {"orte_abort_on_non_zero_status", "0"}};
    ddp_words_add(argv, "mpirun");
    if (job->nhosts > 0)
        add_hosts(job, argv);
    else
        add_here(job, argv);
    for (size_t i = 0; i < DDP_COUNT(settings); i++)
        add_mca(argv, settings[i][0], settings[i][1]);
    add_folders(job, argv);
    ddp_job_rank_command(job, argv);
    ddp_words_add_all(env, (const char *const[]){"DDP_RANK", "DDP_RANKS", NULL}); /* of a job around us */
    add_root(env);
}

static void agents(const struct ddp_words *hosts, const struct ddp_words *agent, struct ddp_words *argv,
                   struct ddp_words *env)
{
    struct ddp_text list;
    ddp_text_init(&list);
    for (int i = 0; i < hosts->n; i++)
        ddp_text_add(&list, "%s%s", i ? "," : "", hosts->w[i]);
    ddp_words_add_all(argv, (const char *const[]){"mpirun", "--host", NULL});
    ddp_words_add(argv, "%s", list.s);
    ddp_text_finish(&list);
    add_count(hosts->n, argv);
    ddp_words_add_all(argv, (const char *const[]){"--map-by", "ppr:1:node", NULL});
    ddp_words_add_all(argv, (const char *const[]){"-x", DDP_AGENT_TOKEN, NULL});
    add_deafness(agent->w[0], argv);
    add_alertness(argv);
    add_overlap(argv);
    add_paths(argv);
    for (int i = 0; i < agent->n; i++)
        ddp_words_add(argv, "%s", agent->w[i]);
    add_root(env);
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
    static const char *const words[] = {"mpirun",    "Open MPI", "ORTE", "PRTE",       "orted",
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
           strstr(line, " ORTE_ERROR_LOG: ") || strstr(line, " plm:rsh: ") || strstr(line, " plm:ssh: ") ||
           strncmp(line, "client_loop: ", 13) == 0 || strstr(line, ": Forwarding signal ");
}

const struct ddp_starter ddp_starter_mpirun = {
    .name = "mpirun",
    .folder = true,
    .forks = true,
    .check = check,
    .command = command,
    .agents = agents,
    .is_own_block = is_own_block,
    .is_block_line = is_block_line,
    .is_own_line = is_own_line,
    .kill_after_ms = 100,
};
