/* Memory that processes of one host share: memfd, found by others through /proc. */
#include "comm/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "comm/memory.h"

static int map(int fd, size_t bytes, void **base, struct ddp_error *err)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        char size[32];
        return ddp_fail(err, DDP_E_RESOURCE, "shared segment: mapping %s failed: %s (see 'ulimit -v')",
                        ddp_bytes_text((double)bytes, size), strerror(errno));
    }
    *base = p;
    return 0;
}

int ddp_segment_create(size_t bytes, struct ddp_segment_key *key, void **base, struct ddp_error *err)
{
    char size[32];
    struct stat st;
    int code = ddp_memory_check("", bytes, "shared segment", err);
    if (code != 0)
        return code;
    int fd = memfd_create("ddp", MFD_CLOEXEC);
    if (fd < 0)
        return ddp_fail(err, DDP_E_RESOURCE, "shared segment: memfd_create failed: %s", strerror(errno));
    if (ftruncate(fd, (off_t)bytes) != 0 || fstat(fd, &st) != 0) {
        code = ddp_fail(err, DDP_E_RESOURCE, "shared segment: sizing it to %s failed: %s",
                        ddp_bytes_text((double)bytes, size), strerror(errno));
        goto fail;
    }
    code = map(fd, bytes, base, err);
    if (code != 0)
        goto fail;
    *key = (struct ddp_segment_key){
        .pid = (int32_t)getpid(), .fd = fd, .inode = (uint64_t)st.st_ino, .bytes = (uint64_t)bytes};
    return 0;

fail:
    close(fd);
    return code;
}

int ddp_segment_open(const struct ddp_segment_key *key, void **base, struct ddp_error *err)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)key->pid, (int)key->fd);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return ddp_fail(
            err, DDP_E_RESOURCE,
            "shared segment: opening %s of another rank failed: %s (ranks must run as one user in one PID "
            "namespace: start them all inside the same container)",
            path, strerror(errno));
    int code = 0;
    /* another PID namespace may have a process of that number: its file is not ours */
    if (fstat(fd, &st) != 0 || (uint64_t)st.st_ino != key->inode || (uint64_t)st.st_size != key->bytes)
        code = ddp_fail(err, DDP_E_RESOURCE,
                        "shared segment: %s is not the segment of another rank: ranks run in different PID "
                        "namespaces; start "
                        "them all inside the same container",
                        path);
    else
        code = map(fd, (size_t)key->bytes, base, err);
    close(fd);
    return code;
}

void ddp_segment_close(const struct ddp_segment_key *key)
{
    close(key->fd);
}

void ddp_segment_unmap(void *base, size_t bytes)
{
    if (base != NULL)
        munmap(base, bytes);
}
