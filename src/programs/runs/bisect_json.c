/* A bisection for other programs. */
#include <stdlib.h>

#include "bisect.h"

static json_t *step_or_null(int64_t step)
{
    return step < 0 ? json_null() : json_integer(step);
}

static json_t *side_json(const struct ddp_bisect_side *s)
{
    static const char *const grades[] = {"same", "other", "missing"};
    json_t *o = json_object(), *checks = json_array();
    json_object_set_new(o, "run", json_string(s->run->path));
    json_object_set_new(o, "possible", json_boolean(s->possible));
    json_object_set_new(o, "done_again", json_boolean(s->done));
    json_object_set_new(o, "reproduced", s->done ? json_boolean(s->other_step < 0) : json_null());
    json_object_set_new(o, "other_from_step", step_or_null(s->other_step));
    for (int i = 0; i < s->checks.checks; i++) {
        const struct ddp_again_check *c = &s->checks.check[i];
        json_array_append_new(checks, json_pack("{s:s, s:s, s:s}", "grade", grades[c->grade], "what", c->what,
                                                "says", c->says));
    }
    json_object_set_new(o, "checks", checks);
    return o;
}

static void add_element(const struct ddp_element *e, json_t *o)
{
    json_t *index = json_array();
    for (int d = 0; d < e->ndim; d++)
        json_array_append_new(index, json_integer(e->index[d]));
    json_object_set_new(o, "index", index);
    json_object_set_new(o, "a", json_string(e->a_text));
    json_object_set_new(o, "b", json_string(e->b_text));
    json_object_set_new(o, "elements_differ", json_integer(e->differ));
    json_object_set_new(o, "elements", json_integer(e->elements));
}

static json_t *found_json(const struct ddp_bisect *b)
{
    const struct ddp_parting *p = &b->parting;
    if (b->end != DDP_BISECT_FOUND)
        return json_null();
    json_t *o = json_object();
    char *words = ddp_probed_words(p->a);
    json_object_set_new(o, "step", json_integer(p->a->step));
    json_object_set_new(o, "kind", json_string(p->a->kind));
    json_object_set_new(o, "name", json_string(p->a->name));
    json_object_set_new(o, "op", json_string(p->a->op));
    json_object_set_new(o, "op_b", json_string(p->b->op));
    json_object_set_new(o, "text", json_string(words));
    json_object_set_new(o, "unit", json_string(p->a->unit));
    json_object_set_new(o, "part", step_or_null(p->part));
    json_object_set_new(o, "parts_differ", json_integer(p->differ));
    json_object_set_new(o, "parts", json_integer(p->a->of));
    json_object_set_new(o, "equal_before", json_integer(p->equal));
    if (b->has_element)
        add_element(&b->element, o);
    free(words);
    return o;
}

json_t *ddp_bisect_json(const struct ddp_bisect *b)
{
    static const char *const ends[] = {"equal", "no step", "missing", "run failed", "agree", "found"};
    json_t *o = json_object(), *runs = json_array(), *notes = json_array();
    json_object_set_new(o, "end", json_string(ends[b->end]));
    json_object_set_new(o, "verdict", ddp_verdict_json(&b->verdict));
    json_object_set_new(o, "checkpoint", b->checkpoint ? json_integer(b->checkpoint) : json_null());
    json_object_set_new(o, "from_step", json_integer(b->from));
    json_object_set_new(o, "to_step", json_integer(b->to));
    for (int s = 0; s < DDP_BISECT_SIDES; s++)
        json_array_append_new(runs, side_json(&b->side[s]));
    json_object_set_new(o, "runs", runs);
    json_object_set_new(o, "crossed", json_boolean(b->crossed));
    json_object_set_new(o, "found", found_json(b));
    for (int i = 0; i < b->nnotes; i++)
        json_array_append_new(notes, json_string(b->note[i]));
    json_object_set_new(o, "notes", notes);
    return o;
}
