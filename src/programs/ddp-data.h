/* The commands of ddp-data. Each takes its own argument list (argv[0] is the command's name) and returns an
 * exit code. */
#ifndef DDP_PROGRAMS_DATA_H
#define DDP_PROGRAMS_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/base.h"
#include "data/data.h"

int ddp_data_fetch_main(int argc, char **argv);
int ddp_data_pack_main(int argc, char **argv);
int ddp_data_inspect_main(int argc, char **argv);
extern const struct ddp_manual ddp_data_fetch_manual, ddp_data_pack_manual, ddp_data_inspect_manual;

/* inspect of data of real numbers. */
int ddp_data_survey_numbers(const struct ddp_config *cfg, struct ddp_dataset *const ds[2],
                            struct ddp_error *err);

/* Answer --help-config and --help-layers; other words are passed over. An exit code. */
int ddp_data_reference(const struct ddp_manual *m, int argc, char **argv);

/* ---- fetch ----------------------------------------------------------------------------------- */

/* One file of a published data set, packed by gzip. */
struct ddp_fetch_file {
    const char *name;     /* below the mirror's address, "train-images-idx3-ubyte.gz" */
    const char *md5;      /* of the file as it is published; NULL: sha256 decides */
    const char *unpacked; /* what it becomes; NULL: it is a tar archive, members say which files are wanted */
    const char *sha256;   /* of the unpacked file; NULL: not known, md5 decides */
    size_t bytes;         /* of the unpacked file; of each member of an archive */
    const char *const *members; /* base names, ends with NULL */
};

struct ddp_fetch_source {
    const char *name, *folder;  /* folder: below the root */
    const char *const *mirrors; /* ends with NULL; without the slash at the end */
    const struct ddp_fetch_file *file;
    int files;
};

struct ddp_fetch_options {
    const char *root;
    const char *mirror; /* instead of the known ones; NULL: those */
    double timeout_s;   /* without a connection, or with hardly a byte coming, before a mirror is given up */
    bool quiet;
};

/* The published sets; NULL past the end. */
const struct ddp_fetch_source *ddp_fetch_source_at(int i);

/* Bring all files of a set into ROOT/FOLDER. What is there already, unpacked or packed, is not fetched; a
 * download that broke off goes on where it stopped. Nothing stands under its final name before its checksum
 * is right. */
int ddp_fetch_run(const struct ddp_fetch_source *source, const struct ddp_fetch_options *opt,
                  struct ddp_error *err);

/* One address to one file of `limit` bytes at most, going on behind what the file holds already. DDP_E_DATA:
 * more came, and the file is gone; other errors leave what came. */
int ddp_download(const char *url, const char *path, size_t limit, double timeout_s, bool quiet,
                 struct ddp_error *err);

/* Unpack PATH (gzip) into FOLDER as `file` says, checking checksums before anything gets its name. */
int ddp_unpack(const char *path, const struct ddp_fetch_file *file, const char *folder,
               struct ddp_error *err);

#endif
