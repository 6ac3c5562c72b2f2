/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/cases/helper-httpd.c - a web server for the tests: ranges, ETags, and faults on demand
 *
 *   helper-httpd FOLDER PORT-FILE [PORT]
 *
 * Serves the files of FOLDER on 127.0.0.1 and writes its port, PORT or a free one, to PORT-FILE once it listens. Each answer is a line in
 * FOLDER/.log: METHOD PATH STATUS FROM SENT, where SENT is the number of bytes of the body. FOLDER/.faults holds words that
 * are looked at for each request: cut=N end the connection after N bytes; slow=N bytes a second at most; norange; noetag;
 * status=N; location=URL a redirect; hang say nothing. A process for each connection; SIGTERM ends it.
 * A POST that no fault meets becomes files of FOLDER: post.N.head and post.N, its body, with N from 1 on.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 16384, TEXT_MAX = 4096 };

struct faults {
	long long cut, slow; /* -1: not */
	long status;         /* 0: not */
	int norange, noetag, hang;
	char location[TEXT_MAX];
};

struct request {
	int fd;
	char method[16], path[1024];
	long long from; /* -1: the whole file */
	char if_range[256];
	char text[TEXT_MAX]; /* the head, and what came with it */
	size_t len;
};

static void faults_read(struct faults *f)
{
	FILE *file = fopen(".faults", "re");
	char word[TEXT_MAX];

	*f = (struct faults){.cut = -1, .slow = -1};
	while (file && fscanf(file, "%4095s", word) == 1) {
		const char *value = strchr(word, '=');

		value = value ? value + 1 : "";
		if (strncmp(word, "cut=", 4) == 0)
			f->cut = atoll(value);
		else if (strncmp(word, "slow=", 5) == 0)
			f->slow = atoll(value);
		else if (strncmp(word, "status=", 7) == 0)
			f->status = atol(value);
		else if (strncmp(word, "location=", 9) == 0)
			memmove(f->location, value, strlen(value) + 1);
		f->norange |= strcmp(word, "norange") == 0;
		f->noetag |= strcmp(word, "noetag") == 0;
		f->hang |= strcmp(word, "hang") == 0;
	}
	if (file)
		(void)fclose(file);
}

/* 0, when the request has come whole. */
static int request_read(struct request *q)
{
	const char *text = q->text, *line;

	while (!strstr(text, "\r\n\r\n")) {
		ssize_t n = q->len < TEXT_MAX - 1
				    ? read(q->fd, q->text + q->len, TEXT_MAX - 1 - q->len)
				    : 0;

		if (n <= 0)
			return -1;
		q->len += (size_t)n;
		q->text[q->len] = '\0';
	}
	if (sscanf(text, "%15s /%1023s ", q->method, q->path) != 2)
		return -1;
	line = strstr(text, "\r\nRange: bytes=");
	q->from = line ? atoll(line + strlen("\r\nRange: bytes=")) : -1;
	line = strstr(text, "\r\nIf-Range: ");
	if (line)
		(void)sscanf(line + strlen("\r\nIf-Range: "), "%255[^\r]", q->if_range);
	return 0;
}

static void say(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(int fd, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vdprintf(fd, fmt, ap); /* the client may have gone: then the rest fails too */
	va_end(ap);
}

static void pause_for(long long bytes, long long per_second)
{
	long long ns = bytes * 1000000000 / per_second;
	const struct timespec t = {.tv_sec = (time_t)(ns / 1000000000),
				   .tv_nsec = (long)(ns % 1000000000)};

	(void)nanosleep(&t, NULL);
}

/* Return: bytes sent. */
static long long send_body(const struct request *q, int file, long long left,
			   const struct faults *f)
{
	long long sent = 0;
	char piece[PIECE];

	while (left > 0 && (f->cut < 0 || sent < f->cut)) {
		size_t most = sizeof(piece);
		ssize_t n;

		if (left < (long long)most)
			most = (size_t)left;
		if (f->cut >= 0 && f->cut - sent < (long long)most)
			most = (size_t)(f->cut - sent);
		n = read(file, piece, most);
		if (n <= 0 || send(q->fd, piece, (size_t)n, MSG_NOSIGNAL) != n)
			break;
		sent += n;
		left -= n;
		if (f->slow > 0)
			pause_for(n, f->slow);
	}
	return sent;
}

static void serve_file(struct request *q, int file, const struct stat *st, const struct faults *f,
		       FILE *log)
{
	char etag[80], head[200] = "";
	long long size = st->st_size, sent = 0;

	(void)snprintf(etag, sizeof(etag), "\"%llx-%llx-%lx\"", (unsigned long long)st->st_ino,
		       (unsigned long long)size, (unsigned long)st->st_mtim.tv_nsec);
	if (f->norange || (q->if_range[0] && strcmp(q->if_range, etag) != 0) || q->from < 0)
		q->from = -1;
	if (q->from >= size) {
		say(q->fd,
		    "HTTP/1.1 416 No\r\nContent-Range: bytes */%lld\r\nContent-Length: 0\r\n\r\n",
		    size);
		(void)fprintf(log, "%s /%s 416 %lld 0\n", q->method, q->path, q->from);
		return;
	}
	if (q->from >= 0)
		(void)snprintf(head, sizeof(head), "Content-Range: bytes %lld-%lld/%lld\r\n",
			       q->from, size - 1, size);
	if (q->from > 0)
		(void)lseek(file, q->from, SEEK_SET);
	say(q->fd, "HTTP/1.1 %s\r\nContent-Length: %lld\r\n%s%s%s%sConnection: close\r\n\r\n",
	    q->from >= 0 ? "206 Partial Content" : "200 OK", size - (q->from > 0 ? q->from : 0),
	    head, f->noetag ? "" : "ETag: ", f->noetag ? "" : etag, f->noetag ? "" : "\r\n");
	if (strcmp(q->method, "HEAD") != 0)
		sent = send_body(q, file, size - (q->from > 0 ? q->from : 0), f);
	(void)fprintf(log, "%s /%s %d %lld %lld\n", q->method, q->path, q->from >= 0 ? 206 : 200,
		      q->from > 0 ? q->from : 0, sent);
}

/* The body of a POST into "post.N", the next that there is not. Return: bytes; -1 it did not come whole. */
static long long keep_body(const struct request *q, const char *end)
{
	const char *line = strstr(q->text, "\r\nContent-Length: ");
	long long left = line ? atoll(line + strlen("\r\nContent-Length: ")) : 0, all = left;
	size_t begun = q->len - (size_t)(end - q->text);
	char name[64], piece[PIECE];
	FILE *file = NULL;

	for (int i = 1; !file && i < 100000; i++) {
		(void)snprintf(name, sizeof(name), "post.%d.head", i);
		file = fopen(name, "wxe");
	}
	if (!file)
		return -1;
	(void)fwrite(q->text, 1, (size_t)(end - q->text), file);
	(void)fclose(file);
	*strrchr(name, '.') = '\0';
	file = fopen(name, "we");
	if (!file)
		return -1;
	(void)fwrite(end, 1, begun, file);
	left -= (long long)begun;
	while (left > 0) {
		ssize_t n = read(q->fd, piece, sizeof(piece));

		if (n <= 0)
			break;
		(void)fwrite(piece, 1, (size_t)n, file);
		left -= n;
	}
	return fclose(file) == 0 && left == 0 ? all : -1;
}

static void take_post(const struct request *q, FILE *log)
{
	long long bytes = keep_body(q, strstr(q->text, "\r\n\r\n") + 4);

	(void)fprintf(log, "%s /%s %d 0 %lld\n", q->method, q->path, bytes < 0 ? 500 : 200, bytes);
	(void)fflush(log); /* it is told before the sender is */
	say(q->fd, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", bytes < 0 ? "500 Sorry" : "200 OK");
}

static void serve(int fd)
{
	struct request q = {.fd = fd};
	FILE *log = fopen(".log", "ae");
	struct faults f;
	struct stat st;
	char rest;
	int file;

	if (!log || request_read(&q) < 0)
		return;
	faults_read(&f);
	file = strchr(q.path, '/') || q.path[0] == '.' ? -1 : open(q.path, O_RDONLY | O_CLOEXEC);
	if (f.hang) {
		(void)!read(fd, &rest, 1); /* until the client gives up */
	} else if (f.location[0] && !strstr(f.location, q.path)) {
		say(fd, "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
		    f.location);
		(void)fprintf(log, "%s /%s 302 0 0\n", q.method, q.path);
	} else if (!f.status && strcmp(q.method, "POST") == 0) {
		take_post(&q, log);
	} else if (f.status || file < 0 || fstat(file, &st) < 0) {
		say(fd, "HTTP/1.1 %ld Sorry\r\nContent-Length: 0\r\n\r\n",
		    f.status ? f.status : 404);
		(void)fprintf(log, "%s /%s %ld 0 0\n", q.method, q.path, f.status ? f.status : 404);
	} else {
		serve_file(&q, file, &st, &f, log);
	}
	(void)fclose(log);
}

static int listen_at(const char *port_file, unsigned port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)port),
				.sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int one = 1;
	FILE *f;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 16) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return -1;
	f = fopen(port_file, "we");
	if (!f)
		return -1;
	(void)fprintf(f, "%u\n", ntohs(a.sin_port));
	return fclose(f) == 0 ? fd : -1;
}

int main(int argc, char **argv)
{
	int listener;

	if (argc != 3 && argc != 4) {
		(void)fprintf(stderr, "usage: helper-httpd FOLDER PORT-FILE [PORT]\n");
		return 2;
	}
	(void)signal(SIGCHLD, SIG_IGN); /* nobody waits for them */
	listener = listen_at(argv[2], argc == 4 ? (unsigned)atoi(argv[3]) : 0);
	if (listener < 0 || chdir(argv[1]) < 0) {
		perror("helper-httpd");
		return 1;
	}
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		if (fork() == 0) {
			serve(fd);
			_exit(0);
		}
		(void)close(fd);
	}
}
