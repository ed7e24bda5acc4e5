/* From a fetched .gz or .tar.gz to files with their final names. */
#include "ddp-data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <nettle/md5.h>

#include "base/base.h"
#include "data/gunzip.h"

enum { BLOCK = 512, PIECE = 1 << 16 };

static int check_md5(const char *path, const char *want, struct ddp_error *err)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return ddp_fail(err, DDP_E_IO, "cannot read %s", path);
    struct md5_ctx md5;
    uint8_t piece[BLOCK * 8], sum[16];
    size_t n;
    char hex[33];
    md5_init(&md5);
    while ((n = fread(piece, 1, sizeof piece, f)) > 0)
        md5_update(&md5, n, piece);
    fclose(f);
    md5_digest(&md5, sizeof sum, sum);
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    if (strcmp(hex, want) != 0)
        return ddp_fail(err, DDP_E_DATA, "%s has MD5 %s, not %s: it is damaged or another file", path, hex,
                        want);
    return 0;
}

/* `bytes` from gz to FOLDER/NAME; sha256 NULL: not checked. */
static int copy_out(struct ddp_gunzip *gz, const char *from, const char *folder, const char *name,
                    size_t bytes, const char *sha256, struct ddp_error *err)
{
    struct ddp_text path;
    struct ddp_outfile *out = NULL;
    struct ddp_sha256 sha;
    char hex[65];
    uint8_t *piece = ddp_malloc(PIECE);
    ddp_text_init(&path);
    ddp_text_add(&path, "%s/%s", folder, name);
    ddp_sha256_init(&sha);
    int rc = ddp_outfile_create(path.s, &out, err);
    for (size_t at = 0; !rc && at < bytes;) {
        size_t n;
        rc = ddp_gunzip_read(gz, piece, bytes - at < PIECE ? bytes - at : PIECE, &n, err);
        if (!rc && n == 0)
            rc = ddp_fail(err, DDP_E_DATA, "%s is damaged or truncated: %s ends after %zu of %zu bytes", from,
                          name, at, bytes);
        if (rc)
            break;
        ddp_sha256_update(&sha, piece, n);
        rc = ddp_outfile_write(out, piece, n, err);
        at += n;
    }
    ddp_sha256_hex(&sha, hex);
    if (!rc && sha256 && strcmp(hex, sha256) != 0)
        rc = ddp_fail(err, DDP_E_DATA, "%s: %s has SHA-256 %s, not %s: it is damaged or another file", from,
                      name, hex, sha256);
    if (!rc) {
        rc = ddp_outfile_commit(out, err);
        out = NULL;
    }
    ddp_outfile_abort(out);
    ddp_text_finish(&path);
    free(piece);
    return rc;
}

/* POSIX ustar header: name, size in octal, checksum over itself with the checksum's field as blanks. */
static bool tar_header(const uint8_t block[BLOCK], char name[101], size_t *bytes, bool *file)
{
    unsigned long sum = 0;
    for (int i = 0; i < BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : block[i];
    char field[13] = "";
    memcpy(field, block + 148, 8);
    if (strtoul(field, NULL, 8) != sum)
        return false;
    memcpy(name, block, 100);
    name[100] = '\0';
    memcpy(field, block + 124, 12);
    *bytes = strtoul(field, NULL, 8);
    *file = block[156] == '0' || block[156] == '\0';
    return true;
}

/* Nothing may follow what was wanted. */
static int check_end(struct ddp_gunzip *gz, const char *path, struct ddp_error *err)
{
    uint8_t beyond;
    size_t got;
    const int rc = ddp_gunzip_read(gz, &beyond, 1, &got, err);
    return rc || got == 0
               ? rc
               : ddp_fail(err, DDP_E_DATA, "%s is damaged: it unpacks to more than it should", path);
}

static int unpack_tar(struct ddp_gunzip *gz, const char *path, const struct ddp_fetch_file *file,
                      const char *folder, struct ddp_error *err)
{
    uint64_t found = 0; /* bit i: member i */
    int n = 0;
    while (file->members[n])
        n++;
    for (;;) {
        uint8_t block[BLOCK];
        char name[101];
        size_t bytes;
        bool regular;
        size_t got;
        int rc = ddp_gunzip_read(gz, block, BLOCK, &got, err);
        if (rc)
            return rc;
        if (got != BLOCK || block[0] == '\0')
            break;
        if (!tar_header(block, name, &bytes, &regular))
            return ddp_fail(err, DDP_E_DATA, "%s is no tar archive, or damaged", path);
        const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
        int wanted = -1;
        for (int i = 0; regular && i < n; i++)
            if (strcmp(base, file->members[i]) == 0)
                wanted = i;
        size_t skip = (bytes + BLOCK - 1) / BLOCK * BLOCK;
        if (wanted >= 0) {
            if (bytes != file->bytes)
                return ddp_fail(err, DDP_E_DATA, "%s: %s has %zu bytes, not %zu", path, name, bytes,
                                file->bytes);
            rc = copy_out(gz, path, folder, base, bytes, NULL, err);
            if (rc)
                return rc;
            found |= UINT64_C(1) << wanted;
            skip -= bytes;
        }
        rc = ddp_gunzip_read(gz, NULL, skip, &got, err);
        if (rc)
            return rc;
        if (got < skip)
            break;
    }
    for (int i = 0; i < n; i++)
        if (!(found >> i & 1))
            return ddp_fail(err, DDP_E_DATA, "%s is damaged or truncated: it lacks %s", path,
                            file->members[i]);
    return 0;
}

int ddp_unpack(const char *path, const struct ddp_fetch_file *file, const char *folder, struct ddp_error *err)
{
    int rc = file->md5 ? check_md5(path, file->md5, err) : 0;
    if (rc)
        return rc;
    struct ddp_gunzip *gz;
    rc = ddp_gunzip_open(path, &gz, err);
    if (rc)
        return rc;
    if (file->unpacked) {
        rc = copy_out(gz, path, folder, file->unpacked, file->bytes, file->sha256, err);
        if (!rc)
            rc = check_end(gz, path, err);
    } else {
        rc = unpack_tar(gz, path, file, folder, err);
    }
    ddp_gunzip_close(gz);
    return rc;
}
