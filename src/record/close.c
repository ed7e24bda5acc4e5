/* run.json: reading its status, closing what a dead process left open. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "record/record.h"

static json_t *read_run(const char *run_dir)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/run.json", run_dir);
    return json_load_file(path, 0, NULL);
}

static bool says_running(const json_t *o)
{
    const char *status = json_string_value(json_object_get(o, "status"));
    return status && strcmp(status, "running") == 0;
}

void ddp_run_status(const char *run_dir, char *status, int size)
{
    json_t *o = read_run(run_dir);
    const char *text = json_string_value(json_object_get(o, "status"));
    snprintf(status, (size_t)size, "%s", text ? text : "");
    json_decref(o);
}

/* Over the old text, filled up with blanks: takes no room. */
static bool write_over(const char *path, const char *text)
{
    const size_t n = strlen(text);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    struct stat st;
    bool ok = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && n < (size_t)st.st_size;
    if (ok) {
        const size_t bytes = (size_t)st.st_size;
        char *all = ddp_malloc(bytes);
        memset(all, ' ', bytes);
        memcpy(all, text, n); /* NOLINT(bugprone-not-null-terminated-result): blanks end it */
        all[bytes - 1] = '\n';
        ok = pwrite(fd, all, bytes, 0) == (ssize_t)bytes && fsync(fd) == 0;
        free(all);
    }
    if (fd >= 0)
        close(fd);
    return ok;
}

int ddp_run_write(const char *run_dir, const char *text, const char *compact, struct ddp_error *err)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/run.json", run_dir);
    struct ddp_error why = {0};
    const int status = ddp_file_write(path, text, strlen(text), &why);
    if (status == 0 || (compact && write_over(path, compact)))
        return 0;
    return ddp_fail(err, status, "%s", why.text);
}

/* ---- whether its process is gone ---- */

/* Locks there may be this host's alone. */
static bool is_remote(int fd)
{
    static const unsigned long kinds[] = {
        0x6969,     /* NFS */
        0xff534d42, /* CIFS */
        0xfe534d42, /* SMB 2 */
        0x517b,     /* SMB */
        0x0bd00bd0, /* Lustre */
        0x47504653, /* GPFS */
        0x65735546, /* FUSE */
        0x00c36400, /* Ceph */
        0x19830326, /* BeeGFS */
        0x5346414f, /* AFS */
        0x01021997, /* 9P */
    };
    struct statfs s;
    if (fstatfs(fd, &s) != 0)
        return true;
    for (size_t i = 0; i < DDP_COUNT(kinds); i++)
        if (((unsigned long)s.f_type & 0xffffffff) == kinds[i])
            return true;
    return false;
}

/* The last leg's process, where this host can know. */
static bool is_alive(const json_t *leg)
{
    const pid_t pid = (pid_t)json_integer_value(json_object_get(leg, "pid"));
    return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

static bool is_here(const json_t *leg)
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    const char *there = json_string_value(json_object_get(leg, "host"));
    return there && strcmp(there, host) == 0;
}

/* Takes the run when its process is gone: a descriptor that holds it, else -1. how: LOCK_EX, or LOCK_SH,
 * which keeps nobody out who looks as well. */
static int take(const char *run_dir, const json_t *leg, int how)
{
    const int fd = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    const bool locked = flock(fd, how | LOCK_NB) == 0;
    const bool held = !locked && errno == EWOULDBLOCK;
    bool gone = !held && (locked && !is_remote(fd));
    if (!held && !gone)
        gone = is_here(leg) && !is_alive(leg);
    if (!gone) {
        close(fd);
        return -1;
    }
    return fd;
}

static json_t *last_leg(const json_t *o)
{
    const json_t *legs = json_object_get(o, "legs");
    return json_array_get(legs, json_array_size(legs) - 1);
}

bool ddp_run_is_abandoned(const char *run_dir)
{
    json_t *o = read_run(run_dir);
    const int held = says_running(o) ? take(run_dir, last_leg(o), LOCK_SH) : -1;
    if (held >= 0)
        close(held);
    json_decref(o);
    return held >= 0;
}

int ddp_run_take(const char *run_dir)
{
    json_t *o = read_run(run_dir);
    const int held = take(run_dir, last_leg(o), LOCK_EX);
    json_decref(o);
    return held;
}

/* ---- closing ---- */

static void set_end(json_t *o, const char *cause)
{
    char when[40];
    const time_t now = time(NULL);
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    json_object_set_new(o, "status", json_string("failed"));
    json_object_set_new(o, "error", json_string(cause));
    json_object_set_new(o, "ended", json_string(when));
}

/* Write its end into a record that is open still. */
static bool end_record(const char *run_dir, const char *cause)
{
    json_t *o = read_run(run_dir), *leg = last_leg(o);
    bool closed = false;
    if (says_running(o)) {
        set_end(o, cause);
        json_object_del(o, "ended"); /* of the leg */
        if (leg)
            set_end(leg, cause);
        char *text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(12)),
             *compact = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(12));
        closed = text && ddp_run_write(run_dir, text, compact, NULL) == 0;
        free(text);
        free(compact);
    }
    json_decref(o);
    return closed;
}

bool ddp_run_close_of(const char *run_dir, int pid, const char *cause)
{
    json_t *o = read_run(run_dir);
    const json_t *leg = last_leg(o);
    const bool open = says_running(o),
               known = open && pid > 0 && json_integer_value(json_object_get(leg, "pid")) == pid;
    const int held = open ? take(run_dir, leg, LOCK_EX) : -1;
    json_decref(o);
    const bool closed =
        (held >= 0 || known) && end_record(run_dir, cause); /* its process may have meanwhile */
    if (held >= 0)
        close(held);
    return closed;
}

bool ddp_run_close(const char *run_dir, const char *cause)
{
    return ddp_run_close_of(run_dir, 0, cause);
}

void ddp_runs_close(const char *runs_dir)
{
    DIR *d = opendir(runs_dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char run[4096];
        if (e->d_name[0] == '.' || snprintf(run, sizeof run, "%s/%s", runs_dir, e->d_name) >= (int)sizeof run)
            continue;
        if (ddp_run_close(run, "it ended without a word: its process is gone"))
            ddp_log(DDP_LOG_INFO, "%s: its process is gone; its record says 'failed' now, not 'running'",
                    run);
    }
    if (d)
        closedir(d);
}
