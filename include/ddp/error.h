/* Errors as values: every fallible function takes a caller-owned `struct ddp_error` as its last parameter and
 * returns 0 or a negative code from DDP_ERRORS. The first to see a fault words it; callers may put where they
 * were in front of it with ddp_error_prefix(). A library function never exits and never prints. */
#ifndef DDP_ERROR_H
#define DDP_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#define DDP_API               __attribute__((visibility("default")))
#define DDP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/*   name       text                                    exit code of a program that ends because of it */
#define DDP_ERRORS(X)                                                                                        \
    X(DDP_E_USAGE, "wrong use", 2)       /* of a command line or of the API */                               \
    X(DDP_E_CONFIG, "config", 2)         /* a key, a value, a file of the config */                          \
    X(DDP_E_SHAPE, "shape", 2)           /* tensors that do not fit together */                              \
    X(DDP_E_DATA, "data", 3)             /* a data set that is missing, damaged or too small */              \
    X(DDP_E_CHECKPOINT, "checkpoint", 3) /* damaged, incomplete, or of another model */                      \
    X(DDP_E_RESOURCE, "resource", 3)     /* memory, disk, cores, ranks, programs: missing or too small */    \
    X(DDP_E_IO, "input/output", 3)       /* the system refused a file operation */                           \
    X(DDP_E_COMM, "communication", 4)    /* a peer or the transport failed */                                \
    X(DDP_E_DEVICE, "device", 4)         /* a GPU failed while it computed */                                \
    X(DDP_E_NUMERIC, "numeric", 4)       /* a loss or tensor is not finite */                                \
    X(DDP_E_INTERNAL, "internal", 4)     /* a bug of ours */                                                 \
    X(DDP_E_STOPPED, "stopped", 75)      /* asked to stop by a signal, state saved */

enum ddp_error_code {
    DDP_OK = 0,
#define DDP_ERROR_ENUM(name, text, status) name##_INDEX,
    DDP_ERROR_FIRST_ = 0,
    DDP_ERRORS(DDP_ERROR_ENUM)
#undef DDP_ERROR_ENUM
#define DDP_ERROR_ENUM(name, text, status) name = -name##_INDEX,
        DDP_ERRORS(DDP_ERROR_ENUM)
#undef DDP_ERROR_ENUM
};

/* Exit codes of all programs (ddp-launch --help documents them). */
enum ddp_exit {
    DDP_EXIT_OK = 0,
    DDP_EXIT_USAGE = 2,    /* usage or config */
    DDP_EXIT_RESOURCE = 3, /* a resource is missing or too small */
    DDP_EXIT_RANK = 4,     /* a rank failed */
    DDP_EXIT_STOPPED = 75, /* stopped by a signal after saving */
    DDP_EXIT_KILLED = 130, /* a second Ctrl-C */
};

struct ddp_error {
    int code;        /* 0 or a DDP_E_ code */
    char text[8192]; /* one or more lines, no trailing newline; "" when code is 0 */
};

/* Set *err (NULL is allowed) to code and the formatted text and return code. */
DDP_API int ddp_fail(struct ddp_error *err, int code, const char *fmt, ...) DDP_PRINTF(3, 4);

/* Put "PREFIX: " in front of err's text; returns err's code. */
DDP_API int ddp_error_prefix(struct ddp_error *err, const char *fmt, ...) DDP_PRINTF(2, 3);

/* Add one line to err's text (sets code if it was 0); used where all errors are shown, not the first. Returns
 * code. */
DDP_API int ddp_error_add(struct ddp_error *err, int code, const char *fmt, ...) DDP_PRINTF(3, 4);

/* "shape", "config", ...: the short text of a code. Static. */
DDP_API const char *ddp_error_name(int code);

/* The exit status (enum ddp_exit) that a program ends with for a code. */
DDP_API int ddp_error_exit(int code);

#ifdef __cplusplus
}
#endif
#endif
