/* One write() a line: tags, levels, a log file for each rank, and the progress line below the rest. */
#include "base/log.h"
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/fileio_fault.h"
#include "base/streams.h"

enum { LINE = 10240 };

static struct {
    pthread_mutex_t lock;
    char tag[128]; /* " host:rank", "" before identity */
    int rank;
    enum ddp_log_level terminal, file_level;
    int file;
    bool progress_shown;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .terminal = DDP_LOG_INFO, .file = -1};

static const char *const level_name[] = {"error", "warning", "info", "debug"};

enum ddp_log_level ddp_log_level_of(const char *name)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum ddp_log_level)i;
    return DDP_LOG_INFO;
}

void ddp_log_identity(const char *host, int rank)
{
    pthread_mutex_lock(&state.lock);
    snprintf(state.tag, sizeof state.tag, " %s:%d", host, rank);
    state.rank = rank;
    pthread_mutex_unlock(&state.lock);
}

void ddp_log_terminal(enum ddp_log_level terminal)
{
    state.terminal = terminal;
}

int ddp_log_file(const char *path, enum ddp_log_level level, struct ddp_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0)
        return ddp_fail(err, DDP_E_IO, "%s: cannot open the log: %s", path, ddp_write_reason(errno, path));
    pthread_mutex_lock(&state.lock);
    if (state.file >= 0)
        close(state.file);
    state.file = fd;
    state.file_level = level;
    pthread_mutex_unlock(&state.lock);
    return 0;
}

void ddp_log_close(void)
{
    pthread_mutex_lock(&state.lock);
    if (state.file >= 0)
        close(state.file);
    state.file = -1;
    pthread_mutex_unlock(&state.lock);
}

/* A log that cannot be written must not end the run. */
static void put(int fd, const char *s, size_t n)
{
    ddp_stream_write(fd, s, n);
}

/* always: whatever the terminal's level is. */
static void emit(enum ddp_log_level level, bool always, const char *fmt, va_list ap)
{
    char text[LINE], line[LINE + 256];
    vsnprintf(text, sizeof text, fmt, ap);
    ddp_text_plain(text);
    pthread_mutex_lock(&state.lock);
    bool shown = level == DDP_LOG_ERROR || ((always || level <= state.terminal) && state.rank == 0);
    if (shown) {
        bool plain = level == DDP_LOG_INFO && state.rank == 0;
        const char *clear = state.progress_shown ? "\r\033[K" : "";
        int n = plain
                    ? snprintf(line, sizeof line, "%s%s\n", clear, text)
                    : snprintf(line, sizeof line, "%s[%s%s] %s\n", clear, level_name[level], state.tag, text);
        state.progress_shown = false;
        put(STDERR_FILENO, line, (size_t)n);
    }
    if (state.file >= 0 && level <= state.file_level) {
        struct timespec now;
        struct tm tm;
        clock_gettime(CLOCK_REALTIME, &now);
        localtime_r(&now.tv_sec, &tm);
        char when[32];
        strftime(when, sizeof when, "%H:%M:%S", &tm);
        int n = snprintf(line, sizeof line, "%s.%03ld [%s%s] %s\n", when, now.tv_nsec / 1000000,
                         level_name[level], state.tag, text);
        put(state.file, line, (size_t)n);
    }
    pthread_mutex_unlock(&state.lock);
}

void ddp_log(enum ddp_log_level level, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    emit(level, false, fmt, ap);
    va_end(ap);
}

void ddp_log_always(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    emit(DDP_LOG_INFO, true, fmt, ap);
    va_end(ap);
}

bool ddp_log_is_terminal(void)
{
    return ddp_log_columns() > 0;
}

/* "120:/dev/pts/3": asked each time, as a window may be drawn to another size. A rank is in no terminal's
 * foreground, so no signal would tell it; and on another host there is only what the launcher saw. */
static int columns_of(const char *tty)
{
    enum { USUAL = 80 };
    struct winsize size = {0};
    const char *path = strchr(tty, ':');
    const int seen = (int)strtol(tty, NULL, 10);
    if (seen <= 0)
        return 0;
    const int fd = path ? open(path + 1, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC) : -1;
    if (fd >= 0) {
        if (ioctl(fd, TIOCGWINSZ, &size) != 0)
            size.ws_col = 0;
        close(fd);
    }
    return size.ws_col > 0 ? size.ws_col : seen > 1 ? seen : USUAL;
}

int ddp_log_columns(void)
{
    const char *tty = getenv("DDP_TTY");
    struct winsize size = {0};
    if (tty)
        return columns_of(tty);
    if (!isatty(STDERR_FILENO))
        return 0;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : columns_of("1");
}

void ddp_log_progress(const char *text, bool final)
{
    char line[LINE];
    pthread_mutex_lock(&state.lock);
    if (state.terminal >= DDP_LOG_INFO) {
        bool tty = ddp_log_is_terminal();
        int n = tty ? snprintf(line, sizeof line, "\r%s\033[K%s", text, final ? "\n" : "")
                    : snprintf(line, sizeof line, "%s\n", text);
        state.progress_shown = tty && !final;
        put(STDERR_FILENO, line, (size_t)n);
    }
    pthread_mutex_unlock(&state.lock);
}

void ddp_say(const char *program, const char *fmt, ...)
{
    char text[8192];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    ddp_text_plain(text);
    fprintf(stderr, "%s: %s\n", program, text);
}
