/* GPUs and network devices in the topology: what is near what. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "topology/machine.h"

enum { NVIDIA = 0x10de, CLASS_VGA = 0x0300, CLASS_3D = 0x0302 };

static hwloc_obj_t find_pci(const struct ddp_machine *m, const char *pci)
{
    return hwloc_get_pcidev_by_busidstring(m->topology, pci); /* NULL for text that is no address */
}

bool ddp_machine_near(const struct ddp_machine *m, const char *pci, bool *near)
{
    hwloc_obj_t gpu = find_pci(m, pci);
    hwloc_obj_t at = gpu ? hwloc_get_non_io_ancestor_obj(m->topology, gpu) : NULL;
    if (!at || !at->cpuset || hwloc_bitmap_iszero(at->cpuset))
        return false;
    const bool has_cores = hwloc_get_nbobjs_by_type(m->topology, HWLOC_OBJ_CORE) > 0;
    for (int i = 0; i < m->ncores; i++) {
        hwloc_obj_t core =
            hwloc_get_obj_by_type(m->topology, has_cores ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU, (unsigned)i);
        near[i] = hwloc_bitmap_intersects(core->cpuset, at->cpuset);
    }
    return true;
}

/* ---- network devices ------------------------------------------------------------------------- */

static int depth_of(hwloc_obj_t obj)
{
    int depth = 0;
    for (; obj->parent; obj = obj->parent)
        depth++;
    return depth;
}

/* Steps between two objects of the tree, I/O objects included: a switch in common is nearer than a NUMA node
 * in common. */
static int distance(hwloc_obj_t a, hwloc_obj_t b)
{
    int da = depth_of(a), db = depth_of(b), steps = 0;
    for (; a != b; steps++) {
        if (da >= db) {
            a = a->parent;
            da--;
        } else {
            b = b->parent;
            db--;
        }
    }
    return steps;
}

void ddp_machine_nic(const struct ddp_machine *m, const char *pci, char nic[32])
{
    hwloc_obj_t gpu = find_pci(m, pci), best = NULL, dev = NULL;
    int best_steps = 0;
    nic[0] = '\0';
    while (gpu && (dev = hwloc_get_next_osdev(m->topology, dev))) {
        const bool fabric = dev->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS;
        if ((!fabric && dev->attr->osdev.type != HWLOC_OBJ_OSDEV_NETWORK) || !dev->name ||
            strcmp(dev->name, "lo") == 0)
            continue;
        const int steps = distance(gpu, dev);
        const bool best_fabric = best && best->attr->osdev.type == HWLOC_OBJ_OSDEV_OPENFABRICS;
        if (!best || (fabric && !best_fabric) || (fabric == best_fabric && steps < best_steps)) {
            best = dev;
            best_steps = steps;
        }
    }
    if (best)
        snprintf(nic, 32, "%.31s", best->name);
}

/* ---- the GPUs of a described machine --------------------------------------------------------- */

static bool is_gpu(hwloc_obj_t pci)
{
    const struct hwloc_pcidev_attr_s *a = &pci->attr->pcidev;
    return a->vendor_id == NVIDIA && (a->class_id == CLASS_VGA || a->class_id == CLASS_3D);
}

/* hwloc's NVML component writes the UUID down when the file is made with it. */
static const char *uuid_of(hwloc_obj_t pci)
{
    for (hwloc_obj_t dev = pci->io_first_child; dev; dev = dev->next_sibling) {
        const char *uuid = hwloc_obj_get_info_by_name(dev, "NVIDIAUUID");
        if (uuid)
            return uuid;
    }
    return NULL;
}

int ddp_machine_gpus(const struct ddp_machine *m, struct ddp_place_gpu **out)
{
    struct ddp_place_gpu *gpus = NULL;
    hwloc_obj_t pci = NULL;
    int n = 0;
    while ((pci = hwloc_get_next_pcidev(m->topology, pci)))
        n += is_gpu(pci);
    gpus = ddp_calloc((size_t)n + 1, sizeof *gpus);
    n = 0;
    while ((pci = hwloc_get_next_pcidev(m->topology, pci))) {
        if (!is_gpu(pci))
            continue;
        const struct hwloc_pcidev_attr_s *a = &pci->attr->pcidev;
        const char *uuid = uuid_of(pci),
                   *name = pci->name ? pci->name : hwloc_obj_get_info_by_name(pci, "PCIDevice");
        struct ddp_place_gpu *g = &gpus[n++];
        snprintf(g->pci, sizeof g->pci, "%04x:%02x:%02x.%x", (unsigned)a->domain, a->bus, a->dev, a->func);
        snprintf(g->uuid, sizeof g->uuid, "%s", uuid ? uuid : g->pci);
        snprintf(g->name, sizeof g->name, "%s", name && *name ? name : "NVIDIA GPU");
    }
    *out = gpus;
    return n;
}
