/* Runs a target without libFuzzer, with any compiler: on the files that are named, or lie in folders that are
 * named, and on damaged copies of each. AFL++ runs it with one file and no copies.
 *
 *   fuzz_NAME [--rounds N] [--seed S] FILE|FOLDER ..
 *
 * Which input ended it is printed by the handler of the signal that ended it. */
#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fileio.h"
#include "fuzz.h"

enum { MOST_EDITS = 4 };

static struct {
    const char *path;
    uint32_t round; /* 0: the file itself */
    uint32_t seed, rounds;
    long inputs;
} now;

static void say_which(int sig)
{
    char line[600];
    const int n = snprintf(line, sizeof line, "fuzz: signal %d at %s, --seed %u, round %u\n", sig, now.path,
                           now.seed, now.round);
    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        _exit(1);
    signal(sig, SIG_DFL);
    raise(sig);
}

static uint32_t draw(uint32_t i, uint32_t below)
{
    return ddp_uniform_int(ddp_philox4(i, now.round, now.seed, 0, 2611).v[0], below);
}

/* Bits flipped, bytes overwritten (often where the head is), a piece removed, doubled or moved, cut. data has
 * room for twice its bytes; the new size. */
static size_t damage(uint8_t *data, size_t size)
{
    const size_t room = 2 * size + 16;
    uint32_t i = 0;
    const uint32_t edits = 1 + draw(i++, MOST_EDITS);
    for (uint32_t e = 0; e < edits && size > 0; e++) {
        const uint32_t kind = draw(i++, 7), value = draw(i++, 256), far = draw(i++, 2);
        const uint32_t reach = far || size < 64 ? (uint32_t)size : 64;
        const size_t at = draw(i++, reach), left = size - at,
                     part = 1 + draw(i++, left < 64 ? (uint32_t)left : 64);
        if (kind == 0)
            data[at] ^= (uint8_t)(1u << (value % 8));
        else if (kind == 1)
            data[at] = (uint8_t)value;
        else if (kind == 2)
            memset(data + at, value & 1 ? 255 : 0, part < 8 ? part : 8);
        else if (kind == 3 && value < 32)
            size = at;
        else if (kind == 4) {
            memmove(data + at, data + at + part, left - part);
            size -= part;
        } else if (kind == 5 && size + part <= room) {
            memmove(data + at + part, data + at, left);
            size += part;
        } else if (kind == 6 && part <= at)
            memcpy(data + at, data + draw(i++, (uint32_t)(at - part + 1)), part);
    }
    return size;
}

static void run(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1); /* so that a sanitizer sees a read behind its end */
    FUZZ_CHECK(exact);
    if (size > 0)
        memcpy(exact, data, size);
    FUZZ_CHECK(LLVMFuzzerTestOneInput(exact, size) == 0);
    now.inputs++;
    free(exact);
}

static void run_file(const char *path)
{
    char *data;
    size_t bytes;
    struct ddp_error err = {0};
    now.path = path;
    if (ddp_file_read(path, 0, &data, &bytes, &err) != 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(2);
    }
    uint8_t *copy = malloc(2 * bytes + 16);
    FUZZ_CHECK(copy);
    for (now.round = 0; now.round <= now.rounds; now.round++) {
        memcpy(copy, data, bytes);
        run(copy, now.round ? damage(copy, bytes) : bytes);
    }
    free(copy);
    free(data);
}

static void run_path(const char *path)
{
    struct stat st;
    DIR *d = stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? opendir(path) : NULL;
    if (!d)
        run_file(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char file[1024];
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.')
            run_file(file);
    }
    if (d)
        closedir(d);
}

int main(int argc, char **argv)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    int first = 1;
    int64_t value;
    for (size_t i = 0; i < DDP_COUNT(signals); i++)
        signal(signals[i], say_which);
    for (; first + 1 < argc && strncmp(argv[first], "--", 2) == 0; first += 2) {
        FUZZ_CHECK(ddp_parse_int(argv[first + 1], &value));
        *(strcmp(argv[first], "--rounds") == 0 ? &now.rounds : &now.seed) = (uint32_t)value;
    }
    if (first >= argc) {
        fprintf(stderr, "%s [--rounds N] [--seed S] FILE|FOLDER ..\n", argv[0]);
        return 2;
    }
    for (int i = first; i < argc; i++)
        run_path(argv[i]);
    printf("%ld inputs, %ld of them taken for good\n", now.inputs, fuzz_taken);
    return fuzz_taken > 0 ? 0 : 2;
}
