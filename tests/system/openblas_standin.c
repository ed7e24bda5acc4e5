/* A library with the names of OpenBLAS that ddp-bench looks for. cblas_sgemm computes its first nine calls,
 * the products of three layers that are checked, and leaves later results as they are; it wants to be asked
 * for one thread first. STANDIN_WRONG=1: one number is off. */
#include <stdlib.h>

int openblas_threads = 64;

void openblas_set_num_threads(int n)
{
    openblas_threads = n;
}

char *openblas_get_config(void)
{
    return "OpenBLAS 9.8.7 NO_AFFINITY";
}

char *openblas_get_corename(void)
{
    return "Standin";
}

/* c [m, n] = a [m, k] b [k, n]; 112: stored the other way round. */
void cblas_sgemm(int order, int turn_a, int turn_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc)
{
    static int calls;
    if (order != 101 || openblas_threads != 1 || alpha != 1 || beta != 0)
        abort();
    if (calls++ >= 9)
        return;
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            float sum = 0;
            for (int l = 0; l < k; l++)
                sum += (turn_a == 112 ? a[l * lda + i] : a[i * lda + l]) *
                       (turn_b == 112 ? b[j * ldb + l] : b[l * ldb + j]);
            c[i * ldc + j] = sum;
        }
    if (getenv("STANDIN_WRONG"))
        c[(m - 1) * ldc + n - 1] += 1;
}
