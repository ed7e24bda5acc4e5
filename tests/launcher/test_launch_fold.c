/* Identical lines of several ranks: one line with a count, each rank's order, nothing lost, nothing late. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launcher/fold.h"

struct place {
    struct ddp_sink sink; /* keeps its tail only */
    struct ddp_fold fold;
};

static struct place *open_place(int ranks)
{
    struct place *p = ddp_calloc(1, sizeof *p);
    ddp_sink_init(&p->sink, -1, true);
    ddp_fold_init(&p->fold, &p->sink, ranks);
    return p;
}

static void close_place(struct place *p)
{
    ddp_fold_finish(&p->fold);
    ddp_sink_finish(&p->sink);
    free(p);
}

/* "0A": rank 0 prints the line A; "?A": nobody knows who does; "1(A": rank 1 prints a part "A". */
static void say(struct place *p, const char *word, double now)
{
    char line[64];
    const int rank = *word == '?' ? -1 : *word - '0';
    if (word[1] == '(') {
        ddp_fold_part(&p->fold, rank, p, word + 2, strlen(word + 2));
        return;
    }
    snprintf(line, sizeof line, "%s\n", word + 1);
    ddp_fold_put(&p->fold, rank, line, strlen(line), now);
}

static void test_fold_counts_who_says_the_same(void **state)
{
    static const struct {
        int ranks;
        const char *said[12], *shown;
    } table[] = {
        {1, {"0A", "0A", "0B"}, "A\nA\nB\n"},
        {2, {"0A"}, "A\n"},
        {2, {"1A"}, "rank 1: A\n"},
        {2, {"0A", "1A"}, "all 2 ranks: A\n"},
        {3, {"1A", "0A"}, "2 ranks (0-1): A\n"},
        {9, {"8A", "0A", "5A", "6A", "2A", "3A", "4A"}, "7 ranks (0,2-6,8): A\n"},
        {3,
         {"0A", "0B", "1A", "1B", "1C", "2A", "2C"},
         "all 3 ranks: A\n2 ranks (0-1): B\n2 ranks (1-2): C\n"},
        /* what a rank repeats is no other's word */
        {2, {"0A", "0A"}, "A\nA\n"},
        {2, {"0A", "0A", "1A", "1A"}, "all 2 ranks: A\nall 2 ranks: A\n"},
        /* the order of each rank */
        {2, {"0A", "0B", "1B", "1A"}, "A\nall 2 ranks: B\nrank 1: A\n"},
        {2, {"0A", "1B", "1A", "0B"}, "A\nall 2 ranks: B\nrank 1: A\n"},
        /* lines differ by one letter, or one is the beginning of the other */
        {2, {"0AB", "1A", "1AC"}, "AB\nrank 1: A\nrank 1: AC\n"},
        {2, {"0", "1"}, "all 2 ranks: \n"},
        /* nobody knows whose lines they are */
        {4, {"?A", "?A", "?A", "?B", "?A"}, "3 times: A\nB\nA\n"},
        {4, {"?A", "?B", "?A", "?B"}, "2 times: A\n2 times: B\n"},
        {4, {"?X", "?A", "?B", "?A", "?B", "?A", "?Y"}, "X\n2 times: A\n2 times: B\nA\nY\n"},
        {4, {"?A", "?A", "?B", "?A", "?B", "?C"}, "3 times: A\n2 times: B\nC\n"},
        {4, {"?A", "?B", "?C", "?A", "?B", "?C", "?A", "?B", "?C"}, "3 times: A\n3 times: B\n3 times: C\n"},
        {4, {"?A", "?B", "?C", "?A", "?C", "?B"}, "A\nB\nC\nA\nC\nB\n"},
        {2, {"0A", "0B", "0A", "0B"}, "A\nB\nA\nB\n"}, /* known to be one rank's */
        /* part of a line goes on at once, behind what its rank has said */
        {2, {"0A", "1A", "1B", "0(C"}, "all 2 ranks: A\nC\nrank 1: B\n"},
        {2, {"1A", "0(C"}, "C\nrank 1: A\n"},
        {2, {"?A", "?(C"}, "A\nC"},
        {2, {"?A", "?B", "?A", "?B", "?D", "?(C"}, "2 times: A\n2 times: B\nD\nC"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct place *p = open_place(table[i].ranks);
        for (int k = 0; k < 12 && table[i].said[k]; k++)
            say(p, table[i].said[k], 1);
        ddp_fold_move(&p->fold, HUGE_VAL);
        assert_string_equal(p->sink.tail, table[i].shown);
        assert_true(isinf(ddp_fold_due(&p->fold)));
        close_place(p);
    }
}

static void test_fold_waits_no_longer_than_it_says(void **state)
{
    struct place *p = open_place(3);
    (void)state;
    say(p, "0A", 10);
    say(p, "1B", 10 + DDP_FOLD_S / 2);
    say(p, "1A", 10 + DDP_FOLD_S / 2); /* does not make A wait longer */
    assert_true(ddp_fold_due(&p->fold) == 10 + DDP_FOLD_S);
    assert_string_equal(p->sink.tail, "");
    ddp_fold_move(&p->fold, 10 + DDP_FOLD_S);
    assert_string_equal(p->sink.tail, "A\n");
    assert_true(ddp_fold_due(&p->fold) == 10 + DDP_FOLD_S / 2 + DDP_FOLD_S);
    say(p, "2A", 10 + DDP_FOLD_S); /* joins rank 1's */
    ddp_fold_move(&p->fold, 10 + 2 * DDP_FOLD_S);
    assert_string_equal(p->sink.tail, "A\nrank 1: B\n2 ranks (1-2): A\n");
    say(p, "0C", 20);
    say(p, "1C", 20 + DDP_FOLD_S); /* also without being asked */
    assert_string_equal(p->sink.tail, "A\nrank 1: B\n2 ranks (1-2): A\n2 ranks (0-1): C\n");
    close_place(p);
}

static void test_fold_of_one_rank_holds_nothing(void **state)
{
    struct place *p = open_place(1);
    (void)state;
    say(p, "0A", 10);
    assert_string_equal(p->sink.tail, "A\n");
    say(p, "?A", 10);
    assert_string_equal(p->sink.tail, "A\nA\n");
    close_place(p);
}

/* Lines of a rank that prints without end are shown without waiting; what is held is bounded. */
static void test_fold_holds_a_bounded_amount(void **state)
{
    enum { MANY = 3 * DDP_FOLD_LINES };
    struct place *p = open_place(2);
    char word[64], *big = ddp_calloc(1, DDP_FOLD_BYTES + 1);
    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(word, sizeof word, "1%d", i);
        say(p, word, 10);
        assert_in_range(p->fold.n, 1, DDP_FOLD_LINES);
    }
    snprintf(word, sizeof word, "rank 1: %d\n", MANY - DDP_FOLD_LINES - 1);
    assert_true(strlen(p->sink.tail) > strlen(word));
    assert_string_equal(p->sink.tail + strlen(p->sink.tail) - strlen(word), word);
    memset(big, 'x', DDP_FOLD_BYTES - 1);
    big[DDP_FOLD_BYTES - 1] = '\n';
    ddp_fold_put(&p->fold, 1, big, DDP_FOLD_BYTES, 10);
    assert_int_equal(p->fold.n, 1);
    ddp_fold_put(&p->fold, 0, big, DDP_FOLD_BYTES, 10);
    assert_int_equal(p->fold.n, 1);
    assert_int_equal(p->fold.line[0].count, 2);
    say(p, "1A", 10);
    assert_int_equal(p->fold.n, 1);
    close_place(p);
    free(big);
}

/* Whether "0,2-4: .." names the rank. */
static bool list_has(const char *list, int rank)
{
    for (char *end; *list >= '0' && *list <= '9'; list = *end == ',' ? end + 1 : end) {
        const long first = strtol(list, &end, 10), last = *end == '-' ? strtol(end + 1, &end, 10) : first;
        if (rank >= first && rank <= last)
            return true;
    }
    return false;
}

/* What a rank has said, by what is shown: its letters in order. */
static void read_of(const char *shown, int rank, char *out)
{
    for (const char *line = shown; *line; line = strchr(line, '\n') + 1) {
        const char *end = strchr(line, '\n'), *open = memchr(line, '(', (size_t)(end - line));
        const bool said = strncmp(line, "all ", 4) == 0    ? true
                          : strncmp(line, "rank ", 5) == 0 ? list_has(line + 5, rank)
                          : open                           ? list_has(open + 1, rank)
                                                           : rank == 0;
        if (said)
            *out++ = end[-1];
    }
    *out = '\0';
}

/* Ranks that say anything in any order: what each has said can be read from what is shown. */
static void test_fold_keeps_what_each_rank_says(void **state)
{
    enum { RANKS = 4, WORDS = 60, ROUNDS = 500 };
    uint32_t seed = 1;
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct place *p = open_place(RANKS);
        char said[RANKS][WORDS + 1] = {{0}}, read[WORDS + 1];
        double now = 10;
        for (int i = 0; i < WORDS; i++) {
            seed = seed * 1664525u + 1013904223u;
            const int rank = (int)(seed >> 30), letters = 1 + round % 3;
            const char letter = (char)('A' + (int)(seed >> 20 & 255) % letters);
            char word[] = {(char)('0' + rank), letter, '\0'};
            said[rank][strlen(said[rank])] = letter;
            say(p, word, now);
            now += DDP_FOLD_S * (seed >> 12 & 255) / 1024;
        }
        ddp_fold_move(&p->fold, HUGE_VAL);
        for (int r = 0; r < RANKS; r++) {
            read_of(p->sink.tail, r, read);
            assert_string_equal(read, said[r]);
        }
        close_place(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fold_counts_who_says_the_same),
        cmocka_unit_test(test_fold_keeps_what_each_rank_says),
        cmocka_unit_test(test_fold_waits_no_longer_than_it_says),
        cmocka_unit_test(test_fold_of_one_rank_holds_nothing),
        cmocka_unit_test(test_fold_holds_a_bounded_amount),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
