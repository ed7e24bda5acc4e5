/* Which optimizer a config means, and the list of stages that follows. Pure. */
#include "optim/kind.h"
#include "optim/optim.h"

#define EXTERN(NAME, name) extern const struct ddp_optim_kind ddp_optim_##name;
DDP_OPTIMS(EXTERN)

#define ENTRY(NAME, name) [DDP_OPTIM_##NAME] = &ddp_optim_##name,
static const struct ddp_optim_kind *const kinds[DDP_OPTIMS_COUNT] = {DDP_OPTIMS(ENTRY)};

const struct ddp_optim_kind *ddp_optim_kind(const struct ddp_config *cfg)
{
    return kinds[cfg->optim.type];
}

struct ddp_optim_hyper ddp_optim_hyper(const struct ddp_config *cfg)
{
    return (struct ddp_optim_hyper){.momentum = cfg->optim.momentum,
                                    .dampening = cfg->optim.dampening,
                                    .beta1 = cfg->optim.beta1,
                                    .beta2 = cfg->optim.beta2,
                                    .alpha = cfg->optim.alpha,
                                    .eps = cfg->optim.eps,
                                    .trust = cfg->optim.trust,
                                    .nesterov = cfg->optim.nesterov,
                                    .centered = cfg->optim.centered};
}

/* ---- the list of stages ---- */

static void lay_out(struct ddp_optim_plan *p)
{
    unsigned left = 0;
    for (int i = 0; i < p->npasses; i++)
        left |= p->pass[i].leaves;
    for (int v = 0; v < DDP_VALUES; v++)
        p->values.slot[v] = left >> v & 1 ? p->values.stride++ : -1;
}

struct ddp_optim_plan ddp_optim_plan(const struct ddp_config *cfg, bool scaled)
{
    const struct ddp_optim_kind *kind = ddp_optim_kind(cfg);
    const struct ddp_optim_hyper hyper = ddp_optim_hyper(cfg);
    const bool factored = cfg->optim.clip_norm > 0 || scaled;
    struct ddp_optim_plan p = {.kind = kind};
    if (factored && kind->stage[0].factor)
        p.pass[p.npasses++].stage = -1;
    for (int s = 0; s < kind->nstages; s++)
        p.pass[p.npasses++] = (struct ddp_optim_pass){.stage = s, .leaves = kind->stage[s].leaves};
    if (factored) {
        p.pass[0].factor = true;
        p.pass[0].leaves |=
            (cfg->optim.clip_norm > 0 ? 1u << DDP_VALUE_GRADIENT : 0) | (scaled ? 1u << DDP_VALUE_BAD : 0);
    }
    for (int i = 0; i + 1 < p.npasses; i++)
        p.pass[i].trust = kind->stage[p.pass[i + 1].stage].trust;
    lay_out(&p);
    for (int a = 0; a < DDP_OPTIM_ARRAYS && kind->array[a].name; a++)
        if (!kind->array[a].used || kind->array[a].used(&hyper))
            p.array[p.narrays++] = a;
    p.average = cfg->optim.ema > 0;
    p.blend = (float)(1 - cfg->optim.ema);
    if (p.average)
        p.array[p.narrays++] = DDP_OPTIM_AVERAGE;
    return p;
}

const char *ddp_optim_array_name(const struct ddp_optim_plan *p, int i)
{
    const int a = p->array[i];
    return a == DDP_OPTIM_AVERAGE ? "ema" : p->kind->array[a].name;
}

/* ---- what an optimizer cannot work with ---- */

int ddp_optim_check(const struct ddp_config *cfg, struct ddp_error *err)
{
    char at[512];
    const struct ddp_optim_kind *kind = ddp_optim_kind(cfg);
    if (kind->reads & DDP_READS_NESTEROV && cfg->optim.nesterov &&
        !(cfg->optim.momentum > 0 && cfg->optim.dampening == 0))
        return ddp_fail(
            err, DDP_E_CONFIG,
            "%soptim.nesterov = true needs optim.momentum > 0 (it is %g) and optim.dampening = 0 (it is %g)",
            ddp_config_where(cfg, "optim.nesterov", at, sizeof at), cfg->optim.momentum,
            cfg->optim.dampening);
    if (kind->reads & DDP_READS_EPS && !((float)cfg->optim.eps > 0))
        return ddp_fail(
            err, DDP_E_CONFIG,
            "%soptim.eps = %g: %s divides by it where a gradient was always zero, so it must be above 1e-45 "
            "(1e-8 is usual)",
            ddp_config_where(cfg, "optim.eps", at, sizeof at), cfg->optim.eps, kind->name);
    const double beta[2] = {cfg->optim.beta1, cfg->optim.beta2};
    for (int i = 0; kind->reads & DDP_READS_BETAS && i < 2; i++) {
        const char *key = i == 0 ? "optim.beta1" : "optim.beta2";
        if (!(beta[i] >= 0 && beta[i] < 1))
            return ddp_fail(err, DDP_E_CONFIG, "%s%s = %g must be at least 0 and below 1",
                            ddp_config_where(cfg, key, at, sizeof at), key, beta[i]);
    }
    return 0;
}
