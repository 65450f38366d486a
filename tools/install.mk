# SPDX-License-Identifier: GPL-2.0-or-later
#
# Included by the Makefile: install, install-programs, install-module, install-dkms,
# uninstall. All of them may be run again. PREFIX is that of the programs; modules are
# where the kernel looks for them.

VERSION    := $(shell sed -n 's/^.define VMREPLICA_VERSION "\(.*\)"/\1/p' userspace/common/version.h)
LIBDIR     ?= $(PREFIX)/lib/$(shell $(CC) -print-multiarch)
UNITDIR    ?= $(PREFIX)/lib/systemd/system
# dbus-daemon does not look below /usr/local.
POLICYDIR  ?= $(if $(filter /usr,$(PREFIX)),/usr/share,/etc)/dbus-1/system.d
# polkit looks nowhere else.
ACTIONDIR  ?= /usr/share/polkit-1/actions
SYSCONFDIR ?= /etc
INCLUDEDIR  = $(PREFIX)/include/blkcbt
MANDIR      = $(PREFIX)/share/man
LIBRARY     = libblkcbt.so.0.$(VERSION)
MANPAGES   := $(patsubst Documentation/man/%.rst,$(BUILD)/man/%,$(wildcard Documentation/man/*.rst))
DKMSDIR     = /usr/src/blkcbt-$(VERSION)
INSTALL    ?= install
INTO        = $(INSTALL) -D -m 644

# What install-programs puts there, and uninstall removes.
INSTALLED   = $(PREFIX)/sbin/vmreplicad $(PREFIX)/bin/vmreplica \
	      $(LIBDIR)/$(LIBRARY) $(LIBDIR)/libblkcbt.so.0 $(LIBDIR)/libblkcbt.so \
	      $(LIBDIR)/pkgconfig/blkcbt.pc $(INCLUDEDIR)/blkcbt.h $(INCLUDEDIR)/linux/blkcbt.h \
	      $(UNITDIR)/vmreplicad.service $(UNITDIR)/vmreplica-tracking.service \
	      $(UNITDIR)/sysinit.target.wants/vmreplica-tracking.service $(POLICYDIR)/org.vmreplica.conf \
	      $(ACTIONDIR)/org.vmreplica.policy $(PREFIX)/share/doc/vmreplica/vmreplica.conf \
	      $(PREFIX)/share/bash-completion/completions/vmreplica \
	      $(foreach m,$(notdir $(MANPAGES)),$(MANDIR)/man$(lastword $(subst ., ,$m))/$m)

.PHONY: install install-programs install-module install-dkms uninstall
install: install-programs install-module

$(BUILD)/man/%: Documentation/man/%.rst
	@mkdir -p $(@D)
	rst2man $< $@

install-programs: programs $(MANPAGES)
	$(INTO) -m 755 $(BUILD)/vmreplicad $(DESTDIR)$(PREFIX)/sbin/vmreplicad
	$(INTO) -m 755 $(BUILD)/vmreplica $(DESTDIR)$(PREFIX)/bin/vmreplica
	$(INTO) $(BUILD)/libblkcbt.so.0 $(DESTDIR)$(LIBDIR)/$(LIBRARY)
	ln -sf $(LIBRARY) $(DESTDIR)$(LIBDIR)/libblkcbt.so.0
	ln -sf libblkcbt.so.0 $(DESTDIR)$(LIBDIR)/libblkcbt.so
	$(INSTALL) -d $(DESTDIR)$(LIBDIR)/pkgconfig
	sed 's,@PREFIX@,$(PREFIX),; s,@LIBDIR@,$(LIBDIR),; s,@INCLUDEDIR@,$(INCLUDEDIR),; s,@VERSION@,$(VERSION),' \
		userspace/libblkcbt/blkcbt.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/blkcbt.pc
	$(INTO) userspace/libblkcbt/blkcbt.h $(DESTDIR)$(INCLUDEDIR)/blkcbt.h
	$(INTO) include/uapi/linux/blkcbt.h $(DESTDIR)$(INCLUDEDIR)/linux/blkcbt.h
	$(INSTALL) -d $(DESTDIR)$(UNITDIR)
	for unit in vmreplicad vmreplica-tracking; do \
		sed 's,/usr/sbin/,$(PREFIX)/sbin/,' userspace/service/$$unit.service \
			>$(DESTDIR)$(UNITDIR)/$$unit.service || exit; done
	$(INSTALL) -d $(DESTDIR)$(UNITDIR)/sysinit.target.wants
	ln -sf ../vmreplica-tracking.service $(DESTDIR)$(UNITDIR)/sysinit.target.wants/
	$(INTO) userspace/service/org.vmreplica.conf $(DESTDIR)$(POLICYDIR)/org.vmreplica.conf
	$(INTO) userspace/service/org.vmreplica.policy $(DESTDIR)$(ACTIONDIR)/org.vmreplica.policy
	$(INTO) userspace/service/vmreplica.conf $(DESTDIR)$(PREFIX)/share/doc/vmreplica/vmreplica.conf
	test -e $(DESTDIR)$(SYSCONFDIR)/vmreplica/vmreplica.conf || \
		$(INTO) userspace/service/vmreplica.conf $(DESTDIR)$(SYSCONFDIR)/vmreplica/vmreplica.conf
	$(INTO) userspace/cli/completion.bash \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/vmreplica
	for page in $(MANPAGES); do \
		$(INTO) $$page $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/} || exit; done
	$(if $(DESTDIR),,ldconfig)
	$(if $(DESTDIR),,! test -d /run/systemd/system || systemctl daemon-reload)

# By the kernel's own rules, in the folder that modprobe prefers to the kernel's modules.
# Its depmod needs files that header packages do not have, and its signing the key of
# who built the kernel.
install-module:
	ko=$$(tools/kernel --build-installed) && dir=$${ko%/kmod/blkcbt.ko} && release=$${dir##*/} && \
		$(MAKE) --no-print-directory -C /usr/src/linux-headers-$$release M=$$dir \
			INSTALL_MOD_PATH=$(DESTDIR) INSTALL_MOD_DIR=updates CONFIG_MODULE_SIG_ALL= modules_install && \
		$(if $(DESTDIR),true,depmod $$release)

# The sources, for DKMS to build the module for each kernel that comes.
install-dkms:
	for file in $$(find Kbuild kmod include -name Kbuild -o -name '*.[ch]'); do \
		$(INTO) $$file $(DESTDIR)$(DKMSDIR)/$$file || exit; done
	$(INSTALL) -d $(DESTDIR)$(DKMSDIR)
	sed 's,@VERSION@,$(VERSION),' dkms.conf.in >$(DESTDIR)$(DKMSDIR)/dkms.conf
	$(if $(DESTDIR),,dkms install blkcbt/$(VERSION))

uninstall:
	$(if $(DESTDIR),,! test -d $(DKMSDIR) || dkms remove blkcbt/$(VERSION) --all)
	! cmp -s userspace/service/vmreplica.conf $(DESTDIR)$(SYSCONFDIR)/vmreplica/vmreplica.conf || \
		rm -f $(DESTDIR)$(SYSCONFDIR)/vmreplica/vmreplica.conf	# as it was installed
	rmdir $(DESTDIR)$(SYSCONFDIR)/vmreplica 2>/dev/null || true
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	rmdir $(DESTDIR)$(UNITDIR)/sysinit.target.wants 2>/dev/null || true
	rm -rf $(DESTDIR)$(DKMSDIR)
	rmdir $(addprefix $(DESTDIR),$(INCLUDEDIR)/linux $(INCLUDEDIR)) 2>/dev/null || true
	for ko in $(DESTDIR)/lib/modules/*/updates/kmod/blkcbt.ko; do \
		! test -e $$ko || { rm -f $$ko; release=$${ko#$(DESTDIR)/lib/modules/}; \
		$(if $(DESTDIR),true,depmod $${release%%/*}); }; done
	$(if $(DESTDIR),,ldconfig)
