/* SPDX-License-Identifier: Apache-2.0 */
/* Files whose name is gone while another link to them is left somewhere: --link-remap gives them a name. */
#ifndef KIND_LINK_REMAP_H
#define KIND_LINK_REMAP_H

#include "kind/kind.h"
#include "kind/remap.h"

/* Links the file behind f as link_remap.ID beside its old name, and m to it. Refused without --link-remap. */
int link_remap_dump(struct dumping *d, const struct fd_facts *f, const RegFileEntry *m) must_check;

int link_remap_check(struct restoring *r, const struct remap *row) must_check;
/* Opens the file of the entry row->orig_id by its old name. */
int link_remap_open(struct restoring *r, const struct remap *row) must_check;
/* Is file id such a link? */
bool link_remap_is(struct restoring *r, uint32_t id);
/* Everything is open: removes the link m once the tree runs. */
void link_remap_done(struct restoring *r, const RegFileEntry *m);

#endif
