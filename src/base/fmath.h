/* Elementary functions of our own: glibc's change between versions and CPUs, these do not. Plain double
 * arithmetic with explicit fma, so every compiler and CPU gives the same bits. Used for schedules, data and
 * initial values; the kernels have vector forms of the float ones they need (ops/cpu/vmath.h).
 *
 * Accuracy: below 2 ulp over the stated domains (pow: 2 + |y ln x| ulp). Special values as in C:
 * ln(0) = -inf, exp(-inf) = 0, nan in nan out. */
#ifndef DDP_BASE_FMATH_H
#define DDP_BASE_FMATH_H

double ddp_exp(double x);
double ddp_ln(double x);            /* natural logarithm */
double ddp_pow(double x, double y); /* x >= 0 */
double ddp_sqrt(double x);          /* correctly rounded: the hardware's */
double ddp_sin(double x);           /* |x| <= 1e5 */
double ddp_cos(double x);           /* |x| <= 1e5 */

/* Flush-to-zero off, denormals kept, round to nearest: every thread that computes calls it first. */
void ddp_float_mode(void);

#endif
