/* The plan lock. */
#include "device/lock.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define FORMAT "ddp plan lock 1"
enum { MAX_STRING = 1000, MAX_FILE = 16 << 20 };

struct entry {
    char *signature, *text;
};

struct ddp_gpu_lock {
    struct ddp_gpu_identity id;
    char *name; /* of the file it came from; NULL */
    struct entry *plan;
    size_t n, cap;
};

/* The numbers of an identity by their names in the file; compute_capability is put together from two. */
static const struct {
    const char *key;
    size_t offset;
    bool version; /* as cudnn 9.19 is 91900 */
} numbers[] = {
    {"sms", offsetof(struct ddp_gpu_identity, sms), false},
    {"driver", offsetof(struct ddp_gpu_identity, driver), true},
    {"runtime", offsetof(struct ddp_gpu_identity, runtime), true},
    {"cudnn", offsetof(struct ddp_gpu_identity, cudnn), true},
    {"cublaslt", offsetof(struct ddp_gpu_identity, cublaslt), true},
};

static int *number(struct ddp_gpu_identity *id, size_t i)
{
    return (int *)((char *)id + numbers[i].offset);
}

static int number_of(const struct ddp_gpu_identity *id, size_t i)
{
    return *(const int *)((const char *)id + numbers[i].offset);
}

static bool plain(char c)
{
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

/* Why a string cannot be in a lock; NULL: it can. */
static const char *refuse(const char *s)
{
    const size_t n = strlen(s);
    if (n == 0)
        return "is empty";
    if (n > MAX_STRING)
        return "is longer than 1,000 bytes";
    for (size_t i = 0; i < n; i++)
        if (!plain(s[i]))
            return "has a character that is not printable ASCII, or a quote or backslash";
    return NULL;
}

/* ---- identity ---- */

void ddp_gpu_identity_init(struct ddp_gpu_identity *id, const struct ddp_gpu_info *info,
                           const struct ddp_gpu_versions *versions)
{
    *id = (struct ddp_gpu_identity){.sms = info->sms,
                                    .major = info->major,
                                    .minor = info->minor,
                                    .driver = versions->driver,
                                    .runtime = versions->runtime,
                                    .cudnn = versions->cudnn,
                                    .cublaslt = versions->cublaslt};
    size_t n = 0;
    for (; info->name[n] && n < sizeof id->device - 1; n++)
        id->device[n] = '?';
    for (size_t i = 0; i < n; i++)
        if (plain(info->name[i]))
            id->device[i] = info->name[i];
    if (n == 0)
        id->device[0] = '?';
}

int ddp_gpu_lock_match(const struct ddp_gpu_lock *lock, const struct ddp_gpu_identity *here,
                       struct ddp_error *err)
{
    const struct ddp_gpu_identity *id = &lock->id;
    struct ddp_text t;
    ddp_text_init(&t);
    if (strcmp(id->device, here->device) != 0)
        ddp_text_add(&t, "  device: %s in the lock, %s here\n", id->device, here->device);
    if (id->major != here->major || id->minor != here->minor)
        ddp_text_add(&t, "  compute capability: %d.%d in the lock, %d.%d here\n", id->major, id->minor,
                     here->major, here->minor);
    for (size_t i = 0; i < DDP_COUNT(numbers); i++)
        if (number_of(id, i) != number_of(here, i))
            ddp_text_add(&t, "  %s%s: %d in the lock, %d here\n", numbers[i].key,
                         numbers[i].version ? " version" : "", number_of(id, i), number_of(here, i));
    int rc = 0;
    if (t.len > 0)
        rc = ddp_fail(err, DDP_E_CONFIG,
                      "%s was made on another kind of machine, so the bits would not be the same:\n%s"
                      "use the machine and libraries of the lock, or choose algorithms anew with --relock",
                      lock->name ? lock->name : "the plan lock", t.s);
    ddp_text_finish(&t);
    return rc;
}

/* ---- the set ---- */

struct ddp_gpu_lock *ddp_gpu_lock_create(const struct ddp_gpu_identity *id)
{
    struct ddp_gpu_lock *lock = ddp_calloc(1, sizeof *lock);
    lock->id = *id;
    return lock;
}

void ddp_gpu_lock_destroy(struct ddp_gpu_lock *lock)
{
    if (!lock)
        return;
    for (size_t i = 0; i < lock->n; i++) {
        free(lock->plan[i].signature);
        free(lock->plan[i].text);
    }
    free(lock->plan);
    free(lock->name);
    free(lock);
}

const struct ddp_gpu_identity *ddp_gpu_lock_identity(const struct ddp_gpu_lock *lock)
{
    return &lock->id;
}

size_t ddp_gpu_lock_count(const struct ddp_gpu_lock *lock)
{
    return lock->n;
}

/* The first entry that is not below signature; n: none. */
static size_t place(const struct ddp_gpu_lock *lock, const char *signature)
{
    size_t lo = 0, hi = lock->n;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (strcmp(lock->plan[mid].signature, signature) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const char *ddp_gpu_lock_find(const struct ddp_gpu_lock *lock, const char *signature)
{
    const size_t i = place(lock, signature);
    return i < lock->n && strcmp(lock->plan[i].signature, signature) == 0 ? lock->plan[i].text : NULL;
}

int ddp_gpu_lock_add(struct ddp_gpu_lock *lock, const char *signature, const char *text,
                     struct ddp_error *err)
{
    const char *why = refuse(signature);
    if (why)
        return ddp_fail(err, DDP_E_INTERNAL, "plan lock: the signature '%.80s' %s", signature, why);
    why = refuse(text);
    if (why)
        return ddp_fail(err, DDP_E_INTERNAL, "plan lock: the plan of '%s' %s", signature, why);
    const char *old = ddp_gpu_lock_find(lock, signature);
    if (old && strcmp(old, text) != 0)
        return ddp_fail(err, DDP_E_INTERNAL, "plan lock: '%s' has the plan '%s', not '%s'", signature, old,
                        text);
    if (old)
        return 0;
    if (lock->n == lock->cap) {
        lock->cap = lock->cap ? 2 * lock->cap : 64;
        lock->plan = ddp_realloc(lock->plan, lock->cap * sizeof *lock->plan);
    }
    const size_t i = place(lock, signature);
    memmove(&lock->plan[i + 1], &lock->plan[i], (lock->n - i) * sizeof *lock->plan);
    lock->plan[i] = (struct entry){ddp_strdup(signature), ddp_strdup(text)};
    lock->n++;
    return 0;
}

/* ---- writing ---- */

void ddp_gpu_lock_text(const struct ddp_gpu_lock *lock, struct ddp_text *t)
{
    const struct ddp_gpu_identity *id = &lock->id;
    ddp_text_add(t, "{\n  \"format\": \"%s\",\n  \"identity\": {\n", FORMAT);
    ddp_text_add(t, "    \"device\": \"%s\",\n    \"compute_capability\": \"%d.%d\"", id->device, id->major,
                 id->minor);
    for (size_t i = 0; i < DDP_COUNT(numbers); i++)
        ddp_text_add(t, ",\n    \"%s\": %d", numbers[i].key, number_of(id, i));
    ddp_text_add(t, "\n  },\n  \"plans\": {");
    for (size_t i = 0; i < lock->n; i++)
        ddp_text_add(t, "%s\n    \"%s\": \"%s\"", i ? "," : "", lock->plan[i].signature, lock->plan[i].text);
    ddp_text_add(t, "%s}\n}\n", lock->n ? "\n  " : "");
}

void ddp_gpu_lock_hash(const struct ddp_gpu_lock *lock, char hex[65])
{
    struct ddp_text t;
    struct ddp_sha256 h;
    ddp_text_init(&t);
    ddp_gpu_lock_text(lock, &t);
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, t.s, t.len);
    ddp_sha256_hex(&h, hex);
    ddp_text_finish(&t);
}

int ddp_gpu_lock_write(const struct ddp_gpu_lock *lock, const char *path, struct ddp_error *err)
{
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_gpu_lock_text(lock, &t);
    int rc = ddp_file_write(path, t.s, t.len, err);
    ddp_text_finish(&t);
    return rc;
}

/* ---- reading ---- */

/* A string member of an object, or NULL with DDP_E_CONFIG; what: the object, for errors. */
static const char *get_string(const json_t *object, const char *what, const char *key, struct ddp_error *err)
{
    const char *s = json_string_value(json_object_get(object, key));
    const char *why = s ? refuse(s) : NULL;
    if (!s)
        ddp_fail(err, DDP_E_CONFIG, "%s has no text \"%s\"", what, key);
    if (why)
        ddp_fail(err, DDP_E_CONFIG, "%s: \"%s\" %s", what, key, why);
    return why ? NULL : s;
}

static int get_identity(const json_t *object, struct ddp_gpu_identity *id, struct ddp_error *err)
{
    const char *device = get_string(object, "\"identity\"", "device", err);
    if (!device)
        return DDP_E_CONFIG;
    const char *cc = get_string(object, "\"identity\"", "compute_capability", err);
    if (!cc)
        return DDP_E_CONFIG;
    if (strlen(device) >= sizeof id->device)
        return ddp_fail(err, DDP_E_CONFIG, "\"identity\": \"device\" is longer than %zu bytes",
                        sizeof id->device - 1);
    strcpy(id->device, device);
    char again[32] = "";
    if (sscanf(cc, "%4d.%4d", &id->major, &id->minor) == 2)
        snprintf(again, sizeof again, "%d.%d", id->major, id->minor);
    if (strcmp(again, cc) != 0 || id->major < 0 || id->minor < 0)
        return ddp_fail(err, DDP_E_CONFIG,
                        "\"compute_capability\" is \"%.20s\": it is two numbers, as in \"9.0\"", cc);
    for (size_t i = 0; i < DDP_COUNT(numbers); i++) {
        const json_t *v = json_object_get(object, numbers[i].key);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
            return ddp_fail(err, DDP_E_CONFIG, "\"identity\" has no whole number \"%s\" of 0 or more",
                            numbers[i].key);
        *number(id, i) = (int)json_integer_value(v);
    }
    if (json_object_size(object) != 2 + DDP_COUNT(numbers))
        return ddp_fail(err, DDP_E_CONFIG,
                        "\"identity\" has other members than device, compute_capability, sms, "
                        "driver, runtime, cudnn, cublaslt");
    return 0;
}

static int by_signature(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->signature, ((const struct entry *)b)->signature);
}

/* All at once and sorted once: putting each into its place takes time with the square of their number. */
static int get_plans(json_t *plans, struct ddp_gpu_lock *lock, struct ddp_error *err)
{
    const char *signature;
    json_t *value;
    lock->cap = json_object_size(plans) + 1;
    lock->plan = ddp_calloc(lock->cap, sizeof *lock->plan);
    json_object_foreach(plans, signature, value) {
        const char *why = refuse(signature);
        if (why)
            return ddp_fail(err, DDP_E_CONFIG, "\"plans\": a signature %s", why);
        const char *text = get_string(plans, "\"plans\"", signature, err);
        if (!text)
            return DDP_E_CONFIG;
        lock->plan[lock->n++] = (struct entry){ddp_strdup(signature), ddp_strdup(text)};
    }
    qsort(lock->plan, lock->n, sizeof *lock->plan, by_signature);
    return 0;
}

static int get_lock(json_t *root, struct ddp_gpu_lock **out, struct ddp_error *err)
{
    if (!json_is_object(root))
        return ddp_fail(err, DDP_E_CONFIG, "not a JSON object");
    const char *format = get_string(root, "the file", "format", err);
    if (!format)
        return DDP_E_CONFIG;
    if (strcmp(format, FORMAT) != 0)
        return ddp_fail(err, DDP_E_CONFIG, "its format is '%.80s', this program reads '%s'", format, FORMAT);
    json_t *identity = json_object_get(root, "identity"), *plans = json_object_get(root, "plans");
    if (!json_is_object(identity) || !json_is_object(plans) || json_object_size(root) != 3)
        return ddp_fail(err, DDP_E_CONFIG,
                        "it must have \"format\", and the objects \"identity\" and \"plans\", and "
                        "nothing else");
    struct ddp_gpu_identity id = {0};
    int rc = get_identity(identity, &id, err);
    if (rc)
        return rc;
    struct ddp_gpu_lock *lock = ddp_gpu_lock_create(&id);
    rc = get_plans(plans, lock, err);
    if (rc)
        ddp_gpu_lock_destroy(lock);
    else
        *out = lock;
    return rc;
}

int ddp_gpu_lock_parse(const char *name, const char *json, size_t bytes, struct ddp_gpu_lock **out,
                       struct ddp_error *err)
{
    json_error_t why;
    json_t *root = json_loadb(json, bytes, JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return ddp_fail(err, DDP_E_CONFIG, "%s: not a plan lock: line %d: %s", name, why.line, why.text);
    int rc = get_lock(root, out, err);
    json_decref(root);
    if (rc) {
        ddp_error_prefix(err, "%s: not a plan lock", name);
        return rc;
    }
    (*out)->name = ddp_strdup(name);
    return 0;
}

int ddp_gpu_lock_read(const char *path, struct ddp_gpu_lock **out, struct ddp_error *err)
{
    char *json;
    size_t bytes;
    int rc = ddp_file_read(path, MAX_FILE, &json, &bytes, err);
    if (rc)
        return rc;
    rc = ddp_gpu_lock_parse(path, json, bytes, out, err);
    free(json);
    return rc;
}

/* ---- signatures ---- */

static const char *const types[] = {[DDP_GPU_F32] = "f32", [DDP_GPU_BF16] = "bf16", [DDP_GPU_F16] = "f16"};
static const char *const passes[] = {
    [DDP_GPU_CONV_FORWARD] = "fwd", [DDP_GPU_CONV_DGRAD] = "dgrad", [DDP_GPU_CONV_WGRAD] = "wgrad"};

/* Behind problems in fp32 only: other types have no choice. */
static const char *tf32(enum ddp_gpu_type type, bool allowed)
{
    return type == DDP_GPU_F32 && allowed ? " tf32" : "";
}

static const char *epilogue(unsigned bits)
{
    return bits == DDP_GPU_BIAS ? " bias" : bits == DDP_GPU_BIAS_RELU ? " bias relu" : "";
}

char *ddp_gpu_conv_signature(const struct ddp_gpu_conv *c, enum ddp_gpu_conv_pass pass,
                             char buf[DDP_GPU_SIGNATURE])
{
    char dilation[16] = ""; /* named where there is one: locks from before it stay good */
    if (ddp_gpu_conv_dilation(c) > 1)
        snprintf(dilation, sizeof dilation, " d%d", c->dilation);
    snprintf(buf, DDP_GPU_SIGNATURE, "conv %s n%d h%d w%d c%d k%d r%d s%d st%d p%d%s g%d %s%s%s",
             passes[pass], c->n, c->h, c->w, c->c, c->k, c->r, c->s, c->stride, c->pad, dilation, c->groups,
             types[c->type], tf32(c->type, c->tf32), epilogue(c->epilogue));
    return buf;
}

char *ddp_gpu_matmul_signature(const struct ddp_gpu_matmul *m, char buf[DDP_GPU_SIGNATURE])
{
    snprintf(buf, DDP_GPU_SIGNATURE, "matmul m%d n%d l%d %c%c %s %s%s%s", m->m, m->n, m->l, m->ta ? 't' : 'n',
             m->tb ? 't' : 'n', types[m->type], types[m->out_type], tf32(m->type, m->tf32),
             epilogue(m->epilogue));
    return buf;
}
