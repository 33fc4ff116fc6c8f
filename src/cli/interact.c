/* The client's end of an interactive stream. See interact.h. */
#include "cli/interact.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "attach/frame.h"
#include "cli/client_stream.h"
#include "cli/term.h"

#define READ_MAX 32768

struct session {
	const struct interact *x;
	struct client_stream *stream;
	struct buf in, out; /* from and to the server */
	uint64_t credit;
	bool stdin_open, raw, done;
	int signal_fd, signals;
	int code; /* CLIENT_NOTED: none yet */
	struct termios before;
	struct interact_end *end;
};

/* The terminal as it was, whatever happens: also when a failure ends the program. */
static struct session *raw_session;

static void restore_terminal(void)
{
	if (raw_session && raw_session->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &raw_session->before);
	raw_session = NULL;
}

static void make_raw(struct session *s)
{
	struct termios raw;

	if (!s->x->tty || !s->x->interactive || tcgetattr(STDIN_FILENO, &s->before) < 0)
		return;
	raw = s->before;
	cfmakeraw(&raw);
	s->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
	raw_session = s;
	atexit(restore_terminal);
}

static bool window_size(uint16_t *ret_rows, uint16_t *ret_columns)
{
	struct winsize w;
	int fd = isatty(STDOUT_FILENO) ? STDOUT_FILENO : STDIN_FILENO;

	if (ioctl(fd, TIOCGWINSZ, &w) < 0 || !w.ws_row || !w.ws_col)
		return false;
	*ret_rows = w.ws_row;
	*ret_columns = w.ws_col;
	return true;
}

int interact_check(const char *verb, bool interactive, bool tty)
{
	if (!tty || !interactive || isatty(STDIN_FILENO))
		return CLI_OK;
	return cli_fail(CLI_NOT_RUN, "leave out -t, or call it from a terminal",
	    "%s: -t was asked for, but stdin is no terminal", verb);
}

/* ---- what comes ---- */

static void write_all(int fd, struct str data)
{
	while (data.len) {
		ssize_t n = write(fd, data.ptr, data.len);

		if (n < 0 && errno == EAGAIN)
			poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return; /* nobody reads it any more; the process is to end all the same */
		if (n > 0)
			data = (struct str){data.ptr + n, data.len - (size_t)n};
	}
}

static void end_with(struct session *s, int code)
{
	s->code = code;
	s->done = true;
}

static void take_frame(struct session *s, const struct attach_frame *f)
{
	switch (f->kind) {
	case ATTACH_STDOUT: write_all(STDOUT_FILENO, f->data); break;
	case ATTACH_STDERR: write_all(STDERR_FILENO, f->data); break;
	case ATTACH_CREDIT: s->credit += attach_frame_u32(f); break;
	case ATTACH_EXIT:
		s->end->has_exit_code = true;
		s->end->exit_code = (int)attach_frame_u32(f);
		end_with(s, CLI_OK);
		break;
	case ATTACH_END: end_with(s, CLI_OK); break;
	case ATTACH_ERROR:
		restore_terminal();
		end_with(s, cli_fail(CLI_NOT_RUN, NULL, "%.*s", STR_FMT(f->data)));
		break;
	default: break;
	}
}

static void broke(struct session *s)
{
	restore_terminal();
	end_with(s, cli_fail(CLI_NOT_RUN, "what ran there may still run: `mayfly ps` tells",
			"the connection to the server broke"));
}

/* True: more may have come than the socket tells, in buffers above it. */
static bool receive(struct session *s)
{
	ssize_t n = client_stream_receive(s->stream, buf_reserve(&s->in, READ_MAX), READ_MAX);
	struct attach_frame f;
	struct str in;
	int r = 0;

	if (n == -EAGAIN)
		return false;
	if (n > 0)
		buf_commit(&s->in, (size_t)n);
	in = buf_str(&s->in);
	while (!s->done && (r = attach_frame_next(&in, &f)) > 0)
		take_frame(s, &f);
	buf_consume(&s->in, buf_len(&s->in) - in.len);
	if (!s->done && (n <= 0 || r < 0))
		broke(s);
	return true;
}

/* ---- what goes ---- */

static void flush(struct session *s)
{
	while (buf_len(&s->out)) {
		ssize_t n = client_stream_send(s->stream, buf_data(&s->out), buf_len(&s->out));

		if (n < 0)
			return; /* receiving finds out what is wrong */
		buf_consume(&s->out, (size_t)n);
	}
}

static void read_stdin(struct session *s)
{
	char data[READ_MAX];
	ssize_t n = read(STDIN_FILENO, data, min_size(sizeof(data), (size_t)s->credit));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n > 0) {
		s->credit -= (uint64_t)n;
		attach_frame_put(&s->out, ATTACH_STDIN, (struct str){data, (size_t)n});
	} else {
		s->stdin_open = false;
		attach_frame_put(&s->out, ATTACH_STDIN_END, STR(""));
	}
	flush(s);
}

static void send_size(struct session *s)
{
	uint16_t rows, columns;

	if (!s->x->tty || !window_size(&rows, &columns))
		return;
	attach_frame_put_size(&s->out, rows, columns);
	flush(s);
}

static void read_signal(struct session *s)
{
	struct signalfd_siginfo info;
	int code;

	if (read(s->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH) {
		send_size(s);
		return;
	}
	code = s->x->on_signal ? s->x->on_signal(s->x->ctx, (int)info.ssi_signo, ++s->signals)
			       : 128 + (int)info.ssi_signo;
	if (code >= 0)
		end_with(s, code);
}

/* ---- the whole ---- */

static void on_early(int signal)
{
	client_interrupted = signal;
}

/* Who minds that a task is left behind hears of signals from the beginning. */
static void catch_early(const struct interact *x, bool on)
{
	struct sigaction a = {.sa_handler = on ? on_early : SIG_DFL};

	if (!x->on_signal)
		return;
	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
}

static bool open_signals(struct session *s, sigset_t *before)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, before);
	signal(SIGPIPE, SIG_IGN);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signal_fd >= 0;
}

static void relay(struct session *s)
{
	bool more = true;

	while (!s->done) {
		struct pollfd fds[] = {
		    {.fd = client_stream_fd(s->stream),
			.events = (short)(POLLIN | (buf_len(&s->out) ? POLLOUT : 0))},
		    {.fd = s->signal_fd, .events = POLLIN},
		    {.fd = s->stdin_open && s->credit && !buf_len(&s->out) ? STDIN_FILENO : -1,
			.events = POLLIN},
		};

		if (poll(fds, ARRAY_SIZE(fds), more ? 0 : -1) < 0 && errno != EINTR)
			return;
		if (fds[0].revents & POLLOUT)
			flush(s);
		if (fds[1].revents)
			read_signal(s);
		if (fds[2].revents)
			read_stdin(s);
		if (more || fds[0].revents & ~POLLOUT)
			more = receive(s);
	}
}

static int open_stream(struct session *s)
{
	const struct interact *x = s->x;
	_cleanup_answer_ struct client_answer a = {0};
	_cleanup_free_ char *text = NULL;
	struct client_request r = {.service = "ecs", .method = "POST", .path = x->path};
	uint16_t rows, columns;
	int code;

	json_object_set_new(x->body, "stdin", json_boolean(x->interactive));
	json_object_set_new(x->body, "tty", json_boolean(x->tty));
	if (x->tty && window_size(&rows, &columns)) {
		json_object_set_new(x->body, "rows", json_integer(rows));
		json_object_set_new(x->body, "columns", json_integer(columns));
	}
	text = json_dumps(x->body, JSON_COMPACT);
	r.body = str_from(text);
	code = client_stream_open(x->client, &r, ATTACH_PROTOCOL, &s->stream, &a);
	if (code == CLIENT_INTERRUPTED) {
		if (x->on_signal)
			x->on_signal(x->ctx, client_interrupted, 1);
		code = 128 + client_interrupted;
	}
	if (code == CLIENT_NOTED) {
		s->end->refused = a.status;
		free(client_answer_error(&a, &s->end->why));
	}
	return code;
}

int interact_run(const struct interact *x, struct interact_end *ret)
{
	struct session s = {.x = x,
	    .end = ret,
	    .signal_fd = -1,
	    .code = CLIENT_NOTED,
	    .stdin_open = x->interactive};
	sigset_t before;
	int code;

	*ret = (struct interact_end){0};
	catch_early(x, true);
	code = open_stream(&s);
	catch_early(x, false);
	if (code)
		return code == CLIENT_NOTED ? CLI_OK : code;
	if (!open_signals(&s, &before)) {
		code = cli_fail(CLI_NOT_RUN, NULL, "waiting for signals: %s", strerror(errno));
	} else {
		make_raw(&s);
		send_size(&s); /* the window may have changed meanwhile */
		relay(&s);
		restore_terminal();
		code = s.code == CLIENT_NOTED ? CLI_NOT_RUN : s.code;
		close(s.signal_fd);
		sigprocmask(SIG_SETMASK, &before, NULL);
	}
	client_stream_close(s.stream);
	buf_done(&s.in);
	buf_done(&s.out);
	return code;
}
