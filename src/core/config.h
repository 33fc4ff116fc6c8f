/* What core is told on its command line, by `mayfly serve` through the spawner. */
#pragma once

#include "base/err.h"

#define CONFIG_RUNTIMES_MAX 16

struct config {
	const char *data; /* "/data" */
	unsigned listeners;
	bool dev;
	const char *runtimes[CONFIG_RUNTIMES_MAX]; /* "node=v20.20.2:/usr/bin/node" */
	size_t runtime_count;
	const char *mirrors[CONFIG_RUNTIMES_MAX]; /* "docker.io=https://mirror.example" */
	size_t mirror_count;
	int64_t pool_memory_mb;
	int64_t pool_each;
	int64_t concurrency;
	int64_t idle_s;
	int64_t stream_rate_kib;
	int64_t retry_base_ms; /* tests compress time with it */
	int64_t registry_timeout_s;
	int64_t spin_us;
	bool debug;
};

/* 0, or -EINVAL with e saying which argument is wrong and what it may be. */
int config_parse(struct config *c, int argc, char **argv, struct err *e);
