/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ops/drivers.c - asking each driver whether it can work here, best first */
#include "ops/drivers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ops/settings.h"

static const struct slot_driver *net_found;

static bool wanted(const char *want, const char *name)
{
	return !want || strcmp(want, "auto") == 0 || strcmp(want, name) == 0;
}

static int accel_parse(const char *name, enum vm_accel *ret, struct err *e)
{
	for (int i = 0; i < VM_ACCEL_COUNT; i++) {
		if (strcmp(name, vm_accel_name((enum vm_accel)i)) == 0) {
			*ret = (enum vm_accel)i;
			return 0;
		}
	}
	return err_set(e, EINVAL, "--accel %s is not one of auto, kvm, tcg", name);
}

/* A driver that was asked for by name must work; with auto its reason is kept and the next one asked. */
static int refused(const char *kind, const char *want, const char *name, struct err *e)
{
	if (want && strcmp(want, "auto") != 0)
		return err_wrap(e, "--%s %s cannot work here", kind, name);
	log_debug("%s %s: %s", kind, name, e->text);
	return 0;
}

/* What was found, for people: the default first. */
static void tell_vms(void)
{
	AUTO_BUF b = BUF_INIT;

	if (host.vm)
		buf_addf(&b, "%s %s, %s: %s", host.vm->name, host.vm_host.version,
			 vm_accel_name(host.vm_host.accel), host.vm_host.accel_why);
	for (int i = 0; vm_drivers[i]; i++) {
		const struct vm_host *h = &host.vms[i];

		if (vm_drivers[i] == host.vm)
			continue;
		buf_adds(&b, b.len ? "; " : "");
		if (h->driver)
			buf_addf(&b, "%s %s, %s", h->driver->name, h->version,
				 vm_accel_name(h->accel));
		else
			buf_addf(&b, "%s: no: %s", vm_drivers[i]->name, host.vm_refusals[i]);
	}
	(void)snprintf(host.vm_why, sizeof(host.vm_why), "%s", buf_text(&b));
}

/* All are probed: a sandbox may name another one than the default. */
static int choose_vm(const struct host_options *o, struct err *e)
{
	bool is_auto = !o->vmm || strcmp(o->vmm, "auto") == 0, known = is_auto;
	enum vm_accel accel = VM_ACCEL_AUTO;
	struct err why = {0}, first = {0};
	int r = accel_parse(o->accel ? o->accel : "auto", &accel, e);

	for (int i = 0; vm_drivers[i] && r == 0; i++) {
		bool wants = wanted(o->vmm, vm_drivers[i]->name);

		known |= wants;
		if (vm_drivers[i]->probe(accel, &host.vms[i], &why) == 0) {
			if (wants && !host.vm) {
				host.vm = vm_drivers[i];
				host.vm_host = host.vms[i];
			}
			continue;
		}
		log_debug("vmm %s: %s", vm_drivers[i]->name, why.text);
		(void)snprintf(host.vm_refusals[i], sizeof(host.vm_refusals[i]), "%.500s",
			       why.text);
		if (wants && !first.code)
			first = why;
		if (wants && !is_auto)
			r = err_set(e, why.code, "--vmm %s cannot work here: %s",
				    vm_drivers[i]->name, why.text);
	}
	if (r == 0 && !known)
		r = err_set(e, EINVAL, "there is no VMM driver %s", o->vmm);
	if (r == 0 && !host.vm && accel != VM_ACCEL_AUTO)
		r = err_set(e, first.code, "%s", first.text);
	tell_vms();
	return r;
}

static int choose_volume(const struct host_options *o, struct err *e)
{
	bool known = false;
	int r = 0;

	for (int i = 0; volume_drivers[i] && r == 0 && !host.volume; i++) {
		const struct volume_driver *v = volume_drivers[i];

		if (!wanted(o->storage, v->name))
			continue;
		known = true;
		if (v->probe(host.state_dir, host.volume_why, sizeof(host.volume_why), e) == 0) {
			host.volume = v;
			continue;
		}
		(void)snprintf(host.volume_why, sizeof(host.volume_why), "%.250s", e->text);
		r = refused("storage", o->storage, v->name, e);
	}
	return r == 0 && !known ? err_set(e, EINVAL, "there is no storage driver %s", o->storage)
				: r;
}

/* What was taken is told first, then what could not be. */
static void tell_net(const char *refusal)
{
	size_t len = strlen(host.net_why);

	if (refusal[0])
		(void)snprintf(host.net_why + len, sizeof(host.net_why) - len, "; %s", refusal);
	if (host.net->blocked)
		host.net->blocked(host.net_blocked, sizeof(host.net_blocked));
}

static int choose_net(const struct host_options *o, struct err *e)
{
	char refusal[280] = "";
	bool known = false;
	int r = 0;

	for (int i = 0; slot_drivers[i] && r == 0 && !host.net; i++) {
		const struct slot_driver *n = slot_drivers[i];

		if (!wanted(o->net, n->name))
			continue;
		known = true;
		if (n->probe(host.net_why, sizeof(host.net_why), e) == 0 &&
		    n->init(host.instance, settings.address_pool, &host.slots_total, e) == 0) {
			host.net = n;
			tell_net(refusal);
			continue;
		}
		(void)snprintf(host.net_why, sizeof(host.net_why), "%.250s", e->text);
		(void)snprintf(refusal, sizeof(refusal), "%s: no: %.250s", n->name, e->text);
		r = refused("net", o->net, n->name, e);
	}
	return r == 0 && !known ? err_set(e, EINVAL, "there is no network driver %s", o->net) : r;
}

static int probe_net(const struct host_options *o, struct err *e)
{
	bool known = false;
	int r = 0;

	net_found = NULL;
	for (int i = 0; slot_drivers[i] && r == 0 && !net_found; i++) {
		const struct slot_driver *n = slot_drivers[i];

		if (!wanted(o->net, n->name))
			continue;
		known = true;
		if (n->probe(host.net_why, sizeof(host.net_why), e) == 0)
			net_found = n;
		else
			r = refused("net", o->net, n->name, e);
	}
	return r == 0 && !known ? err_set(e, EINVAL, "there is no network driver %s", o->net) : r;
}

const struct slot_driver *drivers_net(void)
{
	return net_found;
}

/* What the command line says of programs. */
static void set_programs(const struct host_options *o)
{
	if (o->cloud_hypervisor)
		vm_set_program("cloud-hypervisor", o->cloud_hypervisor);
}

int drivers_probe(const struct host_options *o, struct err *e)
{
	int r;

	set_programs(o);
	r = choose_vm(o, e);
	if (r == 0)
		r = choose_volume(o, e);
	return r < 0 ? r : probe_net(o, e);
}

int drivers_begin(const struct host_options *o, struct err *e)
{
	int r = choose_net(o, e);

	if (r < 0)
		return r;
	log_info("vmm: %s", host.vm_why);
	log_info("storage: %s: %s", host.volume ? host.volume->name : "none", host.volume_why);
	log_info("network: %s: %s", host.net ? host.net->name : "none", host.net_why);
	if (host.net_blocked[0])
		log_warning("network: %s", host.net_blocked);
	return 0;
}

void drivers_done(void)
{
	host.vm = NULL;
	memset(host.vms, 0, sizeof(host.vms));
	host.volume = NULL;
	host.net = NULL;
}

static bool check_one(struct buf *b, const char *kind, const char *name, int r, const char *good,
		      const struct err *e)
{
	buf_addf(b, "%s %s: %s%s\n", kind, name, r == 0 ? "" : "no: ", r == 0 ? good : e->text);
	return r == 0;
}

/* The stores are tried where the state directory is, or will be. */
static void nearest_dir(const char *path, char *ret, size_t size)
{
	char *slash;

	(void)snprintf(ret, size, "%s", path);
	while (access(ret, F_OK) < 0 && (slash = strrchr(ret, '/')) && slash > ret)
		*slash = '\0';
	if (access(ret, F_OK) < 0)
		(void)snprintf(ret, size, "/");
}

int host_check(const struct host_options *o, struct buf *b)
{
	char why[400] = "", dir[256];
	struct vm_host vm = {0};
	struct err e = {0};
	bool any = false;
	int r;

	set_programs(o);
	for (int i = 0; vm_drivers[i]; i++) {
		r = vm_drivers[i]->probe(VM_ACCEL_AUTO, &vm, &e);
		(void)snprintf(why, sizeof(why), "%s with %s: %s", vm.version,
			       vm_accel_name(vm.accel), vm.accel_why);
		any |= check_one(b, "vmm", vm_drivers[i]->name, r, why, &e);
	}
	nearest_dir(o->state_dir, dir, sizeof(dir));
	for (int i = 0; volume_drivers[i]; i++) {
		r = volume_drivers[i]->probe(dir, why, sizeof(why), &e);
		(void)check_one(b, "storage", volume_drivers[i]->name, r, why, &e);
	}
	for (int i = 0; slot_drivers[i]; i++) {
		r = slot_drivers[i]->probe(why, sizeof(why), &e);
		(void)check_one(b, "net", slot_drivers[i]->name, r, why, &e);
	}
	return any ? 0 : -ENOTSUP;
}
