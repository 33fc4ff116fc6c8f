/*
 * Where brokers are and who we are there: `--broker NAME=URL` and the secrets that mappings name.
 * The table is filled before there are threads and then read only; passwords are in memory alone.
 */
#include "source/broker.h"

#define BROKERS_MAX 64

static struct named_broker {
	char *name;
	struct broker_address address;
} brokers[BROKERS_MAX];
static size_t broker_count;

static char *decoded(struct str s)
{
	char *out = xmalloc(s.len + 1);
	ssize_t n = url_decode(s, false, out);

	out[n > 0 ? n : 0] = '\0';
	return out;
}

/* [USER:PASSWORD@]HOST[:PORT][/] */
static bool parse_address(struct str s, struct broker_address *a)
{
	struct str user = STR_NULL, port;
	const char *at = memrchr(s.ptr, '@', s.len);
	int64_t number = a->port;

	if (at) {
		user = (struct str){s.ptr, (size_t)(at - s.ptr)};
		s = str_sub(s, user.len + 1);
	}
	if (s.len && s.ptr[s.len - 1] == '/')
		s.len--;
	port = s;
	s = str_cut(&port, ':');
	if (port.ptr && !str_to_int64(port, 1, 65535, &number))
		return false;
	if (!s.len || s.len > 255 || memchr(s.ptr, '/', s.len))
		return false;
	a->port = (int)number;
	a->host = xstrndup(s.ptr, s.len);
	if (user.ptr) {
		struct str name = str_cut(&user, ':');

		a->user = decoded(name);
		a->password = decoded(user.ptr ? user : STR(""));
	}
	return true;
}

int source_broker_add(const char *text, struct err *e)
{
	struct named_broker *b = &brokers[broker_count];
	struct str url = str_from(text), name = str_cut(&url, '=');

	if (broker_count == BROKERS_MAX)
		return err_set(e, EINVAL, "--broker can be given %d times", BROKERS_MAX);
	*b = (struct named_broker){.address.port = 5672};
	if (url.ptr && str_has_prefix(url, "amqps://")) {
		b->address.tls = true;
		b->address.port = 5671;
		url = str_sub(url, 8);
	} else if (url.ptr && str_has_prefix(url, "amqp://")) {
		url = str_sub(url, 7);
	} else {
		url = STR_NULL;
	}
	/* The text may hold a password: it is not repeated. */
	if (!name.len || !url.len || !parse_address(url, &b->address))
		return err_set(e, EINVAL,
		    "--broker takes NAME=amqp://HOST[:PORT] or NAME=amqps://HOST[:PORT], with "
		    "USER:PASSWORD@ before HOST if there is no secret");
	b->name = xstrndup(name.ptr, name.len);
	broker_count++;
	return 0;
}

/* arn:aws:mq:REGION:ACCOUNT:broker:NAME:ID */
bool broker_find(const char *arn, struct broker_address *ret)
{
	struct str rest = str_from(arn), name;

	for (int i = 0; i < 6; i++)
		(void)str_cut(&rest, ':');
	name = str_cut(&rest, ':');
	for (size_t i = 0; name.len && i < broker_count; i++) {
		if (!str_is(name, brokers[i].name))
			continue;
		*ret = brokers[i].address;
		return true;
	}
	return false;
}

const char *broker_access(const json_t *doc, const char *type)
{
	const json_t *list = json_object_get(doc, "SourceAccessConfigurations"), *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		const char *text = json_string_value(json_object_get(v, "Type"));

		if (text && strcmp(text, type) == 0)
			return json_string_value(json_object_get(v, "URI"));
	}
	return NULL;
}

void broker_forget(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

char *broker_secret(struct sources *s, const char *account, const char *region, const char *uri,
    const char *member, struct err *e)
{
	char *text, *out = NULL;
	const char *value;
	json_t *doc;

	if (!s->o.secret) {
		err_set(e, ENOTSUP,
		    "This server keeps no secrets: leave SourceAccessConfigurations out.");
		return NULL;
	}
	text = s->o.secret(s->o.secret_ctx, str_from(account), str_from(region), uri, e);
	if (!text)
		return NULL;
	doc = json_loads(text, 0, NULL);
	broker_forget(text);
	value = json_string_value(json_object_get(doc, member));
	if (!json_is_object(doc))
		err_set(e, EINVAL, "The secret is not a JSON object: %s", uri);
	else if (value)
		out = xstrdup(value);
	json_decref(doc);
	return out;
}
