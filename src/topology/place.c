/* A rank's place: the hardware threads of its cores; its text for the environment, and back:
 *
 *   cpus=0-3,8 numa=0 package=0 threads=4 spin=2000 gpu=GPU-...
 *
 * gpu only where the rank has one. The order of the CPUs is kept: thread i of the rank runs on the i-th. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "topology/machine.h"

enum { SPIN_ROUNDS = 2000, THREADS_MAX = 4096 }; /* measured: shorter than a futex when a core is free */

/* ---- cores ----------------------------------------------------------------------------------- */

void ddp_place_fill(const struct ddp_machine *m, const int *cores, int ncores,
                    const struct ddp_place_request *req, struct ddp_place *place)
{
    int widest = 1, total = 0;
    for (int i = 0; i < ncores; i++) {
        total += m->cores[cores[i]].npus;
        widest = m->cores[cores[i]].npus > widest ? m->cores[cores[i]].npus : widest;
    }
    int most = req->hyperthreads ? total : ncores; /* hardware threads; no second ones that nobody uses */
    if (req->threads > 0 && req->threads < most)
        most = req->threads > ncores ? req->threads : ncores;
    place->threads = req->threads ? req->threads : most;
    place->pus = ddp_calloc((size_t)total, sizeof *place->pus);
    for (int level = 0; level < widest; level++)
        for (int i = 0; i < ncores && place->npus < most; i++)
            if (level < m->cores[cores[i]].npus)
                place->pus[place->npus++] = m->cores[cores[i]].pus[level];
    place->numa = m->cores[cores[0]].numa;
    place->package = m->cores[cores[0]].package;
    for (int i = 1; i < ncores; i++) {
        place->numa = m->cores[cores[i]].numa == place->numa ? place->numa : -1;
        place->package = m->cores[cores[i]].package == place->package ? place->package : -1;
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static void add_cpus(struct ddp_text *t, const struct ddp_place *p)
{
    for (int i = 0; i < p->npus;) {
        int end = i + 1;
        while (end < p->npus && p->pus[end] == p->pus[end - 1] + 1)
            end++;
        ddp_text_add(t, "%s%d", i ? "," : "", p->pus[i]);
        if (end - i > 1)
            ddp_text_add(t, "-%d", p->pus[end - 1]);
        i = end;
    }
    if (p->npus == 0)
        ddp_text_add(t, "any");
}

int ddp_place_format(const struct ddp_place *p, bool oversubscribed, char *buf, int size)
{
    struct ddp_text t;
    ddp_text_init(&t);
    ddp_text_add(&t, "cpus=");
    add_cpus(&t, p);
    ddp_text_add(&t, " numa=%d package=%d threads=%d spin=%d", p->numa, p->package, p->threads,
                 oversubscribed ? 0 : SPIN_ROUNDS);
    if (p->gpu[0])
        ddp_text_add(&t, " gpu=%s", p->gpu);
    const int n = snprintf(buf, (size_t)size, "%s", t.s);
    ddp_text_finish(&t);
    return n;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool parse_cpu(const char **s, long *out)
{
    char *end;
    if (**s < '0' || **s > '9')
        return false;
    *out = strtol(*s, &end, 10);
    *s = end;
    return *out >= 0 && *out < DDP_CPUSET_MAX;
}

/* "0-3,8" or "any"; ends at a blank or the end of the text. */
static bool parse_cpus(const char **s, struct ddp_place *p)
{
    if (strncmp(*s, "any", 3) == 0) {
        *s += 3;
        return true;
    }
    for (;;) {
        long first, last;
        if (!parse_cpu(s, &first))
            return false;
        last = first;
        if (**s == '-') {
            (*s)++;
            if (!parse_cpu(s, &last) || last < first)
                return false;
        }
        if (p->npus + (last - first + 1) > DDP_CPUSET_MAX)
            return false;
        for (long cpu = first; cpu <= last; cpu++)
            p->pus[p->npus++] = (int)cpu;
        if (**s != ',')
            return true;
        (*s)++;
    }
}

static bool parse_number(const char **s, long min, long max, int *out)
{
    char *end;
    const long v = strtol(*s, &end, 10);
    if (end == *s || v < min || v > max)
        return false;
    *s = end;
    *out = (int)v;
    return true;
}

/* A UUID, or where a described machine has none, a PCI address: no blanks and no ';', which part places. */
static bool parse_gpu(const char **s, struct ddp_place *p)
{
    const size_t n = strcspn(*s, " ;");
    if (n == 0 || n >= sizeof p->gpu)
        return false;
    memcpy(p->gpu, *s, n);
    *s += n;
    return true;
}

/* One "name=value"; which of the fields it was is noted in *seen. */
static bool parse_field(const char **s, struct ddp_place *p, int *spin, unsigned *seen)
{
    static const char *const names[] = {"cpus=", "numa=", "package=", "threads=", "spin=", "gpu="};
    unsigned i = 0;
    while (i < DDP_COUNT(names) && strncmp(*s, names[i], strlen(names[i])) != 0)
        i++;
    if (i == DDP_COUNT(names) || (*seen & 1u << i))
        return false;
    *seen |= 1u << i;
    *s += strlen(names[i]);
    switch (i) {
    case 0:
        return parse_cpus(s, p);
    case 1:
        return parse_number(s, -1, DDP_CPUSET_MAX, &p->numa);
    case 2:
        return parse_number(s, -1, DDP_CPUSET_MAX, &p->package);
    case 3:
        return parse_number(s, 1, THREADS_MAX, &p->threads);
    case 4:
        return parse_number(s, 0, 1000000000, spin);
    default:
        return parse_gpu(s, p);
    }
}

int ddp_place_parse(const char *text, struct ddp_place *out, bool *oversubscribed, struct ddp_error *err)
{
    struct ddp_place p = {.numa = -1, .package = -1, .threads = 1};
    const char *s = text;
    int spin = SPIN_ROUNDS;
    unsigned seen = 0;
    bool good = true;

    p.pus = ddp_calloc(DDP_CPUSET_MAX, sizeof *p.pus);
    while (good && *s) {
        good = parse_field(&s, &p, &spin, &seen) && (*s == '\0' || *s == ' ');
        while (good && *s == ' ')
            s++;
    }
    if (!good || !(seen & 1)) {
        ddp_place_finish(&p);
        return ddp_fail(err, DDP_E_USAGE,
                        "place '%s' is not understood at '%s'; one looks like \"cpus=0-3 numa=0 package=0 "
                        "threads=4 spin=2000\"",
                        text, s);
    }
    *out = p;
    *oversubscribed = spin == 0;
    return 0;
}

int ddp_place_parse_nth(const char *places, int n, struct ddp_place *out, bool *oversubscribed,
                        struct ddp_error *err)
{
    const char *begin = places;
    for (int skip = n; skip > 0; skip--) {
        begin = strchr(begin, ';');
        if (!begin)
            return ddp_fail(err, DDP_E_USAGE, "there is no place for local rank %d", n);
        begin++;
    }
    const size_t bytes = strcspn(begin, ";");
    char *text = ddp_malloc(bytes + 1);
    memcpy(text, begin, bytes);
    text[bytes] = '\0';
    const int rc = ddp_place_parse(text, out, oversubscribed, err);
    free(text);
    return rc;
}

void ddp_place_finish(struct ddp_place *p)
{
    free(p->pus);
    *p = (struct ddp_place){0};
}
