/*
 * The process's end of a session: three pipes, or a terminal's master, or conmon's attach socket.
 * Loop thread; entered from the loop and from attach.c.
 */
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attach/attach_int.h"
#include "base/fd.h"

static void close_end(struct end *end)
{
	if (end->io.fd < 0)
		return;
	loop_io_remove(end->session->loop, &end->io);
	close(end->io.fd);
	end->io.fd = -1;
	end->reads = end->writes = false;
}

void ends_close(struct session *s)
{
	for (int i = 0; i < END_COUNT; i++)
		close_end(&s->ends[i]);
}

/* An end that nothing is wanted of is not watched at all: it would go on saying that the other side
 * hung up. */
static void watch(struct end *end, uint32_t events)
{
	struct loop *l = end->session->loop;

	if (end->io.fd < 0 || (end->io.added && end->io.events == events))
		return;
	if (events && end->io.added) {
		loop_io_change(l, &end->io, events);
	} else if (events) {
		end->io.events = events;
		if (loop_io_add(l, &end->io) < 0)
			close_end(end);
	} else {
		loop_io_remove(l, &end->io);
	}
}

void ends_watch(struct session *s)
{
	for (int i = 0; i < END_COUNT; i++) {
		struct end *end = &s->ends[i];
		uint32_t events = 0;

		if (end->reads && !s->full)
			events |= EPOLLIN;
		if (end->writes && buf_len(&s->input))
			events |= EPOLLOUT;
		watch(end, events);
	}
}

bool ends_read(const struct session *s)
{
	for (int i = 0; i < END_COUNT; i++)
		if (s->ends[i].reads)
			return true;
	return false;
}

static void send_output(struct session *s, int which, const char *data, size_t len)
{
	enum attach_kind kind = which == END_ERR ? ATTACH_STDERR : ATTACH_STDOUT;

	if (!s->exec) { /* conmon's first byte tells the stream */
		kind = *data == 3 ? ATTACH_STDERR : ATTACH_STDOUT;
		data++;
		len--;
	}
	if (len)
		session_send(s, kind, (struct str){data, len});
}

/* A terminal whose last process has gone says EIO. */
static void end_output(struct end *end)
{
	end->reads = false;
	if (!end->writes || !end->session->exec)
		close_end(end);
}

static void read_output(struct session *s, int which)
{
	struct end *end = &s->ends[which];
	char data[READ_MAX];
	ssize_t n = read(end->io.fd, data, sizeof(data));

	s->heard = true;
	if (n > 0)
		send_output(s, which, data, (size_t)n);
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		end_output(end);
}

static ssize_t write_some(const struct session *s, int fd)
{
	struct str in = buf_str(&s->input);

	if (s->exec)
		return write(fd, in.ptr, in.len);
	return send(fd, in.ptr, min_size(in.len, PACKET_IN_MAX), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Who sends input gets its credit back though nobody reads it any more. */
static void drop_input(struct session *s)
{
	session_credit(s, buf_len(&s->input));
	buf_clear(&s->input);
}

/* A terminal has no end of its input but the character for it, which is the client's to send. */
static void end_input(struct session *s)
{
	struct end *end = &s->ends[END_IN];

	if (s->terminal)
		return;
	if (s->exec)
		close_end(end);
	else if (end->io.fd >= 0)
		shutdown(end->io.fd, SHUT_WR);
	end->writes = false;
}

void ends_input(struct session *s)
{
	struct end *end = &s->ends[END_IN];

	while (end->writes && buf_len(&s->input)) {
		ssize_t n = write_some(s, end->io.fd);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n < 0) {
			end->writes = false;
			if (!end->reads)
				close_end(end);
			break;
		}
		buf_consume(&s->input, (size_t)n);
		session_credit(s, (size_t)n);
	}
	if (!end->writes)
		drop_input(s);
	if (s->input_ended && !buf_len(&s->input) && end->writes)
		end_input(s);
}

static void on_ready(struct loop_io *io, uint32_t events)
{
	struct end *end = container_of(io, struct end, io);
	struct session *s = end->session;

	if (events & EPOLLOUT || (end->writes && events & EPOLLERR))
		ends_input(s);
	if (end->reads && !s->full && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_output(s, (int)(end - s->ends));
	ends_watch(s);
	session_look(s);
}

void ends_open(struct session *s, const int fds[END_COUNT])
{
	for (int i = 0; i < END_COUNT; i++) {
		struct end *end = &s->ends[i];
		bool both = fds[END_OUT] < 0;

		end->session = s;
		end->io = (struct loop_io){.fd = fds[i], .on_ready = on_ready};
		if (fds[i] < 0)
			continue;
		fd_nonblock(fds[i]);
		end->reads = i != END_IN || both;
		end->writes = i == END_IN && s->stdin_open;
	}
	if (!s->stdin_open && !s->ends[END_IN].reads)
		close_end(&s->ends[END_IN]);
	ends_watch(s);
}

void ends_resize(struct session *s, uint16_t rows, uint16_t columns)
{
	struct winsize size = {.ws_row = rows, .ws_col = columns};

	if (!s->terminal)
		return;
	if (!s->exec)
		spawn_container_resize(s->spawn, s->container.id, rows, columns);
	else if (s->ends[END_IN].io.fd >= 0)
		ioctl(s->ends[END_IN].io.fd, TIOCSWINSZ, &size);
}
