/*
 * `mayfly serve`: becomes the spawner, which starts the rest. Everything that is not privileged
 * work is done here before: options, directories, looking for interpreters.
 */
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/config.h"
#include "cli/interpreters.h"
#include "cli/resolver.h"

#define LISTEN "127.0.0.1:4566"
#define ARGV_MAX 160

struct options {
	const char *data;
	struct cli_list listen, brokers, mirrors, dns, allow, binds, container_runtimes;
	bool dev, debug, egress, privileged;
	int64_t boxes, pool_memory_mb, pool_each, concurrency, idle_s, retry_base_ms, spin_us;
	int64_t stream_rate, registry_timeout_s;
};

struct command {
	char *argv[ARGV_MAX];
	size_t count;
};

static void add(struct command *c, const char *word)
{
	check(c->count + 1 < ARGV_MAX);
	c->argv[c->count++] = xstrdup(word);
}

static void add_text(struct command *c, const char *option, const char *value)
{
	add(c, option);
	add(c, value);
}

static void add_number(struct command *c, const char *option, int64_t value)
{
	_cleanup_free_ char *text = xasprintf("%" PRId64, value);

	if (value >= 0)
		add_text(c, option, text);
}

static bool is_loopback(const char *address)
{
	return !strncmp(address, "127.", 4) || !strncmp(address, "[::1]:", 6);
}

static int check_options(const struct options *o)
{
	for (size_t i = 0; i < o->listen.count; i++) {
		if (o->dev && !is_loopback(o->listen.items[i]))
			return cli_fail(CLI_USAGE,
			    "leave out --dev, or listen on 127.0.0.1: with --dev any key is "
			    "accepted",
			    "--dev does not listen on %s", o->listen.items[i]);
	}
	if (!o->egress && (o->dns.count || o->allow.count))
		return cli_fail(CLI_USAGE, "add --egress",
		    "--egress-dns and --egress-allow say how "
		    "functions reach the outside, which they do not");
	if (geteuid() != 0)
		return cli_fail(CLI_FAILED,
		    "sudo mayfly serve: only root can make the boxes that functions run in (they, "
		    "and\n"
		    "        all code that talks to clients, run as other users)",
		    "serve must be started by root");
	return CLI_OK;
}

/* Directories above the data directory; the directory itself is the spawner's business. */
static int make_parents(const char *path)
{
	_cleanup_free_ char *copy = xstrdup(path);

	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return cli_fail(CLI_FAILED, "choose another directory with --data",
			    "making %s: %s", copy, strerror(errno));
		*slash = '/';
	}
	return CLI_OK;
}

/* Installed: bin/mayfly, libexec/mayfly/… and libexec/mayfly/runtimes. In the build tree:
 * ./mayfly, src/spawner/…, and the runtimes of the source tree. */
static int find_programs(char **ret_spawner, char **ret_runtimes)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return cli_fail(CLI_FAILED, "is /proc mounted?", "cannot tell where mayfly is");
	*slash = '\0';
	*ret_spawner = xasprintf("%s/src/spawner/mayfly-spawner", self);
	*ret_runtimes = xstrdup(MAYFLY_SOURCE_RUNTIMES);
	if (access(*ret_spawner, X_OK) == 0)
		return CLI_OK;
	free(*ret_spawner);
	free(*ret_runtimes);
	*ret_spawner = xasprintf("%s/../libexec/mayfly/mayfly-spawner", self);
	*ret_runtimes = xasprintf("%s/../libexec/mayfly/runtimes", self);
	if (access(*ret_spawner, X_OK) == 0)
		return CLI_OK;
	return cli_fail(CLI_FAILED,
	    "build all of it with `make`, or install it with `make install`",
	    "mayfly-spawner is not beside %s/mayfly", self);
}

static void add_spawner_options(struct command *c, const struct options *o, const char *runtimes)
{
	add_text(c, "--data", o->data);
	for (size_t i = 0; i < o->listen.count; i++)
		add_text(c, "--listen", o->listen.items[i]);
	if (!o->listen.count)
		add_text(c, "--listen", LISTEN);
	add_text(c, "--runtimes", runtimes);
	add_number(c, "--boxes", o->boxes);
	if (o->dev)
		add(c, "--dev");
	for (size_t i = 0; i < o->binds.count; i++)
		add_text(c, "--bind-root", o->binds.items[i]);
	for (size_t i = 0; i < o->container_runtimes.count; i++)
		add_text(c, "--container-runtime", o->container_runtimes.items[i]);
	if (o->privileged)
		add(c, "--allow-privileged");
}

static int add_egress_options(struct command *c, const struct options *o)
{
	char found[RESOLVER_SERVERS_MAX][RESOLVER_ADDRESS_SIZE];
	size_t count = 0;

	if (!o->egress)
		return CLI_OK;
	if (!o->dns.count)
		count = resolver_find(found);
	if (!o->dns.count && !count)
		return cli_fail(CLI_USAGE,
		    "name one by --egress-dns ADDRESS (IPv4; it may be in a private network)",
		    "no name server in /etc/resolv.conf that functions could reach");
	add(c, "--egress");
	for (size_t i = 0; i < count; i++)
		add_text(c, "--egress-dns", found[i]);
	for (size_t i = 0; i < o->dns.count; i++)
		add_text(c, "--egress-dns", o->dns.items[i]);
	for (size_t i = 0; i < o->allow.count; i++)
		add_text(c, "--egress-allow", o->allow.items[i]);
	return CLI_OK;
}

static void add_core_options(struct command *c, const struct options *o)
{
	char *found[INTERPRETERS_MAX];
	size_t count = interpreters_find(found);

	for (size_t i = 0; i < count; i++) {
		add_text(c, "--runtime", found[i]);
		free(found[i]);
	}
	for (size_t i = 0; i < o->brokers.count; i++)
		add_text(c, "--broker", o->brokers.items[i]);
	for (size_t i = 0; i < o->mirrors.count; i++)
		add_text(c, "--mirror", o->mirrors.items[i]);
	add_number(c, "--registry-timeout", o->registry_timeout_s);
	add_number(c, "--pool-memory", o->pool_memory_mb);
	add_number(c, "--pool-each", o->pool_each);
	add_number(c, "--concurrency", o->concurrency);
	add_number(c, "--idle", o->idle_s);
	add_number(c, "--retry-base-ms", o->retry_base_ms);
	add_number(c, "--stream-rate", o->stream_rate);
	add_number(c, "--spin-us", o->spin_us);
	if (o->debug)
		add(c, "--debug");
	if (!count)
		fputs("mayfly: no node and no python3 below /usr: only functions that bring their "
		      "own "
		      "runtime will run\n",
		    stderr);
}

static int run(const void *options, char **args _unused_, int count _unused_)
{
	const struct options *o = options;
	char *clean[] = {
	    (char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", (char *)"LANG=C.UTF-8", NULL};
	struct command c = {.count = 0};
	char *spawner = NULL, *runtimes = NULL;
	int code = check_options(o);

	if (!code)
		code = make_parents(o->data);
	if (!code)
		code = find_programs(&spawner, &runtimes);
	if (!code) {
		add(&c, spawner);
		add_spawner_options(&c, o, runtimes);
		code = add_egress_options(&c, o);
	}
	if (!code) {
		add(&c, "--");
		add_core_options(&c, o);
		execve(spawner, c.argv, clean);
		code = cli_fail(CLI_FAILED, NULL, "starting %s: %s", spawner, strerror(errno));
	}
	for (size_t i = 0; i < c.count; i++)
		free(c.argv[i]);
	free(spawner);
	free(runtimes);
	return code;
}

#define AT(member) offsetof(struct options, member)
static const struct cli_option table[] = {
    {"listen", 'l', CLI_LIST, "ADDR:PORT",
	"where to listen (" LISTEN "); may be given again;\nport 0 takes "
	"a free one",
	AT(listen), 0, 0},
    {"data", 'd', CLI_TEXT, "DIR", "all that is kept (" CONFIG_DATA ")", AT(data), 0, 0},
    {"dev", 0, CLI_FLAG, NULL, "accept any key; listens on loopback only", AT(dev), 0, 0},
    {"broker", 0, CLI_LIST, "NAME=URL",
	"where RabbitMQ NAME is: amqp://[USER:PASSWORD@]HOST[:PORT];\nmay be given again",
	AT(brokers), 0, 0},
    {"mirror", 0, CLI_LIST, "HOST=URL",
	"where images of registry HOST are looked for first:\ndocker.io=https://mirror.example; "
	"may be given again",
	AT(mirrors), 0, 0},
    {"registry-timeout", 0, CLI_NUMBER, "SECONDS",
	"give up a registry that neither sends nor takes for so long (30)", AT(registry_timeout_s),
	1, 3600},
    {"boxes", 0, CLI_NUMBER, "N", "the most boxes at a time (2048)", AT(boxes), 1, 2048},
    {"pool-memory", 0, CLI_NUMBER, "MB",
	"memory for boxes that are ready before they are needed (64)", AT(pool_memory_mb), 0,
	65536},
    {"pool-each", 0, CLI_NUMBER, "N", "the most such boxes of each runtime (8)", AT(pool_each), 0,
	256},
    {"concurrency", 0, CLI_NUMBER, "N", "the account's limit of concurrent invocations (1000)",
	AT(concurrency), 101, 100000},
    {"idle", 0, CLI_NUMBER, "SECONDS", "how long an idle box is kept (300)", AT(idle_s), 1, 86400},
    {"retry-base-ms", 0, CLI_NUMBER, "MS", "wait before the first retry of an event (60000)",
	AT(retry_base_ms), 1, 3600000},
    {"stream-rate", 0, CLI_NUMBER, "KIB",
	"KiB a second of a streamed answer after 6 MiB (0: no pace; AWS: 2048)", AT(stream_rate), 0,
	1048576},
    {"spin-us", 0, CLI_NUMBER, "US", "look for more work so long before sleeping, when busy (50)",
	AT(spin_us), 0, 1000},
    {"egress", 0, CLI_FLAG, NULL,
	"let functions reach the internet (not the host, nor private networks)", AT(egress), 0, 0},
    {"egress-dns", 0, CLI_LIST, "ADDRESS",
	"name server for them, at most 3 (those of /etc/resolv.conf)", AT(dns), 0, 0},
    {"egress-allow", 0, CLI_LIST, "ADDRESS/BITS",
	"a private network that they may reach; may be given again", AT(allow), 0, 0},
    {"bind-root", 0, CLI_LIST, "DIR",
	"a directory below which containers may mount those of the host; may be given again",
	AT(binds), 0, 0},
    {"container-runtime", 0, CLI_LIST, "NAME=PATH",
	"an OCI runtime beside crun, runc and runsc; may be given again", AT(container_runtimes), 0,
	0},
    {"allow-privileged", 0, CLI_FLAG, NULL, "let tasks be privileged, and see the host's processes",
	AT(privileged), 0, 0},
    {"debug", 0, CLI_FLAG, NULL, "log more", AT(debug), 0, 0},
};

const struct cli_verb cli_serve = {
    .name = "serve",
    .args = "",
    .summary = "run the server (as root)",
    .help =
	"Runs until SIGTERM or SIGINT; logs to stderr. GET /_mayfly/health answers 200 when it is\n"
	"ready. The first start writes a key pair to DIR/credentials, and requests must be signed\n"
	"with it: eval \"$(sudo mayfly env)\". DIR/endpoint holds the address that it listens on.\n"
	"Runs functions in the node and python3 that are below /usr, and in what functions bring.",
    .options = table,
    .option_count = ARRAY_SIZE(table),
    .defaults =
	&(const struct options){
	    .data = CONFIG_DATA,
	    .boxes = -1,
	    .pool_memory_mb = -1,
	    .pool_each = -1,
	    .concurrency = -1,
	    .idle_s = -1,
	    .retry_base_ms = -1,
	    .stream_rate = -1,
	    .spin_us = -1,
	    .registry_timeout_s = -1,
	},
    .size = sizeof(struct options),
    .run = run,
};
