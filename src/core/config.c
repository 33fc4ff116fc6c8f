/* One table of options. See config.h. */
#include "core/config.h"

#include "base/str.h"
#include "source/source.h"

enum kind { TEXT, NUMBER, FLAG, RUNTIME, BROKER, MIRROR };

struct option {
	const char *name;
	enum kind kind;
	size_t offset;
	int64_t min, max;
};

static const struct option options[] = {
    {"--data", TEXT, offsetof(struct config, data), 0, 0},
    {"--runtime", RUNTIME, 0, 0, 0},
    {"--broker", BROKER, 0, 0, 0},
    {"--mirror", MIRROR, 0, 0, 0},
    {"--dev", FLAG, offsetof(struct config, dev), 0, 0},
    {"--debug", FLAG, offsetof(struct config, debug), 0, 0},
    {"--pool-memory", NUMBER, offsetof(struct config, pool_memory_mb), 0, 65536},
    {"--pool-each", NUMBER, offsetof(struct config, pool_each), 0, 256},
    {"--concurrency", NUMBER, offsetof(struct config, concurrency), 101, 100000},
    {"--idle", NUMBER, offsetof(struct config, idle_s), 1, 86400},
    {"--retry-base-ms", NUMBER, offsetof(struct config, retry_base_ms), 1, 3600000},
    {"--stream-rate", NUMBER, offsetof(struct config, stream_rate_kib), 0, 1048576},
    {"--registry-timeout", NUMBER, offsetof(struct config, registry_timeout_s), 1, 3600},
    {"--spin-us", NUMBER, offsetof(struct config, spin_us), 0, 1000},
};

static const struct option *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

static int set(struct config *c, const struct option *o, const char *value, struct err *e)
{
	char *at = (char *)c + o->offset;
	int64_t number;

	if (o->kind == BROKER)
		return source_broker_add(value, e);
	if (o->kind == MIRROR) {
		const char *equals = strchr(value, '=');

		if (!equals ||
		    (strncmp(equals, "=http://", 8) != 0 && strncmp(equals, "=https://", 9) != 0))
			return err_set(e, EINVAL,
			    "--mirror takes HOST=URL, such as docker.io=https://mirror.example");
		if (c->mirror_count == CONFIG_RUNTIMES_MAX)
			return err_set(e, EINVAL, "more than %d mirrors", CONFIG_RUNTIMES_MAX);
		c->mirrors[c->mirror_count++] = value;
		return 0;
	}
	if (o->kind == TEXT) {
		memcpy(at, &value, sizeof(value));
	} else if (o->kind == RUNTIME) {
		if (c->runtime_count == CONFIG_RUNTIMES_MAX)
			return err_set(e, EINVAL, "more than %d runtimes", CONFIG_RUNTIMES_MAX);
		c->runtimes[c->runtime_count++] = value;
	} else {
		if (!str_to_int64(str_from(value), o->min, o->max, &number))
			return err_set(e, EINVAL,
			    "%s takes a number from %" PRId64 " to %" PRId64 ", not '%s'", o->name,
			    o->min, o->max, value);
		memcpy(at, &number, sizeof(number));
	}
	return 0;
}

int config_parse(struct config *c, int argc, char **argv, struct err *e)
{
	int64_t listeners = 0;

	*c = (struct config){.data = "/data",
	    .pool_memory_mb = 64,
	    .pool_each = 8,
	    .concurrency = 1000,
	    .idle_s = 300,
	    .retry_base_ms = 60000,
	    .registry_timeout_s = 30,
	    .spin_us = 50};
	for (int i = 1; i < argc; i++) {
		const struct option *o = find(argv[i]);
		int r;

		if (o && o->kind == FLAG) {
			*((char *)c + o->offset) = 1;
			continue;
		}
		if (i + 1 == argc)
			return err_set(e, EINVAL, "unknown option or missing value: %s", argv[i]);
		if (strcmp(argv[i], "--listeners") == 0) {
			if (!str_to_int64(str_from(argv[++i]), 1, 16, &listeners))
				return err_set(e, EINVAL, "--listeners takes 1 to 16");
			continue;
		}
		if (!o)
			return err_set(
			    e, EINVAL, "unknown option %s: see mayfly serve --help", argv[i]);
		r = set(c, o, argv[++i], e);
		if (r < 0)
			return r;
	}
	c->listeners = (unsigned)listeners;
	return listeners ? 0 : err_set(e, EINVAL, "--listeners is missing");
}
