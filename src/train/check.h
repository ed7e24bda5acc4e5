/* What is wrong with a config, as far as it shows before anything starts. The launcher asks, for --map and
 * --dry-run too, and so does a rank that nobody launched: the same rules, all faults at once.
 *
 *   ddp_config_load, with ddp_train_check_keys     keys, layers, formats, groups: what shows without the data
 *   ddp_train_check_model                          with model and data at hand: shapes, batches, patterns
 *   ddp_train_check                                the same for who has neither */
#ifndef DDP_TRAIN_CHECK_H
#define DDP_TRAIN_CHECK_H

#include "model/model.h"

struct ddp_train_check {
    bool open;  /* the ranks run a program of the user's own: it may know layers and formats that we do not */
    bool known; /* out: there are none of these */
};

/* options.check of ddp_config_load, options.user a struct ddp_train_check. */
void ddp_train_check_keys(struct ddp_config *cfg, void *user, struct ddp_error *err);

/* All faults of cfg with this model and so many training samples (0: the run only evaluates), in *err.
 * notes: a line is added for each key that was set and has no effect. */
int ddp_train_check_model(const struct ddp_config *cfg, const struct ddp_model *m, int64_t samples,
                          struct ddp_text *notes, struct ddp_error *err);

/* Open the data (checking no sums), make the model, and ask ddp_train_check_model. DDP_E_CONFIG and
 * DDP_E_SHAPE are faults of the config; all other codes say that the data cannot be looked at. */
int ddp_train_check(struct ddp_config *cfg, bool eval_only, struct ddp_text *notes, struct ddp_error *err);

/* A part of ddp_train_check_model: a line for each key that is not at its default and has no effect on a run
 * of so many steps. */
void ddp_train_note_keys(const struct ddp_config *cfg, int64_t last_step, struct ddp_text *notes);

#endif
