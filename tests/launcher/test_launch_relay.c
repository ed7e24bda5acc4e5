/* Passing output on: unchanged, partial lines at once, mpirun's own talk kept aside. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "launcher/relay.h"

#define RULE "--------------------------------------------------------------------------\n"

struct pipes {
    int in[2], out[2];
    struct ddp_text own;
    struct ddp_sink sink;
    struct ddp_fold fold;
    struct ddp_relay relay;
};

static void open_pipes(struct pipes *p, bool discard, int ranks)
{
    assert_int_equal(pipe2(p->in, O_NONBLOCK), 0);
    assert_int_equal(pipe2(p->out, O_NONBLOCK), 0);
    ddp_text_init(&p->own);
    ddp_sink_init(&p->sink, p->out[1], discard);
    ddp_fold_init(&p->fold, &p->sink, ranks);
    ddp_relay_init(&p->relay, &ddp_starter_mpirun, p->in[0], 0, &p->fold, &p->own);
}

static void feed(struct pipes *p, const char *s)
{
    assert_int_equal(write(p->in[1], s, strlen(s)), strlen(s));
    ddp_relay_move(&p->relay);
}

static const char *received(struct pipes *p)
{
    static char buf[65536];
    const ssize_t n = read(p->out[0], buf, sizeof buf - 1);
    buf[n > 0 ? n : 0] = '\0';
    return buf;
}

static void close_pipes(struct pipes *p)
{
    ddp_relay_finish(&p->relay);
    ddp_fold_finish(&p->fold);
    ddp_sink_finish(&p->sink);
    ddp_text_finish(&p->own);
    close(p->out[0]);
    close(p->out[1]);
}

static void drain(struct pipes *p)
{
    close(p->in[1]);
    ddp_relay_hurry(&p->relay);
    while (p->relay.from >= 0)
        ddp_relay_move(&p->relay);
    ddp_fold_move(&p->fold, HUGE_VAL);
    ddp_sink_drain(&p->sink);
}

static void test_relay_sorts_lines(void **state)
{
    static const struct {
        const char *in, *out, *own;
    } table[] = {
        {"hello\nworld\n", "hello\nworld\n", ""},
        {"no newline", "no newline", ""},
        {"", "", ""},
        {"- a list\n-\n", "- a list\n-\n", ""},
        {RULE "mpirun noticed that\nall is lost\n" RULE "after\n", "after\n",
         RULE "mpirun noticed that\nall is lost\n" RULE},
        {"before\n" RULE "Primary job ended\n" RULE, "before\n", RULE "Primary job ended\n" RULE},
        /* a table of a rank between the same rules is not mpirun's */
        {RULE "layer  shape\n" RULE "conv   1\n", RULE "layer  shape\n" RULE "conv   1\n", ""},
        {RULE "never closed\n", RULE "never closed\n", ""},
        {RULE "mpirun never closed", "", RULE "mpirun never closed"},
        {"mpirun: Forwarding signal 18 to job\nx\n", "x\n", "mpirun: Forwarding signal 18 to job\n"},
        {"[n0:7] 3 more processes have sent help message help-mpi-api.txt\n[n0:7] mine\n", "[n0:7] mine\n",
         "[n0:7] 3 more processes have sent help message help-mpi-api.txt\n"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++)
        for (int bytewise = 0; bytewise < 2; bytewise++) {
            struct pipes p;
            open_pipes(&p, false, 1);
            if (bytewise)
                for (const char *s = table[i].in; *s; s++)
                    feed(&p, (char[]){*s, '\0'});
            else
                feed(&p, table[i].in);
            drain(&p);
            assert_string_equal(received(&p), table[i].out);
            assert_string_equal(p.own.s, table[i].own);
            close_pipes(&p);
        }
}

static void test_relay_passes_a_progress_line_at_once(void **state)
{
    struct pipes p;
    (void)state;
    open_pipes(&p, false, 1);
    feed(&p, "\rstep 1");
    assert_string_equal(received(&p), "\rstep 1");
    feed(&p, "\rstep 2");
    assert_string_equal(received(&p), "\rstep 2");
    assert_true(p.relay.midline);
    feed(&p, "\n");
    assert_false(p.relay.midline);
    drain(&p);
    close_pipes(&p);
}

static void test_relay_keeps_the_tail_when_quiet(void **state)
{
    struct pipes p;
    char line[101];
    (void)state;
    open_pipes(&p, true, 1);
    memset(line, 'x', 99);
    line[99] = '\n';
    line[100] = '\0';
    for (int i = 0; i < 100; i++)
        feed(&p, line);
    feed(&p, "the last words\n");
    drain(&p);
    assert_string_equal(received(&p), "");
    assert_int_equal(strlen(p.sink.tail), DDP_SINK_TAIL);
    assert_string_equal(p.sink.tail + DDP_SINK_TAIL - 15, "the last words\n");
    close_pipes(&p);
}

/* Nobody reads: supervision goes on, and all arrives once somebody does. */
static void test_relay_does_not_block_on_a_full_pipe(void **state)
{
    struct pipes p;
    size_t sent = 0, got = 0;
    char chunk[4097];
    (void)state;
    open_pipes(&p, false, 1);
    memset(chunk, 'y', 4096);
    chunk[4096] = '\0';
    for (int i = 0; i < 30; i++) {
        ssize_t n = write(p.in[1], chunk, 4096);
        sent += n > 0 ? (size_t)n : 0;
        ddp_relay_move(&p.relay);
    }
    assert_int_equal(ddp_relay_poll(&p.relay).fd, -1);
    assert_int_equal(ddp_sink_poll(&p.sink).fd, p.out[1]);
    close(p.in[1]);
    for (int i = 0; i < 200; i++) {
        got += strlen(received(&p));
        ddp_relay_move(&p.relay);
    }
    assert_int_equal(got, sent);
    close_pipes(&p);
}

/* Whoever printed has ended and does not wait for our reader: all of it is read, and written at the end. */
static void test_relay_in_a_hurry_reads_all(void **state)
{
    struct pipes p;
    size_t got = 0;
    char chunk[4097];
    (void)state;
    open_pipes(&p, false, 1);
    memset(chunk, 'y', 4096);
    chunk[4096] = '\0';
    ddp_relay_hurry(&p.relay);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(write(p.in[1], chunk, 4096), 4096);
        assert_int_equal(ddp_relay_poll(&p.relay).fd, p.in[0]);
        ddp_relay_move(&p.relay);
    }
    close(p.in[1]);
    ddp_relay_move(&p.relay);
    assert_int_equal(p.relay.from, -1);
    assert_int_equal(ddp_sink_poll(&p.sink).fd, p.out[1]);
    for (int i = 0; i < 200; i++) {
        got += strlen(received(&p));
        ddp_relay_move(&p.relay);
    }
    assert_int_equal(got, 30 * 4096);
    close_pipes(&p);
}

/* Ranks with pipes of their own: lines never mix, and say whose they are; a progress line of rank 0 is left
 * alone. */
static void test_relay_keeps_lines_of_ranks_apart(void **state)
{
    static const struct {
        int rank; /* -1: both streams end */
        const char *in, *out;
    } steps[] = {
        {1, "half", ""},
        {0, "\rstep 1", "\rstep 1"},
        {1, " a line\nand ", "\nrank 1: half a line\n"},
        {0, "\rstep 2\n", "\rstep 2\n"},
        {0, RULE, RULE},
        {1, RULE, "rank 1: and " RULE},
        {1, "mpirun: I am a rank\n", "rank 1: mpirun: I am a rank\n"},
        {1, "last", ""},
        {-1, "", "rank 1: last"},
    };
    struct pipes p;
    struct ddp_relay relay[2];
    int in[2][2];
    (void)state;
    open_pipes(&p, false, 2);
    for (int r = 0; r < 2; r++) {
        assert_int_equal(pipe2(in[r], O_NONBLOCK), 0);
        ddp_relay_init(&relay[r], &ddp_starter_local, in[r][0], r, &p.fold, &p.own);
    }
    for (size_t i = 0; i < DDP_COUNT(steps); i++) {
        if (steps[i].rank < 0) {
            close(in[0][1]);
            close(in[1][1]);
        } else {
            assert_int_equal(write(in[steps[i].rank][1], steps[i].in, strlen(steps[i].in)),
                             strlen(steps[i].in));
        }
        ddp_relay_move(&relay[0]);
        ddp_relay_move(&relay[1]);
        ddp_fold_move(&p.fold, HUGE_VAL);
        ddp_sink_move(&p.sink);
        assert_string_equal(received(&p), steps[i].out);
    }
    for (int r = 0; r < 2; r++)
        ddp_relay_finish(&relay[r]);
    assert_string_equal(p.own.s, "");
    drain(&p);
    close_pipes(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relay_sorts_lines),
        cmocka_unit_test(test_relay_passes_a_progress_line_at_once),
        cmocka_unit_test(test_relay_keeps_the_tail_when_quiet),
        cmocka_unit_test(test_relay_does_not_block_on_a_full_pipe),
        cmocka_unit_test(test_relay_in_a_hurry_reads_all),
        cmocka_unit_test(test_relay_keeps_lines_of_ranks_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
