/* Job scripts: each wish is a line of the batch system's, what contradicts itself is refused. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "launcher/batch.h"

static struct ddp_words command(void)
{
    struct ddp_words w = {0};
    static const char *const list[] = {"-n8", "--resume=auto", "configs/cnn.cfg", "run.name=a b", NULL};
    ddp_words_add_all(&w, list);
    return w;
}

static struct ddp_text script(struct ddp_batch_wishes w, struct ddp_batch_job job)
{
    struct ddp_words words = command();
    struct ddp_error err = {0};
    struct ddp_text t;
    ddp_text_init(&t);
    job.words = &words;
    if (ddp_batch_script(&w, &job, &t, &err) != 0)
        fail_msg("%s", err.text);
    ddp_words_finish(&words);
    return t;
}

static const struct ddp_batch_job usual = {.name = "a b",
                                           .folder = "/home/me/my work",
                                           .program = "/opt/ddp-launch",
                                           .log_folder = "./runs",
                                           .ranks = 8};

static void has(const struct ddp_text *t, const char *line)
{
    char whole[256];
    snprintf(whole, sizeof whole, "\n%s\n", line);
    if (!strstr(t->s, whole))
        fail_msg("no line '%s' in\n%s", line, t->s);
}

static void test_batch_slurm(void **state)
{
    (void)state;
    struct ddp_batch_wishes w = {.system = "slurm",
                                 .partition = "gpu",
                                 .account = "p1",
                                 .minutes = 1505,
                                 .nodes = 3,
                                 .gpus_per_node = 4};
    struct ddp_batch_job job = usual;
    job.threads = 5;
    ddp_words_add(&w.lines, "--constraint=fast");
    struct ddp_text t = script(w, job);
    static const char *const lines[] = {"#SBATCH --job-name=a_b",
                                        "#SBATCH --nodes=3",
                                        "#SBATCH --ntasks-per-node=3",
                                        "#SBATCH --cpus-per-task=5",
                                        "#SBATCH --gpus-per-node=4",
                                        "#SBATCH --time=1-01:05:00",
                                        "#SBATCH --partition=gpu",
                                        "#SBATCH --account=p1",
                                        "#SBATCH --output=\"./runs/a_b-%j.log\"",
                                        "#SBATCH --requeue",
                                        "#SBATCH --signal=B:USR1@120",
                                        "#SBATCH --constraint=fast",
                                        "cd '/home/me/my work' || exit 3",
                                        "/opt/ddp-launch -n8 --resume=auto configs/cnn.cfg 'run.name=a b' &"};
    assert_int_equal(strncmp(t.s, "#!/bin/bash\n", 12), 0);
    for (size_t i = 0; i < DDP_COUNT(lines); i++)
        has(&t, lines[i]);
    ddp_text_finish(&t);
    ddp_words_finish(&w.lines);
}

static void test_batch_lsf(void **state)
{
    (void)state;
    struct ddp_batch_job job = usual;
    job.threads = 2;
    struct ddp_text t = script(
        (struct ddp_batch_wishes){
            .system = "lsf", .partition = "hpc", .minutes = 125, .nodes = 2, .gpus_per_node = 4},
        job);
    static const char *const lines[] = {"#BSUB -J a_b",
                                        "#BSUB -n 16",
                                        "#BSUB -R \"span[ptile=8]\"",
                                        "#BSUB -gpu \"num=4:mode=exclusive_process\"",
                                        "#BSUB -W 2:05",
                                        "#BSUB -q hpc",
                                        "#BSUB -o \"./runs/a_b-%J.log\"",
                                        "#BSUB -Q \"75\"",
                                        "#BSUB -wa \"USR2\"",
                                        "/opt/ddp-launch -n8 --resume=auto configs/cnn.cfg 'run.name=a b'"};
    for (size_t i = 0; i < DDP_COUNT(lines); i++)
        has(&t, lines[i]);
    ddp_text_finish(&t);
}

/* What nobody asked for is left to the batch system. */
static void test_batch_says_nothing_of_its_own(void **state)
{
    (void)state;
    struct ddp_batch_job job = usual;
    job.ranks = 0;
    struct ddp_text t = script((struct ddp_batch_wishes){.system = "slurm"}, job);
    static const char *const absent[] = {"--ntasks", "--cpus-per-task", "--gpus",
                                         "--time",   "--partition",     "--account"};
    for (size_t i = 0; i < DDP_COUNT(absent); i++)
        assert_null(strstr(t.s, absent[i]));
    has(&t, "#SBATCH --nodes=1");
    ddp_text_finish(&t);
}

static void test_batch_minutes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int minutes; /* 0: refused */
    } rows[] = {
        {"90", 90},      {"02:00:00", 120}, {"2:0:1", 121},  {"1-12:00:00", 36 * 60},
        {"0:30:00", 30}, {"", 0},           {"0", 0},        {"-5", 0},
        {"2:00", 0},     {"1-", 0},         {"1-12", 0},     {"1:60:00", 0},
        {"1:00:00x", 0}, {"1:00:00:", 0},   {"two", 0},      {"9999999999", 0},
        {"1-2-3", 0},    {"1:2:3:4", 0},    {"00:00:00", 0}, {"367-0:0:0", 0},
        {"1 ", 0},       {"1--1:0:0", 0},
    };
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        struct ddp_error err = {0};
        int minutes = 0;
        const int rc = ddp_batch_minutes(rows[i].text, &minutes, &err);
        if (rc != (rows[i].minutes ? 0 : DDP_E_USAGE) || (rc == 0 && minutes != rows[i].minutes))
            fail_msg("'%s': %d, %d minutes", rows[i].text, rc, minutes);
    }
}

static void test_batch_refuses(void **state)
{
    (void)state;
    static const struct {
        struct ddp_batch_wishes w;
        int ranks;
        const char *log_folder, *text;
    } rows[] = {
        {{.system = "slurm", .nodes = 9}, 8, "./runs", "some would have no rank"},
        {{.system = "slurm", .nodes = 2, .gpus_per_node = 3}, 8, "./runs", "give -n 6"},
        {{.system = "slurm", .minutes = 4}, 8, "./runs", "the last 120 s"},
        {{.system = "lsf", .partition = "a b"}, 8, "./runs", "--partition 'a b'"},
        {{.system = "lsf", .account = ""}, 8, "./runs", "--account ''"},
        {{.system = "lsf"}, 8, "./ru\"ns", "run.dir"},
    };
    for (size_t i = 0; i < DDP_COUNT(rows); i++) {
        struct ddp_words words = command();
        struct ddp_batch_job job = usual;
        struct ddp_error err = {0};
        struct ddp_text t;
        ddp_text_init(&t);
        job.words = &words;
        job.ranks = rows[i].ranks;
        job.log_folder = rows[i].log_folder;
        assert_int_equal(ddp_batch_script(&rows[i].w, &job, &t, &err), DDP_E_USAGE);
        if (!strstr(err.text, rows[i].text))
            fail_msg("row %d: %s", (int)i, err.text);
        ddp_text_finish(&t);
        ddp_words_finish(&words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_slurm),   cmocka_unit_test(test_batch_lsf),
        cmocka_unit_test(test_batch_minutes), cmocka_unit_test(test_batch_says_nothing_of_its_own),
        cmocka_unit_test(test_batch_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
