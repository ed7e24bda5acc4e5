/* The face of src/record: what any program may know of a run directory without the means to train in it: who
 * holds it, what its run.json says, which config and which checkpoint a name on the command line stands for.
 *
 *   RUN/run.json     {"status": "running" | "done" | "stopped" | "failed", "error": .., "legs": [..], ..}
 *
 * A leg is one process's (or job's) part of a run. The last leg is open while its status is "running" and its
 * process holds RUN; who finds it open and RUN free closes it, so that no record says "running" where nothing
 * runs. */
#ifndef DDP_RECORD_H
#define DDP_RECORD_H

#include "base/base.h"

/* ---- holding --------------------------------------------------------------------------------- */

/* Hold the directory for this process; DDP_E_RESOURCE when another one trains in it. The lock ends with the
 * process. A file system without locks goes without. */
int ddp_run_lock(const char *run_dir, int *lock, struct ddp_error *err);
void ddp_run_unlock(int lock); /* -1 is fine */
/* Whether run_dir is still what `lock` holds; else DDP_E_IO says that it was renamed or removed. */
int ddp_run_still_there(const char *run_dir, int lock, struct ddp_error *err);

/* ---- what run.json says ---------------------------------------------------------------------- */

/* Its "status" into status[size]; "" where there is none that can be read. */
void ddp_run_status(const char *run_dir, char *status, int size);

/* Write run.json, whole or not at all. compact: the same in fewer bytes; where the disk is full it takes the
 * place of the old text, byte for byte, rather than leave a record that is not true any more. NULL: never. */
int ddp_run_write(const char *run_dir, const char *text, const char *compact, struct ddp_error *err);

/* Close a record that is open and whose process is gone: status "failed", with the cause. True when it did.
 * Where it cannot be known (a network file system and another host) the record stays. */
bool ddp_run_close(const char *run_dir, const char *cause);
/* The same for who knows that the last leg's process, where it is this one, is gone, or will be: that of a
 * host that is lost may hold the directory for a while, and on a network file system nobody else can know. */
bool ddp_run_close_of(const char *run_dir, int pid, const char *cause);
/* The same for every run in a folder of runs; a line each. */
void ddp_runs_close(const char *runs_dir);

/* Whether a run that says "running" is known to have lost its process. Looks, and changes nothing. */
bool ddp_run_is_abandoned(const char *run_dir);
/* Hold a directory in which nothing runs, so that nothing can begin in it; ddp_run_unlock() lets it go. -1:
 * something runs there, or (a network file system and another host) that cannot be known. */
int ddp_run_take(const char *run_dir);

/* ---- names on the command line --------------------------------------------------------------- */

/* "RUN@best" -> its checkpoint of the lowest held-out loss; anything else that exists -> itself, without
 * slashes at the end. DDP_E_USAGE. */
int ddp_run_resolve(const char *name, char *path, int size, struct ddp_error *err);
/* The config that a run or a checkpoint (also RUN@best) was made under: that of the checkpoint, of a run that
 * of its newest one, else RUN/config.cfg. DDP_E_USAGE where there is none. */
int ddp_run_config(const char *name, char *path, int size, struct ddp_error *err);

#endif
