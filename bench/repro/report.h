/* What came of a matrix, as a report of ddp-bench: cells by axis and model, and what is not equal. */
#ifndef DDP_BENCH_REPRO_REPORT_H
#define DDP_BENCH_REPRO_REPORT_H

#include "bench/report.h"
#include "bench/repro/matrix.h"

/* Tables, facts and notes; what they borrow lives until *kept is finished, behind the report. */
struct repro_kept {
    struct bench_column *column;
};
void repro_report_fill(const struct repro_matrix *m, struct bench_report *r, struct repro_kept *kept);
void repro_kept_finish(struct repro_kept *kept);

#endif
