/* Who the ranks are: cutting the world into nodes and lanes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comm/transport.h"

/* The machine of a host: its second word, where it has one. */
static int find_machine(const struct ddp_comm_node *at, int n, const char (*hosts)[DDP_COMM_HOST_BYTES])
{
    const char *mine = strchr(hosts[at[n].first], ' ');
    for (int other = 0; mine != NULL && other < n; other++) {
        const char *its = strchr(hosts[at[other].first], ' ');
        const size_t len = strcspn(mine + 1, " ");
        if (its != NULL && len > 0 && strcspn(its + 1, " ") == len && strncmp(its + 1, mine + 1, len) == 0)
            return at[other].machine;
    }
    return n;
}

/* hosts[] -> node_of[], at[]. */
static void find_nodes(struct ddp_comm *c, struct ddp_comm_node *at, int *node_of,
                       const char (*hosts)[DDP_COMM_HOST_BYTES])
{
    c->nodes = 0;
    for (int r = 0; r < c->size; r++) {
        int n = 0;
        while (n < c->nodes && strcmp(hosts[at[n].first], hosts[r]) != 0)
            n++;
        if (n == c->nodes) {
            at[c->nodes++] = (struct ddp_comm_node){.first = r};
            snprintf(at[n].host, sizeof at[n].host, "%.*s", (int)strcspn(hosts[r], " "), hosts[r]);
            at[n].machine = find_machine(at, n, hosts);
        }
        node_of[r] = n;
        if (r == c->rank) {
            c->node = n;
            c->local_rank = at[n].size;
        }
        at[n].size++;
    }
    c->local_size = at[c->node].size;
}

static int *find_seats(struct ddp_comm *c, const int *node_of)
{
    int *rank_at = ddp_calloc((size_t)c->size, sizeof *rank_at), seat = 0;
    for (int n = 0; n < c->nodes; n++)
        for (int r = 0; r < c->size; r++) {
            if (node_of[r] != n)
                continue;
            if (r == c->rank)
                c->seat = seat;
            rank_at[seat++] = r;
        }
    return rank_at;
}

void ddp_comm_cut(struct ddp_comm *c, const char (*hosts)[DDP_COMM_HOST_BYTES])
{
    struct ddp_comm_node *at = ddp_calloc((size_t)c->size, sizeof *at);
    int *node_of = ddp_calloc((size_t)c->size, sizeof *node_of);
    find_nodes(c, at, node_of, hosts);

    c->lanes = at[0].size;
    for (int n = 1; n < c->nodes; n++)
        c->lanes = at[n].size < c->lanes ? at[n].size : c->lanes;
    c->lane = c->local_rank % c->lanes;
    int *lane_rank = ddp_calloc((size_t)c->nodes, sizeof *lane_rank);
    int *seen = ddp_calloc((size_t)c->nodes, sizeof *seen);
    for (int r = 0; r < c->size; r++)
        if (seen[node_of[r]]++ == c->lane)
            lane_rank[node_of[r]] = r;
    free(seen);

    free((void *)c->rank_at);
    c->rank_at = find_seats(c, node_of);
    free((void *)c->at);
    free((void *)c->node_of);
    free((void *)c->lane_rank);
    c->at = at;
    c->node_of = node_of;
    c->lane_rank = lane_rank;
}
