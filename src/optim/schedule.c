/* Learning rate of a step: a pure function, so that a resumed run goes on with the same bits.
 *
 *   warm-up     s < W: lr * (warmup_start + (1 - warmup_start) * s / W), as torch LinearLR
 *   then, with t = s - W of T = total - W steps:
 *   constant    lr
 *   step        lr * gamma^(milestones passed), milestones in epochs from the start     (MultiStepLR)
 *   cosine      final_lr + (lr - final_lr) * (1 + cos(pi t / T)) / 2                   (CosineAnnealingLR)
 *   onecycle    cosine from lr / div_factor up to lr at pct_start * T - 1, then down to
 *               lr / div_factor / final_div_factor at T - 1                           (OneCycleLR)
 *   poly        final_lr + (lr - final_lr) * (1 - t / T)^power                         (PolynomialLR) */
#include "base/base.h"
#include "optim/optim.h"

static const double pi = 3.14159265358979323846;

/* From a (x = 0) to b (x = 1) along half a cosine. */
static double anneal(double a, double b, double x)
{
    return b + (a - b) * (1 + ddp_cos(pi * x)) / 2;
}

static double onecycle(const struct ddp_config *cfg, double t, double steps)
{
    double lr = cfg->optim.lr, start = lr / cfg->optim.div_factor, end = start / cfg->optim.final_div_factor;
    double peak = cfg->optim.pct_start * steps - 1, last = steps - 1;
    if (t > last)
        t = last;
    if (peak > 0 && t <= peak)
        return anneal(start, lr, t / peak);
    /* with very few steps the peak may lie before step 0, or where the end is */
    return last > peak ? anneal(lr, end, (t - peak) / (last - peak)) : end;
}

double ddp_schedule_lr(const struct ddp_config *cfg, int64_t step, int64_t total_steps,
                       int64_t steps_per_epoch)
{
    double lr = cfg->optim.lr;
    int64_t warmup = cfg->optim.warmup_steps;
    if (step < warmup)
        return lr * (cfg->optim.warmup_start + (1 - cfg->optim.warmup_start) * (double)step / (double)warmup);
    double steps = total_steps - warmup > 1 ? (double)(total_steps - warmup) : 1, t = (double)(step - warmup);
    double x = t < steps ? t / steps : 1;
    switch (cfg->optim.schedule) {
    case DDP_SCHEDULE_STEP:
        for (int i = 0; i < cfg->optim.milestones.n; i++)
            if ((double)step >= cfg->optim.milestones.v[i] * (double)steps_per_epoch)
                lr *= cfg->optim.gamma;
        return lr;
    case DDP_SCHEDULE_COSINE:
        return anneal(lr, cfg->optim.final_lr, x);
    case DDP_SCHEDULE_ONECYCLE:
        return onecycle(cfg, t, steps);
    case DDP_SCHEDULE_POLY:
        return cfg->optim.final_lr + (lr - cfg->optim.final_lr) * ddp_pow(1 - x, cfg->optim.power);
    default:
        return lr;
    }
}
