/* Cores that other jobs hold: seen between processes and users, gone with their holder however it ends, and
 * left alone by plans as long as there are others. */
#include "machines.h"

#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char folder[] = "/tmp/ddp-test-claim-XXXXXX";

/* "0,2": which cores of the machine are held, by their first hardware thread. */
static void held_text(const struct ddp_machine *m, char *text)
{
    const struct ddp_place_request req = {.ranks = 1, .threads = 1, .policy = DDP_PLACE_NONE};
    struct ddp_placement *p;
    struct ddp_error err = {0};
    char *s = text;
    *s = '\0';
    assert_int_equal(ddp_placement_create(m, &req, &p, &err), 0);
    char *map = ddp_placement_map(m, p, NULL); /* "    core      0 1" and below it "    rank      x ." */
    for (char *line = map, *core = NULL; line && *line; line = strchr(line, '\n') + 1) {
        if (strncmp(line, "    core ", 9) == 0)
            core = line;
        for (char *c = line + 12; core && strncmp(line, "    rank ", 9) == 0 && *c != '\n'; c++)
            if (*c == 'x')
                s += sprintf(s, "%s%d", s > text ? "," : "", core[c - line] - '0');
        if (!strchr(line, '\n'))
            break;
    }
    free(map);
    ddp_placement_destroy(p);
}

struct holder {
    pid_t pid;
    int go; /* a byte: end */
};

/* A process that holds these hardware threads; as another user where uid is not 0, in the name spaces of
 * another container (unshare's flags). */
static struct holder hold_elsewhere(const int *pus, int n, uid_t uid, int spaces)
{
    int ready[2], go[2];
    char byte;
    assert_int_equal(pipe(ready) | pipe(go), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct ddp_claim claim;
        close(go[1]);
        if (spaces != 0 && unshare(spaces) != 0)
            _exit(1);
        const pid_t inner = spaces & CLONE_NEWPID ? fork() : 0; /* the first one in there */
        if (inner != 0)
            _exit(inner < 0 || waitpid(inner, NULL, 0) != inner);
        if (uid != 0 && setuid(uid) != 0)
            _exit(1);
        ddp_claim_open(&claim);
        ddp_claim_take(&claim, pus, n);
        (void)!write(ready[1], "x", 1);
        (void)!read(go[0], &byte, 1);
        _exit(0);
    }
    close(ready[1]);
    close(go[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return (struct holder){pid, go[1]};
}

static struct holder hold(const int *pus, int n, uid_t uid)
{
    return hold_elsewhere(pus, n, uid, 0);
}

static void end(const struct holder *h, int signal)
{
    if (signal)
        kill(h->pid, signal);
    else
        assert_int_equal(write(h->go, "x", 1), 1); /* closing would not do: later children have it, too */
    close(h->go);
    assert_int_equal(waitpid(h->pid, NULL, 0), h->pid);
}

static void assert_held(const char *expected)
{
    struct ddp_machine *m = machine_synthetic(LAPTOP_HT);
    struct ddp_claim claim;
    char text[64];
    ddp_claim_open(&claim);
    ddp_claim_look(&claim, m);
    ddp_claim_close(&claim);
    held_text(m, text);
    assert_string_equal(text, expected);
    ddp_machine_destroy(m);
}

static void test_claims_are_seen_and_end_with_their_holder(void **state)
{
    static const int first[] = {0}, second[] = {3, 6, 7}, both[] = {0, 6};
    (void)state;
    assert_held("");
    struct holder a = hold(first, 1, 0);
    assert_held("0");
    struct holder b = hold(second, 3, 0); /* a second hardware thread is its core */
    assert_held("0,1,3");
    end(&a, 0);
    assert_held("1,3");
    end(&b, SIGKILL);
    assert_held("");

    a = hold(both, 2, 0); /* shared: held until the last one ends */
    b = hold(first, 1, 0);
    assert_held("0,3");
    end(&a, SIGKILL);
    assert_held("0");
    end(&b, SIGKILL);
    assert_held("");
}

static void test_claims_of_other_users_are_seen(void **state)
{
    static const int pus[] = {2};
    (void)state;
    if (geteuid() != 0)
        skip();
    struct holder a = hold(pus, 1, 65534);
    assert_held("1");
    end(&a, 0);
    assert_held("");
}

/* Containers have process numbers, host names and networks of their own. */
static void test_claims_of_containers_are_seen(void **state)
{
    static const int pus[] = {4};
    const int spaces = CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWIPC;
    (void)state;
    const pid_t pid = fork(); /* may we? */
    if (pid == 0)
        _exit(unshare(spaces) != 0);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (status != 0)
        skip();
    struct holder a = hold_elsewhere(pus, 1, 0, spaces);
    assert_held("2");
    end(&a, 0);
    assert_held("");
}

/* What is held is not written anywhere. */
static void test_claims_leave_nothing_behind(void **state)
{
    static const int pus[] = {2};
    (void)state;
    struct holder a = hold(pus, 1, 0);
    end(&a, SIGKILL);
    assert_int_equal(rmdir(folder), 0); /* it was empty */
    assert_int_equal(mkdir(folder, 0755), 0);
}

static void test_claims_need_no_folder(void **state)
{
    struct ddp_machine *m = machine_synthetic(LAPTOP);
    struct ddp_claim claim;
    int cpu = 0;
    (void)state;
    setenv("DDP_CORES_DIR", "/nonexistent", 1);
    ddp_claim_open(&claim);
    ddp_claim_look(&claim, m);
    ddp_claim_take(&claim, &cpu, 1);
    ddp_claim_close(&claim);
    setenv("DDP_CORES_DIR", folder, 1);
    assert_int_equal(ddp_machine_held(m), 0);
    ddp_machine_destroy(m);
}

/* A launcher that never comes to an end with its plan is not waited for. */
static void test_claims_do_not_wait_for_ever(void **state)
{
    struct ddp_claim stuck, claim;
    (void)state;
    ddp_claim_open(&stuck);
    ddp_claim_open(&claim);
    assert_true(claim.folder >= 0);
    ddp_claim_close(&claim);
    ddp_claim_close(&stuck);
}

/* ---- plans ----------------------------------------------------------------------------------- */

#define C DDP_PLACE_COMPACT
#define S DDP_PLACE_SPREAD

static void test_plans_leave_held_cores_alone(void **state)
{
    static const struct {
        const char *machine, *held;
        struct ddp_place_request req;
        int capacity;
        const char *want; /* hardware threads of each rank; NULL: any */
        bool oversubscribed;
        const char *note; /* part of it; "" none */
    } table[] = {
        {LAPTOP, "", {1, 1, C, false, 0}, 4, "0", false, ""},
        {LAPTOP,
         "0",
         {1, 1, C, false, 0},
         3,
         "1",
         false,
         "1 of 4 cores are held by other jobs: ranks have the others"},
        {LAPTOP, "0", {1, 0, C, false, 0}, 3, "1,2,3", false, "ranks have the others"},
        {LAPTOP, "0-1", {2, 1, C, false, 0}, 2, "2|3", false, "2 of 4 cores are held"},
        {LAPTOP, "1,2", {2, 0, S, false, 0}, 2, "0|3", false, ""},
        {LAPTOP,
         "0-1",
         {3, 1, C, false, 0},
         2,
         "0|2|3",
         true,
         "2 of 4 cores are held by other jobs, and ranks share 1 of them"},
        {LAPTOP,
         "0-3",
         {2, 1, C, false, 0},
         4,
         "0|1",
         true,
         "4 of 4 cores are held by other jobs, and ranks share 2"},
        {LAPTOP, "0-3", {2, 0, C, false, 0}, 4, "0|1", true, "share 2 of them"},
        {LAPTOP, "0", {2, 2, C, false, 0}, 3, "0,1|2,3", true, "share 1 of them"},
        {LAPTOP, "0", {6, 0, C, false, 0}, 3, "0|0|1|1|2|3", true, "6 ranks share 4 cores"},
        {LAPTOP_HT, "1", {1, 0, C, false, 0}, 3, "2,4,6", false, "1 of 4 cores"},
        {LAPTOP_HT, "1", {1, 0, C, true, 0}, 6, "2,4,6,3,5,7", false, "1 of 4 cores"},
        {LAPTOP_HT, "1", {6, 1, C, true, 0}, 6, "2|3|4|5|6|7", false, "ranks have the others"},
        {LAPTOP_HT, "1", {7, 1, C, true, 0}, 6, "0|1|2|3|4|5|6", true, "share 1 of them"},
        {LAPTOP_HT, "1", {9, 1, C, true, 0}, 6, NULL, true, "9 ranks share 8 hardware threads"},
        {TWO_PACKAGES, "0-7", {2, 0, C, false, 0}, 4, "8,10|12,14", false, "4 of 8 cores"},
        {TWO_PACKAGES, "0,8", {2, 0, C, false, 0}, 6, "2,4,6|10,12,14", false, "2 of 8 cores"},
        {LAPTOP, "0", {2, 1, DDP_PLACE_NONE, false, 0}, 3, "|", false, ""},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(table); i++) {
        struct ddp_machine *m = machine_synthetic(table[i].machine);
        struct ddp_placement *p;
        struct ddp_error err = {0};
        struct ddp_text t;
        int held[16], n = 0;
        hwloc_bitmap_t set = hwloc_bitmap_alloc();
        assert_int_equal(hwloc_bitmap_list_sscanf(set, table[i].held), 0);
        for (int pu = hwloc_bitmap_first(set); pu >= 0; pu = hwloc_bitmap_next(set, pu))
            held[n++] = pu;
        hwloc_bitmap_free(set);
        ddp_machine_mark_held(m, held, n);
        assert_int_equal(ddp_machine_capacity(m, table[i].req.hyperthreads), table[i].capacity);
        assert_int_equal(ddp_placement_create(m, &table[i].req, &p, &err), 0);
        ddp_text_init(&t);
        for (int r = 0; r < p->ranks; r++) {
            ddp_text_add(&t, "%s", r ? "|" : "");
            for (int k = 0; k < p->place[r].npus; k++)
                ddp_text_add(&t, "%s%d", k ? "," : "", p->place[r].pus[k]);
        }
        if ((table[i].want && strcmp(t.s, table[i].want) != 0) ||
            p->oversubscribed != table[i].oversubscribed || !strstr(p->note, table[i].note) ||
            (!*table[i].note && strstr(p->note, "held") && n == 0))
            fail_msg("case %zu: %s, oversubscribed %d, note '%s'", i, t.s, p->oversubscribed, p->note);
        ddp_text_finish(&t);
        ddp_placement_destroy(p);
        ddp_machine_destroy(m);
    }
}

/* What an agent of another host saw. */
static void test_held_cores_travel(void **state)
{
    static const int pus[] = {0, 5};
    struct ddp_machine *m = machine_synthetic(LAPTOP_HT), *there;
    struct ddp_error err = {0};
    char *xml, text[64];
    (void)state;
    ddp_machine_mark_held(m, pus, 2);
    assert_int_equal(ddp_machine_xml(m, &xml, &err), 0);
    assert_int_equal(ddp_machine_from_xml(xml, &there, &err), 0);
    held_text(there, text);
    assert_string_equal(text, "0,2");
    assert_int_equal(ddp_machine_held(there), 2);
    free(xml);
    ddp_machine_destroy(there);
    ddp_machine_destroy(m);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || chmod(folder, 0755) != 0)
        return -1;
    return setenv("DDP_CORES_DIR", folder, 1);
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claims_are_seen_and_end_with_their_holder),
        cmocka_unit_test(test_claims_of_other_users_are_seen),
        cmocka_unit_test(test_claims_of_containers_are_seen),
        cmocka_unit_test(test_claims_leave_nothing_behind),
        cmocka_unit_test(test_claims_need_no_folder),
        cmocka_unit_test(test_claims_do_not_wait_for_ever),
        cmocka_unit_test(test_plans_leave_held_cores_alone),
        cmocka_unit_test(test_held_cores_travel),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
