/* Where a tensor's or a parameter's elements lie: the only place that turns plain
 * indices into blocked ones. */
#include <math.h>
#include <string.h>

#include "ops/ops.h"
#include "ops/conv/conv.h"

/* ---- parameters ------------------------------------------------------------------------------ */

int64_t ddp_layout_plain_size(const struct ddp_param *p)
{
    int64_t n = 1;
    for (int i = 0; i < p->ndim; i++)
        n *= p->dims[i];
    return n;
}

static int pad8(int channels)
{
    return (channels + 7) / 8 * 8;
}

/* Channels of one filter. With groups nothing is padded: groups of padded channels would be others. */
static int krsc_channels(const struct ddp_conv_geom *g)
{
    return g->groups > 1 ? g->cg : pad8(g->cg);
}

int64_t ddp_layout_size(const struct ddp_param *p)
{
    if (p->layout == DDP_LAYOUT_VECTOR)
        return (ddp_layout_plain_size(p) + 15) / 16 * 16;
    struct ddp_conv_geom g = ddp_conv_geom(p);
    if (p->layout == DDP_LAYOUT_KRSC)
        return (int64_t)pad8(g.k) * g.r * g.s * krsc_channels(&g);
    return (int64_t)g.kb * g.wb * g.r * g.s * 256;
}

/* Element (k, channel j of the group, tap q) of a blocked weight. */
static int64_t conv_at(const struct ddp_conv_geom *g, int k, int j, int q)
{
    int first = ddp_conv_first(g, k / 16), c = k / g->kg * g->cg + j;
    return ((((int64_t)(k / 16) * g->wb + c / 16 - first) * g->r * g->s + q) * 16 + c % 16) * 16 + k % 16;
}

static int64_t krsc_at(const struct ddp_conv_geom *g, int k, int j, int q)
{
    return ((int64_t)k * g->r * g->s + q) * krsc_channels(g) + j;
}

/* Filters [k, k + n) lie beside each other: of one block, in one group. */
static int run_of(const struct ddp_conv_geom *g, int k)
{
    const int block = 16 - k % 16, group = g->kg - k % g->kg, left = g->k - k,
              n = block < group ? block : group;
    return n < left ? n : left;
}

/* All real elements of a blocked weight, a run of filters by a few of their elements at a time: filters lie
 * far apart in the plain layout, often a multiple of a page, and would push each other out of the cache. */
static void blocked_copy(const struct ddp_conv_geom *g, const float *plain, float *flat, float *plain_out,
                         const float *from)
{
    enum { FEW = 16 };
    const int64_t taps = (int64_t)g->r * g->s, filter = g->cg * taps;
    for (int k = 0, n; k < g->k; k += n) {
        n = run_of(g, k);
        for (int64_t i = 0; i < filter; i += FEW) {
            const int few = filter - i < FEW ? (int)(filter - i) : FEW;
            int64_t at[FEW];
            for (int e = 0; e < few; e++)
                at[e] = conv_at(g, k, (int)((i + e) / taps), (int)((i + e) % taps));
            for (int f = 0; f < n; f++) {
                const int64_t in = (k + f) * filter + i;
                for (int e = 0; e < few && flat; e++)
                    flat[at[e] + f] = plain[in + e];
                for (int e = 0; e < few && !flat; e++)
                    plain_out[in + e] = from[at[e] + f];
            }
        }
    }
}

/* Walk all real elements of a weight in plain order: plain[i] is flat[at[i]]. */
static void conv_copy(const struct ddp_param *p, const float *plain, float *flat, float *plain_out,
                      const float *from)
{
    struct ddp_conv_geom g = ddp_conv_geom(p);
    int64_t i = 0;
    if (p->layout != DDP_LAYOUT_KRSC) {
        blocked_copy(&g, plain, flat, plain_out, from);
        return;
    }
    for (int k = 0; k < g.k; k++) {
        for (int j = 0; j < g.cg; j++) {
            for (int q = 0; q < g.r * g.s; q++, i++) {
                const int64_t at = krsc_at(&g, k, j, q);
                if (flat)
                    flat[at] = plain[i];
                else
                    plain_out[i] = from[at];
            }
        }
    }
}

void ddp_layout_pack(const struct ddp_param *p, const float *plain, float *flat)
{
    int64_t size = ddp_layout_size(p);
    memset(flat, 0, (size_t)size * sizeof *flat);
    if (p->layout == DDP_LAYOUT_VECTOR)
        memcpy(flat, plain, (size_t)ddp_layout_plain_size(p) * sizeof *flat);
    else
        conv_copy(p, plain, flat, NULL, NULL);
}

void ddp_layout_unpack(const struct ddp_param *p, const float *flat, float *plain)
{
    if (p->layout == DDP_LAYOUT_VECTOR)
        memcpy(plain, flat, (size_t)ddp_layout_plain_size(p) * sizeof *plain);
    else
        conv_copy(p, NULL, NULL, plain, flat);
}

/* ---- activations ----------------------------------------------------------------------------- */

int64_t ddp_tensor_pictures(struct ddp_tensor *t, int n, struct ddp_shape s, int halo, int64_t *lead)
{
    int64_t sh = (int64_t)(s.w + 2 * halo) * 16, sb = (s.h + 2 * halo) * sh, sn = ddp_blocks(s.c) * sb;
    if (sn % 512 == 0)
        sn += 16; /* samples a multiple of 2 KiB apart would share a few sets of the first-level cache */
    *t = (struct ddp_tensor){
        .n = n, .c = s.c, .h = s.h, .w = s.w, .halo = halo, .sn = sn, .sb = sb, .sh = sh, .sw = 16};
    *lead = halo * (sh + 16);
    return n * sn + 16;
}

int64_t ddp_tensor_features(struct ddp_tensor *t, int n, struct ddp_shape s)
{
    int64_t sw = (int64_t)n * 16, sh = s.w * sw, sb = s.h * sh;
    *t = (struct ddp_tensor){.n = n, .c = s.c, .h = s.h, .w = s.w, .sn = 16, .sb = sb, .sh = sh, .sw = sw};
    return ddp_blocks(s.c) * sb + 16;
}

void ddp_tensor_pack(const float *plain, const struct ddp_tensor *t)
{
    for (int n = 0; n < t->n; n++) {
        for (int c = 0; c < ddp_blocks(t->c) * 16; c++) {
            for (int y = 0; y < t->h; y++) {
                for (int x = 0; x < t->w; x++)
                    ddp_at(t, n, c / 16, y, x)[c % 16] = c < t->c ? *plain++ : 0;
            }
        }
    }
}

void ddp_tensor_unpack(const struct ddp_tensor *t, float *plain)
{
    for (int n = 0; n < t->n; n++) {
        for (int c = 0; c < t->c; c++) {
            for (int y = 0; y < t->h; y++) {
                for (int x = 0; x < t->w; x++)
                    *plain++ = ddp_at(t, n, c / 16, y, x)[c % 16];
            }
        }
    }
}

bool ddp_tensor_find_bad(const struct ddp_tensor *t, int *n, int *c, int *y, int *x, float *value)
{
    for (int i = 0; i < t->n; i++) {
        for (int k = 0; k < t->c; k++) {
            for (int r = 0; r < t->h; r++) {
                for (int s = 0; s < t->w; s++) {
                    float v = ddp_at(t, i, k / 16, r, s)[k % 16];
                    if (!isfinite(v)) {
                        *n = i, *c = k, *y = r, *x = s, *value = v;
                        return true;
                    }
                }
            }
        }
    }
    return false;
}
