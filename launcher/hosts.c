/* Hosts from the command line and from files. */
#include "launcher/hosts.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "launcher/hosts_add.h"

enum { FILE_MAX = 16 << 20 };

/* A number of slots: digits, from 1. */
int ddp_hosts_read_slots(const char *text, const char **at, int64_t *out, struct ddp_error *err)
{
    const char *begin = *at;
    int64_t v = 0;
    while (**at >= '0' && **at <= '9' && v <= DDP_SLOTS_MAX)
        v = 10 * v + (*(*at)++ - '0');
    if (*at == begin || v < 1 || v > DDP_SLOTS_MAX)
        return ddp_hostlist_fail(err, text, begin, "a host's slots are a whole number from 1 to %d",
                                 DDP_SLOTS_MAX);
    *out = v;
    return 0;
}

static void skip_blanks(const char **at)
{
    while (**at == ' ' || **at == '\t' || **at == '\r')
        ++*at;
}

/* ---- -H -------------------------------------------------------------------------------------- */

/* "n0:4" */
static int read_host(const char *text, const char **at, struct ddp_hosts_adder *a, struct ddp_error *err)
{
    struct ddp_words names = {0};
    int64_t slots = 0;
    int rc = ddp_hostlist_item(text, at, &names, err);
    if (rc == 0 && **at == ':') {
        ++*at;
        rc = ddp_hosts_read_slots(text, at, &slots, err);
        if (rc == 0 && **at == ':')
            rc =
                ddp_hostlist_fail(err, text, *at,
                                  "one ':' parts a host from its slots (n0:4); an IPv6 address needs a name, "
                                  "in /etc/hosts or ~/.ssh/config");
    }
    if (rc == 0)
        rc = ddp_hosts_add_all(a, &names, slots, err);
    ddp_words_finish(&names);
    return rc;
}

static int read_list(const char *list, struct ddp_hosts_adder *a, struct ddp_error *err)
{
    const char *at = list;
    for (;;) {
        skip_blanks(&at);
        const int rc = read_host(list, &at, a, err);
        if (rc != 0)
            return rc;
        skip_blanks(&at);
        if (*at == '\0')
            return 0;
        if (*at != ',')
            return ddp_hostlist_fail(err, list, at, "hosts are parted by commas, as in n0:4,n1:4");
        at++;
    }
}

int ddp_hosts_parse(const char *list, struct ddp_hosts *out, struct ddp_error *err)
{
    struct ddp_hosts_adder a = {0};
    const int rc = read_list(list, &a, err);
    if (rc != 0) {
        ddp_hosts_drop(&a);
        return ddp_error_prefix(err, "-H %.60s%s", list, strlen(list) > 60 ? ".." : "");
    }
    ddp_hosts_added(&a, out);
    snprintf(out->from, sizeof out->from, "-H");
    return 0;
}

/* ---- --hostfile ------------------------------------------------------------------------------ */

/* Open MPI's names for the two numbers of a line. */
static const struct {
    const char *name;
    bool limit;
} attributes[] = {
    {"slots", false},    {"slot", false},     {"count", false},   {"cpu", false},      {"cpus", false},
    {"max_slots", true}, {"max-slots", true}, {"max_slot", true}, {"slots_max", true},
};

/* "slots=4": which of the table's it is; -1 none of them. *at is then behind the name. */
static int read_attribute(const char **at)
{
    const size_t n = strcspn(*at, "= \t\r");
    for (size_t i = 0; i < DDP_COUNT(attributes); i++)
        if (strlen(attributes[i].name) == n && strncasecmp(*at, attributes[i].name, n) == 0) {
            *at += n;
            return (int)i;
        }
    return -1;
}

/* What follows a name: ":4", "4", "slots=4 max_slots=8"; blanks round '=' are fine. */
static int read_numbers(const char *line, const char **at, int64_t *slots, struct ddp_error *err)
{
    int64_t limit = 0;
    int rc;
    if (**at == ':') {
        ++*at;
        if ((rc = ddp_hosts_read_slots(line, at, slots, err)) != 0)
            return rc;
    }
    for (skip_blanks(at); **at; skip_blanks(at)) {
        const char *begin = *at;
        int which = 0;
        if (**at < '0' || **at > '9') {
            which = read_attribute(at);
            skip_blanks(at);
            if (which < 0 || **at != '=')
                return ddp_hostlist_fail(err, line, begin,
                                         "not understood; a line is a name, or name:4, name 4, name slots=4 "
                                         "max_slots=8");
            ++*at;
            skip_blanks(at);
        }
        int64_t *number = attributes[which].limit ? &limit : slots;
        if (*number)
            return ddp_hostlist_fail(err, line, begin, "the number of slots is given twice");
        if ((rc = ddp_hosts_read_slots(line, at, number, err)) != 0)
            return rc;
        if (**at && !strchr(" \t\r", **at))
            return ddp_hostlist_fail(err, line, *at, "a blank is missing behind the number");
    }
    if (limit && *slots > limit)
        return ddp_hostlist_fail(err, line, *at, "slots=%lld is more than max_slots=%lld", (long long)*slots,
                                 (long long)limit);
    *slots = *slots ? *slots : limit;
    return 0;
}

static int read_line(char *line, struct ddp_hosts_adder *a, struct ddp_error *err)
{
    struct ddp_words names = {0};
    const char *at = line;
    int64_t slots = 0;
    int rc;

    line[strcspn(line, "#")] = '\0';
    skip_blanks(&at);
    if (!*at)
        return 0;
    rc = ddp_hostlist_item(line, &at, &names, err);
    if (rc == 0 && *at == ',')
        rc = ddp_hostlist_fail(err, line, at, "a hostfile has one host or bracket list on each line");
    if (rc == 0)
        rc = read_numbers(line, &at, &slots, err);
    if (rc == 0)
        rc = ddp_hosts_add_all(a, &names, slots, err);
    ddp_words_finish(&names);
    return rc;
}

int ddp_hosts_read_lines(const char *path, struct ddp_hosts_adder *a, struct ddp_error *err)
{
    char *text;
    size_t bytes;
    int rc = ddp_file_read(path, FILE_MAX, &text, &bytes, err), number = 0;
    if (rc != 0)
        return rc;
    if (strlen(text) != bytes)
        rc = ddp_fail(err, DDP_E_USAGE, "%s: this is no text: a byte 0 at %zu", path, strlen(text));
    for (char *line = text, *next; rc == 0 && line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        number++;
        if ((rc = read_line(line, a, err)) != 0)
            ddp_error_prefix(err, "%s:%d", path, number);
    }
    free(text);
    return rc;
}

int ddp_hosts_read(const char *path, struct ddp_hosts *out, struct ddp_error *err)
{
    struct ddp_hosts_adder a = {0};
    int rc = ddp_hosts_read_lines(path, &a, err);
    if (rc == 0 && a.hosts.n == 0)
        rc = ddp_fail(err, DDP_E_USAGE, "%s: no host is named in it; a line is 'n0 slots=4'", path);
    if (rc != 0) {
        ddp_hosts_drop(&a);
        return ddp_error_prefix(err, "--hostfile");
    }
    ddp_hosts_added(&a, out);
    snprintf(out->from, sizeof out->from, "--hostfile %s", path);
    return 0;
}

/* ---- this host ------------------------------------------------------------------------------- */

static bool is_address(const char *name)
{
    return name[strspn(name, "0123456789.")] == '\0';
}

bool ddp_host_is_self(const char *name, const char *self)
{
    const size_t a = strlen(name), b = strlen(self), n = a < b ? a : b;
    if (strcasecmp(name, "localhost") == 0 || (is_address(name) && strncmp(name, "127.", 4) == 0))
        return true;
    if (is_address(name) || is_address(self))
        return strcmp(name, self) == 0;
    if (n == 0 || strncasecmp(name, self, n) != 0)
        return false;
    return a == b || (a > b ? name[n] : self[n]) == '.';
}
