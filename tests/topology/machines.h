/* Machines to plan on: synthetic ones, and one with a cpuset full of holes. Included by the tests of
 * src/topology. */
#ifndef TESTS_TOPOLOGY_MACHINES_H
#define TESTS_TOPOLOGY_MACHINES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <hwloc.h>

#include "base/base.h"
#include "topology/topology.h"

#define LAPTOP       "package:1 numa:1 core:4 pu:1"
#define LAPTOP_HT    "package:1 numa:1 core:4 pu:2"
#define TWO_PACKAGES "package:2 numa:1 core:4 pu:2"
#define EIGHT_NODES  "package:2 numa:4 core:8 pu:2"
#define SMT8         "package:1 numa:1 core:2 pu:8"
#define NO_CORES     "pu:4"

static inline struct ddp_machine *machine_synthetic(const char *description)
{
    struct ddp_machine *m = NULL;
    struct ddp_error err = {0};
    setenv("HWLOC_SYNTHETIC", description, 1);
    const int rc = ddp_machine_create(&m, &err);
    unsetenv("HWLOC_SYNTHETIC");
    if (rc != 0)
        fail_msg("%s: %s", description, err.text);
    return m;
}

/* A synthetic machine of which only the hardware threads of `allowed` ("0,2,5-7") may be used, by way of an
 * XML file. */
static inline struct ddp_machine *machine_with_holes(const char *description, const char *allowed)
{
    char path[] = "/tmp/ddp-topology-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);

    hwloc_topology_t t;
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    assert_int_equal(hwloc_bitmap_list_sscanf(set, allowed), 0);
    assert_int_equal(hwloc_topology_init(&t), 0);
    assert_int_equal(hwloc_topology_set_synthetic(t, description), 0);
    assert_int_equal(hwloc_topology_set_flags(t, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED), 0);
    assert_int_equal(hwloc_topology_load(t), 0);
    assert_int_equal(hwloc_topology_allow(t, set, NULL, HWLOC_ALLOW_FLAG_CUSTOM), 0);
    assert_int_equal(hwloc_topology_export_xml(t, path, 0), 0);
    hwloc_topology_destroy(t);
    hwloc_bitmap_free(set);

    struct ddp_machine *m = NULL;
    struct ddp_error err = {0};
    setenv("HWLOC_XMLFILE", path, 1);
    const int rc = ddp_machine_create(&m, &err);
    unsetenv("HWLOC_XMLFILE");
    unlink(path);
    if (rc != 0)
        fail_msg("%s of %s: %s", allowed, description, err.text);
    return m;
}

#endif
