/* Who is heard through whom. */
#include "launcher/team_spread.h"

#include <stdlib.h>

#include "launcher/fields.h"

static const double BRANCH_S = 30, MOVE_S = 60;

static struct ddp_crew_member *member_of(const struct ddp_team *team, int host)
{
    return &team->crew.member[team->member[host]];
}

/* Addresses of a host, those of the shared network first. */
static json_t *addresses_of(const struct ddp_team *team, int host)
{
    const json_t *all = json_object_get(member_of(team, host)->hello, "addresses");
    json_t *list = json_array(), *one;
    size_t i;
    for (int shared = 1; shared >= 0; shared--)
        json_array_foreach(all, i, one)
            if ((strcmp(ddp_field_text(one, "net"), team->network) == 0) == shared)
                json_array_append(list, one);
    return list;
}

static int ask_to_branch(struct ddp_team *team, const int *computes, int n, int fanout, json_t **task,
                         struct ddp_error *err)
{
    for (int i = 0; i < fanout && fanout + i < n; i++)
        task[team->member[computes[i]]] = /* itself, and every fanout-th after it */
            json_pack("{s:s,s:i}", "do", "branch", "expected", (n - 1 - i) / fanout);
    return ddp_crew_ask(&team->crew, task, BRANCH_S, err);
}

static int ask_to_move(struct ddp_team *team, const int *computes, int n, int fanout, json_t **task,
                       struct ddp_error *err)
{
    for (int i = 0; i < team->crew.n; i++)
        task[i] = NULL;
    for (int i = fanout; i < n; i++) {
        const int to = computes[i % fanout];
        const json_t *port = json_object_get(member_of(team, to)->answer, "port");
        task[team->member[computes[i]]] =
            json_pack("{s:s,s:o,s:I,s:i}", "do", "move", "addresses", addresses_of(team, to), "port",
                      json_integer_value(port), "number", i / fanout - 1);
    }
    return ddp_crew_ask(&team->crew, task, MOVE_S, err);
}

int ddp_team_spread(struct ddp_team *team, const int *computes, int n, int fanout, int *through,
                    struct ddp_error *err)
{
    for (int i = 0; i < n; i++)
        through[i] = -1;
    if (n <= fanout)
        return 0;
    json_t **task = ddp_calloc((size_t)team->crew.n + 1, sizeof(void *));
    int rc = ask_to_branch(team, computes, n, fanout, task, err);
    if (rc == 0)
        rc = ask_to_move(team, computes, n, fanout, task, err);
    for (int i = fanout; i < n && rc == 0; i++) {
        struct ddp_crew_member *m = member_of(team, computes[i]);
        if (!json_is_true(json_object_get(m->answer, "moved")))
            continue;
        through[i] = i % fanout;
        ddp_wire_carry(&m->wire, &member_of(team, computes[through[i]])->wire, i / fanout - 1);
    }
    free(task);
    return rc;
}
