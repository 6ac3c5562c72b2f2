/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm/qemu-files.c - what a QEMU inherits or finds: files, guest memory, control socket, serial line
 *
 * How it works: everything that can be is opened here, where a failure can be told with its cause, and handed
 * over by descriptor. Socket and FIFO have names in run_dir so that a later daemon can take up a
 * QEMU that this one started.
 * The serial line is a "pipe" character device, which needs two names. Its output goes nowhere but to the
 * log: QEMU writes it byte by byte, and a socket whose reader is late is full after some 280 such
 * writes, when the guest has to wait. Its input is a FIFO that QEMU itself holds open for writing too, so
 * that it never ends.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "vm/qemu-private.h"

enum {
	BACKLOG = 1, /* connections that wait while QEMU starts: ours */
	PATH_SIZE = sizeof(((struct sockaddr_un *)NULL)->sun_path),
	QCOW2_MAGIC = 0x514649fb,
	QCOW2_NAME_MAX = 1023, /* of a backing file; QEMU docs/interop/qcow2.txt */
};

/* The first fields of a qcow2 file, big-endian; QEMU docs/interop/qcow2.txt. */
struct qcow2_head {
	uint32_t magic, version;
	uint64_t backing_offset;
	uint32_t backing_size;
} __attribute__((packed));

void qemu_files_close(struct qemu_files *f)
{
	int *const all[] = {&f->qmp,  &f->ram,  &f->kernel, &f->initrd,
			    &f->disk, &f->base, &f->state};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		fd_close(steal_fd(all[i]));
}

/* The path of @name below @run_dir, short enough for a socket. */
static int path_of(const char *run_dir, const char *name, char ret[PATH_SIZE], struct err *e)
{
	int n = snprintf(ret, PATH_SIZE, "%s/%s", run_dir, name);

	if (n < 0 || n >= PATH_SIZE)
		return err_set(e, ENAMETOOLONG, "the path %s/%s is too long for a socket", run_dir,
			       name);
	return 0;
}

void qemu_names_remove(const char *run_dir)
{
	static const char *const names[] = {QEMU_QMP_SOCKET, QEMU_SERIAL_IN, QEMU_SERIAL_OUT,
					    MANIFEST_NAME};
	char path[PATH_SIZE];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (path_of(run_dir, names[i], path, NULL) == 0)
			(void)unlink(path); /* gone already is as good */
}

static int socket_address(const char *run_dir, struct sockaddr_un *ret, struct err *e)
{
	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	return path_of(run_dir, QEMU_QMP_SOCKET, ret->sun_path, e);
}

static int make_socket(const char *run_dir, int *ret_fd, struct err *e)
{
	struct sockaddr_un address;
	AUTO_FD fd = -1;
	int r = socket_address(run_dir, &address, e);

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

static int make_serial(const char *run_dir, struct err *e)
{
	char in[PATH_SIZE];
	char out[PATH_SIZE];
	int r = path_of(run_dir, QEMU_SERIAL_IN, in, e);

	if (r == 0)
		r = path_of(run_dir, QEMU_SERIAL_OUT, out, e);
	if (r < 0)
		return r;
	if (mkfifo(in, S_IRUSR | S_IWUSR) < 0)
		return err_sys(e, errno, "cannot make the FIFO %s", in);
	if (symlink("/dev/null", out) < 0)
		return err_sys(e, errno, "cannot make the link %s", out);
	return 0;
}

int qemu_connect(const char *run_dir, int *ret_fd, struct err *e)
{
	struct sockaddr_un address;
	AUTO_FD fd = -1;
	int r = socket_address(run_dir, &address, e);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return err_sys(e, errno, "cannot connect to %s", address.sun_path);
	*ret_fd = steal_fd(&fd);
	return 0;
}

int qemu_open_console(const char *run_dir, int *ret_fd, struct err *e)
{
	char path[PATH_SIZE];
	int r = path_of(run_dir, QEMU_SERIAL_IN, path, e);
	int fd;

	if (r < 0)
		return r;
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", path);
	*ret_fd = fd;
	return 0;
}

static int open_file(const char *path, const char *what, int *ret_fd, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "cannot open the %s %s", what, path);
	*ret_fd = fd;
	return 0;
}

/* Open a disk's file or device; O_DIRECT is kept to find out whether it works there. */
static int open_image(const char *path, int access, int *ret_fd, struct qemu_image *ret,
		      struct err *e)
{
	struct stat st;
	AUTO_FD fd = open(path, access | O_DIRECT | O_CLOEXEC);

	ret->direct = fd >= 0;
	if (fd < 0 && errno == EINVAL)
		fd = open(path, access | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot open the disk %s", path);
	ret->is_device = S_ISBLK(st.st_mode);
	*ret_fd = steal_fd(&fd);
	return 0;
}

/**
 * read_backing() - The name of a qcow2 file's backing file
 * @ret: PATH_MAX bytes; "" when it has none; made absolute with the directory of @path
 * Return: 0; -EBADMSG no qcow2 file, or a damaged one.
 */
static int read_backing(const char *path, char *ret, struct err *e)
{
	char name[QCOW2_NAME_MAX + 1];
	const char *slash = strrchr(path, '/');
	AUTO_FD fd = -1;
	struct qcow2_head head;
	uint32_t size;
	int n;

	ret[0] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot open the disk %s", path);
	if (pread(fd, &head, sizeof(head), 0) != sizeof(head) || be32toh(head.magic) != QCOW2_MAGIC)
		return err_set(e, EBADMSG, "%s is not a qcow2 image", path);
	size = be32toh(head.backing_size);
	if (head.backing_offset == 0)
		return 0;
	if (size > QCOW2_NAME_MAX ||
	    pread(fd, name, size, (off_t)be64toh(head.backing_offset)) != (ssize_t)size)
		return err_set(e, EBADMSG, "the header of %s is damaged", path);
	name[size] = '\0';
	if (name[0] == '/' || !slash)
		n = snprintf(ret, PATH_MAX, "%s", name);
	else
		n = snprintf(ret, PATH_MAX, "%.*s/%s", (int)(slash - path), path, name);
	return n < PATH_MAX ? 0 : err_set(e, ENAMETOOLONG, "%s: too long a name", path);
}

static int open_disk(const struct vm_spec *spec, struct qemu_files *f, struct err *e)
{
	char base[PATH_MAX] = "";
	int r = open_image(spec->disk, O_RDWR, &f->disk, &f->disk_image, e);

	if (r == 0 && spec->disk_format == VM_DISK_QCOW2)
		r = read_backing(spec->disk, base, e);
	if (r == 0 && base[0])
		r = open_image(base, O_RDONLY, &f->base, &f->base_image, e);
	return r;
}

static int open_kernel(const struct vm_spec *spec, struct qemu_files *f, struct err *e)
{
	int r = open_file(spec->kernel, "kernel", &f->kernel, e);

	return r == 0 && spec->initrd ? open_file(spec->initrd, "initial RAM disk", &f->initrd, e)
				      : r;
}

/* Open a file of saved memory. */
static int open_saved(const struct vm_spec *spec, const char *name, int *ret_fd, struct err *e)
{
	int fd = openat(spec->saved->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s/%s", spec->saved->dir, name);
	*ret_fd = fd;
	return 0;
}

/* The guest's memory: empty, or the saved file itself. */
static int open_ram(const struct vm_spec *spec, const struct manifest *saved, struct qemu_files *f,
		    struct err *e)
{
	f->ram_private = saved && spec->saved->memory == VM_MEMORY_SHARED &&
			 strcmp(saved->memory, QEMU_MEMORY_FILE) == 0;
	if (f->ram_private)
		return open_saved(spec, QEMU_SAVED_MEMORY, &f->ram, e);
	return qemu_ram_make(spec, &f->ram, e);
}

int qemu_files_open(const struct vm_spec *spec, const struct manifest *saved,
		    struct qemu_files *ret, struct err *e)
{
	int r;

	*ret = (struct qemu_files){-1, -1, -1, -1, -1, -1, -1, false, {0}, {0}};
	r = saved ? open_saved(spec, QEMU_SAVED_STATE, &ret->state, e) : open_kernel(spec, ret, e);
	if (r == 0 && spec->disk)
		r = open_disk(spec, ret, e);
	if (r == 0)
		r = open_ram(spec, saved, ret, e);
	if (r < 0)
		return r;
	qemu_names_remove(spec->run_dir); /* of an earlier QEMU; only one at a time has run_dir */
	r = make_socket(spec->run_dir, &ret->qmp, e);
	if (r == 0)
		r = make_serial(spec->run_dir, e);
	return r;
}
