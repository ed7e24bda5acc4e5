/* The text of --help. docs/man/ddp-launch.1 says the same at more length. */
#include "launcher/options.h"

const char *ddp_options_help(void)
{
    return "usage: ddp-launch [options] CONFIG [key=value ...]\n"
           "\n"
           "Trains what CONFIG describes on N ranks of this machine, each on cores of its own, and watches "
           "over them.\n"
           "The result does not depend on N: any number of ranks up to train.shards gives the same bits.\n"
           "\n"
           "  -n N, --ranks N        ranks to start; default: one per usable core, up to train.shards\n"
           "  --threads T            threads per rank (same as train.threads=T); default: the rank's share "
           "of the cores\n"
           "  --bind POLICY          compact (fill one NUMA node, then the next), spread (go round them) or "
           "none\n"
           "                         (same as launch.bind=POLICY)\n"
           "  --resume RUN|latest    go on from the last good checkpoint of a run, at any N\n"
           "  --eval RUN|FILE        only evaluate a run, a checkpoint or a .safetensors file\n"
           "  --program PATH         start this program instead of ddp-train (one of your own, on the ddp "
           "library)\n"
           "  -q, --quiet            print only the last two lines, or the reason of a failure\n"
           "\n"
           "  --map                  show which rank runs where, start nothing\n"
           "  --dry-run              show the exact command and environment, start nothing\n"
           "  --print-config         show the config with groups, overrides and defaults worked in, start "
           "nothing\n"
           "  --help-config [KEY]    the reference of all keys, or of those that begin with KEY; --markdown: "
           "as a page\n"
           "  --version, -h, --help\n"
           "\n"
           "Overrides: optim.lr=0.01, model=resnet18 (a group's file), +new.key=1, ~some.key; "
           "--optim.lr=0.01 also works.\n"
           "--map and --dry-run honour HWLOC_SYNTHETIC and HWLOC_XMLFILE, so that another machine can be "
           "planned for:\n"
           "    HWLOC_SYNTHETIC='package:2 numa:4 core:8 pu:2' ddp-launch -n 8 --map configs/cnn.cfg\n"
           "\n"
           "Signals: Ctrl-C (SIGINT), SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 let all ranks stop after the same "
           "step and save;\n"
           "a second one ends everything at once. Ctrl-Z pauses the ranks, fg goes on.\n"
           "\n"
           "The last two lines on standard output are 'run: FOLDER' and 'weights: SHA-256'.\n"
           "\n"
           "Exit codes:\n"
           "    0  done\n"
           "    2  wrong usage or config\n"
           "    3  a resource is missing or too small (data, disk, memory, a program)\n"
           "    4  a rank failed; the message names the first one, its host and its signal or error\n"
           "   75  stopped by a signal after saving: start again with --resume\n"
           "  130  ended by a second signal\n";
}

const char *ddp_options_version(void)
{
    return "ddp-launch " DDP_LAUNCH_VERSION "\n";
}
