/* The loader: worker threads fetch and augment batches ahead of the training thread, into a ring of slots
 * that bounds how far ahead. Batches are taken up in order and delivered in order, so which thread makes one
 * shows nowhere.
 *
 *   ticket t (t = 0, 1, ... since the last seek) is batch start + t; it lives in slot t % nslots
 *   delivered <= t < taken: fetched, or being fetched; a worker takes a ticket once its slot is free again
 *
 * Everything is allocated in create; the order of the next epoch is computed by the worker that first needs
 * it. */
#include "data/data.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct slot {
    struct ddp_batch batch;
    int rc; /* of the fetch */
    bool ready;
    struct ddp_error err;
    char *pixels; /* [samples][c][h][w] floats or bytes; NULL with INDICES */
    char *answer; /* [samples] labels, or targets of each */
    int64_t *sample;
    size_t pixel_bytes;
};

/* Where one thread works at a picture. */
struct room {
    uint8_t *bytes; /* undressed */
    float *partner; /* with mixup: the picture that is mixed in */
    char *scratch;  /* of ddp_alter_apply() */
};

struct worker {
    struct ddp_loader *loader;
    pthread_t thread;
    struct room room;
};

struct ddp_loader {
    struct ddp_dataset *ds;
    struct ddp_loader_conf conf;
    struct ddp_augment augment;
    bool shuffle;
    double mixup;           /* alpha; 0: off */
    int64_t count, batches; /* samples and batches of an epoch */
    size_t elements;        /* of a picture */
    size_t picture;         /* bytes of one as it is delivered */
    size_t answer;          /* and of its label or targets */
    size_t bytes;

    struct slot *slot;
    int nslots;
    int64_t *perm, perm_epoch; /* -1: none yet */
    int64_t epoch, index;      /* of the next ticket to take */
    int64_t taken, delivered;  /* delivered: batches handed out; the last of them is still in use */
    bool holding, failed;

    pthread_mutex_t lock;
    pthread_cond_t space, ready;
    _Atomic bool stop, pause; /* also looked at between the samples of a batch */
    int busy;
    struct worker *worker;
    int nworkers;
    struct room room; /* of the training thread */
    double waited;
};

/* ---- one batch ------------------------------------------------------------------------------- */

/* Lock held (or no workers): what slot s will hold; the epoch's order is made when its
 * first batch comes up. */
static void assign(struct ddp_loader *l, struct slot *s)
{
    if (l->perm_epoch != l->epoch) {
        ddp_order_epoch(l->conf.seed, l->epoch, l->count, l->shuffle, l->perm);
        l->perm_epoch = l->epoch;
    }
    struct ddp_batch *b = &s->batch;
    b->epoch = l->epoch;
    b->index = l->index;
    int64_t first = l->index * l->conf.batch;
    b->count = l->count - first < l->conf.batch ? l->count - first : l->conf.batch;
    size_t at = 0;
    for (int i = 0; i < b->nshards; i++) {
        int64_t begin, end;
        ddp_order_shard(l->count, l->conf.batch, l->index, l->conf.shards, l->conf.first_shard + i, &begin,
                        &end);
        struct ddp_shard *shard = &b->shard[i];
        void *answer = s->answer + at * l->answer;
        *shard = (struct ddp_shard){.n = (int)(end - begin), .sample = s->sample + at};
        if (l->mixup > 0)
            shard->mixed = answer;
        else if (l->ds->info.targets > 0)
            shard->target = answer;
        else
            shard->label = answer;
        if (l->conf.form == DDP_LOADER_FLOATS)
            shard->pixels = (const float *)(const void *)(s->pixels + at * l->picture);
        else if (l->conf.form == DDP_LOADER_BYTES)
            shard->bytes = (const uint8_t *)s->pixels + at * l->picture;
        memcpy(s->sample + at, l->perm + begin, (size_t)shard->n * sizeof *s->sample);
        at += (size_t)shard->n;
    }
    s->rc = 0;
    s->ready = false;
    if (++l->index == l->batches) {
        l->index = 0;
        l->epoch++;
    }
}

/* Sample `index` into its place; what a device is to augment stays bytes. */
static int fetch_sample(struct ddp_loader *l, const struct room *room, int64_t epoch, int64_t index, void *to,
                        void *answer, struct ddp_error *err)
{
    const bool floats = l->conf.form == DDP_LOADER_FLOATS && !l->ds->info.real;
    const struct ddp_shape shape = l->ds->info.shape;
    uint8_t *bytes = floats ? room->bytes : to;
    const int status = ddp_dataset_get(l->ds, index, bytes, answer, err);
    if (status)
        return status;
    if (l->augment.alter.on)
        ddp_alter_apply(&l->augment.alter, shape, bytes, l->conf.seed, epoch, index, room->scratch);
    if (floats)
        ddp_augment_apply(&l->augment, shape, bytes, l->conf.seed, epoch, index, to);
    return 0;
}

/* A sample and its partner, mixed: two products and a sum, each rounded. */
static int fetch_mixed(struct ddp_loader *l, const struct room *room, int64_t epoch, int64_t index, float *to,
                       struct ddp_mixed *answer, struct ddp_error *err)
{
    int64_t partner;
    ddp_mixup_draw(l->mixup, l->count, l->conf.seed, epoch, index, &partner, &answer->own);
    int status = fetch_sample(l, room, epoch, index, to, &answer->label, err);
    if (status == 0)
        status = fetch_sample(l, room, epoch, partner, room->partner, &answer->other, err);
    const float own = answer->own, rest = 1.0f - own, *from = room->partner;
    for (size_t i = 0; i < l->elements && status == 0; i++)
        to[i] = own * to[i] + rest * from[i];
    return status;
}

static void fetch(struct ddp_loader *l, struct slot *s, const struct room *room)
{
    const struct ddp_batch *b = &s->batch;
    size_t at = 0;
    if (l->conf.form == DDP_LOADER_INDICES)
        return;
    for (int i = 0; i < b->nshards; i++)
        for (int k = 0; k < b->shard[i].n; k++, at++) {
            if (atomic_load_explicit(&l->pause, memory_order_relaxed))
                return;
            void *to = s->pixels + at * l->picture, *answer = s->answer + at * l->answer;
            s->rc = l->mixup > 0 ? fetch_mixed(l, room, b->epoch, s->sample[at], to, answer, &s->err)
                                 : fetch_sample(l, room, b->epoch, s->sample[at], to, answer, &s->err);
            if (s->rc) {
                ddp_error_prefix(&s->err, "epoch %lld, batch %lld", (long long)b->epoch, (long long)b->index);
                return;
            }
        }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct ddp_loader *l = w->loader;
    ddp_float_mode();
    pthread_mutex_lock(&l->lock);
    for (;;) {
        /* the slot of the batch in use stays its reader's until the next call: hence delivered - 1 */
        while (!l->stop && (l->pause || l->taken >= l->delivered - (l->holding ? 1 : 0) + l->nslots))
            pthread_cond_wait(&l->space, &l->lock);
        if (l->stop)
            break;
        struct slot *s = &l->slot[l->taken++ % l->nslots];
        assign(l, s);
        l->busy++;
        pthread_mutex_unlock(&l->lock);
        fetch(l, s, &w->room);
        pthread_mutex_lock(&l->lock);
        l->busy--;
        s->ready = true;
        pthread_cond_broadcast(&l->ready);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int check_conf(const struct ddp_loader_conf *c, struct ddp_error *err)
{
    if (c->batch < 1 || c->shards < 1 || c->first_shard < 0 || c->last_shard > c->shards ||
        c->first_shard > c->last_shard || c->workers < 0 || c->prefetch < 0)
        return ddp_fail(err, DDP_E_USAGE,
                        "loader: batch %lld over %d shards, of which [%d, %d) are mine, with %d workers "
                        "and %d batches ahead, makes no sense",
                        (long long)c->batch, c->shards, c->first_shard, c->last_shard, c->workers,
                        c->prefetch);
    return 0;
}

/* Its bytes. */
static size_t make_room(const struct ddp_loader *l, struct room *r)
{
    const size_t scratch = ddp_alter_scratch(&l->augment.alter, l->ds->info.shape);
    r->bytes = ddp_malloc(l->elements);
    r->scratch = ddp_malloc(scratch + 1);
    const size_t partner = l->mixup > 0 ? l->elements * sizeof *r->partner : 0;
    r->partner = ddp_malloc(partner + 1);
    return l->elements + scratch + partner + 2;
}

static void free_room(struct room *r)
{
    free(r->bytes);
    free(r->partner);
    free(r->scratch);
}

static int start_workers(struct ddp_loader *l, struct ddp_error *err)
{
    /* signals are the training thread's business, but for those that a thread brings on itself */
    static const int own[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    sigset_t all, before;
    sigfillset(&all);
    for (size_t i = 0; i < DDP_COUNT(own); i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int rc = 0;
    while (!rc && l->nworkers < l->conf.workers) {
        struct worker *w = &l->worker[l->nworkers];
        w->loader = l;
        int e = pthread_create(&w->thread, NULL, work, w);
        if (e)
            rc = ddp_fail(err, DDP_E_RESOURCE, "cannot start prefetch thread %d: %s; lower data.workers",
                          l->nworkers + 1, strerror(e));
        else
            l->nworkers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int ddp_loader_create(const struct ddp_config *cfg, struct ddp_dataset *ds,
                      const struct ddp_loader_conf *conf, struct ddp_loader **out, struct ddp_error *err)
{
    int rc = check_conf(conf, err);
    if (rc)
        return rc;
    struct ddp_loader *l = ddp_calloc(1, sizeof *l);
    const struct ddp_shape *shape = &ds->info.shape;
    l->ds = ds;
    l->conf = *conf;
    l->shuffle = conf->train && cfg->data.shuffle;
    ddp_augment_init(&l->augment, cfg, &ds->info, conf->train);
    l->count = ds->info.count;
    l->batches = ddp_order_batches(l->count, conf->batch);
    l->elements = (size_t)shape->c * (size_t)shape->h * (size_t)shape->w;
    l->picture = conf->form == DDP_LOADER_FLOATS  ? l->elements * sizeof(float)
                 : conf->form == DDP_LOADER_BYTES ? ddp_dataset_input_bytes(&ds->info)
                                                  : 0;
    l->mixup = conf->train && conf->form == DDP_LOADER_FLOATS ? cfg->data.mixup : 0;
    l->answer = l->mixup > 0 ? sizeof(struct ddp_mixed) : ddp_dataset_answer_bytes(&ds->info);
    l->perm_epoch = -1;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->space, NULL);
    pthread_cond_init(&l->ready, NULL);

    int mine = conf->last_shard - conf->first_shard;
    int64_t largest = l->count < conf->batch ? l->count : conf->batch; /* batch that ever comes */
    size_t samples = (size_t)mine * (size_t)((largest + conf->shards - 1) / conf->shards);
    l->nslots = conf->workers ? (conf->prefetch > 0 ? conf->prefetch : 1) + 1 : 1;
    l->slot = ddp_calloc((size_t)l->nslots, sizeof *l->slot);
    l->perm = ddp_pages_alloc((size_t)l->count * sizeof *l->perm);
    l->bytes = sizeof *l + (size_t)l->nslots * sizeof *l->slot + (size_t)l->count * sizeof *l->perm;
    bool full = !l->perm;
    for (int i = 0; i < l->nslots; i++) {
        struct slot *s = &l->slot[i];
        s->batch.nshards = mine;
        s->batch.shard = ddp_calloc((size_t)mine + 1, sizeof *s->batch.shard);
        s->pixel_bytes = (samples + 1) * l->picture + 1;
        s->pixels = ddp_pages_alloc(s->pixel_bytes);
        s->answer = ddp_calloc(samples + 1, l->answer);
        s->sample = ddp_calloc(samples + 1, sizeof *s->sample);
        full |= !s->pixels;
        l->bytes += s->pixel_bytes + samples * (l->answer + sizeof *s->sample);
    }
    if (full) {
        rc = ddp_fail(err, DDP_E_RESOURCE,
                      "no memory for %d batches of %zu pictures ahead; lower data.prefetch or "
                      "train.batch",
                      l->nslots, samples);
        goto fail;
    }
    l->worker = ddp_calloc((size_t)conf->workers + 1, sizeof *l->worker);
    l->bytes += make_room(l, &l->room);
    for (int i = 0; i < conf->workers; i++)
        l->bytes += make_room(l, &l->worker[i].room);
    rc = start_workers(l, err);
    if (rc)
        goto fail;
    *out = l;
    return 0;
fail:
    ddp_loader_destroy(l);
    return rc;
}

void ddp_loader_destroy(struct ddp_loader *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    l->pause = true;
    pthread_cond_broadcast(&l->space);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->nworkers; i++)
        pthread_join(l->worker[i].thread, NULL);
    for (int i = 0; l->worker && i < l->conf.workers; i++)
        free_room(&l->worker[i].room);
    free(l->worker);
    for (int i = 0; i < l->nslots; i++) {
        struct slot *s = &l->slot[i];
        if (s->pixels)
            ddp_pages_free(s->pixels, s->pixel_bytes);
        free(s->batch.shard);
        free(s->answer);
        free(s->sample);
    }
    free(l->slot);
    if (l->perm)
        ddp_pages_free(l->perm, (size_t)l->count * sizeof *l->perm);
    free_room(&l->room);
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->space);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- use ------------------------------------------------------------------------------------- */

int ddp_loader_seek(struct ddp_loader *l, int64_t epoch, int64_t index, struct ddp_error *err)
{
    if (epoch < 0 || index < 0 || index >= l->batches)
        return ddp_fail(err, DDP_E_USAGE,
                        "loader: epoch %lld, batch %lld does not exist: an epoch has %lld batches",
                        (long long)epoch, (long long)index, (long long)l->batches);
    pthread_mutex_lock(&l->lock);
    l->pause = true; /* workers drop what they are at */
    while (l->busy > 0)
        pthread_cond_wait(&l->ready, &l->lock);
    for (int i = 0; i < l->nslots; i++)
        l->slot[i].ready = false;
    l->epoch = epoch;
    l->index = index;
    l->taken = l->delivered = 0;
    l->holding = l->failed = false;
    l->pause = false;
    pthread_cond_broadcast(&l->space);
    pthread_mutex_unlock(&l->lock);
    return 0;
}

int ddp_loader_next(struct ddp_loader *l, const struct ddp_batch **out, struct ddp_error *err)
{
    double start = ddp_now();
    struct slot *s;
    if (l->nworkers == 0) {
        s = &l->slot[0];
        if (!l->failed) { /* a failed batch fails again, until a seek */
            assign(l, s);
            fetch(l, s, &l->room);
        }
    } else {
        pthread_mutex_lock(&l->lock);
        if (l->holding) {
            l->holding = false;
            pthread_cond_signal(&l->space);
        }
        s = &l->slot[l->delivered % l->nslots];
        while (!(l->delivered < l->taken && s->ready))
            pthread_cond_wait(&l->ready, &l->lock);
        if (!s->rc) {
            s->ready = false;
            l->delivered++;
            l->holding = true;
        }
        pthread_mutex_unlock(&l->lock);
    }
    l->waited += ddp_now() - start;
    l->failed = s->rc != 0;
    if (s->rc)
        return ddp_fail(err, s->rc, "%s", s->err.text);
    *out = &s->batch;
    return 0;
}

int64_t ddp_loader_batches(const struct ddp_loader *l)
{
    return l->batches;
}

double ddp_loader_waited(struct ddp_loader *l)
{
    double waited = l->waited;
    l->waited = 0.0;
    return waited;
}

size_t ddp_loader_bytes(const struct ddp_loader *l)
{
    return l->bytes;
}
