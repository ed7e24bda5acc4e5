/* Threads that take the next task, first of the references, then of the cells. */
#include "bench/repro/matrix.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stop.h"

enum { FOLDER_SIZE = 1200 };
static const double SAY_S = 30; /* between two words on how far it is */

static void push(struct repro_task **list, int *n, const struct repro_task *t)
{
    if ((*n & (*n - 1)) == 0)
        *list = ddp_realloc(*list, (size_t)(*n ? 2 * *n : 1) * sizeof **list);
    (*list)[(*n)++] = *t;
}

/* The reference, by the kernels that this machine has. */
static struct repro_cell reference_here(const struct repro_site *site, const struct repro_model *model)
{
    struct repro_cell c = repro_reference(model), other = c;
    for (int k = 0; repro_cell_skip(site, &c) && k < repro_axis_values(REPRO_KERNELS); k++) {
        other.at[REPRO_KERNELS] = k;
        if (!repro_cell_impossible(&other) && !repro_cell_skip(site, &other))
            c = other;
    }
    return c;
}

/* A task for the cell; its model gets a reference where it has none yet. */
static struct repro_task make_task(struct repro_matrix *m, const struct repro_cell *c)
{
    struct repro_task t = {.cell = *c};
    while (t.reference < m->references &&
           strcmp(m->reference[t.reference].cell.model.name, c->model.name) != 0)
        t.reference++;
    if (t.reference == m->references) {
        const struct repro_task r = {.cell = reference_here(&m->site, &c->model)};
        push(&m->reference, &m->references, &r);
    }
    return t;
}

void repro_matrix_add(struct repro_matrix *m, const struct repro_cell *c)
{
    const struct repro_task t = make_task(m, c);
    push(&m->task, &m->tasks, &t);
}

void repro_matrix_add_control(struct repro_matrix *m, const struct repro_model *model)
{
    struct repro_cell c = reference_here(&m->site, model);
    c.at[REPRO_RANKS] = 2;
    c.at[REPRO_TRANSPORT] = REPRO_NODE;
    const struct repro_task t = make_task(m, &c);
    push(&m->control, &m->controls, &t);
}

void repro_matrix_finish(struct repro_matrix *m)
{
    for (int i = 0; i < m->references; i++)
        repro_outcome_finish(&m->reference[i].outcome);
    for (int i = 0; i < m->tasks; i++)
        repro_outcome_finish(&m->task[i].outcome);
    for (int i = 0; i < m->controls; i++)
        repro_outcome_finish(&m->control[i].outcome);
    free(m->reference);
    free(m->task);
    free(m->control);
    *m = (struct repro_matrix){0};
}

/* ---- one task -------------------------------------------------------------------------------------- */

struct work {
    struct repro_matrix *m;
    struct repro_task *list;
    int n;
    enum { REFERENCES, CELLS, CONTROLS } kind;
    atomic_int next, done, bad;
    pthread_mutex_t talking;
    double said;
};

static void skip(struct repro_task *t, const char *why)
{
    t->outcome.result = REPRO_SKIPPED;
    t->outcome.says = ddp_strdup(why);
}

/* In what it is run: references without the user's words, controls with their own. */
static struct repro_site site_of(const struct work *w)
{
    static const char *const fast[] = {"reduce.mode=fast", "repro.level=fast", NULL};
    struct repro_site site = w->m->site;
    if (w->kind != CELLS)
        site.words = w->kind == CONTROLS ? fast : NULL;
    return site;
}

/* Cells leave nothing; references what they are compared by, without checkpoints: there may be a thousand. */
static void clear_away(const struct repro_outcome *o, bool reference, char folder[FOLDER_SIZE])
{
    if (reference && !*o->run)
        return;
    if (reference)
        snprintf(folder, FOLDER_SIZE, "%s/checkpoints", o->run);
    ddp_dir_remove(folder, NULL);
}

static void run_task(const struct work *w, struct repro_task *t)
{
    static const char *const prefix[] = {"reference-", "", "control-"};
    const struct repro_matrix *m = w->m;
    const struct repro_task *r = w->kind == REFERENCES ? NULL : &m->reference[t->reference];
    const struct repro_site site = site_of(w);
    const char *why = ddp_stop_asked() ? "stopped" : repro_cell_skip(&m->site, &t->cell);
    char id[REPRO_ID_SIZE], folder[FOLDER_SIZE];
    if (why) {
        skip(t, why);
        return;
    }
    if (r && r->outcome.result != REPRO_EQUAL) {
        t->outcome.result = r->outcome.result;
        t->outcome.says = ddp_strdup("there is no reference to hold it against");
        return;
    }
    snprintf(folder, sizeof folder, "%s/%s%s", m->folder, prefix[w->kind], repro_cell_id(&t->cell, id));
    repro_cell_run(&site, &t->cell, folder, r ? &r->outcome : NULL, &t->outcome);
    if (!m->keep)
        clear_away(&t->outcome, !r, folder);
    if (ddp_stop_asked() && t->outcome.result == REPRO_FAILED) {
        repro_outcome_finish(&t->outcome);
        skip(t, "stopped");
    }
}

/* ---- all ------------------------------------------------------------------------------------------- */

/* What is done: a bad one by name, and now and then how far it is. */
static void say(struct work *w, const struct repro_task *t)
{
    static const char *const names[] = {"reference ", "", "control "};
    const int result = t->outcome.result;
    const bool bad = result == REPRO_FAILED || (result == REPRO_DIFFERS && w->kind != CONTROLS);
    char id[REPRO_ID_SIZE];
    const int done = atomic_fetch_add(&w->done, 1) + 1, worse = atomic_fetch_add(&w->bad, bad) + bad;
    pthread_mutex_lock(&w->talking);
    if (bad && t->outcome.command) /* without one there is no reference, and that was said */
        ddp_say("ddp-bench", "%s%s %s", names[w->kind], repro_cell_id(&t->cell, id),
                repro_result_names[result]);
    if (ddp_now() - w->said > SAY_S && done < w->n) {
        ddp_say("ddp-bench", "%d of %d %s done, %d not equal", done, w->n,
                w->kind == REFERENCES ? "references" : "cells", worse);
        w->said = ddp_now();
    }
    pthread_mutex_unlock(&w->talking);
}

static void *work(void *arg)
{
    struct work *w = arg;
    for (int i; (i = atomic_fetch_add(&w->next, 1)) < w->n;) {
        run_task(w, &w->list[i]);
        if (w->m->loud)
            say(w, &w->list[i]);
    }
    return NULL;
}

static void run_all(struct repro_matrix *m, struct repro_task *list, int n, int kind)
{
    struct work w = {.m = m, .list = list, .n = n, .kind = kind, .said = ddp_now()};
    pthread_t *thread = ddp_calloc((size_t)m->jobs, sizeof *thread);
    int started = 0;
    pthread_mutex_init(&w.talking, NULL);
    while (started < m->jobs - 1 && pthread_create(&thread[started], NULL, work, &w) == 0)
        started++;
    work(&w);
    for (int i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&w.talking);
    free(thread);
}

void repro_matrix_run(struct repro_matrix *m)
{
    run_all(m, m->reference, m->references, REFERENCES);
    run_all(m, m->control, m->controls, CONTROLS);
    run_all(m, m->task, m->tasks, CELLS);
}

struct repro_count repro_matrix_count(const struct repro_matrix *m, const char *model, int axis, int value)
{
    struct repro_count n = {0};
    for (int i = 0; i < m->tasks; i++) {
        const struct repro_task *t = &m->task[i];
        if ((model && strcmp(model, t->cell.model.name) != 0) || (axis >= 0 && t->cell.at[axis] != value))
            continue;
        int *const one[] = {&n.equal, &n.differs, &n.failed, &n.skipped};
        ++*one[t->outcome.result];
    }
    return n;
}

int repro_matrix_blind(const struct repro_matrix *m)
{
    int n = 0;
    for (int i = 0; i < m->controls; i++)
        n += m->control[i].outcome.result != REPRO_DIFFERS && m->control[i].outcome.result != REPRO_SKIPPED;
    return n;
}
