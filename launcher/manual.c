/* What ddp-launch says of itself: --help, the manual page and its options come from here. */
#include "launcher/manual.h"

// clang-format off
static const struct ddp_option options[] = {
    {"--ranks", "-n", "N", OPT_RANKS,
     "Ranks to start, at most train.shards. Default: one for each GPU, or where there are none for each usable core "
     "(for each group of train.threads cores), up to train.shards. More ranks than cores are possible: those that "
     "wait then sleep."},
    {"--hosts", "-H", "LIST", OPT_HOSTS,
     "Hosts and their slots: n0:4,n1:4 or n[0-3]:4; without slots as many ranks as a host has GPUs or cores. "
     "Brackets stand for several names: rack[0-1]_blade[01,03-10]. Inside a job of Slurm, LSF, PBS or Flux its hosts "
     "are found."},
    {"--hostfile", NULL, "FILE", OPT_HOSTFILE, "The same from a file, a host or bracket list a line: 'n0 slots=4' or 'n0:4'; # begins a comment."},
    {"--map-by", NULL, "HOW", OPT_MAP_BY, "slot (host by host, the default) or node (ranks go round the hosts)."},
    {"--threads", NULL, "T", OPT_THREADS,
     "Threads of each rank, the same as train.threads=T; 0, the default, is the rank's share of the cores."},
    {"--bind", NULL, "POLICY", OPT_BIND,
     "compact fills one NUMA node, then the next; spread goes round them; none does not bind. Whole cores are used "
     "before second hardware threads. The same as launch.bind=POLICY."},
    {"--resume", NULL, "RUN|latest|auto", OPT_RESUME,
     "Go on from the last good checkpoint of a run, at any number of ranks. latest: the run of this run.name and "
     "experiment that was saved to last; auto: the same, and where there is none a new one. Without CONFIG that of "
     "RUN is taken. With other keys that affect results, or other data, a new run forks off and RUN stays as it is. "
     "An earlier checkpoint is named by its path (RUN/checkpoints/step-N): later ones are then set aside."},
    {"--eval", NULL, "RUN|FILE", OPT_EVAL,
     "Only evaluate a run, RUN@best (its checkpoint of the lowest held-out loss), a checkpoint or a .safetensors "
     "file."},
    {"--tune", NULL, NULL, OPT_TUNE,
     "On GPUs: measure the algorithms and take the fastest, not the first; the plan lock keeps the choice. The same "
     "as gpu.tune=true."},
    {"--relock", NULL, NULL, OPT_RELOCK,
     "On GPUs: go on with algorithms that were chosen on another GPU or by other libraries; the bits may then differ "
     "from there on."},
    {"--program", NULL, "PATH", OPT_PROGRAM,
     "Start this program instead of ddp-train: one of your own, on the ddp library. It gets the same arguments. "
     "Layers and data formats that only it knows are left for it to check."},
    {"--starter", NULL, "HOW", OPT_STARTER,
     "Who starts the ranks: local (this program), mpirun (that of Open MPI, also on other hosts over ssh, and ranks "
     "meet over MPI) or srun (that of Slurm, inside a job of it, by PMIx). auto, the default: local on this host "
     "alone; with others srun inside a job of Slurm that has PMIx, else mpirun. The results are the same bits."},
    {"--restarts", NULL, "K", OPT_RESTARTS,
     "When a rank or a host fails, start again up to K times: from the last checkpoint of the run, or from the "
     "beginning where there is none, with the hosts that are left and no more ranks than they have slots. The result "
     "is that of an undisturbed run, to the bit. A host that was lost is tried before each restart and takes part "
     "again when it answers. Nothing is started again where the config, the data or a resource is at fault, or after "
     "a signal."},
    {"--check", NULL, "[=full]", OPT_CHECK,
     "Look whether all hosts are fit for the job, print what was found, and start nothing: same programs and data, "
     "run directory, clock, room, network. Each fault is a line with its host and the way out, and the exit status "
     "is 3. full also measures the network between each two hosts. On several hosts every start looks at the same "
     "things, of the data at parts of the files only."},
    {"--batch", NULL, "slurm|lsf", OPT_BATCH,
     "Print a job script that runs the same command in a batch job, with --resume auto. Two minutes before its time is "
     "over, all ranks stop after the same step and save, and the job goes back into the queue."},
    {"--submit", NULL, NULL, OPT_SUBMIT, "With --batch: hand the script to sbatch or bsub instead."},
    {"--time", NULL, "T", OPT_TIME, "With --batch: 90 (minutes), 02:00:00 or 1-12:00:00."},
    {"--nodes", NULL, "N", OPT_NODES, "With --batch: how many nodes."},
    {"--gpus-per-node", NULL, "N", OPT_GPUS_PER_NODE, "With --batch: how many GPUs of each."},
    {"--partition", NULL, "NAME", OPT_PARTITION, "With --batch: partition or queue."},
    {"--queue", NULL, "NAME", OPT_PARTITION, "The same."},
    {"--account", NULL, "NAME", OPT_ACCOUNT, "With --batch: account or project."},
    {"--batch-arg", NULL, "TEXT", OPT_BATCH_ARG,
     "With --batch: one more option of the batch system, as it stands in a script (--batch-arg='--constraint=fast'); "
     "as often as wanted."},
    {"--quiet", "-q", NULL, OPT_QUIET, "Print only the last two lines, or the reason of a failure."},
    {"--map", NULL, NULL, OPT_MAP,
     "Show the machine with the ranks drawn into it, start nothing. A dot is a hardware thread without a rank, a "
     "dash one that this process may not use."},
    {"--dry-run", NULL, NULL, OPT_DRY_RUN, "Show the exact command and environment, start nothing."},
    {"--print-config", NULL, NULL, OPT_PRINT_CONFIG,
     "Show the config with groups, overrides and defaults worked in, start nothing. It is accepted as CONFIG."},
    DDP_REFERENCE_OPTIONS,
    DDP_COMMON_OPTIONS,
    {0},
};
// clang-format on

static const char *const usage[] = {"[options] CONFIG [key=value ...]",
                                    "[options] --resume RUN [key=value ...]", NULL};

static const struct ddp_manual_section sections[] = {
    {"Hosts",
     "Without -H and --hostfile, the hosts of a job are those of the Flux instance, or of the Slurm, "
     "LSF or PBS job, that ddp-launch was started in, with the CPUs, tasks and GPUs that it gave; "
     "outside of one, this host.\n"
     "\n"
     "Where -n is not given, there is a rank for each GPU; without GPUs as many as the list has slots "
     "or Slurm and PBS have tasks, else one for each core (for each group of train.threads cores) "
     "that is the job's; always up to train.shards.\n"
     "\n"
     "A list that gives every host its slots is filled in order, as mpirun does; more ranks than "
     "slots are refused. Otherwise each host gets a part of the ranks that fits its GPUs or cores, so "
     "that hosts may be of different kinds. Notes name hosts that get no rank, hosts that the others "
     "wait for, and GPUs of different kinds.\n"
     "\n"
     "On several hosts mpirun or srun starts the ranks (--starter), after all hosts were looked at "
     "(--check). Where these have GPUs there is a rank for each. With --starter local another host in -H "
     "is refused, and of a scheduler's job this host alone is used, with a note. --map asks the hosts what "
     "they are; where HWLOC_XMLFILE or HWLOC_SYNTHETIC describes one, each is taken to be that, and none is "
     "asked.\n"
     "\n"
     "On one machine jobs take cores that no other job holds, whoever's it is, and share what is "
     "left; --map marks them with an x. A job holds its cores from its plan to its end, however it "
     "ends, by locks on /dev/shm, or on the folder that DDP_CORES_DIR names: one that several "
     "containers of a machine have in common. Jobs that are not bound hold none.\n"
     "\n"
     "Where fewer CPUs are the job's than can be seen (a number from LSF or PBS, a CPU quota of a "
     "container's control group or one above it), ranks and threads are planned for that number and "
     "not bound, and --map says which file says so.",
     true},
    {"Overrides",
     "optim.lr=0.01\tsets a key; lists are written data.mean=[0.1,0.2]\n"
     "model=resnet18\ttakes another file for a group\n"
     "+new.key=1\tadds a key\n"
     "~some.key\tgoes back to the default\n"
     "\n"
     "With dashes (--optim.lr=0.01) it means the same, because sweep programs write that.",
     false},
    {"Signals",
     "Ctrl-C (SIGINT), SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2, to this program or to any rank, let all "
     "ranks stop after the same step and save; under nohup SIGHUP is ignored. A second Ctrl-C or "
     "SIGTERM ends everything at once. Ranks that have not stopped after launch.grace seconds (30) "
     "are named and killed. Ctrl-Z pauses the ranks, fg goes on.",
     false},
    {"Output",
     "Output of rank 0 is passed on unchanged, parts of lines at once, that of the others in whole lines "
     "behind \"rank 3: \". A line that several ranks print within a quarter of a second is shown once, "
     "behind \"all 8 ranks: \" or \"3 ranks (1-2,5): \". On a terminal progress is redrawn in place; in a "
     "file a line of it comes every "
     "log.progress_every seconds. The last two lines on standard output are 'run: FOLDER' and "
     "'weights: SHA-256'.",
     false},
    {"Exit codes",
     "0\tdone\n"
     "2\twrong usage or config; nothing was started\n"
     "3\ta resource is missing or too small: data, disk, memory, a program\n"
     "4\ta rank failed; the message names the first one, its host and its signal or error\n"
     "75\tstopped by a signal after saving: start again with --resume\n"
     "130\tended by a second signal",
     false},
    {"Environment",
     "DDP_DATA_DIR\tfolder that holds the data sets, where data.root is not given\n"
     "DDP_CONFIGS_DIR\tfolder with model/, data/ and optim/, searched after those beside the config\n"
     "DDP_CORES_DIR\tfolder on which jobs of one machine lock the cores that they hold; else /dev/shm\n"
     "DDP_ISA\tinstruction set of the CPU kernels: scalar, avx2, avx512 or neon (same bits from each)\n"
     "HWLOC_SYNTHETIC, HWLOC_XMLFILE\tdescribe another machine, for --map and --dry-run\n"
     "TMPDIR\twith mpirun or srun as starter: where its files go when /dev/shm has no room; else /tmp\n"
     "\n"
     "A variable that begins with DDP_ and means nothing is an error.",
     true},
    {"Files",
     "/dev/shm/ddp-job-*\tprivate folder of a running job on each of its hosts, with mpirun or srun as "
     "starter. It is removed at the end, by a second process if the launcher was killed, and at the next "
     "start if both were.",
     true},
    {"Examples",
     "  ddp-launch -n 8 configs/cnn.cfg\n"
     "  ddp-launch -n 2 --threads 4 configs/cnn.cfg model=resnet18 data=cifar10\n"
     "  ddp-launch -n 8 -H n0:4,n1:4 configs/cnn.cfg\n"
     "  ddp-launch --resume latest configs/cnn.cfg train.epochs=20\n"
     "  HWLOC_SYNTHETIC='package:2 numa:4 core:8 pu:2' \\\n"
     "      ddp-launch -n 8 --map configs/cnn.cfg",
     false},
    {"See also", "ddp-train(1), ddp-data(1), ddp-runs(1), ddp-bench(1), lstopo(1)", true},
    {0},
};

const struct ddp_manual ddp_launch_manual = {
    .name = "ddp-launch",
    .summary = "train a model with N ranks, placed, supervised, and with the same result at any N",
    .usage = usage,
    .about =
        "Trains what CONFIG describes on N ranks, each on cores (and where there are GPUs, a GPU) of its "
        "own, and watches over them. The result does not depend on N: a batch is cut into train.shards "
        "parts, and any number of ranks up to that gives the same bits.\n"
        "\n"
        "All faults of the config are said at once, before anything starts. The first rank to fail is named "
        "with its host and its signal or error, and ends the job within two seconds; no rank survives its "
        "launcher.",
    .options = options,
    .sections = sections,
};
