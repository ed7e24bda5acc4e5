/* Files: whole reads, maps, and writes that are complete or absent. Every system call that writes goes
 * through one place, so that tests can make the Nth one fail (ddp_fileio_fault). */
#ifndef DDP_BASE_FILEIO_H
#define DDP_BASE_FILEIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "ddp/error.h"

/* Read a whole file; *data is malloc'd with a NUL behind it, caller frees. limit_bytes: refuse larger files
 * (0: none). */
int ddp_file_read(const char *path, size_t limit_bytes, char **data, size_t *bytes, struct ddp_error *err);

/* Map a regular file read-only. Unmap with ddp_file_unmap. Empty files give *data = NULL, *bytes = 0.
 * Where the file shrinks while it is mapped, reading past its end ends the process by SIGBUS, and a line
 * on stderr names the file first. */
int ddp_file_map(const char *path, const void **data, size_t *bytes, struct ddp_error *err);
void ddp_file_unmap(const void *data, size_t bytes);

/* SHA-256 of a regular file's bytes. */
int ddp_file_sha256(const char *path, char hex[65], struct ddp_error *err);

/* A file written aside: created as PATH.tmp-PID, written, and on commit synced and renamed to PATH (and its
 * folder synced). Until commit nothing exists under PATH; abort removes the rest. Errors name the path and
 * the reason, and say when the disk is full. */
struct ddp_outfile;
int ddp_outfile_create(const char *path, struct ddp_outfile **out, struct ddp_error *err);
int ddp_outfile_write(struct ddp_outfile *f, const void *data, size_t bytes, struct ddp_error *err);
/* create with these bytes written; after an error nothing is left. */
int ddp_outfile_of(const char *path, const void *data, size_t bytes, struct ddp_outfile **out,
                   struct ddp_error *err);
int ddp_outfile_commit(struct ddp_outfile *f, struct ddp_error *err); /* destroys f, also on failure */
/* The same without a sync: for what base/later.h syncs. */
int ddp_outfile_publish(struct ddp_outfile *f, struct ddp_error *err);
void ddp_outfile_abort(struct ddp_outfile *f); /* destroys f; NULL is fine */

/* The three together. */
int ddp_file_write(const char *path, const void *data, size_t bytes, struct ddp_error *err);

/* Append bytes with one write() (logs, metrics): whole lines stay whole. */
int ddp_file_append(int fd, const char *path, const void *data, size_t bytes, struct ddp_error *err);

/* The bytes written to fd so far are on disk. path: for the message. */
int ddp_file_sync(int fd, const char *path, struct ddp_error *err);

/* Make a folder and its parents, and sync the entry of each that is new. An existing folder is fine. */
int ddp_dir_make(const char *path, struct ddp_error *err);
/* The same, but instead of a sync each(user, folder) is told of every folder that is new. */
int ddp_dir_make_each(const char *path, int (*each)(void *user, const char *folder, struct ddp_error *err),
                      void *user, struct ddp_error *err);
/* Make this one folder; its parent must be there, and is not synced. An existing folder is fine. */
int ddp_dir_add(const char *path, struct ddp_error *err);
/* Sync a folder's own entries. One that may not be read cannot be synced, and is left alone. */
int ddp_dir_sync(const char *path, struct ddp_error *err);
/* rename() a folder or file over, then sync the parent; and without the sync. */
int ddp_path_rename(const char *from, const char *to, struct ddp_error *err);
int ddp_path_replace(const char *from, const char *to, struct ddp_error *err);
/* Remove a folder and everything in it; a missing one is fine. Does not follow links. */
int ddp_dir_remove(const char *path, struct ddp_error *err);
bool ddp_path_exists(const char *path);
char *ddp_path_parent(const char *path); /* the folder that a path lies in, "." for a bare name; malloc'd */

/* Tests: let the nth (from 1) write-side system call from now on fail with errno_value, and all after it
 * (disk full, read-only). n = 0 turns it off. Also set by the environment variable
 * DDP_TEST_FAULT="N:ERRNO[:SUBSTRING]" where only paths that contain SUBSTRING count; read once. Returns how
 * many such calls were counted since the last call. */
long ddp_fileio_fault(long n, int errno_value, const char *substring);

#endif
