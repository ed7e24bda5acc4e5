/* The recording engine. */
#include "fake_engine.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fake_script script;
static char calls[FAKE_RANKS][4096];

struct fake {
    struct ddp_engine base;
    float value; /* where it "computes" */
    int count[8];
    struct ddp_engine_result result[2];
    int64_t enqueued, collected;
    int evals, batches;
    float *loss;
    int32_t *correct;
};

void fake_engine_play(const struct fake_script *s)
{
    script = *s;
    memset(calls, 0, sizeof calls);
}

const char *fake_engine_calls(int rank)
{
    return calls[rank];
}

static void __attribute__((format(printf, 2, 3))) note(int rank, const char *fmt, ...)
{
    char *at = calls[rank] + strlen(calls[rank]);
    const size_t room = (size_t)(calls[rank] + sizeof calls[rank] - at);
    va_list ap;
    va_start(ap, fmt);
    if (at > calls[rank] && room > 2)
        *at++ = ' ';
    vsnprintf(at, room - 1, fmt, ap);
    va_end(ap);
}

static int rank_of(const struct ddp_engine *base)
{
    return base->conf.comm->rank;
}

enum { INIT, UPLOAD, DOWNLOAD, ENQUEUE, COLLECT, EVAL, EVAL_END };
static const char *const name_of[] = {"init", "upload", "download", "enqueue", "collect", "eval", "eval_end"};

/* Whether this call is the one that fails. */
static int fail(struct ddp_engine *base, int call, struct ddp_error *err)
{
    struct fake *f = (struct fake *)base;
    const bool now = ++f->count[call] == script.fail_at;
    if (!now || !script.fail || rank_of(base) != script.fail_rank || strcmp(script.fail, name_of[call]) != 0)
        return 0;
    return ddp_fail(err, DDP_E_DEVICE, "fake engine: %s failed", name_of[call]);
}

static void memory(const struct ddp_engine_conf *conf, struct ddp_engine_memory *out)
{
    note(conf->comm->rank, "memory");
    *out = (struct ddp_engine_memory){0};
}

static _Thread_local bool asked; /* this rank, by the script */

static bool stop_requested(void)
{
    return asked || ddp_lifeline_stop_requested();
}

static int init(struct ddp_engine *base, struct ddp_error *err)
{
    struct fake *f = (struct fake *)base;
    const size_t n = (size_t)base->eval_batches * (size_t)base->eval_shards + 1;
    note(rank_of(base), "init");
    base->name = "fake";
    base->conf.stop_requested = stop_requested;
    asked = false;
    base->file = "fake.txt";
    base->file_text = "of a fake engine\n";
    snprintf(base->identity, sizeof base->identity, "fake");
    ddp_engine_tell_text(base, "device", "fake");
    f->loss = ddp_calloc(n, sizeof *f->loss);
    f->correct = ddp_calloc(n, sizeof *f->correct);
    return ddp_comm_agree(base->conf.comm, fail(base, INIT, err), err);
}

static void finish(struct ddp_engine *base, bool abort)
{
    struct fake *f = (struct fake *)base;
    note(rank_of(base), abort ? "abort" : "finish");
    free(f->loss);
    free(f->correct);
}

static int upload(struct ddp_engine *base, struct ddp_error *err)
{
    note(rank_of(base), "upload");
    ((struct fake *)base)->value = base->params[0];
    return fail(base, UPLOAD, err);
}

static int download(struct ddp_engine *base, struct ddp_error *err)
{
    note(rank_of(base), "download");
    if (rank_of(base) == 0)
        base->params[0] = ((struct fake *)base)->value;
    return fail(base, DOWNLOAD, err);
}

static int enqueue(struct ddp_engine *base, const struct ddp_batch *batch, int64_t step,
                   struct ddp_error *err)
{
    struct fake *f = (struct fake *)base;
    const bool bad = step + 1 == script.nan_step, mine = bad && !script.nan_sum && rank_of(base) == 0;
    note(rank_of(base), "e%lld", (long long)step);
    if (step + 1 == script.signal_in)
        raise(SIGTERM);
    f->value += 1;
    f->result[f->enqueued++ % 2] =
        (struct ddp_engine_result){.step = step,
                                   .epoch = batch->epoch,
                                   .index = batch->index,
                                   .count = batch->count,
                                   .loss_sum = bad ? NAN : 2.0 * (double)batch->count,
                                   .correct = batch->count / 2,
                                   .stop = base->conf.stop_requested() || step + 1 == script.stop_after,
                                   .norm = -1,
                                   .bad_shard = mine ? 0 : -1,
                                   .bad_loss = NAN,
                                   .refused = step + 1 == script.refuse_step ? script.refuse_block : -1};
    return fail(base, ENQUEUE, err);
}

static int collect(struct ddp_engine *base, struct ddp_engine_result *out, struct ddp_error *err)
{
    struct fake *f = (struct fake *)base;
    *out = f->result[f->collected++ % 2];
    note(rank_of(base), "c%lld", (long long)out->step);
    return fail(base, COLLECT, err);
}

static int eval(struct ddp_engine *base, const struct ddp_batch *batch, int64_t index, struct ddp_error *err)
{
    struct fake *f = (struct fake *)base;
    const int shards = base->eval_shards;
    const float set = f->evals < FAKE_EVALS ? script.eval_loss[f->evals] : 0;
    note(rank_of(base), "v%lld", (long long)index);
    for (int s = 0; s < shards; s++) {
        f->loss[index * shards + s] = (set != 0 ? set : 1) * (float)batch->shard[s].n;
        f->correct[index * shards + s] = batch->shard[s].n;
    }
    if (++f->batches == script.stop_batch && rank_of(base) == script.stop_rank)
        asked = true;
    if (f->evals + 1 == script.nan_eval && rank_of(base) == 0)
        f->loss[0] = NAN;
    return fail(base, EVAL, err);
}

static int eval_end(struct ddp_engine *base, struct ddp_engine_eval *out, struct ddp_error *err)
{
    struct fake *f = (struct fake *)base;
    note(rank_of(base), "V");
    f->evals++;
    *out = (struct ddp_engine_eval){.loss = f->loss, .correct = f->correct};
    return fail(base, EVAL_END, err);
}

static void find_bad(struct ddp_engine *base, bool training, int64_t step, const struct ddp_batch *batch,
                     int shard, char *text, int size)
{
    note(rank_of(base), "bad");
    if (shard >= 0)
        snprintf(text, (size_t)size, "tensor of %s %lld, shard %d, %lld samples", training ? "step" : "state",
                 (long long)step, shard, batch ? (long long)batch->count : -1);
}

#define FAKE(depth_)                                                                                         \
    {                                                                                                        \
        .size = sizeof(struct fake), .depth = depth_, .form = DDP_LOADER_INDICES, .memory = memory,          \
        .init = init, .finish = finish, .upload = upload, .download = download, .enqueue = enqueue,          \
        .collect = collect, .eval = eval, .eval_end = eval_end, .find_bad = find_bad                         \
    }
const struct ddp_engine_ops fake_engine = FAKE(1), fake_engine_deep = FAKE(2);
