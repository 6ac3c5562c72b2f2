/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/steps.c - the table of steps: record, data, disk, network, vm, agent; and those that are not in a file of their own */
#include "ops/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/log.h"
#include "base/random.h"
#include "ops/cgroup.h"
#include "ops/disk-full.h"
#include "ops/host.h"
#include "ops/journal.h"
#include "ops/memory.h"
#include "ops/net.h"
#include "ops/pause.h"
#include "ops/ready.h"
#include "ops/record.h"
#include "ops/room.h"
#include "ops/steps-private.h"
#include "ops/template.h"
#include "ops/vmm.h"
#include "ops/warm.h"
#include "ops/watch.h"

/* In its directory: what its VMM may write files to. */
#define SAVE_DIR "vmm"

int sbx_load_version(struct sbx *s, struct err *e)
{
	int r;

	if (s->version)
		return 0;
	s->version = calloc(1, sizeof(*s->version));
	if (!s->version)
		return err_set(e, ENOMEM, "no memory");
	r = sbx_template(s, s->version, e);
	if (r < 0) {
		free(s->version);
		s->version = NULL;
	}
	return r;
}

void sbx_drop_version(struct sbx *s)
{
	if (s->version)
		template_version_done(s->version);
	free(steal_ptr(&s->version));
}

static int record_up(struct sbx *s, const struct deadline *d, struct err *e)
{
	(void)d;
	return record_save(s, e);
}

static int record_down(struct sbx *s, const struct deadline *d, struct err *e)
{
	char serial[16];

	(void)d;
	(void)snprintf(serial, sizeof(serial), "%" PRIu32, s->serial);
	return file_remove_tree(host.sandboxes_fd, serial, e);
}

/* It was read, or nobody would ask. */
static int record_adopt(struct sbx *s, const struct deadline *d, struct err *e)
{
	(void)d;
	return sbx_load_version(s, e);
}

/* Where the VMM's sockets are. Return: length of the path; short, because socket names are. */
static void run_dir_path(const struct sbx *s, char *path, size_t size)
{
	(void)snprintf(path, size, "%s/%" PRIx32, host.run_dir, s->made_as);
}

/* The kernel's command line: what the agent reads of it is in agent/boot.h. */
static void cmdline_make(struct sbx *s, struct buf *b)
{
	const struct template_version *v = s->version;
	char name[NAME_MAX_LEN + 1];

	pthread_mutex_lock(&s->lock);
	memcpy(name, s->name, sizeof(name));
	pthread_mutex_unlock(&s->lock);
	buf_addf(b, "sbxfs.ip=%s/%u sbxfs.gw=%s sbxfs.host=%s", s->slot.guest_ip,
		 s->slot.guest_prefix, s->slot.gateway, name);
	if (s->slot.dns[0])
		buf_addf(b, " sbxfs.dns=%s", s->slot.dns);
	if (v->init[0])
		buf_addf(b, " sbxfs.init=%s", v->init);
	if (v->cmdline[0])
		buf_addf(b, " %s", v->cmdline);
}

/* The files that the VMM writes to; both are handed over open. */
static int vm_files_open(struct sbx *s, struct vm_spec *spec, struct err *e)
{
	struct stat st;

	spec->console_fd = sbx_open(s, "console.log", O_WRONLY | O_APPEND | O_CREAT);
	if (spec->console_fd < 0 || fstat(spec->console_fd, &st) < 0)
		return err_sys(e, errno, "cannot open console.log");
	s->console_start = st.st_size;
	spec->stderr_fd = sbx_open(s, "vmm.log", O_RDWR | O_APPEND | O_TRUNC | O_CREAT);
	if (spec->stderr_fd < 0)
		return err_sys(e, errno, "cannot open vmm.log");
	return 0;
}

void step_show_vm(struct sbx *s)
{
	pthread_mutex_lock(&s->lock);
	s->shown_vm = s->vm_id;
	pthread_mutex_unlock(&s->lock);
	sbx_changed(s);
}

static void vm_spec_fill(struct sbx *s, struct vm_spec *spec)
{
	const struct template_version *v = s->version;

	pthread_mutex_lock(&s->lock);
	spec->vcpus = (unsigned)config_number(&s->config, &v->defaults, CONFIG_VCPUS);
	spec->memory_mib = config_number(&s->config, &v->defaults, CONFIG_MEMORY_MB);
	pthread_mutex_unlock(&s->lock);
	spec->template = s->template_pin;
	spec->net = host.net->is_user ? VM_NET_USER : VM_NET_TAP;
	spec->kernel = v->kernel;
	spec->initrd = v->initrd;
}

/* What its guest is connected to, which is there by now. */
static void vm_spec_connect(struct sbx *s, struct vm_spec *spec)
{
	spec->disk = volume_path(s->volume);
	spec->disk_format = volume_format(s->volume) == VOLUME_QCOW2 ? VM_DISK_QCOW2 : VM_DISK_RAW;
	spec->tap_fd = s->slot.tap_fd;
	spec->host_addr = s->slot.agent_addr;
	spec->host_port = s->slot.agent_port;
	spec->guest_port = SLOT_AGENT_PORT;
	spec->mac = s->slot.mac;
	spec->netns_fd = s->slot.netns_fd;
}

/* What it goes on from, open, and the size that it had then; nothing when it boots. */
struct saved {
	struct vm_saved saved;
	char path[320];
};

static int vm_spec_saved(struct sbx *s, struct vm_spec *spec, struct saved *ret, struct err *e)
{
	ret->saved.dir_fd = -1;
	if (!memory_goes_on(s))
		return 0;
	(void)snprintf(ret->path, sizeof(ret->path), "%s/%s", s->dir,
		       s->memory.dir); /* fits: see STATE_DIR_MAX */
	ret->saved.dir = ret->path;
	ret->saved.memory = s->memory.shared ? VM_MEMORY_SHARED : VM_MEMORY_OWN;
	ret->saved.dir_fd = sbx_open(s, s->memory.dir, O_RDONLY | O_DIRECTORY);
	if (ret->saved.dir_fd < 0)
		return err_sys(e, errno, "cannot open its saved memory; start after kill boots it");
	spec->saved = &ret->saved;
	spec->vcpus = s->memory.vcpus;
	spec->memory_mib = s->memory.mib;
	return 0;
}

int steps_check_saved(struct sbx *s, struct err *e)
{
	struct vm_spec spec = {.console_fd = -1, .stderr_fd = -1, .tap_fd = -1, .netns_fd = -1};
	struct saved saved = {.path = ""};
	int r = sbx_load_version(s, e);

	if (r == 0)
		r = vmm_choose(s, &spec.host, e);
	if (r != 0)
		return r;
	vm_spec_fill(s, &spec);
	/* Which devices there are counts, and not where they lead: that is not there yet. */
	spec.name = spec.run_dir = "none";
	spec.disk = "/dev/null";
	spec.mac = "02:00:00:00:00:00";
	spec.host_addr = "127.0.0.1";
	r = vm_spec_saved(s, &spec, &saved, e);
	if (r == 0)
		r = spec.host->driver->check_saved(&spec, e);
	fd_close(saved.saved.dir_fd);
	return r;
}

static int vm_up(struct sbx *s, const struct deadline *d, struct err *e)
{
	struct vm_spec spec = {.console_fd = -1, .stderr_fd = -1};
	char run_dir[128], save_dir[320], name[32], cgroup[CGROUP_PATH_SIZE];
	AUTO_BUF cmdline = BUF_INIT;
	struct saved saved = {.path = ""};
	int r = sbx_load_version(s, e);

	if (r == 0)
		r = vmm_choose(s, &spec.host, e);
	if (r != 0)
		return r;
	pthread_mutex_lock(&s->lock);
	s->vmm = spec.host->driver;
	pthread_mutex_unlock(&s->lock);
	run_dir_path(s, run_dir, sizeof(run_dir));
	(void)snprintf(save_dir, sizeof(save_dir), "%s/" SAVE_DIR, s->dir); /* fits, as above */
	r = file_mkdirs(run_dir, 0700, e);
	if (r == 0)
		r = file_mkdirs(save_dir, 0700, e);
	if (r < 0)
		return r;
	(void)snprintf(name, sizeof(name), "sbxfs-%s-%" PRIu32, host.instance, s->made_as);
	cmdline_make(s, &cmdline);
	vm_spec_fill(s, &spec);
	vm_spec_connect(s, &spec);
	spec.name = name;
	spec.cmdline = buf_text(&cmdline);
	spec.run_dir = run_dir;
	spec.save_dir = save_dir;
	cgroup_add(s->made_as, cgroup);
	spec.cgroup = cgroup[0] ? cgroup : NULL;
	r = vm_files_open(s, &spec, e);
	if (r == 0)
		r = vm_spec_saved(s, &spec, &saved, e);
	if (r == 0)
		r = s->vmm->start(&spec, d, &s->vm, e);
	fd_close(saved.saved.dir_fd);
	fd_close(spec.console_fd);
	fd_close(spec.stderr_fd);
	if (r < 0)
		return r;
	s->vm_id = vm_common(s->vm)->id;
	if (s->hidden)
		warm_be_nice(s->vm_id.pid);
	if (!spec.saved)       /* else nobody may let it on yet */
		room_watch(s); /* booting writes too */
	r = journal_write(s, e);
	step_show_vm(s);
	return r;
}

static int vm_down(struct sbx *s, const struct deadline *d, struct err *e)
{
	const struct vm_driver *vmm = s->vmm ? s->vmm : host.vm;
	char run_dir[128], save_dir[320], name[32];
	int r = 0;

	watch_remove(s);
	room_unwatch(s);
	run_dir_path(s, run_dir, sizeof(run_dir));
	(void)snprintf(save_dir, sizeof(save_dir), "%s/" SAVE_DIR, s->dir); /* fits, as above */
	if (!s->vm && s->vm_id.pid == 0) {
		/* It may have been started without its pid being written down: then only its name tells. */
		(void)snprintf(name, sizeof(name), "sbxfs-%s-%" PRIu32, host.instance, s->made_as);
		(void)vmm_find(name, &vmm, &s->vm_id); /* not found: none */
	}
	if (s->vm || s->vm_id.pid != 0)
		r = step_check_driver(vmm, host.vm_why, e);
	if (r == 0 && (s->vm || s->vm_id.pid != 0))
		r = vmm->kill(s->vm, &s->vm_id, run_dir, d, e);
	if (r < 0)
		return r;
	if (s->vm)
		vm_driver_of(s->vm)->close(s->vm);
	s->vm = NULL;
	s->vm_id = (struct proc_id){0};
	step_show_vm(s);
	r = cgroup_remove(s->made_as, e);
	if (r == 0)
		r = file_remove_tree(AT_FDCWD, save_dir, e);
	return r < 0 ? r : file_remove_tree(AT_FDCWD, run_dir, e);
}

static int vm_adopt(struct sbx *s, const struct deadline *d, struct err *e)
{
	char run_dir[128];
	int r;

	run_dir_path(s, run_dir, sizeof(run_dir));
	if (s->vm_id.pid == 0)
		return err_set(e, ESRCH, "its virtual machine was not known yet");
	r = (s->vmm ? s->vmm : host.vm)->open(&s->vm_id, run_dir, d, &s->vm, e);
	if (r == 0)
		step_show_vm(s);
	return r;
}

/* The token is kept: a restarted sandbox has the one that its owner knows. */
static int token_make(struct sbx *s, struct err *e)
{
	char token[GUEST_TOKEN_SIZE];

	if (s->token[0])
		return 0;
	if (random_hex(token, (GUEST_TOKEN_SIZE - 1) / 2) < 0)
		return err_set(e, EIO, "the kernel gives no random bytes");
	pthread_mutex_lock(&s->lock);
	memcpy(s->token, token, sizeof(token));
	pthread_mutex_unlock(&s->lock);
	return record_save(s, e);
}

/* Written down before the guest goes on: from then on its disk may not fit what is saved of it. */
static int agent_resume(struct sbx *s, const struct deadline *d, struct err *e)
{
	int r = memory_mark(s, e);

	if (r < 0)
		return r;
	r = fault_point("resume-thaw", d, e);
	if (r == 0)
		r = vm_driver_of(s->vm)->thaw(s->vm, d, e);
	if (r == 0) {
		room_watch(s);
		r = fault_point("resume-agent", d, e);
	}
	if (r == 0)
		r = ready_resumed(s, d, e);
	if (r < 0 && !s->warm) /* what its template has is as good as ever */
		pause_again(s);
	return r;
}

static int agent_up(struct sbx *s, const struct deadline *d, struct err *e)
{
	int r = token_make(s, e);

	if (r == 0)
		r = net_apply_vm(s, d, e);
	if (r == 0)
		r = memory_goes_on(s) ? agent_resume(s, d, e) : ready_wait(s, d, e);
	if (r == 0)
		watch_add(s);
	return r;
}

/* A frozen guest cannot answer: it is believed until it is thawed. */
static int agent_adopt(struct sbx *s, const struct deadline *d, struct err *e)
{
	int r = disk_full_adopt(s, d, e);

	if (r == 0)
		r = token_make(s, e); /* the way up may have ended before there was one */
	if (r == 0 && !s->was_frozen)
		r = s->memory.dir[0] ? ready_resumed(s, d, e) : ready_again(s, d, e);
	if (r == 0)
		r = net_apply_vm(s, d, e);
	if (r == 0)
		watch_add(s);
	return r;
}

static int agent_down(struct sbx *s, const struct deadline *d, struct err *e)
{
	(void)d;
	(void)e;
	lane_end_guest_jobs(&s->lane);
	pthread_mutex_lock(&s->vm_use); /* until one that talks to the VMM has ended */
	pthread_mutex_unlock(&s->vm_use);
	pthread_mutex_lock(&s->lock);
	fd_close(steal_fd(&s->console_fd));
	s->mem_used_bytes = 0;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* clang-format off */
const struct step steps[LEVEL_COUNT] = {
	[LEVEL_NONE]    = { "record",  record_up,  record_down, record_adopt },
	[LEVEL_DEFINED] = { "data",    data_up,    data_down, data_adopt },
	[LEVEL_DATA]    = { "disk",    disk_up,    disk_down, disk_adopt },
	[LEVEL_DISK]    = { "network", network_up, network_down, network_adopt },
	[LEVEL_NETWORK] = { "vm",      vm_up,      vm_down, vm_adopt },
	[LEVEL_VM]      = { "agent",   agent_up,   agent_down, agent_adopt },
};
/* clang-format on */
