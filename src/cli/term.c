/* Terminals. See term.h. */
#include "cli/term.h"

#include <sys/ioctl.h>
#include <unistd.h>

#define SHRINK_LEAST 8

const char *term_paint(FILE *f, enum term_colour c)
{
	static const char *const codes[] = {
	    [TERM_PLAIN] = "\033[0m",
	    [TERM_BOLD] = "\033[1m",
	    [TERM_DIM] = "\033[2m",
	    [TERM_RED] = "\033[31m",
	    [TERM_GREEN] = "\033[32m",
	};
	const char *no = getenv("NO_COLOR");

	return (no && *no) || !isatty(fileno(f)) ? "" : codes[c];
}

void term_write_safe(FILE *f, struct str s)
{
	size_t from = 0;

	if (!isatty(fileno(f))) {
		fwrite(s.ptr, 1, s.len, f);
		return;
	}
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		/* U+0080 to U+009F steer terminals too; they are C2 80 to C2 9F. */
		bool c1 = c == 0xc2 && i + 1 < s.len && (s.ptr[i + 1] & 0x60) == 0;

		if (!c1 && ((c >= 32 && c != 127) || c == '\n' || c == '\t'))
			continue;
		fwrite(s.ptr + from, 1, i - from, f);
		if (c1)
			i++;
		fprintf(f, "^%c", c1 ? '?' : c ^ 64);
		from = i + 1;
	}
	fwrite(s.ptr + from, 1, s.len - from, f);
}

void term_progress(const char *text)
{
	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r\033[K%s%s", text ? text : "", text ? " …" : "");
	fflush(stderr);
}

bool term_confirm(const char *question)
{
	char line[16];

	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return true;
	fprintf(stderr, "%s [y/N] ", question);
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

void term_format_size(uint64_t bytes, char out[TERM_SIZE_TEXT])
{
	static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
	double v = (double)bytes;
	size_t u = 0;

	for (; v >= 1000 && u + 1 < ARRAY_SIZE(units); u++)
		v /= 1000;
	snprintf(out, TERM_SIZE_TEXT, v < 10 && u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

void term_table_init(struct term_table *t, const struct term_column *columns, size_t count)
{
	check(count <= TERM_COLUMNS_MAX);
	*t = (struct term_table){.columns = columns, .column_count = count};
}

void term_table_done(struct term_table *t)
{
	for (size_t i = 0; i < t->row_count * t->column_count; i++)
		free(t->cells[i]);
	free(t->cells);
	t->cells = NULL;
	t->row_count = 0;
}

void term_table_add(struct term_table *t, const char *const *cells)
{
	size_t at = t->row_count * t->column_count;

	t->cells = xrealloc(t->cells, (at + t->column_count) * sizeof(*t->cells));
	for (size_t i = 0; i < t->column_count; i++)
		t->cells[at + i] = xstrdup(cells[i] ? cells[i] : "-");
	t->row_count++;
}

static size_t window_width(void)
{
	struct winsize w;

	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || !w.ws_col)
		return SIZE_MAX;
	return w.ws_col;
}

static void measure(const struct term_table *t, size_t width[TERM_COLUMNS_MAX])
{
	size_t total = 0, limit = window_width();

	for (size_t c = 0; c < t->column_count; c++) {
		width[c] = utf8_count(str_from(t->columns[c].title));
		for (size_t r = 0; r < t->row_count; r++)
			width[c] = max_size(
			    width[c], utf8_count(str_from(t->cells[r * t->column_count + c])));
		total += width[c] + (c ? 2 : 0);
	}
	for (size_t c = 0; c < t->column_count && total > limit; c++) {
		size_t cut = total - limit;

		if (!t->columns[c].shrink || width[c] <= SHRINK_LEAST)
			continue;
		cut = min_size(cut, width[c] - SHRINK_LEAST);
		width[c] -= cut;
		total -= cut;
	}
}

/* The first `width` characters, the last of them an ellipsis if something is left out. */
static void print_cell(const char *text, size_t width, bool right, bool last)
{
	struct str s = str_from(text);
	size_t count = utf8_count(s), bytes = 0;

	if (count > width) {
		for (size_t left = width - 1; left; left--)
			for (bytes++; bytes < s.len && (s.ptr[bytes] & 0xc0) == 0x80;)
				bytes++;
		term_write_safe(stdout, (struct str){s.ptr, bytes});
		fputs("…", stdout);
		return;
	}
	if (right)
		printf("%*s", (int)(width - count), "");
	term_write_safe(stdout, s);
	if (!right && !last)
		printf("%*s", (int)(width - count), "");
}

static void print_row(
    const struct term_table *t, const size_t *width, char *const *cells, const char *paint)
{
	fputs(paint, stdout);
	for (size_t c = 0; c < t->column_count; c++) {
		bool last = c + 1 == t->column_count;

		print_cell(
		    cells ? cells[c] : t->columns[c].title, width[c], t->columns[c].right, last);
		fputs(last ? "" : "  ", stdout);
	}
	fputs(*paint ? term_paint(stdout, TERM_PLAIN) : "", stdout);
	putchar('\n');
}

void term_table_print(const struct term_table *t)
{
	size_t width[TERM_COLUMNS_MAX];

	measure(t, width);
	print_row(t, width, NULL, term_paint(stdout, TERM_BOLD));
	for (size_t r = 0; r < t->row_count; r++)
		print_row(t, width, t->cells + r * t->column_count, "");
}
