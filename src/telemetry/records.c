#include "telemetry/records.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Keep the records up to `step`. */
static int cut_after(const char *path, int64_t step, struct ddp_error *err)
{
    char *data;
    size_t bytes;
    if (!ddp_path_exists(path))
        return 0;
    int status = ddp_file_read(path, 0, &data, &bytes, err);
    if (status)
        return status;
    struct ddp_text kept;
    ddp_text_init(&kept);
    for (char *line = data, *end; (end = strchr(line, '\n')); line = end + 1) {
        json_t *o = json_loadb(line, (size_t)(end - line), 0, NULL);
        if (o && json_integer_value(json_object_get(o, "step")) <= step)
            ddp_text_append(&kept, line, (size_t)(end - line) + 1);
        json_decref(o);
    }
    status = ddp_file_write(path, kept.s, kept.len, err);
    ddp_text_finish(&kept);
    free(data);
    return status;
}

int ddp_records_open(const char *path, bool append, int64_t step, int *fd, struct ddp_error *err)
{
    int status = append ? cut_after(path, step, err) : 0;
    if (status)
        return status;
    *fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (append ? 0 : O_TRUNC), 0666);
    return *fd < 0 ? ddp_fail(err, DDP_E_IO, "%s: cannot open: %s", path, strerror(errno)) : 0;
}
