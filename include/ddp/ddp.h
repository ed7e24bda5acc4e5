/* Train from your own program: the whole public interface for users.
 *
 *   struct ddp_error err = {0};
 *   struct ddp_session *s;
 *   if (ddp_session_open(&argc, &argv, &s, &err) == 0 &&
 *       ddp_session_config(s, "configs/cnn.cfg", (const char *[]){"train.epochs=1"}, 1, &err) == 0 &&
 *       ddp_session_train(s, NULL, &result, &err) == 0)
 *       printf("%s %.4f\n", result.run_dir, result.eval_accuracy);
 *   ddp_session_close(s, &err);
 *
 * The same program is one rank alone, N ranks under `mpirun -n N`, and N placed and supervised ranks under
 * `ddp-launch -n N --program ./mine CONFIG`. */
#ifndef DDP_DDP_H
#define DDP_DDP_H

#include <stdbool.h>
#include <stdint.h>

#include "ddp/error.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ddp_session;

struct ddp_step_info {
    int64_t step;    /* steps done, this one included */
    int64_t epoch;   /* counted from 0 */
    double loss;     /* mean over the global batch */
    double accuracy; /* of this batch; nan: real targets */
    double lr;
    union {
        double samples_per_s; /* in the training steps so far */
        double images_per_s;  /* its old name, which goes with the next release */
    };
};

/* Called on rank 0 after each step; return true to end training cleanly after this step. */
typedef bool (*ddp_step_fn)(void *user, const struct ddp_step_info *info);

struct ddp_hooks {
    ddp_step_fn on_step;
    void *user;
};

struct ddp_result {
    char run_dir[1024];
    char weights_hash[65];
    int64_t steps, epochs;
    double eval_accuracy, eval_loss; /* accuracy: nan with real targets, which have */
    double eval_error;               /* the mean absolute error; else nan */
    int64_t eval_count;              /* samples; 0: it ended before an evaluation was over */
    union {
        double samples_per_s; /* in training steps: no evaluation, no checkpoints */
        double images_per_s;  /* its old name, which goes with the next release */
    };
    double wall_s, time_to_first_step_s;
    int ranks;
    int rank; /* of the caller */
};

/* Join the job that this process was started in (alone, mpirun, or ddp-launch). Takes the framework's own
 * options out of argv, those that ddp-launch hands on among them: --resume RUN|latest, --eval RUN|FILE,
 * --quiet; the words themselves must live until close. Collective. */
DDP_API int ddp_session_open(int *argc, char ***argv, struct ddp_session **out, struct ddp_error *err);
/* Read and check a config file with overrides ("optim.lr=0.1"). Collective; same arguments on every rank. */
DDP_API int ddp_session_config(struct ddp_session *s, const char *path, const char *const *overrides, int n,
                               struct ddp_error *err);
/* Train to the end, evaluate, save. Collective. hooks may be NULL. On DDP_E_STOPPED the state was saved and
 * *result is filled in. */
DDP_API int ddp_session_train(struct ddp_session *s, const struct ddp_hooks *hooks, struct ddp_result *result,
                              struct ddp_error *err);
/* After a call that failed: whether this rank should tell the user. False where another rank has the same to
 * say, or ddp-launch says it. s may be NULL (open failed). */
DDP_API bool ddp_session_reports(const struct ddp_session *s);
/* Leave the job; destroys s (NULL is fine). ddp-launch then knows that this rank is done, and prints run
 * directory and weights hash as its last two lines. Collective. */
DDP_API int ddp_session_close(struct ddp_session *s, struct ddp_error *err);

/* "0.1.0" */
DDP_API const char *ddp_version(void);

#ifdef __cplusplus
}
#endif
#endif
