/* Binding the calling process to its place, with plain system calls: a rank need not load hwloc for it. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "topology/topology.h"

enum { POLICY_BIND = 2 }; /* MPOL_BIND of <linux/mempolicy.h>, which not every system has installed */

static int bind_cpus(const struct ddp_place *p, struct ddp_error *err)
{
    const size_t bytes = CPU_ALLOC_SIZE(DDP_CPUSET_MAX);
    cpu_set_t *set = CPU_ALLOC(DDP_CPUSET_MAX);
    int rc = 0;

    if (!set)
        return ddp_fail(err, DDP_E_RESOURCE, "no memory for a CPU set");
    CPU_ZERO_S(bytes, set);
    for (int i = 0; i < p->npus; i++)
        CPU_SET_S((size_t)p->pus[i], bytes, set);
    if (sched_setaffinity(0, bytes, set) != 0) {
        char where[256];
        ddp_place_format(p, false, where, sizeof where);
        rc = ddp_fail(err, DDP_E_RESOURCE,
                      "this process cannot be bound to %s: %s; the CPUs may have left its cgroup, "
                      "launch.bind=\"none\" goes on "
                      "without binding",
                      where, strerror(errno));
    }
    CPU_FREE(set);
    return rc;
}

/* New pages come from this NUMA node. Containers often forbid the call: then first touch by bound threads
 * does the same. */
static int bind_memory(int numa, struct ddp_error *err)
{
    enum { BITS = 8 * sizeof(unsigned long) };
    unsigned long mask[DDP_CPUSET_MAX / BITS + 1] = {0};

    mask[numa / BITS] = 1ul << (numa % BITS);
    if (syscall(SYS_set_mempolicy, POLICY_BIND, mask, (unsigned long)DDP_CPUSET_MAX) != 0 && errno != EPERM &&
        errno != ENOSYS)
        return ddp_fail(
            err, DDP_E_RESOURCE,
            "memory cannot be bound to NUMA node %d: %s; launch.memory_bind=false goes on without", numa,
            strerror(errno));
    return 0;
}

int ddp_place_bind(const struct ddp_place *p, bool memory_bind, struct ddp_error *err)
{
    int rc = 0;
    if (p->npus > 0)
        rc = bind_cpus(p, err);
    if (rc == 0 && memory_bind && p->numa >= 0 && p->numa < DDP_CPUSET_MAX)
        rc = bind_memory(p->numa, err);
    return rc;
}
