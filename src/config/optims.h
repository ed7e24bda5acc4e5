/* The optimizers, a line each: NAME of DDP_OPTIM_NAME, and the name that configs, src/optim/name.c and its
 * kernels have. The table of keys, the list of tables and the plug-in's list of kernels follow from it. */
#ifndef DDP_CONFIG_OPTIMS_H
#define DDP_CONFIG_OPTIMS_H

#define DDP_OPTIMS(X)                                                                                        \
    X(SGD, sgd)                                                                                              \
    X(ADAMW, adamw)                                                                                          \
    X(LARS, lars)                                                                                            \
    X(LAMB, lamb)                                                                                            \
    X(ADAM, adam)                                                                                            \
    X(RMSPROP, rmsprop)

#define DDP_OPTIM_NUMBER(NAME, name) DDP_OPTIM_##NAME,
enum { DDP_OPTIMS(DDP_OPTIM_NUMBER) DDP_OPTIMS_COUNT };

#endif
