/* Texts: the small files that a container finds in /etc, and what a runtime says of a failure. */
#include <stdio.h>
#include <string.h>

#include "sched/task_int.h"

/* What Docker falls back to when the host's own resolvers cannot be reached from a container. */
static const char fallback[] = "nameserver 8.8.8.8\nnameserver 8.8.4.4\n";

/* A resolver on the host's loopback is none for a container with a loopback of its own. */
static bool useless(struct str line)
{
	struct str rest = str_trim(line);

	return str_has_prefix(rest, "nameserver") &&
	       (str_has_prefix(str_trim(str_sub(rest, 10)), "127.") ||
		   str_is(str_trim(str_sub(rest, 10)), "::1"));
}

static void append_host(struct buf *b, const struct spec_in *in, bool own_search)
{
	struct str rest = str_from(in->resolv_conf ? in->resolv_conf : "");
	bool keep_all = in->task->network == CONTAINER_NET_HOST, any = false;

	while (rest.ptr) {
		struct str line = str_cut(&rest, '\n'), word = str_trim(line);

		if (!word.len || *word.ptr == '#' || (!keep_all && useless(line)))
			continue;
		if (own_search &&
		    (str_has_prefix(word, "search") || str_has_prefix(word, "domain")))
			continue;
		any |= str_has_prefix(word, "nameserver");
		buf_append_str(b, word);
		buf_putc(b, '\n');
	}
	if (!any && !keep_all)
		buf_puts(b, fallback);
}

const char *text_resolv(struct arena *a, const struct spec_in *in)
{
	const json_t *servers = json_object_get(in->unit->def, "dnsServers"),
		     *search = json_object_get(in->unit->def, "dnsSearchDomains");
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t i;
	json_t *v;

	json_array_foreach(servers, i, v)
	{
		if (json_is_string(v))
			buf_printf(&b, "nameserver %s\n", json_string_value(v));
	}
	if (!json_array_size(servers))
		append_host(&b, in, json_array_size(search) > 0);
	json_array_foreach(search, i, v)
	{
		if (json_is_string(v))
			buf_printf(&b, "%s%s", i ? " " : "search ", json_string_value(v));
	}
	if (json_array_size(search))
		buf_putc(&b, '\n');
	return arena_str(a, buf_str(&b)).ptr;
}

/* "db:database": the linked container's address by alias and by name. */
static void append_links(struct buf *b, const struct unit *u)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(u->def, "links"), i, v)
	{
		struct str alias = str_from(json_string_value(v)), name = str_cut(&alias, ':');
		const struct unit *on = NULL;

		for (unsigned n = 0; n < u->task->unit_count; n++)
			if (str_is(name, u->task->units[n].name))
				on = &u->task->units[n];
		if (!on || !*on->place.address)
			continue;
		buf_printf(b, "%s\t", on->place.address);
		if (alias.ptr)
			buf_printf(b, "%.*s ", STR_FMT(alias));
		buf_printf(b, "%s\n", on->name);
	}
}

const char *text_hosts(struct arena *a, const struct spec_in *in)
{
	const struct place *p = unit_place(in->unit);
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t i;
	json_t *v;

	buf_puts(&b, "127.0.0.1\tlocalhost\n"
		     "::1\tlocalhost ip6-localhost ip6-loopback\n");
	json_array_foreach(json_object_get(in->unit->def, "extraHosts"), i, v)
	{
		const char *name = docs_str(v, "hostname"), *address = docs_str(v, "ipAddress");

		if (name && address)
			buf_printf(&b, "%s\t%s\n", address, name);
	}
	append_links(&b, in->unit);
	/* On the bridge a container gets its address when it is made, too late for this text. */
	if (*p->address)
		buf_printf(&b, "%s\t%s\n", p->address, spec_hostname(a, in->unit));
	else
		buf_printf(&b, "127.0.0.1\t%s\n", spec_hostname(a, in->unit));
	return arena_str(a, buf_str(&b)).ptr;
}

/* conmon hands on what the runtime said as a line of JSON, {"data": -1, "message": "…"}, perhaps
 * cut off. */
void text_runtime(const char *why, char out[256])
{
	static const char member[] = "\"message\"";
	const char *at = strstr(why, member);
	size_t n = 0;

	at = at ? strchr(at + strlen(member), '"') : NULL;
	if (!at) {
		snprintf(out, 256, "%s", why);
		return;
	}
	for (at++; *at && *at != '"' && n < 255; at++) {
		bool escaped = *at == '\\' && at[1];

		at += escaped;
		out[n++] = escaped && (*at == 'n' || *at == 't') ? ' ' : *at;
	}
	while (n && (out[n - 1] == ' ' || out[n - 1] == '\n'))
		n--;
	out[n] = '\0';
}
