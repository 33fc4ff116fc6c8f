/* See resolver.h. */
#include "cli/resolver.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/str.h"

#define FILE_LIMIT 65536

static bool is_reachable(struct str word, char ret[RESOLVER_ADDRESS_SIZE])
{
	struct in_addr a;

	if (word.len >= RESOLVER_ADDRESS_SIZE)
		return false;
	snprintf(ret, RESOLVER_ADDRESS_SIZE, "%.*s", STR_FMT(word));
	return inet_pton(AF_INET, ret, &a) == 1 && ntohl(a.s_addr) >> 24 != 127 && a.s_addr != 0;
}

size_t resolver_parse(struct str rest, char ret[RESOLVER_SERVERS_MAX][RESOLVER_ADDRESS_SIZE])
{
	size_t count = 0;

	while (rest.ptr && count < RESOLVER_SERVERS_MAX) {
		struct str line = str_trim(str_cut(&rest, '\n'));
		size_t len = 0;

		if (!str_has_prefix(line, "nameserver"))
			continue;
		line = str_sub(line, strlen("nameserver"));
		if (!line.len || (line.ptr[0] != ' ' && line.ptr[0] != '\t'))
			continue;
		line = str_trim(line);
		while (len < line.len && !strchr(" \t#;", line.ptr[len]))
			len++;
		line.len = len;
		count += is_reachable(line, ret[count]);
	}
	return count;
}

size_t resolver_find(char ret[RESOLVER_SERVERS_MAX][RESOLVER_ADDRESS_SIZE])
{
	static const char *const files[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files) && !count; i++) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		if (fd_read_file(AT_FDCWD, files[i], FILE_LIMIT, &b) == 0)
			count = resolver_parse(buf_str(&b), ret);
	}
	return count;
}
