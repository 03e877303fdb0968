# SPDX-License-Identifier: Apache-2.0
# Man pages: prose from doc/*.1.in; @OPTIONS@ becomes what the program's own option table says, so they cannot differ.
MAN := $(patsubst doc/%.in,$(B)/man/%,$(wildcard doc/*.1.in))

.PHONY: man man-lint
man: $(MAN)

$(B)/man/%.1: doc/%.1.in $(B)/thaw | $(B)/man/
	$(B)/thaw --man $(patsubst thaw-%,%,$*) >$@.options
	sed -e '/^@OPTIONS@$$/{r $@.options' -e 'd}' -e 's/@VERSION@/$(VERSION)/' $< >$@
	@rm -f $@.options

# Fails on anything groff warns about.
man-lint: $(MAN)
	@for page in $(MAN); do \
		said=$$(groff -ww -rLL=100n -man -Tutf8 $$page 2>&1 >/dev/null); \
		[ -z "$$said" ] || { echo "$$said"; exit 1; }; \
	done
