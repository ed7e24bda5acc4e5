/* Making, filling, damaging and removing the temporary folder of a test. */
#include "scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[64];

void scratch_make(void)
{
    strcpy(folder, "/tmp/ddp-checkpoint-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

void scratch_remove(void)
{
    struct ddp_error err = {0};
    assert_int_equal(ddp_dir_remove(folder, &err), 0);
}

const char *scratch(const char *name)
{
    static char path[4][512];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

void scratch_write(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    assert_int_equal(fclose(f), 0);
}

char *scratch_read(const char *path, size_t *bytes)
{
    char *data;
    struct ddp_error err = {0};
    if (ddp_file_read(path, 0, &data, bytes, &err) != 0)
        fail_msg("%s", err.text);
    return data;
}

void scratch_flip(const char *path, long at)
{
    size_t bytes;
    char *data = scratch_read(path, &bytes);
    data[at < 0 ? (long)bytes + at : at] ^= 1;
    scratch_write(path, data, bytes);
    free(data);
}

uint32_t scratch_random(uint32_t *counter, uint32_t below)
{
    return ddp_uniform_int(ddp_philox4((*counter)++, 0, 0, 7, 1234).v[0], below);
}
