/* What is written now and is on disk later: files and folders, with a list of what to sync for it. Many small
 * files cost one wait for the disk, and at a time that suits. Until then a power cut may take any of them, or
 * leave them empty; other processes see them complete or absent, as ever. One thread at a time. */
#ifndef DDP_BASE_LATER_H
#define DDP_BASE_LATER_H

#include <stddef.h>

#include "ddp/error.h"

struct ddp_later;
struct ddp_later *ddp_later_create(void);
void ddp_later_destroy(struct ddp_later *l); /* forgets what is still to be synced; NULL is fine */

/* ddp_file_write() and ddp_dir_make(); l NULL: on disk at once. */
int ddp_later_file(struct ddp_later *l, const char *path, const void *data, size_t bytes,
                   struct ddp_error *err);
int ddp_later_dir(struct ddp_later *l, const char *path, struct ddp_error *err);
/* What is there under this name, whoever made it, is there after a power cut. */
int ddp_later_made(struct ddp_later *l, const char *path, struct ddp_error *err);

/* All of it is on disk, and the list empty; on an error the list stays for another try. NULL is fine. */
int ddp_later_settle(struct ddp_later *l, struct ddp_error *err);

#endif
