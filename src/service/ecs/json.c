/* JSON in and out of the engine's structures, and small things that documents need. Loop thread. */
#include "base/time.h"
#include "service/ecs/ecs_int.h"

json_t *ecs_input(struct call *c, const void *in)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	json_t *doc;

	aws_shape_encode(c->op->in, in, &b);
	doc = json_loadb(buf_data(&b), buf_len(&b), 0, NULL);
	check(doc); /* the encoder writes JSON */
	return doc;
}

int ecs_answer(struct call *c, json_t *answer, struct err *e)
{
	_cleanup_free_ char *text = json_dumps(answer, JSON_COMPACT);
	void *storage = text ? aws_shape_decode(c->op->out, str_from(text), c->arena, e) : NULL;

	json_decref(answer);
	if (!storage) {
		e->code = 0; /* a document of ours is wrong, not the request */
		return err_wrap(e, "showing what is stored");
	}
	memcpy(c->out, storage, c->op->out->size);
	return 0;
}

int ecs_answer_change(struct call *c, json_t *answer, struct docs_change *g, struct err *e)
{
	/* What is wrong with an answer does not undo the change. */
	int r = ecs_answer(c, answer, e);

	if (r == 0)
		return docs_commit_call(c, g);
	docs_commit(g, NULL, NULL);
	return r;
}

json_t *ecs_json_ref(const json_t *doc)
{
	return json_incref((json_t *)(uintptr_t)doc);
}

json_t *ecs_json_copy(const json_t *doc)
{
	return json_deep_copy(doc);
}

json_t *ecs_json_time(int64_t wall_ms)
{
	return json_real((double)wall_ms / 1000);
}

json_t *ecs_json_now(void)
{
	return ecs_json_time(time_wall_ms());
}

int64_t ecs_json_ms(const json_t *doc, const char *name)
{
	return (int64_t)(json_number_value(json_object_get(doc, name)) * 1000 + 0.5);
}

json_t *ecs_json_list(json_t *doc, const char *name)
{
	if (!json_is_array(json_object_get(doc, name)))
		json_object_set_new(doc, name, json_array());
	return json_object_get(doc, name);
}

json_t *ecs_json_object(json_t *doc, const char *name)
{
	if (!json_is_object(json_object_get(doc, name)))
		json_object_set_new(doc, name, json_object());
	return json_object_get(doc, name);
}

void ecs_json_default(json_t *doc, const char *name, json_t *value)
{
	if (json_object_get(doc, name))
		json_decref(value);
	else
		json_object_set_new(doc, name, value);
}

bool ecs_json_given(const json_t *doc, const char *name)
{
	const json_t *v = json_object_get(doc, name);

	return v && !json_is_null(v) && !(json_is_array(v) && !json_array_size(v));
}

bool ecs_json_has(const json_t *list, const char *text)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		if (json_is_string(v) && !strcmp(json_string_value(v), text))
			return true;
	}
	return false;
}

bool ecs_json_true(const json_t *doc, const char *name)
{
	return json_is_true(json_object_get(doc, name));
}

json_t *ecs_json_find(const json_t *list, const char *name, const char *value)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		const char *text = docs_str(v, name);

		if (text && value && !strcmp(text, value))
			return v;
	}
	return NULL;
}

json_t *ecs_json_failure(const char *arn, const char *reason)
{
	return json_pack("{s:s, s:s}", "arn", arn, "reason", reason);
}

void ecs_json_insert(json_t *list, const char *text)
{
	size_t at = 0;

	while (at < json_array_size(list) &&
	       strcmp(json_string_value(json_array_get(list, at)), text) < 0)
		at++;
	json_array_insert_new(list, at, json_string(text));
}

/* ---- pages ---- */

/* Where the page begins that a token names: the first that is not before it. */
static size_t first_of(const json_t *list, bool descending, const char *from)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v)
	{
		int order = strcmp(json_string_value(v), from);

		if (descending ? order <= 0 : order >= 0)
			break;
	}
	return i;
}

int ecs_page(struct call *c, json_t *list, bool descending, const int64_t *max, const char *token,
    const char *member, json_t *answer, struct err *e)
{
	size_t limit = max ? (size_t)*max : PAGE_MAX, count = json_array_size(list), at;
	json_t *page = ecs_json_list(answer, member);
	const char *from;
	int r = 0;

	if (max && (*max < 1 || *max > PAGE_MAX))
		r = fail(e, ECS_INVALID_PARAMETER_EXCEPTION, "maxResults must be between 1 and %d.",
		    PAGE_MAX);
	else if (!docs_token_open(c, token, &from))
		r = fail(e, ECS_INVALID_PARAMETER_EXCEPTION,
		    "Invalid token: use the nextToken of the page before.");
	for (at = r == 0 && *from ? first_of(list, descending, from) : 0; r == 0 && at < count;
	     at++) {
		json_t *v = json_array_get(list, at);

		if (limit-- == 0) {
			docs_set(answer, "nextToken", docs_token(c, json_string_value(v)));
			break;
		}
		json_array_append(page, v);
	}
	json_decref(list);
	return r;
}
