/* The preflight's table, and its verdict. */
#include "launcher/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/team_network.h"

static void add_row(struct ddp_text *table, const struct ddp_check_row *row)
{
    const bool bad = row->faults.len > 0;
    ddp_text_add(table, "%-14s %s\n", row->name, bad ? "FAULT" : row->value);
    for (const char *line = row->faults.s; *line;) {
        const int n = (int)strcspn(line, "\n");
        ddp_text_add(table, "  %.*s\n", n, line);
        line += n + (line[n] == '\n');
    }
}

static void compare(const struct ddp_host_facts *host, int n, struct ddp_text *table, struct ddp_text *faults)
{
    struct ddp_check_row *rows;
    const int nrows = ddp_facts_compare(host, n, &rows);
    for (int i = 0; i < nrows; i++) {
        ddp_text_append(faults, rows[i].faults.s, rows[i].faults.len);
        if (table)
            add_row(table, &rows[i]);
    }
    ddp_check_rows_free(rows, nrows);
}

static int check_here(const struct ddp_options *opt, const struct ddp_config *cfg, struct ddp_text *table,
                      struct ddp_text *faults, struct ddp_error *err)
{
    char program[PATH_MAX], host[256] = "localhost", *config = NULL;
    int rc = ddp_job_program(opt->program, program, err);
    if (rc == 0)
        rc = ddp_config_dump(cfg, false, &config, err);
    if (rc != 0)
        return rc;
    gethostname(host, sizeof host - 1);
    json_t *facts = ddp_facts_read(&(struct ddp_facts_ask){.config = config,
                                                           .program = program,
                                                           .folder = "",
                                                           .runs = opt->eval ? "" : cfg->run.dir,
                                                           .marker = "",
                                                           .whole = true});
    const struct ddp_host_facts here = {.host = host, .facts = facts, .computes = true};
    compare(&here, 1, table, faults);
    json_decref(facts);
    free(config);
    return 0;
}

static int check_team(struct ddp_team *team, const struct ddp_launch_plan *plan,
                      const struct ddp_options *opt, const struct ddp_config *cfg, struct ddp_text *table,
                      struct ddp_text *faults, struct ddp_error *err)
{
    for (int i = 0; i < team->n; i++)
        team->facts[i].computes = plan->part[i].ranks > 0;
    compare(team->facts, team->n, table, faults);
    return ddp_team_connect(team, cfg->comm.interface ? cfg->comm.interface : "",
                            opt->check == DDP_CHECK_FULL, table, faults, err);
}

int ddp_check(struct ddp_sites *sites, const struct ddp_launch_plan *plan, const struct ddp_options *opt,
              const struct ddp_config *cfg, struct ddp_text *table, struct ddp_error *err)
{
    struct ddp_text faults;
    ddp_text_init(&faults);
    int rc = sites->team.n > 0 ? check_team(&sites->team, plan, opt, cfg, table, &faults, err)
                               : check_here(opt, cfg, table, &faults, err);
    if (rc == 0 && faults.len > 0) {
        faults.s[--faults.len] = '\0';
        rc = ddp_fail(err, DDP_E_RESOURCE, "%s", faults.s);
    }
    ddp_text_finish(&faults);
    return rc;
}
