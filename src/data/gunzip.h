/* Reading .gz files strictly: every byte of the file belongs to a gzip member (RFC 1952), every checksum is
 * right. zlib's own gzread() passes over what follows a member, and takes a file that is not packed as it
 * is. */
#ifndef DDP_DATA_GUNZIP_H
#define DDP_DATA_GUNZIP_H

#include "base/base.h"

struct ddp_gunzip;

/* DDP_E_IO: cannot be opened. */
int ddp_gunzip_open(const char *path, struct ddp_gunzip **out, struct ddp_error *err);
void ddp_gunzip_close(struct ddp_gunzip *g);          /* NULL is fine */
size_t ddp_gunzip_packed(const struct ddp_gunzip *g); /* bytes of the file */
/* The next n bytes, fewer only at the end; *got of them. to NULL: passed over. DDP_E_DATA: damaged,
 * truncated, or something else behind a member. */
int ddp_gunzip_read(struct ddp_gunzip *g, void *to, size_t n, size_t *got, struct ddp_error *err);

#endif
