/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fs/main.c - sbxfs: the command line */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "fs/daemon.h"
#include "fs/files.h"
#include "ops/settings.h"
#include "ops/webhook.h"

static const char usage[] =
	"usage: sbxfs [-f] [--state-dir DIR] [--config FILE] [--accel auto|kvm|tcg]\n"
	"             [--vmm auto|qemu|cloud-hypervisor] [--cloud-hypervisor PATH]\n"
	"             [--storage auto|dm|file] [--net auto|netns|user] [-o MOUNTOPTION,...] MOUNTPOINT\n"
	"       sbxfs STATEDIR|sbxfs MOUNTPOINT [-o MOUNTOPTION,...]\n"
	"       sbxfs --check | --help | --version | --takeover [option...] MOUNTPOINT\n";

static const char help[] =
	"Mounts a directory in which each microVM sandbox of this host is a directory.\n"
	"\n"
	"  -f               stay in the foreground and log to stderr\n"
	"  --state-dir DIR  where sandboxes and templates are kept; default /var/lib/sbxfs, for an\n"
	"                   ordinary user $XDG_STATE_HOME/sbxfs or ~/.local/state/sbxfs\n"
	"  --config FILE    settings; default /etc/sbxfs.conf, for an ordinary user\n"
	"                   $XDG_CONFIG_HOME/sbxfs.conf or ~/.config/sbxfs.conf\n"
	"  --accel, --vmm, --storage, --net\n"
	"                   what to use; auto takes the best that works here and says why in .status\n"
	"  --cloud-hypervisor PATH\n"
	"                   the program, if it is not in PATH\n"
	"  -o OPTION,...    mount options, as of fuse(8)\n"
	"  --takeover       take a live mount, and what runs in it, from the daemon that has it\n"
	"  --check          say what this host can do, and end\n"
	"  --help, --version\n";

enum {
	OPT_STATE_DIR = 256, /* above every letter */
	OPT_CONFIG,
	OPT_ACCEL,
	OPT_VMM,
	OPT_STORAGE,
	OPT_NET,
	OPT_CLOUD_HYPERVISOR,
	OPT_TAKEOVER,
	OPT_CHECK,
	OPT_HELP,
	OPT_VERSION,
	OPT_DUMP_TABLES,
};

/* clang-format off */
static const struct option long_options[] = {
	{"state-dir",   required_argument, NULL, OPT_STATE_DIR},
	{"config",      required_argument, NULL, OPT_CONFIG},
	{"accel",       required_argument, NULL, OPT_ACCEL},
	{"vmm",         required_argument, NULL, OPT_VMM},
	{"cloud-hypervisor", required_argument, NULL, OPT_CLOUD_HYPERVISOR},
	{"storage",     required_argument, NULL, OPT_STORAGE},
	{"net",         required_argument, NULL, OPT_NET},
	{"takeover",    no_argument,       NULL, OPT_TAKEOVER},
	{"check",       no_argument,       NULL, OPT_CHECK},
	{"help",        no_argument,       NULL, OPT_HELP},
	{"version",     no_argument,       NULL, OPT_VERSION},
	{"dump-tables", no_argument,       NULL, OPT_DUMP_TABLES}, /* for the check of the manual */
	{NULL, 0, NULL, 0}
};
/* clang-format on */

struct arguments {
	struct daemon_options daemon;
	const char *config;  /* NULL: the default one, which may be missing */
	char *mount_options; /* owned */
	int action;          /* OPT_CHECK …; 0: mount */
};

/* Take an option's value if it is one of @words, which are separated by '|'. */
static bool take_word(const char **to, const char *option, const char *words)
{
	size_t len = strlen(optarg);

	for (const char *at = words; at; at = strchr(at, '|')) {
		at += *at == '|';
		if (strncmp(at, optarg, len) == 0 && (at[len] == '|' || !at[len])) {
			*to = optarg;
			return true;
		}
	}
	(void)fprintf(stderr, "sbxfs: --%s %s: it is one of %s\n", option, optarg, words);
	return false;
}

/* -o may be given several times. */
static bool add_mount_options(struct arguments *a)
{
	char *all = NULL;

	if (asprintf(&all, "%s%s%s", a->mount_options ? a->mount_options : "",
		     a->mount_options ? "," : "", optarg) < 0)
		return false;
	free(a->mount_options);
	a->mount_options = all;
	return true;
}

/* Return: false when it cannot be taken; the user has been told. */
static bool take_option(struct arguments *a, int option)
{
	struct host_options *h = &a->daemon.host;

	switch (option) {
	case 'f':
		a->daemon.foreground = true;
		return true;
	case 'o':
		return add_mount_options(a);
	case OPT_STATE_DIR:
		h->state_dir = optarg;
		return true;
	case OPT_CONFIG:
		a->config = optarg;
		return true;
	case OPT_ACCEL:
		return take_word(&h->accel, "accel", "auto|kvm|tcg");
	case OPT_VMM:
		return take_word(&h->vmm, "vmm", "auto|qemu|cloud-hypervisor");
	case OPT_CLOUD_HYPERVISOR:
		h->cloud_hypervisor = optarg;
		return true;
	case OPT_STORAGE:
		return take_word(&h->storage, "storage", "auto|dm|file");
	case OPT_NET:
		return take_word(&h->net, "net", "auto|netns|user");
	case OPT_TAKEOVER:
		a->daemon.takeover = true;
		return true;
	case OPT_CHECK:
	case OPT_HELP:
	case OPT_VERSION:
	case OPT_DUMP_TABLES:
		a->action = option;
		return true;
	default: /* getopt has said what is wrong */
		(void)fputs(usage, stderr);
		return false;
	}
}

/*
 * What is behind the options: a mount point, or as mount(8) calls its helpers a source before it. The source is the state directory, or
 * the word sbxfs for that by default. Return: the mount point; NULL: the user has been told.
 */
static const char *take_operands(struct arguments *a, char **operands, int count)
{
	struct host_options *h = &a->daemon.host;

	if (count == 1)
		return operands[0];
	if (count != 2) {
		(void)fputs(usage, stderr);
		return NULL;
	}
	if (strcmp(operands[0], "sbxfs") == 0 || strcmp(operands[0], "none") == 0)
		return operands[1];
	if (h->state_dir || operands[0][0] != '/') {
		(void)fprintf(stderr, "sbxfs: %s: %s\n", operands[0],
			      h->state_dir ? "there is a --state-dir already"
					   : "a source is the path of a state directory, or sbxfs");
		return NULL;
	}
	h->state_dir = operands[0];
	return operands[1];
}

/* The state directory as an absolute path, which the caller frees. */
static char *state_dir(const char *given)
{
	const char *base = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
	AUTO_FREE char *here = NULL;
	char *path = NULL;
	int r;

	if (given && given[0] == '/') {
		r = asprintf(&path, "%s", given);
	} else if (given) {
		here = getcwd(NULL, 0);
		r = here ? asprintf(&path, "%s/%s", here, given) : -1;
	} else if (geteuid() == 0) {
		r = asprintf(&path, "/var/lib/sbxfs");
	} else if (base && base[0] == '/') {
		r = asprintf(&path, "%s/sbxfs", base);
	} else if (home && home[0] == '/') {
		r = asprintf(&path, "%s/.local/state/sbxfs", home);
	} else {
		(void)fputs("sbxfs: HOME is not set; name a --state-dir\n", stderr);
		return NULL;
	}
	if (r >= 0)
		return path;
	(void)fputs("sbxfs: cannot tell where the state directory is\n", stderr);
	return NULL;
}

/* Where the settings are if nothing is said; "" when that cannot be told. The caller frees it. */
static char *default_config(void)
{
	const char *base = secure_getenv("XDG_CONFIG_HOME"), *home = secure_getenv("HOME");
	char *path = NULL;
	int r;

	if (geteuid() == 0)
		r = asprintf(&path, "/etc/sbxfs.conf");
	else if (base && base[0] == '/')
		r = asprintf(&path, "%s/sbxfs.conf", base);
	else if (home && home[0] == '/')
		r = asprintf(&path, "%s/.config/sbxfs.conf", home);
	else
		r = asprintf(&path, "%s", "");
	return r < 0 ? NULL : path;
}

/* A default file may be missing, a named one not. */
static bool read_settings(const struct arguments *a)
{
	AUTO_FREE char *fallback = a->config ? NULL : default_config();
	const char *path = a->config ? a->config : fallback;
	struct err e = {0};

	if (!path || (path[0] && settings_load(path, !a->config, &e) < 0) || webhook_load(&e) < 0) {
		(void)fprintf(stderr, "sbxfs: %s\n", path ? e.text : "no memory");
		return false;
	}
	return true;
}

/* Print what @fill rendered. */
static int print(const struct buf *b, int status)
{
	if (buf_error(b) < 0 || fputs(buf_text(b), stdout) == EOF || fflush(stdout) == EOF)
		return EXIT_FAILURE;
	return status;
}

static void dump_tables(struct buf *b)
{
	files_dump(b);
	settings_dump(b);
}

static int act(const struct arguments *a)
{
	AUTO_BUF b = BUF_INIT;
	int status = EXIT_SUCCESS;

	if (a->action == OPT_CHECK && !read_settings(a))
		return EXIT_FAILURE;
	if (a->action == OPT_CHECK)
		status = host_check(&a->daemon.host, &b) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	else if (a->action == OPT_VERSION)
		buf_adds(&b, "sbxfs " SBXFS_VERSION "\n");
	else if (a->action == OPT_DUMP_TABLES)
		dump_tables(&b);
	else
		buf_addf(&b, "%s\n%s", usage, help);
	return print(&b, status);
}

int main(int argc, char **argv)
{
	struct arguments a = {
		.daemon.host = {.accel = "auto", .vmm = "auto", .storage = "auto", .net = "auto"}};
	AUTO_FREE char *dir = NULL;
	int option, status = EXIT_FAILURE;
	bool good = true;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
	while (good && (option = getopt_long(argc, argv, "fo:", long_options, NULL)) != -1)
		good = take_option(&a, option);
	if (good && !a.action) {
		a.daemon.host.mountpoint = take_operands(&a, argv + optind, argc - optind);
		good = a.daemon.host.mountpoint != NULL;
	}
	dir = good ? state_dir(a.daemon.host.state_dir) : NULL;
	a.daemon.host.state_dir = dir;
	a.daemon.mount_options = a.mount_options;
	if (a.action && dir)
		status = act(&a);
	else if (dir && read_settings(&a))
		status = daemon_main(&a.daemon);
	free(a.mount_options);
	return status;
}
