/* What a bisection begins from: a checkpoint that two runs share, the kernels that each ran. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bisect.h"

/* ---- checkpoints ----------------------------------------------------------------------------- */

/* Whether both checkpoints hold the same state: files that one has and the other has not are no difference
 * only where neither has them. */
static bool same_state(const char *a, const char *b)
{
    static const char *const files[] = {"model.safetensors", "optimizer.safetensors"};
    for (size_t i = 0; i < DDP_COUNT(files); i++) {
        char path[2][4400], hex[2][65];
        snprintf(path[0], sizeof path[0], "%s/%s", a, files[i]);
        snprintf(path[1], sizeof path[1], "%s/%s", b, files[i]);
        const bool there[2] = {ddp_path_exists(path[0]), ddp_path_exists(path[1])};
        if (!there[0] && !there[1] && i > 0)
            continue; /* an optimizer without a state */
        if (!there[0] || !there[1] || ddp_file_sha256(path[0], hex[0], NULL) != 0 ||
            ddp_file_sha256(path[1], hex[1], NULL) != 0 || strcmp(hex[0], hex[1]) != 0)
            return false;
    }
    return true;
}

static int64_t step_of(const char *name)
{
    long long step;
    char behind;
    return sscanf(name, "step-%lld%c", &step, &behind) == 1 && step > 0 ? step : 0;
}

int64_t ddp_bisect_checkpoint(const struct ddp_past *a, const struct ddp_past *b, int64_t before)
{
    char folder[4200], path[2][4400];
    int64_t best = 0;
    snprintf(folder, sizeof folder, "%s/checkpoints", a->path);
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        const int64_t step = step_of(e->d_name);
        if (step <= best || step >= before)
            continue;
        snprintf(path[0], sizeof path[0], "%s/checkpoints/%.100s", a->path, e->d_name);
        snprintf(path[1], sizeof path[1], "%s/checkpoints/%.100s", b->path, e->d_name);
        if (same_state(path[0], path[1]))
            best = step;
    }
    if (d)
        closedir(d);
    return best;
}

/* ---- kernels --------------------------------------------------------------------------------- */

void ddp_bisect_isa(const struct ddp_past *p, const char *here, char isa[16])
{
    static const struct {
        const char *here, *then;
    } includes[] = {{"avx512", "avx2"}, {"avx512", "scalar"}, {"avx2", "scalar"}, {"neon", "scalar"}};
    const char *then = ddp_past_text(p, "machine.isa"), *asked = getenv("DDP_ISA");
    *isa = '\0';
    for (size_t i = 0; i < DDP_COUNT(includes) && !(asked && *asked); i++)
        if (strcmp(here, includes[i].here) == 0 && strcmp(then, includes[i].then) == 0)
            snprintf(isa, 16, "%s", then);
}
