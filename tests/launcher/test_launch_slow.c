/* Slow ranks: who is named after how many steps, why, and that chance is no cause. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "launcher/slow.h"

enum { MOST = 4, NOBODY = -1 };

/* Ranks as they would be seen. Times in ms of a step. */
struct world {
    const char *name;
    int ranks, steps; /* steps a look; 0: several looks a step */
    int looks;
    int shards[MOST];
    double busy[MOST]; /* of each, by itself .. */
    double noise;      /* .. and up to so much more, by chance */
    double queue;      /* .. and up to so much more without a core, by chance */
    struct {           /* what one rank is late by, from a step on to another; 0: for ever */
        int rank;
        int from, to;
        double asleep, data, aside, computes, queue;
        int mhz; /* of its core; others 3000 */
    } plant;
    int named;         /* who is */
    int after, within; /* .. in steps from the first late one */
    const char *cause;
};

// clang-format off
#define ALL(v) {v, v, v, v}
static const struct world worlds[] = {
    {.name = "50 ms in small steps", .ranks = 2, .steps = 4, .looks = 50, .busy = ALL(1), .plant = {.rank = 1, .asleep = 50},
     .named = 1, .after = 8, .within = 20, .cause = "it is asleep for 50 ms"},
    {.name = "50 ms in longer steps", .ranks = 2, .steps = 2, .looks = 50, .busy = ALL(100), .noise = 10, .plant = {.rank = 1, .from = 21, .asleep = 50},
     .named = 1, .after = 8, .within = 20, .cause = "it is asleep"},
    {.name = "50 ms on a machine that is busy", .ranks = 2, .steps = 3, .looks = 50, .busy = ALL(10), .queue = 15, .plant = {.rank = 0, .asleep = 50},
     .named = 0, .after = 8, .within = 20, .cause = "it is asleep"},
    {.name = "50 ms of data", .ranks = 4, .steps = 4, .looks = 50, .busy = ALL(5), .noise = 2, .plant = {.rank = 3, .data = 50},
     .named = 3, .after = 8, .within = 20, .cause = "it waits 50 ms longer for its data"},
    {.name = "50 ms of records", .ranks = 4, .steps = 4, .looks = 50, .busy = ALL(5), .plant = {.rank = 0, .aside = 50},
     .named = 0, .after = 8, .within = 20, .cause = "records, hooks or evaluations take it 50 ms"},
    {.name = "a slow core", .ranks = 4, .steps = 4, .looks = 50, .busy = ALL(50), .plant = {.rank = 2, .computes = 40, .mhz = 1700},
     .named = 2, .after = 8, .within = 20, .cause = "its core runs at 1700 MHz, those of others at 3000"},
    {.name = "more to compute", .ranks = 4, .steps = 4, .looks = 50, .busy = ALL(50), .plant = {.rank = 2, .computes = 40},
     .named = 2, .after = 8, .within = 20, .cause = "it computes longer"},
    {.name = "long steps, a look or two in each", .ranks = 2, .steps = 0, .looks = 200, .busy = ALL(1000), .noise = 50, .plant = {.rank = 1, .data = 900},
     .named = 1, .after = 8, .within = 20, .cause = "its data"},
    {.name = "an eighth of the step: it takes longer to be sure", .ranks = 2, .steps = 1, .looks = 300, .busy = ALL(400), .noise = 10, .plant = {.rank = 1, .computes = 60},
     .named = 1, .after = 20, .within = 60, .cause = "it computes longer"},
    {.name = "a core that is shared: longer still", .ranks = 2, .steps = 5, .looks = 400, .busy = ALL(50), .plant = {.rank = 1, .queue = 50},
     .named = 1, .after = 250, .within = 400, .cause = "has no core for 50 ms: its cores are shared"},

    {.name = "all alike", .ranks = 4, .steps = 4, .looks = 5000, .busy = ALL(50), .named = NOBODY},
    {.name = "chance", .ranks = 4, .steps = 2, .looks = 20000, .busy = ALL(50), .noise = 30, .named = NOBODY},
    {.name = "chance, two ranks", .ranks = 2, .steps = 2, .looks = 20000, .busy = ALL(50), .noise = 30, .named = NOBODY},
    {.name = "whose turn it is on crowded cores", .ranks = 4, .steps = 2, .looks = 20000, .busy = ALL(20), .queue = 60, .named = NOBODY},
    {.name = "the same of two", .ranks = 2, .steps = 1, .looks = 20000, .busy = ALL(20), .noise = 3, .queue = 60, .named = NOBODY},
    {.name = "5 % of the step", .ranks = 2, .steps = 1, .looks = 3000, .busy = ALL(400), .plant = {.rank = 1, .computes = 20}, .named = NOBODY},
    {.name = "3 ms", .ranks = 2, .steps = 32, .looks = 3000, .busy = ALL(1), .plant = {.rank = 1, .computes = 3}, .named = NOBODY},
    {.name = "more shards, more work", .ranks = 3, .steps = 4, .looks = 3000, .shards = {2, 3, 3}, .busy = {20, 30, 30}, .noise = 2, .named = NOBODY},
    {.name = "and of one rank only", .ranks = 3, .steps = 4, .looks = 3000, .shards = {1, 1, 2}, .busy = {20, 20, 40}, .noise = 2, .named = NOBODY},
    {.name = "less work than others, and late", .ranks = 3, .steps = 4, .looks = 60, .shards = {2, 3, 3}, .busy = {20, 30, 30}, .plant = {.rank = 0, .asleep = 50},
     .named = 0, .after = 8, .within = 20, .cause = "it is asleep"},
    {.name = "six late steps are a checkpoint", .ranks = 2, .steps = 1, .looks = 200, .busy = ALL(20), .plant = {.rank = 0, .from = 50, .to = 55, .aside = 300}, .named = NOBODY},
};
// clang-format on

static uint32_t seed;
static double chance(void) /* [0, 1) */
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) / 16777216.0;
}

static bool is_late(const struct world *w, int rank, int64_t step)
{
    return rank == w->plant.rank && step >= w->plant.from && (w->plant.to == 0 || step <= w->plant.to);
}

/* What an agent would see of all ranks in some steps that end with `step`. */
static void make_look(const struct world *w, int64_t step, int fresh, double part,
                      struct ddp_sample out[MOST])
{
    double wall = 0, asleep[MOST];
    for (int r = 0; r < w->ranks; r++) {
        const bool late = is_late(w, r, step);
        const double queue = w->queue * chance() + (late ? w->plant.queue : 0);
        asleep[r] = late ? w->plant.asleep + w->plant.data + w->plant.aside : 0;
        out[r] = (struct ddp_sample){
            .step = step,
            .steps = step,
            .fresh = fresh,
            .shards = w->shards[0] ? w->shards[r] : 1,
            .busy = w->busy[r] + w->noise * chance() + queue + asleep[r] + (late ? w->plant.computes : 0),
            .data = 0.1 + (late ? w->plant.data : 0),
            .aside = 0.1 + (late ? w->plant.aside : 0),
            .queued = queue,
            .mhz = late && w->plant.mhz ? w->plant.mhz : 3000,
        };
        wall = fmax(wall, out[r].busy + 0.1);
    }
    for (int r = 0; r < w->ranks; r++) {
        struct ddp_sample *s = &out[r];
        const double times = 1e-3 * (fresh > 0 ? fresh : part);
        s->wall = 1e-3 * wall;
        s->span = times * wall;
        s->ran = times * (s->busy - s->queued - asleep[r]);
        s->queued *= times;
        s->busy *= 1e-3;
        s->data *= 1e-3;
        s->aside *= 1e-3;
    }
}

static void test_slow_names_who_is_late(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(worlds); i++) {
        const struct world *w = &worlds[i];
        struct ddp_slow slow;
        int64_t step = 0, named_at = 0;
        int named = NOBODY;
        char cause[256] = "";
        ddp_slow_init(&slow, w->ranks);
        seed = 7 + (uint32_t)i;
        for (int look = 1; look <= w->looks; look++) {
            struct ddp_sample s[MOST];
            const int fresh = w->steps ? w->steps : look % 4 == 0;
            const struct ddp_slow_rank *who;
            enum ddp_slow_says says;
            step += fresh;
            make_look(w, step, fresh, 0.25, s);
            for (int r = 0; r < w->ranks; r++)
                ddp_slow_take(&slow, r, &s[r]);
            while ((says = ddp_slow_judge(&slow, &who)) != DDP_SLOW_NOTHING)
                if (says == DDP_SLOW_NAMES && named == NOBODY) {
                    named = who->rank;
                    named_at = step - (w->plant.from ? w->plant.from - 1 : 0);
                    snprintf(cause, sizeof cause, "%s", who->cause);
                } else if (says == DDP_SLOW_NAMES) {
                    fail_msg("%s: rank %d, too", w->name, who->rank);
                }
        }
        const bool right =
            named == w->named &&
            (named == NOBODY || (named_at >= w->after && named_at <= w->within && strstr(cause, w->cause)));
        if (!right)
            fail_msg("%s: rank %d after %d steps: %s", w->name, named, (int)named_at, cause);
        ddp_slow_finish(&slow);
    }
}

static enum ddp_slow_says run(struct ddp_slow *slow, const struct world *w, int64_t *step, int looks,
                              struct ddp_slow_rank *word)
{
    enum ddp_slow_says says, last = DDP_SLOW_NOTHING;
    for (int i = 0; i < looks; i++) {
        struct ddp_sample s[MOST];
        const struct ddp_slow_rank *who;
        *step += w->steps;
        make_look(w, *step, w->steps, 0, s);
        for (int r = 0; r < w->ranks; r++)
            ddp_slow_take(slow, r, &s[r]);
        while ((says = ddp_slow_judge(slow, &who)) != DDP_SLOW_NOTHING) {
            *word = *who;
            last = says;
        }
    }
    return last;
}

static void test_slow_adds_up_and_ends(void **state)
{
    (void)state;
    const struct world w = {
        .ranks = 2, .steps = 4, .busy = ALL(10), .plant = {.rank = 1, .from = 41, .to = 80, .asleep = 50}};
    struct ddp_slow slow;
    struct ddp_slow_rank word = {0};
    char text[512];
    int64_t step = 0;
    ddp_slow_init(&slow, 2);
    assert_int_equal(run(&slow, &w, &step, 10, &word), DDP_SLOW_NOTHING);
    assert_false(ddp_slow_total(&slow, 1, &word));
    assert_int_equal(run(&slow, &w, &step, 10, &word), DDP_SLOW_GOES_ON);
    assert_int_equal(word.rank, 1);
    assert_int_equal(word.from, 41);
    assert_int_equal(word.to, 80);
    assert_true(fabs(word.late - 0.05) < 1e-9);
    assert_true(fabs(word.lost - 40 * 0.05) < 1e-6);
    assert_false(word.over);
    ddp_slow_text(&word, DDP_SLOW_NAMES, text, sizeof text);
    assert_string_equal(
        text,
        "is slow: since step 41 it comes 50 ms late to each, and the others wait (until step 80); it is "
        "asleep for 50 ms in the midst of its work");
    assert_int_equal(run(&slow, &w, &step, 20, &word), DDP_SLOW_RELIEVED);
    assert_true(word.over);
    ddp_slow_text(&word, DDP_SLOW_RELIEVED, text, sizeof text);
    assert_string_equal(text, "is slow no more after step 80");

    const struct world again = {
        .ranks = 2, .steps = 4, .busy = ALL(10), .plant = {.rank = 1, .from = 1, .data = 100}};
    const int64_t before = step;
    assert_int_equal(run(&slow, &again, &step, 10, &word), DDP_SLOW_GOES_ON);
    assert_int_equal(word.from, before + 1);
    assert_true(ddp_slow_total(&slow, 1, &word)); /* of both times */
    assert_int_equal(word.from, 41);
    assert_true(fabs(word.lost - (40 * 0.05 + 40 * 0.1)) < 1e-6);
    assert_false(ddp_slow_total(&slow, 0, &word));
    ddp_slow_finish(&slow);
}

/* Two ranks of a slow host among four. */
static void test_slow_names_two(void **state)
{
    (void)state;
    struct ddp_slow slow;
    const struct ddp_slow_rank *who;
    int names[MOST] = {0};
    ddp_slow_init(&slow, 4);
    for (int look = 1; look < 20; look++) {
        for (int r = 0; r < 4; r++) {
            const double busy = r >= 2 ? 0.06 + 0.002 * r : 0.03;
            const struct ddp_sample s = {.step = look,
                                         .steps = look,
                                         .fresh = 1,
                                         .shards = 1,
                                         .wall = 0.07,
                                         .busy = busy,
                                         .span = 0.07,
                                         .ran = busy};
            ddp_slow_take(&slow, r, &s);
        }
        enum ddp_slow_says says;
        while ((says = ddp_slow_judge(&slow, &who)) != DDP_SLOW_NOTHING)
            names[who->rank] += says == DDP_SLOW_NAMES;
    }
    assert_int_equal(names[0] + names[1], 0);
    assert_int_equal(names[2], 1);
    assert_int_equal(names[3], 1);
    ddp_slow_finish(&slow);
}

/* Where not all are seen, nothing is known: a rank without a pulse, one that has left, one alone. */
static void test_slow_wants_all_ranks(void **state)
{
    (void)state;
    const struct ddp_sample fast = {.step = 9,
                                    .steps = 9,
                                    .fresh = 9,
                                    .shards = 1,
                                    .wall = 0.1,
                                    .busy = 0.01,
                                    .span = 1,
                                    .ran = 0.1},
                            late = {.step = 9,
                                    .steps = 9,
                                    .fresh = 9,
                                    .shards = 1,
                                    .wall = 0.1,
                                    .busy = 0.1,
                                    .span = 1,
                                    .ran = 1};
    const struct ddp_slow_rank *who;
    struct ddp_slow slow;
    ddp_slow_init(&slow, 3);
    ddp_slow_take(&slow, 0, &fast);
    ddp_slow_take(&slow, 1, &late);
    assert_int_equal(ddp_slow_judge(&slow, &who), DDP_SLOW_NOTHING);
    ddp_slow_take(&slow, 2, NULL);
    assert_int_equal(ddp_slow_judge(&slow, &who), DDP_SLOW_NOTHING);
    ddp_slow_take(&slow, 99, &late);
    ddp_slow_left(&slow, 2);
    assert_int_equal(ddp_slow_judge(&slow, &who), DDP_SLOW_NAMES);
    assert_int_equal(who->rank, 1);
    while (ddp_slow_judge(&slow, &who) != DDP_SLOW_NOTHING)
        ;
    ddp_slow_left(&slow, 0);
    ddp_slow_take(&slow, 1, &late);
    assert_int_equal(ddp_slow_judge(&slow, &who), DDP_SLOW_NOTHING);
    ddp_slow_finish(&slow);
}

static void test_slow_survives_the_wire(void **state)
{
    (void)state;
    const struct ddp_slow_rank s = {.rank = 3,
                                    .from = 1LL << 40,
                                    .to = 1LL << 41,
                                    .late = 0.05,
                                    .lost = 123.25,
                                    .over = true,
                                    .host = "n0",
                                    .cause = "it is asleep"};
    char text[DDP_SLOW_TEXT];
    struct ddp_slow_rank back;
    ddp_slow_format(&s, text);
    assert_true(ddp_slow_parse(text, &back));
    assert_memory_equal(&back.from, &s.from, 2 * sizeof s.from);
    assert_int_equal(back.rank, 3);
    assert_true(fabs(back.late - s.late) < 2e-6 && back.lost == s.lost && back.over);
    assert_string_equal(back.host, "n0");
    assert_string_equal(back.cause, "it is asleep");
    assert_false(ddp_slow_parse("", &back));
    assert_false(ddp_slow_parse("1 2 3", &back));
    assert_true(ddp_slow_parse("1 2 3 4 5 0 a\"b c\\d\te", &back));
    assert_string_equal(back.host, "a?b");
    assert_string_equal(back.cause, "c?d?e");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_names_who_is_late), cmocka_unit_test(test_slow_adds_up_and_ends),
        cmocka_unit_test(test_slow_names_two),         cmocka_unit_test(test_slow_wants_all_ranks),
        cmocka_unit_test(test_slow_survives_the_wire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
