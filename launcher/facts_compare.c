/* What must be alike on all hosts, and what each must have. */
#include "launcher/facts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double SKEW_S = 2;        /* more would mix up logs and file times */
static const double ROOM_BYTES = 32e6; /* of /dev/shm: MPI's own files */

/* One thing on one host: its value where that must be the same everywhere ("" nothing to compare), else a
 * word for the table; false with *why: it is wrong. */
typedef bool (*look)(const struct ddp_host_facts *h, char *value, size_t size, char *why, size_t why_size);

static void text_value(const json_t *v, char *value, size_t size)
{
    if (json_is_string(v))
        snprintf(value, size, "%s", json_string_value(v));
    else if (json_is_array(v)) /* of texts, which belong together */
        for (size_t i = 0; i < json_array_size(v); i++)
            snprintf(value + strlen(value), size - strlen(value), "%s%s", i ? " " : "",
                     json_string_value(json_array_get(v, i)));
}

static bool is_clock_right(const struct ddp_host_facts *h, char *value, size_t size, char *why, size_t n)
{
    const double beyond = fabs(h->skew) - h->skew_off;
    snprintf(value, size, "within %.3g s", h->skew_off + fabs(h->skew));
    snprintf(why, n, "its clock is %.1f s %s this host's", fabs(h->skew),
             h->skew > 0 ? "ahead of" : "behind");
    return beyond < SKEW_S;
}

static bool has_room(const struct ddp_host_facts *h, char *value, size_t size, char *why, size_t n)
{
    char text[32];
    const json_t *v = json_object_get(h->facts, "shm");
    ddp_bytes_text(json_number_value(v), text);
    snprintf(value, size, "%s free", text);
    snprintf(why, n, "/dev/shm has %s free", text);
    return !v || json_number_value(v) >= ROOM_BYTES;
}

static bool has_memory(const struct ddp_host_facts *h, char *value, size_t size, char *why, size_t n)
{
    char text[32];
    (void)why;
    (void)n;
    ddp_bytes_text(json_number_value(json_object_get(h->facts, "memory")), text);
    snprintf(value, size, "%s free", text);
    return true;
}

static bool list_gpus(const struct ddp_host_facts *h, char *value, size_t size, char *why, size_t n)
{
    (void)why;
    (void)n;
    const size_t gpus = json_array_size(json_object_get(h->facts, "gpus"));
    if (gpus > 0)
        snprintf(value, size, "%zu", gpus);
    else
        snprintf(value, size, "none");
    return true;
}

/* In the order in which one would repair them. key: of the fact and of its fault; same: must be so on all
 * hosts; all: also where no rank computes. */
static const struct rule {
    const char *name, *key;
    bool same, all;
    look looks; /* NULL: the fact itself */
    const char *differs, *cure;
} rules[] = {
    {"folder", "folder", false, false, NULL, "", "start from a folder that all hosts see"},
    {"config", "config", false, false, NULL, "", "install the same version of ddp on all hosts"},
    {"program", "program", true, true, NULL, "has another build of the program than the others",
     "install or copy the same build to all hosts"},
    {"MPI plug-in", "mpi", true, false, NULL, "has another libddp_mpi.so than the others, or none",
     "install or copy the same build to all hosts"},
    {"topology", "machine", false, false, NULL, "", "see what 'lstopo' says there"},
    {"GPUs", "gpus", false, false, list_gpus, "", "see what 'nvidia-smi' says there"},
    {"data", "data", true, false, NULL, "has other data than the others",
     "copy the same files to all hosts, or keep them where all see them"},
    {"run directory", "run", false, false, NULL, "",
     "choose a run.dir that all hosts share and may write to"},
    {"clock", "clock", false, true, is_clock_right, "", "set it by NTP (chronyc makestep)"},
    {"/dev/shm", "shm", false, false, has_room, "", "remove old files there, or enlarge it"},
    {"memory", "memory", false, false, has_memory, "", ""},
};

/* The value that most hosts have, of the first of them where that is not clear. */
static const char *most_common(char (*value)[160], int n)
{
    int best = 0;
    const char *found = "";
    for (int i = 0; i < n; i++) {
        int count = 0;
        for (int k = 0; k < n; k++)
            count += *value[i] && strcmp(value[i], value[k]) == 0;
        if (count > best)
            found = value[i];
        best = count > best ? count : best;
    }
    return found;
}

static void add_fault(struct ddp_check_row *row, const char *host, const char *what, const char *cure)
{
    ddp_text_add(&row->faults, "%s: %s%s%s\n", host, what, *cure ? "; " : "", cure);
}

static void check_host(const struct rule *r, const struct ddp_host_facts *h, char value[160],
                       struct ddp_check_row *row)
{
    char why[256] = "";
    const char *told = json_string_value(json_object_get(json_object_get(h->facts, "faults"), r->key));
    if (told) {
        add_fault(row, h->host, told, r->cure);
        return;
    }
    const bool good = r->looks ? r->looks(h, value, 160, why, sizeof why) : true;
    if (!r->looks)
        text_value(json_object_get(h->facts, r->key), value, 160);
    if (!good)
        add_fault(row, h->host, why, r->cure);
}

static void compare(const struct rule *r, const struct ddp_host_facts *host, int n, struct ddp_check_row *row)
{
    char(*value)[160] = ddp_calloc((size_t)n, sizeof *value);
    *row = (struct ddp_check_row){.name = r->name};
    ddp_text_init(&row->faults);
    for (int i = 0; i < n; i++)
        if (r->all || host[i].computes)
            check_host(r, &host[i], value[i], row);
    const char *common = most_common(value, n);
    for (int i = 0; i < n && r->same; i++)
        if ((r->all || host[i].computes) && strcmp(value[i], common) != 0 &&
            !json_object_get(json_object_get(host[i].facts, "faults"), r->key))
            add_fault(row, host[i].host, r->differs, r->cure);
    if (r->same)
        snprintf(row->value, sizeof row->value, "%s%.12s", *common ? "same everywhere: " : "none", common);
    else if (r->looks)
        snprintf(row->value, sizeof row->value, "%.100s", common);
    else
        snprintf(row->value, sizeof row->value, "good");
    free(value);
}

int ddp_facts_compare(const struct ddp_host_facts *host, int n, struct ddp_check_row **rows)
{
    *rows = ddp_calloc(DDP_COUNT(rules), sizeof **rows);
    for (size_t i = 0; i < DDP_COUNT(rules); i++)
        compare(&rules[i], host, n, &(*rows)[i]);
    return (int)DDP_COUNT(rules);
}

bool ddp_facts_data_differs(const struct ddp_host_facts *host, int n)
{
    char first[160] = "", value[160];
    for (int i = 0; i < n; i++) {
        value[0] = '\0';
        text_value(json_object_get(host[i].facts, "data"), value, sizeof value);
        if (*first && *value && strcmp(first, value) != 0)
            return true;
        if (*value)
            strcpy(first, value);
    }
    return false;
}

void ddp_check_rows_free(struct ddp_check_row *rows, int n)
{
    for (int i = 0; i < n; i++)
        ddp_text_finish(&rows[i].faults);
    free(rows);
}
