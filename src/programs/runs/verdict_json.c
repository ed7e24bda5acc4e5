/* A verdict for other programs. */
#include "verdict.h"

static json_t *step_or_null(int64_t step)
{
    return step < 0 ? json_null() : json_integer(step);
}

json_t *ddp_verdict_json(const struct ddp_verdict *v)
{
    static const char *const kinds[] = {"equal", "equal so far", "different", "unknown"};
    json_t *o = json_object(), *tensors = json_array(), *causes = json_array(), *notes = json_array();
    json_object_set_new(o, "equal", json_boolean(v->kind == DDP_VERDICT_EQUAL));
    json_object_set_new(o, "verdict", json_string(kinds[v->kind]));
    json_object_set_new(o, "first_divergent_step", step_or_null(v->first_step));
    json_object_set_new(o, "last_equal_step", step_or_null(v->equal_step));
    json_object_set_new(o, "equal_records", json_integer(v->records));
    json_object_set_new(o, "part", *v->part ? json_string(v->part) : json_null());
    json_object_set_new(o, "tensors_step", step_or_null(v->tensors_step));
    json_object_set_new(o, "tensors_part", *v->tensors_part ? json_string(v->tensors_part) : json_null());
    for (int i = 0; i < v->ntensors; i++)
        json_array_append_new(tensors, json_string(v->tensor[i]));
    json_object_set_new(o, "tensors", tensors);
    for (int i = 0; i < v->ncauses; i++) {
        const struct ddp_cause *c = &v->cause[i];
        json_t *cause = json_object();
        json_object_set_new(cause, "text", json_string(c->text));
        json_object_set_new(cause, "key", json_string(c->key));
        json_object_set_new(cause, "likely", json_boolean(c->likely));
        if (c->a)
            json_object_set_new(cause, "a", json_string(c->a));
        if (c->b)
            json_object_set_new(cause, "b", json_string(c->b));
        json_array_append_new(causes, cause);
    }
    json_object_set_new(o, "causes", causes);
    for (int i = 0; i < v->nnotes; i++)
        json_array_append_new(notes, json_string(v->note[i]));
    json_object_set_new(o, "notes", notes);
    return o;
}
