/* What agents say about their hosts is JSON: reading its fields. */
#ifndef DDP_LAUNCHER_FIELDS_H
#define DDP_LAUNCHER_FIELDS_H

#include <jansson.h>
#include <string.h>

/* The text of a field; "" where there is none, or no text. The object's. */
static inline const char *ddp_field_text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

/* The first of a list of objects whose field is this text; NULL: none. */
static inline const json_t *ddp_field_find(const json_t *list, const char *key, const char *text)
{
    size_t i;
    json_t *o;
    json_array_foreach(list, i, o)
        if (strcmp(ddp_field_text(o, key), text) == 0)
            return o;
    return NULL;
}

#endif
