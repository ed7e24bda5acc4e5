/* ddp-data pack: folders of pictures to one packed file. */
#include "ddp-data.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "data/pack.h"

enum { SIZE = 1, FIT, GRAY, COLOUR, FRACTION, SEED, THREADS, SKIP, PIXELS, QUIET };

// clang-format off
static const struct ddp_option options[] = {
    {"--size", NULL, "WxH", SIZE, "Bring all pictures to this size: box filter down, linear up."},
    {"--fit", NULL, "crop|stretch", FIT, "Keep proportions and cut the rim (default), or stretch."},
    {"--gray", NULL, NULL, GRAY, "One channel; --grey is the same. Default: colour if any picture has it."},
    {"--grey", NULL, NULL, GRAY, "The same."},
    {"--colour", NULL, NULL, COLOUR, "Three channels."},
    {"--color", NULL, NULL, COLOUR, "The same."},
    {"--test-fraction", NULL, "F", FRACTION, "Without a test folder, hold out this part of each class (default 0.1)."},
    {"--seed", NULL, "N", SEED, "Which pictures are held out (default 0)."},
    {"--skip-bad", NULL, NULL, SKIP, "Leave out pictures that do not decode or have another size; each is named."},
    {"--max-pixels", NULL, "N", PIXELS, "Larger pictures are bad (default 100000000)."},
    {"--threads", NULL, "T", THREADS, "Decode on so many cores (default: all)."},
    {"--quiet", NULL, NULL, QUIET, "Print errors only."},
    DDP_COMMON_OPTIONS,
    {0},
};
// clang-format on

static const char *const usage[] = {"DIR OUT [options]", NULL};

const struct ddp_manual ddp_data_pack_manual = {
    .name = "ddp-data pack",
    .summary = "turn folders of JPEG and PNG pictures into one packed file",
    .usage = usage,
    .about = "Pack DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg (or val/), or DIR/CLASS/*.jpg, into the "
             "file OUT. "
             "JPEG and PNG. Classes are the folders' names in alphabetical (byte) order.\n"
             "\n"
             "Train on it with data=packed data.path=OUT.",
    .options = options,
};

static void show_progress(void *user, int64_t done, int64_t total)
{
    (void)user;
    fprintf(stderr, "\r%lld of %lld pictures%s", (long long)done, (long long)total,
            done == total ? "\n" : "");
}

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
    (void)sig;
    stop = 1;
}

struct bad_list {
    bool skip;
    int64_t n;
};

enum { BAD_SHOWN = 20 };

/* The first ones by name. Where bad pictures are an error, that names the first. */
static void show_bad(void *user, const char *why)
{
    struct bad_list *list = user;
    list->n++;
    if (list->n <= BAD_SHOWN && (list->skip || list->n > 1))
        ddp_say("ddp-data pack", "%s", why);
    else if (list->n == BAD_SHOWN + 1)
        fprintf(stderr, "ddp-data pack: ... and more\n");
}

static bool parse_size(const char *text, int *w, int *h)
{
    int n = 0;
    return sscanf(text, "%5dx%5d%n", w, h, &n) == 2 && text[n] == '\0' && *w >= 1 && *h >= 1 && *w <= 32768 &&
           *h <= 32768;
}

static int refuse(const char *option, const char *value, const char *allowed, struct ddp_error *err)
{
    return ddp_fail(err, DDP_E_USAGE, "%s %s: allowed is %s", option, value, allowed);
}

static void report(const struct ddp_pack_options *opt, const struct ddp_pack_result *r)
{
    printf("%s: %lld + %lld pictures [%d, %d, %d] in %d classes\n", opt->out, (long long)r->count[0],
           (long long)r->count[1], r->c, r->h, r->w, r->classes);
    printf("train %s\ntest  %s\n", r->digest[0], r->digest[1]);
    if (r->ignored)
        printf("%lld %s no .jpg, .jpeg or .png left out\n", (long long)r->ignored,
               r->ignored == 1 ? "file that is" : "files that are");
    if (r->bad)
        printf("%lld bad picture%s left out\n", (long long)r->bad, r->bad == 1 ? "" : "s");
    if (r->mixed)
        printf("gray and colour pictures are mixed: all are stored in colour (--gray stores all in gray)\n");
}

static int apply(int id, const char *value, struct ddp_pack_options *opt, struct ddp_error *err)
{
    int64_t number;
    switch (id) {
    case SIZE:
        return parse_size(value, &opt->width, &opt->height)
                   ? 0
                   : refuse("--size", value, "WxH, 1x1 to 32768x32768", err);
    case FIT:
        if (strcmp(value, "crop") != 0 && strcmp(value, "stretch") != 0)
            return refuse("--fit", value, "crop or stretch", err);
        opt->stretch = value[0] == 's';
        break;
    case GRAY:
        opt->channels = 1;
        break;
    case COLOUR:
        opt->channels = 3;
        break;
    case FRACTION:
        if (!ddp_parse_double(value, &opt->test_fraction) ||
            !(opt->test_fraction >= 0.0 && opt->test_fraction < 1.0))
            return refuse("--test-fraction", value, "0 to below 1", err);
        break;
    case SEED:
        if (!ddp_parse_int(value, &number) || number < 0)
            return refuse("--seed", value, "an integer from 0", err);
        opt->seed = (uint64_t)number;
        break;
    case THREADS:
        if (!ddp_parse_int(value, &number) || number < 1 || number > 1024)
            return refuse("--threads", value, "1 to 1024", err);
        opt->threads = (int)number;
        break;
    case SKIP:
        opt->skip_bad = true;
        break;
    case PIXELS:
        if (!ddp_parse_int(value, &opt->max_pixels) || opt->max_pixels < 1)
            return refuse("--max-pixels", value, "an integer from 1", err);
        break;
    default:
        break;
    }
    return 0;
}

/* DIR, then OUT. */
static bool take_word(const char *word, struct ddp_pack_options *opt)
{
    const char **free_place = !opt->dir ? &opt->dir : !opt->out ? &opt->out : NULL;
    if (free_place)
        *free_place = word;
    return free_place != NULL;
}

int ddp_data_pack_main(int argc, char **argv)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct ddp_pack_options opt = {.test_fraction = 0.1, .threads = cores > 0 ? (int)cores : 1};
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_error err = {0};
    const char *value;
    bool quiet = false;
    for (int id = DDP_OPTION_WORD; id != DDP_OPTION_END;) {
        int rc = ddp_option_next(&walk, &ddp_data_pack_manual, &id, &value, &err);
        if (rc == 0 && ddp_manual_answer(&ddp_data_pack_manual, id))
            return 0;
        quiet = quiet || id == QUIET;
        if (rc != 0 || apply(id, value, &opt, &err) != 0)
            return ddp_usage(&ddp_data_pack_manual, "%s", err.text);
        if (id == DDP_OPTION_WORD && !take_word(value, &opt))
            return ddp_usage(&ddp_data_pack_manual, "%s: DIR and OUT are all", value);
    }
    if (!opt.out)
        return ddp_usage(&ddp_data_pack_manual, "%s", "DIR and OUT are wanted");
    if (!quiet && isatty(2))
        opt.progress = show_progress;
    struct bad_list bad = {.skip = opt.skip_bad};
    opt.bad = show_bad;
    opt.user = &bad;
    opt.stop = &stop;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < DDP_COUNT(signals); i++)
        if (signal(signals[i], on_signal) == SIG_IGN)
            signal(signals[i], SIG_IGN); /* nohup */
    struct ddp_pack_result result;
    if (ddp_pack_run(&opt, &result, &err)) {
        const int status = ddp_report("ddp-data", &err);
        return err.code == DDP_E_STOPPED ? 130
                                         : status; /* by hand: nothing was saved that could be gone on from */
    }
    if (!quiet)
        report(&opt, &result);
    return 0;
}
