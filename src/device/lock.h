/* The plan lock: which algorithm of the vendor's libraries computes each convolution and matrix product of a
 * run. Same lock, same kind of GPU, same libraries: same bits. It is kept in the run directory and in each
 * checkpoint as plan.lock.json:
 *
 *   {
 *     "format": "ddp plan lock 1",
 *     "identity": {
 *       "device": "NVIDIA H100 80GB HBM3",
 *       "compute_capability": "9.0",
 *       "sms": 132,
 *       "driver": 13000,
 *       "runtime": 13000,
 *       "cudnn": 91900,
 *       "cublaslt": 130000
 *     },
 *     "plans": {
 *       "conv fwd n128 h32 w32 c64 k64 r3 s3 st1 p1 g1 bf16": "eng=12;k3=1;k7=2"
 *     }
 *   }
 *
 * Versions as the vendors number them. All strings are printable ASCII without quotes and backslashes, plans
 * are sorted by their signature (bytes), so equal locks are equal files. */
#ifndef DDP_GPU_LOCK_H
#define DDP_GPU_LOCK_H

#include "base/text.h"
#include "device/api.h"

#define DDP_GPU_LOCK_FILE "plan.lock.json"

/* What has to be the same for a lock to give the same bits. */
struct ddp_gpu_identity {
    char device[128];
    int sms, major, minor;
    int driver, runtime, cudnn, cublaslt;
};

/* Characters of the device's name that a lock cannot hold become '?'. */
void ddp_gpu_identity_init(struct ddp_gpu_identity *id, const struct ddp_gpu_info *info,
                           const struct ddp_gpu_versions *versions);

struct ddp_gpu_lock;
struct ddp_gpu_lock *ddp_gpu_lock_create(const struct ddp_gpu_identity *id); /* no plans */
void ddp_gpu_lock_destroy(struct ddp_gpu_lock *lock);                        /* NULL is fine */
const struct ddp_gpu_identity *ddp_gpu_lock_identity(const struct ddp_gpu_lock *lock);
size_t ddp_gpu_lock_count(const struct ddp_gpu_lock *lock);

/* The plan's text, owned by the lock until the next add; NULL: no such signature. */
const char *ddp_gpu_lock_find(const struct ddp_gpu_lock *lock, const char *signature);
/* Texts are copied. The same again is fine; another text for a signature, or a string that a lock cannot hold
 * (also an empty one, or one above 1,000 bytes): DDP_E_INTERNAL. */
int ddp_gpu_lock_add(struct ddp_gpu_lock *lock, const char *signature, const char *text,
                     struct ddp_error *err);

/* Does the lock fit the machine at hand? DDP_E_CONFIG lists each field that differs and the way out
 * (--relock). */
int ddp_gpu_lock_match(const struct ddp_gpu_lock *lock, const struct ddp_gpu_identity *here,
                       struct ddp_error *err);

/* The file's text, added to t; and its SHA-256: what sha256sum says of a file that write() left. */
void ddp_gpu_lock_text(const struct ddp_gpu_lock *lock, struct ddp_text *t);
void ddp_gpu_lock_hash(const struct ddp_gpu_lock *lock, char hex[65]);
/* Complete or absent. DDP_E_IO with path and reason. */
int ddp_gpu_lock_write(const struct ddp_gpu_lock *lock, const char *path, struct ddp_error *err);

/* Read what text() wrote; any layout of the JSON, but no key more, less or twice. name: of the file, for
 * errors. DDP_E_CONFIG with name and reason. Caller destroys. */
int ddp_gpu_lock_parse(const char *name, const char *json, size_t bytes, struct ddp_gpu_lock **out,
                       struct ddp_error *err);
int ddp_gpu_lock_read(const char *path, struct ddp_gpu_lock **out, struct ddp_error *err); /* also DDP_E_IO */

/* What a problem is called in a lock; returns buf.
 *
 *   "conv wgrad n128 h32 w32 c64 k64 r3 s3 st1 p1 g1 bf16"
 *       fwd, dgrad or wgrad; behind it " tf32" where that is allowed, " bias" or " bias relu" where the call
 *       has them. A lock that has a problem without them alone means that our kernels do the rest.
 *   "matmul m128 n512 l64 nt bf16 f32"
 *       op(a), op(b): n as it is, t transposed; types of the factors and of the result
 */
enum { DDP_GPU_SIGNATURE = 192 };
char *ddp_gpu_conv_signature(const struct ddp_gpu_conv *c, enum ddp_gpu_conv_pass pass,
                             char buf[DDP_GPU_SIGNATURE]);
char *ddp_gpu_matmul_signature(const struct ddp_gpu_matmul *m, char buf[DDP_GPU_SIGNATURE]);

#endif
