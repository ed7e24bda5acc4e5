/* What ssh, mpirun and srun print, by host. */
#include "launcher/missing.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { NAMES_MOST = 8, LINE_MOST = 400 };

static bool is_in_name(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '_';
}

/* Whether the name stands in a line as a word, or before a domain. */
static bool speaks_of(const char *line, size_t n, const char *host)
{
    const size_t len = strlen(host);
    for (size_t i = 0; len > 0 && i + len <= n; i++)
        if (memcmp(line + i, host, len) == 0 && (i == 0 || !is_in_name(line[i - 1])) &&
            (i + len == n || !is_in_name(line[i + len])))
            return true;
    return false;
}

static bool holds(const char *line, size_t n, const char *word)
{
    return memmem(line, n, word, strlen(word)) != NULL;
}

/* Words of lines that say what is wrong with one host, and what must work: in front of its name, and behind.
 * mpirun's own lines only say that something is wrong, with any. */
#define BY_SSH "'ssh ", " true' must work from here without a question"
static const struct reason {
    const char *words, *before, *behind;
} reasons[] = {
    {"cannot reach the host of ddp-launch", "", " must reach this host at any port: look for a firewall"},
    {"srun: error", "'srun --overlap -w ", " true' must work in this job"},
    {"ssh: ", BY_SSH},
    {"Timeout, server ", BY_SSH},
    {"Connection ", BY_SSH},
    {" does not answer at port ", BY_SSH},
    {"ermission denied", BY_SSH},
    {"Host key verification failed", BY_SSH},
};

/* NULL: the line says nothing of that kind. */
static const struct reason *find_reason(const char *line, size_t n)
{
    for (size_t i = 0; i < DDP_COUNT(reasons) && n < LINE_MOST; i++)
        if (holds(line, n, reasons[i].words))
            return &reasons[i];
    return NULL;
}

static bool speaks_of_any(const char *line, size_t n, const char *addresses)
{
    char one[64];
    for (const char *s = addresses; *s; s += strspn(s, " ")) {
        const size_t len = strcspn(s, " ");
        snprintf(one, sizeof one, "%.*s", (int)len, s);
        if (speaks_of(line, n, one))
            return true;
        s += len;
    }
    return false;
}

static bool explain_host(const char *host, const char *addresses, const char *said, struct ddp_text *out)
{
    for (const char *line = said; *line;) {
        const size_t n = strcspn(line, "\r\n");
        const struct reason *reason = find_reason(line, n);
        if (reason && (speaks_of(line, n, host) || speaks_of_any(line, n, addresses))) {
            ddp_text_add(out, "%s%s: %.*s; %s%s%s", out->len ? "\n" : "", host, (int)n, line, reason->before,
                         host, reason->behind);
            return true;
        }
        line += n + strspn(line + n, "\r\n");
    }
    return false;
}

/* The lines that say what is wrong with some host, where there are such; else all that was said. */
static void add_said(const char *said, struct ddp_text *out)
{
    const size_t before = out->len;
    size_t n = strlen(said);
    for (const char *line = said; *line;) {
        const size_t k = strcspn(line, "\r\n");
        if (find_reason(line, k))
            ddp_text_add(out, "%s\n%.*s", out->len == before ? "; what was said:" : "", (int)k, line);
        line += k + strspn(line + k, "\r\n");
    }
    while (n > 0 && said[n - 1] == '\n')
        n--;
    if (out->len == before && n > 0)
        ddp_text_add(out, "; what was said:\n%.*s", (int)n, said);
}

bool ddp_missing_explain(const struct ddp_words *missing, const struct ddp_words *address, int total,
                         const char *said, struct ddp_text *out)
{
    bool any = false;
    for (int i = 0; i < missing->n; i++)
        any |= explain_host(missing->w[i], address->w[i], said, out);
    if (any)
        return true;
    ddp_text_add(out, "%d of %d other hosts did not report: ", missing->n, total);
    for (int i = 0; i < missing->n && i < NAMES_MOST; i++)
        ddp_text_add(out, "%s%s", i ? ", " : "", missing->w[i]);
    ddp_text_add(out,
                 "%s; each must be reachable from here ('ssh %s true'), see the same folders, and reach this "
                 "host at any port",
                 missing->n > NAMES_MOST ? ", .." : "", missing->w[0]);
    add_said(said, out);
    return false;
}
