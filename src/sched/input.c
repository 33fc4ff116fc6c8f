/*
 * What must be there before containers can be made: values of secrets, environment files,
 * credentials of registries; log groups; and the images, which are pulled meanwhile. Without the
 * former the task does not start (ResourceInitializationError); a container whose image cannot be
 * had fails alone, which ends the task if it is essential.
 */
#include <string.h>

#include "base/log.h"
#include "base/time.h"
#include "sched/log_option.h"
#include "sched/task_int.h"

#define FILE_MAX (1024 * 1024)

struct fetch {
	struct task *task;
	char **value;     /* a secret goes here, */
	struct buf *file; /* or an object here */
	char *what;
};

static void fail_inputs(struct task *t, const char *what, const char *why)
{
	char text[1024];

	if (t->inputs == INPUT_FAILED)
		return;
	t->inputs = INPUT_FAILED;
	snprintf(text, sizeof(text), "ResourceInitializationError: %s%s", what, why);
	life_stop(t, "TaskFailedToStart", text);
}

static void fetched(struct fetch *f, const char *why)
{
	struct task *t = f->task;
	char what[640];

	t->fetches--;
	if (why) {
		snprintf(
		    what, sizeof(what), "unable to pull secrets or registry auth: %s: ", f->what);
		fail_inputs(t, what, why);
	} else if (!t->fetches && t->inputs == INPUT_FETCHING) {
		t->inputs = INPUT_READY;
	}
	free(f->what);
	free(f);
	task_wake(t);
}

static void on_secret(void *ctx, const char *value, const char *why)
{
	struct fetch *f = ctx;

	if (value && f->task->inputs == INPUT_FETCHING)
		*f->value = xstrdup(value);
	fetched(f, value ? NULL : why ? why : "no reason given");
}

static void on_object(void *ctx, const struct str *data, const char *why)
{
	struct fetch *f = ctx;

	if (data && data->len > FILE_MAX) {
		fetched(f, "it is larger than 1 MiB");
		return;
	}
	if (data && f->task->inputs == INPUT_FETCHING)
		buf_append_str(f->file, *data);
	fetched(f, data ? NULL : why ? why : "no reason given");
}

static struct fetch *fetch_new(struct task *t, const char *what)
{
	struct fetch *f = xcalloc(1, sizeof(*f));

	f->task = t;
	f->what = xstrdup(what);
	t->fetches++;
	return f;
}

static void fetch_secret(struct task *t, const char *from, char **value)
{
	const struct tasks_options *o = &t->all->o;
	struct fetch *f = fetch_new(t, from);

	f->value = value;
	if (o->secret)
		o->secret(o->ctx, t->account, t->region, from, on_secret, f);
	else
		on_secret(f, NULL, "secrets are not available here");
}

static void fetch_object(struct task *t, const char *arn, struct buf *file)
{
	const struct tasks_options *o = &t->all->o;
	struct fetch *f = fetch_new(t, arn);

	f->file = file;
	if (o->object)
		o->object(o->ctx, t->account, t->region, arn, on_object, f);
	else
		on_object(f, NULL, "objects are not available here");
}

static void wipe(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

void input_wipe(struct unit *u)
{
	for (size_t i = 0; u->secrets && i < u->secret_count; i++)
		wipe(u->secrets[i]);
	free(take_ptr(u->secrets));
	for (size_t i = 0; u->env_files && i < u->env_file_count; i++)
		buf_done(&u->env_files[i]);
	free(take_ptr(u->env_files));
	wipe(take_ptr(u->auth));
}

static void fetch_unit(struct unit *u)
{
	const json_t *secrets = json_object_get(u->def, "secrets"),
		     *files = spec_member(u, "environmentFiles"), *auth;
	const char *from;

	input_wipe(u);
	u->secret_count = json_array_size(secrets);
	u->secrets = xcalloc(u->secret_count + 1, sizeof(*u->secrets));
	for (size_t i = 0; i < u->secret_count; i++) {
		from = docs_str(json_array_get(secrets, i), "valueFrom");
		fetch_secret(u->task, from ? from : "", &u->secrets[i]);
	}
	u->env_file_count = json_array_size(files);
	u->env_files = xcalloc(u->env_file_count + 1, sizeof(*u->env_files));
	for (size_t i = 0; i < u->env_file_count; i++) {
		from = docs_str(json_array_get(files, i), "value");
		fetch_object(u->task, from ? from : "", &u->env_files[i]);
	}
	auth = json_object_get(u->def, "repositoryCredentials");
	from = docs_str(auth, "credentialsParameter");
	if (from)
		fetch_secret(u->task, from, &u->auth);
}

static bool check_log(struct unit *u)
{
	struct log_options options;
	struct task_log place;
	struct err e = ERR_INIT;
	struct arena a;
	int r;

	arena_init(&a);
	r = log_options_parse(json_object_get(u->def, "logConfiguration"), &options, &e);
	log_options_done(&options);
	if (r == 0)
		r = tail_place(&a, u, &place, &e);
	arena_done(&a);
	if (r < 0)
		fail_inputs(u->task, "failed to validate logger args: ", e.msg);
	return r == 0;
}

void input_start(struct task *t)
{
	if (t->inputs != INPUT_NONE)
		return;
	t->inputs = INPUT_FETCHING;
	t->fetches++; /* ours: answers may come at once */
	for (unsigned i = 0; i < t->unit_count; i++) {
		if (t->units[i].phase != UNIT_WAITING)
			continue;
		if (!check_log(&t->units[i]))
			break;
		fetch_unit(&t->units[i]);
	}
	if (--t->fetches == 0 && t->inputs == INPUT_FETCHING)
		t->inputs = INPUT_READY;
}

/* ---- images ---- */

static void pull_ended(struct task *t)
{
	for (unsigned i = 0; i < t->unit_count; i++)
		if (t->units[i].pull || (!t->units[i].image && t->units[i].phase == UNIT_WAITING))
			return;
	if (!t->pull_stopped_ms)
		t->pull_stopped_ms = time_wall_ms();
}

static void on_image(void *ctx, struct image *image, const char *code, const char *why)
{
	struct unit *u = ctx;

	u->pull = NULL;
	if (image) {
		image_unref(u->image);
		u->image = image;
		snprintf(u->digest, sizeof(u->digest), "%s", image_digest(image));
	} else {
		unit_fail(u, code ? code : "CannotPullContainerError", why ? why : "");
	}
	pull_ended(u->task);
	task_wake(u->task);
}

/* {"username": …, "password": …}; the texts live as long as the document. */
static json_t *read_auth(const char *text, struct image_auth *ret)
{
	json_t *doc = json_loads(text, 0, NULL);

	ret->username = docs_str(doc, "username");
	ret->password = docs_str(doc, "password");
	return doc;
}

static void pull(struct unit *u)
{
	const struct tasks_options *o = &u->task->all->o;
	const char *name = docs_str(u->def, "image");
	struct image_reference ref;
	struct image_auth auth = {NULL, NULL};
	struct err e = ERR_INIT;
	struct image_pull *p;
	json_t *doc = u->auth ? read_auth(u->auth, &auth) : NULL;

	if (!u->task->pull_started_ms)
		u->task->pull_started_ms = time_wall_ms();
	if (image_reference_parse(str_from(name ? name : ""), o->registries, &ref, &e) < 0) {
		unit_fail(u, "CannotPullContainerError", e.msg);
		pull_ended(u->task);
	} else {
		p = image_pull_start(o->images, &ref, o->pull,
		    auth.username && auth.password ? &auth : NULL, on_image, u);
		/* It may have called back already. */
		if (!u->image && u->phase == UNIT_WAITING)
			u->pull = p;
	}
	json_decref(doc);
}

void input_images(struct task *t)
{
	for (unsigned i = 0; i < t->unit_count; i++) {
		struct unit *u = &t->units[i];

		if (u->phase != UNIT_WAITING || u->image || u->pull)
			continue;
		if (t->inputs != INPUT_READY && json_object_get(u->def, "repositoryCredentials"))
			continue;
		pull(u);
	}
}

static void on_held(void *ctx, struct image *image, const char *code, const char *why)
{
	struct unit *u = ctx;

	(void)code;
	u->pull = NULL;
	if (image && u->image) {
		image_unref(image);
		return;
	}
	u->image = image;
	if (!image)
		log_warn("image of container %s of task %s: %s", u->name, u->task->arn, why);
}

void input_hold_image(struct unit *u)
{
	const struct tasks_options *o = &u->task->all->o;
	const char *name = docs_str(u->def, "image");
	struct image_reference ref;
	struct image_pull *p;

	if (u->image || u->pull || !*u->digest ||
	    image_reference_parse(str_from(name ? name : ""), o->registries, &ref, NULL) < 0)
		return;
	snprintf(ref.digest, sizeof(ref.digest), "%s", u->digest);
	p = image_pull_start(o->images, &ref, IMAGE_PULL_NEVER, NULL, on_held, u);
	if (!u->image)
		u->pull = p;
}
