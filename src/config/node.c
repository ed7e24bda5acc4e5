/* The tree between file and struct. */
#include "config/parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '*';
}
static bool name_part(char c)
{
    return name_start(c) || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool ddp_name_valid(const char *s, int len)
{
    if (len < 1 || !name_start(s[0]))
        return false;
    for (int i = 1; i < len; i++)
        if (!name_part(s[i]))
            return false;
    return true;
}

int ddp_path_next(const char **path, struct ddp_path_part *part)
{
    const char *p = *path;
    if (*p == '\0')
        return 0;
    if (*p == '[') {
        int64_t index = 0;
        int digits = 0;
        for (p++; *p >= '0' && *p <= '9' && digits < 9; p++, digits++)
            index = index * 10 + (*p - '0');
        if (digits == 0 || *p != ']')
            return -1;
        p++;
        if (*p != '\0' && *p != '.' && *p != '[')
            return -1;
        *part = (struct ddp_path_part){NULL, 0, index};
    } else {
        int len = (int)strcspn(p, ".[");
        if (len == 0)
            return -1;
        *part = (struct ddp_path_part){p, len, 0};
        p += len;
    }
    if (*p == '.') {
        p++;
        if (*p == '\0' || *p == '.' || *p == '[')
            return -1;
    }
    *path = p;
    return 1;
}

static bool name_is(const char *name, const struct ddp_path_part *part)
{
    return name && strncmp(name, part->name, (size_t)part->len) == 0 && name[part->len] == '\0';
}

/* The element of a list whose own name the path begins with, the longest: names of layers may hold dots
 * ("layer1.0.conv1"). Its length goes to *len. */
static struct ddp_node *named_element(const struct ddp_node *list, const char *path, size_t *len)
{
    struct ddp_node *best = NULL;
    *len = 0;
    for (struct ddp_node *c = list->first; c; c = c->next) {
        const struct ddp_node *own = c->type == DDP_NODE_GROUP ? ddp_node_child(c, "name") : NULL;
        size_t n = own && own->type == DDP_NODE_STRING ? strlen(own->s) : 0;
        if (n > *len && strncmp(path, own->s, n) == 0 && strchr(".[", path[n])) {
            best = c; /* strchr finds the end of the path, too */
            *len = n;
        }
    }
    return best;
}

struct ddp_node *ddp_node_walk(const struct ddp_node *at, const char **path, struct ddp_path_part *part)
{
    size_t len;
    struct ddp_node *element = at->type == DDP_NODE_LIST ? named_element(at, *path, &len) : NULL;
    if (element) {
        *part = (struct ddp_path_part){*path, (int)len, 0};
        *path += len + ((*path)[len] == '.');
        return element;
    }
    if (ddp_path_next(path, part) != 1)
        return NULL;
    int64_t index = part->index;
    if (part->name) {
        bool digits = strspn(part->name, "0123456789") >= (size_t)part->len && part->len < 10;
        if (at->type == DDP_NODE_GROUP) {
            for (struct ddp_node *c = at->first; c; c = c->next)
                if (name_is(c->name, part))
                    return c;
            return NULL;
        }
        if (!digits)
            return NULL;
        index = strtol(part->name, NULL, 10); /* layers.3 is layers[3] */
    }
    if (at->type != DDP_NODE_LIST)
        return NULL;
    struct ddp_node *c = at->first;
    while (c && index-- > 0)
        c = c->next;
    return c;
}

const struct ddp_node *ddp_node_get(const struct ddp_node *group, const char *path)
{
    struct ddp_path_part part;
    while (group && *path)
        group = ddp_node_walk(group, &path, &part);
    return group;
}

char *ddp_node_path(const struct ddp_node *node, char *buf, int size)
{
    if (size > 0)
        buf[0] = '\0';
    if (node->parent)
        ddp_node_path(node->parent, buf, size);
    else if (!node->name)
        return buf; /* the root */
    int len = (int)strlen(buf);
    if (node->name) {
        snprintf(buf + len, (size_t)(size - len), "%s%s", len ? "." : "", node->name);
    } else {
        int index = 0;
        for (const struct ddp_node *c = node->parent->first; c && c != node; c = c->next)
            index++;
        snprintf(buf + len, (size_t)(size - len), "[%d]", index);
    }
    return buf;
}

struct ddp_node *ddp_node_create(struct ddp_arena *a, enum ddp_node_type type, const char *name,
                                 const char *file, int line)
{
    struct ddp_node *node = ddp_arena_alloc(a, sizeof *node);
    node->type = type;
    node->name = name;
    node->file = file;
    node->line = line;
    return node;
}

struct ddp_node *ddp_node_child(const struct ddp_node *group, const char *name)
{
    for (struct ddp_node *c = group->first; c; c = c->next)
        if (c->name && strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

int ddp_node_count(const struct ddp_node *node)
{
    int n = 0;
    for (const struct ddp_node *c = node->first; c; c = c->next)
        n++;
    return n;
}

/* The link that points to `child`, or the one at the end when child is NULL. */
static struct ddp_node **link_to(struct ddp_node *parent, const struct ddp_node *child)
{
    struct ddp_node **link = &parent->first;
    while (*link && *link != child)
        link = &(*link)->next;
    return link;
}

void ddp_node_add(struct ddp_node *parent, struct ddp_node *child)
{
    *link_to(parent, NULL) = child;
    child->parent = parent;
    child->next = NULL;
}

void ddp_node_remove(struct ddp_node *child)
{
    struct ddp_node **link = link_to(child->parent, child);
    *link = child->next;
    child->parent = child->next = NULL;
}

/* Put `child` in the place of `old` (which must be a child of parent). */
static void replace(struct ddp_node *parent, struct ddp_node *old, struct ddp_node *child)
{
    struct ddp_node **link = link_to(parent, old);
    child->next = old->next;
    child->parent = parent;
    *link = child;
    old->parent = old->next = NULL;
}

void ddp_node_set(struct ddp_node *group, struct ddp_node *child)
{
    struct ddp_node *old = ddp_node_child(group, child->name);
    if (old)
        replace(group, old, child);
    else
        ddp_node_add(group, child);
}

struct ddp_node *ddp_node_copy(struct ddp_arena *a, const struct ddp_node *node)
{
    struct ddp_node *copy = ddp_arena_alloc(a, sizeof *copy);
    *copy = *node;
    copy->parent = copy->next = copy->first = NULL;
    struct ddp_node **tail = &copy->first;
    for (const struct ddp_node *c = node->first; c; c = c->next) {
        *tail = ddp_node_copy(a, c);
        (*tail)->parent = copy;
        tail = &(*tail)->next;
    }
    return copy;
}

void ddp_node_merge(struct ddp_node *under, struct ddp_node *over)
{
    for (struct ddp_node *c = over->first, *next; c; c = next) {
        next = c->next;
        struct ddp_node *old = ddp_node_child(under, c->name);
        if (old && old->type == DDP_NODE_GROUP && c->type == DDP_NODE_GROUP)
            ddp_node_merge(old, c);
        else
            ddp_node_set(under, c);
    }
    over->first = NULL;
}

char *ddp_node_where(const struct ddp_node *node, char buf[DDP_WHERE_SIZE])
{
    if (node->line > 0)
        snprintf(buf, DDP_WHERE_SIZE, "%s:%d", node->file, node->line);
    else
        snprintf(buf, DDP_WHERE_SIZE, "%s", node->file ? node->file : DDP_DEFAULT_FILE);
    return buf;
}

char *ddp_node_place(const struct ddp_node *node, char *buf, int size)
{
    char where[DDP_WHERE_SIZE];
    snprintf(buf, (size_t)size, "%s%s", node ? ddp_node_where(node, where) : "", node ? ": " : "");
    return buf;
}

char *ddp_config_where(const struct ddp_config *cfg, const char *key, char *buf, int size)
{
    return ddp_node_place(cfg->tree ? ddp_node_get(cfg->tree, key) : NULL, buf, size);
}

char *ddp_node_given(const struct ddp_node *node, char buf[DDP_WHERE_SIZE])
{
    char number[32];
    switch (node->type) {
    case DDP_NODE_GROUP:
        snprintf(buf, DDP_WHERE_SIZE, "a group { .. }");
        break;
    case DDP_NODE_LIST:
        snprintf(buf, DDP_WHERE_SIZE, "a list of %d", ddp_node_count(node));
        break;
    case DDP_NODE_INT:
        snprintf(buf, DDP_WHERE_SIZE, "%" PRId64, node->i);
        break;
    case DDP_NODE_FLOAT:
        snprintf(buf, DDP_WHERE_SIZE, "%s", ddp_double_text(node->f, number));
        break;
    case DDP_NODE_BOOL:
        snprintf(buf, DDP_WHERE_SIZE, "%s", node->b ? "true" : "false");
        break;
    case DDP_NODE_STRING:
        snprintf(buf, DDP_WHERE_SIZE, "the text \"%.80s\"", node->s);
        break;
    }
    return buf;
}
