/* metrics.jsonl of a run that goes on: what is kept is whole, in order as it was, and nothing else. */
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/fileio.h"
#include "fuzz.h"
#include "telemetry/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("metrics.jsonl", data, size);
    const struct ddp_records_from from = {.step = 3, .owed = size & 1};
    struct ddp_error err = {0};
    int fd = -1;
    char *kept;
    size_t bytes;
    FUZZ_CHECK(ddp_records_open(path, "", &from, NULL, &fd, &err) == 0);
    close(fd);
    FUZZ_CHECK(ddp_file_read(path, 0, &kept, &bytes, &err) == 0);
    FUZZ_CHECK(bytes <= size && (bytes == 0 || kept[bytes - 1] == '\n'));
    for (char *line = kept, *end; (end = memchr(line, '\n', (size_t)(kept + bytes - line))); line = end + 1) {
        json_t *o = json_loadb(line, (size_t)(end - line), 0, NULL);
        FUZZ_CHECK(json_integer_value(json_object_get(o, "step")) <= 3);
        json_decref(o);
    }
    fuzz_taken += bytes > 0;
    free(kept);
    return 0;
}
