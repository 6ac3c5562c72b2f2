/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/ch-files.c - what a cloud-hypervisor inherits or finds: files, the socket of its API, the FIFO of its events */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "vm/ch.h"

enum {
	BACKLOG = 8, /* connections that wait for a VMM that is busy */
	PATH_SIZE = sizeof(((struct sockaddr_un *)NULL)->sun_path),
};

static int path_of(const char *run_dir, const char *name, char ret[PATH_SIZE], struct err *e)
{
	int n = snprintf(ret, PATH_SIZE, "%s/%s", run_dir, name);

	if (n < 0 || n >= PATH_SIZE)
		return err_set(e, ENAMETOOLONG, "the path %s/%s is too long for a socket", run_dir,
			       name);
	return 0;
}

void ch_names_remove(const char *run_dir)
{
	static const char *const names[] = {CH_SOCKET, CH_EVENTS, CH_SAVE, MANIFEST_NAME,
					    CH_RESTORE};
	AUTO_FD dir = -1;

	if (file_open_dir(AT_FDCWD, run_dir, &dir, NULL) < 0)
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		(void)file_remove_tree(dir, names[i], NULL); /* ops removes run_dir in the end */
}

static int make_socket(const char *run_dir, int *ret_fd, struct err *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	AUTO_FD fd = -1;
	int r = path_of(run_dir, CH_SOCKET, address.sun_path, e);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* The mode is set before bind(), so that nobody else can connect for an instant. */
	if (fd < 0 || fchmod(fd, S_IRUSR | S_IWUSR) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return err_sys(e, errno, "cannot listen on %s", address.sun_path);
	*ret_fd = steal_fd(&fd);
	return 0;
}

int ch_events_open(const char *run_dir, int *ret_fd, struct err *e)
{
	char path[PATH_SIZE];
	int fd, r = path_of(run_dir, CH_EVENTS, path, e);

	if (r < 0)
		return r;
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", path);
	*ret_fd = fd;
	return 0;
}

static int make_names(const struct vm_spec *spec, struct err *e)
{
	char events[PATH_SIZE], save[PATH_SIZE];
	int r = path_of(spec->run_dir, CH_EVENTS, events, e);

	if (r == 0)
		r = path_of(spec->run_dir, CH_SAVE, save, e);
	if (r < 0)
		return r;
	ch_names_remove(spec->run_dir); /* of an earlier one; only one at a time has run_dir */
	if (mkfifo(events, S_IRUSR | S_IWUSR) < 0)
		return err_sys(e, errno, "cannot make the FIFO %s", events);
	if (spec->save_dir && symlink(spec->save_dir, save) < 0)
		return err_sys(e, errno, "cannot make the link %s", save);
	return 0;
}

void ch_files_close(struct ch_files *f)
{
	int *const all[] = {&f->api, &f->events, &f->kernel, &f->initrd, &f->disk, &f->save};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		fd_close(steal_fd(all[i]));
}

static int open_file(const char *path, int flags, const char *what, int *ret_fd, struct err *e)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "cannot open the %s %s", what, path);
	*ret_fd = fd;
	return 0;
}

static int open_disk(const char *path, struct ch_files *f, struct err *e)
{
	f->disk = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	f->direct = f->disk >= 0;
	return f->direct ? 0 : open_file(path, O_RDWR, "disk", &f->disk, e);
}

int ch_files_open(const struct vm_spec *spec, struct ch_files *f, struct err *e)
{
	int r = 0;

	*f = (struct ch_files){-1, -1, -1, -1, -1, -1, false};
	if (!spec->saved)
		r = open_file(spec->kernel, O_RDONLY, "kernel", &f->kernel, e);
	if (r == 0 && !spec->saved && spec->initrd)
		r = open_file(spec->initrd, O_RDONLY, "initial RAM disk", &f->initrd, e);
	if (r == 0 && spec->disk)
		r = open_disk(spec->disk, f, e);
	if (r == 0 && spec->save_dir)
		r = open_file(spec->save_dir, O_RDONLY | O_DIRECTORY, "directory", &f->save, e);
	if (r == 0)
		r = make_names(spec, e);
	if (r == 0)
		r = make_socket(spec->run_dir, &f->api, e);
	return r < 0 ? r : ch_events_open(spec->run_dir, &f->events, e);
}
