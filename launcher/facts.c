/* Looking at a host before ranks are started there. */
#include "launcher/facts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "comm/memory.h"
#include "data/data.h"
#include "launcher/gpus.h"
#include "launcher/preflight.h"
#include "topology/topology.h"

static void fault(json_t *facts, const char *name, const char *text)
{
    json_object_set_new(json_object_get(facts, "faults"), name, json_string(text));
}

/* ---- the machine ----------------------------------------------------------------------------- */

static void look_at_gpus(const struct ddp_config *cfg, json_t *facts)
{
    const struct ddp_options opt = {0};
    struct ddp_launch_gpus gpus = {0};
    struct ddp_error err = {0};
    json_t *list = json_array();
    if (ddp_launch_gpus_find(cfg, &opt, &gpus, &err) != 0)
        fault(facts, "gpus", err.text);
    for (int i = 0; i < gpus.list.n; i++)
        json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "pci", gpus.gpu[i].pci, "uuid",
                                              gpus.gpu[i].uuid, "name", gpus.gpu[i].name));
    json_object_set_new(facts, "gpus", list);
    json_object_set_new(facts, "gpus_note", json_string(gpus.note));
    ddp_launch_gpus_finish(&gpus);
}

void ddp_facts_machine(struct ddp_claim *claim, json_t *facts)
{
    struct ddp_machine *machine = NULL;
    struct ddp_error err = {0};
    char *xml = NULL;
    int rc = ddp_machine_create_with_io(&machine, &err);
    if (rc == 0 && claim) {
        if (claim->folder < 0)
            ddp_claim_open(claim);
        ddp_claim_look(claim, machine);
    }
    if (rc == 0)
        rc = ddp_machine_xml(machine, &xml, &err);
    if (rc != 0)
        fault(facts, "machine", err.text);
    else
        json_object_set_new(facts, "machine", json_string(xml));
    free(xml);
    ddp_machine_destroy(machine);
}

static void look_at_memory(json_t *facts)
{
    struct statvfs s;
    if (statvfs("/dev/shm", &s) == 0)
        json_object_set_new(facts, "shm", json_real((double)s.f_bavail * (double)s.f_frsize));
    json_object_set_new(facts, "memory", json_real((double)ddp_memory_available("", NULL)));
}

/* ---- files ----------------------------------------------------------------------------------- */

static void hash_file(const char *path, const char *name, json_t *facts)
{
    const void *data;
    size_t n;
    struct ddp_error err = {0};
    struct ddp_sha256 h;
    char hex[65];
    if (ddp_file_map(path, &data, &n, &err) != 0) {
        fault(facts, name, err.text);
        return;
    }
    ddp_sha256_init(&h);
    ddp_sha256_update(&h, data, n);
    ddp_sha256_hex(&h, hex);
    ddp_file_unmap(data, n);
    json_object_set_new(facts, name, json_string(hex));
}

static void look_at_programs(const char *program, json_t *facts)
{
    static const char *const folders[] = {"", "../lib/", "../lib64/"}; /* beside the program, or installed */
    char plugin[PATH_MAX];
    hash_file(program, "program", facts);
    const char *slash = strrchr(program, '/');
    for (size_t i = 0; i < DDP_COUNT(folders) && !json_object_get(facts, "mpi"); i++) {
        snprintf(plugin, sizeof plugin, "%.*s/%slibddp_mpi.so", slash ? (int)(slash - program) : 1,
                 slash ? program : ".", folders[i]);
        if (ddp_path_exists(plugin))
            hash_file(plugin, "mpi", facts);
    }
}

static void look_at_data(const struct ddp_config *cfg, bool whole, json_t *facts)
{
    static const enum ddp_split splits[] = {DDP_SPLIT_TRAIN, DDP_SPLIT_TEST};
    json_t *hashes = json_array();
    for (size_t i = 0; i < DDP_COUNT(splits); i++) {
        struct ddp_error err = {0};
        char hex[65] = "";
        if ((whole ? ddp_dataset_digest : ddp_dataset_mark)(cfg, splits[i], hex, &err) != 0) {
            fault(facts, "data", err.text);
            break;
        }
        json_array_append_new(hashes, json_string(hex));
    }
    json_object_set_new(facts, "data", hashes);
}

static void look_at_runs(const char *runs, const char *marker, json_t *facts)
{
    struct ddp_error err = {0};
    if (!*runs)
        return;
    const bool seen = !*marker || ddp_path_exists(marker);
    if (!seen)
        fault(facts, "run", "is not the same folder as on the launcher's host");
    else if (ddp_check_writable(runs, &err) != 0)
        fault(facts, "run", err.text);
    json_object_set_new(facts, "run", json_boolean(seen));
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* The config has no file on this host. */
static struct ddp_config *load_text(const char *text, struct ddp_error *err)
{
    struct ddp_config *cfg = NULL;
    char path[64];
    const int fd = memfd_create("ddp-config", MFD_CLOEXEC);
    const size_t n = strlen(text);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const struct ddp_config_options source = {.path = path};
    if (fd < 0 || write(fd, text, n) != (ssize_t)n)
        ddp_fail(err, DDP_E_RESOURCE, "no memory for a copy of the config: %s", strerror(errno));
    else
        ddp_config_load(&source, &cfg, err);
    if (fd >= 0)
        close(fd);
    return cfg;
}

json_t *ddp_facts_read(const struct ddp_facts_ask *ask)
{
    json_t *facts = json_pack("{s:{}}", "faults");
    struct ddp_error err = {0};
    if (*ask->folder && chdir(ask->folder) != 0) {
        char text[PATH_MAX + 64];
        snprintf(text, sizeof text, "%s: %s", ask->folder, strerror(errno));
        fault(facts, "folder", text);
    }
    if (!ask->without_machine)
        ddp_facts_machine(ask->claim, facts);
    look_at_programs(ask->program, facts);
    look_at_memory(facts);
    look_at_runs(ask->runs, ask->marker, facts);
    struct ddp_config *cfg = load_text(ask->config, &err);
    if (cfg) {
        look_at_gpus(cfg, facts);
        look_at_data(cfg, ask->whole, facts);
    } else {
        fault(facts, "config", err.text);
    }
    ddp_config_destroy(cfg);
    json_object_set_new(facts, "clock", json_real(ddp_wall()));
    return facts;
}
