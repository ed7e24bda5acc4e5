/* ddp-bench repro: the matrix of ways that must not matter. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/stop.h"
#include "ops/ops.h"
#include "bench/bench.h"
#include "bench/repro/cost.h"
#include "bench/repro/report.h"
#include "bench/repro/request.h"

/* Folders and programs that the commands of cells are made of. */
struct place {
    char programs[PATH_MAX], program[PATH_MAX], neon[PATH_MAX], folder[PATH_MAX];
    bool temporary;
};

static int find_programs(struct place *p, struct ddp_error *err)
{
    const ssize_t n = readlink("/proc/self/exe", p->programs, sizeof p->programs - 1);
    if (n < 0)
        return ddp_fail(err, DDP_E_IO, "/proc/self/exe cannot be read: is /proc mounted?");
    p->programs[n] = '\0';
    *strrchr(p->programs, '/') = '\0';
    return 0;
}

/* The real path of what an option names; NULL stays "". */
static int find_path(const char *given, char out[PATH_MAX], struct ddp_error *err)
{
    *out = '\0';
    if (given && !realpath(given, out))
        return ddp_fail(err, DDP_E_USAGE, "%s: no such file or folder", given);
    return 0;
}

static int make_folder(const char *keep, struct place *p, struct ddp_error *err)
{
    const char *temp = getenv("TMPDIR");
    if (keep) {
        const int status = ddp_dir_make(keep, err);
        return status ? status : find_path(keep, p->folder, err);
    }
    snprintf(p->folder, sizeof p->folder, "%s/ddp-repro-XXXXXX", temp && *temp ? temp : "/tmp");
    if (!mkdtemp(p->folder))
        return ddp_fail(err, DDP_E_RESOURCE, "%s: no folder can be made there; --keep names another",
                        p->folder);
    p->temporary = true;
    return 0;
}

static int find_place(const struct repro_request *r, struct place *p, struct ddp_error *err)
{
    int status = find_programs(p, err);
    status = status ? status : find_path(r->program, p->program, err);
    status = status ? status : find_path(r->neon, p->neon, err);
    return status ? status : make_folder(r->keep, p, err);
}

/* Which of the axis this processor has. */
static void find_kernels(struct repro_site *site)
{
    for (int k = 0; k < repro_axis_values(REPRO_KERNELS); k++)
        site->kernels[k] = ddp_cpu_select(repro_axes[REPRO_KERNELS].value[k], NULL) == 0;
}

static int run_cells(const struct repro_request *request, const struct repro_cells *cells,
                     const struct place *p, struct bench_report *r, struct ddp_error *err)
{
    struct repro_matrix m = {.site = {.programs = p->programs,
                                      .program = *p->program ? p->program : NULL,
                                      .neon = *p->neon ? p->neon : NULL,
                                      .words = request->words,
                                      .emulator = "qemu-aarch64",
                                      .cores = p->folder},
                             .folder = p->folder,
                             .jobs = request->jobs,
                             .keep = request->keep != NULL,
                             .loud = true};
    struct repro_kept kept = {0};
    find_kernels(&m.site);
    for (int i = 0; i < cells->n; i++)
        repro_matrix_add(&m, &cells->cell[i]);
    if (request->cells.n == 0 && request->random == 0 && cells->n > 0)
        repro_matrix_add_control(&m, &cells->cell[0].model);
    int status = bench_report_begin(r, err);
    if (status == 0) {
        bench_report_untimed(r);
        repro_matrix_run(&m);
        repro_report_fill(&m, r, &kept);
        status = bench_report_finish(r, err);
    }
    const struct repro_count n = repro_matrix_count(&m, NULL, -1, 0);
    const int bad = n.differs + n.failed + repro_matrix_blind(&m);
    repro_matrix_finish(&m);
    repro_kept_finish(&kept);
    return status             ? ddp_report("ddp-bench", err)
           : ddp_stop_asked() ? DDP_EXIT_STOPPED
           : bad > 0          ? 1
           : n.equal == 0     ? DDP_EXIT_RESOURCE
                              : DDP_EXIT_OK;
}

static int run_cost(const struct repro_request *request, const struct place *p, struct bench_report *r,
                    struct ddp_error *err)
{
    const struct repro_site site = {.programs = p->programs, .cores = p->folder};
    int status = bench_report_begin(r, err);
    if (status == 0)
        status = repro_cost(&site, p->folder, request->cost, r, err);
    if (status == 0)
        status = bench_report_finish(r, err);
    return status ? ddp_report("ddp-bench", err) : DDP_EXIT_OK;
}

static int list_cells(const struct repro_cells *cells)
{
    char id[REPRO_ID_SIZE];
    for (int i = 0; i < cells->n; i++)
        puts(repro_cell_id(&cells->cell[i], id));
    return DDP_EXIT_OK;
}

static int run(const struct repro_request *r, int argc, char **argv)
{
    struct ddp_error err = {0};
    struct repro_cells cells;
    struct place p = {0};
    int code;
    if (r->threads.ranks)
        return repro_ranks_train(&r->threads);
    if (repro_request_cells(r, &cells, &err) != 0) {
        code = ddp_report("ddp-bench", &err);
    } else if (r->list) {
        code = list_cells(&cells);
    } else if (find_place(r, &p, &err) != 0) {
        code = ddp_report("ddp-bench", &err);
    } else {
        struct bench_report *report = bench_report_create(bench_repro_manual.name, argc, argv, &r->outputs);
        ddp_stop_catch(NULL);
        code = r->cost ? run_cost(r, &p, report, &err) : run_cells(r, &cells, &p, report, &err);
        bench_report_destroy(report);
    }
    if (p.temporary)
        ddp_dir_remove(p.folder, NULL);
    repro_cells_finish(&cells);
    return code;
}

int bench_repro(int argc, char **argv)
{
    struct repro_request r;
    int code = repro_request_parse(argc, argv, &r);
    if (code < 0)
        code = run(&r, argc, argv);
    repro_request_finish(&r);
    return code;
}
