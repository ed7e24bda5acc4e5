/* Letting hosts try each other, and measure. */
#include "launcher/team_network.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/fields.h"
#include "launcher/reach.h"

static const double ANSWER_S = 30, TRY_S = 3, SLACK_S = 20;

struct site {                       /* of those that compute */
    int host;                       /* index in the team */
    struct ddp_crew_member *member; /* NULL: this host */
    json_t *addresses, *reached;
    int port;
};

/* ---- asking them ----------------------------------------------------------------------------- */

static int list_sites(struct ddp_team *team, struct site *s)
{
    int n = 0;
    for (int i = 0; i < team->n; i++) {
        if (!team->facts[i].computes)
            continue;
        struct ddp_crew_member *m = team->member[i] < 0 ? NULL : &team->crew.member[team->member[i]];
        s[n++] = (struct site){.host = i,
                               .member = m,
                               .addresses = m ? json_incref(json_object_get(m->hello, "addresses"))
                                              : ddp_network_addresses()};
    }
    return n;
}

/* task: [crew.n] */
static int ask(struct ddp_team *team, json_t *const *task, double limit_s, struct ddp_error *err)
{
    return team->crew.n > 0 ? ddp_crew_ask(&team->crew, task, limit_s, err) : 0;
}

static int ask_to_answer(struct ddp_team *team, struct site *s, int n, struct ddp_error *err)
{
    json_t **task = ddp_calloc((size_t)team->crew.n + 1, sizeof(void *));
    int rc = 0;
    for (int i = 0; i < n; i++)
        if (s[i].member)
            task[team->member[s[i].host]] = json_pack("{s:s,s:s,s:s}", "do", "answer", "token",
                                                      team->crew.token, "host", team->facts[s[i].host].host);
    rc = ask(team, task, ANSWER_S, err);
    for (int i = 0; i < n && rc == 0; i++)
        if (s[i].member)
            s[i].port = (int)json_integer_value(json_object_get(s[i].member->answer, "port"));
        else
            rc = ddp_reach_answer(team->crew.token, team->facts[s[i].host].host, &team->answering, &s[i].port,
                                  err);
    free(task);
    return rc;
}

static json_t *peers_of(const struct ddp_team *team, const struct site *s, int n, int me)
{
    json_t *peers = json_array();
    for (int i = 0; i < n; i++)
        if (i != me)
            json_array_append_new(peers, json_pack("{s:s,s:i,s:O}", "host", team->facts[s[i].host].host,
                                                   "port", s[i].port, "addresses", s[i].addresses));
    return peers;
}

static int ask_to_try(struct ddp_team *team, struct site *s, int n, struct ddp_error *err)
{
    json_t **task = ddp_calloc((size_t)team->crew.n + 1, sizeof(void *));
    for (int i = 0; i < n; i++)
        if (s[i].member)
            task[team->member[s[i].host]] =
                json_pack("{s:s,s:s,s:f,s:o}", "do", "reach", "token", team->crew.token, "limit", TRY_S,
                          "peers", peers_of(team, s, n, i));
    const int rc = ask(team, task, TRY_S + SLACK_S, err);
    for (int i = 0; i < n && rc == 0; i++)
        if (s[i].member) {
            s[i].reached = json_incref(json_object_get(s[i].member->answer, "reached"));
        } else {
            json_t *peers = peers_of(team, s, n, i);
            s[i].reached = ddp_reach_try(team->crew.token, peers, TRY_S);
            json_decref(peers);
        }
    free(task);
    return rc;
}

/* ---- measuring ------------------------------------------------------------------------------- */

static const char *address_in(const struct site *s, const char *net, const json_t *reached)
{
    const json_t *a = *net ? ddp_field_find(s->addresses, "net", net) : NULL;
    return a ? ddp_field_text(a, "address") : json_string_value(json_array_get(reached, 0));
}

static int measure(struct ddp_team *team, const struct site *from, const struct site *to, const char *address,
                   struct ddp_reach_speed *out, struct ddp_error *err)
{
    if (!from->member)
        return ddp_reach_measure(team->crew.token, address, to->port, out, err);
    json_t **task = ddp_calloc((size_t)team->crew.n + 1, sizeof(void *));
    task[team->member[from->host]] = json_pack("{s:s,s:s,s:s,s:i}", "do", "measure", "token",
                                               team->crew.token, "address", address, "port", to->port);
    const int rc = ask(team, task, SLACK_S, err);
    free(task);
    if (rc == 0) {
        out->latency_s = json_number_value(json_object_get(from->member->answer, "latency"));
        out->bytes_s = json_number_value(json_object_get(from->member->answer, "rate"));
    }
    return rc;
}

/* One pair after the other, so that none takes from another's rate. */
static int measure_all(struct ddp_team *team, const struct site *s, int n, const char *net,
                       struct ddp_text *table, struct ddp_error *err)
{
    int rc = 0;
    for (int i = 0; i < n && rc == 0; i++)
        for (int j = i + 1; j < n && rc == 0; j++) {
            struct ddp_reach_speed speed = {0};
            char rate[32];
            const char *to = team->facts[s[j].host].host;
            const char *address = address_in(&s[j], net, json_object_get(s[i].reached, to));
            rc = measure(team, &s[i], &s[j], address ? address : "", &speed, err);
            if (rc == 0)
                ddp_text_add(table, "  %s to %s: %s/s, %.0f us\n", team->facts[s[i].host].host, to,
                             ddp_bytes_text(speed.bytes_s, rate), speed.latency_s * 1e6);
        }
    return rc;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void choose(struct ddp_team *team, const struct site *s, int n, const char *wanted,
                   struct ddp_text *faults)
{
    struct ddp_network_host *host = ddp_calloc((size_t)n + 1, sizeof *host);
    struct ddp_network found;
    for (int i = 0; i < n; i++)
        host[i] = (struct ddp_network_host){team->facts[s[i].host].host, s[i].addresses, s[i].reached};
    ddp_network_choose(host, n, wanted, &found, faults);
    snprintf(team->network, sizeof team->network, "%s", found.net);
    for (int i = 0; i < n; i++)
        snprintf(team->interface[s[i].host], sizeof team->interface[0], "%s", found.interface[i]);
    free(found.interface);
    free(host);
}

int ddp_team_connect(struct ddp_team *team, const char *wanted, bool full, struct ddp_text *table,
                     struct ddp_text *faults, struct ddp_error *err)
{
    struct site *s = ddp_calloc((size_t)team->n + 1, sizeof *s);
    const int n = list_sites(team, s);
    int rc = 0;
    if (n > 1) {
        const size_t before = faults->len;
        if ((rc = ask_to_answer(team, s, n, err)) == 0 && (rc = ask_to_try(team, s, n, err)) == 0)
            choose(team, s, n, wanted, faults);
        if (rc == 0 && table)
            ddp_text_add(table, "%-14s %s\n", "network",
                         faults->len > before ? "FAULT"
                         : *team->network     ? team->network
                                              : "all reach all, through no net that is common to them");
        for (const char *line = faults->s + before, *end; table && (end = strchr(line, '\n')); line = end + 1)
            ddp_text_add(table, "  %.*s\n", (int)(end - line), line);
        if (rc == 0 && table && full && faults->len == before)
            rc = measure_all(team, s, n, team->network, table, err);
    }
    for (int i = 0; i < n; i++) {
        json_decref(s[i].addresses);
        json_decref(s[i].reached);
    }
    free(s);
    return rc;
}
