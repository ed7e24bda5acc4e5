/* Hosts as one line, to compare: "n0/4 n1": name/slots, then "c8" for CPUs and "g2" for GPUs where they are
 * said. Included by the tests of host lists. */
#ifndef TESTS_LAUNCHER_HOSTS_TEXT_H
#define TESTS_LAUNCHER_HOSTS_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "launcher/hosts.h"

/* malloc'd */
static inline char *hosts_text(const struct ddp_hosts *hosts)
{
    struct ddp_text t;
    ddp_text_init(&t);
    for (int i = 0; i < hosts->n; i++) {
        const struct ddp_host *h = &hosts->host[i];
        ddp_text_add(&t, "%s%s", i ? " " : "", h->name);
        if (h->slots)
            ddp_text_add(&t, "/%d", h->slots);
        if (h->cpus)
            ddp_text_add(&t, "c%d", h->cpus);
        if (h->gpus >= 0)
            ddp_text_add(&t, "g%d", h->gpus);
    }
    return t.s;
}

static inline void assert_hosts(const char *what, struct ddp_hosts *hosts, const char *expected)
{
    char *text = hosts_text(hosts);
    if (strcmp(text, expected) != 0)
        fail_msg("%s: '%s' and not '%s'", what, text, expected);
    free(text);
    ddp_hosts_finish(hosts);
    assert_int_equal(hosts->n, 0);
}

static inline void assert_says(const char *what, const struct ddp_error *err, const char *const *says)
{
    for (; *says; says++)
        if (!strstr(err->text, *says))
            fail_msg("%s: '%s' is not in '%s'", what, *says, err->text);
}

/* A file with this text in a new name. */
static inline void write_hosts_file(char path[64], const char *text)
{
    strcpy(path, "/tmp/ddp-hosts-XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

#endif
