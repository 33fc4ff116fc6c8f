/* See path.h. */
#include "base/path.h"

#include <string.h>

bool path_clean(const char *path, char *out, size_t size)
{
	size_t n = 0;

	if (*path != '/')
		return false;
	while (*path) {
		size_t len = strcspn(path, "/");

		if (len == 2 && path[0] == '.' && path[1] == '.') {
			while (n && out[--n] != '/')
				;
		} else if (len && !(len == 1 && path[0] == '.')) {
			if (n + len + 2 > size)
				return false;
			out[n++] = '/';
			memcpy(out + n, path, len);
			n += len;
		}
		path += len + (path[len] == '/');
	}
	if (n == 0 && size > 1)
		out[n++] = '/';
	out[n] = '\0';
	return true;
}

bool path_is_below(const char *path, const char *directory)
{
	size_t len = strlen(directory);

	if (len == 1)
		return true;
	return strncmp(path, directory, len) == 0 && (path[len] == '/' || path[len] == '\0');
}
