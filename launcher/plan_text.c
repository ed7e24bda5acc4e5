/* A plan as text: for the environment of ranks, for the record, for people. */
#include <stdlib.h>
#include <string.h>

#include "launcher/plan.h"

/* A variable of the environment holds 128 KiB. */
enum { LINE_MAX_BYTES = 96 << 10 };

static void add_place(struct ddp_text *t, const struct ddp_placement *p, int local)
{
    const int size = ddp_place_format(&p->place[local], p->oversubscribed, NULL, 0) + 1;
    char *text = ddp_malloc((size_t)size);
    ddp_place_format(&p->place[local], p->oversubscribed, text, size);
    ddp_text_add(t, "%s", text);
    free(text);
}

char *ddp_launch_part_places(const struct ddp_launch_part *part)
{
    struct ddp_text t;
    ddp_text_init(&t);
    for (int r = 0; r < part->ranks; r++) {
        ddp_text_add(&t, "%s", r ? ";" : "");
        add_place(&t, part->placement, r);
    }
    return t.s;
}

int *ddp_launch_part_pus(const struct ddp_launch_part *part, int *n)
{
    int *pus = NULL;
    *n = 0;
    for (int r = 0; r < part->ranks && part->placement; r++) {
        const struct ddp_place *place = &part->placement->place[r];
        pus = ddp_realloc(pus, ((size_t)*n + (size_t)place->npus + 1) * sizeof *pus);
        for (int k = 0; k < place->npus; k++)
            pus[(*n)++] = place->pus[k];
    }
    return pus;
}

/* "0-63@n0; 64-127@n1": of each host the ranks. */
static char *hosts_line(const struct ddp_launch_plan *plan)
{
    struct ddp_text t;
    ddp_text_init(&t);
    for (int h = 0; h < plan->nparts; h++) {
        const struct ddp_launch_part *part = &plan->part[h];
        for (int r = 0, end; r < part->ranks; r = end) {
            for (end = r + 1; end < part->ranks && part->rank[end] == part->rank[end - 1] + 1;)
                end++;
            ddp_text_add(&t, "%s%d", r ? "," : t.len ? "; " : "", part->rank[r]);
            if (end - r > 1)
                ddp_text_add(&t, "-%d", part->rank[end - 1]);
        }
        if (part->ranks > 0)
            ddp_text_add(&t, "@%s", *part->host ? part->host : "here");
    }
    if (t.len > LINE_MAX_BYTES) {
        ddp_text_finish(&t);
        ddp_text_init(&t);
        ddp_text_add(&t, "%d ranks round %d hosts, from %s on", plan->ranks, plan->nparts,
                     plan->part[0].host);
    }
    return t.s;
}

char *ddp_launch_plan_line(const struct ddp_launch_plan *plan)
{
    struct ddp_text t;
    ddp_text_init(&t);
    for (int r = 0; r < plan->ranks; r++) {
        const struct ddp_launch_part *part = &plan->part[plan->spot[r].part];
        ddp_text_add(&t, "%s%d@", r ? "; " : "", r);
        if (plan->nparts > 1)
            ddp_text_add(&t, "%s ", part->host);
        add_place(&t, part->placement, plan->spot[r].local);
        if (t.len > LINE_MAX_BYTES) {
            ddp_text_finish(&t);
            return hosts_line(plan);
        }
    }
    return t.s;
}

static void add_lines(struct ddp_text *t, const char *before, const char *lines)
{
    for (int n; *lines; lines += n + (lines[n] == '\n')) {
        n = (int)strcspn(lines, "\n");
        ddp_text_add(t, "%s%.*s\n", before, n, lines);
    }
}

char *ddp_launch_plan_map(const struct ddp_launch_plan *plan, const struct ddp_launch_site *site)
{
    struct ddp_text t;
    ddp_text_init(&t);
    for (int h = 0; h < plan->nparts; h++) {
        const struct ddp_launch_part *part = &plan->part[h];
        if (*part->host)
            ddp_text_add(&t, "%shost %s, %d rank%s\n", h ? "\n" : "", part->host, part->ranks,
                         part->ranks == 1 ? "" : "s");
        if (part->ranks == 0) {
            ddp_text_add(&t, "%s\n", ddp_machine_text(site[h].machine));
            continue;
        }
        char *map = ddp_placement_map(site[h].machine, part->placement, part->rank);
        ddp_text_add(&t, "%s", map);
        free(map);
    }
    add_lines(&t, "note: ", plan->note);
    return t.s;
}
