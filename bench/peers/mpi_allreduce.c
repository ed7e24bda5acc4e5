/* MPI_Allreduce by itself, a program of MPI alone: what `ddp-bench allreduce` is compared with.
 *
 *   mpirun -n 2 ddp-bench-mpi FIRST LAST FACTOR ROUNDS
 *
 * sums floats of FIRST, FIRST * FACTOR, .. up to LAST bytes, and prints for each size a line
 *
 *   row BYTES WRONG SECONDS ..
 *
 * WRONG: elements that were not the sum, on any rank, of inputs whose sum is exact. SECONDS: one for each
 * round, of a call, by the slowest rank: a round is as many calls as take some 20 ms. What is summed was
 * written just before, each time; the time of writing alone is taken off. Also built by
 * `mpicc -O2 mpi_allreduce.c`. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double ROUND_S = 0.02;
enum { MOST_CALLS = 1000 };

/* Whole numbers within +-125: sums of 100,000 ranks are exact in fp32. */
static float input(long i, int rank)
{
    return (float)((i * 7 + rank * 13) % 251 - 125);
}

static long count_wrong(const float *sum, long count, int size)
{
    long wrong = 0;
    for (long i = 0; i < count; i++) {
        float want = 0;
        for (int r = 0; r < size; r++)
            want += input(i, r);
        wrong += sum[i] != want;
    }
    return wrong;
}

struct buffers {
    const float *fresh;
    float *in, *out;
    long count;
    double writing; /* seconds that it takes to write `in`, at best */
};

/* Seconds of writing the input and a call, by the slowest rank. What writing takes by itself is noted, to be
 * taken off. */
static double time_calls(struct buffers *b, int calls)
{
    double took, most;
    took = MPI_Wtime();
    for (int i = 0; i < calls; i++)
        memcpy(b->in, b->fresh, (size_t)b->count * sizeof *b->in);
    took = (MPI_Wtime() - took) / calls;
    b->writing = b->writing > 0 && b->writing < took ? b->writing : took;
    MPI_Barrier(MPI_COMM_WORLD);
    took = MPI_Wtime();
    for (int i = 0; i < calls; i++) {
        memcpy(b->in, b->fresh, (size_t)b->count * sizeof *b->in);
        MPI_Allreduce(b->in, b->out, (int)b->count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    }
    took = (MPI_Wtime() - took) / calls;
    MPI_Allreduce(&took, &most, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return most;
}

static int find_calls(double once)
{
    const double n = ROUND_S / (once > 1e-9 ? once : 1e-9);
    return n < 1 ? 1 : n > MOST_CALLS ? MOST_CALLS : (int)n;
}

static int measure(long bytes, int rounds, int rank, int size)
{
    const long count = bytes / (long)sizeof(float);
    float *fresh = malloc((size_t)bytes);
    struct buffers b = {fresh, malloc((size_t)bytes), malloc((size_t)bytes), count, 0};
    if (!fresh || !b.in || !b.out) {
        fprintf(stderr, "no memory for %ld bytes, three times\n", bytes);
        free(fresh);
        free(b.in);
        free(b.out);
        return 1;
    }
    for (long i = 0; i < count; i++) {
        fresh[i] = input(i, rank);
        b.out[i] = -1;
    }
    memcpy(b.in, fresh, (size_t)bytes);
    MPI_Allreduce(b.in, b.out, (int)count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    long wrong = count_wrong(b.out, count, size), all = 0;
    MPI_Reduce(&wrong, &all, 1, MPI_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
    const int calls = find_calls(time_calls(&b, 3));
    double *seconds = malloc((size_t)rounds * sizeof *seconds);
    for (int round = 0; round < rounds && seconds; round++)
        seconds[round] = time_calls(&b, calls);
    if (rank == 0 && seconds) {
        printf("row %ld %ld", bytes, all);
        for (int round = 0; round < rounds; round++)
            printf(" %.9f", seconds[round] > b.writing ? seconds[round] - b.writing : 0.0);
        printf("\n");
        fflush(stdout);
    }
    free(seconds);
    free(fresh);
    free(b.in);
    free(b.out);
    return 0;
}

int main(int argc, char **argv)
{
    int rank, size, status = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    const long first = argc == 5 ? atol(argv[1]) : 0, last = argc == 5 ? atol(argv[2]) : 0,
               factor = argc == 5 ? atol(argv[3]) : 0;
    const int rounds = argc == 5 ? atoi(argv[4]) : 0;
    if (first < (long)sizeof(float) || factor < 2 || rounds < 1) {
        if (rank == 0)
            fprintf(stderr, "usage: mpirun -n N %s FIRST LAST FACTOR ROUNDS\n", argv[0]);
        status = 2;
    }
    for (long bytes = first; status == 0 && bytes <= last; bytes *= factor)
        status = measure(bytes, rounds, rank, size);
    if (status == 1)
        MPI_Abort(MPI_COMM_WORLD, 3);
    MPI_Finalize();
    return status;
}
