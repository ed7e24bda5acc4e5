/* ddp-data inspect: read every sample of a data set and say what it holds. */
#include "ddp-data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/config.h"
#include "data/data.h"
#include "data/formats.h"
#include "data/image.h"

enum { SHEET_COLUMNS = 16, SHEET_ROWS = 32, BAR = 30 };

/* One picture per class and column, as they come in the training split. */
struct sheet {
    struct ddp_shape shape;
    int rows, filled[SHEET_ROWS];
    uint8_t *pixels; /* [rows][SHEET_COLUMNS][c][h][w] */
};

struct survey {
    int64_t *classes; /* samples of each */
    struct ddp_pixel_stats stats;
    char digest[65];
};

enum { SHEET = 1 };

static const struct ddp_option options[] = {
    {"--sheet", NULL, "OUT.png", SHEET, "Draw a contact sheet: 16 pictures of each of the first 32 classes."},
    DDP_REFERENCE_OPTIONS,
    DDP_COMMON_OPTIONS,
    {0},
};
_Static_assert(SHEET_COLUMNS == 16 && SHEET_ROWS == 32, "--sheet says so");

static const char *const usage[] = {"CONFIG|NAME|FILE [KEY=VALUE ...] [options]", NULL};

const struct ddp_manual ddp_data_inspect_manual = {
    .name = "ddp-data inspect",
    .summary = "show counts, shapes, class balance, mean and deviation of a data set",
    .usage = usage,
    .about = "Read a whole data set and show counts, shapes, class balance, mean, deviation and digest.\n"
             "\n"
             "CONFIG\ta config file (.cfg); its data group is what counts\n"
             "NAME\ta data set of configs/data: digits, mnist, ...\n"
             "FILE\ta file made by ddp-data pack\n"
             "KEY=VALUE\toverrides, as for ddp-launch: data.limit_train=1000",
    .options = options,
};

static size_t picture_bytes(struct ddp_shape s)
{
    return (size_t)s.c * (size_t)s.h * (size_t)s.w;
}

static void sheet_add(struct sheet *sheet, const uint8_t *pixels, int32_t label)
{
    if (label >= sheet->rows || sheet->filled[label] == SHEET_COLUMNS)
        return;
    size_t n = picture_bytes(sheet->shape);
    memcpy(sheet->pixels + ((size_t)label * SHEET_COLUMNS + (size_t)sheet->filled[label]++) * n, pixels, n);
}

/* Small pictures are enlarged by a whole factor, a line of gray lies between them. */
static int sheet_write(const struct sheet *sheet, const char *path, struct ddp_error *err)
{
    int zoom = sheet->shape.w < 48 ? 2 : 1, c = sheet->shape.c == 3 ? 3 : 1;
    int cw = sheet->shape.w * zoom + 1, ch = sheet->shape.h * zoom + 1;
    int w = cw * SHEET_COLUMNS + 1, h = ch * sheet->rows + 1;
    uint8_t *out = ddp_malloc((size_t)w * (size_t)h * (size_t)c);
    memset(out, 96, (size_t)w * (size_t)h * (size_t)c);
    size_t plane = (size_t)sheet->shape.h * (size_t)sheet->shape.w, picture = picture_bytes(sheet->shape);
    for (int row = 0; row < sheet->rows; row++)
        for (int col = 0; col < sheet->filled[row]; col++) {
            const uint8_t *p = sheet->pixels + ((size_t)row * SHEET_COLUMNS + (size_t)col) * picture;
            for (int y = 0; y < ch - 1; y++)
                for (int x = 0; x < cw - 1; x++)
                    for (int k = 0; k < c; k++)
                        out[((size_t)(row * ch + 1 + y) * (size_t)w + (size_t)(col * cw + 1 + x)) *
                                (size_t)c +
                            (size_t)k] = p[(size_t)k * plane + (size_t)(y / zoom) * (size_t)sheet->shape.w +
                                           (size_t)(x / zoom)];
        }
    int rc = ddp_image_write_png(path, out, c, h, w, err);
    free(out);
    return rc;
}

static int survey_split(struct ddp_dataset *ds, struct survey *s, struct sheet *sheet, struct ddp_error *err)
{
    uint8_t *pixels = ddp_malloc(picture_bytes(ds->info.shape));
    int rc = ds->ops->digest(ds->self, s->digest, err);
    for (int64_t i = 0; !rc && i < ds->info.count; i++) {
        int32_t label;
        rc = ddp_dataset_get(ds, i, pixels, &label, err);
        if (rc)
            break;
        s->classes[label]++;
        ddp_pixel_stats_add(&s->stats, ds->info.shape, pixels);
        if (sheet)
            sheet_add(sheet, pixels, label);
    }
    free(pixels);
    return rc;
}

enum { NAME = 16 };

/* In a column of NAME characters; what is no printable UTF-8 shows as '?'. A byte of the form 10xxxxxx
 * goes on with a character. */
static void print_name(const char *name)
{
    int n = 0;
    for (const char *p = name; *p && (n < NAME || (*p & 0xc0) == 0x80); p++) {
        const unsigned char b = (unsigned char)*p;
        n += (b & 0xc0) != 0x80;
        putchar(b < 0x20 || b == 0x7f ? '?' : b);
    }
    printf("%*s", n < NAME ? NAME - n : 0, "");
}

static void print_list(const char *what, const double *v, int n)
{
    printf("%s [", what);
    for (int i = 0; i < n; i++)
        printf("%s%.4f", i ? ", " : "", v[i]);
    printf("]");
}

static void print_survey(const struct ddp_config *cfg, struct ddp_dataset *const ds[2],
                         const struct survey s[2])
{
    static const char *const split[2] = {"train", "test"};
    const struct ddp_dataset_info *info = &ds[0]->info;
    printf("%s: format %s, %d classes, pictures [%d, %d, %d] (channels, rows, columns)\n", cfg->data.name,
           ds[0]->ops->name, info->classes, info->shape.c, info->shape.h, info->shape.w);
    for (int i = 0; i < 2; i++) {
        double mean[4], std[4];
        ddp_pixel_stats_result(&s[i].stats, info->shape.c, mean, std);
        printf("%-5s  %lld pictures, ", split[i], (long long)ds[i]->info.count);
        print_list("mean", mean, info->shape.c);
        print_list(", std", std, info->shape.c);
        printf("\n       sha256 %s\n", s[i].digest);
    }
    print_list("normalised by default with mean", info->mean, info->shape.c);
    print_list(", std", info->std, info->shape.c);
    printf("\n\n%-16s %8s  %-*s %8s\n", "class", "train", BAR, "", "test");
    int64_t most = 1;
    for (int k = 0; k < info->classes; k++)
        most = s[0].classes[k] > most ? s[0].classes[k] : most;
    for (int k = 0; k < info->classes; k++) {
        char number[16], bar[BAR + 1] = "";
        snprintf(number, sizeof number, "%d", k);
        memset(bar, '#', (size_t)(s[0].classes[k] * BAR / most));
        print_name(info->class_names ? info->class_names[k] : number);
        printf(" %8lld  %-*s %8lld\n", (long long)s[0].classes[k], BAR, bar, (long long)s[1].classes[k]);
    }
}

static int inspect(const struct ddp_config *cfg, const char *sheet_path, struct ddp_error *err)
{
    struct ddp_dataset *ds[2] = {NULL, NULL};
    struct survey survey[2] = {0};
    struct sheet sheet = {0};
    int rc = 0;
    for (int i = 0; !rc && i < 2; i++) {
        rc = ddp_dataset_open(cfg, i ? DDP_SPLIT_TEST : DDP_SPLIT_TRAIN, &ds[i], err);
        if (!rc)
            survey[i].classes = ddp_calloc((size_t)ds[i]->info.classes, sizeof *survey[i].classes);
    }
    if (!rc)
        rc = ddp_dataset_check_splits(&ds[0]->info, &ds[1]->info, err);
    const bool numbers = !rc && (ds[0]->info.real || ds[0]->info.targets > 0);
    if (numbers && sheet_path)
        rc = ddp_fail(err, DDP_E_USAGE, "--sheet is for pictures, which this data is not");
    if (numbers) {
        rc = rc ? rc : ddp_data_survey_numbers(cfg, ds, err);
        goto close;
    }
    if (!rc && sheet_path) {
        sheet.shape = ds[0]->info.shape;
        sheet.rows = ds[0]->info.classes < SHEET_ROWS ? ds[0]->info.classes : SHEET_ROWS;
        sheet.pixels = ddp_calloc((size_t)sheet.rows * SHEET_COLUMNS, picture_bytes(sheet.shape));
    }
    for (int i = 0; !rc && i < 2; i++)
        rc = survey_split(ds[i], &survey[i], sheet.pixels && i == 0 ? &sheet : NULL, err);
    if (!rc)
        print_survey(cfg, ds, survey);
    if (!rc && sheet.pixels)
        rc = sheet_write(&sheet, sheet_path, err);
    if (!rc && sheet_path)
        printf("\ncontact sheet: %s\n", sheet_path);
close:
    free(sheet.pixels);
    for (int i = 0; i < 2; i++) {
        free(survey[i].classes);
        ddp_dataset_close(ds[i]);
    }
    return rc;
}

int ddp_data_inspect_main(int argc, char **argv)
{
    enum { MOST_OVERRIDES = 256 };
    const char *sheet = NULL, *value, *what = NULL, *overrides[MOST_OVERRIDES + 3], *given[MOST_OVERRIDES];
    struct ddp_option_walk walk = {argc, argv, 1, false};
    struct ddp_error err = {0};
    int ngiven = 0;
    for (int id = DDP_OPTION_WORD; id != DDP_OPTION_END;) {
        if (ddp_option_next(&walk, &ddp_data_inspect_manual, &id, &value, &err) != 0)
            return ddp_usage(&ddp_data_inspect_manual, "%s", err.text);
        if (ddp_manual_answer(&ddp_data_inspect_manual, id))
            return 0;
        if (id >= DDP_OPTION_HELP_CONFIG)
            return ddp_data_reference(&ddp_data_inspect_manual, argc, argv);
        if (id == DDP_OPTION_WORD && what && ngiven == MOST_OVERRIDES)
            return ddp_usage(&ddp_data_inspect_manual, "%s: more than 256 overrides", value);
        if (id == DDP_OPTION_WORD && what)
            given[ngiven++] = value;
        else if (id == DDP_OPTION_WORD)
            what = value;
        sheet = id == SHEET ? value : sheet;
    }
    if (!what)
        return ddp_usage(&ddp_data_inspect_manual, "%s", "CONFIG, NAME or FILE is wanted");
    int n = 0;
    struct ddp_config_options opt = {.overrides = overrides};
    struct ddp_text data, path;
    ddp_text_init(&data);
    ddp_text_init(&path);
    struct stat st;
    size_t length = strlen(what);
    char *full = stat(what, &st) == 0 && S_ISREG(st.st_mode) ? realpath(what, NULL) : NULL;
    if (length > 4 && strcmp(what + length - 4, ".cfg") == 0) {
        opt.path = what;
    } else if (full) {
        ddp_text_add(&path, "data.path=\"%s\"", full);
        overrides[n++] = "data.name=packed";
        overrides[n++] = "data.format=packed";
        overrides[n++] = path.s;
    } else {
        ddp_text_add(&data, "data=%s", what);
        overrides[n++] = data.s;
    }
    for (int i = 0; i < ngiven; i++)
        overrides[n++] = given[i];
    opt.noverrides = n;
    struct ddp_config *cfg = NULL;
    int status = 0;
    if (ddp_config_load(&opt, &cfg, &err) || inspect(cfg, sheet, &err))
        status = ddp_report("ddp-data", &err);
    ddp_config_destroy(cfg);
    free(full);
    ddp_text_finish(&data);
    ddp_text_finish(&path);
    return status;
}
