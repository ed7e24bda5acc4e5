/* state.json: integers, and doubles as hexadecimal floats, which are exact. Its last line is the SHA-256 of
 * all before it, so that no flipped bit goes unnoticed. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/private.h"

enum { FORMAT = 3, OLDEST = 2 };
/* NONE: not there when unset. */
enum kind { COUNT, STEP_OR_NONE, EXACT, FLAG, FLAG_OR_NONE, HASH, HASH_OR_NONE };

/* No run gets further: train.max_steps reaches MANY, train.epochs MAX_EPOCHS, and sums of these fit. */
#define MANY       (INT64_C(1) << 53)
#define MAX_EPOCHS 1000000

#define STATE(field) offsetof(struct ddp_state_file, state.field)
static const struct {
    const char *name;
    enum kind kind;
    size_t offset;
    int since;   /* format that brought it; 0: all have it */
    int64_t max; /* of a COUNT or STEP_OR_NONE; 0: MANY */
} fields[] = {
    {"step", COUNT, STATE(step), 0, 0},
    {"epoch", COUNT, STATE(epoch), 0, MAX_EPOCHS},
    {"batch", COUNT, STATE(batch), 0, UINT32_MAX},
    {"batches_tracked", COUNT, STATE(batches_tracked), 0, 0},
    {"best_loss", EXACT, STATE(best_loss), 0, 0},
    {"best_accuracy", EXACT, STATE(best_accuracy), 0, 0},
    {"best_step", STEP_OR_NONE, STATE(best_step), 0, 0},
    {"evals_since_best", COUNT, STATE(evals_since_best), 0, 0},
    {"epoch_loss_sum", EXACT, STATE(epoch_loss_sum), 0, 0},
    {"epoch_correct", COUNT, STATE(epoch_correct), 0, 0},
    {"epoch_count", COUNT, STATE(epoch_count), 0, 0},
    {"evaluations", COUNT, STATE(evaluations), 0, 0},
    {"end_eval_owed", FLAG_OR_NONE, STATE(end_eval_owed), 0, 0},
    {"loss_scale", EXACT, STATE(loss_scale), 0, 0},
    {"loss_scale_good", COUNT, STATE(loss_scale_good), 0, 0},
    {"loss_scale_skipped", COUNT, STATE(loss_scale_skipped), 0, 0},
    {"config_hash", HASH, STATE(config_hash), 0, 0},
    {"engine", HASH, STATE(engine), 3, 0},
    {"experiment", HASH, STATE(experiment), 3, 0},
    {"train_data", HASH, STATE(train_data), 3, 0},
    {"test_data", HASH, STATE(test_data), 3, 0},
    {"saved_ms", COUNT, STATE(saved_ms), 3, 0},
    {"best", FLAG, offsetof(struct ddp_state_file, best), 0, 0},
    {"weights_hash", HASH, offsetof(struct ddp_state_file, weights_hash), 0, 0},
    {"model_sha256", HASH, offsetof(struct ddp_state_file, model_sha256), 0, 0},
    {"optimizer_sha256", HASH, offsetof(struct ddp_state_file, optim_sha256), 0, 0},
    {"ema_sha256", HASH_OR_NONE, offsetof(struct ddp_state_file, average_sha256), 0, 0},
};

/* "0x1.8000000000000p+3": as %a of C99, from the bits, so that no locale has a say. */
static void add_exact(struct ddp_text *t, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, 8);
    const char *sign = bits >> 63 ? "-" : "";
    int exponent = (int)(bits >> 52 & 2047);
    unsigned long long fraction = bits & ((1ULL << 52) - 1);
    if (exponent == 2047)
        ddp_text_add(t, "\"%s\"", fraction ? "nan" : *sign ? "-inf" : "inf");
    else
        ddp_text_add(t, "\"%s0x%d.%013llxp%+d\"", sign, exponent != 0, fraction,
                     exponent != 0 ? exponent - 1023 : -1022);
}

char *ddp_state_text(const struct ddp_state_file *s)
{
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_text_add(&t, "{\n  \"format\": %d,\n", FORMAT);
    for (size_t i = 0; i < DDP_COUNT(fields); i++) {
        const char *at = (const char *)s + fields[i].offset;
        if ((fields[i].kind == HASH_OR_NONE || fields[i].kind == FLAG_OR_NONE) && !*at)
            continue;
        ddp_text_add(&t, "  \"%s\": ", fields[i].name);
        if (fields[i].kind == EXACT)
            add_exact(&t, *(const double *)(const void *)at);
        else if (fields[i].kind == HASH || fields[i].kind == HASH_OR_NONE)
            ddp_text_add(&t, "\"%s\"", at);
        else if (fields[i].kind == FLAG || fields[i].kind == FLAG_OR_NONE)
            ddp_text_add(&t, "%s", *(const bool *)at ? "true" : "false");
        else
            ddp_text_add(&t, "%lld", (long long)*(const int64_t *)(const void *)at);
        ddp_text_add(&t, ",\n");
    }
    struct ddp_sha256 h;
    char hex[65];
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, t.s, t.len);
    ddp_sha256_hex(&h, hex);
    ddp_text_add(&t, "  \"check\": \"%s\"\n}\n", hex);
    return t.s;
}

/* The text up to its last entry, "check", has the hash that is written there, and nothing follows it. */
static bool whole(const char *text, size_t bytes)
{
    static const char lead[] = "  \"check\": \"", trail[] = "\"\n}\n";
    const size_t end = sizeof lead - 1 + 64 + sizeof trail - 1;
    if (bytes < end)
        return false;
    struct ddp_sha256 h;
    char hex[65], want[128];
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, text, bytes - end);
    ddp_sha256_hex(&h, hex);
    snprintf(want, sizeof want, "%s%s%s", lead, hex, trail);
    return memcmp(text + bytes - end, want, end) == 0;
}

/* Written again it is the same. */
static bool is_plain(const char *s)
{
    while (*s >= ' ' && *s != '"' && *s != '\\')
        s++;
    return *s == '\0';
}

static bool read_field(const json_t *v, enum kind kind, int64_t max, char *out)
{
    const char *s = json_string_value(v);
    switch (kind) {
    case EXACT:
        return s && ddp_parse_double(s, (double *)(void *)out);
    case HASH_OR_NONE:
        if (!v)
            return true;
        /* fall through */
    case HASH:
        if (!s || strlen(s) > 64 || !is_plain(s))
            return false;
        memcpy(out, s, strlen(s) + 1);
        return true;
    case FLAG_OR_NONE:
        if (!v)
            return true;
        /* fallthrough */
    case FLAG:
        *(bool *)out = json_is_true(v);
        return json_is_boolean(v);
    default:
        *(int64_t *)(void *)out = json_integer_value(v);
        return json_is_integer(v) && json_integer_value(v) >= (kind == STEP_OR_NONE ? -1 : 0) &&
               json_integer_value(v) <= (max ? max : MANY);
    }
}

static int read_fields(const char *path, const json_t *root, struct ddp_state_file *s, struct ddp_error *err)
{
    json_int_t format = json_integer_value(json_object_get(root, "format"));
    if (format < OLDEST || format > FORMAT)
        return ddp_fail(err, DDP_E_CHECKPOINT,
                        "%s: its format is %lld, this program reads %d and %d; use the version that wrote it",
                        path, (long long)format, OLDEST, FORMAT);
    for (size_t i = 0; i < DDP_COUNT(fields); i++)
        if (format >= fields[i].since && !read_field(json_object_get(root, fields[i].name), fields[i].kind,
                                                     fields[i].max, (char *)s + fields[i].offset))
            return ddp_fail(err, DDP_E_CHECKPOINT, "%s: damaged: '%s' is missing or not what it should be",
                            path, fields[i].name);
    return 0;
}

int ddp_state_parse(const char *path, const char *text, size_t bytes, struct ddp_state_file *out,
                    struct ddp_error *err)
{
    if (!whole(text, bytes))
        return ddp_fail(err, DDP_E_CHECKPOINT,
                        "%s: damaged or changed by hand: its 'check' does not fit its text", path);
    json_error_t why;
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return ddp_fail(err, DDP_E_CHECKPOINT, "%s: damaged: line %d: %s", path, why.line, why.text);
    struct ddp_state_file s = {0};
    int status = read_fields(path, root, &s, err);
    json_decref(root);
    if (status == 0)
        *out = s;
    return status;
}
