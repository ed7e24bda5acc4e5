/* Files for targets that read files. */
#include "fuzz.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fileio.h"

long fuzz_taken;

static char folder[64];

static void clean(void)
{
    ddp_dir_remove(folder, NULL);
}

const char *fuzz_path(const char *name)
{
    static char path[4][256];
    static int n;
    if (!*folder) {
        strcpy(folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/ddp-fuzz-XXXXXX" : "/tmp/ddp-fuzz-XXXXXX");
        FUZZ_CHECK(mkdtemp(folder));
        atexit(clean);
        ddp_log_terminal(DDP_LOG_ERROR);
    }
    n = (n + 1) % 4;
    snprintf(path[n], sizeof path[n], "%s/%s", folder, name);
    return path[n];
}

const char *fuzz_file(const char *name, const void *data, size_t size)
{
    const char *path = fuzz_path(name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0);
    return path;
}

char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    FUZZ_CHECK(text);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}
