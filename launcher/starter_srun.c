/* Slurm's srun, inside a job of Slurm. The ranks meet over MPI by PMIx; which rank runs where is a list that
 * srun takes as it is.
 *
 *   --overlap                   the step shares the job's CPUs with others: agents and ranks run side by side
 *   --distribution=arbitrary    hosts of ranks from the file that SLURM_HOSTFILE names
 *   --cpu-bind=none             ranks bind themselves, as planned
 *   --kill-on-bad-exit=0        ranks that end with 75 after a stop are no failure; deaths are ours to judge
 *   --wait=0                    however long the others take then
 *   SLURM_PMIX_FENCE=tree       one kind of fence for all. By default (Slurm 22.05) those with data are of
 *                               another kind than those without, and some ranks leave MPI_Init while others
 *                               are at its first fence; what they send crashes those: 8 of 464 starts on
 *                               3 hosts of a busy machine, and still 2 of 401 with this. So ranks send
 *                               nothing before all are out: the launcher says when (ddp_lifeline_meet()) */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/ask.h"
#include "launcher/starter.h"

static int check(struct ddp_error *err)
{
    char said[2048] = "";
    if (!getenv("SLURM_JOB_ID"))
        return ddp_fail(err, DDP_E_USAGE,
                        "--starter srun starts ranks inside a job of Slurm, and this is none: use sbatch or "
                        "salloc first, or --starter mpirun");
    if (!ddp_ask_program((char *const[]){"srun", "--mpi=list", NULL}, said, sizeof said))
        return ddp_fail(err, DDP_E_RESOURCE, "srun does not run%s%s: is Slurm's folder on PATH?",
                        *said ? ": " : "", said);
    if (!strstr(said, "pmix"))
        return ddp_fail(
            err, DDP_E_RESOURCE,
            "this Slurm has no PMIx, by which ranks of srun meet ('srun --mpi=list' shows what it "
            "has): use --starter mpirun");
    return 0;
}

static void add_common(struct ddp_words *argv)
{
    ddp_words_add_all(argv, (const char *const[]){"srun", "--overlap", "--quiet", "--cpu-bind=none",
                                                  "--kill-on-bad-exit=0", "--wait=0", "--export=ALL", NULL});
}

static void agents(const struct ddp_words *hosts, const struct ddp_words *agent, struct ddp_words *argv,
                   struct ddp_words *env)
{
    (void)env;
    add_common(argv);
    ddp_words_add_all(argv, (const char *const[]){"--mpi=none", "--ntasks-per-node=1", NULL});
    ddp_words_add(argv, "--nodes=%d", hosts->n);
    ddp_words_add(argv, "--ntasks=%d", hosts->n);
    struct ddp_text list;
    ddp_text_init(&list);
    for (int i = 0; i < hosts->n; i++)
        ddp_text_add(&list, "%s%s", i ? "," : "", hosts->w[i]);
    ddp_words_add(argv, "--nodelist=%s", list.s);
    ddp_text_finish(&list);
    for (int i = 0; i < agent->n; i++)
        ddp_words_add(argv, "%s", agent->w[i]);
}

static void command(const struct ddp_job *job, struct ddp_words *argv, struct ddp_words *env)
{
    int hosts = 0;
    for (int i = 0; i < job->nhosts; i++)
        hosts += job->host_list[i].ranks > 0;
    add_common(argv);
    ddp_words_add(argv, "--mpi=pmix");
    ddp_words_add(argv, "--ntasks=%d", job->ranks);
    if (hosts > 0) {
        ddp_words_add(argv, "--distribution=arbitrary");
        /* the job's own: newer versions refuse a number of hosts beside a list */
        ddp_words_add_all(env, (const char *const[]){"SLURM_NNODES", "SLURM_JOB_NUM_NODES", NULL});
        ddp_words_add(env, "SLURM_HOSTFILE=%s/hosts", job->dir);
    } else {
        ddp_words_add_all(argv, (const char *const[]){"--nodes=1", NULL});
        ddp_words_add(argv, "--nodelist=%s", job->host);
        ddp_words_add_all(env, (const char *const[]){"DDP_RANK", "DDP_RANKS", NULL}); /* of a job around us */
    }
    if (!getenv("SLURM_PMIX_FENCE"))
        ddp_words_add(env, "SLURM_PMIX_FENCE=tree");
    ddp_words_add(env, "OMPI_MCA_mpi_yield_when_idle=1");
    ddp_words_add(env, "OMPI_MCA_btl_vader_backing_directory=%s", job->dir);
    if (*job->network)
        ddp_words_add(env, "OMPI_MCA_btl_tcp_if_include=%s", job->network);
    ddp_job_rank_command(job, argv);
}

static bool is_own_line(const char *line)
{
    return strncmp(line, "srun: ", 6) == 0 || strncmp(line, "slurmstepd: ", 12) == 0;
}

const struct ddp_starter ddp_starter_srun = {
    .name = "srun",
    .folder = true,
    .check = check,
    .command = command,
    .agents = agents,
    .is_own_line = is_own_line,
    .kill_after_ms = 1000,
};
