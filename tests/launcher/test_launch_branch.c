/* Agents behind an agent: what they say and are told passes through it, and each end of a wire is told. The
 * agent in the middle is a process of its own, as the real one is; the head and those behind are this one. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "launcher/address.h"
#include "launcher/branch.h"
#include "launcher/hello.h"

static const double LIMIT_S = 30;
static const char token[] = "0123456789abcdef0123456789abcdef";

struct stage {
    struct ddp_wire middle, far[2]; /* of the head: to the agent in the middle, and to those behind it */
    struct ddp_wire behind[2];      /* theirs */
    pid_t process;                  /* the one in the middle */
    int port;
};

/* It sends back what is for itself, so that its own frames are seen between those of others. */
static void read_frames(struct ddp_branch *b, struct ddp_wire *head)
{
    struct ddp_frame frame;
    while (ddp_wire_next(head, &frame))
        if (frame.kind == DDP_WIRE_PASSED)
            ddp_branch_pass(b, &frame, head);
        else
            ddp_wire_send(head, frame.kind, frame.bytes, frame.n);
}

static void be_in_the_middle(struct ddp_branch *b, int fd)
{
    struct ddp_wire head;
    ddp_wire_init(&head, fd);
    head.most = DDP_WIRE_MOST;
    while (!head.over) {
        struct pollfd fds[80];
        read_frames(b, &head);
        fds[0] = ddp_wire_poll(&head);
        const int n = ddp_branch_watch(b, fds + 1);
        assert_true(n == ddp_branch_watches(b));
        poll(fds, (nfds_t)n + 1, 1000);
        ddp_branch_woken(b, fds + 1, &head);
        ddp_wire_move(&head);
    }
    read_frames(b, &head);
    ddp_branch_close(b);
    _exit(0);
}

static struct ddp_wire say_hello(int port, const char *word, int number, bool *known)
{
    struct ddp_words addresses = {0};
    struct ddp_wire w = {.fd = -1};
    ddp_words_add(&addresses, "127.0.0.1");
    *known = ddp_hello(&addresses, port, word, number, &w);
    ddp_words_finish(&addresses);
    return w;
}

static void open_stage(struct stage *s, int behind)
{
    struct ddp_error err = {0};
    struct ddp_branch b;
    int pair[2];
    *s = (struct stage){.process = -1};
    assert_int_equal(ddp_branch_open(&b, behind, token, &s->port, &err), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    s->process = fork();
    if (s->process == 0) {
        close(pair[0]);
        be_in_the_middle(&b, pair[1]);
    }
    close(pair[1]);
    ddp_branch_close(&b);
    ddp_wire_init(&s->middle, pair[0]);
    s->middle.most = DDP_WIRE_MOST;
    for (int i = 0; i < 2; i++)
        s->far[i].fd = s->behind[i].fd = -1;
    for (int i = 0; i < behind; i++) {
        bool known;
        s->behind[i] = say_hello(s->port, token, i, &known);
        assert_true(known);
        int unused[2]; /* the wire by which the head knew it before */
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, unused), 0);
        ddp_wire_init(&s->far[i], unused[0]);
        s->far[i].most = DDP_WIRE_MOST;
        close(unused[1]);
        ddp_wire_carry(&s->far[i], &s->middle, i);
        assert_int_equal(s->far[i].fd, -1);
    }
}

static void close_stage(struct stage *s)
{
    ddp_wire_finish(&s->middle);
    for (int i = 0; i < 2; i++) {
        ddp_wire_finish(&s->far[i]);
        ddp_wire_finish(&s->behind[i]);
    }
    assert_int_equal(waitpid(s->process, NULL, 0), s->process);
}

/* The head waits for a frame on any of its wires: all come by the one that has a socket. */
static bool head_hears(struct stage *s, struct ddp_wire *from, struct ddp_frame *out)
{
    for (const double end = ddp_now() + LIMIT_S; ddp_now() < end && !from->over;) {
        if (ddp_wire_next(from, out))
            return true;
        struct pollfd p = ddp_wire_poll(&s->middle);
        poll(&p, 1, 100);
        ddp_wire_move(&s->middle);
    }
    return ddp_wire_next(from, out);
}

static void assert_frame(const struct ddp_frame *f, enum ddp_wire_kind kind, const char *bytes, size_t n)
{
    assert_int_equal(f->kind, kind);
    assert_int_equal(f->n, n);
    assert_memory_equal(f->bytes, bytes, n);
    assert_int_equal(f->bytes[n], 0);
}

/* ---- both ways ------------------------------------------------------------------------------- */

static void test_frames_reach_whom_they_are_for(void **state)
{
    enum { LARGE = 3 << 20 };
    static const char word[] = "a word";
    struct stage s;
    struct ddp_frame f;
    char *large = ddp_calloc(LARGE, 1);
    (void)state;
    for (int i = 0; i < LARGE; i++)
        large[i] = (char)(i * 31 >> 3);
    open_stage(&s, 2);
    for (int i = 0; i < 2; i++) {
        ddp_wire_send(&s.far[i], DDP_WIRE_TASK, word, (size_t)i);
        assert_true(ddp_wire_wait(&s.behind[i], ddp_now() + LIMIT_S, &f));
        assert_frame(&f, DDP_WIRE_TASK, word, (size_t)i);
    }
    ddp_wire_send(&s.behind[1], DDP_WIRE_NEWS, word, sizeof word);
    ddp_wire_send(&s.middle, DDP_WIRE_NOTE, "own", 3);
    assert_true(head_hears(&s, &s.far[1], &f));
    assert_frame(&f, DDP_WIRE_NEWS, word, sizeof word);
    assert_true(head_hears(&s, &s.middle, &f));
    assert_frame(&f, DDP_WIRE_NOTE, "own", 3);
    assert_false(ddp_wire_next(&s.far[0], &f));

    if (fork() == 0) { /* larger than any socket's buffer */
        ddp_wire_send(&s.behind[0], DDP_WIRE_ANSWER, large, LARGE);
        ddp_wire_flush(&s.behind[0], ddp_now() + LIMIT_S);
        _exit(0);
    }
    assert_true(head_hears(&s, &s.far[0], &f));
    assert_frame(&f, DDP_WIRE_ANSWER, large, LARGE);
    wait(NULL);
    free(large);
    close_stage(&s);
}

/* A frame has half come when the wire begins to carry others. */
static void test_half_a_frame_is_not_lost(void **state)
{
    struct ddp_wire carries, carried = {.fd = -1};
    struct ddp_frame f;
    int pair[2];
    const struct {
        uint32_t kind, bytes;
        char text[6];
    } frame = {DDP_WIRE_ANSWER, 6, "whole"};
    (void)state;
    ddp_text_init(&carried.in);
    carried.most = DDP_WIRE_MOST;
    for (size_t cut = 0; cut <= sizeof frame; cut++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        ddp_wire_init(&carries, pair[0]);
        assert_int_equal(send(pair[1], &frame, cut, 0), cut);
        ddp_wire_move(&carries);
        ddp_wire_carry(&carried, &carries, 1);
        assert_int_equal(send(pair[1], (const char *)&frame + cut, sizeof frame - cut, 0),
                         sizeof frame - cut);
        ddp_wire_move(&carries);
        assert_true(ddp_wire_next(&carries, &f));
        assert_frame(&f, DDP_WIRE_ANSWER, "whole", 6);
        assert_false(ddp_wire_next(&carries, &f));
        assert_false(carried.over);
        carries.carried[1] = NULL; /* it is used again */
        carried.by = NULL;
        ddp_wire_finish(&carries);
        close(pair[1]);
    }
    ddp_wire_finish(&carried);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void test_one_that_is_gone_is_told_and_the_other_lives(void **state)
{
    struct stage s;
    struct ddp_frame f;
    (void)state;
    open_stage(&s, 2);
    ddp_wire_send(&s.behind[0], DDP_WIRE_NEWS, "last", 4);
    ddp_wire_finish(&s.behind[0]);
    assert_true(head_hears(&s, &s.far[0], &f));
    assert_frame(&f, DDP_WIRE_NEWS, "last", 4);
    assert_false(head_hears(&s, &s.far[0], &f));
    assert_true(s.far[0].over);
    assert_string_equal(s.far[0].why, "closed the connection");
    ddp_wire_send(&s.far[1], DDP_WIRE_ORDER, "go", 2);
    assert_true(ddp_wire_wait(&s.behind[1], ddp_now() + LIMIT_S, &f));
    assert_frame(&f, DDP_WIRE_ORDER, "go", 2);
    assert_false(s.far[1].over || s.middle.over);
    close_stage(&s);
}

/* One that went before the head had noted where it is: the next word to it tells. */
static void test_a_word_to_one_that_is_not_there(void **state)
{
    struct stage s;
    struct ddp_frame f;
    (void)state;
    open_stage(&s, 1);
    ddp_text_init(&s.far[1].in);
    ddp_text_init(&s.far[1].out);
    s.far[1].most = DDP_WIRE_MOST;
    ddp_wire_carry(&s.far[1], &s.middle, 7);
    ddp_wire_send(&s.far[1], DDP_WIRE_ORDER, "go", 2);
    assert_false(head_hears(&s, &s.far[1], &f));
    assert_string_equal(s.far[1].why, "is gone");
    assert_false(s.far[0].over);
    close_stage(&s);
}

static void test_all_end_with_the_one_in_the_middle(void **state)
{
    struct stage s;
    struct ddp_frame f;
    (void)state;
    open_stage(&s, 2);
    kill(s.process, SIGKILL);
    assert_false(head_hears(&s, &s.far[1], &f));
    assert_true(s.middle.over && s.far[0].over);
    assert_string_equal(s.middle.why, "closed the connection");
    assert_string_equal(s.far[0].why, "is behind another host's, which closed the connection");
    for (int i = 0; i < 2; i++) {
        assert_false(ddp_wire_wait(&s.behind[i], ddp_now() + LIMIT_S, &f));
        assert_true(s.behind[i].over);
    }
    ddp_wire_send(&s.far[0], DDP_WIRE_BYE, "", 0); /* goes nowhere */
    close_stage(&s);
}

/* The head dismisses those behind first, then the one in the middle, which lets that go before it ends. */
static void test_goodbye_reaches_those_behind(void **state)
{
    struct stage s;
    struct ddp_frame f;
    (void)state;
    open_stage(&s, 2);
    for (int i = 0; i < 2; i++)
        ddp_wire_send(&s.far[i], DDP_WIRE_BYE, "", 0);
    ddp_wire_finish(&s.middle);
    assert_true(s.far[0].over && s.far[1].over);
    for (int i = 0; i < 2; i++) {
        assert_true(ddp_wire_wait(&s.behind[i], ddp_now() + LIMIT_S, &f));
        assert_frame(&f, DDP_WIRE_BYE, "", 0);
        assert_false(ddp_wire_wait(&s.behind[i], ddp_now() + LIMIT_S, &f));
        assert_true(s.behind[i].over);
    }
    close_stage(&s);
}

static void test_strangers_are_sent_away(void **state)
{
    struct stage s;
    struct ddp_frame f;
    bool known;
    (void)state;
    open_stage(&s, 1);
    say_hello(s.port, "fedcba9876543210fedcba9876543210", 0, &known);
    assert_false(known);
    say_hello(s.port, token, DDP_HELLO_HEAD, &known); /* an agent that takes it for the head */
    assert_false(known);
    ddp_wire_send(&s.behind[0], DDP_WIRE_NEWS, "here", 4);
    assert_true(head_hears(&s, &s.far[0], &f));
    assert_frame(&f, DDP_WIRE_NEWS, "here", 4);
    close_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_reach_whom_they_are_for),
        cmocka_unit_test(test_half_a_frame_is_not_lost),
        cmocka_unit_test(test_one_that_is_gone_is_told_and_the_other_lives),
        cmocka_unit_test(test_a_word_to_one_that_is_not_there),
        cmocka_unit_test(test_all_end_with_the_one_in_the_middle),
        cmocka_unit_test(test_goodbye_reaches_those_behind),
        cmocka_unit_test(test_strangers_are_sent_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
