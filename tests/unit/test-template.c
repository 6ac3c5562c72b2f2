/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tests/unit/test-template.c - importing real files: whole, broken, twice, by others, and what is pruned */
#include "tests/unit/ops-dir.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>

#include "base/cleanup.h"
#include "ops/lane.h"
#include "ops/template.h"

enum { NOBODY = 65534 };

static char from[300]; /* what sbx-mktemplate would have written */
static const struct deadline never = {INT64_MAX, -1};

static struct writer own(void)
{
	return (struct writer){.uid = geteuid(), .gid = getegid()};
}

static void source_write(const char *name, const char *text)
{
	char path[400];

	(void)snprintf(path, sizeof(path), "source/%s", name);
	ops_write(path, text);
	assert_int_equal(fchmodat(host.state_fd, path, 0644, 0), 0);
}

/* A source directory with all four files; @salt tells versions apart. */
static void source_make(const char *salt)
{
	(void)mkdirat(host.state_fd, "source", 0755);
	(void)snprintf(from, sizeof(from), "%s/source", host.state_dir);
	source_write("rootfs.ext4", salt);
	source_write("kernel", "a kernel");
	source_write("initrd", "an initrd");
	source_write("template.conf", "cmdline=quiet\nvcpus=2\nunheard_of=1\n");
}

static struct template *make(const char *name)
{
	struct writer w = own();
	struct template *t = NULL;
	struct err e = {0};

	if (template_create(name, &w, &t, &e) < 0)
		fail_msg("%s", e.text);
	return t;
}

static void drop(struct template *t)
{
	struct err e = {0};

	assert_int_equal(template_remove(t, &e), 0);
	template_put(t);
}

static int import(struct template *t, struct err *e)
{
	struct writer w = own();

	return template_import(t, from, &w, &never, e);
}

/* How many entries are in a directory below the state directory. */
static int entries(const char *path)
{
	int fd = openat(host.state_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;
	AUTO_DIR dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		return -1;
	while (readdir(dir))
		n++;
	return n - 2;
}

static void test_import(void **state)
{
	struct template *t = make("debian");
	struct template_version v;
	struct template_view view;
	struct err e = {0};
	struct stat st;

	(void)state;
	assert_int_equal(template_version_find("debian", &v, &e), -ENOENT);
	assert_non_null(strstr(e.text, "sbx-mktemplate"));
	source_make("root one");
	assert_int_equal(import(t, &e), 0);
	assert_int_equal(template_version_find("debian", &v, &e), 0);
	assert_string_equal(v.cmdline, "quiet");
	assert_int_equal(config_number(&v.defaults, NULL, CONFIG_VCPUS), 2);
	assert_int_equal(stat(v.rootfs, &st), 0);
	assert_int_equal(st.st_size, 1 << 20); /* rounded up: a disk is whole MiB */
	assert_int_equal(access(v.kernel, R_OK) + access(v.initrd, R_OK), 0);
	template_version_done(&v);
	template_view(t, &view);
	assert_string_equal(view.state, "ready");
	assert_int_equal(strlen(view.digest), 12);
	template_put(t);
	ops_dir_again();
	t = template_find("debian");
	assert_non_null(t);
	assert_int_equal(template_version_find("debian", &v, &e), 0);
	template_version_done(&v);
	drop(t);
	assert_int_equal(entries("templates"), 0);
}

static void test_same_twice_and_prune(void **state)
{
	struct template *t = make("twice");
	struct template_view first, second;
	struct sbx *s = ops_create("user");
	struct template_version v;
	char pin[sizeof(s->template_pin)];
	struct err e = {0};

	(void)state;
	source_make("root one");
	assert_int_equal(import(t, &e), 0);
	template_view(t, &first);
	assert_int_equal(import(t, &e), 0);
	template_view(t, &second);
	assert_string_equal(first.digest, second.digest);
	assert_int_equal(entries("templates/twice/versions"), 1);
	/* A sandbox began with it: it stays beside the next one, and the template cannot go. */
	(void)snprintf(pin, sizeof(pin), "twice@%s", first.digest);
	memcpy(s->template_pin, pin, sizeof(pin));
	source_make("root two");
	assert_int_equal(import(t, &e), 0);
	assert_int_equal(entries("templates/twice/versions"), 2);
	assert_int_equal(template_version_find(pin, &v, &e), 0);
	assert_string_equal(v.pin, pin);
	template_version_done(&v);
	assert_int_equal(template_remove(t, &e), -EBUSY);
	assert_int_equal(template_version_find("twice", &v, &e), 0);
	assert_string_not_equal(v.pin, pin);
	template_version_done(&v);
	/* Nobody needs it any more: the next import takes it away. */
	s->template_pin[0] = '\0';
	source_make("root three");
	assert_int_equal(import(t, &e), 0);
	assert_int_equal(entries("templates/twice/versions"), 1);
	assert_int_equal(template_version_find(pin, &v, &e), -ENOENT);
	drop(t);
	registry_forget(s);
	sbx_put(s);
}

static void test_broken_leaves_nothing(void **state)
{
	static const char *const parts[] = {"rootfs.ext4", "kernel", "initrd", "template.conf"};
	struct template *t = make("broken");
	struct template_view view;
	struct err e = {0};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		char path[64];

		source_make("root");
		(void)snprintf(path, sizeof(path), "source/%s", parts[i]);
		assert_int_equal(unlinkat(host.state_fd, path, 0), 0);
		assert_int_equal(import(t, &e), -ENOENT);
		source_write(parts[i], "");
		assert_int_equal(import(t, &e), -EINVAL);
		assert_int_equal(unlinkat(host.state_fd, path, 0), 0);
		assert_int_equal(symlinkat("/etc/passwd", host.state_fd, path), 0);
		assert_int_equal(import(t, &e), -ELOOP);
		assert_int_equal(unlinkat(host.state_fd, path, 0), 0);
		assert_int_equal(mkfifoat(host.state_fd, path, 0644), 0);
		assert_int_equal(import(t, &e), -EINVAL);
		assert_int_equal(unlinkat(host.state_fd, path, 0), 0);
	}
	source_make("root");
	source_write("template.conf", "no equals sign\n");
	assert_int_equal(import(t, &e), -EBADMSG);
	assert_int_equal(entries("templates/broken/versions"), 0);
	template_view(t, &view);
	assert_string_equal(view.state, "empty");
	assert_true(view.last_error[0] != '\0');
	drop(t);
}

static void test_paths(void **state)
{
	struct template *t = make("paths");
	struct writer w = own();
	struct err e = {0};
	char path[400];

	(void)state;
	source_make("root");
	assert_int_equal(template_import(t, "source", &w, &never, &e), -EINVAL);
	(void)snprintf(path, sizeof(path), "%s/x", host.mountpoint);
	assert_int_equal(template_import(t, path, &w, &never, &e), -EINVAL);
	assert_non_null(strstr(e.text, "inside this mount"));
	(void)snprintf(path, sizeof(path), "%s/link", host.state_dir);
	assert_int_equal(symlink(from, path), 0);
	assert_true(template_import(t, path, &w, &never, &e) < 0); /* not followed */
	assert_int_equal(unlink(path), 0);
	drop(t);
}

/* A writer who is not root gets no further than root's file permissions let him. */
static void test_as_another(void **state)
{
	struct writer w = {.uid = NOBODY, .gid = NOBODY};
	struct template *t;
	struct err e = {0};

	(void)state;
	if (geteuid() != 0)
		skip();
	t = make("other");
	source_make("root");
	assert_int_equal(chmod(host.state_dir, 0711), 0);
	assert_int_equal(template_import(t, from, &w, &never, &e), 0);
	assert_int_equal(fchmodat(host.state_fd, "source/kernel", 0600, 0), 0);
	assert_int_equal(template_import(t, from, &w, &never, &e), -EACCES);
	assert_int_equal(fchmodat(host.state_fd, "source", 0700, 0), 0);
	assert_int_equal(template_import(t, from, &w, &never, &e), -EACCES);
	assert_int_equal(import(t, &e), 0); /* our own rights are back */
	assert_int_equal(fchmodat(host.state_fd, "source", 0755, 0), 0);
	drop(t);
}

static void test_single_files(void **state)
{
	struct template *base = make("default"), *t = make("single");
	struct template_files files = {.cmdline = "a b=\\c"};
	struct template_version v;
	struct writer w = own();
	struct err e = {0};
	char rootfs[400];

	(void)state;
	source_make("root");
	(void)snprintf(rootfs, sizeof(rootfs), "%s/rootfs.ext4", from);
	files.rootfs = rootfs;
	assert_int_equal(template_import_files(t, &files, &w, &never, &e), -ENOENT);
	assert_int_equal(import(base, &e), 0);
	assert_int_equal(template_import_files(t, &files, &w, &never, &e), 0);
	assert_int_equal(template_version_find("single", &v, &e), 0);
	assert_string_equal(v.cmdline, "a b=\\c");
	template_version_done(&v);
	drop(t);
	drop(base);
}

/* What a crash leaves: half an import, half a removal. Both are gone after the next start. */
static void test_leftovers(void **state)
{
	struct template *t = make("left");
	struct err e = {0};

	(void)state;
	source_make("root");
	assert_int_equal(import(t, &e), 0);
	template_put(t);
	assert_int_equal(mkdirat(host.state_fd, "templates/left/versions/import", 0700), 0);
	ops_write("templates/left/versions/import/rootfs.ext4", "half");
	assert_int_equal(mkdirat(host.state_fd, "templates/.removed-77", 0700), 0);
	ops_write("templates/.removed-77/record", "{}");
	ops_dir_again();
	assert_int_equal(entries("templates/left/versions"), 1);
	assert_int_equal(entries("templates"), 1);
	drop(template_find("left"));
}

/* A record that cannot be read: mkdir may take the name again, and no failure of it removes the versions. */
static void test_damaged(void **state)
{
	struct template *t = make("bad");
	struct err e = {0};

	(void)state;
	source_make("root");
	assert_int_equal(import(t, &e), 0);
	template_put(t);
	ops_write("templates/bad/record", "{");
	ops_dir_again();
	assert_null(template_find("bad"));
	assert_int_equal(entries("templates/bad/versions"), 1);
	t = make("bad");
	assert_int_equal(import(t, &e), 0);
	assert_int_equal(entries("templates/bad/versions"), 1);
	drop(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_import),
		cmocka_unit_test(test_same_twice_and_prune),
		cmocka_unit_test(test_broken_leaves_nothing),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_as_another),
		cmocka_unit_test(test_single_files),
		cmocka_unit_test(test_leftovers),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, ops_dir_make, ops_dir_remove);
}
