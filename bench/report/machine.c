/* The machine that was measured on: what run.json says of it, and what matters to speed beyond that. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ops/ops.h"
#include "bench/report/private.h"
#include "telemetry/telemetry.h"
#include "topology/topology.h"

/* The first line of a small file, NULL: it is not there. malloc'd. */
static char *first_line(const char *path)
{
    char *text;
    size_t bytes;
    if (ddp_file_read(path, 1 << 20, &text, &bytes, NULL) != 0)
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return text;
}

static void add_line(json_t *o, const char *key, const char *path)
{
    char *text = first_line(path);
    if (text && *text)
        json_object_set_new(o, key, json_string(text));
    free(text);
}

/* A virtual machine's clock, steal and neighbours are its host's. */
static bool is_virtual(void)
{
    char *text;
    size_t bytes;
    if (ddp_file_read("/proc/cpuinfo", 0, &text, &bytes, NULL) != 0)
        return false;
    const bool found = strstr(text, " hypervisor") != NULL;
    free(text);
    return found;
}

/* "0-3,8": the CPUs that this process may use. */
static json_t *allowed_cpus(void)
{
    cpu_set_t set;
    struct ddp_text t;
    ddp_text_init(&t);
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &set))
            continue;
        const int first = cpu;
        while (cpu + 1 < CPU_SETSIZE && CPU_ISSET(cpu + 1, &set))
            cpu++;
        ddp_text_add(&t, first == cpu ? "%s%d" : "%s%d-%d", t.len ? "," : "", first, cpu);
    }
    json_t *o = json_string(t.s);
    ddp_text_finish(&t);
    return o;
}

static int add_topology(json_t *o, struct ddp_error *err)
{
    struct ddp_machine *m;
    const int status = ddp_machine_create(&m, err);
    if (status)
        return status;
    json_object_set_new(o, "topology", json_string(ddp_machine_text(m)));
    json_object_set_new(o, "usable_cores", json_integer(ddp_machine_cores(m)));
    json_object_set_new(o, "usable_threads", json_integer(ddp_machine_pus(m)));
    ddp_machine_destroy(m);
    struct ddp_cpu_quota quota;
    ddp_cpu_quota_read("", &quota);
    if (quota.cpus > 0)
        json_object_set_new(o, "quota_cpus", json_real(quota.cpus));
    return 0;
}

int bench_machine_look(json_t **machine, json_t **code, struct ddp_error *err)
{
    char *about = ddp_about(), host[256] = "";
    json_t *all = about ? json_loads(about, 0, NULL) : NULL, *o;
    free(about);
    *code = json_incref(json_object_get(all, "code"));
    o = json_incref(json_object_get(all, "machine"));
    json_decref(all);
    *machine = o = o ? o : json_object();
    gethostname(host, sizeof host - 1);
    json_object_set_new(o, "host", json_string(host));
    json_object_set_new(o, "isa", json_string(ddp_cpu_isa()));
    json_object_set_new(o, "memory_gb",
                        json_real(1e-9 * (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE)));
    json_object_set_new(o, "virtual", json_boolean(is_virtual()));
    json_object_set_new(o, "allowed_cpus", allowed_cpus());
    add_line(o, "governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    add_line(o, "turbo_off", "/sys/devices/system/cpu/intel_pstate/no_turbo");
    add_line(o, "boost", "/sys/devices/system/cpu/cpufreq/boost");
    add_line(o, "huge_pages", "/sys/kernel/mm/transparent_hugepage/enabled");
    return add_topology(o, err);
}

/* ---- in words ---- */

static const char *string_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

void bench_write_where(const struct bench_report *r, struct ddp_text *out,
                       void (*line)(struct ddp_text *out, const char *title, const char *text))
{
    const json_t *m = r->machine;
    const double quota = json_number_value(json_object_get(m, "quota_cpus"));
    char text[2048];
    int n = snprintf(text, sizeof text, "%s, %s, %s, %.0f GB, kernels for %s%s", string_of(m, "host"),
                     string_of(m, "cpu"), string_of(m, "topology"),
                     json_number_value(json_object_get(m, "memory_gb")), string_of(m, "isa"),
                     json_is_true(json_object_get(m, "virtual")) ? ", virtual" : "");
    if (quota > 0 && n < (int)sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, ", %.1f CPUs by quota", quota);
    line(out, "machine", text);
    snprintf(text, sizeof text, "ddp %s, %s, %s %s%s%s", string_of(r->code, "version"),
             string_of(r->code, "compiler"), string_of(m, "system"), string_of(m, "release"),
             r->beside ? ", " : "", r->beside ? r->beside : "");
    line(out, "versions", text);
    if (r->pinning) {
        line(out, "pinning", r->pinning);
    } else {
        snprintf(text, sizeof text, "none; CPUs %s may be used", string_of(m, "allowed_cpus"));
        line(out, "pinning", text);
    }
    const struct bench_load *l = &r->load;
    n = snprintf(
        text, sizeof text,
        "%.1f s; of %d CPUs %.2f were ours, %.2f others'; %.1f %% stolen; load average %.1f, then %.1f",
        l->wall_s, l->cpus, l->own_cpus, l->other_cpus, l->steal_percent, l->before, l->after);
    if (r->nclocks > 0 && n < (int)sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, "; clock %.2f GHz", r->clock[r->nclocks - 1]);
    line(out, "load", text);
}
