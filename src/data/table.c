/* CSV to numbers. */
#include "data/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COLUMNS = 1 << 20, MAX_FIELD = 4096 };

struct reader {
    const char *path;
    const char *p, *end;
    int line;
    char field[MAX_FIELD];
};

static int bad(const struct reader *r, struct ddp_error *err, const char *what)
{
    return ddp_fail(err, DDP_E_DATA, "%s:%d: %s", r->path, r->line, what);
}

/* The next field into r->field. *last: it ends its line. */
static int next_field(struct reader *r, bool *last, struct ddp_error *err)
{
    size_t n = 0;
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t'))
        r->p++;
    const bool quoted = r->p < r->end && *r->p == '"';
    r->p += quoted;
    for (;; r->p++) {
        if (quoted && r->p < r->end && *r->p == '"') {
            if (r->p + 1 == r->end || r->p[1] != '"')
                break;
            r->p++;
        } else if (r->p == r->end || *r->p == '\n' || (!quoted && (*r->p == ',' || *r->p == '\r'))) {
            if (quoted)
                return bad(r, err, "a quoted field does not end on its line");
            break;
        }
        if (n == MAX_FIELD - 1)
            return bad(r, err, "a field is longer than 4095 bytes");
        r->field[n++] = *r->p;
    }
    r->p += quoted;
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t'))
        r->p++;
    while (!quoted && n > 0 && (r->field[n - 1] == ' ' || r->field[n - 1] == '\t'))
        n--;
    r->field[n] = '\0';
    *last = true;
    if (r->p < r->end && *r->p == ',') {
        *last = false;
        r->p++;
        return 0;
    }
    r->p += r->p < r->end && *r->p == '\r';
    if (r->p < r->end && *r->p != '\n')
        return bad(r, err, "something follows a quoted field; fields are separated by commas");
    r->p += r->p < r->end;
    return 0;
}

/* Blank lines hold no sample. */
static bool at_end(struct reader *r)
{
    while (r->p < r->end && (*r->p == '\n' || *r->p == '\r')) {
        r->line += *r->p == '\n';
        r->p++;
    }
    return r->p == r->end;
}

static int read_names(struct reader *r, struct ddp_table *t, struct ddp_error *err)
{
    bool last = false;
    int status = 0, room = 0;
    if (r->end - r->p >= 3 && memcmp(r->p, "\xef\xbb\xbf", 3) == 0)
        r->p += 3; /* a byte order mark */
    if (at_end(r))
        return ddp_fail(err, DDP_E_DATA, "%s is empty; its first line has the names of the columns", r->path);
    while (!last && (status = next_field(r, &last, err)) == 0) {
        if (t->columns == MAX_COLUMNS)
            return bad(r, err, "more columns than any table has");
        if (t->columns == room)
            t->name = ddp_realloc(t->name, (size_t)(room = 2 * room + 16) * sizeof *t->name);
        t->name[t->columns++] = ddp_strdup(r->field);
    }
    r->line++;
    return status;
}

static int open_file(const char *path, struct reader *r, const void **data, size_t *bytes,
                     struct ddp_error *err)
{
    const int status = ddp_file_map(path, data, bytes, err);
    if (status)
        return status;
    *r = (struct reader){.path = path, .line = 1};
    r->p = *data;
    r->end = *bytes > 0 ? r->p + *bytes : r->p; /* an empty file is mapped nowhere */
    return 0;
}

int ddp_table_names(const char *path, struct ddp_table *out, struct ddp_error *err)
{
    struct reader *r = ddp_calloc(1, sizeof *r);
    const void *data;
    size_t bytes;
    *out = (struct ddp_table){0};
    int status = open_file(path, r, &data, &bytes, err);
    if (status == 0) {
        status = read_names(r, out, err);
        ddp_file_unmap(data, bytes);
    }
    if (status)
        ddp_table_finish(out);
    free(r);
    return status;
}

/* place[column of the file] = column of the table, -1: not wanted. */
static int find_columns(const char *path, const struct ddp_table *all, const struct ddp_strings *names,
                        int *place, struct ddp_error *err)
{
    if (all->columns == 0)
        return ddp_fail(err, DDP_E_DATA, "%s: there are no columns", path);
    for (int i = 0; i < all->columns; i++)
        place[i] = -1;
    for (int k = 0; k < names->n; k++) {
        int found = 0;
        for (int i = 0; i < all->columns; i++)
            if (strcmp(all->name[i], names->v[k]) == 0) {
                place[i] = k;
                found++;
            }
        if (found != 1)
            return ddp_fail(err, DDP_E_DATA,
                            "%s: %s column is named \"%s\"; its first line has %d names from "
                            "\"%s\" to \"%s\"",
                            path, found ? "more than one" : "no", names->v[k], all->columns, all->name[0],
                            all->name[all->columns - 1]);
    }
    return 0;
}

int ddp_table_find(const char *path, const struct ddp_table *all, const struct ddp_strings *names,
                   struct ddp_error *err)
{
    int *place = ddp_calloc((size_t)all->columns + 1, sizeof *place);
    const int status = find_columns(path, all, names, place, err);
    free(place);
    return status;
}

static int read_row(struct reader *r, const struct ddp_table *all, const int *place, float *row,
                    struct ddp_error *err)
{
    bool last = false;
    int n = 0, status = 0;
    for (; !last && status == 0; n++) {
        double v;
        status = next_field(r, &last, err);
        if (status || n >= all->columns || place[n] < 0)
            continue;
        if (!ddp_parse_double(r->field, &v) || !isfinite((float)v))
            return ddp_fail(
                err, DDP_E_DATA,
                "%s:%d: column \"%s\" holds \"%.40s\", which is no number; mend or leave out the line, "
                "or name the columns to read in data.inputs",
                r->path, r->line, all->name[n], r->field);
        row[place[n]] = (float)v;
    }
    if (status == 0 && n != all->columns)
        status = ddp_fail(err, DDP_E_DATA, "%s:%d: %d fields, but the first line has %d names", r->path,
                          r->line, n, all->columns);
    r->line++;
    return status;
}

int ddp_table_read(const char *path, const struct ddp_strings *names, struct ddp_table *out,
                   struct ddp_error *err)
{
    struct reader *r = ddp_calloc(1, sizeof *r);
    struct ddp_table all = {0}, t = {.columns = names->n};
    const void *data;
    size_t bytes;
    int *place = NULL;
    int64_t room = 0;
    int status = open_file(path, r, &data, &bytes, err);
    if (status)
        goto free_reader;
    status = read_names(r, &all, err);
    place = ddp_calloc((size_t)all.columns + 1, sizeof *place);
    if (status == 0)
        status = find_columns(path, &all, names, place, err);
    while (status == 0 && !at_end(r)) {
        if (t.rows == room)
            t.value =
                ddp_realloc(t.value, (size_t)(room = 2 * room + 1024) * (size_t)names->n * sizeof(float));
        status = read_row(r, &all, place, t.value + t.rows * names->n, err);
        t.rows++;
    }
    if (status == 0 && t.rows == 0)
        status = ddp_fail(err, DDP_E_DATA, "%s holds names of columns, and no line below them", path);
    ddp_file_unmap(data, bytes);
    if (status) {
        free(t.value);
        goto free_names;
    }
    t.name = ddp_calloc((size_t)names->n + 1, sizeof *t.name);
    for (int i = 0; i < names->n; i++)
        t.name[i] = ddp_strdup(names->v[i]);
    *out = t;
free_names:
    free(place);
    ddp_table_finish(&all);
free_reader:
    free(r);
    return status;
}

void ddp_table_finish(struct ddp_table *t)
{
    for (int i = 0; i < t->columns && t->name; i++)
        free(t->name[i]);
    free(t->name);
    free(t->value);
    *t = (struct ddp_table){0};
}
