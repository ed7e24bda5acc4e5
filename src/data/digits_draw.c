/* Drawing of one digit: choose a way of writing -> bend and transform its pen path -> place it -> ink by
 * distance to the path -> blur, contrast, noise. No libm, no fused or reordered arithmetic: the bytes are the
 * same everywhere. */
#include "data/digits.h"

#include <math.h>

#include "base/base.h"

enum { SIDE = DDP_DIGIT_SIDE, PIECES = 4, MAX_PATH = DDP_GLYPH_MAX_POINTS * PIECES, GRID = 4 };

/* The picture's own random numbers: {draw, index, split, DDP_STREAM_DIGITS}, one word after the other. */
struct stream {
    uint64_t seed;
    uint32_t index, split, draw;
    struct ddp_philox4 words;
};

static uint32_t next_word(struct stream *s)
{
    uint32_t at = s->draw++;
    if (at % 4 == 0)
        s->words = ddp_philox4(at / 4, s->index, s->split, DDP_STREAM_DIGITS, s->seed);
    return s->words.v[at % 4];
}

static float uniform(struct stream *s, float lo, float hi)
{
    return lo + (hi - lo) * ddp_uniform(next_word(s));
}

/* Bell-shaped, variance 1, within +-3.46: four 16-bit uniforms of two words. */
static float bell(struct stream *s)
{
    uint32_t a = next_word(s), b = next_word(s);
    float sum = (float)(a & 0xffff) + (float)(a >> 16) + (float)(b & 0xffff) + (float)(b >> 16);
    return (sum * 0x1p-16f - 2.0f) * 1.7320508f;
}

static float clamp(float v, float lo, float hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

/* A flattened pen path in picture coordinates: r is the pen's radius there, `up` ends a stroke. */
struct path {
    int n;
    float x[MAX_PATH], y[MAX_PATH], r[MAX_PATH];
    bool up[MAX_PATH];
};

static const struct ddp_glyph *choose_glyph(struct stream *s, int digit)
{
    int n, total = 0;
    const struct ddp_glyph *g = ddp_digit_glyphs(digit, &n);
    for (int i = 0; i < n; i++)
        total += g[i].weight;
    int at = (int)ddp_uniform_int(next_word(s), (uint32_t)total);
    while (at >= g->weight)
        at -= g++->weight;
    return g;
}

/* Smooth curve through the points (cardinal spline whose tangents are `round` times the chord), PIECES pieces
 * a span. */
static void flatten(const struct ddp_glyph *g, const float *px, const float *py, const float *pr, float round,
                    struct path *out)
{
    int n = 0;
    for (int i = 0; i < g->n; i++) {
        bool first = i == 0 || g->point[i - 1].pen == DDP_PEN_UP, last = g->point[i].pen == DDP_PEN_UP;
        if (last) {
            out->x[n] = px[i];
            out->y[n] = py[i];
            out->r[n] = pr[i];
            out->up[n++] = true;
            continue;
        }
        /* at a stroke's ends and at corners the neighbour beyond is not looked at */
        bool cut0 = first || g->point[i].pen == DDP_PEN_CORNER, cut1 = g->point[i + 1].pen != DDP_PEN_SMOOTH;
        int before = cut0 ? i : i - 1, after = cut1 ? i + 1 : i + 2;
        float t0x = round * (px[i + 1] - px[before]), t0y = round * (py[i + 1] - py[before]);
        float t1x = round * (px[after] - px[i]), t1y = round * (py[after] - py[i]);
        for (int k = 0; k < PIECES; k++) {
            float t = (float)k * (1.0f / PIECES), t2 = t * t, t3 = t2 * t;
            float h0 = 2.0f * t3 - 3.0f * t2 + 1.0f, h1 = 3.0f * t2 - 2.0f * t3;
            float d0 = t3 - 2.0f * t2 + t, d1 = t3 - t2;
            out->x[n] = h0 * px[i] + h1 * px[i + 1] + d0 * t0x + d1 * t1x;
            out->y[n] = h0 * py[i] + h1 * py[i + 1] + d0 * t0y + d1 * t1y;
            out->r[n] = pr[i] + t * (pr[i + 1] - pr[i]);
            out->up[n++] = false;
        }
    }
    out->n = n;
}

/* Elastic deformation: random displacements on a coarse grid over the glyph's box, interpolated linearly. */
static void bend(struct stream *s, float strength, struct path *p)
{
    float dx[GRID][GRID], dy[GRID][GRID];
    for (int i = 0; i < GRID; i++)
        for (int j = 0; j < GRID; j++) {
            dx[i][j] = strength * bell(s);
            dy[i][j] = strength * bell(s);
        }
    for (int k = 0; k < p->n; k++) {
        float gx = clamp((p->x[k] + 15.0f) * ((GRID - 1) / 100.0f), 0.0f, GRID - 1.001f);
        float gy = clamp((p->y[k] + 5.0f) * ((GRID - 1) / 110.0f), 0.0f, GRID - 1.001f);
        int j = (int)gx, i = (int)gy;
        float u = gx - (float)j, v = gy - (float)i;
        float top = dx[i][j] + u * (dx[i][j + 1] - dx[i][j]);
        float bottom = dx[i + 1][j] + u * (dx[i + 1][j + 1] - dx[i + 1][j]);
        p->x[k] += top + v * (bottom - top);
        top = dy[i][j] + u * (dy[i][j + 1] - dy[i][j]);
        bottom = dy[i + 1][j] + u * (dy[i + 1][j + 1] - dy[i + 1][j]);
        p->y[k] += top + v * (bottom - top);
    }
}

/* Rotation, slant, width, then size and place: the longer side fills about 20 of the 28 pixels and the path's
 * centre of gravity lies near the middle, as in MNIST. */
static void place(struct stream *s, struct path *p)
{
    float turn = 0.13f * bell(s), half = 0.5f * turn; /* about +-6 degrees, at most 20 */
    float c = (1.0f - half * half) / (1.0f + half * half), d = 2.0f * half / (1.0f + half * half);
    float slant = 0.14f + 0.24f * bell(s), width = clamp(0.92f + 0.18f * bell(s), 0.45f, 1.5f);
    float lox = 1e9f, hix = -1e9f, loy = 1e9f, hiy = -1e9f;
    for (int k = 0; k < p->n; k++) {
        float x = (p->x[k] - 35.0f) * width - slant * (p->y[k] - 50.0f), y = p->y[k] - 50.0f;
        p->x[k] = c * x - d * y;
        p->y[k] = d * x + c * y;
        lox = fminf(lox, p->x[k]);
        hix = fmaxf(hix, p->x[k]);
        loy = fminf(loy, p->y[k]);
        hiy = fmaxf(hiy, p->y[k]);
    }
    float side = clamp(18.0f + 1.3f * bell(s), 14.5f, 21.0f);
    float scale = side / fmaxf(fmaxf(hix - lox, hiy - loy), 20.0f);
    float cx = 0.0f, cy = 0.0f, length = 1e-6f;
    for (int k = 0; k + 1 < p->n; k++) {
        if (p->up[k])
            continue;
        float ex = p->x[k + 1] - p->x[k], ey = p->y[k + 1] - p->y[k], l = sqrtf(ex * ex + ey * ey);
        cx += 0.5f * l * (p->x[k] + p->x[k + 1]);
        cy += 0.5f * l * (p->y[k] + p->y[k + 1]);
        length += l;
    }
    float ox = SIDE / 2.0f + 1.15f * bell(s) - scale * (cx / length);
    float oy = SIDE / 2.0f + 1.15f * bell(s) - scale * (cy / length);
    float margin = 2.2f; /* the pen does not leave the paper */
    ox = clamp(ox, margin - scale * lox, SIDE - margin - scale * hix);
    oy = clamp(oy, margin - scale * loy, SIDE - margin - scale * hiy);
    for (int k = 0; k < p->n; k++) {
        p->x[k] = scale * p->x[k] + ox;
        p->y[k] = scale * p->y[k] + oy;
    }
}

/* ink[y][x] in 0..1: how far the pixel's centre lies inside the pen's trace, over an edge one pixel / sharp
 * wide. */
static void ink_path(const struct path *p, float sharp, float ink[SIDE][SIDE])
{
    float edge = 0.5f / sharp;
    for (int k = 0; k + 1 < p->n; k++) {
        if (p->up[k])
            continue;
        float ax = p->x[k] - 0.5f, ay = p->y[k] - 0.5f;
        float ex = p->x[k + 1] - p->x[k], ey = p->y[k + 1] - p->y[k];
        float over = 1.0f / fmaxf(ex * ex + ey * ey, 1e-6f);
        float ra = p->r[k], re = p->r[k + 1] - ra, reach = fmaxf(ra, ra + re) + edge;
        int x0 = (int)fmaxf(fminf(ax, ax + ex) - reach + 1.0f, 0.0f);
        int y0 = (int)fmaxf(fminf(ay, ay + ey) - reach + 1.0f, 0.0f);
        int x1 = (int)fminf(fmaxf(ax, ax + ex) + reach, SIDE - 1.0f);
        int y1 = (int)fminf(fmaxf(ay, ay + ey) + reach, SIDE - 1.0f);
        for (int y = y0; y <= y1; y++) {
            float qy = (float)y - ay;
            for (int x = x0; x <= x1; x++) {
                float qx = (float)x - ax, t = clamp((qx * ex + qy * ey) * over, 0.0f, 1.0f);
                float nx = qx - t * ex, ny = qy - t * ey, d2 = nx * nx + ny * ny, r = ra + t * re + edge;
                if (d2 >= r * r)
                    continue;
                float v = (r - sqrtf(d2)) * sharp;
                if (v > ink[y][x])
                    ink[y][x] = fminf(v, 1.0f);
            }
        }
    }
}

/* 3x3 binomial blur mixed in with weight `mix`, contrast, grain in the ink and specks
 * on the paper, to bytes. */
static void develop(struct stream *s, float ink[SIDE][SIDE], uint8_t *pixels)
{
    float mix = uniform(s, 0.0f, 0.7f), full = uniform(s, 215.0f, 300.0f);
    float level = uniform(s, 0.0f, 1.0f), grain = level * level * 0.25f;
    float paper = clamp(uniform(s, -60.0f, 40.0f), 0.0f, 40.0f);
    float row[SIDE + 2][SIDE + 2] = {{0}};
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            float left = x > 0 ? ink[y][x - 1] : 0.0f, right = x < SIDE - 1 ? ink[y][x + 1] : 0.0f;
            row[y + 1][x] = 0.25f * (left + right) + 0.5f * ink[y][x];
        }
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x += 4) {
            uint32_t noise = next_word(s);
            for (int i = 0; i < 4; i++, noise >>= 8) {
                float soft = 0.25f * (row[y][x + i] + row[y + 2][x + i]) + 0.5f * row[y + 1][x + i];
                float v = ink[y][x + i] + mix * (soft - ink[y][x + i]);
                float n = (float)(noise & 0xff) * (1.0f / 127.5f) - 1.0f;
                v = v * full * (1.0f + grain * n) + paper * fmaxf(n, 0.0f);
                pixels[y * SIDE + x + i] = (uint8_t)clamp(v, 0.0f, 255.0f);
            }
        }
}

static int draw_label(struct stream *s)
{
    return (int)ddp_uniform_int(next_word(s), 10);
}

int32_t ddp_digit_label(uint64_t seed, enum ddp_split split, int64_t index)
{
    struct stream s = {.seed = seed, .index = (uint32_t)index, .split = (uint32_t)split};
    return draw_label(&s);
}

void ddp_digit_draw(uint64_t seed, enum ddp_split split, int64_t index, uint8_t pixels[DDP_DIGIT_PIXELS],
                    int32_t *label)
{
    struct stream s = {.seed = seed, .index = (uint32_t)index, .split = (uint32_t)split};
    int digit = draw_label(&s);
    const struct ddp_glyph *g = choose_glyph(&s, digit);

    float px[DDP_GLYPH_MAX_POINTS] = {0}, py[DDP_GLYPH_MAX_POINTS] = {0}, pr[DDP_GLYPH_MAX_POINTS] = {0};
    float shake = uniform(&s, 1.0f, 4.0f), pen = clamp(1.25f + 0.36f * bell(&s), 0.6f, 2.3f);
    float pressure = uniform(&s, 0.0f, 0.25f), strokex = 0.0f, strokey = 0.0f;
    for (int i = 0; i < g->n; i++) {
        if (i > 0 && g->point[i - 1].pen == DDP_PEN_UP) { /* strokes do not meet exactly */
            strokex = 2.5f * bell(&s);
            strokey = 2.5f * bell(&s);
        }
        px[i] = (float)g->point[i].x + strokex + shake * bell(&s);
        py[i] = (float)g->point[i].y + strokey + shake * bell(&s);
        pr[i] = pen * (1.0f + pressure * bell(&s) * 0.5f);
    }
    struct path path;
    flatten(g, px, py, pr, uniform(&s, 0.35f, 0.58f), &path);
    bend(&s, uniform(&s, 1.5f, 9.0f), &path);
    place(&s, &path);

    float ink[SIDE][SIDE] = {{0}};
    ink_path(&path, uniform(&s, 0.7f, 1.3f), ink);
    develop(&s, ink, pixels);
    *label = digit;
}
