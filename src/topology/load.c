/* Loading a topology through hwloc: this machine's, or one that is described. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "topology/machine.h"

/* hwloc's plugins look for I/O devices and load OpenCL, CUDA and X11 libraries for it: milliseconds to
 * seconds, for nothing that we ask. The one plugin that may be needed reads XML. xml: NULL: this machine, or
 * the one that the environment describes. */
static int load_without_plugins(bool io, const char *xml, hwloc_topology_t *out)
{
    const char *name = "HWLOC_PLUGINS_PATH";
    const bool keep = getenv(name) || getenv("HWLOC_XMLFILE");
    hwloc_topology_t t = NULL;

    if (!keep)
        setenv(name, "/nonexistent", 1);
    int rc = hwloc_topology_init(&t);
    if (rc == 0 && xml && (rc = hwloc_topology_set_xmlbuffer(t, xml, (int)strlen(xml) + 1)) != 0)
        hwloc_topology_destroy(t);
    if (rc == 0) {
        hwloc_topology_set_io_types_filter(t, io ? HWLOC_TYPE_FILTER_KEEP_IMPORTANT
                                                 : HWLOC_TYPE_FILTER_KEEP_NONE);
        /* the map shows the cores that are barred, too */
        hwloc_topology_set_flags(t, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
        rc = hwloc_topology_load(t);
        if (rc != 0)
            hwloc_topology_destroy(t);
    }
    if (!keep)
        unsetenv(name);
    if (rc == 0)
        *out = t;
    return rc;
}

static bool file_readable(const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    fclose(f);
    return true;
}

/* hwloc falls back to this machine without a word when the description cannot be read: say so instead, and
 * before it has looked at all of this machine. */
static int check_file(struct ddp_error *err)
{
    const char *xml = getenv("HWLOC_XMLFILE");
    if (xml && *xml && !file_readable(xml))
        return ddp_fail(err, DDP_E_RESOURCE,
                        "HWLOC_XMLFILE=%s cannot be read: %s; write one with 'lstopo file.xml' or unset it",
                        xml, strerror(errno));
    return 0;
}

static bool is_understood(const char *xml, const char *synthetic)
{
    hwloc_topology_t probe = NULL;
    const bool good =
        hwloc_topology_init(&probe) == 0 &&
        (xml ? hwloc_topology_set_xml(probe, xml) : hwloc_topology_set_synthetic(probe, synthetic)) == 0 &&
        hwloc_topology_load(probe) == 0;
    if (probe)
        hwloc_topology_destroy(probe);
    return good;
}

static int check_description(hwloc_topology_t t, struct ddp_error *err)
{
    const char *xml = getenv("HWLOC_XMLFILE"), *synthetic = getenv("HWLOC_SYNTHETIC");

    if (!hwloc_topology_is_thissystem(t))
        return 0;
    if (xml && *xml && !is_understood(xml, NULL))
        return ddp_fail(err, DDP_E_RESOURCE,
                        "HWLOC_XMLFILE=%s holds no machine that hwloc understands; write one with 'lstopo "
                        "file.xml' or unset it",
                        xml);
    if (synthetic && *synthetic && !(xml && *xml) && !is_understood(NULL, synthetic))
        return ddp_fail(err, DDP_E_USAGE,
                        "HWLOC_SYNTHETIC='%s' is not a machine that hwloc understands; an example is "
                        "\"package:2 numa:4 core:8 pu:2\"",
                        synthetic);
    return 0;
}

int ddp_topology_load(bool io, const char *xml, hwloc_topology_t *out, struct ddp_error *err)
{
    const int rc = xml ? 0 : check_file(err);
    if (rc != 0)
        return rc;
    if (load_without_plugins(io, xml, out) != 0)
        return xml ? ddp_fail(err, DDP_E_COMM, "its topology is not one that hwloc here understands")
                   : ddp_fail(err, DDP_E_RESOURCE,
                              "hwloc cannot read this machine's topology: %s; check HWLOC_SYNTHETIC and "
                              "HWLOC_XMLFILE",
                              strerror(errno));
    return xml ? 0 : check_description(*out, err);
}
