/* Frames of the protocol mayfly-stream. See frame.h. Any thread; also part of the command line. */
#include "attach/frame.h"

static uint32_t read_u32(const char *p)
{
	const uint8_t *b = (const uint8_t *)p;

	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Which lengths a frame of this kind may have. */
static bool length_fits(unsigned kind, uint32_t length)
{
	switch (kind) {
	case ATTACH_STDIN:
	case ATTACH_STDOUT:
	case ATTACH_STDERR: return length && length <= ATTACH_FRAME_MAX;
	case ATTACH_STDIN_END:
	case ATTACH_END: return !length;
	case ATTACH_RESIZE:
	case ATTACH_CREDIT:
	case ATTACH_EXIT: return length == 4;
	case ATTACH_ERROR: return length <= ATTACH_ERROR_MAX;
	default: return false;
	}
}

int attach_frame_next(struct str *in, struct attach_frame *ret)
{
	uint32_t length;

	if (in->len < ATTACH_FRAME_HEAD)
		return 0;
	length = read_u32(in->ptr + 1);
	if (!length_fits((uint8_t)in->ptr[0], length))
		return -EPROTO;
	if (in->len - ATTACH_FRAME_HEAD < length)
		return 0;
	ret->kind = (enum attach_kind)(uint8_t)in->ptr[0];
	ret->data = (struct str){in->ptr + ATTACH_FRAME_HEAD, length};
	in->ptr += ATTACH_FRAME_HEAD + length;
	in->len -= ATTACH_FRAME_HEAD + length;
	return 1;
}

static void put_u32(char *to, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		to[i] = (char)(uint8_t)(n >> (24 - 8 * i));
}

void attach_frame_put(struct buf *out, enum attach_kind kind, struct str data)
{
	char *head = buf_reserve(out, ATTACH_FRAME_HEAD + data.len);

	check(data.len <= ATTACH_FRAME_MAX && length_fits(kind, (uint32_t)data.len));
	head[0] = (char)kind;
	put_u32(head + 1, (uint32_t)data.len);
	if (data.len)
		memcpy(head + ATTACH_FRAME_HEAD, data.ptr, data.len);
	buf_commit(out, ATTACH_FRAME_HEAD + data.len);
}

void attach_frame_put_u32(struct buf *out, enum attach_kind kind, uint32_t n)
{
	char data[4];

	put_u32(data, n);
	attach_frame_put(out, kind, (struct str){data, sizeof(data)});
}

void attach_frame_put_size(struct buf *out, uint16_t rows, uint16_t columns)
{
	attach_frame_put_u32(out, ATTACH_RESIZE, (uint32_t)rows << 16 | columns);
}

uint32_t attach_frame_u32(const struct attach_frame *f)
{
	check(f->data.len == 4);
	return read_u32(f->data.ptr);
}

void attach_frame_size(const struct attach_frame *f, uint16_t *ret_rows, uint16_t *ret_columns)
{
	uint32_t n = attach_frame_u32(f);

	*ret_rows = (uint16_t)(n >> 16);
	*ret_columns = (uint16_t)n;
}
