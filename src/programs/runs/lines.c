/* Reading records of steps one by one. */
#include "lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NEWEST = 2 }; /* version of the trail */

static void end(struct ddp_lines *l)
{
    json_decref(l->now);
    l->now = NULL;
    if (l->file)
        fclose(l->file);
    l->file = NULL;
}

/* The next line that ends with a newline, as JSON; NULL with l->file NULL: that was all; NULL else: it is no
 * object. */
static json_t *read_line(struct ddp_lines *l)
{
    if (!l->file)
        return NULL;
    const ssize_t n = getline(&l->line, &l->room, l->file);
    if (n <= 0 || l->line[n - 1] != '\n') { /* the last one may be on its way */
        l->bad += n > 0;
        fclose(l->file);
        l->file = NULL;
        return NULL;
    }
    json_t *o = json_loadb(l->line, (size_t)n, 0, NULL);
    if (json_is_object(o))
        return o;
    json_decref(o);
    return NULL;
}

static bool is_known(struct ddp_lines *l, const json_t *head, const char *format)
{
    const char *says = json_string_value(json_object_get(head, "format"));
    const json_int_t version = json_integer_value(json_object_get(head, "version"));
    if (!says || strcmp(says, format) != 0)
        snprintf(l->fault, sizeof l->fault, "its first line does not say that it is a %s", format);
    else if (version < 1 || version > NEWEST)
        snprintf(l->fault, sizeof l->fault,
                 "it is of version %lld, and only versions up to %d are known here", (long long)version,
                 NEWEST);
    l->version = version;
    return *l->fault == '\0';
}

void ddp_lines_open(struct ddp_lines *l, const char *run, const char *name, const char *format)
{
    struct stat st;
    *l = (struct ddp_lines){.step = -1};
    snprintf(l->path, sizeof l->path, "%s/%s", run, name);
    if (stat(l->path, &st) != 0 && errno == ENOENT)
        return;
    if (stat(l->path, &st) == 0 && !S_ISREG(st.st_mode)) {
        snprintf(l->fault, sizeof l->fault, "it is no file");
        return;
    }
    l->file = fopen(l->path, "re");
    if (!l->file) {
        snprintf(l->fault, sizeof l->fault, "%s", strerror(errno));
        return;
    }
    if (format) {
        json_t *head = read_line(l);
        const bool known = is_known(l, head, format);
        json_decref(head);
        if (!known) {
            end(l);
            return;
        }
    }
    ddp_lines_next(l);
}

void ddp_lines_next(struct ddp_lines *l)
{
    json_decref(l->now);
    l->now = NULL;
    while (l->file) {
        json_t *o = read_line(l);
        const json_t *at = json_object_get(o, "step");
        if (json_is_integer(at) && json_integer_value(at) >= l->step && json_integer_value(at) >= 0) {
            l->step = json_integer_value(at);
            l->now = o;
            l->records++;
            return;
        }
        l->bad += l->file != NULL;
        json_decref(o);
    }
}

void ddp_lines_close(struct ddp_lines *l)
{
    end(l);
    free(l->line);
    l->line = NULL;
}
