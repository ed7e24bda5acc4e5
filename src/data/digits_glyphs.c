/* How people write the ten digits: pen paths as points that a smooth curve passes through, several styles of
 * each. */
#include "data/digits.h"

#include "base/base.h"

#define S DDP_PEN_SMOOTH
#define C DDP_PEN_CORNER
#define U DDP_PEN_UP
#define GLYPH(points, often)                                                                                 \
    {                                                                                                        \
        points, (int)(sizeof(points) / sizeof((points)[0])), often                                           \
    }
typedef struct ddp_glyph_point point;

static const point zero_oval[] = {{35, 0, S},  {11, 18, S}, {0, 50, S},  {10, 84, S}, {35, 100, S},
                                  {60, 84, S}, {70, 50, S}, {60, 16, S}, {34, 1, U}};
static const point zero_open[] = {{46, 4, S},  {18, 10, S}, {3, 48, S}, {13, 88, S}, {38, 99, S},
                                  {63, 78, S}, {68, 40, S}, {54, 9, S}, {36, 7, U}};
static const point zero_narrow[] = {{40, 0, S},  {20, 20, S}, {12, 56, S}, {18, 90, S}, {34, 100, S},
                                    {50, 84, S}, {58, 46, S}, {54, 14, S}, {38, 1, S},  {28, 8, U}};
static const point zero_wide[] = {{58, 12, S}, {30, 6, S},  {4, 30, S},  {2, 66, S}, {28, 94, S},
                                  {62, 84, S}, {74, 50, S}, {62, 18, S}, {46, 12, U}};
static const struct ddp_glyph zeros[] = {GLYPH(zero_oval, 4), GLYPH(zero_open, 3), GLYPH(zero_narrow, 2),
                                         GLYPH(zero_wide, 2)};

static const point one_bar[] = {{35, 0, S}, {35, 50, S}, {35, 100, U}};
static const point one_flag[] = {{14, 24, S}, {28, 12, S}, {38, 0, C}, {38, 50, S}, {38, 100, U}};
static const point one_serif[] = {{16, 20, S}, {36, 0, C},   {36, 50, S},
                                  {36, 99, U}, {14, 100, S}, {60, 99, U}};
static const point one_bent[] = {{40, 0, S}, {36, 36, S}, {33, 70, S}, {35, 100, U}};
static const struct ddp_glyph ones[] = {GLYPH(one_bar, 6), GLYPH(one_flag, 2), GLYPH(one_serif, 1),
                                        GLYPH(one_bent, 3)};

static const point two_plain[] = {{5, 22, S},  {18, 5, S}, {42, 0, S},  {61, 14, S}, {59, 36, S},
                                  {38, 66, S}, {5, 98, C}, {36, 98, S}, {68, 97, U}};
static const point two_loop[] = {{6, 20, S}, {26, 2, S}, {52, 6, S},  {60, 28, S}, {44, 60, S}, {20, 90, S},
                                 {6, 95, S}, {7, 82, S}, {24, 83, S}, {48, 97, S}, {70, 92, U}};
static const point two_wave[] = {{4, 16, S}, {30, 0, S},  {58, 12, S}, {54, 36, S}, {30, 66, S},
                                 {3, 95, C}, {22, 88, S}, {46, 98, S}, {68, 93, U}};
static const point two_swan[] = {{2, 34, S},  {10, 10, S}, {34, 0, S},  {56, 12, S}, {52, 42, S},
                                 {34, 76, S}, {14, 96, C}, {40, 94, S}, {74, 96, U}};
static const struct ddp_glyph twos[] = {GLYPH(two_plain, 4), GLYPH(two_loop, 4), GLYPH(two_wave, 3),
                                        GLYPH(two_swan, 2)};

static const point three_round[] = {{7, 12, S},  {30, 0, S},  {57, 11, S},  {55, 34, S}, {26, 47, C},
                                    {57, 56, S}, {65, 79, S}, {42, 100, S}, {4, 90, U}};
static const point three_flat[] = {{5, 4, S},   {32, 3, S},  {58, 3, C},  {28, 40, C},
                                   {56, 49, S}, {66, 74, S}, {42, 99, S}, {4, 90, U}};
static const point three_curl[] = {{6, 16, S},  {28, 1, S},   {55, 10, S}, {50, 36, S},
                                   {30, 48, S}, {23, 45, S},  {33, 43, S}, {59, 58, S},
                                   {61, 84, S}, {36, 100, S}, {4, 86, U}};
static const point three_wide[] = {{10, 8, S},  {40, 0, S},  {66, 16, S},  {56, 36, S}, {34, 44, C},
                                   {62, 54, S}, {62, 82, S}, {30, 100, S}, {0, 96, U}};
static const struct ddp_glyph threes[] = {GLYPH(three_round, 5), GLYPH(three_flat, 1), GLYPH(three_curl, 3),
                                          GLYPH(three_wide, 3)};

static const point four_open[] = {{14, 2, S},  {9, 30, S}, {4, 57, C},  {36, 57, S},
                                  {68, 55, U}, {53, 4, S}, {51, 50, S}, {48, 100, U}};
static const point four_closed[] = {{50, 2, S},  {26, 34, S}, {2, 66, C},  {36, 66, S},
                                    {72, 64, U}, {52, 2, S},  {52, 50, S}, {51, 100, U}};
static const point four_round[] = {{9, 4, S},   {3, 36, S}, {16, 54, S}, {38, 54, S},
                                   {56, 46, U}, {60, 2, S}, {56, 48, S}, {46, 100, U}};
static const point four_single[] = {{12, 4, S},  {6, 30, S}, {10, 48, S}, {34, 50, S},
                                    {56, 34, S}, {62, 6, C}, {58, 40, S}, {50, 100, U}};
static const struct ddp_glyph fours[] = {GLYPH(four_open, 4), GLYPH(four_closed, 2), GLYPH(four_round, 4),
                                         GLYPH(four_single, 3)};

static const point five_hat[] = {{14, 2, S},  {11, 22, S}, {8, 44, C}, {32, 38, S}, {58, 50, S}, {63, 74, S},
                                 {40, 99, S}, {2, 90, U},  {13, 3, S}, {40, 3, S},  {66, 1, U}};
static const point five_single[] = {{64, 2, S},  {42, 4, S},  {20, 4, C},   {11, 42, C}, {36, 38, S},
                                    {61, 57, S}, {56, 86, S}, {28, 100, S}, {2, 92, U}};
static const point five_snake[] = {{66, 4, S},  {34, 2, S},  {14, 16, S},  {20, 38, S},
                                   {48, 52, S}, {56, 78, S}, {32, 100, S}, {2, 92, U}};
static const point five_tall[] = {{20, 4, S},  {17, 26, S}, {16, 48, C},  {38, 50, S},
                                  {54, 68, S}, {44, 92, S}, {16, 100, S}, {0, 90, U},
                                  {20, 6, S},  {44, 4, S},  {74, 0, U}};
static const struct ddp_glyph fives[] = {GLYPH(five_hat, 4), GLYPH(five_single, 3), GLYPH(five_snake, 2),
                                         GLYPH(five_tall, 2)};

static const point six_round[] = {{52, 2, S},  {24, 20, S}, {5, 56, S},  {10, 88, S}, {34, 100, S},
                                  {59, 86, S}, {58, 62, S}, {36, 51, S}, {10, 70, U}};
static const point six_slim[] = {{40, 0, S},  {16, 38, S}, {6, 76, S},  {24, 99, S}, {48, 90, S},
                                 {52, 68, S}, {34, 58, S}, {14, 72, S}, {10, 84, U}};
static const point six_stem[] = {{22, 0, S},  {8, 46, S},  {8, 82, S},  {30, 100, S}, {57, 89, S},
                                 {62, 68, S}, {42, 55, S}, {18, 64, S}, {9, 80, U}};
static const point six_curl[] = {{60, 6, S},  {34, 8, S},  {10, 42, S}, {6, 78, S}, {26, 99, S},
                                 {50, 88, S}, {50, 66, S}, {28, 62, S}, {14, 80, U}};
static const struct ddp_glyph sixes[] = {GLYPH(six_round, 4), GLYPH(six_slim, 3), GLYPH(six_stem, 3),
                                         GLYPH(six_curl, 2)};

static const point seven_plain[] = {{4, 5, S}, {34, 5, S}, {64, 3, C}, {46, 50, S}, {28, 100, U}};
static const point seven_barred[] = {{4, 5, S},    {34, 5, S},  {64, 3, C}, {46, 48, S},
                                     {30, 100, U}, {18, 52, S}, {60, 47, U}};
static const point seven_hook[] = {{5, 20, S},  {8, 5, C},   {36, 5, S},  {64, 3, C},
                                   {48, 36, S}, {36, 66, S}, {32, 100, U}};
static const point seven_round[] = {{2, 10, S},  {28, 5, S},  {56, 4, S},  {60, 16, S},
                                    {46, 50, S}, {34, 76, S}, {28, 100, U}};
static const struct ddp_glyph sevens[] = {GLYPH(seven_plain, 4), GLYPH(seven_barred, 2), GLYPH(seven_hook, 2),
                                          GLYPH(seven_round, 4)};

static const point eight_cross[] = {{56, 11, S}, {35, 0, S},  {12, 11, S},  {16, 34, S}, {36, 50, S},
                                    {58, 70, S}, {53, 93, S}, {30, 100, S}, {8, 90, S},  {12, 67, S},
                                    {36, 48, S}, {57, 28, S}, {54, 9, U}};
static const point eight_loops[] = {{36, 0, S},   {15, 12, S}, {18, 38, S}, {36, 46, S}, {54, 36, S},
                                    {54, 11, S},  {35, 0, U},  {36, 46, S}, {10, 62, S}, {10, 90, S},
                                    {35, 100, S}, {61, 88, S}, {59, 60, S}, {36, 46, U}};
static const point eight_open[] = {{60, 6, S},  {36, 2, S},  {16, 16, S},  {24, 38, S},
                                   {46, 58, S}, {54, 82, S}, {36, 100, S}, {14, 88, S},
                                   {18, 66, S}, {42, 44, S}, {62, 20, S},  {64, 10, U}};
static const point eight_slim[] = {{46, 8, S},  {30, 2, S},  {20, 18, S},  {28, 40, S},
                                   {44, 66, S}, {42, 92, S}, {26, 100, S}, {16, 84, S},
                                   {24, 60, S}, {42, 34, S}, {50, 14, S},  {44, 6, U}};
static const struct ddp_glyph eights[] = {GLYPH(eight_cross, 5), GLYPH(eight_loops, 2), GLYPH(eight_open, 3),
                                          GLYPH(eight_slim, 2)};

static const point nine_stem[] = {{57, 18, S}, {38, 1, S},  {12, 12, S}, {6, 36, S},  {27, 49, S},
                                  {50, 36, S}, {60, 12, C}, {56, 58, S}, {50, 100, U}};
static const point nine_straight[] = {{58, 10, S}, {34, 2, S}, {10, 18, S}, {10, 42, S}, {34, 48, S},
                                      {58, 30, U}, {60, 4, S}, {58, 50, S}, {55, 100, U}};
static const point nine_curved[] = {{58, 22, S}, {40, 1, S},  {12, 10, S}, {8, 36, S},  {32, 48, S},
                                    {56, 34, S}, {60, 18, C}, {58, 66, S}, {38, 98, S}, {10, 92, U}};
static const point nine_loop[] = {{62, 26, S}, {50, 4, S},  {24, 6, S},  {12, 28, S}, {26, 46, S},
                                  {50, 36, S}, {60, 14, S}, {54, 50, S}, {40, 78, S}, {28, 100, U}};
static const struct ddp_glyph nines[] = {GLYPH(nine_stem, 5), GLYPH(nine_straight, 2), GLYPH(nine_curved, 2),
                                         GLYPH(nine_loop, 3)};

const struct ddp_glyph *ddp_digit_glyphs(int digit, int *n)
{
#define OF(array)                                                                                            \
    {                                                                                                        \
        array, (int)DDP_COUNT(array)                                                                         \
    }
    static const struct {
        const struct ddp_glyph *glyph;
        int n;
    } all[10] = {OF(zeros), OF(ones),  OF(twos),   OF(threes), OF(fours),
                 OF(fives), OF(sixes), OF(sevens), OF(eights), OF(nines)};
    *n = all[digit].n;
    return all[digit].glyph;
}
