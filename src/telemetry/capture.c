/* What a record says of the program, the machine and the environment, as they are while it runs. */
#include "telemetry/capture.h"

#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "ddp_version.h"
#include "telemetry/telemetry.h"

#ifdef __clang__
#define DDP_COMPILER __VERSION__
#else
#define DDP_COMPILER "gcc " __VERSION__
#endif

static json_t *text(const char *s)
{
    return s ? json_string(s) : json_null();
}

/* ---- code ------------------------------------------------------------------------------------ */

/* Hash of the running program: two builds of one source may differ in their compiler. */
static json_t *binary_hash(void)
{
    char hex[65];
    return ddp_file_sha256("/proc/self/exe", hex, NULL) ? json_null() : json_string(hex);
}

/* The changes against the commit, packed by gzip; a zero behind them. */
static const unsigned char diff_gz[] = {DDP_DIFF_GZ 0};

/* The file of the run directory that has them; false: there are none, or they are too many to carry. */
static bool diff_name(char name[64])
{
    snprintf(name, 64, "code-%.12s.diff.gz", DDP_DIFF);
    return sizeof diff_gz > 1;
}

int ddp_rundir_keep_diff(const char *run_dir, struct ddp_later *later, struct ddp_error *err)
{
    char name[64], path[1200];
    if (!diff_name(name))
        return 0;
    snprintf(path, sizeof path, "%s/%s", run_dir, name);
    return ddp_path_exists(path) ? 0 : ddp_later_file(later, path, diff_gz, sizeof diff_gz - 1, err);
}

json_t *ddp_capture_code(void)
{
    char version[64];
    snprintf(version, sizeof version, *DDP_GIT ? "%s+%s" : "%s", DDP_VERSION, DDP_GIT);
    json_t *o = json_object();
    json_object_set_new(o, "version", json_string(version));
    json_object_set_new(o, "dirty", DDP_DIRTY < 0 ? json_null() : json_boolean(DDP_DIRTY));
    json_object_set_new(o, "diff_sha256", *DDP_DIFF ? json_string(DDP_DIFF) : json_null());
    char diff[64];
    json_object_set_new(o, "diff", diff_name(diff) ? json_string(diff) : json_null());
    json_object_set_new(o, "binary_sha256", binary_hash());
    json_object_set_new(o, "compiler", json_string(DDP_COMPILER));
    return o;
}

/* ---- libraries ------------------------------------------------------------------------------- */

/* The build ID among an object's notes, in hex; "" where it has none. */
static void build_id(const struct dl_phdr_info *object, char hex[65])
{
    hex[0] = '\0';
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type != PT_NOTE)
            continue;
        const char *at = (const char *)object->dlpi_addr + part->p_vaddr,
                   *end = at + part->p_memsz; /* NOLINT */
        while (at + sizeof(ElfW(Nhdr)) <= end) {
            ElfW(Nhdr) note;
            memcpy(&note, at, sizeof note);
            const char *name = at + sizeof note;
            const unsigned char *id = (const unsigned char *)name + ((note.n_namesz + 3) & ~3u);
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(name, "GNU", 4) == 0) {
                for (unsigned k = 0; k < note.n_descsz && k < 32; k++)
                    snprintf(hex + 2 * k, 3, "%02x", id[k]);
                return;
            }
            at = (const char *)id + ((note.n_descsz + 3) & ~3u);
        }
    }
}

/* "libz.so.1": {"file": "libz.so.1.2.13", "build_id": ".."}. The name of the file behind the links has the
 * version in it, the build ID is that of these very bytes. */
static int add_library(struct dl_phdr_info *object, size_t size, void *user)
{
    json_t *list = user;
    char id[65], *real;
    const char *slash = object->dlpi_name ? strrchr(object->dlpi_name, '/') : NULL;
    (void)size;
    if (!slash) /* the program itself, and what the kernel maps */
        return 0;
    build_id(object, id);
    real = realpath(object->dlpi_name, NULL);
    const char *base = real ? strrchr(real, '/') + 1 : slash + 1;
    json_t *o = json_object();
    json_object_set_new(o, "file", text(base));
    json_object_set_new(o, "build_id", *id ? json_string(id) : json_null());
    json_object_set_new(list, slash + 1, o);
    free(real);
    return 0;
}

json_t *ddp_capture_libraries(void)
{
    json_t *list = json_object();
    dl_iterate_phdr(add_library, list);
    return list;
}

/* ---- machine --------------------------------------------------------------------------------- */

/* The name that the processor gives itself; null where it has none. */
static json_t *processor(void)
{
    static const char *const keys[] = {"model name", "CPU part", "cpu model"}; /* x86-64, aarch64, others */
    char line[512], name[256] = "";
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && !*name && fgets(line, sizeof line, f))
        for (size_t i = 0; i < DDP_COUNT(keys); i++) {
            const char *colon = strchr(line, ':');
            if (strncmp(line, keys[i], strlen(keys[i])) == 0 && colon)
                snprintf(name, sizeof name, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        }
    if (f)
        fclose(f);
    return *name ? text(name) : json_null();
}

json_t *ddp_capture_machine(const char *isa, const char *transport, const char *transport_version)
{
    struct utsname u;
    json_t *o = json_object();
    if (uname(&u) == 0) {
        json_object_set_new(o, "system", text(u.sysname));
        json_object_set_new(o, "release", text(u.release));
        json_object_set_new(o, "architecture", text(u.machine));
    }
    json_object_set_new(o, "cpu", processor());
    json_object_set_new(o, "isa", text(isa));
    json_t *libs = json_object();
    char list[] = DDP_LIBRARIES, *save = NULL; /* "name version,name version" */
    for (char *word = strtok_r(list, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        char *space = strchr(word, ' ');
        if (!space)
            continue;
        *space = '\0';
        json_object_set_new(libs, word, json_string(space + 1));
    }
    if (transport_version)
        json_object_set_new(libs, transport, json_string(transport_version));
    json_object_set_new(o, "libraries", libs);
    json_object_set_new(o, "loaded", ddp_capture_libraries());
    return o;
}

/* ---- environment ----------------------------------------------------------------------------- */

/* What of the environment may change how a run goes. */
json_t *ddp_capture_environment(void)
{
    extern char **environ;
    json_t *o = json_object();
    for (char **e = environ; e && *e; e++) {
        const size_t n = strcspn(*e, "=");
        char name[128];
        if (!ddp_env_is_recorded(*e) || n >= sizeof name || (*e)[n] == '\0')
            continue;
        snprintf(name, sizeof name, "%.*s", (int)n, *e);
        json_object_set_new(o, name, json_string(*e + n + 1)); /* nothing where that is no UTF-8 */
    }
    return o;
}

char *ddp_about(void)
{
    json_t *o = json_object();
    json_object_set_new(o, "code", ddp_capture_code());
    json_object_set_new(o, "machine", ddp_capture_machine(ddp_cpu_isa(), NULL, NULL));
    char *dump = json_dumps(o, JSON_INDENT(2)), *own = ddp_strdup(dump ? dump : "{}");
    free(dump);
    json_decref(o);
    return own;
}
