/* A folder of a suite's own, made before each test and removed after it: setup and teardown for cmocka. */
#ifndef DDP_TESTS_FOLDER_H
#define DDP_TESTS_FOLDER_H

#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

static char dir[64];

static int set_up(void **s)
{
    (void)s;
    snprintf(dir, sizeof dir, "/tmp/ddp-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **s)
{
    (void)s;
    return ddp_dir_remove(dir, NULL);
}

#endif
