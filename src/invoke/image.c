/* The image that a version runs in, copied whole: its owner may be gone before the last box. */
#include "invoke/invoke_int.h"

static const char **copy_list(const char *const *list)
{
	size_t count = 0;
	const char **copy;

	while (list && list[count])
		count++;
	copy = xcalloc(count + 1, sizeof(*copy));
	for (size_t i = 0; i < count; i++)
		copy[i] = xstrdup(list[i]);
	return copy;
}

static void free_list(const char *const *list)
{
	for (size_t i = 0; list && list[i]; i++)
		free((char *)(uintptr_t)list[i]);
	free((void *)(uintptr_t)list);
}

struct invoke_image *image_copy(const struct invoke_image *i)
{
	struct invoke_image *copy = xcalloc(1, sizeof(*copy));
	uint8_t(*layers)[WIRE_HASH_SIZE] = xcalloc(i->layer_count, WIRE_HASH_SIZE);

	memcpy(layers, i->layers, i->layer_count * WIRE_HASH_SIZE);
	copy->layers = (const uint8_t(*)[WIRE_HASH_SIZE])layers;
	copy->layer_count = i->layer_count;
	copy->argv = copy_list(i->argv);
	copy->env = copy_list(i->env);
	copy->cwd = i->cwd && *i->cwd ? xstrdup(i->cwd) : NULL;
	return copy;
}

void image_free(struct invoke_image *i)
{
	if (!i)
		return;
	free((void *)(uintptr_t)i->layers);
	free_list(i->argv);
	free_list(i->env);
	free((char *)(uintptr_t)i->cwd);
	free(i);
}
