/*
 * Build-time program: compiles the filter of container_seccomp.h, so that crun need not for each
 * container. As a tree, because the kernel walks a filter for every system call there is when it
 * takes it. Output: a header with base64 of the program, as crun's annotation wants it.
 */
#include <jansson.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "spawner/container_seccomp.h"

static void must(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "container_seccomp_gen: %s: %s\n", what, strerror(-r));
	exit(1);
}

static uint32_t action_of(const json_t *rule)
{
	const char *action = json_string_value(json_object_get(rule, "action"));

	if (strcmp(action, "SCMP_ACT_ALLOW") == 0)
		return SCMP_ACT_ALLOW;
	return SCMP_ACT_ERRNO((uint32_t)json_integer_value(json_object_get(rule, "errnoRet")));
}

static struct scmp_arg_cmp compare_of(const json_t *arg)
{
	const char *op = json_string_value(json_object_get(arg, "op"));
	struct scmp_arg_cmp c = {.arg = (unsigned)json_integer_value(json_object_get(arg, "index")),
	    .op = strcmp(op, "SCMP_CMP_EQ") == 0 ? SCMP_CMP_EQ : SCMP_CMP_MASKED_EQ,
	    .datum_a = (scmp_datum_t)json_integer_value(json_object_get(arg, "value")),
	    .datum_b = (scmp_datum_t)json_integer_value(json_object_get(arg, "valueTwo"))};

	return c;
}

static void add_rule(scmp_filter_ctx c, const json_t *rule)
{
	const json_t *names = json_object_get(rule, "names"), *args = json_object_get(rule, "args");
	struct scmp_arg_cmp compare;

	if (args)
		compare = compare_of(json_array_get(args, 0));
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		int call = seccomp_syscall_resolve_name(name);

		if (call == __NR_SCMP_ERROR) /* of another architecture, or too new */
			continue;
		must(seccomp_rule_add_array(
			 c, action_of(rule), call, args ? 1 : 0, args ? &compare : NULL),
		    name);
	}
}

static void print(scmp_filter_ctx c)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static unsigned char code[65536 + 2];
	int fd = memfd_create("filter", 0);
	ssize_t n;

	must(fd, "memfd_create");
	must(seccomp_export_bpf(c, fd), "export");
	n = pread(fd, code, sizeof(code) - 2, 0);
	must(n <= 0 ? -1 : 0, "reading the filter");
	printf("/* Made by container_seccomp_gen.c while building. */\n"
	       "static const char container_seccomp_bpf[] =\n    \"");
	for (ssize_t i = 0; i < n; i += 3) {
		unsigned long three =
		    (unsigned long)code[i] << 16 | (unsigned long)code[i + 1] << 8 | code[i + 2];

		if (i && i % 54 == 0)
			printf("\"\n    \"");
		for (int k = 0; k < 4; k++)
			putchar(i + k > n ? '=' : digits[three >> (18 - 6 * k) & 63]);
	}
	printf("\";\n");
}

int main(void)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_ERRNO(1));
	json_t *j = json_loads(container_seccomp, 0, NULL), *list = json_object_get(j, "syscalls");

	must(c && j ? 0 : -1, "reading the profile");
	must(seccomp_attr_set(c, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(1)), "badarch");
	must(seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2), "optimize");
	for (size_t i = 0; i < json_array_size(list); i++)
		add_rule(c, json_array_get(list, i));
	print(c);
	return 0;
}
