/* ddp-data pack: folders of pictures to one packed file. */
#include "ddp-data.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/base.h"
#include "data/pack.h"

static void usage(FILE *to)
{
    fprintf(
        to,
        "usage: ddp-data pack DIR OUT [OPTIONS]\n\n"
        "Pack DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg (or val/), or DIR/CLASS/*.jpg, into the "
        "file OUT.\n"
        "JPEG and PNG. Classes are the folders' names in alphabetical (byte) order.\n\n"
        "  --size WxH          bring all pictures to this size: box filter down, linear up\n"
        "  --fit crop|stretch  keep proportions and cut the rim (default), or stretch\n"
        "  --gray, --colour    one or three channels; default: colour if any picture has it\n"
        "  --test-fraction F   without a test folder, hold out this part of each class (default 0.1)\n"
        "  --skip-bad          leave out pictures that do not decode or have another size (each is named)\n"
        "  --max-pixels N      larger pictures are bad (default 100000000)\n"
        "  --seed N            which pictures are held out (default 0)\n"
        "  --threads T         decode on so many cores (default: all)\n"
        "  --quiet             print errors only\n\n"
        "Train on it with data=packed data.path=OUT.\n");
}

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
        fprintf(stderr, "ddp-data pack: %s\n", why);
    else if (list->n == BAD_SHOWN + 1)
        fprintf(stderr, "ddp-data pack: ... and more\n");
}

static bool parse_size(const char *text, int *w, int *h)
{
    int n = 0;
    return sscanf(text, "%5dx%5d%n", w, h, &n) == 2 && text[n] == '\0' && *w >= 1 && *h >= 1 && *w <= 32768 &&
           *h <= 32768;
}

static int complain(const char *option, const char *value, const char *allowed)
{
    fprintf(stderr, "ddp-data pack: %s %s: allowed is %s\n", option, value, allowed);
    return DDP_EXIT_USAGE;
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

int ddp_data_pack_main(int argc, char **argv)
{
    enum { SIZE = 256, FIT, GRAY, COLOUR, FRACTION, SEED, THREADS, SKIP, PIXELS, QUIET };
    static const struct option options[] = {
        {"size", required_argument, NULL, SIZE},
        {"fit", required_argument, NULL, FIT},
        {"gray", no_argument, NULL, GRAY},
        {"grey", no_argument, NULL, GRAY},
        {"colour", no_argument, NULL, COLOUR},
        {"color", no_argument, NULL, COLOUR},
        {"seed", required_argument, NULL, SEED},
        {"test-fraction", required_argument, NULL, FRACTION},
        {"threads", required_argument, NULL, THREADS},
        {"skip-bad", no_argument, NULL, SKIP},
        {"max-pixels", required_argument, NULL, PIXELS},
        {"quiet", no_argument, NULL, QUIET},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct ddp_pack_options opt = {.test_fraction = 0.1, .threads = cores > 0 ? (int)cores : 1};
    bool quiet = false;
    int64_t number;
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (c) {
        case SIZE:
            if (!parse_size(optarg, &opt.width, &opt.height))
                return complain("--size", optarg, "WxH, 1x1 to 32768x32768");
            break;
        case FIT:
            if (ddp_edit_distance(optarg, "crop") && ddp_edit_distance(optarg, "stretch"))
                return complain("--fit", optarg, "crop or stretch");
            opt.stretch = optarg[0] == 's';
            break;
        case GRAY:
            opt.channels = 1;
            break;
        case COLOUR:
            opt.channels = 3;
            break;
        case FRACTION:
            if (!ddp_parse_double(optarg, &opt.test_fraction) ||
                !(opt.test_fraction >= 0.0 && opt.test_fraction < 1.0))
                return complain("--test-fraction", optarg, "0 to below 1");
            break;
        case SEED:
            if (!ddp_parse_int(optarg, &number) || number < 0)
                return complain("--seed", optarg, "an integer from 0");
            opt.seed = (uint64_t)number;
            break;
        case THREADS:
            if (!ddp_parse_int(optarg, &number) || number < 1 || number > 1024)
                return complain("--threads", optarg, "1 to 1024");
            opt.threads = (int)number;
            break;
        case SKIP:
            opt.skip_bad = true;
            break;
        case PIXELS:
            if (!ddp_parse_int(optarg, &opt.max_pixels) || opt.max_pixels < 1)
                return complain("--max-pixels", optarg, "an integer from 1");
            break;
        case QUIET:
            quiet = true;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return DDP_EXIT_USAGE;
        }
    }
    if (argc - optind != 2) {
        usage(stderr);
        return DDP_EXIT_USAGE;
    }
    opt.dir = argv[optind];
    opt.out = argv[optind + 1];
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
    struct ddp_error err = {0};
    struct ddp_pack_result result;
    if (ddp_pack_run(&opt, &result, &err)) {
        const int status = ddp_data_report(&err);
        return err.code == DDP_E_STOPPED ? 130
                                         : status; /* by hand: nothing was saved that could be gone on from */
    }
    if (!quiet)
        report(&opt, &result);
    return 0;
}
