/* Train from your own program: a hook sees every step and may end the run.
 *
 *   ddp-launch -n 4 --program ./train CONFIG     four placed and supervised ranks
 *   mpirun -n 4 ./train CONFIG                   four ranks of your own
 *   ./train CONFIG [key=value ...]               one rank */
#include <ddp/ddp.h>
#include <stdio.h>

struct watch {
    double best;
};

static bool on_step(void *user, const struct ddp_step_info *info)
{
    struct watch *w = user;
    if (info->accuracy > w->best)
        w->best = info->accuracy;
    if (info->step % 10 == 0)
        printf("step %lld: loss %.4f, best batch %.1f %%\n", (long long)info->step, info->loss,
               100 * w->best);
    return false; /* true ends the run after this step */
}

int main(int argc, char **argv)
{
    struct ddp_error err = {0};
    struct ddp_session *session = NULL;
    struct ddp_result result;
    struct watch watch = {0};
    struct ddp_hooks hooks = {.on_step = on_step, .user = &watch};
    if (argc < 2) {
        fprintf(stderr, "usage: %s CONFIG [key=value ...]\n", argv[0]);
        return DDP_EXIT_USAGE;
    }
    int status = ddp_session_open(&argc, &argv, &session, &err);
    if (status == 0)
        status = ddp_session_config(session, argv[1], (const char *const *)argv + 2, argc - 2, &err);
    if (status == 0)
        status = ddp_session_train(session, &hooks, &result, &err);
    if (status == 0 && result.rank == 0)
        printf("accuracy %.4f, weights %s, in %s\n", result.eval_accuracy, result.weights_hash,
               result.run_dir);
    else if (status && ddp_session_reports(session))
        fprintf(stderr, "%s\n", err.text);
    ddp_session_close(session, &err);
    return ddp_error_exit(status);
}
