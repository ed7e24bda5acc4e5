/* The command line of ddp-launch: options, and key=value for the config. */
#include "launcher/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "launcher/manual.h"
#include "launcher/starter.h"

/* ---- recognising ----------------------------------------------------------------------------- */

/* "--optim.lr=0.1" and "--seed=1" are overrides, as sweep agents write them: a dotted name or a key of the
 * table. */
static bool is_dashed_override(const char *arg)
{
    const char *eq = strchr(arg, '=');
    if (strncmp(arg, "--", 2) != 0 || !eq || eq == arg + 2)
        return false;
    const size_t n = (size_t)(eq - (arg + 2));
    if (memchr(arg + 2, '.', n))
        return true;
    for (const struct ddp_key *k = ddp_config_keys; k->name; k++)
        if (strncmp(k->name, arg + 2, n) == 0 && (k->name[n] == '\0' || k->name[n] == '.'))
            return true;
    return false;
}

static bool is_override(const char *arg)
{
    return arg[0] == '+' || arg[0] == '~' || strchr(arg, '=') != NULL;
}

static int unknown_option(const char *arg, struct ddp_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(arg, "="), arg);
    const char *key = strncmp(name, "--", 2) == 0 ? ddp_config_alias(name + 2) : NULL;
    if (key)
        return ddp_fail(err, DDP_E_USAGE, "unknown option '%s'; did you mean the key %s=VALUE?", arg, key);
    return ddp_option_unknown(&ddp_launch_manual, arg, err);
}

/* ---- taking over ----------------------------------------------------------------------------- */

static int set_ranks(const char *value, struct ddp_options *opt, struct ddp_error *err)
{
    int64_t n;
    if (strcmp(value, "p") == 0)
        return ddp_fail(err, DDP_E_USAGE, "-np is mpirun's; ddp-launch takes the number of ranks as -n N");
    if (!ddp_parse_int(value, &n) || n < 1 || n > 65536)
        return ddp_fail(err, DDP_E_USAGE, "-n %s: the number of ranks is a whole number from 1 to 65536",
                        value);
    opt->ranks = (int)n;
    return 0;
}

static int set_threads(const char *value, struct ddp_options *opt, struct ddp_error *err)
{
    int64_t n;
    if (!ddp_parse_int(value, &n) || n < 0 || n > 4096)
        return ddp_fail(err, DDP_E_USAGE,
                        "--threads %s: the number of threads per rank is a whole number from 1 to 4096, or 0 "
                        "for the rank's share of the cores",
                        value);
    ddp_words_add(&opt->overrides, "train.threads=%lld", (long long)n);
    return 0;
}

static int set_bind(const char *value, struct ddp_options *opt, struct ddp_error *err)
{
    static const char *const policies[] = {"compact", "spread", "none"};
    for (size_t i = 0; i < DDP_COUNT(policies); i++)
        if (strcmp(value, policies[i]) == 0) {
            ddp_words_add(&opt->overrides, "launch.bind=%s", value);
            return 0;
        }
    return ddp_fail(err, DDP_E_USAGE, "--bind %s: compact, spread and none are known", value);
}

static int set_map_by(const char *value, struct ddp_options *opt, struct ddp_error *err)
{
    opt->by_node = strcmp(value, "node") == 0;
    if (!opt->by_node && strcmp(value, "slot") != 0)
        return ddp_fail(err, DDP_E_USAGE,
                        "--map-by %s: slot (host by host) and node (round the hosts) are known", value);
    return 0;
}

static int set_starter(const char *value, struct ddp_options *opt, struct ddp_error *err)
{
    if (!ddp_starter_known(value))
        return ddp_fail(err, DDP_E_USAGE, "--starter %s: auto, local, mpirun and srun are known", value);
    opt->starter = value;
    return 0;
}

static int set_number(const char *option, const char *value, int max, int *out, struct ddp_error *err)
{
    int64_t n;
    if (!ddp_parse_int(value, &n) || n < 1 || n > max)
        return ddp_fail(err, DDP_E_USAGE, "%s %s: a whole number from 1 to %d is meant", option, value, max);
    *out = (int)n;
    return 0;
}

/* Options of a job script. */
static int apply_batch(int id, const char *value, struct ddp_batch_wishes *w, struct ddp_error *err)
{
    switch (id) {
    case OPT_BATCH:
        if (!ddp_batch_known(value))
            return ddp_fail(err, DDP_E_USAGE, "--batch %s: slurm and lsf are known", value);
        w->system = value;
        break;
    case OPT_SUBMIT:
        w->submit = true;
        break;
    case OPT_TIME:
        return ddp_batch_minutes(value, &w->minutes, err) ? ddp_error_prefix(err, "--time %s", value) : 0;
    case OPT_PARTITION:
        w->partition = value;
        break;
    case OPT_ACCOUNT:
        w->account = value;
        break;
    case OPT_NODES:
        return set_number("--nodes", value, 65536, &w->nodes, err);
    case OPT_GPUS_PER_NODE:
        return set_number("--gpus-per-node", value, 64, &w->gpus_per_node, err);
    default:
        ddp_words_add(&w->lines, "%s", value);
    }
    return 0;
}

static int set_restarts(const char *value, struct ddp_options *opt, struct ddp_error *err)
{
    int64_t n;
    if (!ddp_parse_int(value, &n) || n < 0 || n > 1000)
        return ddp_fail(err, DDP_E_USAGE, "--restarts %s: a whole number from 0 to 1000 is meant", value);
    opt->restarts = (int)n;
    return 0;
}

static int set_check(const char *value, struct ddp_options *opt, struct ddp_error *err)
{
    if (*value && strcmp(value, "full") != 0)
        return ddp_fail(err, DDP_E_USAGE, "--check=%s: --check alone and --check=full are known", value);
    opt->check = *value ? DDP_CHECK_FULL : DDP_CHECK_SHORT;
    return 0;
}

static int apply(int id, const char *value, struct ddp_options *opt, struct ddp_error *err)
{
    const char *given = value ? value : ""; /* options that want a value have one; --help-config may not */
    if (id >= OPT_BATCH && id <= OPT_BATCH_ARG)
        return apply_batch(id, given, &opt->batch, err);
    switch (id) {
    case OPT_RANKS:
        return set_ranks(given, opt, err);
    case OPT_HOSTS:
        opt->hosts = value;
        break;
    case OPT_HOSTFILE:
        opt->hostfile = value;
        break;
    case OPT_MAP_BY:
        return set_map_by(given, opt, err);
    case OPT_THREADS:
        return set_threads(given, opt, err);
    case OPT_BIND:
        return set_bind(given, opt, err);
    case OPT_CHECK:
        return set_check(given, opt, err);
    case OPT_RESTARTS:
        return set_restarts(given, opt, err);
    case OPT_MAP:
        opt->map = true;
        break;
    case OPT_PRINT_CONFIG:
        opt->print_config = true;
        break;
    case DDP_OPTION_HELP_CONFIG:
    case DDP_OPTION_HELP_LAYERS:
        opt->reference = id;
        opt->help_key = value;
        break;
    case DDP_OPTION_MARKDOWN:
        opt->markdown = true;
        break;
    case OPT_DRY_RUN:
        opt->dry_run = true;
        break;
    case OPT_QUIET:
        opt->quiet = true;
        break;
    case OPT_RESUME:
        opt->resume = value;
        break;
    case OPT_EVAL:
        opt->eval = value;
        break;
    case OPT_PROGRAM:
        opt->program = value;
        break;
    case OPT_STARTER:
        return set_starter(given, opt, err);
    case OPT_TUNE:
        ddp_words_add(&opt->overrides, "gpu.tune=true");
        break;
    case OPT_RELOCK:
        opt->relock = true;
        break;
    default:
        opt->answer = id;
        break;
    }
    return 0;
}

static int check_whole(const struct ddp_options *opt, struct ddp_error *err)
{
    if (opt->answer || opt->reference)
        return 0;
    if (opt->markdown)
        return ddp_fail(err, DDP_E_USAGE, "--markdown belongs to --help-config or --help-layers");
    const char *run = opt->resume ? opt->resume : opt->eval;
    if (!opt->config && run && (strcmp(run, "latest") == 0 || strcmp(run, "auto") == 0))
        return ddp_fail(err, DDP_E_USAGE,
                        "%s looks for a run of an experiment: name its CONFIG as well, or a run directory",
                        run);
    if (!opt->config && !run)
        return ddp_fail(err, DDP_E_USAGE,
                        "no CONFIG given; for example: ddp-launch -n 2 configs/cnn.cfg (--help tells more)");
    if (opt->hosts && opt->hostfile)
        return ddp_fail(err, DDP_E_USAGE, "-H and --hostfile both name the hosts: give one of them");
    const struct ddp_batch_wishes *b = &opt->batch;
    if (!b->system &&
        (b->submit || b->minutes || b->partition || b->account || b->nodes || b->gpus_per_node || b->lines.n))
        return ddp_fail(err, DDP_E_USAGE,
                        "--submit, --time, --partition, --account, --nodes, --gpus-per-node and --batch-arg "
                        "belong to --batch slurm or --batch lsf");
    if (b->system && (opt->map || opt->dry_run || opt->print_config))
        return ddp_fail(err, DDP_E_USAGE,
                        "--batch prints a job script: leave --map, --dry-run and --print-config away");
    if (opt->resume && opt->eval)
        return ddp_fail(err, DDP_E_USAGE,
                        "--resume goes on training and --eval only evaluates: give one of them");
    return 0;
}

static int take_word(const char *word, struct ddp_options *opt, struct ddp_error *err)
{
    if (is_override(word))
        ddp_words_add(&opt->overrides, "%s", word);
    else if (opt->config)
        return ddp_fail(err, DDP_E_USAGE, "two configs, '%s' and '%s'; an override is written key=value",
                        opt->config, word);
    else
        opt->config = word;
    return 0;
}

int ddp_options_parse(int argc, char **argv, struct ddp_options *out, struct ddp_error *err)
{
    struct ddp_options opt = {0};
    struct ddp_option_walk walk = {argc, argv, 1, false};
    int rc = 0, id = DDP_OPTION_WORD;

    while (rc == 0 && id != DDP_OPTION_END) {
        const char *value, *arg = walk.at < argc ? argv[walk.at] : NULL;
        if (arg && !walk.only_words && arg[0] == '-' && strcmp(arg, "--") != 0 &&
            !ddp_option_find(ddp_launch_manual.options, arg, &value)) {
            if (is_dashed_override(arg))
                ddp_words_add(&opt.overrides, "%s", arg);
            else
                rc = unknown_option(arg, err);
            walk.at++;
            continue;
        }
        rc = ddp_option_next(&walk, &ddp_launch_manual, &id, &value, err);
        if (rc == 0 && id != DDP_OPTION_END)
            rc = id == DDP_OPTION_WORD ? take_word(value, &opt, err) : apply(id, value, &opt, err);
    }
    if (rc == 0)
        rc = check_whole(&opt, err);
    if (rc != 0) {
        ddp_options_finish(&opt);
        return rc;
    }
    *out = opt;
    return 0;
}

void ddp_options_finish(struct ddp_options *opt)
{
    ddp_words_finish(&opt->batch.lines);
    ddp_words_finish(&opt->overrides);
}
