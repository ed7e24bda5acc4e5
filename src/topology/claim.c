/* Claims on cores: locks on ranges of bytes of a folder, a byte for each hardware thread. Nothing is written
 * and nothing is left behind: the kernel drops the locks of whoever ends, however it ends. Read locks on a
 * folder that all may read, so that users see each other's, and jobs that must share a core both have it;
 * whoever asks asks as a writer would. Containers see each other where they share the folder. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/base.h"
#include "topology/machine.h"

/* Bytes that no other program means. */
static const off_t first_byte = (off_t)0x646470 << 24;

enum { TRIES = 100, TRY_MS = 10 };

/* ---- the folder ------------------------------------------------------------------------------ */

static int open_folder(void)
{
    const char *own = getenv("DDP_CORES_DIR");
    const char *const folders[] = {own && *own ? own : "/dev/shm", own && *own ? own : "/tmp"};
    int fd = -1;
    for (size_t i = 0; i < DDP_COUNT(folders) && fd < 0; i++)
        fd = open(folders[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd;
}

/* One launcher plans at a time; one that does not come to an end is not waited for. */
static void wait_for_others(int fd)
{
    for (int i = 0; i < TRIES && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; i++)
        usleep(TRY_MS * 1000);
}

void ddp_claim_open(struct ddp_claim *c)
{
    c->folder = open_folder();
    if (c->folder >= 0)
        wait_for_others(c->folder);
}

void ddp_claim_close(struct ddp_claim *c)
{
    if (c->folder >= 0)
        close(c->folder);
    c->folder = -1;
}

/* ---- looking and taking ---------------------------------------------------------------------- */

static struct flock byte_of(int pu, short type)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = first_byte + pu, .l_len = 1};
}

static bool is_held(int folder, int pu)
{
    struct flock ask = byte_of(pu, F_WRLCK);
    return fcntl(folder, F_OFD_GETLK, &ask) == 0 && ask.l_type != F_UNLCK;
}

void ddp_claim_look(const struct ddp_claim *c, struct ddp_machine *m)
{
    int *held = ddp_calloc((size_t)m->usable_pus, sizeof *held), n = 0;
    for (int i = 0; i < m->ncores && c->folder >= 0; i++)
        for (int k = 0; k < m->cores[i].npus; k++)
            if (is_held(c->folder, m->cores[i].pus[k]))
                held[n++] = m->cores[i].pus[k];
    ddp_machine_mark_held(m, held, n);
    free(held);
}

void ddp_claim_take(struct ddp_claim *c, const int *pus, int n)
{
    for (int k = 0; k < n && c->folder >= 0; k++) {
        struct flock lock = byte_of(pus[k], F_RDLCK);
        fcntl(c->folder, F_OFD_SETLK, &lock); /* where there are no locks, nobody sees anybody */
    }
    if (c->folder >= 0)
        flock(c->folder, LOCK_UN);
}
