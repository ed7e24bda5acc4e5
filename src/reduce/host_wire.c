/* A port's messages in a step (layout.h, 2 and 4), and when each may go. Exchanges are made before step 0.
 *
 *   of a bucket              begun                               what it says
 *   sums_in                  as the step begins                  every node's sums over my part are here
 *   sums_out                 all members have added their share  the other ports have them
 *   results_in               as the step begins                  the others' parts are updated here
 *   results_out              all members have applied theirs     mine are updated there
 *
 *   of a step
 *   votes_in, _out (lane 0)  as the step begins; all have voted  who wants to stop, what was refused
 *   values_in, _out          behind a stage                      block values for the next one
 *
 * Received before it is expected is only what others send who are ahead; where it goes is not read before,
 * nor written by anybody else: sums into staging, and results into what this node has no slice of, after
 * every rank has said that it needs nothing of the bucket any more.
 *
 * A transport may move bytes only when it is called: ddp_wire_poll is called from between the tasks of the
 * rank's own computing, and again and again while the rank waits. One thread calls it. */
#include <stdlib.h>
#include <string.h>

#include "reduce/host_private.h"
#include "reduce/tags.h"

enum kind { SUMS_IN, SUMS_OUT, RESULTS_IN, RESULTS_OUT };

/* ---- the plan ---- */

static int peer(const struct ddp_reduce *r, int node)
{
    return r->comm->rank_at[ddp_reduce_layout_port(&r->layout, r->place.lane, node)];
}

static int covers_of(const struct ddp_reduce *r, int node)
{
    struct ddp_tree_node cover[DDP_TREE_MAX_NODES];
    return ddp_reduce_layout_cover(&r->layout, node, cover);
}

struct list { /* of messages; `buffer` goes on with each where they lie one behind the other */
    struct ddp_message *m;
    int n;
};

static void add(struct list *l, int to_or_from, bool send, void *buffer, int64_t bytes)
{
    if (bytes > 0)
        l->m[l->n++] = (struct ddp_message){to_or_from, send, buffer, (size_t)bytes};
}

/* What one exchange of a bucket moves between me and one other node. */
static void add_messages(struct ddp_reduce *r, int64_t b, enum kind kind, int node, float **staged,
                         struct list *l)
{
    const struct ddp_range mine = ddp_reduce_layout_part(&r->layout, b, r->place.lane, r->place.node),
                           its = ddp_reduce_layout_part(&r->layout, b, r->place.lane, node);
    const int64_t block = DDP_BLOCK * (int64_t)sizeof(float);
    const int64_t mine_bytes = ddp_range_size(mine) * block, its_bytes = ddp_range_size(its) * block;
    const int covers = kind == SUMS_IN ? covers_of(r, node) : r->covers;
    switch (kind) {
    case SUMS_IN:
        for (int i = 0; i < covers; i++, *staged += ddp_range_size(mine) * DDP_BLOCK)
            add(l, peer(r, node), false, *staged, mine_bytes);
        break;
    case SUMS_OUT:
        for (int i = 0; i < covers; i++)
            add(l, peer(r, node), true, r->cover[i].sum + its.lo * DDP_BLOCK, its_bytes);
        break;
    case RESULTS_IN:
        add(l, peer(r, node), false, r->conf.result + its.lo * DDP_BLOCK, its_bytes);
        break;
    case RESULTS_OUT:
        add(l, peer(r, node), true, r->conf.result + mine.lo * DDP_BLOCK, mine_bytes);
        break;
    }
}

static int plan_exchange(struct ddp_reduce *r, int64_t b, enum kind kind, float **staged, struct list *l,
                         struct ddp_exchange **out, struct ddp_error *err)
{
    const int tag = kind == SUMS_IN || kind == SUMS_OUT ? ddp_tag_sums(b) : ddp_tag_results(b);
    l->n = 0;
    for (int node = 0; node < r->layout.nodes; node++)
        if (node != r->place.node)
            add_messages(r, b, kind, node, staged, l);
    return ddp_exchange_create(r->comm, l->m, l->n, tag, out, err);
}

static int plan_buckets(struct ddp_reduce *r, struct list *l, struct ddp_error *err)
{
    float *staged = r->staging;
    int code = 0;
    for (int64_t b = 0; b < r->layout.buckets && code == 0; b++) {
        struct ddp_wire_bucket *w = &r->wire->bucket[b];
        if (!r->conf.fast)
            code = plan_exchange(r, b, SUMS_IN, &staged, l, &w->sums_in, err);
        if (!r->conf.fast && code == 0)
            code = plan_exchange(r, b, SUMS_OUT, NULL, l, &w->sums_out, err);
        if (code == 0)
            code = plan_exchange(r, b, RESULTS_IN, NULL, l, &w->results_in, err);
        if (code == 0)
            code = plan_exchange(r, b, RESULTS_OUT, NULL, l, &w->results_out, err);
    }
    return code;
}

static int plan_votes(struct ddp_reduce *r, struct list *l, struct ddp_error *err)
{
    struct ddp_reduce_wire *w = r->wire;
    const int nodes = r->layout.nodes, me = r->place.node;
    w->vote = ddp_calloc((size_t)nodes, sizeof *w->vote);
    if (r->place.lane > 0)
        return 0;
    l->n = 0;
    for (int node = 0; node < nodes; node++)
        if (node != me)
            add(l, peer(r, node), false, &w->vote[node], sizeof *w->vote);
    int code = ddp_exchange_create(r->comm, l->m, l->n, DDP_TAG_VOTES, &w->votes_in, err);
    l->n = 0;
    for (int node = 0; node < nodes; node++)
        if (node != me)
            add(l, peer(r, node), true, &w->vote[me], sizeof *w->vote);
    return code != 0 ? code : ddp_exchange_create(r->comm, l->m, l->n, DDP_TAG_VOTES, &w->votes_out, err);
}

/* Doubles of the block values of a node's part of my lane. */
static int64_t values_of(const struct ddp_reduce *r, int node)
{
    int64_t blocks = 0;
    for (int64_t b = 0; b < r->layout.buckets; b++)
        blocks += ddp_range_size(ddp_reduce_layout_part(&r->layout, b, r->place.lane, node));
    return blocks * r->conf.block_values;
}

static int plan_values(struct ddp_reduce *r, struct list *l, struct ddp_error *err)
{
    struct ddp_reduce_wire *w = r->wire;
    const int nodes = r->layout.nodes, me = r->place.node;
    const int64_t each = (int64_t)sizeof *w->values, mine = values_of(r, me);
    if (r->conf.block_values == 0)
        return 0;
    int64_t all = 0;
    for (int node = 0; node < nodes; node++)
        all += values_of(r, node);
    w->values = ddp_calloc((size_t)all + 1, sizeof *w->values);
    double *at = w->values + mine;
    l->n = 0;
    for (int node = 0; node < nodes; node++)
        if (node != me) {
            add(l, peer(r, node), false, at, values_of(r, node) * each);
            at += values_of(r, node);
        }
    int code = ddp_exchange_create(r->comm, l->m, l->n, DDP_TAG_VALUES, &w->values_in, err);
    l->n = 0;
    for (int node = 0; node < nodes; node++)
        if (node != me)
            add(l, peer(r, node), true, w->values, mine * each);
    return code != 0 ? code : ddp_exchange_create(r->comm, l->m, l->n, DDP_TAG_VALUES, &w->values_out, err);
}

int ddp_wire_create(struct ddp_reduce *r, struct ddp_error *err)
{
    struct list l = {ddp_calloc((size_t)r->layout.nodes * DDP_TREE_MAX_NODES, sizeof *l.m), 0};
    r->wire = ddp_calloc(1, sizeof *r->wire);
    r->wire->bucket = ddp_calloc((size_t)r->layout.buckets, sizeof *r->wire->bucket);
    int code = plan_buckets(r, &l, err);
    if (code == 0)
        code = plan_votes(r, &l, err);
    if (code == 0)
        code = plan_values(r, &l, err);
    free(l.m);
    return code;
}

void ddp_wire_destroy(struct ddp_reduce *r)
{
    struct ddp_reduce_wire *w = r->wire;
    if (w == NULL)
        return;
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        ddp_exchange_destroy(w->bucket[b].sums_in);
        ddp_exchange_destroy(w->bucket[b].sums_out);
        ddp_exchange_destroy(w->bucket[b].results_in);
        ddp_exchange_destroy(w->bucket[b].results_out);
    }
    ddp_exchange_destroy(w->values_in);
    ddp_exchange_destroy(w->values_out);
    ddp_exchange_destroy(w->votes_in);
    ddp_exchange_destroy(w->votes_out);
    free(w->values);
    free(w->vote);
    free(w->bucket);
    free(w);
}

/* ---- the step ---- */

static void begin(struct ddp_reduce *r, struct ddp_exchange *x)
{
    if (r->fault.code == 0)
        ddp_exchange_begin(x, &r->fault);
}

static bool is_done(struct ddp_reduce *r, struct ddp_exchange *x)
{
    bool done = false;
    if (r->fault.code == 0)
        ddp_exchange_poll(x, &done, &r->fault);
    return done && r->fault.code == 0;
}

void ddp_wire_begin(struct ddp_reduce *r)
{
    struct ddp_reduce_wire *w = r->wire;
    w->first = 0;
    w->due = r->layout.buckets;
    w->vote_sent = false;
    w->vote_done = w->votes_in == NULL;
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        struct ddp_wire_bucket *k = &w->bucket[b];
        k->sent = k->here = k->came = r->conf.fast;
        k->answered = k->through = false;
        if (!r->conf.fast)
            begin(r, k->sums_in);
        begin(r, k->results_in);
    }
    if (w->votes_in != NULL)
        begin(r, w->votes_in);
}

/* Returns whether the transport was asked. */
static bool move_bucket(struct ddp_reduce *r, int64_t b, bool ask)
{
    struct ddp_wire_bucket *k = &r->wire->bucket[b];
    struct ddp_reduce_crossing *c = ddp_reduce_crossing(r, b);
    const int members = ddp_reduce_layout_members(&r->layout, r->place.lane, r->place.node);
    if (!k->sent && ddp_reduce_reached(r, &c->shared, members)) {
        begin(r, k->sums_out);
        k->sent = true;
    }
    if (!k->sent && !ask)
        return false;
    if (!k->here)
        k->here = is_done(r, k->sums_in);
    if (!k->came && k->sent && k->here) {
        k->came = true;
        atomic_fetch_add_explicit(&c->came, 1, memory_order_acq_rel);
        ddp_wait_add(&r->control->moved, 1);
    }
    if (!k->answered && k->came && ddp_reduce_reached(r, &c->applied, members)) {
        begin(r, k->results_out);
        k->answered = true;
    }
    if (k->answered)
        k->through = is_done(r, k->results_in) && is_done(r, k->results_out) &&
                     (r->conf.fast || is_done(r, k->sums_out));
    return true;
}

static void move_votes(struct ddp_reduce *r)
{
    struct ddp_reduce_wire *w = r->wire;
    ddp_word *vote = &r->control->vote[r->step % 2].step;
    const int me = r->place.node;
    if (!w->vote_sent && ddp_reduce_reached(r, &r->control->voted, r->comm->local_size)) {
        w->vote[me] = (struct ddp_wire_vote){
            .stop = atomic_load_explicit(vote, memory_order_relaxed) == r->step,
            .refused = atomic_load_explicit(&r->control->refused, memory_order_relaxed)};
        begin(r, w->votes_out);
        w->vote_sent = true;
    }
    w->vote_done = w->vote_sent && is_done(r, w->votes_in) && is_done(r, w->votes_out);
    for (int node = 0; w->vote_done && node < r->layout.nodes; node++) { /* the barrier publishes it */
        if (w->vote[node].stop != 0)
            atomic_store_explicit(vote, r->step, memory_order_relaxed);
        ddp_reduce_refuse(r, w->vote[node].refused);
    }
}

void ddp_wire_poll(struct ddp_reduce *r)
{
    struct ddp_reduce_wire *w = r->wire;
    bool asked = false;
    for (int64_t b = w->first; b < r->layout.buckets && r->fault.code == 0; b++) {
        struct ddp_wire_bucket *k = &w->bucket[b];
        if (k->through)
            continue;
        asked |= move_bucket(r, b, !asked);
        w->due -= k->through;
        w->first += k->through && b == w->first;
    }
    if (!w->vote_done)
        move_votes(r);
}

bool ddp_wire_is_through(const struct ddp_reduce *r)
{
    return r->wire->due == 0 && r->wire->vote_done;
}

static void finish(struct ddp_reduce *r, struct ddp_exchange *x)
{
    if (r->fault.code == 0)
        ddp_exchange_finish(x, &r->fault);
}

void ddp_wire_flush(struct ddp_reduce *r)
{
    for (int64_t b = 0; b < r->layout.buckets && !r->conf.fast; b++)
        finish(r, r->wire->bucket[b].sums_out);
}

/* The values of a node's part of my lane, between their places among all blocks and the message. */
static void pack(const struct ddp_reduce *r, int node, bool in, double *values, double *message)
{
    const size_t each = (size_t)r->conf.block_values;
    for (int64_t b = 0; b < r->layout.buckets; b++) {
        const struct ddp_range part = ddp_reduce_layout_part(&r->layout, b, r->place.lane, node);
        const size_t n = (size_t)ddp_range_size(part) * each;
        double *at = values + (size_t)part.lo * each;
        memcpy(in ? at : message, in ? message : at, n * sizeof *message);
        message += n;
    }
}

void ddp_wire_values(struct ddp_reduce *r, double *values)
{
    struct ddp_reduce_wire *w = r->wire;
    if (w->values == NULL)
        return;
    pack(r, r->place.node, false, values, w->values);
    begin(r, w->values_in);
    begin(r, w->values_out);
    finish(r, w->values_in);
    finish(r, w->values_out);
    double *at = w->values + values_of(r, r->place.node);
    for (int node = 0; node < r->layout.nodes; node++)
        if (node != r->place.node) {
            pack(r, node, true, values, at);
            at += values_of(r, node);
        }
}
