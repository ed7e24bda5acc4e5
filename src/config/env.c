/* The environment variables that mean something; a DDP_ variable that does not is a slip worth an error. */
#include "config/parts.h"

#include <string.h>
#include <unistd.h>

const struct ddp_env_var ddp_env_vars[] = {
    {"DDP_DATA_DIR", "Folder that holds the data sets, where data.root is not given", false},
    {"DDP_CONFIGS_DIR", "Folder with model/, data/ and optim/, searched after those beside the config",
     false},
    {"DDP_ISA", "Instruction set of the CPU kernels: scalar, avx2, avx512 or neon (same bits from each)",
     false},
    {"DDP_CUDA_PLUGIN", "File of the CUDA plug-in, where it is not libddp_cuda.so beside the library", false},
    {"DDP_MPI_PLUGIN", "File of the MPI plug-in, where it is not libddp_mpi.so beside the library", false},
    {"DDP_CORES_DIR",
     "Folder on which jobs of one machine lock the cores that they hold, where it is not /dev/shm", false},
    {"DDP_COMM_NODE", "Ranks with different names here share no memory, as if they were on several hosts",
     true},
    {"DDP_RANK", "Number of this rank, where ddp-launch starts the ranks itself", true},
    {"DDP_RANKS", "How many ranks there are, then", true},
    {"DDP_LIFELINE", "Name of the socket on which ddp-launch supervises its ranks", true},
    {"DDP_PLACE", "Where the ranks run: the placement plan", true},
    {"DDP_MAP", "The placement as text, for run.json", true},
    {"DDP_NETWORK", "The network between the job's hosts, for run.json", true},
    {"DDP_COMMAND", "The user's command line, for run.json", true},
    {"DDP_PROGRAM", "The file that --program came to, for run.json; empty: none", true},
    {"DDP_CONFIG", "File with the resolved config, as the launcher read it", true},
    {"DDP_CONFIG_GIVEN", "CONFIG and overrides that it came from", true},
    {"DDP_BENCH_RANK", "What a rank that ddp-bench has started measures", true},
    {"DDP_BATCH_SCRIPT", "Job script that ddp-launch runs in: a copy is kept in the run directory", false},
    {"DDP_BIN", "Folder of the programs, where the job scripts in slurm/ are to find them", false},
    {"DDP_STARTED", "When the job began, on the monotonic clock", true},
    {"DDP_STARTUP", "What the launcher's part of the start took, microseconds a phase", true},
    {"DDP_NOHUP", "1 where the launcher was started with SIGHUP ignored: ranks ignore it, too", true},
    {"DDP_TTY", "Columns of the launcher's terminal and its path, \"120:/dev/pts/3\", where it has one",
     true},
    {"DDP_TEST_FAULT", "Tests: let the N-th write fail, N:ERRNO[:SUBSTRING]", true},
    {"DDP_TEST_DELAY", "Tests: a rank sleeps in a phase of some steps, RANK:PHASE:FROM-TO:SECONDS", true},
    {"DDP_EMU_*", "Tests: the emulated GPU (tests/emulator/standin.h)", true},
    {NULL, NULL, false},
};

static bool is_named(const char *pattern, const char *name)
{
    const size_t n = strlen(pattern);
    return pattern[n - 1] == '*' ? strncmp(pattern, name, n - 1) == 0 : strcmp(pattern, name) == 0;
}

bool ddp_env_is_recorded(const char *entry)
{
    static const char *const prefixes[] = {"NCCL_", "OMP_",    "OMPI_MCA_", "UCX_",   "FI_",   "PSM",
                                           "CUDA_", "NVIDIA_", "CUBLAS",    "CUDNN_", "GOMP_", "MALLOC_"};
    const size_t n = strcspn(entry, "=");
    for (size_t i = 0; i < DDP_COUNT(prefixes); i++)
        if (strncmp(entry, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    for (const struct ddp_env_var *v = ddp_env_vars; v->name; v++)
        if (!v->internal && strlen(v->name) == n && strncmp(entry, v->name, n) == 0)
            return true;
    return false;
}

void ddp_env_check(struct ddp_error *err)
{
    const char *users[DDP_COUNT(ddp_env_vars)] = {0};
    int n = 0;
    for (const struct ddp_env_var *v = ddp_env_vars; v->name; v++)
        if (!v->internal)
            users[n++] = v->name;
    for (char **e = environ; e && *e; e++) {
        if (strncmp(*e, "DDP_", 4) != 0)
            continue;
        char name[128] = "";
        size_t len = strcspn(*e, "=");
        memcpy(name, *e, len < sizeof name ? len : sizeof name - 1);
        bool known = false;
        for (const struct ddp_env_var *v = ddp_env_vars; v->name && !known; v++)
            known = is_named(v->name, name);
        if (known)
            continue;
        const char *near = users[0];
        int best = 1000;
        for (int i = 0; i < n; i++) {
            int d = ddp_edit_distance(name, users[i]);
            if (d < best) {
                best = d;
                near = users[i];
            }
        }
        ddp_error_add(err, DDP_E_CONFIG,
                      "environment: %.100s means nothing to ddp; the nearest variable that does is %s "
                      "(unset %.100s, or rename it)",
                      name, near, name);
    }
}
