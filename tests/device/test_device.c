/* Opening the plug-in, and choosing devices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <pthread.h>

#include "comm/comm.h"
#include "device/device.h"

/* The plug-in is opened once in a process: each case has one of its own. */
#define IN_CHILD(...)                                                                                        \
    do {                                                                                                     \
        fflush(NULL);                                                                                        \
        const pid_t pid = fork();                                                                            \
        if (pid == 0) {                                                                                      \
            __VA_ARGS__;                                                                                     \
            _exit(0);                                                                                        \
        }                                                                                                    \
        int ended = -1;                                                                                      \
        assert_int_equal(waitpid(pid, &ended, 0), pid);                                                      \
        assert_int_equal(ended, 0);                                                                          \
    } while (0)

/* In a child, where cmocka cannot stop the test. */
#define MUST(what)                                                                                           \
    do {                                                                                                     \
        if (!(what)) {                                                                                       \
            fprintf(stderr, "%s:%d: %s; %s\n", __FILE__, __LINE__, #what, err.text);                         \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

static void test_plugin_refusals(void **state)
{
    static const struct {
        const char *plugin, *text;
    } cases[] = {
        {FAKE_PLUGIN_OLD, "is of another version of ddp (its table is version 0, this program's "},
        {FAKE_PLUGIN_DIR "/CMakeLists.txt", "cannot be loaded"},
        {"/nowhere/libddp_cuda.so", "(DDP_CUDA_PLUGIN) cannot be loaded: /nowhere/libddp_cuda.so"},
        {"libm.so.6", "libm.so.6 is no CUDA plug-in of ddp"},
        {"", "there is no CUDA plug-in: libddp_cuda.so is neither beside this program"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++)
        IN_CHILD({
            struct ddp_error err = {0};
            const struct ddp_gpu_api *api = NULL;
            setenv("DDP_CUDA_PLUGIN", cases[i].plugin, 1);
            if (!cases[i].plugin[0] && ddp_path_exists(FAKE_LIB_DIR "/libddp_cuda.so"))
                _exit(0); /* a build that has one */
            MUST(ddp_gpu_api_open(&api, &err) == DDP_E_RESOURCE);
            MUST(strstr(err.text, cases[i].text));
            MUST(!api);
        });
}

static void test_plugin_opens_once(void **state)
{
    (void)state;
    IN_CHILD({
        struct ddp_error err = {0};
        const struct ddp_gpu_api *one = NULL, *two = NULL;
        setenv("DDP_CUDA_PLUGIN", FAKE_PLUGIN, 1);
        MUST(ddp_gpu_likely());
        MUST(ddp_gpu_api_open(&one, &err) == 0);
        setenv("DDP_CUDA_PLUGIN", "/nowhere", 1);
        MUST(ddp_gpu_api_open(&two, &err) == 0);
        MUST(one && one == two && one->version == DDP_GPU_API_VERSION);
    });
}

/* What device= means, by what there is. */
static void test_device_decide(void **state)
{
    enum { AUTO = DDP_DEVICE_AUTO, CPU = DDP_DEVICE_CPU, CUDA = DDP_DEVICE_CUDA };
    static const struct {
        int device;
        const char *plugin, *gpus;
        int precision, code, count;
        const char *text;
    } cases[] = {
        {CPU, FAKE_PLUGIN, "2", DDP_PRECISION_FP32, 0, 0, ""},
        {AUTO, FAKE_PLUGIN, "2", DDP_PRECISION_FP32, 0, 2, ""},
        {AUTO, FAKE_PLUGIN, "0", DDP_PRECISION_FP32, 0, 0, ""},
        {AUTO, FAKE_PLUGIN_OLD, "2", DDP_PRECISION_FP32, 0, 0, ""},
        {AUTO, FAKE_PLUGIN, "2", DDP_PRECISION_BF16, 0, 2, ""},
        {AUTO, FAKE_PLUGIN, "0", DDP_PRECISION_BF16, DDP_E_CONFIG, 0, "train.precision: bf16 is for GPUs"},
        {CPU, FAKE_PLUGIN, "2", DDP_PRECISION_FP16, DDP_E_CONFIG, 0, "train.precision: fp16 is for GPUs"},
        {CUDA, FAKE_PLUGIN, "1", DDP_PRECISION_BF16, 0, 1, ""},
        {CUDA, FAKE_PLUGIN, "0", DDP_PRECISION_FP32, DDP_E_RESOURCE, 0,
         "device=cuda: the fake has no device"},
        {CUDA, FAKE_PLUGIN_OLD, "2", DDP_PRECISION_FP32, DDP_E_RESOURCE, 0, "device=cuda: the CUDA plug-in"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++)
        IN_CHILD({
            struct ddp_error err = {0};
            struct ddp_node root = {.type = DDP_NODE_GROUP};
            struct ddp_config cfg = {.device = cases[i].device, .tree = &root};
            cfg.train.precision = cases[i].precision;
            const struct ddp_gpu_api *api = NULL;
            int n = -1;
            setenv("DDP_CUDA_PLUGIN", cases[i].plugin, 1);
            setenv("FAKE_GPUS", cases[i].gpus, 1);
            ddp_log_terminal(DDP_LOG_ERROR);
            MUST(ddp_gpu_decide(&cfg, &api, &n, &err) == cases[i].code);
            MUST(strstr(err.text, cases[i].text));
            MUST(cases[i].code || n == cases[i].count);
            MUST((api != NULL) == (cases[i].code == 0 && cases[i].count > 0));
        });
}

static void test_device_pick(void **state)
{
    static const struct {
        const char *gpus, *visible, *uuid;
        int rank, size;
        bool share;
        int device; /* -1: refused */
        const char *text;
    } cases[] = {
        {"4", NULL, "GPU-2", 0, 4, false, 2, ""},
        {"4", "0,1,2,3", "GPU-7", 0, 4, false, -1,
         "GPU GPU-7, which this rank was given, is not among the 4"},
        {"4", NULL, NULL, 3, 4, false, 3, ""},
        {"4", NULL, NULL, 1, 2, false, 1, ""},
        {"2", NULL, NULL, 3, 4, true, 1, ""},
        {"2", NULL, NULL, 1, 4, false, -1, "4 ranks, but 2 GPUs on this host"},
        {"1", NULL, NULL, 1, 2, false, -1, "2 ranks, but 1 GPU on this host"},
        {"1", "5", NULL, 1, 2, false, 0, ""}, /* as a batch system gives one to each task */
        {"0", NULL, NULL, 0, 1, false, -1, "the fake has no device"},
    };
    (void)state;
    for (size_t i = 0; i < DDP_COUNT(cases); i++)
        IN_CHILD({
            struct ddp_error err = {0};
            const struct ddp_gpu_api *api = NULL;
            int device = -1;
            setenv("DDP_CUDA_PLUGIN", FAKE_PLUGIN, 1);
            setenv("FAKE_GPUS", cases[i].gpus, 1);
            unsetenv("CUDA_VISIBLE_DEVICES");
            if (cases[i].visible)
                setenv("CUDA_VISIBLE_DEVICES", cases[i].visible, 1);
            MUST(ddp_gpu_api_open(&api, &err) == 0);
            const int code = ddp_gpu_device_pick(api, cases[i].uuid, cases[i].rank, cases[i].size,
                                                 cases[i].share, &device, &err);
            MUST(code == (cases[i].device < 0 ? DDP_E_RESOURCE : 0));
            MUST(device == cases[i].device);
            MUST(strstr(err.text, cases[i].text));
        });
}

static void test_device_precision(void **state)
{
    struct ddp_error err = {0};
    struct ddp_config cfg = {0};
    const struct ddp_gpu_info t4 = {.name = "Tesla T4", .major = 7, .minor = 5},
                              a100 = {.name = "A100", .major = 8, .bf16 = true};
    (void)state;
    cfg.train.precision = DDP_PRECISION_BF16;
    assert_int_equal(ddp_gpu_check_precision(&a100, &cfg, &err), 0);
    assert_int_equal(ddp_gpu_check_precision(&t4, &cfg, &err), DDP_E_RESOURCE);
    assert_non_null(strstr(err.text, "train.precision=bf16: Tesla T4 (compute capability 7.5)"));
    assert_non_null(strstr(err.text, "train.precision=fp16"));
    cfg.train.precision = DDP_PRECISION_FP16;
    assert_int_equal(ddp_gpu_check_precision(&t4, &cfg, &err), 0);
}

/* ---- do the ranks agree? ---- */

enum { RANKS = 3 };
static struct ddp_gpu_info gpu_of[RANKS];
static struct ddp_gpu_versions versions_of[RANKS];
static _Thread_local int me;

static int rank_info(int device, struct ddp_gpu_info *out, struct ddp_error *err)
{
    (void)err;
    *out = gpu_of[device];
    return 0;
}
static void rank_versions(struct ddp_gpu_versions *out)
{
    *out = versions_of[me];
}
static const struct ddp_gpu_api rank_api = {.info = rank_info, .versions = rank_versions};

struct rank {
    struct ddp_comm *comm;
    bool share;
    int code;
    struct ddp_error err;
};

static void *agree(void *arg)
{
    struct rank *r = arg;
    me = r->comm->rank;
    r->code = ddp_gpu_agree(r->comm, &rank_api, me, r->share, &r->err);
    return NULL;
}

/* All ranks end with the same code and text. */
static void check_agree(bool share, int code, const char *text)
{
    struct ddp_comm *comm[RANKS];
    struct rank rank[RANKS] = {0};
    pthread_t thread[RANKS];
    struct ddp_error err = {0};
    assert_int_equal(ddp_comm_threads_create(RANKS, comm, &err), 0);
    for (int r = 0; r < RANKS; r++) {
        rank[r].comm = comm[r];
        rank[r].share = share;
        assert_int_equal(pthread_create(&thread[r], NULL, agree, &rank[r]), 0);
    }
    for (int r = 0; r < RANKS; r++)
        pthread_join(thread[r], NULL);
    for (int r = 0; r < RANKS; r++) {
        assert_int_equal(rank[r].code, code);
        if (!strstr(rank[r].err.text, text))
            fail_msg("'%s' is not in: %s", text, rank[r].err.text);
        ddp_comm_destroy(comm[r]);
    }
}

static void reset(void)
{
    for (int r = 0; r < RANKS; r++) {
        gpu_of[r] = (struct ddp_gpu_info){.name = "H100", .sms = 132};
        snprintf(gpu_of[r].uuid, sizeof gpu_of[r].uuid, "GPU-%d", r);
        versions_of[r] = (struct ddp_gpu_versions){13000, 13000, 91900, 130100, 22809};
    }
}

static void test_device_agree(void **state)
{
    (void)state;
    reset();
    check_agree(false, 0, "");
    versions_of[2].driver = 12040; /* drivers may differ */
    check_agree(false, 0, "");
    versions_of[1].nccl = 22703;
    check_agree(false, DDP_E_RESOURCE, "has NCCL 2.27.3, rank 0 on ");
    check_agree(true, DDP_E_RESOURCE, "has 2.28.9");
    reset();
    versions_of[2].cudnn = 90800;
    check_agree(false, DDP_E_RESOURCE, "has cuDNN 9.8.0, rank 0");
    reset();
    versions_of[1].runtime = 12040;
    check_agree(false, DDP_E_RESOURCE, "has CUDA 12.4, rank 0");
    reset();
    snprintf(gpu_of[2].name, sizeof gpu_of[2].name, "H200");
    check_agree(false, DDP_E_RESOURCE, "has a H200 (132 SMs), rank 0");
    reset();
    gpu_of[1].sms = 114;
    check_agree(false, DDP_E_RESOURCE, "Use GPUs of one kind");
    reset();
    snprintf(gpu_of[2].uuid, sizeof gpu_of[2].uuid, "GPU-1");
    check_agree(false, DDP_E_RESOURCE, "ranks 1 and 2 both have GPU GPU-1");
    check_agree(true, 0, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plugin_refusals),  cmocka_unit_test(test_plugin_opens_once),
        cmocka_unit_test(test_device_decide),    cmocka_unit_test(test_device_pick),
        cmocka_unit_test(test_device_precision), cmocka_unit_test(test_device_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
