/* Settings that break the promise of the same bits, and what becomes of them. */
#include "train/promise.h"

static bool sums_by_the_transport(const struct ddp_config *c)
{
    return c->reduce.mode == DDP_REDUCE_FAST;
}

static const struct {
    const char *key;
    bool (*breaks)(const struct ddp_config *cfg);
    const char *why, *cure;
} breaches[] = {
    {"reduce.mode", sums_by_the_transport, "the bits depend on how many ranks there are, and where",
     "reduce.mode=canonical keeps it"},
};
_Static_assert(DDP_COUNT(breaches) <= DDP_PROMISE_KEYS, "room for all of them");

int ddp_promise_broken(const struct ddp_config *cfg, const char *key[DDP_PROMISE_KEYS])
{
    int n = 0;
    for (size_t i = 0; i < DDP_COUNT(breaches); i++)
        if (breaches[i].breaks(cfg))
            key[n++] = breaches[i].key;
    return n;
}

void ddp_promise_check(const struct ddp_config *cfg, struct ddp_error *err)
{
    char where[512];
    for (size_t i = 0; cfg->repro.level == DDP_REPRO_BITWISE && i < DDP_COUNT(breaches); i++)
        if (breaches[i].breaks(cfg))
            ddp_error_add(
                err, DDP_E_CONFIG,
                "%s%s breaks the promise of the same bits: %s; %s, repro.level=fast does without it "
                "(warn: with a warning)",
                ddp_config_where(cfg, breaches[i].key, where, sizeof where), breaches[i].key, breaches[i].why,
                breaches[i].cure);
}

void ddp_promise_note(const struct ddp_config *cfg, struct ddp_text *notes)
{
    char where[512];
    for (size_t i = 0; cfg->repro.level == DDP_REPRO_WARN && i < DDP_COUNT(breaches); i++)
        if (breaches[i].breaks(cfg))
            ddp_text_add(notes, "%s%s breaks the promise of the same bits: %s; %s\n",
                         ddp_config_where(cfg, breaches[i].key, where, sizeof where), breaches[i].key,
                         breaches[i].why, breaches[i].cure);
}
