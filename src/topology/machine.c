/* Looking at the machine through hwloc, once, and flattening it to a list of cores. */
#include "topology/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* ---- what may be used ------------------------------------------------------------------------- */

/* What this process may use: hwloc's allowed set knows cgroups but not taskset, the
 * affinity mask knows both. */
static int usable_set(hwloc_topology_t t, bool synthetic, hwloc_bitmap_t out)
{
    hwloc_bitmap_copy(out, hwloc_topology_get_allowed_cpuset(t));
    if (synthetic)
        return 0;
    hwloc_bitmap_t mask = hwloc_bitmap_alloc();
    if (!mask)
        return -1;
    if (hwloc_get_cpubind(t, mask, HWLOC_CPUBIND_PROCESS) == 0)
        hwloc_bitmap_and(out, out, mask);
    hwloc_bitmap_free(mask);
    if (!hwloc_bitmap_iszero(out)) /* whoever reads our XML may know it, too */
        hwloc_topology_allow(t, out, NULL, HWLOC_ALLOW_FLAG_CUSTOM);
    return 0;
}

/* ---- what goes with the topology ------------------------------------------------------------- */

/* So that a launcher on another host knows it. */
static void read_quota(struct ddp_machine *m)
{
    hwloc_obj_t root = hwloc_get_root_obj(m->topology);
    const char *cpus = hwloc_obj_get_info_by_name(root, "DDPQuota"),
               *file = hwloc_obj_get_info_by_name(root, "DDPQuotaFile");
    char text[32];
    if (!m->synthetic) {
        ddp_cpu_quota_read("", &m->quota);
        if (m->quota.cpus > 0) {
            hwloc_obj_add_info(root, "DDPQuota", ddp_double_text(m->quota.cpus, text));
            hwloc_obj_add_info(root, "DDPQuotaFile", m->quota.file);
        }
    } else if (cpus && ddp_parse_double(cpus, &m->quota.cpus)) {
        snprintf(m->quota.file, sizeof m->quota.file, "%s", file ? file : "");
    }
}

static void read_held(struct ddp_machine *m)
{
    const char *text = hwloc_obj_get_info_by_name(hwloc_get_root_obj(m->topology), "DDPHeld");
    hwloc_bitmap_t set = m->synthetic && text ? hwloc_bitmap_alloc() : NULL;
    if (set && hwloc_bitmap_list_sscanf(set, text) == 0 && hwloc_bitmap_last(set) < DDP_CPUSET_MAX) {
        int *pus = ddp_calloc(DDP_CPUSET_MAX, sizeof *pus), n = 0, pu = -1;
        while ((pu = hwloc_bitmap_next(set, pu)) >= 0)
            pus[n++] = pu;
        ddp_machine_mark_held(m, pus, n);
        free(pus);
    }
    hwloc_bitmap_free(set);
}

/* ---- flattening ------------------------------------------------------------------------------ */

static int package_of(hwloc_topology_t t, hwloc_obj_t obj)
{
    hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(t, HWLOC_OBJ_PACKAGE, obj);
    return package ? (int)package->logical_index : 0;
}

static int domain_of(struct ddp_machine *m, int package, int numa)
{
    int in_package = 0;
    for (int d = 0; d < m->ndomains; d++) {
        if (m->domains[d].package == package && m->domains[d].numa == numa)
            return d;
        in_package += m->domains[d].package == package;
    }
    m->domains[m->ndomains] = (struct domain){package, numa, in_package};
    return m->ndomains++;
}

static void flatten(struct ddp_machine *m, hwloc_const_bitmap_t usable)
{
    hwloc_topology_t t = m->topology;
    const int npus = hwloc_get_nbobjs_by_type(t, HWLOC_OBJ_PU);
    /* some virtual machines show hardware threads and no cores */
    const bool has_cores = hwloc_get_nbobjs_by_type(t, HWLOC_OBJ_CORE) > 0;
    const hwloc_obj_type_t type = has_cores ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;

    m->ncores = hwloc_get_nbobjs_by_type(t, type);
    m->cores = ddp_calloc((size_t)m->ncores, sizeof *m->cores);
    m->domains = ddp_calloc((size_t)m->ncores, sizeof *m->domains);
    m->pus = ddp_calloc((size_t)npus, sizeof *m->pus);
    int *next_pu = m->pus;
    for (int i = 0; i < m->ncores; i++) {
        hwloc_obj_t obj = hwloc_get_obj_by_type(t, type, (unsigned)i), pu = NULL;
        struct core *c = &m->cores[i];
        c->package = package_of(t, obj);
        c->numa = obj->nodeset ? hwloc_bitmap_first(obj->nodeset) : -1;
        c->domain = domain_of(m, c->package, c->numa);
        c->pus = next_pu;
        while ((pu = hwloc_get_next_obj_inside_cpuset_by_type(t, obj->cpuset, HWLOC_OBJ_PU, pu)))
            if (hwloc_bitmap_isset(usable, pu->os_index))
                c->pus[c->npus++] = (int)pu->os_index;
        next_pu += c->npus;
        m->usable_cores += c->npus > 0;
        m->usable_pus += c->npus;
    }
}

static int count_usable_numa(const struct ddp_machine *m)
{
    int n = 0;
    for (int i = 0; i < m->ncores; i++) {
        bool seen = m->cores[i].npus == 0;
        for (int k = 0; k < i && !seen; k++)
            seen = m->cores[k].npus > 0 && m->cores[k].numa == m->cores[i].numa;
        n += !seen;
    }
    return n;
}

static void add_count(struct ddp_text *t, int n, const char *noun)
{
    ddp_text_add(t, "%s%d %s%s", t->len ? ", " : "", n, noun, n == 1 ? "" : "s");
}

static void describe(struct ddp_machine *m)
{
    struct ddp_text t;
    ddp_text_init(&t);
    add_count(&t, m->npackages, "package");
    add_count(&t, m->nnuma, "NUMA node");
    add_count(&t, m->ncores, "core");
    add_count(&t, hwloc_get_nbobjs_by_type(m->topology, HWLOC_OBJ_PU), "thread");
    snprintf(m->text, sizeof m->text, "%s", t.s);
    ddp_text_finish(&t);
}

/* ---- the face -------------------------------------------------------------------------------- */

static int create(bool io, const char *xml, struct ddp_machine **out, struct ddp_error *err)
{
    struct ddp_machine *m = ddp_calloc(1, sizeof *m);
    hwloc_bitmap_t usable = NULL;
    int rc = ddp_topology_load(io, xml, &m->topology, err);
    if (rc != 0)
        goto fail;
    m->synthetic = !hwloc_topology_is_thissystem(m->topology);
    m->described = m->synthetic && !xml;
    usable = hwloc_bitmap_alloc();
    if (!usable || usable_set(m->topology, m->synthetic, usable) != 0) {
        rc = ddp_fail(err, DDP_E_RESOURCE, "hwloc is out of memory");
        goto fail;
    }
    flatten(m, usable);
    m->npackages = hwloc_get_nbobjs_by_type(m->topology, HWLOC_OBJ_PACKAGE);
    m->npackages = m->npackages > 0 ? m->npackages : 1;
    m->nnuma = hwloc_get_nbobjs_by_type(m->topology, HWLOC_OBJ_NUMANODE);
    m->usable_numa = count_usable_numa(m);
    if (m->usable_cores == 0) {
        rc = ddp_fail(err, DDP_E_RESOURCE,
                      "no CPU of this machine (%d cores) may be used: check taskset and the cgroup's cpuset",
                      m->ncores);
        goto fail;
    }
    read_quota(m);
    read_held(m);
    describe(m);
    hwloc_bitmap_free(usable);
    *out = m;
    return 0;
fail:
    hwloc_bitmap_free(usable);
    ddp_machine_destroy(m);
    return rc;
}

int ddp_machine_create(struct ddp_machine **out, struct ddp_error *err)
{
    return create(false, NULL, out, err);
}

int ddp_machine_create_with_io(struct ddp_machine **out, struct ddp_error *err)
{
    return create(true, NULL, out, err);
}

int ddp_machine_from_xml(const char *xml, struct ddp_machine **out, struct ddp_error *err)
{
    return create(true, xml, out, err);
}

void ddp_machine_destroy(struct ddp_machine *m)
{
    if (!m)
        return;
    if (m->topology)
        hwloc_topology_destroy(m->topology);
    free(m->domains);
    free(m->pus);
    free(m->cores);
    free(m);
}

bool ddp_machine_is_synthetic(const struct ddp_machine *m)
{
    return m->synthetic;
}

int ddp_machine_cores(const struct ddp_machine *m)
{
    return m->usable_cores;
}

int ddp_machine_pus(const struct ddp_machine *m)
{
    return m->usable_pus;
}

int ddp_machine_paid(const struct ddp_machine *m, bool hyperthreads)
{
    const int all = hyperthreads ? m->usable_pus : m->usable_cores;
    const double cpus = m->quota.cpus;
    if (cpus <= 0 || cpus >= all)
        return all;
    return cpus < 1 ? 1 : (int)cpus;
}

int ddp_machine_capacity(const struct ddp_machine *m, bool hyperthreads)
{
    const int paid = ddp_machine_paid(m, hyperthreads);
    int free = 0;
    for (int i = 0; i < m->ncores; i++)
        if (!m->cores[i].held)
            free += hyperthreads ? m->cores[i].npus : m->cores[i].npus > 0;
    return free > 0 && free < paid ? free : paid;
}

int ddp_machine_held(const struct ddp_machine *m)
{
    return m->held_cores;
}

void ddp_machine_mark_held(struct ddp_machine *m, const int *pus, int n)
{
    char *text = NULL;
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    for (int k = 0; set && k < n; k++)
        hwloc_bitmap_set(set, (unsigned)pus[k]);
    m->held_cores = 0;
    for (int i = 0; set && i < m->ncores; i++) {
        struct core *c = &m->cores[i];
        c->held = false;
        for (int k = 0; k < c->npus; k++)
            c->held = c->held || hwloc_bitmap_isset(set, (unsigned)c->pus[k]);
        m->held_cores += c->held;
    }
    if (set && n > 0 && hwloc_bitmap_list_asprintf(&text, set) >= 0) /* for who reads our XML */
        hwloc_obj_add_info(hwloc_get_root_obj(m->topology), "DDPHeld", text);
    free(text);
    hwloc_bitmap_free(set);
}

int ddp_machine_numa_nodes(const struct ddp_machine *m)
{
    return m->usable_numa;
}

const char *ddp_machine_text(const struct ddp_machine *m)
{
    return m->text;
}

int ddp_machine_export_xml(const struct ddp_machine *m, const char *path, struct ddp_error *err)
{
    if (hwloc_topology_export_xml(m->topology, path, 0) != 0)
        return ddp_fail(err, DDP_E_IO, "%s: the topology cannot be written: %s", path, strerror(errno));
    return 0;
}

int ddp_machine_xml(const struct ddp_machine *m, char **xml, struct ddp_error *err)
{
    char *buffer = NULL;
    int bytes = 0;
    if (hwloc_topology_export_xmlbuffer(m->topology, &buffer, &bytes, 0) != 0)
        return ddp_fail(err, DDP_E_RESOURCE, "hwloc cannot write this machine's topology: %s",
                        strerror(errno));
    *xml = ddp_strdup(buffer);
    hwloc_free_xmlbuffer(m->topology, buffer);
    return 0;
}
