/* What the parts of the recorder share: the log, and what is to go wrong. See README.md. */
#ifndef DDP_CRASH_RECORD_H
#define DDP_CRASH_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum record_kind { /* the same numbers in disk.py */
                   RECORD_OPEN = 1,
                   RECORD_WRITE,
                   RECORD_TRUNCATE,
                   RECORD_SYNC,
                   RECORD_RENAME,
                   RECORD_MKDIR,
                   RECORD_UNLINK,
                   RECORD_RMDIR,
                   RECORD_SAY,   /* a mark of the test's own */
                   RECORD_OTHER, /* a call that the model of the disk does not know: the test says so */
};

enum { RECORD_PATH = 4096 };

struct record {
    enum record_kind kind;
    int error;             /* errno of a call that failed, 0 */
    int flags;             /* of open() */
    uint64_t ino;          /* of what an open file or folder is */
    int64_t at;            /* offset of a write, new size */
    const char *path, *to; /* below the root; NULL: none */
    const void *data;
    size_t bytes;
};

/* ---- record_log.c ---- */

/* One call and its line in the log at a time, over all processes of the job. */
void record_lock(void);
void record_unlock(void);
void record_put(const struct record *r);
/* The path below the recorded root, into out; false: it lies elsewhere, or nothing is recorded. */
bool record_below(int dirfd, const char *path, char out[RECORD_PATH]);

/* ---- record_inject.c ---- */

/* Called with the lock held before the call is made. True: it fails with errno. *bytes (of a write) may be
 * made smaller. Does not return where the process is to be killed here. */
bool record_inject(const struct record *r, size_t *bytes);

#endif
