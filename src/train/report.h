/* The lead's records of a run: run directory, run.json, metrics, trail, checkpoints, progress. Private to
 * src/train. */
#ifndef DDP_TRAIN_REPORT_H
#define DDP_TRAIN_REPORT_H

#include "train/trainer.h"

struct ddp_run_log;

/* Makes the run directory (or goes on in that of t->resumed_from), names it in t->run_dir, and begins all
 * records of the run that t is; t is borrowed and read at every call. */
int ddp_run_log_open(struct ddp_trainer *t, struct ddp_run_log **out, struct ddp_error *err);
void ddp_run_log_destroy(struct ddp_run_log *log); /* waits for a checkpoint on its way; NULL is fine */

/* A record of the trail, behind a ddp_engine_digest of the state. */
int ddp_run_log_trail(struct ddp_run_log *log, struct ddp_error *err);
/* After a step that took `seconds`; where the trail is due, digests of the state are made. */
int ddp_run_log_step(struct ddp_run_log *log, double seconds, struct ddp_error *err);
/* After an evaluation. */
int ddp_run_log_eval(struct ddp_run_log *log, double seconds, bool best, struct ddp_error *err);
/* A checkpoint of the host's state. */
int ddp_run_log_save(struct ddp_run_log *log, bool best, struct ddp_error *err);
/* Training samples a second of this process so far, over all ranks; 0 before the first step. */
double ddp_run_log_rate(const struct ddp_run_log *log);

/* The end: model.safetensors and run.json; result gets the weights' hash. status: "done", "stopped". */
int ddp_run_log_close(struct ddp_run_log *log, const char *status, struct ddp_result *result,
                      struct ddp_error *err);
/* run.json says that the run failed, and why; best effort. */
void ddp_run_log_fail(struct ddp_run_log *log, const char *reason);

#endif
