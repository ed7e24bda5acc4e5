/* The runs of a folder. */
#include "shelf.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int ddp_shelf_filter_parse(const char *word, struct ddp_shelf_filter *out, struct ddp_error *err)
{
    struct ddp_shelf_filter f = {0};
    const size_t n = strcspn(word, "=");
    if (word[n] == '\0' || n == 0)
        return ddp_fail(err, DDP_E_USAGE, "'%s' is no filter: COLUMN=VALUE or COLUMN!=VALUE is wanted", word);
    f.not = word[n - 1] == '!';
    f.wanted = word + n + 1;
    snprintf(f.column, sizeof f.column, "%.*s", (int)(n - (f.not ? 1 : 0)), word);
    const int status = ddp_past_column_check(f.column, err);
    if (status == 0)
        *out = f;
    return status;
}

bool ddp_shelf_filter_holds(const struct ddp_shelf_filter *f, const struct ddp_past *p)
{
    json_t *value = ddp_past_column_value(p, f->column);
    double wanted;
    bool same;
    if (json_is_number(value) && ddp_parse_double(f->wanted, &wanted)) {
        same = json_number_value(value) == wanted;
    } else if (json_is_boolean(value)) {
        same = strcmp(f->wanted, json_is_true(value) ? "true" : "false") == 0 ||
               strcmp(f->wanted, json_is_true(value) ? "yes" : "no") == 0;
    } else {
        char *text = ddp_past_value_text(value);
        same = fnmatch(f->wanted, text, 0) == 0;
        free(text);
    }
    json_decref(value);
    return same != f->not ;
}

/* Whether what lies there is a folder that keeps us out. A file without a bit to run it is none. */
static bool is_closed(const char *path, const struct dirent *e)
{
    struct stat st;
    const bool folder = lstat(path, &st) == 0 ? S_ISDIR(st.st_mode) : e->d_type == DT_DIR;
    return folder && access(path, X_OK) != 0 && errno == EACCES;
}

int ddp_shelf_read(const char *dir, struct ddp_shelf *out, struct ddp_error *err)
{
    struct ddp_shelf s = {0};
    DIR *d = opendir(dir);
    if (!d)
        return ddp_fail(err, DDP_E_USAGE, "%s: %s; name the folder that the runs lie in", dir,
                        strerror(errno));
    for (struct dirent *e; (e = readdir(d));) {
        char path[2048];
        struct stat st;
        struct ddp_past p;
        if (e->d_name[0] == '.')
            continue;
        if (snprintf(path, sizeof path, "%s/%s", dir, e->d_name) >= (int)sizeof path ||
            lstat(path, &st) != 0 || !S_ISDIR(st.st_mode) || ddp_past_read(path, &p, NULL) != 0) {
            s.others++;
            s.closed += is_closed(path, e);
            continue;
        }
        s.run = ddp_realloc(s.run, (size_t)(s.n + 1) * sizeof *s.run);
        s.run[s.n++] = p;
    }
    closedir(d);
    for (int i = 0; i < s.n; i++) { /* they lie elsewhere now */
        const char *slash = strrchr(s.run[i].path, '/');
        s.run[i].name = slash ? slash + 1 : s.run[i].path;
    }
    ddp_shelf_sort(&s, "name", false);
    ddp_shelf_sort(&s, "began", false);
    *out = s;
    return 0;
}

void ddp_shelf_finish(struct ddp_shelf *s)
{
    for (int i = 0; i < s->n; i++)
        ddp_past_finish(&s->run[i]);
    free(s->run);
    *s = (struct ddp_shelf){0};
}

/* Moving a run moves what its name points into. */
static void put(struct ddp_past *to, const struct ddp_past *from)
{
    const size_t at = (size_t)(from->name - from->path);
    *to = *from;
    to->name = to->path + at;
}

void ddp_shelf_keep(struct ddp_shelf *s, const struct ddp_shelf_filter *filter, int n)
{
    int kept = 0;
    for (int i = 0; i < s->n; i++) {
        bool holds = true;
        for (int k = 0; k < n && holds; k++)
            holds = ddp_shelf_filter_holds(&filter[k], &s->run[i]);
        if (!holds)
            ddp_past_finish(&s->run[i]);
        else if (kept++ != i)
            put(&s->run[kept - 1], &s->run[i]);
    }
    s->n = kept;
}

struct placed {
    json_t *value;
    int at, sign;
};

static int order(const void *x, const void *y)
{
    const struct placed *a = x, *b = y;
    const bool none = json_is_null(a->value) || json_is_null(b->value); /* last either way */
    const int by = ddp_past_value_order(a->value, b->value) * (none ? 1 : a->sign);
    return by ? by : (a->at < b->at ? -1 : a->at > b->at);
}

void ddp_shelf_sort(struct ddp_shelf *s, const char *column, bool reverse)
{
    if (s->n < 2)
        return;
    struct placed *list = ddp_calloc((size_t)s->n, sizeof *list);
    struct ddp_past *sorted = ddp_calloc((size_t)s->n, sizeof *sorted);
    for (int i = 0; i < s->n; i++)
        list[i] = (struct placed){ddp_past_column_value(&s->run[i], column), i, reverse ? -1 : 1};
    qsort(list, (size_t)s->n, sizeof *list, order);
    for (int i = 0; i < s->n; i++)
        put(&sorted[i], &s->run[list[i].at]);
    for (int i = 0; i < s->n; i++)
        json_decref(list[i].value);
    free(list);
    free(s->run);
    s->run = sorted;
}
