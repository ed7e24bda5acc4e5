/* What else was going on while something was measured: CPU time of others on our CPUs, what the host of a
 * virtual machine took, and how long anything waited for a CPU. */
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/report/private.h"

void bench_load_parse(const char *stat, bool (*allowed)(int cpu), double tick, double *busy, double *steal,
                      double *all)
{
    *busy = *steal = *all = 0;
    for (const char *line = stat; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        /* user nice system idle iowait irq softirq steal: guests are part of user and nice */
        double t[8] = {0};
        int cpu, n = sscanf(line, "cpu%d %lf %lf %lf %lf %lf %lf %lf %lf", &cpu, &t[0], &t[1], &t[2], &t[3],
                            &t[4], &t[5], &t[6], &t[7]);
        if (n < 5 || !allowed(cpu))
            continue;
        for (int i = 0; i < 8; i++)
            *all += t[i] / tick;
        *busy += (t[0] + t[1] + t[2] + t[5] + t[6]) / tick;
        *steal += t[7] / tick;
    }
}

double bench_load_pressure(const char *text)
{
    double us;
    const char *some = strstr(text, "some "), *total = some ? strstr(some, "total=") : NULL;
    return total && sscanf(total, "total=%lf", &us) == 1 ? us * 1e-6 : NAN;
}

static cpu_set_t mine;

static bool is_mine(int cpu)
{
    return cpu >= 0 && cpu < CPU_SETSIZE && CPU_ISSET(cpu, &mine);
}

static double cpu_seconds(int who)
{
    struct rusage u;
    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

void bench_load_mark(struct bench_load_mark *m)
{
    char *text;
    size_t bytes;
    *m = (struct bench_load_mark){.now = ddp_now(), .pressure = NAN};
    m->own = cpu_seconds(RUSAGE_SELF) + cpu_seconds(RUSAGE_CHILDREN);
    getloadavg(&m->average, 1);
    if (sched_getaffinity(0, sizeof mine, &mine) != 0)
        CPU_ZERO(&mine);
    if (ddp_file_read("/proc/stat", 0, &text, &bytes, NULL) == 0) {
        bench_load_parse(text, is_mine, (double)sysconf(_SC_CLK_TCK), &m->busy, &m->steal, &m->all);
        free(text);
    }
    if (ddp_file_read("/proc/pressure/cpu", 0, &text, &bytes, NULL) == 0) {
        m->pressure = bench_load_pressure(text);
        free(text);
    }
}

void bench_load_between(const struct bench_load_mark *from, const struct bench_load_mark *to,
                        struct bench_load *out)
{
    const double wall = to->now - from->now, per_s = wall > 0 ? 1 / wall : 0, all = to->all - from->all;
    const double own = (to->own - from->own) * per_s;
    const double other = (to->busy - from->busy) * per_s - own, most = CPU_COUNT(&mine) - own;
    *out = (struct bench_load){
        .wall_s = wall,
        .cpus = CPU_COUNT(&mine),
        .own_cpus = own,
        .other_cpus = fmax(0, fmin(other, most)), /* ticks are coarse */
        .steal_percent = all > 0 ? 100 * (to->steal - from->steal) / all : 0,
        .pressure_percent = 100 * (to->pressure - from->pressure) * per_s,
        .before = from->average,
        .after = to->average,
    };
}
