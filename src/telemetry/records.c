/* Appending records, and cutting off those that a resumed run does again. */
#include "telemetry/records.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Whether a record is of what the checkpoint holds. */
static bool is_before(const json_t *record, const struct ddp_records_from *from)
{
    const json_t *at = json_object_get(record, "step");
    const char *type = json_string_value(json_object_get(record, "type"));
    if (!json_is_integer(at) || json_integer_value(at) > from->step)
        return false;
    return !from->owed || json_integer_value(at) < from->step || !type || strcmp(type, "eval") != 0;
}

/* Keep the records up to the checkpoint, behind `head`. What a power cut left (torn lines, pages of zeros) is
 * dropped. */
static int cut_after(const char *path, const char *head, const struct ddp_records_from *from,
                     struct ddp_error *err)
{
    char *data;
    size_t bytes;
    int status = ddp_file_read(path, 0, &data, &bytes, err);
    if (status)
        return status;
    struct ddp_text kept;
    ddp_text_init(&kept);
    ddp_text_append(&kept, head, strlen(head));
    const char *last = data + bytes;
    for (char *line = data, *end; (end = memchr(line, '\n', (size_t)(last - line))); line = end + 1) {
        json_t *o = json_loadb(line, (size_t)(end - line), 0, NULL);
        if (is_before(o, from))
            ddp_text_append(&kept, line, (size_t)(end - line) + 1);
        json_decref(o);
    }
    status = ddp_file_write(path, kept.s, kept.len, err);
    ddp_text_finish(&kept);
    free(data);
    return status;
}

int ddp_records_open(const char *path, const char *head, const struct ddp_records_from *from,
                     struct ddp_later *later, int *fd, struct ddp_error *err)
{
    int status = from && ddp_path_exists(path) ? cut_after(path, head, from, err)
                                               : ddp_later_file(later, path, head, strlen(head), err);
    if (status)
        return status;
    *fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    return *fd < 0 ? ddp_fail(err, DDP_E_IO, "%s: cannot open: %s", path, strerror(errno)) : 0;
}
