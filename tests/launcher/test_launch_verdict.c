/* From what supervision saw to words and an exit code. Wait statuses are written as the kernel encodes them:
 * exit status shifted by 8, or the signal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "launcher/verdict.h"

static const struct {
    const char *name;
    struct ddp_outcome o;
    const char *tail;
    int code;
    const char *says; /* "": nothing at all */
} cases[] = {
    {"done", {.ranks = 2, .joined = 2, .byes = 2}, "", 0, ""},
    {"stopped",
     {.ranks = 2, .joined = 2, .byes = 2, .stopped = 2, .stop_signal = SIGINT, .saved = "runs/x"},
     "",
     75,
     "stopped by SIGINT; state saved in runs/x; --resume"},
    {"stopped, with the command to go on",
     {.ranks = 2,
      .joined = 2,
      .byes = 2,
      .stopped = 2,
      .saved = "my runs/x",
      .again = "ddp-launch -n 2 --resume "},
     "",
     75,
     "state saved in my runs/x\nddp-launch: to go on: ddp-launch -n 2 --resume 'my runs/x'\n"},
    {"stopped, mpirun unhappy",
     {.ranks = 2, .joined = 2, .byes = 2, .stopped = 2, .stop_signal = SIGTERM, .starter_status = 75 << 8},
     "",
     75,
     "stopped by SIGTERM after saving"},
    {"stopped evaluation",
     {.ranks = 2, .joined = 2, .byes = 2, .stopped = 2, .stop_signal = SIGINT, .evaluates = true},
     "",
     75,
     "stopped by SIGINT before the evaluation was over\n"},
    {"stop came too late", {.ranks = 2, .joined = 2, .byes = 2, .stop_signal = SIGINT}, "", 0, ""},
    {"second signal",
     {.ranks = 2, .joined = 2, .stop_signal = SIGINT, .killed = true, .failure = {.known = true}},
     "",
     130,
     "ended at once by a second signal"},
    {"too late",
     {.ranks = 3,
      .joined = 3,
      .byes = 1,
      .stopped = 1,
      .stop_signal = SIGTERM,
      .late = "ranks 0 and 2 on n0",
      .grace = 30},
     "",
     4,
     "ranks 0 and 2 on n0 did not stop within 30 s of SIGTERM (launch.grace)"},
    {"too late, and a second signal",
     {.ranks = 2, .joined = 2, .stop_signal = SIGTERM, .killed = true, .late = "rank 1", .grace = 30},
     "",
     130,
     "ended at once by a second signal"},
    {"killed rank",
     {.ranks = 4,
      .joined = 4,
      .failure = {.known = true, .rank = 3, .reason = "was killed by signal 9 (Killed)"}},
     "",
     4,
     "ddp-launch: rank 3 on n0 was killed by signal 9 (Killed)\n"},
    {"killed by the out-of-memory killer",
     {.ranks = 4,
      .joined = 4,
      .memory = "; memory ran out: more",
      .failure = {.known = true, .rank = 3, .reason = "was killed by signal 9 (Killed)"}},
     "",
     4,
     "ddp-launch: rank 3 on n0 was killed by signal 9 (Killed); memory ran out: more\n"},
    {"killed while stopping",
     {.ranks = 4,
      .joined = 4,
      .stop_signal = SIGINT,
      .failure = {.known = true, .rank = 1, .reason = "was killed by signal 9 (Killed)"}},
     "",
     4,
     "rank 1 on n0 was killed"},
    {"config error",
     {.ranks = 2,
      .joined = 2,
      .failure = {.known = true, .error = true, .rank = 1, .status = 2, .reason = "fc1: bad"}},
     "",
     2,
     "ddp-launch: rank 1 on n0 failed: fc1: bad\n"},
    {"data error",
     {.ranks = 2,
      .joined = 2,
      .failure = {.known = true, .error = true, .rank = 0, .status = 3, .reason = "no data"}},
     "",
     3,
     "rank 0 on n0 failed: no data"},
    {"numeric error",
     {.ranks = 2,
      .joined = 2,
      .failure = {.known = true, .error = true, .rank = 0, .status = 4, .reason = "NaN"}},
     "",
     4,
     "rank 0 on n0 failed: NaN"},
    {"agreed error names the first",
     {.ranks = 8,
      .joined = 8,
      .failure = {.known = true, .error = true, .rank = 0, .status = 3, .reason = "rank 5: disk full"}},
     "",
     3,
     "rank 5 on n0 failed: disk full\n"},
    {"tail of a silent death",
     {.ranks = 2,
      .joined = 2,
      .failure = {.known = true, .rank = 1, .reason = "was killed by signal 6 (Aborted)"}},
     "assertion x",
     4,
     "last lines of the ranks:\nassertion x\n"},
    {"mpirun killed",
     {.ranks = 2, .joined = 2, .starter_status = SIGKILL},
     "",
     4,
     "mpirun on n0 was killed by signal 9 (Killed)"},
    {"nobody came",
     {.ranks = 2, .joined = 0, .starter_status = 127 << 8},
     "",
     4,
     "0 of 2 ranks on n0 reported to ddp-launch (a --program must be one on the ddp library); mpirun ended "
     "with exit status 127 and said:\nblah\n"},
    {"some came",
     {.ranks = 3, .joined = 2, .byes = 2},
     "",
     4,
     "2 of 3 ranks on n0 reported to ddp-launch; mpirun ended with exit status 0"},
    {"mpirun fails after all",
     {.ranks = 2, .joined = 2, .byes = 2, .starter_status = 1 << 8},
     "",
     4,
     "2 of 2 ranks on n0 ended cleanly; mpirun"},
    {"we ended a slow mpirun",
     {.ranks = 2, .joined = 2, .byes = 2, .starter_status = SIGKILL, .starter_killed = true},
     "",
     0,
     ""},
    {"silent program", {.ranks = 2, .joined = 0}, "", 4, "must be one on the ddp library"},
};

static void test_verdict_follows_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++) {
        struct ddp_text say;
        ddp_text_init(&say);
        const int code = ddp_verdict(&cases[i].o, "n0", "mpirun", "blah\n", cases[i].tail, &say);
        if (code != cases[i].code)
            fail_msg("%s: exit code %d, not %d", cases[i].name, code, cases[i].code);
        if (*cases[i].says ? !strstr(say.s, cases[i].says) : say.len > 0)
            fail_msg("%s: said '%s'", cases[i].name, say.s);
        ddp_text_finish(&say);
    }
}

/* The first failure counts, but one that says why comes before one that only ended. */
static void test_verdict_notes_the_first_failure(void **state)
{
    struct ddp_outcome o = {0};
    (void)state;
    ddp_outcome_fail(&o, "n0", 2, false, 0, "was killed");
    ddp_outcome_fail(&o, "n0", 3, false, 5, "ended");
    assert_int_equal(o.failure.rank, 2);
    assert_string_equal(o.failure.reason, "was killed");
    ddp_outcome_fail(&o, "n0", 1, true, 3, "no data");
    ddp_outcome_fail(&o, "n0", 0, true, 2, "no config");
    ddp_outcome_fail(&o, "n0", 2, false, 0, "was killed");
    assert_int_equal(o.failure.rank, 1);
    assert_int_equal(o.failure.status, 3);
    assert_true(o.failure.error);
    assert_string_equal(o.failure.reason, "no data");
}

static void clear(struct ddp_text *t)
{
    t->len = 0;
    t->s[0] = '\0';
}

/* Of several hosts: who is named, and where. */
static void test_verdict_names_the_host(void **state)
{
    static const char *const host_of[] = {"n0", "n0", "n1", "n1"};
    struct ddp_outcome o = {.ranks = 4, .joined = 4, .host_of = host_of};
    struct ddp_text say;
    (void)state;
    ddp_text_init(&say);
    ddp_outcome_cut(&o, "n0", 1, 4, "MPI_Wait failed: connection reset");
    ddp_outcome_cut(&o, "n0", 0, 4, "MPI_Wait failed: connection reset");
    assert_int_equal(ddp_verdict(&o, "head", "mpirun", "", "", &say), 4);
    assert_string_equal(say.s, "ddp-launch: rank 1 on n0 failed: MPI_Wait failed: connection reset\n");
    ddp_outcome_fail(&o, "n1", 3, false, 0, "was killed by signal 9 (Killed)"); /* that was why */
    clear(&say);
    ddp_verdict(&o, "head", "mpirun", "", "", &say);
    assert_string_equal(say.s, "ddp-launch: rank 3 on n1 was killed by signal 9 (Killed)\n");
    ddp_outcome_lose(&o, "n1", "does not answer any more"); /* and this is why it was killed */
    ddp_outcome_fail(&o, "n0", 0, false, 0, "was killed by signal 15 (Terminated)");
    ddp_outcome_fail(&o, "n0", 0, true, 3, "no data");
    clear(&say);
    assert_int_equal(ddp_verdict(&o, "head", "mpirun", "", "", &say), 4);
    assert_string_equal(say.s, "ddp-launch: host n1 does not answer any more\n");

    o = (struct ddp_outcome){.ranks = 4, .joined = 4, .host_of = host_of};
    ddp_outcome_fail(&o, "n0", 0, true, 3, "rank 2: no data"); /* agreed: rank 0 speaks */
    clear(&say);
    ddp_verdict(&o, "head", "mpirun", "", "", &say);
    assert_string_equal(say.s, "ddp-launch: rank 2 on n1 failed: no data\n");

    o = (struct ddp_outcome){
        .ranks = 4, .joined = 4, .byes = 4, .starter_status = 255 << 8, .host_of = host_of};
    clear(&say); /* a host lost power when its ranks had ended */
    assert_int_equal(ddp_verdict(&o, "head", "mpirun", "A daemon was lost.\n", "", &say), 0);
    assert_string_equal(say.s,
                        "ddp-launch: warning: mpirun failed when all ranks had ended cleanly, and said:\n"
                        "A daemon was lost.\n");

    o = (struct ddp_outcome){.ranks = 4, .joined = 3, .starter_status = 1 << 8, .host_of = host_of};
    clear(&say);
    assert_int_equal(ddp_verdict(&o, "head", "mpirun", "", "", &say), 4); /* not all of them on the head */
    assert_string_equal(say.s,
                        "ddp-launch: 3 of 4 ranks reported to ddp-launch; mpirun ended with exit status 1\n");
    ddp_text_finish(&say);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_verdict_follows_the_table),
                                       cmocka_unit_test(test_verdict_notes_the_first_failure),
                                       cmocka_unit_test(test_verdict_names_the_host)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
